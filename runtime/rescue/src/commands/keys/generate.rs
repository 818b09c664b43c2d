//! `key generate`: everything an owner needs, in a new directory that is there whole or not at all.

use super::new_epoch::epoch_lines;
use crate::cli::KeyGenerate;
use crate::commands::context;
use crate::out::Out;
use crate::prompt::new_passphrase;
use crate::system;
use asl_auth::{secrets, NewEpoch, OpenIdentity, PublicKey, Recipient, SigningKey};
use asl_backend::files;
use asl_core::{Entropy, Error, Kind, Result};
use asl_host::keystick::{name, KeyStick};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What was made.
pub struct Made {
    /// The owner's recipients.
    pub owners: Vec<Recipient>,
    /// The root key's public half.
    pub root: PublicKey,
    /// The operator key's public half.
    pub operator: PublicKey,
}

pub fn run(args: &KeyGenerate, out: Out) -> Result<()> {
    let to = &args.to;
    refuse_existing(to)?;
    let owners: Vec<Recipient> = args
        .owner
        .iter()
        .map(|o| o.parse())
        .collect::<Result<_>>()?;
    let passphrase = new_passphrase(args.passphrase_file.as_deref())?;
    let made = make(to, owners, args.operator_key.as_deref(), &passphrase)?;
    let owner_note = if args.owner.is_empty() {
        format!("The owner's secret is {}: move it to a safe place, offline. Without it nobody opens the data.", to.join(name::OWNER).display())
    } else {
        "The data will be sealed for the recipients you named; their keys were not needed here."
            .to_string()
    };
    out.result(
        &format!(
            "Made keys in {}.\n{owner_note}\nNext: `asl-host dam create --keys {} --label NAME`.",
            to.display(),
            to.display()
        ),
        &json!({
            "keys": to,
            "owner_recipients": made.owners.iter().map(Recipient::to_string).collect::<Vec<_>>(),
            "root": made.root.to_openssh(""),
            "operator": made.operator.to_openssh(""),
        }),
    )
}

fn refuse_existing(to: &Path) -> Result<()> {
    if to.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(
        Error::new(Kind::Exists, "make keys in", to.display(), "it exists")
            .next("name a new directory; keys are never overwritten"),
    )
}

/// Makes keys in a new directory; with no `owners` an owner's identity too.
///
/// They are made under a name beside it and get theirs last: an interruption, a full disk or a
/// crash leaves no directory that looks like keys and is not.
///
/// # Errors
/// `Exists`, `Io`, `Interrupted`.
pub fn make(
    to: &Path,
    owners: Vec<Recipient>,
    operator: Option<&Path>,
    passphrase: &str,
) -> Result<Made> {
    refuse_existing(to)?;
    let unfinished = unfinished(to)?;
    clear(&unfinished)?;
    let made = make_private_dir(&unfinished)
        .and_then(|()| fill(&unfinished, owners, operator, passphrase))
        .and_then(|made| {
            let failed = |e| Error::new(Kind::Io, "make keys in", to.display(), e);
            std::fs::rename(&unfinished, to).map_err(failed)?;
            let parent = to.parent().filter(|p| !p.as_os_str().is_empty());
            std::fs::File::open(parent.unwrap_or(Path::new(".")))
                .and_then(|dir| dir.sync_all())
                .map_err(failed)?;
            Ok(made)
        });
    if made.is_err() {
        // The first error is the one to tell.
        let _ = clear(&unfinished);
    }
    made
}

/// The name under which keys are made until they are whole.
fn unfinished(to: &Path) -> Result<PathBuf> {
    let name = to.file_name().ok_or_else(|| {
        Error::new(
            Kind::Usage,
            "make keys in",
            to.display(),
            "it names no new directory",
        )
        .next("name a new directory, such as my-keys")
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".unfinished");
    Ok(to.with_file_name(hidden))
}

/// Removes what an earlier run left unfinished: nobody was ever told of those keys.
fn clear(unfinished: &Path) -> Result<()> {
    let failed = |e| Error::new(Kind::Io, "remove", unfinished.display(), e);
    if unfinished.symlink_metadata().is_err() {
        return Ok(());
    }
    for entry in std::fs::read_dir(unfinished).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let ours = FILES.iter().any(|file| name == *file);
        if ours || name.as_encoded_bytes().starts_with(b".new-") {
            std::fs::remove_file(unfinished.join(name)).map_err(failed)?;
        }
    }
    std::fs::remove_dir(unfinished)
        .map_err(|e| failed(e).next("look into it, and remove it yourself"))
}

