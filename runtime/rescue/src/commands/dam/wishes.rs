//! What `dam create` was asked to put into a DAM beside the keys of the directory.

use crate::cli::DamCreate;
use asl_auth::{AdmissionResult, OperatorVerb, PublicKey, Role};
use asl_backend::files;
use asl_core::{Error, KeyId, Kind, Result};
use std::path::Path;

/// What is to be other than the directory and the DAM in force say.
#[derive(Default)]
pub struct Wishes {
    /// The DAM ends after so many days.
    pub days: Option<u32>,
    /// The root keys from now on; none: as they are.
    pub roots: Vec<PublicKey>,
    /// How many of them must sign.
    pub threshold: Option<u8>,
    /// More operators.
    pub operators: Vec<PublicKey>,
    /// What operators may sign where that is not the usual.
    pub roles: Vec<Role>,
    /// The hosts trusted for rehydration; none: as they are.
    pub peers: Vec<KeyId>,
    /// The outcomes the domain can live with; none: as they are.
    pub outcomes: Vec<AdmissionResult>,
}

impl Wishes {
    /// Reads the files that the command line names.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` and `Io` of the files; `Invalid` for verbs and outcomes that are none.
    pub fn of(args: &DamCreate) -> Result<Wishes> {
        let mut wishes = Wishes {
            days: args.days,
            threshold: args.threshold,
            ..Wishes::default()
        };
        for path in &args.root_pub {
            wishes.roots.extend(public_keys(path)?);
        }
        for path in &args.peer {
            wishes
                .peers
                .extend(public_keys(path)?.iter().map(PublicKey::id));
        }
        wishes.peers.sort();
        wishes.peers.dedup();
        for text in &args.operator {
            // A file's name may hold the sign; verbs hold no path.
            let (path, verbs) = match text.rsplit_once('=') {
                Some((path, verbs)) if !verbs.contains('/') => (path, Some(verbs)),
                _ => (text.as_str(), None),
            };
            let keys = public_keys(Path::new(path))?;
            if let Some(verbs) = verbs {
                let verbs = verbs.split(',').map(|v| v.trim().parse());
                let mut verbs = verbs.collect::<Result<Vec<OperatorVerb>>>()?;
                verbs.sort();
                verbs.dedup();
                wishes.roles.extend(keys.iter().map(|key| Role {
                    operator: *key,
                    verbs: verbs.clone(),
                }));
            }
            wishes.operators.extend(keys);
        }
        wishes.roles.sort_by_key(|r| r.operator);
        let outcomes = args.accept.iter().map(|o| o.parse());
        wishes.outcomes = outcomes.collect::<Result<_>>()?;
        wishes.outcomes.sort_by_key(|o| o.code());
        wishes.outcomes.dedup();
        Ok(wishes)
    }
}

/// The public keys of a file, at least one.
///
/// # Errors
/// `NotFound`, `Io`; `Invalid` with the number of the line.
pub fn public_keys(path: &Path) -> Result<Vec<PublicKey>> {
    let text = files::read_limited(path, 64 << 10)?;
    let keys = PublicKey::parse_file(&String::from_utf8_lossy(&text))?;
    if keys.is_empty() {
        let why = "there is no public key in it";
        return Err(Error::new(Kind::Invalid, "read", path.display(), why)
            .next("give a file with OpenSSH `ssh-ed25519` lines, such as root.pub"));
    }
    Ok(keys)
}
