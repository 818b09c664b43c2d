//! `domain`, `lease`, `ingest`, `restore`, `snapshot`, `log`, `verify`.

use super::{boot_id, context, keys, open_domain};
use crate::cli::{self, Domain as DomainVerb, Lease, Log, Snapshot};
use crate::out::{size, time, Out};
use crate::progress::{bar, Screen};
use crate::system;
use crate::unlock::{unlock, Order, Unlocked};
use asl_auth::{Genesis, PublicKey, RootSet, SealCredential, SigningKey, StoreParams};
use asl_core::codec::Root;
use asl_core::{words, ChunkId, Error, Kind, Result, SnapshotId, Timestamp};
use asl_host::capability::Place;
use asl_host::handle::Device;
use asl_host::keystick::KeyStick;
use asl_host::{Credentials, Domain, Founding, HostRoot, LeaseScope, StoreHandle};
use asl_ingest::{IngestOptions, Ingested, NameTable, RestoreOptions};
use asl_store::{Manifest, Mode, ReadBack, VerifyOptions};
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The exit code of what was sealed with holes.
const SEALED_WITH_HOLES: u8 = 5;

/// The exit code of damage that was found and told.
const DAMAGE: u8 = 4;

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
            let domain = create_plain(&HostRoot::open(root)?, &label, roots.as_deref())?;
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

fn create_plain(root: &HostRoot, label: &str, roots: Option<&Path>) -> Result<Domain> {
    let context = context();
    let keys = match roots {
        Some(path) => PublicKey::parse_file(&String::from_utf8_lossy(
            &asl_backend::files::read_limited(path, 64 << 10)?,
        ))?,
        None => vec![SigningKey::generate(&*context.entropy)?.public()],
    };
    let roots = RootSet::new(keys, 1)?;
    let genesis = Genesis {
        label: label.parse()?,
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
    let handle = StoreHandle::open(
        &root,
        &domain,
        Mode::Write,
        credentials,
        LeaseScope::Remote,
        boot_id()?,
        &context(),
    )?;
    let screen = Screen::new(out, "sealing", |_| ());
    let ingested = seal_tree(
        &handle,
        &args.source,
        &args.source.to_string_lossy(),
        root.layout().root(),
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

/// Seals one tree under a name, leaving out the root that it is sealed into.
///
/// # Errors
/// Those of the ingest.
pub fn seal_tree(
    handle: &StoreHandle,
    source: &Path,
    name: &str,
    own_root: &Path,
    screen: &Screen<'_>,
) -> Result<Ingested> {
    let context = context();
    let names = NameTable::of_source(source)?;
    let mut options = IngestOptions::new(&names, &*context.clock);
    options.name = Some(name.as_bytes().to_vec());
    options.exclude = vec![own_root.to_path_buf()];
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
    format!(
        "{} entries, {} ({} new): {holes}; {kept}.",
        ingested.entries,
        size(ingested.bytes),
        size(ingested.new_bytes)
    )
}

/// Reads every block back from the medium.
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
    out.note(&format!(
        "  read back: {} blocks, {}, all as written",
        report.blocks,
        size(report.bytes)
    ));
    Ok(ReadBack::Done)
}

pub fn restore(root: &Path, args: &cli::Restore, out: Out) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, &args.which)?;
    let credentials = open_credentials(&domain, args.identity.as_deref())?;
    let handle = StoreHandle::open(
        &root,
        &domain,
        Mode::Read,
        credentials,
        LeaseScope::Remote,
        boot_id()?,
        &context(),
    )?;
    let wanted = args
        .snapshot
        .as_deref()
        .map(str::parse::<SnapshotId>)
        .transpose()?;
    let mut manifests = handle.manifests().into_iter();
    let found = match wanted {
        Some(id) => manifests.find(|(n, _)| *n == id),
        None => manifests.next_back(),
    };
    let (id, manifest) = found.ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            "restore from",
            domain.id(),
            "there is no such snapshot",
        )
        .next("list them with `asl-host snapshot list`")
    })?;
    let roots = newest_roots(&handle, &manifest?)?;
    let mut problems = 0;
    let mut restored = Vec::new();
    for (number, chunk) in roots.iter().enumerate() {
        // One root restores to the directory itself; several, each to a numbered one below it.
        let to = if roots.len() == 1 {
            args.to.clone()
        } else {
            args.to.join(format!("{:02}", number + 1))
        };
        if roots.len() > 1 {
            std::fs::create_dir_all(&args.to)
                .map_err(|e| Error::new(Kind::Io, "make", args.to.display(), e))?;
        }
        let screen = Screen::new(out, "restoring", |_| ());
        let done = asl_ingest::restore(&handle, chunk, &to, &RestoreOptions::default(), &screen);
        screen.finish();
        let done = done?;
        problems += done.problem_count;
        restored.push((to, done));
    }
    let mut text = String::new();
    for (to, done) in &restored {
        text.push_str(&format!(
            "Restored {} entries, {} to {} ({} problems).\n",
            done.entries,
            size(done.bytes),
            to.display(),
            done.problem_count
        ));
    }
    let list: Vec<Value> = restored
        .iter()
        .map(|(to, d)| json!({ "to": to, "entries": d.entries, "bytes": d.bytes, "problems": d.problem_count, "damaged": d.damaged }))
        .collect();
    out.result(
        &text,
        &json!({ "snapshot": id.to_string(), "restored": list, "problems": problems }),
    )?;
    Ok(ExitCode::from(if problems > 0 {
        SEALED_WITH_HOLES
    } else {
        0
    }))
}