/// The wrapped data identity of an epoch.
pub fn epoch_file(number: u32) -> String {
    format!("epoch-{number}.age")
}

/// The wrapped keys of an epoch.
pub fn epoch_keys(number: u32) -> String {
    format!("epoch-{number}.keys.age")
}

/// The two recipients of an epoch: data and index.
pub fn epoch_pub(number: u32) -> String {
    format!("epoch-{number}.pub")
}

/// The data and the index recipient of an epoch, from a key directory.
///
/// # Errors
/// `NotFound`, `Io`; `Invalid` where the file does not hold two lines.
pub fn epoch_recipients(stick: &KeyStick, number: u32) -> Result<[String; 2]> {
    let name = epoch_pub(number);
    let text = stick.text(&name)?;
    let lines: Vec<String> = text.lines().map(str::to_string).collect();
    lines.try_into().map_err(|_| {
        let why = "it does not hold two recipients";
        Error::new(Kind::Invalid, "read", name, why)
    })
}

/// All that [`fill`] writes.
const FILES: [&str; 10] = [
    name::OWNER,
    name::OWNER_PUB,
    name::ROOT_KEY,
    name::ROOT_PUB,
    name::OPERATOR,
    name::OPERATOR_PUB,
    "epoch-1.age",
    "epoch-1.keys.age",
    "epoch-1.pub",
    name::SEAL,
];

fn fill(
    dir: &Path,
    owners: Vec<Recipient>,
    operator: Option<&Path>,
    passphrase: &str,
) -> Result<Made> {
    let entropy = context().entropy;
    let write = |name: &str, bytes: &[u8]| files::write_new(&dir.join(name), bytes, 0o600);

    let owners = if owners.is_empty() {
        let (identity, text) = OpenIdentity::generate();
        write(name::OWNER, text.as_bytes())?;
        identity.recipients()
    } else {
        owners
    };
    let lines: String = owners.iter().map(|r| format!("{r}\n")).collect();
    write(name::OWNER_PUB, lines.as_bytes())?;

    let line = |key: &SigningKey, name| format!("{}\n", key.public().to_openssh(name));
    let root = SigningKey::generate(&*entropy)?;
    write(name::ROOT_KEY, &root.encode())?;
    write(name::ROOT_PUB, line(&root, "root").as_bytes())?;
    let operator = operator_key(operator, &*entropy)?;
    write(name::OPERATOR_PUB, line(&operator, "operator").as_bytes())?;

    write(name::OPERATOR, &lock(&operator.encode(), passphrase)?)?;
    let epoch = NewEpoch::create(1, &owners, &*entropy)?;
    write(&epoch_file(1), &epoch.epoch_age)?;
    write(&epoch_keys(1), &epoch.epoch_keys_age)?;
    let credential = epoch.credential();
    write(&epoch_pub(1), epoch_lines(&epoch).as_bytes())?;
    write(name::SEAL, &lock(&credential.encode(), passphrase)?)?;
    Ok(Made {
        owners,
        root: root.public(),
        operator: operator.public(),
    })
}

/// Seals a secret under the passphrase; it takes seconds, and can be interrupted before.
pub fn lock(plain: &[u8], passphrase: &str) -> Result<Vec<u8>> {
    if system::stopped() {
        let e = Error::new(Kind::Interrupted, "make", "keys", "it was interrupted");
        return Err(e.next("nothing was made; run it again"));
    }
    secrets::passphrase_lock(plain, passphrase, secrets::WORK_FACTOR)
}

/// The operator's key: made, or the one that is given.
pub fn operator_key(given: Option<&Path>, entropy: &dyn Entropy) -> Result<SigningKey> {
    match given {
        Some(path) => crate::commands::dam::sign::read_key(path),
        None => SigningKey::generate(entropy),
    }
}

/// Makes a directory for its owner alone, with its parents.
pub fn make_private_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(path)
        .map_err(|e| Error::new(Kind::Io, "make", path.display(), e).next("choose another place"))
}
