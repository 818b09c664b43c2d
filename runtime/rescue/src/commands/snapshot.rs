//! `snapshot`: made, listed, told, compared and kept.

use super::diff::diff;
use super::forget::forget;
use super::seal::{begin_session, read_back};
use super::sealed::{find_snapshot, open_credentials};
use super::{context, open_domain, open_handle, DAMAGE};
use crate::cli::{self, Snapshot, WhichDomain};
use crate::out::{size, time, Out};
use asl_backend::Durability;
use asl_core::{words, Result};
use asl_host::pins::{pin, pins, unpin, Pin};
use asl_host::standing::{standing, Standing};
use asl_host::{Credentials, Domain, Purpose};
use asl_store::{Manifest, ReadBack};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

pub fn snapshot(root: &Path, verb: Snapshot, out: Out) -> Result<ExitCode> {
    match verb {
        Snapshot::Create {
            which,
            unlock,
            no_read_back,
        } => create(root, &which, &unlock, no_read_back, out),
        Snapshot::List { which } => all(root, &which, out),
        Snapshot::Show { snapshot, which } => {
            let (root, domain) = open_domain(root, &which)?;
            let handle = open_handle(&root, &domain, Purpose::Read, Credentials::None)?;
            let (_, manifest) = find_snapshot(&handle, snapshot)?;
            show(&domain, &manifest, out)
        }
        Snapshot::Diff {
            old,
            new,
            which,
            identity,
        } => {
            let (root, domain) = open_domain(root, &which)?;
            let credentials = match &identity {
                Some(_) => open_credentials(&domain, identity.as_deref())?,
                None => Credentials::None,
            };
            let handle = open_handle(&root, &domain, Purpose::Read, credentials)?;
            let paths = identity.is_some() || !domain.genesis().params.encrypted;
            diff(&handle, old, new, paths, out)
        }
        Snapshot::Pin {
            snapshot,
            which,
            why,
        } => {
            let (_, mut domain) = open_domain(root, &which)?;
            let new = pin(&mut domain, &context(), snapshot, &why)?;
            let text = match new {
                true => format!("{snapshot} is pinned: it is kept until it is unpinned."),
                false => format!("{snapshot} was pinned already; its reason stays."),
            };
            done(
                out,
                &text,
                &json!({ "snapshot": snapshot.to_string(), "pinned": true, "changed": new }),
            )
        }
        Snapshot::Forget {
            snapshots,
            keep_last,
            which,
            identity,
        } => forget(
            root,
            &which,
            &snapshots,
            keep_last,
            identity.as_deref(),
            out,
        ),
        Snapshot::Unpin { snapshot, which } => {
            let (_, mut domain) = open_domain(root, &which)?;
            let was = unpin(&mut domain, &context(), snapshot)?;
            let text = match was {
                true => format!("{snapshot} is no longer pinned."),
                false => format!("{snapshot} was not pinned."),
            };
            done(
                out,
                &text,
                &json!({ "snapshot": snapshot.to_string(), "pinned": false, "changed": was }),
            )
        }
    }
}

fn done(out: Out, text: &str, object: &Value) -> Result<ExitCode> {
    out.result(text, object).map(|()| ExitCode::SUCCESS)
}

fn create(
    root: &Path,
    which: &WhichDomain,
    at: &cli::Unlock,
    no_read_back: bool,
    out: Out,
) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, which)?;
    let device = match &at.stick {
        Some(stick) => Some(begin_session(stick, at.passphrase_file.clone(), &domain, out)?.device),
        None => None,
    };
    let handle = open_handle(&root, &domain, Purpose::Seal, Credentials::None)?;
    let checked = if no_read_back {
        ReadBack::Skipped
    } else {
        read_back(&handle, out)?
    };
    let id = handle.snapshot(device.as_ref(), checked, 0)?;
    domain.write_descriptor(&context())?;
    let signed = if device.is_some() {
        "signed by this session's device key"
    } else {
        "unsigned, awaiting countersignature"
    };
    let head = handle.head();
    done(
        out,
        &format!(
            "Snapshot {id}, {signed}.\nLog head: {}",
            words(head.frame.as_bytes())
        ),
        &json!({ "snapshot": id.to_string(), "signed": device.is_some(), "head": head.frame.to_string() }),
    )
}

