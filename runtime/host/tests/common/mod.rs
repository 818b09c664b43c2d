//! A small world for the tests: hosts in temporary directories, an owner's keys, documents.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each test file uses a part

use asl_auth::*;
use asl_core::{Digest, Timestamp, TypeTag};
use asl_host::admission::{Keeper, Petition};
use asl_host::capability::Place;
use asl_host::keystick::{EpochFiles, Signed};
use asl_host::{
    Context, Credentials, Domain, Founding, HostRoot, KeptKey, LeaseScope, Opening, Purpose,
    StoreHandle,
};
use asl_store::Mode;
use asl_testkit::{FakeClock, SeededEntropy};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const DAY: i64 = 86_400 * 1_000_000_000;
/// 2026-11-21 or so.
pub const NOW: i64 = 20_778 * DAY;
pub const YEAR_2106: i64 = 49_710 * DAY;
pub const BOOT: [u8; 16] = [1; 16];

/// A host in a directory of its own, with a clock of its own.
pub struct Host {
    pub dir: tempfile::TempDir,
    pub clock: Arc<FakeClock>,
    pub context: Context,
}

impl Host {
    pub fn empty(seed: u64) -> Host {
        let clock = Arc::new(FakeClock::at(NOW));
        Host {
            dir: tempfile::tempdir().unwrap(),
            context: Context {
                clock: clock.clone(),
                entropy: Arc::new(SeededEntropy::new(seed)),
            },
            clock,
        }
    }

    pub fn new(seed: u64) -> Host {
        let host = Host::empty(seed);
        HostRoot::init(&host.path(), &host.context, KeptKey::Plain).unwrap();
        host
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn root(&self) -> HostRoot {
        HostRoot::open(&self.path()).unwrap()
    }

    pub fn domain(&self, owner: &Owner) -> Domain {
        let id = owner.genesis.domain_id();
        Domain::open(&self.root(), &id).unwrap()
    }

    pub fn keeper(&self) -> Keeper {
        Keeper::open(self.root(), self.context.clone()).unwrap()
    }

    /// Writes a host-policy made from the default one.
    pub fn set_policy(&self, changes: &[(&str, &str)]) {
        let mut text = policy::DEFAULT_POLICY.to_string();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(self.root().layout().host_policy(), text).unwrap();
    }

    pub fn trust(&self, owner: &Owner) {
        let name = format!("{}.pub", owner.root.id());
        let line = owner.root.public().to_openssh("root") + "\n";
        std::fs::write(self.root().layout().trusted_roots().join(name), line).unwrap();
    }

    /// Opens for writing with the seal credential.
    pub fn open_to_seal(&self, owner: &Owner, scope: LeaseScope) -> asl_core::Result<StoreHandle> {
        self.open(
            owner,
            Mode::Write,
            Credentials::Seal(owner.credential()),
            scope,
            BOOT,
        )
    }

    pub fn open_to_read(&self, owner: &Owner) -> asl_core::Result<StoreHandle> {
        let open = Credentials::Open(OpenIdentity::parse(&owner.open_text).unwrap());
        self.open(owner, Mode::Read, open, LeaseScope::Remote, BOOT)
    }

    pub fn open(
        &self,
        owner: &Owner,
        mode: Mode,
        credentials: Credentials,
        scope: LeaseScope,
        boot: [u8; 16],
    ) -> asl_core::Result<StoreHandle> {
        let root = HostRoot::open(&self.path())?;
        let domain = Domain::open(&root, &owner.genesis.domain_id())?;
        StoreHandle::open(Opening {
            root: &root,
            domain: &domain,
            purpose: match mode {
                Mode::Write => Purpose::Seal,
                Mode::Read => Purpose::Read,
            },
            credentials,
            scope,
            boot,
            context: &self.context,
        })
    }

    /// Opens to forget, collect and repair.
    pub fn open_for_upkeep(
        &self,
        owner: &Owner,
        credentials: Credentials,
    ) -> asl_core::Result<StoreHandle> {
        let root = HostRoot::open(&self.path())?;
        let domain = Domain::open(&root, &owner.genesis.domain_id())?;
        StoreHandle::open(Opening {
            root: &root,
            domain: &domain,
            purpose: Purpose::Upkeep,
            credentials,
            scope: LeaseScope::Remote,
            boot: BOOT,
            context: &self.context,
        })
    }
}

/// An owner with an operator: all keys of a domain, and its first DAM.
pub struct Owner {
    pub root: SigningKey,
    pub operator: SigningKey,
    pub open_text: String,
    pub epoch: NewEpoch,
    pub genesis: Genesis,
    pub dam: Signed,
}

impl Owner {
    pub fn new(seed: u8) -> Owner {
        Owner::with(seed, true, |_| ())
    }

