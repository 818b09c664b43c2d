//! `admission decide | list | show`: the keeper's side, and what both sides have recorded.

use super::words::{asked, decided, in_words, line, petition_in_words, row};
use crate::cli::{Decide, WhichDomain};
use crate::commands::{context, open_domain};
use crate::out::Out;
use asl_auth::{code, AdmissionRequest, AdmissionResult, Decision};
use asl_backend::files;
use asl_core::{Error, Kind, Result};
use asl_host::admission::{
    name, read_decision, recorded, rejected, write_decision, Keeper, Petition, Recorded,
};
use asl_host::keystick::Signed;
use asl_host::{Domain, HostRoot};
use serde_json::{json, Value};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A scanned text is not longer.
const LONGEST_CODE: u64 = 16 << 10;

pub fn decide(root: &Path, what: &Decide, out: Out) -> Result<()> {
    let root = HostRoot::open(root)?;
    let waiting = match &what.domain {
        Some(domain) => Some(root.find(Some(domain))?),
        None => None,
    };
    let keeper = Keeper::open(root, context())?;
    let (petition, signed, to) = match (&what.request, &what.code, waiting) {
        (Some(dir), _, _) => {
            let petition = Petition::read(dir)?;
            let signed = keeper.decide(&petition, what.outcome)?;
            write_decision(dir, &signed)?;
            (petition, signed, Some(dir))
        }
        (_, Some(scanned), _) => {
            let (bytes, sig) = code::read(&scanned_text(scanned)?)?;
            let dam = what.dam.as_deref().map(read_dam).transpose()?;
            let petition = keeper.petition_of(Signed { bytes, sig }, dam)?;
            let signed = keeper.decide(&petition, what.outcome)?;
            (petition, signed, what.to.as_ref())
        }
        (_, _, Some(id)) => {
            let (petition, signed) = keeper.decide_waiting(&id, what.outcome)?;
            (petition, signed, what.to.as_ref())
        }
        (None, None, None) => {
            return Err(
                Error::new(Kind::Usage, "decide", "a request", "none is named")
                    .next("add --request DIR, --code TEXT or --domain DOMAIN"),
            )
        }
    };
    match (&what.to, &what.request) {
        (Some(to), None) => hand_out(&petition, &signed, Some(to), out),
        _ => say(
            &Decision::decode(&signed.bytes)?,
            to.map(PathBuf::as_path),
            out,
        ),
    }
}

/// Says a decision, and writes it with its request into a directory that is carried back.
///
/// # Errors
/// `Exists` where another request lies there; `Io`.
pub fn hand_out(petition: &Petition, signed: &Signed, to: Option<&Path>, out: Out) -> Result<()> {
    if let Some(to) = to {
        std::fs::create_dir_all(to).map_err(|e| Error::new(Kind::Io, "make", to.display(), e))?;
        petition.write(to)?;
        write_decision(to, signed)?;
    }
    say(&Decision::decode(&signed.bytes)?, to, out)
}

fn say(decision: &Decision, to: Option<&Path>, out: Out) -> Result<()> {
    let mut text = in_words(decision);
    if let Some(to) = to {
        text.push_str(&format!(
            "\nThe decision is in {}; carry it back, and run `asl-host admission apply` there.",
            to.display()
        ));
    }
    out.result(&text, &decided(decision))
}

/// The text that was scanned: given as it is, in a file, or on standard input.
fn scanned_text(given: &str) -> Result<String> {
    let bytes = if given == "-" {
        let mut bytes = Vec::new();
        let mut input = std::io::stdin().lock().take(LONGEST_CODE + 1);
        input
            .read_to_end(&mut bytes)
            .map_err(|e| Error::new(Kind::Io, "read", "standard input", e))?;
        bytes
    } else if given
        .trim_start()
        .get(..4)
        .is_some_and(|s| s.eq_ignore_ascii_case("ASLR"))
    {
        given.as_bytes().to_vec()
    } else {
        files::read_limited(Path::new(given), LONGEST_CODE)
            .map_err(|e| e.next("give the scanned text itself, a file with it, or -"))?
    };
    String::from_utf8(bytes).map_err(|_| {
        Error::new(Kind::Invalid, "read", "the code", "it is not text")
            .next("save what the reader shows as plain text")
    })
}

fn read_dam(dir: &Path) -> Result<Signed> {
    let read = |name: &str| files::read_limited(&dir.join(name), 64 << 10);
    Ok(Signed {
        bytes: read(name::DAM)?,
        sig: read(name::DAM_SIG)?,
    })
}

