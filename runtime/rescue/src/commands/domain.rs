//! `domain` and `lease`: what there is and what it may do.

use super::{context, open_domain};
use crate::cli::{Domain as DomainVerb, Lease, PlainRoots};
use crate::out::{size, time, Out};
use asl_auth::{Genesis, PublicKey, RootSet, SigningKey, StoreParams};
use asl_core::{Error, Kind, Result, Timestamp};
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
        DomainVerb::Show { which } => say_domain(&open_domain(root, &which)?.1, out),
    }
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

pub fn lease(root: &Path, Lease::Show { which }: Lease, out: Out) -> Result<()> {
    let (_, domain) = open_domain(root, &which)?;
    let state = domain.state();
    let Some(lease) = domain.lease() else {
        return out.result(
            &format!(
                "Domain {} has no lease; its state here is {state}.",
                domain.id()
            ),
            &json!({ "domain_id": domain.id().to_string(), "state": state.code(), "lease": null }),
        );
    };
    let terms = &lease.terms;
    let used = domain.current().map_or(0, |c| c.head.stored_bytes);
    let text = format!(
        "Domain {}\n  granted by  {}\n  bytes       {} (stored here: {})\n  snapshots   {}\n  expires     {}\n  grace       {} days\n  encrypted   {}",
        domain.id(),
        lease.granted_by,
        size(terms.storage_bytes),
        size(used),
        terms.snapshots,
        time(terms.expires_at.unix_ns),
        terms.grace_s / 86_400,
        if terms.encryption_only { "required" } else { "not required" },
    );
    out.result(
        &text,
        &json!({
            "domain_id": domain.id().to_string(),
            "state": state.code(),
            "lease": {
                "granted_by": lease.granted_by.to_string(),
                "storage_bytes": terms.storage_bytes,
                "stored_bytes": used,
                "snapshots": terms.snapshots,
                "expires_at": time(terms.expires_at.unix_ns),
                "grace_seconds": terms.grace_s,
                "encryption_only": terms.encryption_only,
            },
        }),
    )
}
