//! `revocation`: what a domain takes back, written and signed by its owner, taken up by hosts.

use super::{context, dam, open_domain};
use crate::cli::Revocation as Verb;
use crate::out::{time, Out};
use crate::unlock::{unlock, Order};
use asl_auth::{cose, AdmissionRequest, Dam, Revocation, RevocationTarget, VerifiedDam};
use asl_backend::files;
use asl_core::{Digest, Error, Kind, Result, Timestamp};
use asl_host::keystick::{name, KeyStick};
use asl_host::{Domain, HostRoot};
use asl_store::Manifest;
use serde_json::{json, Value};
use std::path::{Path, PathBuf};

pub fn revocation(root: &Path, verb: Verb, out: Out) -> Result<()> {
    match verb {
        Verb::Create {
            kind,
            what,
            keys,
            reason,
        } => create(&keys, &kind, &what, &reason, out),
        Verb::Sign {
            keys,
            number,
            root_key,
            as_operator,
            passphrase_file,
        } => {
            let by = if as_operator {
                By::Operator(passphrase_file)
            } else {
                By::Root(root_key)
            };
            sign(&keys, number, by, out)
        }
        Verb::Apply { keys } => apply(root, &keys, out),
        Verb::List { which } => {
            let (_, domain) = open_domain(root, &which)?;
            list(&domain, out)
        }
    }
}

fn create(keys: &Path, kind: &str, what: &str, reason: &str, out: Out) -> Result<()> {
    let stick = KeyStick::documents(keys)?;
    let dam = verified(&stick)?;
    let target = RevocationTarget::new(kind, target_id(kind, what)?).map_err(|e| {
        let kinds = RevocationTarget::KINDS.join(", ");
        Error::new(Kind::Usage, "revoke", kind, e.why()).next(format!("give one of: {kinds}"))
    })?;
    let number = newest(&stick)?.saturating_add(1);
    let revocation = Revocation {
        domain: dam.dam().domain,
        number,
        dam: dam.digest(),
        target,
        reason: reason.to_string(),
        time: Timestamp::claimed(context().clock.wall_ns()),
    };
    let bytes = revocation.encode();
    Revocation::decode(&bytes)?;
    stick.make_dir(name::REVOCATIONS)?;
    stick.write(&file(number, "cbor"), &bytes, false)?;
    out.result(
        &format!(
            "Wrote revocation {number}: {target}, {reason}.\nNext: `asl-host revocation sign --keys {}`.",
            keys.display()
        ),
        &json!({ "number": number, "kind": target.kind(), "what": Digest::from(target.id()).to_string() }),
    )
}

/// The id of what is to be revoked: 64 hex digits, or what the file says.
fn target_id(kind: &str, what: &str) -> Result<[u8; 32]> {
    if let Ok(id) = what.parse::<Digest>() {
        return Ok(*id.as_bytes());
    }
    let path = Path::new(what);
    let bytes = files::read_limited(path, 16 << 20).map_err(|e| {
        e.next("name the file that is revoked: a public key, a request or a manifest; or 64 hex digits")
    })?;
    Ok(match kind {
        "admission" => {
            AdmissionRequest::decode(&bytes)?;
            *Digest::of(&bytes).as_bytes()
        }
        "snapshot" => *Manifest::decode(&bytes)?.digest().as_bytes(),
        _ => match dam::wishes::public_keys(path)?.as_slice() {
            [one] => *one.id().as_bytes(),
            _ => {
                let why = "it holds more than one public key";
                return Err(Error::new(Kind::Usage, "revoke", what, why)
                    .next("give a file with the one key, or its fingerprint"));
            }
        },
    })
}

/// With which key a revocation is signed.
enum By {
    Root(Option<PathBuf>),
    Operator(Option<PathBuf>),
}

