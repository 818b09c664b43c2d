//! A domain is made whole or not at all.

use super::succession::{missing_epochs, write_keys};
use super::Domain;
use crate::capability::Place;
use crate::hostlog::{HostLog, HostRecord};
use crate::keystick::{EpochFiles, Signed};
use crate::layout::{domain as place, DOMAIN_DIRS, DOMAIN_DIRS_BESIDE};
use crate::root::{Context, HostRoot};
use asl_auth::{Dam, Genesis, VerifiedDam};
use asl_backend::{files, PosixBackend};
use asl_core::{Digest, DomainHash, DomainId, Error, Kind, Result};
use asl_store::{Mode, Store, StoreOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a domain is made from.
pub struct Founding<'a> {
    /// The genesis record's bytes.
    pub genesis: &'a [u8],
    /// The DAM in force, where there is one.
    pub dam: Option<&'a Signed>,
    /// The epoch files, in order.
    pub epochs: &'a [EpochFiles],
    /// Whether the content log will be written here.
    pub place: Place,
}

impl Domain {
    /// Makes a domain, whole or not at all.
    ///
    /// # Errors
    /// `Exists` where the domain is here already; `Refused` where another genesis has its
    /// directory name, or the DAM does not hold; `Io`.
    pub fn create(root: &HostRoot, context: &Context, founding: &Founding<'_>) -> Result<Domain> {
        let genesis = Genesis::decode(founding.genesis)?;
        let hash = Genesis::hash_of(founding.genesis);
        let id = DomainId::new(genesis.label.clone(), &hash);
        let verified = match founding.dam {
            Some(dam) => Some(Dam::verify(&dam.bytes, &dam.sig, None)?),
            None => None,
        };
        if verified.as_ref().is_some_and(|d| d.dam().domain != hash) {
            return Err(Error::new(
                Kind::Refused,
                "create domain",
                &id,
                "the DAM is of another domain",
            ));
        }
        if founding.place == Place::Home {
            if genesis.params.encrypted && verified.is_none() {
                return Err(Error::new(
                    Kind::Refused,
                    "create domain",
                    &id,
                    "it is encrypted, and without a DAM nobody holds its keys",
                )
                .next("create it from a key stick with a DAM"));
            }
            check_epochs(verified.as_ref(), founding.epochs)?;
        }
        if files::look(&root.layout().domain(&id))?.is_some() {
            files::settle(&root.layout().domain(&id))?;
            return Err(refuse_second(root, &id, &hash));
        }
        let nonce = context.nonce()?;
        asl_backend::create_whole(&root.layout().domains(), &id.to_string(), &nonce, |dir| {
            let log_head = root.layout().host_head(&id);
            fill(dir, context, founding, verified.as_ref(), log_head)
        })
        .map_err(|e| match e.kind() {
            // Somebody else made it meanwhile.
            Kind::Exists => refuse_second(root, &id, &hash),
            _ => e,
        })?;
        let domain = Domain::open(root, &id)?;
        domain.write_descriptor(context)?;
        Ok(domain)
    }
}

/// Epoch files that are not those the DAM names would seal data to a key nobody holds.
fn check_epochs(dam: Option<&VerifiedDam>, epochs: &[EpochFiles]) -> Result<()> {
    let Some(encryption) = dam.and_then(|d| d.dam().encryption.as_ref()) else {
        return Ok(());
    };
    let fits = |number: &u32| {
        let given = epochs.iter().find(|e| e.number == *number);
        given.map(|e| (Digest::of(&e.identity), Digest::of(&e.keys)))
            == encryption.files_of(*number)
    };
    let Some(number) = (1..=encryption.epoch).find(|n| !fits(n)) else {
        return Ok(());
    };
    Err(Error::new(
        Kind::Refused,
        "use",
        format!("the files of epoch {number}"),
        "they are missing, or not the ones the DAM names",
    )
    .next("bundle the key stick again with `asl-host key bundle`"))
}

fn fill(
    dir: &Path,
    context: &Context,
    founding: &Founding<'_>,
    dam: Option<&VerifiedDam>,
    log_head: PathBuf,
) -> Result<()> {
    for name in DOMAIN_DIRS.iter().chain(&DOMAIN_DIRS_BESIDE) {
        files::make_dir(&dir.join(name))?;
    }
    if let (Some(signed), Some(dam)) = (founding.dam, dam) {
        files::write_new(&dir.join("admission/dam.cbor"), &signed.bytes, 0o400)?;
        files::write_new(&dir.join("admission/dam.sig"), &signed.sig, 0o400)?;
        write_keys(dir, dam)?;
    }
    // The wrapped keys are on the medium before the first block that needs them.
    for epoch in founding.epochs {
        files::write_new(
            &dir.join(place::epoch_identity(epoch.number)),
            &epoch.identity,
            0o400,
        )?;
        files::write_new(
            &dir.join(place::epoch_keys(epoch.number)),
            &epoch.keys,
            0o400,
        )?;
    }
    let backend = Arc::new(PosixBackend::open(dir)?);
    if founding.place == Place::Home {
        Store::create(backend.clone(), founding.genesis, context.nonce()?)?;
        if let Some(encryption) = dam.and_then(|d| d.dam().encryption.as_ref()) {
            let store = Store::open(
                backend.clone(),
                Mode::Write,
                StoreOptions::new(context.nonce()?),
            )?;
            store.append(missing_epochs(&store.current(), encryption))?;
        }
    }
    HostLog::new(backend, log_head)?.begin(context.nonce()?, &HostRecord::Role(founding.place))
}

fn refuse_second(root: &HostRoot, id: &DomainId, hash: &DomainHash) -> Error {
    let same = Domain::open(root, id).is_ok_and(|d| d.hash == *hash);
    if same {
        Error::new(Kind::Exists, "create domain", id, "it is here already").next("use it as it is")
    } else {
        Error::new(
            Kind::Refused,
            "create domain",
            id,
            "another domain has this directory name",
        )
        .next("choose another label")
    }
}
