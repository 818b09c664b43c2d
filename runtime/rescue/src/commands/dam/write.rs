//! `dam create`: a domain's first DAM, and each next one.

use super::wishes::Wishes;
use crate::cli::DamCreate;
use crate::commands::context;
use crate::commands::keys::generate::epoch_recipients;
use crate::out::Out;
use asl_auth::{
    AdmissionResult, Dam, DamPolicy, DomainEncryption, EarlierEpoch, Genesis, PublicKey, RootSet,
    StoreParams, VerifiedDam,
};
use asl_core::{Digest, Error, Kind, Result, Timestamp};
use asl_host::keystick::{name, KeyStick, Signed};
use serde_json::json;
use std::path::Path;

/// Nanoseconds of a day.
const DAY: i64 = 86_400_000_000_000;

pub fn create(args: &DamCreate, out: Out) -> Result<()> {
    let wishes = Wishes::of(args)?;
    let dam = match args.label.as_deref() {
        Some(label) if !args.next => first(&args.keys, label, &wishes)?,
        _ => following(&args.keys, &wishes)?,
    };
    let id = dam.check()?.domain_id();
    out.result(
        &format!(
            "Wrote DAM number {} of {id}.\nNext: `asl-host dam sign --keys {}`.",
            dam.sequence,
            args.keys.display()
        ),
        &json!({
            "domain_id": id.to_string(),
            "domain_hash": dam.domain.to_string(),
            "sequence": dam.sequence,
        }),
    )
}

/// Writes the first DAM of a new domain, not yet signed.
///
/// # Errors
/// `Exists` where there is a DAM; `Invalid` for a label that is none; those of the key files.
pub fn first(keys: &Path, label: &str, wishes: &Wishes) -> Result<Dam> {
    let stick = KeyStick::open(keys)?;
    let context = context();
    let roots = match wishes.roots.as_slice() {
        [] => PublicKey::parse_file(&stick.text(name::ROOT_PUB)?)?,
        named => named.to_vec(),
    };
    let roots = RootSet::new(roots, wishes.threshold.unwrap_or(1))?;
    let host = roots.keys().first().map(PublicKey::id);
    let genesis = Genesis {
        label: label.parse()?,
        nonce: context.nonce()?,
        host: host.unwrap_or(asl_core::KeyId::from([0; 32])),
        time: Timestamp::claimed(context.clock.wall_ns()),
        params: StoreParams::standard(true),
        root_set: roots.digest(),
        threshold: roots.threshold(),
    };
    let dam = compose(&stick, genesis.encode(), roots, None, wishes)?;
    stick.write(name::DAM, &dam.encode(), false).map_err(|e| {
        if e.kind() != Kind::Exists {
            return e;
        }
        e.next("the next DAM of the same domain is `asl-host dam create --next`; a new domain wants new keys")
    })?;
    write_roots(&stick, &dam)?;
    Ok(dam)
}

/// Writes the DAM that follows the one in force, from the keys as they are now, not yet signed.
/// The old one is kept as `dam-N.cbor` and `dam-N.sig`.
///
/// # Errors
/// Those of the DAM in force, which must verify; `Io`.
fn following(keys: &Path, wishes: &Wishes) -> Result<Dam> {
    let stick = KeyStick::open(keys)?;
    let (before, signed) = in_force(&stick)?;
    let old = &before.dam().roots;
    let roots = match wishes.roots.as_slice() {
        [] => old.keys().to_vec(),
        named => named.to_vec(),
    };
    // The old threshold counts the old keys; of new ones at least one signs.
    let kept = if wishes.roots.is_empty() {
        old.threshold()
    } else {
        1
    };
    let roots = RootSet::new(roots, wishes.threshold.unwrap_or(kept))?;
    let genesis = before.dam().genesis.clone();
    let dam = compose(&stick, genesis, roots, Some((&before, &signed)), wishes)?;
    let n = before.dam().sequence;
    stick.write(&format!("dam-{n}.cbor"), &signed.bytes, true)?;
    stick.write(&format!("dam-{n}.sig"), &signed.sig, true)?;
    // Without its signatures first: the old ones never lie beside the new document.
    stick.remove(name::DAM_SIG)?;
    stick.write(name::DAM, &dam.encode(), true)?;
    write_roots(&stick, &dam)?;
    Ok(dam)
}