fn all(root: &Path, which: &WhichDomain, out: Out) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, which)?;
    let handle = open_handle(&root, &domain, Purpose::Read, Credentials::None)?;
    // A host log that is broken keeps nobody from seeing what there is.
    let pinned = pins(&domain).unwrap_or_else(|e| {
        out.note(&format!("warning: which are pinned is not known: {e}"));
        BTreeMap::new()
    });
    let mut text = String::new();
    let mut list = Vec::new();
    for (id, m) in handle.manifests() {
        let m = m?;
        let kept = pinned.get(&id);
        text.push_str(&format!(
            "{id}  {}  {} blocks  {} roots  read back {}{}\n",
            time(m.time.unix_ns),
            m.block_count,
            m.roots.len(),
            done_or_skipped(&m),
            kept.map(in_words).unwrap_or_default(),
        ));
        list.push(json!({
            "snapshot": id.to_string(),
            "time": time(m.time.unix_ns),
            "logseq": m.head.logseq.0,
            "blocks": m.block_count,
            "roots": m.roots.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(),
            "read_back": m.read_back == ReadBack::Done,
            "pinned": kept.map(|p| json!({ "why": p.why, "time": time(p.time.unix_ns) })),
        }));
    }
    if list.is_empty() {
        text.push_str("no snapshots\n");
    }
    done(out, &text, &json!({ "snapshots": list }))
}

fn in_words(pin: &Pin) -> String {
    match pin.why.as_str() {
        "" => "  pinned".into(),
        why => format!("  pinned: {why}"),
    }
}

fn done_or_skipped(m: &Manifest) -> &'static str {
    match m.read_back {
        ReadBack::Done => "done",
        ReadBack::Skipped => "skipped",
    }
}

fn show(domain: &Domain, m: &Manifest, out: Out) -> Result<ExitCode> {
    let signature = standing(domain, m)?;
    let kept = pins(domain)?.remove(&m.id);
    let durable = m.durability == Durability::Durable;
    let hex = |id: Option<asl_core::Digest>| id.map_or("none".into(), |d| d.to_string());
    let claimed = if m.time.evidenced {
        "evidenced"
    } else {
        "claimed by its clock"
    };
    let mut text = format!("Snapshot {} of domain {}\n", m.id, domain.id());
    for (name, value) in [
        (
            "made",
            format!("{}, {claimed}, on host {}", time(m.time.unix_ns), m.host),
        ),
        ("signature", signature.to_string()),
        (
            "pinned",
            kept.as_ref().map_or("no".into(), |p| {
                format!("since {} {}", time(p.time.unix_ns), p.why)
            }),
        ),
        (
            "log before it",
            format!(
                "{} commits, {} records, head {}",
                m.head.commit, m.head.logseq, m.head.frame
            ),
        ),
        ("words", words(m.head.frame.as_bytes())),
        ("parent", hex(m.parent)),
        (
            "blocks",
            format!("{}, {}", m.block_count, size(m.block_bytes)),
        ),
        ("segments", m.segments.len().to_string()),
        (
            "holes",
            match m.holes {
                0 => "none".into(),
                n => format!("{n}: SEALED WITH HOLES, told in the sealed roots"),
            },
        ),
        ("read back", done_or_skipped(m).to_string()),
        (
            "medium",
            if durable {
                "durable"
            } else {
                "VOLATILE when it was made"
            }
            .to_string(),
        ),
        ("DAM", hex(m.dam)),
        ("manifest", m.digest().to_string()),
    ] {
        text.push_str(&format!("  {name:14} {value}\n"));
    }
    for (root, set) in &m.roots {
        text.push_str(&format!(
            "  root           {root}\n                 its blocks: {set}\n"
        ));
    }
    let code = match &signature {
        Standing::Signed { .. } => "signed",
        Standing::Unsigned => "unsigned",
        Standing::OfUnknownDam { .. } => "signed_under_unknown_dam",
        Standing::Revoked { .. } => "revoked",
        Standing::Refused(_) => "does_not_hold",
    };
    let object = json!({
        "snapshot": m.id.to_string(),
        "domain_id": domain.id().to_string(),
        "manifest": m.digest().to_string(),
        "time": time(m.time.unix_ns),
        "time_evidenced": m.time.evidenced,
        "host": m.host.to_string(),
        "signature": code,
        "signature_in_words": signature.to_string(),
        "pinned": kept.is_some(),
        "commits": m.head.commit,
        "logseq": m.head.logseq.0,
        "head": m.head.frame.to_string(),
        "words": words(m.head.frame.as_bytes()),
        "parent": m.parent.map(|d| d.to_string()),
        "blocks": m.block_count,
        "block_bytes": m.block_bytes,
        "segments": m.segments.len(),
        "holes": m.holes,
        "read_back": m.read_back == ReadBack::Done,
        "durable": durable,
        "dam": m.dam.map(|d| d.to_string()),
        "roots": m.roots.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(),
    });
    out.result(&text, &object)?;
    Ok(match signature {
        Standing::Refused(_) => ExitCode::from(DAMAGE),
        _ => ExitCode::SUCCESS,
    })
}
