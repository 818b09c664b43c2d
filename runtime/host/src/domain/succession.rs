//! How a domain's authority moves on: the DAM that follows, its epochs, what is revoked.
//!
//! Crash rule: epoch files are on the medium before the EPOCH record names them, and the record is
//! in the log before the DAM that makes the epoch the one to seal under. A document's signatures
//! are written before the document, which is what counts. Whatever a crash left, the same again
//! completes it.

use super::Domain;
use crate::capability::Place;
use crate::hostlog::HostRecord;
use crate::keystick::{EpochFiles, Signed};
use crate::layout::domain as place;
use crate::root::Context;
use asl_auth::{
    Dam, DomainEncryption, DomainState, PublicKey, Revocation, RevocationTarget, VerifiedDam,
};
use asl_backend::files;
use asl_core::{Digest, Error, KeyId, Kind, Result, Timestamp};
use asl_store::{Current, Epoch, Mode, Record, Store, StoreOptions};
use std::path::Path;

/// Why a domain is suspended whose owner revoked the admission.
const BY_OWNER: &str = "its owner revoked the admission";

impl Domain {
    /// Takes up the DAM that follows the one in force; true where it was not known here.
    ///
    /// At home the files of its epochs must be given, or lie in the store already.
    ///
    /// # Errors
    /// `Refused` for a rollback, a fork, a broken chain or signatures that do not suffice, and
    /// where epoch files are missing or others than the DAM names; `Concurrent` where a session
    /// seals meanwhile; `Io`.
    pub fn follow(
        &mut self,
        context: &Context,
        dam: &Signed,
        epochs: &[EpochFiles],
    ) -> Result<bool> {
        self.require_sound()?;
        self.settle_name()?;
        let next = Dam::verify(&dam.bytes, &dam.sig, self.dam())?;
        if next.dam().domain != self.hash() {
            let why = "it is of another domain";
            return Err(Error::new(Kind::Refused, "take up", "the DAM", why)
                .next("bring the DAM of this domain"));
        }
        let is_new = self.dam().map(VerifiedDam::digest) != Some(next.digest());
        if self.place() == Place::Home {
            if let Some(encryption) = &next.dam().encryption {
                self.place_epochs(encryption, epochs)?;
                self.record_epochs(context, encryption)?;
            }
        }
        let name = format!("dam-{:06}", next.dam().sequence);
        if !is_new {
            // Whoever wrote it may have been killed before its name was durable.
            let document = self.dir().join(place::DAMS).join(name + ".cbor");
            if files::look(&document)?.is_some() {
                files::settle(&document)?;
            }
            return Ok(false);
        }
        self.write_signed(place::DAMS, &name, dam)?;
        write_keys(self.dir(), &next)?;
        self.chain.push(next);
        self.write_descriptor(context)?;
        Ok(true)
    }

    /// Takes up a revocation; false where it is known here.
    ///
    /// # Errors
    /// `Refused` where those who signed may not revoke this, or it names a DAM that is not here;
    /// `Io`.
    pub fn take_revocation(
        &mut self,
        context: &Context,
        host: KeyId,
        revocation: &Signed,
    ) -> Result<bool> {
        self.require_record()?;
        self.settle_name()?;
        let in_force = self.require_dam()?;
        let read = Revocation::decode(&revocation.bytes)?;
        let unknown = || {
            let why = "it names a DAM that is not known here";
            Error::new(Kind::Refused, "take up", "the revocation", why)
                .next("bring the DAM first: `asl-host dam apply`")
        };
        let named = self.chain.named(&read.dam).ok_or_else(unknown)?;
        let name = Path::new(place::REVOCATIONS).join(Digest::of(&revocation.bytes).to_string());
        let places = [name.with_extension("sig"), name.with_extension("cbor")]
            .map(|name| self.dir().join(name));
        let [sig, document] = &places;
        let lies = |path: &Path, bytes: &[u8]| {
            files::read_limited(path, 256 << 10).is_ok_and(|there| there == bytes)
        };
        if lies(sig, &revocation.sig) && lies(document, &revocation.bytes) {
            Revocation::verify(&revocation.bytes, &revocation.sig, named)?;
            files::settle(document)?;
            return Ok(false);
        }
        let read = Revocation::accept(&revocation.bytes, &revocation.sig, named, in_force)?;
        // One that was spoilt here is written anew.
        files::replace(sig, &revocation.sig, 0o400)?;
        files::replace(document, &revocation.bytes, 0o400)?;
        self.chain.revoke(read.clone());
        self.spoilt = self.chain.read_revoked(self.dir.as_path()).err();
        if self.was_granted_on(&read.target, host) {
            self.suspend(context, &format!("{BY_OWNER}: {}", read.reason))?;
        }
        self.write_descriptor(context)?;
        Ok(true)
    }