pub fn list(root: &Path, domain: Option<&str>, waiting: bool, out: Out) -> Result<()> {
    let root = HostRoot::open(root)?;
    let ids = match domain {
        Some(wanted) => vec![root.find(Some(wanted))?],
        None => root.domains()?,
    };
    let (mut text, mut rows) = (String::new(), Vec::new());
    for id in ids {
        let name = id.to_string();
        let all = match Domain::open(&root, &id).and_then(|d| recorded(&d)) {
            Ok(all) => all,
            Err(e) => {
                // One damaged domain hides no other.
                text.push_str(&format!("{name:32}  unreadable: {e}\n"));
                rows.push(
                    json!({ "domain_id": name, "error": e.to_string(), "next": e.what_next() }),
                );
                continue;
            }
        };
        let last = all.last().map(|r| r.number);
        for one in &all {
            let here = one.decision.host == root.id();
            let waits = here && one.waits() && last == Some(one.number);
            if waits || !waiting {
                text.push_str(&(line(&name, one, waits) + "\n"));
                rows.push(row(&name, one, waits));
            }
        }
    }
    let mut refused = Vec::new();
    if domain.is_none() && !waiting {
        for one in rejected(&root)? {
            let name = label_of(&one);
            text.push_str(&(line(&name, &one, false) + "  in quarantine\n"));
            refused.push(row(&name, &one, false));
        }
    }
    if text.is_empty() {
        text.push_str(if waiting {
            "Nothing waits."
        } else {
            "No admissions."
        });
    }
    out.result(&text, &json!({ "admissions": rows, "quarantine": refused }))
}

/// The domain that a rejected petition spoke of; what it says is proven by nothing.
fn label_of(one: &Recorded) -> String {
    let dam = asl_auth::Dam::decode(&one.petition.dam.bytes).ok();
    let id = dam.and_then(|dam| {
        let genesis = asl_auth::Genesis::decode(&dam.genesis).ok()?;
        Some(asl_core::DomainId::new(genesis.label, &dam.domain).to_string())
    });
    id.unwrap_or_else(|| "unreadable".into())
}

pub fn show(
    root: &Path,
    which: &WhichDomain,
    number: Option<u32>,
    request: Option<&Path>,
    out: Out,
) -> Result<()> {
    if let Some(dir) = request {
        let petition = Petition::read(dir)?;
        let decision = match read_decision(dir) {
            Ok(signed) => Some(Decision::decode(&signed.bytes)?),
            Err(e) if e.kind() == Kind::NotFound => None,
            Err(e) => return Err(e),
        };
        return say_admission(&petition, decision.as_ref(), json!({}), out);
    }
    let (root, domain) = open_domain(root, which)?;
    let all = recorded(&domain)?;
    let wanted = all
        .iter()
        .rev()
        .find(|r| number.is_none_or(|n| n == r.number));
    let one = wanted.ok_or_else(|| {
        let why = match number {
            Some(n) => format!("no admission of it has number {n}"),
            None => "it has none".to_string(),
        };
        Error::new(
            Kind::NotFound,
            "show",
            format!("the admission of {}", domain.id()),
            why,
        )
        .next("see `asl-host admission list`")
    })?;
    let here = one.decision.host == root.id();
    let waits = here && one.waits() && all.last().map(|r| r.number) == Some(one.number);
    let object = row(&domain.id().to_string(), one, waits);
    say_admission(&one.petition, Some(&one.decision), object, out)
}

fn say_admission(
    petition: &Petition,
    decision: Option<&Decision>,
    mut object: Value,
    out: Out,
) -> Result<()> {
    let mut text = petition_in_words(petition);
    text.push_str(&match decision {
        Some(decision) => format!("Decision\n{}\n", in_words(decision)),
        None => "Decision\n  none yet\n".to_string(),
    });
    if decision.is_some_and(|d| d.outcome == AdmissionResult::Deferred) {
        text.push_str("The keeper decides it with `asl-host admission decide --domain DOMAIN --outcome OUTCOME`.\n");
    }
    let request = AdmissionRequest::decode(&petition.request.bytes).ok();
    object["asked"] = json!(request.as_ref().map(asked));
    object["decision"] = json!(decision.map(decided));
    object["words"] = json!(text);
    out.result(&text, &object)
}
