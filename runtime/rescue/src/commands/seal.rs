//! `ingest`, and what a sealing session holds.

use super::{context, open_domain, open_handle, SEALED_WITH_HOLES};
use crate::cli;
use crate::out::{size, Out};
use crate::progress::{bar, Screen};
use crate::system;
use crate::unlock::{unlock, Order, Unlocked};
use asl_auth::{SealCredential, SigningKey};
use asl_core::{words, Error, Kind, Result};
use asl_host::handle::Device;
use asl_host::keystick::KeyStick;
use asl_host::{reserve, Credentials, Domain, Purpose, StoreHandle};
use asl_ingest::{Acknowledged, IngestOptions, Ingested, NameTable};
use asl_store::ReadBack;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a sealing session holds after its keys were unlocked.
pub struct Session {
    pub seal: SealCredential,
    pub device: Device,
}

/// Unlocks the seal credential and has a new device key delegated to.
///
/// # Errors
/// Those of the unlocking child; `Refused` where the delegation does not hold.
pub fn begin_session(
    stick: &Path,
    passphrase_file: Option<PathBuf>,
    domain: &Domain,
    out: Out,
) -> Result<Session> {
    let key = SigningKey::generate(&*context().entropy)?;
    let order = Order {
        stick: stick.to_path_buf(),
        passphrase_file,
        device: Some(key.public()),
        ..Order::default()
    };
    let unlocked = unlock(&order, out)?;
    session_of(unlocked, key, domain).map(|(session, _)| session)
}

/// Checks what the child gave and records the delegation in the domain.
///
/// # Errors
/// `Refused`, `Io`.
pub fn session_of(
    unlocked: Unlocked,
    key: SigningKey,
    domain: &Domain,
) -> Result<(Session, Vec<asl_host::keystick::Signed>)> {
    let missing = || {
        Error::new(
            Kind::Invalid,
            "delegate to",
            "the session's device key",
            "the child gave no delegation",
        )
    };
    let delegation = unlocked.delegation.ok_or_else(missing)?;
    let device = Device::new(key, delegation, domain)?;
    Ok((
        Session {
            seal: unlocked.seal,
            device,
        },
        unlocked.requests,
    ))
}

pub fn ingest(root: &Path, args: &cli::Ingest, out: Out) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, &args.which)?;
    // A mistyped path is told before anybody types a passphrase.
    if let Err(e) = std::fs::read_dir(&args.source) {
        return Err(Error::new(Kind::NotFound, "seal", args.source.display(), e)
            .next("name a directory that can be read; mount the disk first"));
    }
    let (credentials, device) = if domain.genesis().params.encrypted {
        let stick = args.unlock.stick.as_deref().ok_or_else(|| {
            Error::new(
                Kind::Refused,
                "seal into",
                domain.id(),
                "it is encrypted and no keys are named",
            )
            .next("add --stick DIR")
        })?;
        crate::appliance::refuse_example_keys(&KeyStick::open(stick)?, false)?;
        let session = begin_session(stick, args.unlock.passphrase_file.clone(), &domain, out)?;
        (Credentials::Seal(session.seal), Some(session.device))
    } else {
        (Credentials::None, None)
    };
    let handle = open_handle(&root, &domain, Purpose::Seal, credentials)?;
    let commits = args.commits.then_some(out);
    let screen = Screen::new(out, "sealing", |a| tell(commits, a)).within(|| handle.lease_left());
    let ingested = seal_tree(
        &handle,
        &args.source,
        &args.source.to_string_lossy(),
        root.layout().root(),
        args.no_cache,
        &screen,
    );
    screen.finish();
    let ingested = ingested?;
    let read_back = if args.no_read_back {
        ReadBack::Skipped
    } else {
        read_back(&handle, out)?
    };
    let snapshot = if args.snapshot {
        Some(handle.snapshot(device.as_ref(), read_back, ingested.problem_count)?)
    } else {
        None
    };
    domain.write_descriptor(&context())?;
    let head = handle.head();
    let mut text = sealed_in_words(&ingested, handle.durability());
    if let Some(id) = snapshot {
        text.push_str(&format!("\nSnapshot {id}."));
    }
    text.push_str(&format!("\nLog head: {}", words(head.frame.as_bytes())));
    out.result(
        &text,
        &json!({
            "root": ingested.root.to_string(),
            "entries": ingested.entries,
            "bytes": ingested.bytes,
            "new_bytes": ingested.new_bytes,
            "recalled": ingested.recalled,
            "problems": ingested.problem_count,
            "durability": if handle.durability() == asl_backend::Durability::Durable { "durable" } else { "volatile" },
            "read_back": read_back == ReadBack::Done,
            "snapshot": snapshot.map(|s| s.to_string()),
            "log": { "commit": head.commit, "logseq": head.logseq.0, "head": head.frame.to_string() },
        }),
    )?;
    Ok(ExitCode::from(if ingested.problem_count > 0 {
        SEALED_WITH_HOLES
    } else {
        0
    }))
}

