//! `domain`: what there is and what it may do.

use super::{context, open_domain};
use crate::cli::{Domain as DomainVerb, PlainRoots, WhichDomain};
use crate::out::{size, time, Out};
use asl_auth::{Genesis, PublicKey, RootSet, SigningKey, StoreParams};
use asl_core::{Error, Kind, Result, Timestamp};
use asl_host::admission::{Act, Keeper};
use asl_host::capability::Place;
use asl_host::keystick::KeyStick;
use asl_host::{Domain, Founding, HostRoot};
use serde_json::{json, Value};
use std::path::Path;

pub fn domain(root: &Path, verb: DomainVerb, out: Out) -> Result<()> {
    match verb {
        DomainVerb::Create {
            stick: Some(stick), ..
        } => {
            let root = HostRoot::open(root)?;
            let stick = KeyStick::open(&stick)?;
            crate::appliance::refuse_example_keys(&stick, false)?;
            let domain = create_from_stick(&root, &stick)?;
            say_domain(&domain, out)
        }
        DomainVerb::Create {
            label: Some(label),
            roots,
            ..
        } => {
            let domain = create_plain(&HostRoot::open(root)?, &label, &roots)?;
            say_domain(&domain, out)
        }
        DomainVerb::Create { .. } => {
            Err(
                Error::new(Kind::Usage, "create", "a domain", "nothing says which")
                    .next("give --stick DIR, or --label NAME --plain"),
            )
        }
        DomainVerb::List => list(root, out),
        DomainVerb::Suspend { which, why } => act(root, &which, Act::Suspend, &why.why, out),
        DomainVerb::Resume { which, why } => act(root, &which, Act::Resume, &why.why, out),
        DomainVerb::Revoke {
            for_good: false, ..
        } => Err(
            Error::new(Kind::Usage, "revoke", "a domain", "nothing ever lifts that")
                .next("add --for-good if you mean it; `asl-host domain suspend` can be lifted"),
        ),
        DomainVerb::Revoke { which, why, .. } => act(root, &which, Act::Revoke, &why.why, out),
        DomainVerb::Show { which } => say_domain(&open_domain(root, &which)?.1, out),
    }
}

/// Does what the keeper's own hand does to a domain's standing here.
///
/// # Errors
/// Those of [`Keeper::act`].
pub fn act(root: &Path, which: &WhichDomain, act: Act, why: &str, out: Out) -> Result<()> {
    let root = HostRoot::open(root)?;
    let id = root.find(which.domain.as_deref())?;
    let state = Keeper::open(root, context())?.act(&id, act, why)?;
    let text = format!("{id} is {state} here now.");
    out.result(
        &text,
        &json!({ "domain_id": id.to_string(), "state": state.code() }),
    )
}

/// Makes the domain that a stick's DAM names, here, as its home.
///
/// # Errors
/// Those of [`Domain::create`].
pub fn create_from_stick(root: &HostRoot, stick: &KeyStick) -> Result<Domain> {
    let dam = stick.dam()?;
    let genesis = asl_auth::Dam::decode(&dam.bytes)?.genesis;
    let epochs = stick.epochs()?;
    let founding = Founding {
        genesis: &genesis,
        dam: Some(&dam),
        epochs: &epochs,
        place: Place::Home,
    };
    Domain::create(root, &context(), &founding)
}