    pub fn plain(seed: u8) -> Owner {
        Owner::with(seed, false, |_| ())
    }

    /// An owner whose genesis is changed before the DAM is made.
    pub fn with(seed: u8, encrypted: bool, change: impl FnOnce(&mut Genesis)) -> Owner {
        let root = SigningKey::from_seed(&[seed; 32]);
        let operator = SigningKey::from_seed(&[seed.wrapping_add(100); 32]);
        let (open, text) = OpenIdentity::generate();
        let recipients = open.recipients();
        let epoch = NewEpoch::create(1, &recipients, &SeededEntropy::new(seed.into())).unwrap();
        let roots = RootSet::new(vec![root.public()], 1).unwrap();
        let mut genesis = Genesis {
            label: "alice.personal".parse().unwrap(),
            nonce: [seed; 16],
            host: root.id(),
            time: Timestamp::claimed(NOW),
            params: StoreParams {
                // Small blocks, so that small tests make several.
                block_target: 16 << 10,
                ..StoreParams::standard(encrypted)
            },
            root_set: roots.digest(),
            threshold: 1,
        };
        change(&mut genesis);
        let (epoch_file, keys_file) = epoch.digests();
        let dam = Dam {
            domain: genesis.hash(),
            genesis: genesis.encode(),
            sequence: 1,
            previous: None,
            roots,
            operators: vec![operator.public()],
            encryption: encrypted.then(|| DomainEncryption {
                epoch: 1,
                data_recipient: epoch.data_recipient.to_string(),
                index_recipient: epoch.index_identity.recipient().to_string(),
                owner_recipients: recipients.iter().map(ToString::to_string).collect(),
                epoch_file,
                keys_file,
                earlier: vec![],
            }),
            policy: DamPolicy {
                encrypted,
                outcomes: vec![AdmissionResult::Accepted, AdmissionResult::AcceptedLimited],
                peers: vec![],
            },
            time: Timestamp::claimed(NOW),
            not_before: None,
            not_after: None,
            lineage: None,
            roles: vec![],
        };
        let dam = sign_dam(&dam, &root);
        Owner {
            root,
            operator,
            open_text: text.to_string(),
            epoch,
            genesis,
            dam,
        }
    }

    pub fn decoded(&self) -> Dam {
        Dam::decode(&self.dam.bytes).unwrap()
    }

    /// The second DAM of the chain, with something changed.
    pub fn next_dam(&self, change: impl FnOnce(&mut Dam)) -> Signed {
        let mut dam = Dam {
            sequence: 2,
            previous: Some(Digest::of(&self.dam.bytes)),
            ..self.decoded()
        };
        change(&mut dam);
        sign_dam(&dam, &self.root)
    }

    pub fn epochs(&self) -> Vec<EpochFiles> {
        vec![EpochFiles {
            number: 1,
            identity: self.epoch.epoch_age.clone(),
            keys: self.epoch.epoch_keys_age.clone(),
        }]
    }

    pub fn credential(&self) -> SealCredential {
        SealCredential::decode(&self.epoch.credential().encode()).unwrap()
    }

    pub fn create_on(&self, host: &Host, place: Place) -> asl_core::Result<Domain> {
        let epochs = self.epochs();
        let founding = Founding {
            genesis: &self.dam_genesis(),
            dam: Some(&self.dam),
            epochs: &epochs,
            place,
        };
        Domain::create(&host.root(), &host.context, &founding)
    }

    pub fn dam_genesis(&self) -> Vec<u8> {
        self.genesis.encode()
    }

    pub fn petition(&self, to: &HostRoot, nonce: u8) -> Petition {
        self.petition_for(to, nonce, 10 << 30, 7 * 86_400, 8)
    }

    pub fn petition_for(
        &self,
        to: &HostRoot,
        nonce: u8,
        bytes: u64,
        seconds: u64,
        snapshots: u32,
    ) -> Petition {
        self.petition_under(&self.dam, to, |r| {
            (r.nonce, r.storage_bytes) = ([nonce; 16], bytes);
            (r.seconds, r.snapshots) = (seconds, snapshots);
        })
    }

