//! `key bundle`: writes the key stick, and reads it back before it counts as one.
//!
//! Crash rule: `seal.age` is what makes the folder a key stick. It is taken away first and written
//! last, after all else was read back from the medium: a stick that was pulled, full or cut off is
//! no key stick, and the next run makes it one.

use super::holding::{Holding, ROOTS_ON_STICK};
use super::program::this_program;
use super::read_identity;
use crate::cli::KeyBundle;
use crate::out::{size, Out};
use asl_auth::Recipient;
use asl_backend::files;
use asl_core::{Error, Kind, Result};
use asl_host::keystick::{name, HostPin, KeyStick};
use serde_json::json;
use std::path::{Path, PathBuf};

/// How to open everything with other people's tools; travels on every key stick.
const RECOVER: &str = include_str!("../../RECOVER.txt");

/// The program's own name on a stick.
const PROGRAM: &str = "asl-host";

/// What goes on a stick beside the keys.
#[derive(Default)]
pub struct Extras {
    /// More hosts to ask than those pinned at home.
    pub hosts: Vec<HostPin>,
    /// What an appliance does by itself.
    pub profile: Option<PathBuf>,
    /// The owner's identity, for who asked for it by name.
    pub owner_identity: Option<PathBuf>,
}

/// What was written.
pub struct Bundled {
    /// The domain's directory name.
    pub domain: String,
    /// Whether the owner's key was proven to open what will be sealed.
    pub proven: bool,
    /// Whether the program on the stick runs on any machine of this kind.
    pub program_is_static: bool,
    /// What the person must know.
    pub warnings: Vec<String>,
}

pub fn run(args: &KeyBundle, out: Out) -> Result<()> {
    let hosts = args.host.iter().map(|h| HostPin::parse(h));
    let extras = Extras {
        hosts: hosts.collect::<Result<_>>()?,
        profile: args.profile.clone(),
        owner_identity: args.with_owner_identity.clone(),
    };
    let bundled = write(&args.keys, &args.to, &extras)?;
    out.result(
        &in_words(&bundled, &args.to),
        &json!({
            "stick": args.to,
            "domain_id": bundled.domain,
            "proven": bundled.proven,
            "program_is_static": bundled.program_is_static,
            "owner_identity_on_it": extras.owner_identity.is_some(),
            "warnings": bundled.warnings,
        }),
    )
}

/// What was written, for a person.
pub fn in_words(bundled: &Bundled, to: &Path) -> String {
    let mut text = format!(
        "Wrote the key stick of {} at {}, and read it back.",
        bundled.domain,
        to.display()
    );
    for warning in &bundled.warnings {
        text.push_str("\nwarning: ");
        text.push_str(warning);
    }
    text
}

/// Writes a key stick from a key directory; one of the same domain is written anew.
///
/// # Errors
/// `Refused` where keys do not belong together or a secret would be given away; `Exists` where the
/// stick holds another domain's keys; `Io` and `Damage` of the medium.
pub fn write(keys: &Path, to: &Path, extras: &Extras) -> Result<Bundled> {
    let home = KeyStick::open(keys)?;
    let holding = Holding::of(keys)?;
    let dam = holding.whole()?;
    if let Some(e) = &holding.not_in_force {
        return Err(e.clone());
    }
    let domain = dam.genesis().domain_id().to_string();
    let proven = match &holding.proof {
        Ok(_) => true,
        Err(_) if home.read_optional(name::PROVEN)?.is_none() => false,
        Err(e) => return Err(e.clone()),
    };
    refuse_to_give_secrets_away(home.path(), to)?;
    let owner = owner_identity(extras, &holding)?;
    let mut files = contents(&home, &holding, extras)?;
    let (program, program_is_static) = this_program()?;
    files.push((PROGRAM.into(), program));
    if let Some(text) = &owner {
        files.push((name::OWNER.into(), text.to_vec()));
    }
    let seal = home.read(name::SEAL)?;

    let stick = begin(to, &domain)?;
    stick.make_dir(name::REVOCATIONS)?;
    require_room(to, &files)?;
    let unfinished = |e: Error| {
        Error::new(e.kind(), "finish the key stick at", to.display(), e)
            .next("it is no key stick now, and nothing at home changed: mend that or take another stick, and run it again")
    };
    for (file, bytes) in &files {
        let mode = if file == PROGRAM { 0o700 } else { 0o600 };
        files::replace(&stick.path().join(file), bytes, mode).map_err(unfinished)?;
    }
    for (file, bytes) in &files {
        read_back(&stick.path().join(file), bytes).map_err(unfinished)?;
    }
    stick
        .write(name::SEAL, &seal, true)
        .and_then(|()| read_back(&stick.path().join(name::SEAL), &seal))
        .map_err(unfinished)?;
    Holding::of(to)?
        .whole()
        .map_err(|e| unfinished(e.clone()))?;
    Ok(Bundled {
        domain,
        proven,
        program_is_static,
        warnings: warnings(proven, program_is_static, owner.is_some()),
    })
}

