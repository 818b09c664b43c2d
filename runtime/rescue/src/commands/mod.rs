//! The commands: each reads its arguments, calls a library floor, and says what came of it.

pub mod admission;
pub mod dam;
mod diff;
pub mod domain;
mod entry;
mod forget;
mod gc;
pub mod host;
mod image;
pub mod keys;
mod lease;
mod log;
mod look;
mod open;
mod policy;
mod profile;
mod quarantine;
mod repair;
mod revocation;
pub mod seal;
mod sealed;
pub mod serve;
mod snapshot;
mod verify;
mod words;

use crate::cli::{Cli, Command, WhichDomain};
use crate::out::Out;
use crate::system::{SystemClock, SystemEntropy};
use crate::{appliance, unlock};
use asl_core::{Error, Kind, Result};
use asl_host::{
    reserve, Context, Credentials, Domain, HostRoot, LeaseScope, Opening, Purpose, StoreHandle,
};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Runs a command line and says its exit code.
pub fn run(cli: Cli, out: Out) -> Result<ExitCode> {
    if !cli.command.works_when_full() {
        return carry_out(cli, out);
    }
    let root = cli.common.root.clone();
    if reserve::make_room(&root, &context()) {
        out.note("  the medium is full: what is kept in reserve is let go");
    }
    let done = carry_out(cli, out);
    reserve::keep(&root, &context());
    done
}

fn carry_out(cli: Cli, out: Out) -> Result<ExitCode> {
    let root = cli.common.root.as_path();
    let done = |result: Result<()>| result.map(|()| ExitCode::SUCCESS);
    match cli.command {
        Command::Init => done(host::init(root, out)),
        Command::Status => done(host::status(root, out)),
        Command::Serve(args) => done(serve::serve(root, &args, out)),
        Command::Rescue(args) => appliance::run(root, &args, out),
        Command::Domain(verb) => done(domain::domain(root, verb, out)),
        Command::Key(verb) => done(keys::key(verb, out)),
        Command::Dam(verb) => done(dam::dam(root, verb, out)),
        Command::Revocation(verb) => done(revocation::revocation(root, verb, out)),
        Command::Admission(verb) => admission::run(root, verb, out),
        Command::Policy(verb) => done(policy::policy(root, verb, out)),
        Command::Lease(verb) => done(lease::lease(root, verb, out)),
        Command::Quarantine(verb) => done(quarantine::quarantine(root, verb, out)),
        Command::Ingest(args) => seal::ingest(root, &args, out),
        Command::Restore(args) => open::restore(root, &args, out),
        Command::Ls(args) => look::ls(root, &args, out),
        Command::Find(args) => look::find(root, &args, out),
        Command::Cat(args) => look::cat(root, &args, out),
        Command::Snapshot(verb) => snapshot::snapshot(root, verb, out),
        Command::Log(verb) => done(log::log(root, verb, out)),
        Command::Profile(verb) => done(profile::profile(verb, out)),
        Command::Verify(args) => verify::verify(root, &args, out),
        Command::Repair(args) => repair::repair(root, &args, out),
        Command::Gc(args) => gc::gc(root, &args, out),
        Command::Image(verb) => image::run(verb, out),
        Command::Man(args) => done(words::man(&args, out)),
        Command::Completions(args) => done(words::completions(&args, out)),
        Command::UnlockChild { order } => done(unlock::child(&order)),
    }
}

/// The system's clock and randomness, for the floors below.
pub fn context() -> Context {
    Context {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    }
}

/// Which boot this is; a lease's evidence counts monotonic time only within one.
///
/// # Errors
/// `Io` where the kernel does not say.
pub fn boot_id() -> Result<[u8; 16]> {
    let path = "/proc/sys/kernel/random/boot_id";
    let failed = |why: String| Error::new(Kind::Io, "read", path, why);
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let number = u128::from_str_radix(&digits, 16).map_err(|e| failed(e.to_string()))?;
    Ok(number.to_be_bytes())
}

/// The exit code of what was sealed with holes.
const SEALED_WITH_HOLES: u8 = 5;

/// The exit code of what authority or a lease refused, and was told as a result.
const REFUSED: u8 = 3;

/// The exit code of damage that was found and told.
const DAMAGE: u8 = 4;

/// Opens a domain's store for a command; a lease of another host does not cap this machine.
fn open_handle(
    root: &HostRoot,
    domain: &Domain,
    purpose: Purpose,
    credentials: Credentials,
) -> Result<StoreHandle> {
    StoreHandle::open(Opening {
        root,
        domain,
        purpose,
        credentials,
        scope: LeaseScope::Remote,
        boot: boot_id()?,
        context: &context(),
    })
}

fn open_domain(root: &Path, which: &WhichDomain) -> Result<(HostRoot, Domain)> {
    let root = HostRoot::open(root)?;
    let id = root.find(which.domain.as_deref())?;
    let domain = Domain::open(&root, &id)?;
    Ok((root, domain))
}