/// The DAM in force: of the directory, or the one before where its own was never signed by all who
/// must. That one is then written anew.
fn in_force(stick: &KeyStick) -> Result<(VerifiedDam, Signed)> {
    let whole = stick.dam().and_then(|signed| {
        let dam = Dam::verify(&signed.bytes, &signed.sig, None)?;
        Ok((dam, signed))
    });
    let Err(e) = whole else { return whole };
    let unfinished = Dam::decode(&stick.read(name::DAM)?)?;
    match stick.earlier_dams()?.pop() {
        Some(signed) if unfinished.previous == Some(Digest::of(&signed.bytes)) => {
            Ok((Dam::verify(&signed.bytes, &signed.sig, None)?, signed))
        }
        _ => Err(e),
    }
}

/// `root.pub` holds the root keys that the DAM names.
fn write_roots(stick: &KeyStick, dam: &Dam) -> Result<()> {
    let keys = dam.roots.keys().iter();
    let lines: String = keys.map(|k| k.to_openssh("root") + "\n").collect();
    stick.write(name::ROOT_PUB, lines.as_bytes(), true)
}

fn compose(
    stick: &KeyStick,
    genesis: Vec<u8>,
    roots: RootSet,
    before: Option<(&VerifiedDam, &Signed)>,
    wishes: &Wishes,
) -> Result<Dam> {
    let now = context().clock.wall_ns();
    let end = |d| now.saturating_add(i64::from(d).saturating_mul(DAY));
    let mut operators = PublicKey::parse_file(&stick.text(name::OPERATOR_PUB)?)?;
    operators.extend(&wishes.operators);
    operators.sort();
    operators.dedup();
    let lineage = match before {
        Some((dam, signed)) => dam.lineage_for(&roots, &signed.bytes, &signed.sig)?,
        None => None,
    };
    let before = before.map(|(dam, _)| dam);
    let dam = Dam {
        domain: Genesis::hash_of(&genesis),
        genesis,
        sequence: before.map_or(1, |b| b.dam().sequence.saturating_add(1)),
        previous: before.map(VerifiedDam::digest),
        roots,
        operators,
        encryption: Some(encryption(stick)?),
        policy: policy(before, wishes),
        time: Timestamp::claimed(now),
        not_before: None,
        not_after: wishes.days.map(end).map(Timestamp::claimed),
        lineage,
        roles: wishes.roles.clone(),
    };
    dam.check()?;
    Ok(dam)
}

fn policy(before: Option<&VerifiedDam>, wishes: &Wishes) -> DamPolicy {
    let mut policy = before.map_or_else(
        || DamPolicy {
            encrypted: true,
            outcomes: vec![AdmissionResult::Accepted, AdmissionResult::AcceptedLimited],
            peers: Vec::new(),
        },
        |dam| dam.dam().policy.clone(),
    );
    if !wishes.outcomes.is_empty() {
        policy.outcomes.clone_from(&wishes.outcomes);
    }
    if !wishes.peers.is_empty() {
        policy.peers.clone_from(&wishes.peers);
    }
    policy
}

/// The epochs as their files are now; the last is the one in force.
fn encryption(stick: &KeyStick) -> Result<DomainEncryption> {
    let mut epochs = stick.epochs()?;
    let missing = || {
        let why = "there are no epoch files";
        Error::new(Kind::NotFound, "read", stick.path().display(), why)
            .next("name the directory that `asl-host key generate` filled")
    };
    let newest = epochs.pop().ok_or_else(missing)?;
    let [data_recipient, index_recipient] = epoch_recipients(stick, newest.number)?;
    let earlier = epochs.iter().map(|epoch| {
        let [data_recipient, _] = epoch_recipients(stick, epoch.number)?;
        Ok(EarlierEpoch {
            data_recipient,
            epoch_file: Digest::of(&epoch.identity),
            keys_file: Digest::of(&epoch.keys),
        })
    });
    let owners = stick.text(name::OWNER_PUB)?;
    Ok(DomainEncryption {
        epoch: newest.number,
        data_recipient,
        index_recipient,
        owner_recipients: owners.lines().map(str::to_string).collect(),
        epoch_file: Digest::of(&newest.identity),
        keys_file: Digest::of(&newest.keys),
        earlier: earlier.collect::<Result<_>>()?,
    })
}