fn warnings(proven: bool, program_is_static: bool, owner_is_on_it: bool) -> Vec<String> {
    let all = [
        (!proven, "not proven: run `asl-host key check` with the owner's key, then bundle again"),
        (!program_is_static, "the program on it is not a static one and may not run elsewhere: bundle with the released asl-host"),
        (owner_is_on_it, "THE OWNER'S IDENTITY IS ON IT, as you asked: whoever holds this stick reads everything"),
    ];
    all.into_iter()
        .filter(|(so, _)| *so)
        .map(|(_, words)| words.to_string())
        .collect()
}

/// Everything but the program, what was asked for by name, and the seal credential.
fn contents(home: &KeyStick, holding: &Holding, extras: &Extras) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for file in [name::DAM, name::DAM_SIG, name::OPERATOR, name::OPERATOR_PUB] {
        files.push((file.to_string(), home.read(file)?));
    }
    let roots = if holding.is_stick {
        ROOTS_ON_STICK
    } else {
        name::ROOT_PUB
    };
    files.push((ROOTS_ON_STICK.into(), home.read(roots)?));
    for epoch in home.epochs()? {
        files.push((format!("epoch-{}.age", epoch.number), epoch.identity));
        files.push((format!("epoch-{}.keys.age", epoch.number), epoch.keys));
    }
    // A host that missed a DAM between is shown it; what is revoked travels too.
    for dam in home.earlier_dams()? {
        let number = asl_auth::Dam::decode(&dam.bytes)?.sequence;
        files.push((format!("dam-{number}.cbor"), dam.bytes));
        files.push((format!("dam-{number}.sig"), dam.sig));
    }
    for (file, signed) in home.revocations()? {
        files.push((format!("{file}.cbor"), signed.bytes));
        files.push((format!("{file}.sig"), signed.sig));
    }
    if holding.proof.is_ok() {
        for file in [name::PROVEN, name::PROVEN_SIG] {
            files.push((file.to_string(), home.read(file)?));
        }
    }
    let hosts = [home.hosts()?, extras.hosts.clone()].concat();
    files.push((name::HOSTS.into(), KeyStick::hosts_file(&hosts)?));
    if let Some(path) = &extras.profile {
        let text = files::read_limited(path, 64 << 10)?;
        crate::appliance::check_profile(&text, path)?;
        files.push((name::PROFILE.into(), text));
    }
    files.push((name::RECOVER.into(), RECOVER.as_bytes().to_vec()));
    Ok(files)
}

/// The owner's identity file, where it was asked for by name and is the right one.
fn owner_identity(
    extras: &Extras,
    holding: &Holding,
) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
    let Some(path) = &extras.owner_identity else {
        return Ok(None);
    };
    require_owner(path, holding)?;
    files::read_limited(path, 64 << 10).map(|bytes| Some(zeroize::Zeroizing::new(bytes)))
}