/// The newest root of each source in a snapshot: a source that was sealed again is restored once.
fn newest_roots(handle: &StoreHandle, manifest: &Manifest) -> Result<Vec<ChunkId>> {
    let mut newest: BTreeMap<Vec<u8>, (i64, ChunkId)> = BTreeMap::new();
    for (id, _) in &manifest.roots {
        let root = Root::decode(&handle.get_piece(id)?)?;
        let entry = (root.started.unix_ns, *id);
        let kept = newest.entry(root.source).or_insert(entry);
        *kept = entry.max(*kept);
    }
    Ok(newest.into_values().map(|(_, id)| id).collect())
}

fn open_credentials(domain: &Domain, identity: Option<&Path>) -> Result<Credentials> {
    if !domain.genesis().params.encrypted {
        return Ok(Credentials::None);
    }
    let path = identity.ok_or_else(|| {
        Error::new(
            Kind::Refused,
            "open",
            format!("domain {}", domain.id()),
            "it is sealed for its owner",
        )
        .next("bring the owner's identity file with --identity")
    })?;
    keys::read_identity(path).map(Credentials::Open)
}

pub fn snapshot(root: &Path, verb: Snapshot, out: Out) -> Result<()> {
    match verb {
        Snapshot::Create {
            which,
            unlock: at,
            no_read_back,
        } => {
            let (root, domain) = open_domain(root, &which)?;
            let device = match &at.stick {
                Some(stick) => {
                    Some(begin_session(stick, at.passphrase_file.clone(), &domain, out)?.device)
                }
                None => None,
            };
            let handle = StoreHandle::open(
                &root,
                &domain,
                Mode::Write,
                Credentials::None,
                LeaseScope::Remote,
                boot_id()?,
                &context(),
            )?;
            let read_back = if no_read_back {
                ReadBack::Skipped
            } else {
                read_back(&handle, out)?
            };
            let id = handle.snapshot(device.as_ref(), read_back, 0)?;
            domain.write_descriptor(&context())?;
            let signed = if device.is_some() {
                "signed by this session's device key"
            } else {
                "unsigned, awaiting countersignature"
            };
            out.result(
                &format!("Snapshot {id}, {signed}.\nLog head: {}", words(handle.head().frame.as_bytes())),
                &json!({ "snapshot": id.to_string(), "signed": device.is_some(), "head": handle.head().frame.to_string() }),
            )
        }
        Snapshot::List { which } => {
            let (root, domain) = open_domain(root, &which)?;
            let handle = StoreHandle::open(
                &root,
                &domain,
                Mode::Read,
                Credentials::None,
                LeaseScope::Remote,
                boot_id()?,
                &context(),
            )?;
            let mut text = String::new();
            let mut list = Vec::new();
            for (id, m) in handle.manifests() {
                let m = m?;
                text.push_str(&format!(
                    "{id}  {}  {} blocks  {} roots  read back {}\n",
                    time(m.time.unix_ns),
                    m.block_count,
                    m.roots.len(),
                    if m.read_back == ReadBack::Done {
                        "done"
                    } else {
                        "skipped"
                    },
                ));
                list.push(json!({
                    "snapshot": id.to_string(),
                    "time": time(m.time.unix_ns),
                    "logseq": m.head.logseq.0,
                    "blocks": m.block_count,
                    "roots": m.roots.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(),
                    "read_back": m.read_back == ReadBack::Done,
                }));
            }
            if list.is_empty() {
                text.push_str("no snapshots\n");
            }
            out.result(&text, &json!({ "snapshots": list }))
        }
    }
}