/// Tells a commit to who asked for them.
fn tell(commits: Option<Out>, a: &Acknowledged) {
    let Some(out) = commits else { return };
    let kept = if a.durable { "durable" } else { "volatile" };
    let (all, head) = (size(a.stored_bytes), words(a.frame.as_bytes()));
    let object = json!({ "commit": {
        "durability": kept,
        "stored_bytes": a.stored_bytes,
        "logseq": a.logseq.0,
        "head": a.frame.to_string(),
    }});
    // Who cannot be told is told nothing: sealing goes on, and the result is refused likewise.
    let _ = out.result(
        &format!("Committed: {all} {kept}; log head: {head}"),
        &object,
    );
}

/// Seals one tree under a name, leaving out the root that it is sealed into. Files that look as
/// they did when they were sealed last are not read, unless all are to be.
///
/// # Errors
/// Those of the ingest.
pub fn seal_tree(
    handle: &StoreHandle,
    source: &Path,
    name: &str,
    own_root: &Path,
    read_all: bool,
    screen: &Screen<'_>,
) -> Result<Ingested> {
    let context = context();
    reserve::keep(own_root, &context);
    let names = NameTable::of_source(source)?;
    let mut options = IngestOptions::new(&names, &*context.clock);
    options.name = Some(name.as_bytes().to_vec());
    options.exclude = vec![own_root.to_path_buf()];
    options.read_all = read_all;
    asl_ingest::ingest_tree(handle, source, &options, screen)
}

/// What was sealed, in words.
pub fn sealed_in_words(ingested: &Ingested, durability: asl_backend::Durability) -> String {
    let kept = match durability {
        asl_backend::Durability::Durable => "durable",
        asl_backend::Durability::Volatile => "VOLATILE: gone when the power goes",
    };
    let holes = match ingested.problem_count {
        0 => "complete".to_string(),
        n => format!("SEALED WITH HOLES: {n} problems, listed in the root"),
    };
    let recalled = match ingested.recalled {
        0 => String::new(),
        n => format!(", {n} files as they were and not read"),
    };
    format!(
        "{} entries, {} ({} new{recalled}): {holes}; {kept}.",
        ingested.entries,
        size(ingested.bytes),
        size(ingested.new_bytes)
    )
}

/// Reads every block back from the medium that was not read back for an earlier snapshot.
///
/// # Errors
/// `Damage` naming the blocks that did not come back as they were written.
pub fn read_back(handle: &StoreHandle, out: Out) -> Result<ReadBack> {
    let bar = bar(out, "reading back");
    let report = handle.read_back(
        &|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        },
        &system::stopped,
    );
    bar.finish_and_clear();
    let report = report?;
    if let Some(first) = report.damage.first() {
        return Err(Error::new(
            Kind::Damage,
            "read back",
            format!("{} of {} blocks", report.damage.len(), report.blocks),
            first,
        )
        .next("the medium does not keep what is written; use another target and run it again"));
    }
    let before = match report.before {
        0 => String::new(),
        n => format!("; {n} were read back before"),
    };
    out.note(&format!(
        "  read back: {} blocks, {}, all as written{before}",
        report.blocks,
        size(report.bytes)
    ));
    Ok(ReadBack::Done)
}