    /// Whether this host granted what it lends on the request that is revoked.
    fn was_granted_on(&self, target: &RevocationTarget, host: KeyId) -> bool {
        let RevocationTarget::Admission(request) = target else {
            return false;
        };
        let mut admissions = crate::admission::recorded(self)
            .unwrap_or_default()
            .into_iter();
        admissions.any(|a| {
            a.decision.host == host
                && a.grants()
                && Digest::of(&a.petition.request.bytes) == *request
        })
    }

    fn suspend(&mut self, context: &Context, why: &str) -> Result<()> {
        if !matches!(self.state(), DomainState::Courtesy | DomainState::Full) {
            return Ok(());
        }
        let record = HostRecord::State {
            state: DomainState::Suspended,
            why: why.to_string(),
            time: Timestamp::claimed(context.clock.wall_ns()),
        };
        self.record(context, &[record])
    }

    /// Writes the epochs' files as the DAM names them; a file that was wrapped anew replaces the
    /// one that opens to the same.
    fn place_epochs(&self, encryption: &DomainEncryption, brought: &[EpochFiles]) -> Result<()> {
        let read = |name: &str| match files::read_limited(&self.dir().join(name), 256 << 10) {
            Err(e) if e.kind() == Kind::NotFound => Ok(None),
            read => read.map(Some),
        };
        let mut todo = Vec::new();
        for number in 1..=encryption.epoch {
            let Some((identity, keys)) = encryption.files_of(number) else {
                continue;
            };
            let given = brought.iter().find(|e| e.number == number);
            for (name, wanted, given) in [
                (
                    place::epoch_identity(number),
                    identity,
                    given.map(|e| &e.identity),
                ),
                (place::epoch_keys(number), keys, given.map(|e| &e.keys)),
            ] {
                if read(&name)?.is_some_and(|there| Digest::of(&there) == wanted) {
                    continue;
                }
                match given.filter(|bytes| Digest::of(bytes) == wanted) {
                    Some(bytes) => todo.push((name, bytes)),
                    None => {
                        let why = "it is missing, or not the one the DAM names";
                        return Err(Error::new(Kind::Refused, "use", name, why).next(
                            "bundle the key stick again with `asl-host key bundle`, and bring it",
                        ));
                    }
                }
            }
        }
        // Nothing is touched before all is there.
        for (name, bytes) in todo {
            files::replace(&self.dir().join(name), bytes, 0o400)?;
        }
        Ok(())
    }

    /// Has the content log name every epoch with its files as they are now.
    fn record_epochs(&self, context: &Context, encryption: &DomainEncryption) -> Result<()> {
        let records = missing_epochs(&*self.current()?, encryption);
        if records.is_empty() {
            return Ok(());
        }
        let options = StoreOptions::new(context.nonce()?);
        let store = Store::open(self.backend(), Mode::Write, options)?;
        store.append(records).map(drop)
    }

    fn write_signed(&self, dir: &str, name: &str, document: &Signed) -> Result<()> {
        let path = Path::new(dir).join(name);
        self.write_once(&path.with_extension("sig"), &document.sig)?;
        self.write_once(&path.with_extension("cbor"), &document.bytes)
    }
}

/// The EPOCH records that the log lacks for what the DAM names.
pub(super) fn missing_epochs(current: &Current, encryption: &DomainEncryption) -> Vec<Record> {
    let record = |number: u32| {
        let (identity, keys) = encryption.files_of(number)?;
        Some(Epoch {
            number,
            recipient: encryption.data_recipient_of(number)?.to_string(),
            files: vec![
                (format!("epoch-{number}.age"), identity),
                (format!("epoch-{number}.keys.age"), keys),
            ],
        })
    };
    (1..=encryption.epoch)
        .filter_map(record)
        .filter(|epoch| current.epochs.get(&epoch.number) != Some(epoch))
        .map(Record::Epoch)
        .collect()
}

/// The public keys of the DAM in force, as files that other tools read; views, like `domain.json`.
pub(super) fn write_keys(dir: &Path, dam: &VerifiedDam) -> Result<()> {
    let lines =
        |keys: &[PublicKey]| -> String { keys.iter().map(|k| k.to_openssh("") + "\n").collect() };
    let roots = lines(dam.dam().roots.keys());
    files::replace(&dir.join("auth/root.pub"), roots.as_bytes(), 0o400)?;
    let operators = dir.join("auth/operators");
    let name = |key: &PublicKey| format!("{}.pub", key.id());
    for key in &dam.dam().operators {
        let line = lines(std::slice::from_ref(key));
        files::replace(&operators.join(name(key)), line.as_bytes(), 0o400)?;
    }
    for file in files::names(&operators)? {
        if !dam.dam().operators.iter().any(|key| file == name(key)) {
            files::remove(&operators.join(file))?;
        }
    }
    Ok(())
}
