//! What a host keeps of a domain beside its store, checked: who may, what was decided, under which
//! keys it is sealed, and what is derived of that for a person to read (reliability.md, P5).
//!
//! `host-policy` and `trusted-roots` are the keeper's own words and are not checked.

use crate::admission::{beside, checked};
use crate::audit::Audit;
use crate::domain::Domain;
use crate::handle::device_line;
use crate::heads;
use crate::hostlog::HostRecord;
use crate::layout::domain as place;
use crate::pins;
use crate::root::HostRoot;
use crate::standing::{standing, Standing};
use asl_auth::{
    cose, AdmissionRequest, Dam, Decision, Delegation, OperatorVerb, PublicKey, VerifiedDam,
};
use asl_backend::files;
use asl_core::{Digest, Error, Kind, Result};
use asl_store::{Damage, Head, RepairReport, VerifyReport};
use std::path::{Path, PathBuf};

/// Bytes of a document at most, and of an epoch's file.
const LONGEST: u64 = 1 << 20;

/// The last session's public key.
const DEVICE: &str = "auth/device.pub";

/// What a view is told to be that is not what the records say.
const BEHIND: &str =
    "it is not what the records say; it is derived, and `asl-host repair` writes it anew";

/// Checks the records of a domain and this host's own, as far as that needs no key; what is found is
/// added to the report.
///
/// `head` is the content log's, as the store was opened; `None` where this host holds none of it.
///
/// # Errors
/// `Io` where the root itself fails.
pub fn check_records(
    root: &HostRoot,
    domain: &Domain,
    head: Option<Head>,
    report: &mut VerifyReport,
) -> Result<()> {
    root.check_own(&mut |name, why| report.damaged(name, why))?;
    check_heads(root, domain, head, report)?;
    check_rejected(root, report)?;
    for broken in Audit::at(root.layout().audit()).history()?.broken {
        let name = format!("host/audit/{}, line {}", broken.file, broken.line);
        report.damaged(name, broken.why);
    }
    if let Err(e) = domain.require_sound() {
        report.damaged(e.object(), e.why());
    }
    check_admissions(root, domain, report)?;
    check_epochs(domain, report)?;
    check_delegations(domain, report)?;
    check_signatures(domain, report)?;
    for (name, is_so) in views(domain)? {
        if !is_so {
            report.notes.push(format!("{name}: {BEHIND}"));
        }
    }
    Ok(())
}

/// Writes derived files anew, and sets a record of a head aside that is not what was written: it
/// witnesses nothing any more. Call it before the store is opened for writing.
///
/// # Errors
/// `Io`.
pub fn mend_records(root: &HostRoot, domain: &Domain, report: &mut RepairReport) -> Result<()> {
    for (name, path) in heads_of(root, domain) {
        let Err(e) = heads::read(&path) else { continue };
        if !matches!(e.kind(), Kind::Damage | Kind::Invalid) {
            return Err(e);
        }
        let bytes = files::read_limited(&path, LONGEST)?;
        let short: String = Digest::of(&bytes).to_string().chars().take(16).collect();
        let kept = format!("store/quarantine/{}-{short}", name.replace('/', "~"));
        domain.write_once(Path::new(&kept), &bytes)?;
        files::remove(&path)?;
        report.quarantined.push(kept);
        report.repaired.push(name);
    }
    if domain.require_sound().is_err() {
        // Nothing is derived of a record that is not believed.
        return Ok(());
    }
    if !names_a_delegate(domain)? {
        files::remove(&domain.dir().join(DEVICE))?;
        report.repaired.push(DEVICE.into());
    }
    let behind = views(domain)?;
    let behind: Vec<String> = behind.into_iter().filter(|v| !v.1).map(|v| v.0).collect();
    if !behind.is_empty() {
        domain.write_views()?;
        pins::write_views(domain)?;
        report.repaired.extend(behind);
    }
    Ok(())
}

/// What stays of the records that only a copy brings back.
///
/// # Errors
/// As [`check_records`].
pub fn records_that_remain(
    root: &HostRoot,
    domain: &Domain,
    head: Option<Head>,
) -> Result<Vec<Damage>> {
    let mut report = VerifyReport::default();
    check_records(root, domain, head, &mut report)?;
    Ok(report.damage)
}

fn heads_of(root: &HostRoot, domain: &Domain) -> [(String, PathBuf); 2] {
    let id = domain.id();
    [
        (format!("host/heads/{id}"), root.layout().head(id)),
        (format!("host/heads/{id}.host"), root.layout().host_head(id)),
    ]
}

