//! `admission`: the asking side's verbs; the same road by network, by stick and by code.

mod history;
mod keeper;
mod words;

pub use keeper::hand_out;
pub use words::{decided, in_words};

use super::{boot_id, context, open_domain, REFUSED};
use crate::cli::Admission;
use crate::out::Out;
use crate::qr::{draw_request, Code, Room};
use crate::system;
use crate::terminal::Keys;
use crate::unlock::{unlock, Order, RequestTerms};
use asl_auth::{check_decision, AdmissionResult, Decision, PublicKey};
use asl_core::{Error, Kind, Result};
use asl_host::admission::{apply, read_decision, write_decision, Act, Petition};
use asl_host::keystick::{HostPin, KeyStick, Signed};
use asl_net::AdmissionEnvelope;
use serde_json::json;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

pub fn run(root: &Path, verb: Admission, out: Out) -> Result<ExitCode> {
    let done = |result: Result<()>| result.map(|()| ExitCode::SUCCESS);
    match verb {
        Admission::Request {
            unlock: at,
            host,
            bytes,
            days,
            to,
            qr,
        } => {
            let stick = at.stick.ok_or_else(|| {
                Error::new(Kind::Usage, "sign", "a request", "no keys are named")
                    .next("add --stick DIR")
            })?;
            let keys = KeyStick::open(&stick)?;
            let pin = keys.host(&host)?;
            let order = Order {
                stick,
                passphrase_file: at.passphrase_file,
                requests: vec![RequestTerms {
                    host: pinned(&pin)?.id(),
                    bytes,
                    seconds: u64::from(days) * 86_400,
                }],
                ..Order::default()
            };
            done(request(&keys, &pin, &order, to, qr, out))
        }
        Admission::Submit {
            stick,
            host,
            request,
            timeout,
        } => submit(&stick, &host, &request, Duration::from_secs(timeout), out),
        Admission::Decide(what) => done(keeper::decide(root, &what, out)),
        Admission::List { domain, waiting } => {
            done(keeper::list(root, domain.as_deref(), waiting, out))
        }
        Admission::Show {
            which,
            number,
            request,
        } => done(keeper::show(root, &which, number, request.as_deref(), out)),
        Admission::Invalidate { which, why } => done(super::domain::act(
            root,
            &which,
            Act::Invalidate,
            &why.why,
            out,
        )),
        Admission::Log { domain, last } => history::log(root, domain.as_deref(), last, out),
        Admission::Apply {
            which,
            stick,
            host,
            request,
        } => {
            let (_, mut domain) = open_domain(root, &which)?;
            let pin = pinned(&KeyStick::open(&stick)?.host(&host)?)?;
            let (petition, decision) = (Petition::read(&request)?, read_decision(&request)?);
            let (decision, _) = apply(
                &mut domain,
                &context(),
                &pin,
                &petition,
                &decision,
                boot_id()?,
            )?;
            say(&decision, out)
        }
    }
}

fn request(
    keys: &KeyStick,
    pin: &HostPin,
    order: &Order,
    to: Option<PathBuf>,
    qr: bool,
    out: Out,
) -> Result<()> {
    let request = unlock(order, out)?.requests.pop().ok_or_else(|| {
        Error::new(
            Kind::Invalid,
            "sign",
            "the request",
            "the unlocking child gave none",
        )
    })?;
    let mut text = String::new();
    if let Some(to) = &to {
        std::fs::create_dir_all(to).map_err(|e| Error::new(Kind::Io, "make", to.display(), e))?;
        Petition {
            dam: keys.dam()?,
            request: request.clone(),
        }
        .write(to)?;
        text = format!(
            "Wrote the request for {} in {}.\nSend it with `asl-host admission submit`, or carry the directory to the \
             host and run `asl-host admission decide` there.",
            pin.name,
            to.display()
        );
    }
    let codes = if qr {
        draw_request(&request, Room::of_terminal())?
    } else {
        Vec::new()
    };
    if !codes.is_empty() {
        text.push_str(&show_codes(&codes, out)?);
        text.push_str(&format!(
            "The request for {}. Its keeper gives what was scanned to `asl-host admission decide --code`.",
            pin.name
        ));
    }
    let texts: Vec<&str> = codes.iter().map(|c| c.text.as_str()).collect();
    out.result(
        &text,
        &json!({ "request": to, "host": pin.name, "codes": texts }),
    )
}