pub fn log(root: &Path, Log::Verify { which }: Log, out: Out) -> Result<()> {
    let (root, domain) = open_domain(root, &which)?;
    let handle = StoreHandle::open(
        &root,
        &domain,
        Mode::Read,
        Credentials::None,
        LeaseScope::Remote,
        boot_id()?,
        &context(),
    )?;
    if let Some(first) = handle.damage().first() {
        return Err(Error::new(Kind::Damage, "verify", &first.object, &first.why)
            .next("nothing is written to this domain until it is repaired; what lies before is readable"));
    }
    let head = handle.head();
    out.result(
        &format!(
            "The log holds: {} commits, {} records, {} stored.\n  head  {}\n  words {}",
            head.commit,
            head.logseq,
            size(head.stored_bytes),
            head.frame,
            words(head.frame.as_bytes())
        ),
        &json!({
            "commits": head.commit,
            "logseq": head.logseq.0,
            "stored_bytes": head.stored_bytes,
            "head": head.frame.to_string(),
            "words": words(head.frame.as_bytes()),
            "current": handle.current().digest().to_string(),
        }),
    )
}

pub fn verify(root: &Path, args: &cli::Verify, out: Out) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, &args.which)?;
    let credentials = match &args.identity {
        Some(_) => open_credentials(&domain, args.identity.as_deref())?,
        None => Credentials::None,
    };
    let data = args.identity.is_some() || !domain.genesis().params.encrypted;
    let handle = StoreHandle::open(
        &root,
        &domain,
        Mode::Read,
        credentials,
        LeaseScope::Remote,
        boot_id()?,
        &context(),
    )?;
    let bar = bar(out, "verifying");
    let report = handle.verify(
        VerifyOptions { data },
        &|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        },
        &system::stopped,
    );
    bar.finish_and_clear();
    let report = report?;
    let damage: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
    let depth = if data {
        "every piece opened"
    } else {
        "structure only; add --identity to open every piece"
    };
    let mut text = format!(
        "Checked {} blocks, {} segments, {} snapshots ({depth}).\n",
        report.blocks, report.segments, report.snapshots
    );
    for line in &damage {
        text.push_str(&format!("DAMAGE: {line}\n"));
    }
    for line in &report.not_checked {
        text.push_str(&format!("NOT CHECKED: {line}\n"));
    }
    for line in &report.notes {
        text.push_str(&format!("note: {line}\n"));
    }
    if damage.is_empty() {
        text.push_str(if report.not_checked.is_empty() {
            "No damage.\n"
        } else {
            "No damage in what was checked.\n"
        });
    }
    out.result(
        &text,
        &json!({ "blocks": report.blocks, "segments": report.segments, "snapshots": report.snapshots, "pieces_opened": data, "damage": damage, "not_checked": report.not_checked, "notes": report.notes }),
    )?;
    Ok(ExitCode::from(if damage.is_empty() { 0 } else { DAMAGE }))
}
