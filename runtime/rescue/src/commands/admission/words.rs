//! Admissions in words and as JSON.

use crate::out::{size, time};
use asl_auth::{AdmissionRequest, AdmissionResult, Dam, Decision};
use asl_core::words;
use asl_host::admission::{Petition, Recorded};
use serde_json::{json, Value};

/// A decision in words: what is now allowed, until when, how much.
pub fn in_words(decision: &Decision) -> String {
    let mut text = format!("{}: {}", decision.outcome, decision.reason);
    let more = match (&decision.lease, decision.outcome) {
        (Some(lease), _) => format!(
            "The host lends {} and {} snapshots until {}; after that it keeps them {} days.",
            size(lease.storage_bytes),
            lease.snapshots,
            time(lease.expires_at.unix_ns),
            lease.grace_s / 86_400,
        ),
        (None, AdmissionResult::Deferred) => {
            "Nothing is lent yet, and sealing here goes on. Ask again later with the same request."
                .to_string()
        }
        (None, AdmissionResult::Rejected) => {
            "The host takes nothing of this domain. What is sealed here stays; ask its keeper, or \
             another host."
                .to_string()
        }
        (None, _) => "The host takes the domain in full, without a lease.".to_string(),
    };
    text.push('\n');
    text.push_str(&more);
    text
}

/// A decision as JSON.
pub fn decided(decision: &Decision) -> Value {
    let lease = decision.lease.as_ref().map(|l| {
        json!({
            "storage_bytes": l.storage_bytes,
            "snapshots": l.snapshots,
            "expires_at": time(l.expires_at.unix_ns),
            "grace_seconds": l.grace_s,
        })
    });
    json!({ "outcome": decision.outcome.code(), "reason": decision.reason, "lease": lease })
}

/// One line of a list.
pub fn line(domain: &str, recorded: &Recorded, waits: bool) -> String {
    format!(
        "{domain:32} {:>4}  {:16} {:>10} {:>5} days  {}{}",
        recorded.number,
        recorded.decision.outcome.code(),
        size(recorded.request.storage_bytes),
        recorded.request.seconds / 86_400,
        time(recorded.decision.time.unix_ns),
        if waits { "  waits for the keeper" } else { "" },
    )
}

/// One row of a list as JSON.
pub fn row(domain: &str, recorded: &Recorded, waits: bool) -> Value {
    let mut row = decided(&recorded.decision);
    for (name, value) in [
        ("domain_id", json!(domain)),
        ("number", json!(recorded.number)),
        ("waits", json!(waits)),
        ("host", json!(recorded.decision.host.to_string())),
        ("decided_at", json!(time(recorded.decision.time.unix_ns))),
        ("asked", asked(&recorded.request)),
    ] {
        row[name] = value;
    }
    row
}

/// A request as JSON.
pub fn asked(request: &AdmissionRequest) -> Value {
    json!({
        "host": request.host.to_string(),
        "dam": request.dam.to_string(),
        "storage_bytes": request.storage_bytes,
        "seconds": request.seconds,
        "snapshots": request.snapshots,
        "claimed_at": time(request.time.unix_ns),
    })
}

/// What was handed in, in words, checked as far as that goes without the host that is asked.
pub fn petition_in_words(petition: &Petition) -> String {
    let verified = Dam::verify(&petition.dam.bytes, &petition.dam.sig, None);
    let mut text = match (&verified, Dam::decode(&petition.dam.bytes)) {
        (Ok(verified), Ok(dam)) => format!(
            "{}  signatures  {} of its root keys signed it\n",
            dam_in_words(&dam),
            verified.signers().len()
        ),
        // A later DAM of a chain is signed by keys that its genesis does not name.
        (Err(e), Ok(dam)) => format!(
            "{}  signatures  NOT proven by its genesis alone: {}\n",
            dam_in_words(&dam),
            e.why()
        ),
        (_, Err(e)) => format!("DAM\n  unreadable  {e}\n"),
    };
    match AdmissionRequest::decode(&petition.request.bytes) {
        Ok(request) => {
            text.push_str(&request_in_words(&request));
            if let Ok(dam) = &verified {
                let signed = AdmissionRequest::verify(
                    &petition.request.bytes,
                    &petition.request.sig,
                    dam,
                    request.host,
                );
                text.push_str(&match signed {
                    Ok(_) => "  signature   an operator of the DAM signed it\n".to_string(),
                    Err(e) => format!("  signature   NOT good: {}\n", e.why()),
                });
            }
        }
        Err(e) => text.push_str(&format!("Request\n  unreadable  {e}\n")),
    }
    text
}

fn dam_in_words(dam: &Dam) -> String {
    let mut text = format!("DAM number {}\n", dam.sequence);
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:11} {value}\n"));
    line("domain", dam.domain.to_string());
    for root in dam.roots.keys() {
        line("root", root.words());
    }
    line("threshold", dam.roots.threshold().to_string());
    for operator in &dam.operators {
        line("operator", operator.words());
    }
    line(
        "encrypted",
        if dam.policy.encrypted { "yes" } else { "no" }.to_string(),
    );
    if let Some(encryption) = &dam.encryption {
        for owner in &encryption.owner_recipients {
            line("owner", owner.clone());
        }
    }
    let bound = |t: Option<asl_core::Timestamp>| t.map_or("always".into(), |t| time(t.unix_ns));
    line("valid from", bound(dam.not_before));
    line("valid until", bound(dam.not_after));
    text
}

fn request_in_words(request: &AdmissionRequest) -> String {
    format!(
        "Request\n  asks        {} for {} days, {} snapshots\n  of host     {}\n  made        {} by its maker's clock\n",
        size(request.storage_bytes),
        request.seconds / 86_400,
        request.snapshots,
        words(request.host.as_bytes()),
        time(request.time.unix_ns),
    )
}
