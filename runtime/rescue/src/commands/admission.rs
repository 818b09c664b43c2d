//! `admission request | submit | decide | apply`: the same road by network and by stick.

use super::{boot_id, context, open_domain};
use crate::cli::Admission;
use crate::out::{size, time, Out};
use crate::unlock::{unlock, Order, RequestTerms};
use asl_auth::{check_decision, Decision, PublicKey};
use asl_core::{Error, Kind, Result};
use asl_host::admission::{apply, read_decision, write_decision, Keeper, Petition};
use asl_host::keystick::{HostPin, KeyStick, Signed};
use asl_host::HostRoot;
use asl_net::AdmissionEnvelope;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

pub fn run(root: &Path, verb: Admission, out: Out) -> Result<()> {
    match verb {
        Admission::Request {
            unlock: at,
            host,
            bytes,
            days,
            to,
        } => {
            let at = at
                .stick
                .ok_or_else(|| {
                    Error::new(Kind::Usage, "sign", "a request", "no keys are named")
                        .next("add --stick DIR")
                })
                .map(|stick| (stick, at.passphrase_file))?;
            request(at, &host, bytes, days, &to, out)
        }
        Admission::Submit {
            stick,
            host,
            request,
            timeout,
        } => submit(&stick, &host, &request, Duration::from_secs(timeout), out),
        Admission::Decide { request } => decide(root, &request, out),
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
    (stick, passphrase_file): (std::path::PathBuf, Option<std::path::PathBuf>),
    host: &str,
    bytes: u64,
    days: u32,
    to: &Path,
    out: Out,
) -> Result<()> {
    let keys = KeyStick::open(&stick)?;
    let pin = keys.host(host)?;
    let terms = RequestTerms {
        host: pinned(&pin)?.id(),
        bytes,
        seconds: u64::from(days) * 86_400,
    };
    let order = Order {
        stick,
        passphrase_file,
        requests: vec![terms],
        ..Order::default()
    };
    let request = unlock(&order, out)?.requests.pop().ok_or_else(|| {
        Error::new(
            Kind::Invalid,
            "sign",
            "the request",
            "the unlocking child gave none",
        )
    })?;
    std::fs::create_dir_all(to).map_err(|e| Error::new(Kind::Io, "make", to.display(), e))?;
    Petition {
        dam: keys.dam()?,
        request,
    }
    .write(to)?;
    out.result(
        &format!(
            "Wrote the request for {} in {}.\nSend it with `asl-host admission submit`, or carry the directory to the \
             host and run `asl-host admission decide` there.",
            pin.name,
            to.display()
        ),
        &json!({ "request": to, "host": pin.name }),
    )
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

fn submit(stick: &Path, host: &str, dir: &Path, timeout: Duration, out: Out) -> Result<()> {
    let pin = KeyStick::open(stick)?.host(host)?;
    let signed = send(&pin, &Petition::read(dir)?, timeout)?;
    write_decision(dir, &signed)?;
    say(&Decision::decode(&signed.bytes)?, out)
}

fn decide(root: &Path, dir: &Path, out: Out) -> Result<()> {
    let keeper = Keeper::open(HostRoot::open(root)?, context())?;
    let signed = keeper.admit(&Petition::read(dir)?)?;
    write_decision(dir, &signed)?;
    say(&Decision::decode(&signed.bytes)?, out)
}

/// A decision in words: what is now allowed, until when, how much.
pub fn in_words(decision: &Decision) -> String {
    let mut text = format!("{}: {}", decision.outcome, decision.reason);
    if let Some(lease) = &decision.lease {
        text.push_str(&format!(
            "\nThe host lends {} and {} snapshots until {}; after that it keeps them {} days.",
            size(lease.storage_bytes),
            lease.snapshots,
            time(lease.expires_at.unix_ns),
            lease.grace_s / 86_400,
        ));
    }
    text
}

fn say(decision: &Decision, out: Out) -> Result<()> {
    let lease = decision.lease.as_ref().map(|l| {
        json!({
            "storage_bytes": l.storage_bytes,
            "snapshots": l.snapshots,
            "expires_at": time(l.expires_at.unix_ns),
            "grace_seconds": l.grace_s,
        })
    });
    out.result(
        &in_words(decision),
        &json!({ "outcome": decision.outcome.code(), "reason": decision.reason, "lease": lease }),
    )
}