    pub fn petition_under(
        &self,
        dam: &Signed,
        to: &HostRoot,
        change: impl FnOnce(&mut AdmissionRequest),
    ) -> Petition {
        let mut request = AdmissionRequest {
            dam: Digest::of(&dam.bytes),
            host: to.id(),
            storage_bytes: 10 << 30,
            seconds: 7 * 86_400,
            snapshots: 8,
            nonce: [1; 16],
            time: Timestamp::claimed(0),
        };
        change(&mut request);
        let bytes = request.encode();
        let sig = cose::sign(AdmissionRequest::KIND, &bytes, &[&self.operator]).unwrap();
        Petition {
            dam: dam.clone(),
            request: Signed { bytes, sig },
        }
    }
}

pub fn sign_dam(dam: &Dam, key: &SigningKey) -> Signed {
    let bytes = dam.encode();
    let sig = cose::sign(Dam::KIND, &bytes, &[key]).unwrap();
    Signed { bytes, sig }
}

/// A home with a domain, the host that admits it, and the petition that was granted.
pub struct Admitted {
    pub home: Host,
    pub keeper: Host,
    pub owner: Owner,
    pub petition: Petition,
    pub decision: Signed,
}

/// Admits a domain with these terms and applies the decision at home.
pub fn admitted(bytes: u64, seconds: u64, snapshots: u32) -> Admitted {
    let (home, keeper, owner) = (Host::new(1), Host::new(2), Owner::new(7));
    owner.create_on(&home, Place::Home).unwrap();
    keeper.trust(&owner);
    let petition = owner.petition_for(&keeper.root(), 1, bytes, seconds, snapshots);
    let decision = keeper.keeper().admit(&petition).unwrap();
    let all = Admitted {
        home,
        keeper,
        owner,
        petition,
        decision,
    };
    all.apply().unwrap();
    all
}

impl Admitted {
    pub fn apply(&self) -> asl_core::Result<Decision> {
        apply(
            &self.home,
            &self.owner,
            &self.keeper,
            &self.petition,
            &self.decision,
        )
    }
}

pub fn apply(
    home: &Host,
    owner: &Owner,
    keeper: &Host,
    petition: &Petition,
    decision: &Signed,
) -> asl_core::Result<Decision> {
    let mut domain = home.domain(owner);
    let pin = *keeper.root().public_key();
    asl_host::admission::apply(&mut domain, &home.context, &pin, petition, decision, BOOT)
        .map(|(decision, _)| decision)
}

/// The one lease that a domain holds.
pub fn only_lease(domain: &Domain) -> asl_host::leases::LeaseRecord {
    let mut leases = domain.leases().all();
    let lease = leases.next().expect("it holds no lease").clone();
    assert!(leases.next().is_none(), "it holds more than one lease");
    lease
}

/// Puts one piece of random bytes.
pub fn put(handle: &StoreHandle, seed: u64, length: usize) -> asl_core::Result<asl_host::Put> {
    let bytes = random(seed, length);
    let id = handle.chunk_id(&bytes)?;
    handle.put_piece(id, &tag(), &bytes)
}

pub fn tag() -> TypeTag {
    "asl.blob".parse().unwrap()
}

/// Bytes that do not compress.
pub fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut random = asl_testkit::Random::new(seed);
    let mut bytes: Vec<u8> = (0..length.div_ceil(8))
        .flat_map(|_| random.next_u64().to_le_bytes())
        .collect();
    bytes.truncate(length);
    bytes
}

/// Seals one root of one piece.
pub fn seal_something(handle: &StoreHandle, seed: u64) {
    handle.begin_root().unwrap();
    put(handle, seed, 5000).unwrap();
    handle.finish_root(&random(seed ^ 0xff, 64)).unwrap();
}

/// Every file below a directory, with its bytes.
pub fn files(at: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut todo = vec![at.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let short = path.strip_prefix(at).unwrap().to_path_buf();
                found.insert(short, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Copies a directory tree. Without another program: between fork and exec a child would hold the
/// writer locks of the tests beside this one.
pub fn copy(from: &Path, to: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = entry.map(|e| (e.path(), to.join(e.file_name()))).unwrap();
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

pub fn kind_of<T>(result: asl_core::Result<T>) -> asl_core::Kind {
    result.err().expect("it was not refused").kind()
}