/// Shows a signed request as codes, one after the other, each until a key is pressed: what the
/// rescue screen does.
///
/// # Errors
/// `Interrupted`; `Invalid` where the request is larger than any may be.
pub fn show_request(request: &Signed, out: Out) -> Result<()> {
    let codes = draw_request(request, Room::of_terminal())?;
    crate::out::remark(&show_codes(&codes, out)?);
    if is_watched(out) {
        await_key()?;
    }
    Ok(())
}

fn is_watched(out: Out) -> bool {
    out.is_text() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Shows all codes but the last, one after the other where somebody looks on; gives the rest.
fn show_codes(codes: &[Code], out: Out) -> Result<String> {
    let count = codes.len();
    let watched = is_watched(out);
    let mut rest = String::new();
    for (n, code) in (1..).zip(codes) {
        let title = match count {
            1 => String::new(),
            _ => format!("Part {n} of {count}\n"),
        };
        rest.push_str(&title);
        rest.push_str(&code.drawing);
        if watched && n < count {
            crate::out::remark(&rest);
            rest.clear();
            await_key()?;
        }
    }
    Ok(rest)
}

fn await_key() -> Result<()> {
    let stdin = std::io::stdin();
    // Where this is no terminal no key comes, and the reading below says so.
    let _keys = Keys::all(stdin.as_fd()).ok();
    crate::out::remark_open("Scan it; then press a key. ");
    let pressed = console::Term::stderr().read_key();
    crate::out::remark("");
    match pressed {
        Ok(_) if !system::stopped() => Ok(()),
        _ => Err(Error::new(
            Kind::Interrupted,
            "show",
            "the request's codes",
            "it was interrupted",
        )
        .next("the next time is another request; carry one of them whole")),
    }
}

/// The public key a pin names.
///
/// # Errors
/// `Invalid` naming the host.
pub fn pinned(pin: &HostPin) -> Result<PublicKey> {
    pin.public_key()
}

/// Sends a petition to its host and checks the answer.
///
/// # Errors
/// Those of the wire, and `Refused` where the answer is not the pinned host's to this request.
pub fn send(pin: &HostPin, petition: &Petition, timeout: Duration) -> Result<Signed> {
    let key = pinned(pin)?;
    let envelope = AdmissionEnvelope {
        dam: petition.dam.bytes.clone(),
        dam_sig: petition.dam.sig.clone(),
        request: petition.request.bytes.clone(),
        request_sig: petition.request.sig.clone(),
    };
    let answer = asl_net::submit(&pin.address, &key, &envelope, timeout)?;
    check_decision(&answer.decision, &answer.sig, &key, &petition.request.bytes)?;
    Ok(Signed {
        bytes: answer.decision,
        sig: answer.sig,
    })
}

fn submit(stick: &Path, host: &str, dir: &Path, timeout: Duration, out: Out) -> Result<ExitCode> {
    let pin = KeyStick::open(stick)?.host(host)?;
    let signed = send(&pin, &Petition::read(dir)?, timeout)?;
    write_decision(dir, &signed)?;
    say(&Decision::decode(&signed.bytes)?, out)
}

/// Says a decision; a script knows by the exit code that it was a refusal.
fn say(decision: &Decision, out: Out) -> Result<ExitCode> {
    out.result(&in_words(decision), &decided(decision))?;
    Ok(match decision.outcome {
        AdmissionResult::Rejected => ExitCode::from(REFUSED),
        _ => ExitCode::SUCCESS,
    })
}