fn check_heads(
    root: &HostRoot,
    domain: &Domain,
    head: Option<Head>,
    report: &mut VerifyReport,
) -> Result<()> {
    for (n, (name, path)) in heads_of(root, domain).into_iter().enumerate() {
        match heads::read(&path) {
            Err(e) => report.judge(name, e)?,
            Ok(Some(kept))
                if n == 0 && head.is_some_and(|h| h.commit == kept.commit && h != kept) =>
            {
                report.damaged(name, "it says another head than the log has");
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Petitions that were refused are kept as evidence, with this host's answer.
fn check_rejected(root: &HostRoot, report: &mut VerifyReport) -> Result<()> {
    for (dir, name) in entries(&root.layout().quarantine(), "quarantine")? {
        let Some(digest) = name.strip_prefix("quarantine/admission-") else {
            continue;
        };
        let done = crate::admission::Recorded::read(&dir, 0).and_then(|kept| {
            let petition = &kept.petition;
            if Digest::of(&petition.request.bytes).to_string() != *digest {
                return Err(bad("the request is not the one that it is named by"));
            }
            let key = [*root.public_key()];
            cose::verify(Decision::KIND, &kept.signed.bytes, &kept.signed.sig, &key)?;
            let dam = Dam::verify(&petition.dam.bytes, &petition.dam.sig, None);
            match dam {
                // A later DAM is signed by the set of the one before, which is not kept here.
                Err(_) if Dam::decode(&petition.dam.bytes)?.sequence > 1 => Ok(()),
                Err(e) => Err(e),
                Ok(dam) => check_request(&petition.request.bytes, &petition.request.sig, &dam),
            }
        });
        if let Err(e) = done {
            judge(report, name, e)?;
        }
    }
    Ok(())
}

/// Every recorded admission; that its DAM follows the one before, opening the domain has checked.
fn check_admissions(root: &HostRoot, domain: &Domain, report: &mut VerifyReport) -> Result<()> {
    let records = domain.host_log().replay().unwrap_or_default();
    for record in records {
        let HostRecord::Admission {
            number,
            decision,
            beside: known,
        } = record
        else {
            continue;
        };
        let name = place::admission(number).to_string_lossy().into_owned();
        let done = checked(domain, number, &decision).and_then(|one| {
            let (petition, signed) = (&one.petition, &one.signed);
            if known.is_some_and(|known| known != beside(petition, &signed.sig)) {
                return Err(bad("its documents are not those that the host log names"));
            }
            if one.decision.request != Digest::of(&petition.request.bytes) {
                return Err(bad("the decision answers another request"));
            }
            let dam = domain.dam_as_it_was(&one.request.dam);
            let dam = dam.ok_or_else(|| bad("the request names a DAM that is not here"))?;
            check_request(&petition.request.bytes, &petition.request.sig, dam)?;
            if one.decision.host == root.id() {
                let key = [*root.public_key()];
                cose::verify(Decision::KIND, &signed.bytes, &signed.sig, &key)?;
            } else if known.is_none() {
                report.not_checked.push(format!(
                    "{name}: the decision's signature, for its host's key is not kept here"
                ));
            }
            Ok(())
        });
        if let Err(e) = done {
            judge(report, name, e)?;
        }
    }
    Ok(())
}

fn check_request(bytes: &[u8], sig: &[u8], dam: &VerifiedDam) -> Result<()> {
    dam.verify_operator(
        OperatorVerb::AdmitRequest,
        AdmissionRequest::KIND,
        bytes,
        sig,
    )
    .map(drop)
}

/// The wrapped keys of each epoch: without them nothing is ever read again.
fn check_epochs(domain: &Domain, report: &mut VerifyReport) -> Result<()> {
    let current = match domain.current() {
        // A host that holds none of the log.
        Err(e) if e.kind() == Kind::NotFound => return Ok(()),
        // The store's own check tells of it.
        Err(e) if e.kind() != Kind::Io => return Ok(()),
        read => read?,
    };
    for (name, digest) in current.epochs.values().flat_map(|e| &e.files) {
        let name = format!("store/encryption/{name}");
        match files::read_limited(&domain.dir().join(&name), LONGEST) {
            Ok(bytes) if Digest::of(&bytes) == *digest => {}
            Ok(_) => report.damaged(name, "it is not the file that the log names"),
            Err(e) => judge(report, name, e)?,
        }
    }
    Ok(())
}

fn check_delegations(domain: &Domain, report: &mut VerifyReport) -> Result<()> {
    let all = domain.dir().join("auth/delegations");
    for (path, name) in entries(&all, "auth/delegations")? {
        let Some(device) = name.strip_suffix(".cbor") else {
            if name.ends_with(".sig") && !is_there(&path.with_extension("cbor"))? {
                report.damaged(name, "the delegation that it signs is missing");
            }
            continue;
        };
        if !is_there(&path.with_extension("sig"))? {
            // A session that is cut off between the two leaves it so; it gives no right.
            report.notes.push(format!("{name}: nobody signed it"));
            continue;
        }
        let read = |path: &Path| files::read_limited(path, LONGEST);
        let done = read(&path).and_then(|bytes| {
            let delegation = Delegation::decode(&bytes)?;
            let id = delegation.device.id().to_string();
            if Path::new(device).file_name() != Some(id.as_ref()) {
                return Err(bad("it names another device than its file"));
            }
            let sig = read(&path.with_extension("sig"))?;
            match domain.dam_as_it_was(&delegation.dam) {
                Some(dam) => Delegation::verify(&bytes, &sig, dam).map(drop),
                None => Err(bad("it names a DAM that is not here")),
            }
        });
        if let Err(e) = done {
            judge(report, name, e)?;
        }
    }
    if !names_a_delegate(domain)? {
        report.notes.push(format!("{DEVICE}: {BEHIND}"));
    }
    Ok(())
}

/// Whether the last session's public key, where it is kept, is one that was delegated to.
fn names_a_delegate(domain: &Domain) -> Result<bool> {
    let line = match files::read_limited(&domain.dir().join(DEVICE), LONGEST) {
        Err(e) if e.kind() == Kind::NotFound => return Ok(true),
        read => read?,
    };
    let key = PublicKey::from_openssh(&String::from_utf8_lossy(&line)).ok();
    let Some(key) = key.filter(|key| line == device_line(key).as_bytes()) else {
        return Ok(false);
    };
    is_there(&domain.dir().join(place::delegation(&key.id(), "cbor")))
}

fn check_signatures(domain: &Domain, report: &mut VerifyReport) -> Result<()> {
    let snapshots = match domain.manifests() {
        Err(e) if e.kind() != Kind::Io => return Ok(()),
        read => read?,
    };
    // A manifest that cannot be read is told of by the store's own check.
    for manifest in snapshots.into_iter().filter_map(Result::ok) {
        let name = format!("snapshots/{}/manifest.sig", manifest.id);
        match standing(domain, &manifest)? {
            Standing::Refused(e) => report.damaged(name, e.why()),
            // A session that is cut off between a snapshot and its signature leaves it so.
            Standing::Unsigned if manifest.delegation.is_some() => report.notes.push(format!(
                "{name}: it is missing; the snapshot counts as unsigned"
            )),
            _ => {}
        }
    }
    Ok(())
}

/// The derived files of a domain, and whether each says what the records say.
fn views(domain: &Domain) -> Result<Vec<(String, bool)>> {
    let mut views = domain.views()?;
    for (id, pin) in pins::pins(domain).unwrap_or_default() {
        views.push((
            format!("{}/{id}", pins::VIEWS),
            pins::view(id, &pin).into_bytes(),
        ));
    }
    let is_so = |(name, bytes): (String, Vec<u8>)| {
        let there = files::read_limited(&domain.dir().join(&name), LONGEST);
        let is_so = there.is_ok_and(|there| there == bytes);
        (name, is_so)
    };
    Ok(views.into_iter().map(is_so).collect())
}

/// What lies in a directory, sorted, with the names to tell of it by.
fn entries(dir: &Path, name: &str) -> Result<Vec<(PathBuf, String)>> {
    let names = files::names(dir)?;
    let both = |last: String| (dir.join(&last), format!("{name}/{last}"));
    Ok(names.into_iter().map(both).collect())
}

fn is_there(path: &Path) -> Result<bool> {
    files::look(path).map(|found| found.is_some())
}

fn bad(why: &str) -> Error {
    Error::new(Kind::Damage, "check", "a record", why)
}

/// Here a signature that does not hold is damage, and so is a file that is not there.
fn judge(report: &mut VerifyReport, name: impl ToString, e: Error) -> Result<()> {
    match e.kind() {
        Kind::Io => Err(e),
        _ => {
            report.damaged(name, e.why());
            Ok(())
        }
    }
}