fn create_plain(root: &HostRoot, label: &str, roots: &PlainRoots) -> Result<Domain> {
    let context = context();
    let label = label.parse()?;
    let keys = match roots {
        PlainRoots {
            roots: Some(path), ..
        } => {
            let text = asl_backend::files::read_limited(path, 64 << 10)?;
            PublicKey::parse_file(&String::from_utf8_lossy(&text))?
        }
        PlainRoots {
            new_root: Some(path),
            ..
        } => {
            let key = SigningKey::generate(&*context.entropy)?;
            asl_backend::files::write_new(path, &key.encode(), 0o600)?;
            vec![key.public()]
        }
        PlainRoots { .. } => {
            return Err(Error::new(
                Kind::Usage,
                "create",
                "a plain domain",
                "nothing says whose it is",
            )
            .next("give --roots FILE with root public keys, or --new-root FILE to make one"))
        }
    };
    let roots = RootSet::new(keys, 1)?;
    let genesis = Genesis {
        label,
        nonce: context.nonce()?,
        host: root.id(),
        time: Timestamp::claimed(context.clock.wall_ns()),
        params: StoreParams::standard(false),
        root_set: roots.digest(),
        threshold: roots.threshold(),
    }
    .encode();
    Domain::create(
        root,
        &context,
        &Founding {
            genesis: &genesis,
            dam: None,
            epochs: &[],
            place: Place::Home,
        },
    )
}

fn say_domain(domain: &Domain, out: Out) -> Result<()> {
    let view = domain.describe();
    let mut text = format!("Domain {}\n", domain.id());
    for (name, value) in view.as_object().into_iter().flatten() {
        let shown = match value {
            Value::Null => continue,
            Value::String(s) => s.clone(),
            other => other.to_string(),
        };
        text.push_str(&format!("  {name:22} {shown}\n"));
    }
    out.result(&text, &view)
}

fn list(root: &Path, out: Out) -> Result<()> {
    let root = HostRoot::open(root)?;
    let (mut text, mut rows) = (String::new(), Vec::new());
    for id in root.domains()? {
        match Domain::open(&root, &id) {
            Ok(domain) => {
                let row = row_of(&root, &domain);
                text.push_str(&line_of(&row));
                rows.push(row);
            }
            // One damaged domain hides no other.
            Err(e) => {
                text.push_str(&format!("{:32} unreadable: {e}\n", id.to_string()));
                rows.push(json!({ "domain_id": id.to_string(), "error": e.to_string(), "next": e.what_next() }));
            }
        }
    }
    if rows.is_empty() {
        text.push_str("No domains.");
    }
    out.result(&text, &json!({ "domains": rows }))
}

fn row_of(root: &HostRoot, domain: &Domain) -> Value {
    let wall_ns = context().clock.wall_ns();
    let current = domain.current().ok();
    let seen = asl_host::admission::recorded(domain).ok();
    let seen = seen.and_then(|all| all.last().map(|r| time(r.decision.time.unix_ns)));
    let damage = domain.require_sound().err().map(|e| e.to_string());
    json!({
        "domain_id": domain.id().to_string(),
        "state": domain.state_at(root.id(), wall_ns).code(),
        "home": domain.place() == Place::Home,
        "stored_bytes": current.as_ref().map(|c| c.head.stored_bytes),
        "snapshots": current.as_ref().map(|c| c.snapshots.len()),
        "leases": super::lease::leases_of(root, domain),
        "last_seen": seen,
        "damage": damage,
    })
}

fn line_of(row: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_string();
    let bytes = |value: &Value| value.as_u64().map_or_else(|| "-".to_string(), size);
    let leases = row["leases"].as_array().map_or(&[][..], Vec::as_slice);
    let leases = leases.iter().map(|lease| {
        let (left, until) = (bytes(&lease["left_bytes"]), text(&lease["expires_at"]));
        format!("lease {left} left until {until}")
    });
    let mut lease = leases.collect::<Vec<_>>().join(", ");
    if lease.is_empty() {
        lease = "no lease".into();
    }
    format!(
        "{:32} {:12} {:>10} {:>4} snapshots  {lease}  last seen {}{}\n",
        text(&row["domain_id"]),
        text(&row["state"]),
        bytes(&row["stored_bytes"]),
        row["snapshots"].as_u64().unwrap_or(0),
        text(&row["last_seen"]),
        if row["damage"].is_null() {
            ""
        } else {
            "  DAMAGED"
        },
    )
}
