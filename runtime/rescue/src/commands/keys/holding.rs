//! What a key stick or a key directory holds, as far as it can be told without the passphrase.

use super::generate::{epoch_file, epoch_keys, epoch_recipients};
use crate::commands::context;
use asl_auth::{Dam, DomainEncryption, Proven, PublicKey, VerifiedDam};
use asl_core::{Digest, Error, Kind, Result, Timestamp};
use asl_host::keystick::{name, HostPin, KeyStick};
use std::path::{Path, PathBuf};

/// Secrets that lie in clear, and what each opens.
const SECRETS: [(&str, &str); 2] = [
    (name::OWNER, "the owner's identity: it opens everything"),
    (name::ROOT_KEY, "a root key: it signs the next DAM"),
];

/// What a stick or a key directory holds.
pub struct Holding {
    /// The directory with the files themselves.
    pub dir: PathBuf,
    /// Whether it lies in `asl-keys/`, as on a key stick.
    pub is_stick: bool,
    /// The DAM, verified; or why it cannot be believed.
    pub dam: Result<VerifiedDam>,
    /// The owner's recipients.
    pub owners: Vec<String>,
    /// The root keys.
    pub roots: Vec<PublicKey>,
    /// The operators' keys.
    pub operators: Vec<PublicKey>,
    /// The data recipient of the epoch in force.
    pub data_recipient: Option<String>,
    /// The word that the owner's real key opened a probe; or why there is none.
    pub proof: Result<Proven>,
    /// The hosts to ask.
    pub hosts: Result<Vec<HostPin>>,
    /// Secrets in clear beside them: file, and what it opens.
    pub secrets: Vec<(&'static str, &'static str)>,
    /// What does not belong together, a missing proof apart.
    pub amiss: Vec<Error>,
    /// Why the DAM is not in force now, by this machine's clock.
    pub not_in_force: Option<Error>,
}

impl Holding {
    /// Looks into a mounted stick or a key directory.
    ///
    /// # Errors
    /// `NotFound` where there are no keys; all else that is wrong is part of the answer.
    pub fn of(at: &Path) -> Result<Holding> {
        let stick = KeyStick::open(at)?;
        let dir = stick.path().to_path_buf();
        let dam = stick
            .dam()
            .map_err(unsigned)
            .and_then(|signed| Dam::verify(&signed.bytes, &signed.sig, None));
        let mut holding = Holding {
            is_stick: dir != at,
            owners: Vec::new(),
            roots: Vec::new(),
            operators: Vec::new(),
            data_recipient: None,
            proof: proof(&stick, dam.as_ref()),
            hosts: stick.hosts(),
            secrets: Vec::new(),
            amiss: Vec::new(),
            not_in_force: None,
            dam,
            dir,
        };
        holding.secrets = SECRETS
            .into_iter()
            .filter(|(file, _)| holding.dir.join(file).symlink_metadata().is_ok())
            .collect();
        holding.take_public(&stick);
        holding.compare(&stick);
        Ok(holding)
    }

    /// The domain's directory name, where a DAM says it.
    pub fn domain(&self) -> Option<String> {
        let dam = self.dam.as_ref().ok()?;
        Some(dam.genesis().domain_id().to_string())
    }