fn sign(keys: &Path, number: Option<u64>, by: By, out: Out) -> Result<()> {
    let stick = KeyStick::documents(keys)?;
    let dam = verified(&stick)?;
    let number = match number {
        Some(number) => number,
        None => newest(&stick)?,
    };
    let bytes = stick.read(&file(number, "cbor")).map_err(|e| {
        if e.kind() != Kind::NotFound {
            return e;
        }
        e.next("write it with `asl-host revocation create`")
    })?;
    let there = stick.read_optional(&file(number, "sig"))?;
    let sig = match by {
        By::Root(path) => {
            let path = path.unwrap_or_else(|| stick.path().join(name::ROOT_KEY));
            let key = dam::sign::read_key(&path)?;
            let known = [dam.dam().roots.keys(), &dam.dam().operators].concat();
            if !known.contains(&key.public()) {
                let why = format!("{} is no key of this DAM", key.public().words());
                return Err(Error::new(Kind::Refused, "sign", "the revocation", why)
                    .next("give a key that `asl-host dam show` names"));
            }
            match there {
                Some(there) => cose::add(Revocation::KIND, &bytes, &there, &known, &key)?,
                None => cose::sign(Revocation::KIND, &bytes, &[&key])?,
            }
        }
        By::Operator(_) if there.is_some() => {
            let why = "it is signed";
            return Err(Error::new(Kind::Exists, "sign", file(number, "cbor"), why)
                .next("an operator signs alone; root keys may sign in turn"));
        }
        By::Operator(passphrase_file) => {
            let order = Order {
                stick: keys.to_path_buf(),
                passphrase_file,
                revocation: Some(bytes.clone()),
                ..Order::default()
            };
            unlock(&order, out)?.revocation_sig.ok_or_else(|| {
                let why = "the unlocking child gave none";
                Error::new(Kind::Invalid, "sign", "the revocation", why)
            })?
        }
    };
    let judged = Revocation::verify(&bytes, &sig, &dam);
    match &judged {
        // More holders may still sign; anything else is told before it is written.
        Err(e) if !e.why().starts_with("signed by ") => return Err(e.clone()),
        _ => stick.write(&file(number, "sig"), &sig, true)?,
    }
    let next = match &judged {
        Ok(_) => {
            "Next: `asl-host revocation apply` where the domain lies, or `asl-host key bundle`."
                .to_string()
        }
        Err(e) => format!("It does not hold yet: {}.", e.why()),
    };
    out.result(
        &format!("Signed revocation {number}.\n{next}"),
        &json!({ "number": number, "whole": judged.is_ok(), "why_not": judged.err().map(|e| e.to_string()) }),
    )
}

fn apply(root: &Path, keys: &Path, out: Out) -> Result<()> {
    let stick = KeyStick::documents(keys)?;
    let host = HostRoot::open(root)?;
    let id = Dam::decode(&stick.read(name::DAM)?)?.check()?.domain_id();
    let mut domain = Domain::open(&host, &id)?;
    let all = stick.revocations()?;
    let mut new = Vec::new();
    for (_, signed) in &all {
        if domain.take_revocation(&context(), host.id(), signed)? {
            new.push(Revocation::decode(&signed.bytes)?);
        }
    }
    let lines: Vec<String> = new.iter().map(in_words).collect();
    let text = match lines.as_slice() {
        [] => format!("Nothing new: {} revocations are known here.", all.len()),
        some => format!("Revoked in {id}:\n{}", some.join("\n")),
    };
    let new: Vec<Value> = new.iter().map(for_script).collect();
    out.result(
        &text,
        &json!({ "domain_id": id.to_string(), "state": domain.state().code(), "revoked": new }),
    )
}

fn list(domain: &Domain, out: Out) -> Result<()> {
    let revoked = domain.require_dam()?.revoked();
    let mut all: Vec<&Revocation> = revoked.all().collect();
    all.sort_by_key(|r| r.number);
    let mut text: String = all.iter().map(|r| in_words(r) + "\n").collect();
    if all.is_empty() {
        text = format!("Nothing is revoked in {}.\n", domain.id());
    }
    let missing = revoked.missing();
    if !missing.is_empty() {
        text.push_str(&format!(
            "MISSING: {missing:?}. Bring them: what they revoke still counts here.\n"
        ));
    }
    let rows: Vec<Value> = all.iter().map(|r| for_script(r)).collect();
    out.result(
        &text,
        &json!({ "domain_id": domain.id().to_string(), "revoked": rows, "missing": missing }),
    )
}

fn in_words(r: &Revocation) -> String {
    let at = time(r.time.unix_ns);
    format!("  {:3}  {}  {}: {}", r.number, at, r.target, r.reason)
}

fn for_script(r: &Revocation) -> Value {
    json!({
        "number": r.number,
        "kind": r.target.kind(),
        "what": Digest::from(r.target.id()).to_string(),
        "reason": r.reason,
        "time": time(r.time.unix_ns),
    })
}

fn verified(stick: &KeyStick) -> Result<VerifiedDam> {
    let signed = stick.dam()?;
    Dam::verify(&signed.bytes, &signed.sig, None)
}

fn file(number: u64, extension: &str) -> String {
    format!("{}/revocation-{number}.{extension}", name::REVOCATIONS)
}

/// The number of the newest revocation, signed or not; 0 without any.
fn newest(stick: &KeyStick) -> Result<u64> {
    let mut number = 0u64;
    while stick
        .read_optional(&file(number.saturating_add(1), "cbor"))?
        .is_some()
    {
        number = number.saturating_add(1);
    }
    Ok(number)
}