/// Refuses an identity that is none of the owner's.
///
/// # Errors
/// `Refused`, and those of reading it.
pub fn require_owner(path: &Path, holding: &Holding) -> Result<()> {
    let held = read_identity(path)?.recipients();
    if held
        .iter()
        .map(Recipient::to_string)
        .any(|r| holding.owners.contains(&r))
    {
        return Ok(());
    }
    Err(Error::new(
        Kind::Refused,
        "use",
        path.display(),
        "it is not the identity of an owner that the DAM names",
    )
    .next("give the owner's identity file: `key generate` made it as owner.txt"))
}

/// A medium that is to be given away holds no secret, and is not the keys' home itself.
fn refuse_to_give_secrets_away(home: &Path, to: &Path) -> Result<()> {
    let real = |p: &Path| p.canonicalize().unwrap_or_else(|_| p.to_path_buf());
    let refuse = |why: String| {
        Err(
            Error::new(Kind::Refused, "write the key stick at", to.display(), why)
                .next("use a stick that holds nothing secret; keep the keys at home elsewhere"),
        )
    };
    if real(home).starts_with(real(to)) {
        return refuse("the keys at home lie on it, secrets in clear among them".into());
    }
    let on_it = KeyStick::folder(to);
    for secret in [name::OWNER, name::ROOT_KEY] {
        for dir in [to, &on_it] {
            // A stick that was made with the owner's identity by name is written anew without it.
            let ours = secret == name::OWNER && dir == on_it;
            if !ours && dir.join(secret).symlink_metadata().is_ok() {
                return refuse(format!(
                    "a secret lies on it: {}",
                    dir.join(secret).display()
                ));
            }
        }
    }
    Ok(())
}

/// Begins a stick; one of the same domain stops being one until it is written anew.
fn begin(to: &Path, domain: &str) -> Result<KeyStick> {
    let there = Holding::of(to).ok().filter(|h| h.is_stick);
    if there.is_some_and(|h| h.domain().as_deref() == Some(domain)) {
        let stick = KeyStick::open(to)?;
        for file in [
            name::SEAL,
            name::OWNER,
            name::PROFILE,
            name::PROVEN,
            name::PROVEN_SIG,
        ] {
            stick.remove(file)?;
        }
    }
    KeyStick::create(to)
}

fn require_room(to: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let room = nix::sys::statvfs::statvfs(to)
        .map_err(|e| Error::new(Kind::Io, "measure", to.display(), e))?;
    let free = room.blocks_available().saturating_mul(room.fragment_size());
    let unit = room.fragment_size().max(1);
    // Each file takes whole units; what is replaced is freed only afterwards.
    let need: u64 = files
        .iter()
        .map(|(_, bytes)| (bytes.len() as u64).div_ceil(unit).saturating_mul(unit))
        .sum();
    if need > free {
        return Err(Error::new(
            Kind::Io,
            "write the key stick at",
            to.display(),
            format!("it has {} free, {} are needed", size(free), size(need)),
        )
        .next("use a larger stick, or make room on this one"));
    }
    Ok(())
}

/// Reads a file from the medium, not from memory, and compares it.
fn read_back(path: &Path, written: &[u8]) -> Result<()> {
    use nix::fcntl::{posix_fadvise, PosixFadviseAdvice};
    let file = std::fs::File::open(path)
        .map_err(|e| Error::new(Kind::Io, "read back", path.display(), e))?;
    // Where the kernel keeps its copy all the same, that copy is what is compared.
    let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    let back = files::read_limited(path, written.len() as u64 + 1)?;
    if back == written {
        return Ok(());
    }
    Err(Error::new(
        Kind::Damage,
        "read back",
        path.display(),
        "it is not what was written",
    )
    .next("the medium is failing: use another"))
}