    /// The DAM of keys that belong together; whether they are proven, and whether it is in force by
    /// this machine's clock, is not asked: data opens all the same.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn whole(&self) -> Result<&VerifiedDam> {
        let dam = self.dam.as_ref().map_err(Clone::clone)?;
        match self.amiss.first() {
            Some(e) => Err(e.clone()),
            None => Ok(dam),
        }
    }

    /// All that is wrong, the proof apart.
    pub fn wrong(&self) -> impl Iterator<Item = &Error> {
        let dam = self.dam.as_ref().err().into_iter();
        dam.chain(&self.amiss).chain(&self.not_in_force)
    }

    /// The public halves: from the DAM, or from the files it will be made of.
    fn take_public(&mut self, stick: &KeyStick) {
        if let Ok(dam) = &self.dam {
            let dam = dam.dam();
            self.roots = dam.roots.keys().to_vec();
            self.operators.clone_from(&dam.operators);
            if let Some(encryption) = &dam.encryption {
                self.owners.clone_from(&encryption.owner_recipients);
                self.data_recipient = Some(encryption.data_recipient.clone());
            }
            return;
        }
        let owners = stick.text(name::OWNER_PUB).unwrap_or_default();
        let is_one = |l: &&str| l.parse::<asl_auth::Recipient>().is_ok();
        self.owners = owners.lines().filter(is_one).map(str::to_string).collect();
        let newest = stick.epochs().unwrap_or_default().pop();
        self.data_recipient = newest.and_then(|e| {
            let [data, _] = epoch_recipients(stick, e.number).ok()?;
            data.parse::<asl_auth::Recipient>().ok().map(|_| data)
        });
        self.roots = public_keys(stick, name::ROOT_PUB).unwrap_or_default();
        self.operators = public_keys(stick, name::OPERATOR_PUB).unwrap_or_default();
    }

    /// Compares the files with what the DAM says of them.
    fn compare(&mut self, stick: &KeyStick) {
        if let Err(e) = &self.hosts {
            self.amiss.push(e.clone());
        }
        let Ok(verified) = &self.dam else { return };
        let dam = verified.dam();
        if let Err(e) = verified.check_time(Timestamp::claimed(context().clock.wall_ns())) {
            let way = "check the clock, or write the next one with `asl-host dam create --next`";
            self.not_in_force = Some(e.next(way));
        }
        let roots = if self.is_stick {
            ROOTS_ON_STICK
        } else {
            name::ROOT_PUB
        };
        let mut foreign = Vec::new();
        for (file, known) in [
            (roots, dam.roots.keys()),
            (name::OPERATOR_PUB, &dam.operators[..]),
        ] {
            match public_keys(stick, file) {
                Ok(keys) if !keys.is_empty() && keys.iter().all(|k| known.contains(k)) => {}
                Ok(_) => foreign.push(file.to_string()),
                Err(e) => self.amiss.push(e),
            }
        }
        if let Some(encryption) = &dam.encryption {
            match foreign_epoch_files(stick, encryption) {
                Ok(files) => foreign.extend(files),
                Err(e) => self.amiss.push(e),
            }
        }
        self.amiss.extend(foreign.into_iter().map(|file| {
            let why = "it is not the one that the DAM names";
            Error::new(Kind::Refused, "use", self.dir.join(file).display(), why)
                .next("keys of two domains are mixed here: begin with a new directory, or copy the right files back")
        }));
    }
}

/// Where the root keys lie on a stick.
pub const ROOTS_ON_STICK: &str = "roots/root.pub";

fn public_keys(stick: &KeyStick, file: &str) -> Result<Vec<PublicKey>> {
    PublicKey::parse_file(&stick.text(file)?)
}

fn foreign_epoch_files(stick: &KeyStick, encryption: &DomainEncryption) -> Result<Vec<String>> {
    let mut foreign = Vec::new();
    for number in 1..=encryption.epoch {
        let Some((identity, keys)) = encryption.files_of(number) else {
            continue;
        };
        for (file, digest) in [(epoch_file(number), identity), (epoch_keys(number), keys)] {
            if Digest::of(&stick.read(&file)?) != digest {
                foreign.push(file);
            }
        }
    }
    Ok(foreign)
}

/// A missing DAM or signature has its own words and way on.
fn unsigned(e: Error) -> Error {
    if e.kind() != Kind::NotFound {
        return e;
    }
    let (what, why, way) = if e.object().ends_with(name::DAM) {
        let way = "write it with `asl-host dam create`, then sign it with `asl-host dam sign`";
        ("these keys", "there is no DAM yet", way)
    } else {
        (
            "the DAM",
            "it is not signed",
            "sign it with `asl-host dam sign`",
        )
    };
    Error::new(Kind::NotFound, "use", what, why).next(way)
}

fn proof(stick: &KeyStick, dam: std::result::Result<&VerifiedDam, &Error>) -> Result<Proven> {
    let missing = || {
        Error::new(
            Kind::Refused,
            "trust",
            "these keys",
            "nobody has proven that the owner's key opens them",
        )
        .next("run `asl-host key check` with the owner's key")
    };
    let document = stick.read_optional(name::PROVEN)?;
    let (document, sig) = document
        .zip(stick.read_optional(name::PROVEN_SIG)?)
        .ok_or_else(missing)?;
    Proven::verify(&document, &sig, dam.map_err(|_| missing())?)
}
