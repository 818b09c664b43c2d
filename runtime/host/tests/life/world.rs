//! Two hosts on one simulated disk: a home with a domain, and a keeper that is asked to admit it.
//!
//! Both lie on the same disk, so that the power goes for both at once and at any call of either.

use super::common::{Owner, BOOT, NOW};
use asl_auth::{AdmissionRequest, AdmissionResult, OpenIdentity};
use asl_backend::files;
use asl_core::{Result, Timestamp};
use asl_host::admission::{Keeper, Petition};
use asl_host::capability::Place;
use asl_host::{
    Context, Credentials, Domain, Founding, HostRoot, LeaseScope, Opening, Purpose, Put,
    StoreHandle,
};
use asl_testkit::{FakeClock, Mount, SeededEntropy, SimDisk};
use std::path::PathBuf;
use std::sync::Arc;

pub struct World {
    pub owner: Arc<Owner>,
    pub context: Context,
    pub clock: Arc<FakeClock>,
    pub scope: LeaseScope,
    pub boot: [u8; 16],
    mount: Mount,
    open: Option<(Purpose, StoreHandle)>,
}

impl World {
    /// The world on a disk, at the usual time. A seed for each session, as nonces need it.
    pub fn on(disk: &SimDisk, owner: &Arc<Owner>, seed: u64) -> World {
        let clock = Arc::new(FakeClock::at(NOW));
        World {
            mount: disk.mount(),
            owner: owner.clone(),
            context: Context {
                clock: clock.clone(),
                entropy: Arc::new(SeededEntropy::new(seed)),
            },
            clock,
            scope: LeaseScope::Both,
            boot: BOOT,
            open: None,
        }
    }

    pub fn home_path(&self) -> PathBuf {
        self.mount.path().join("home")
    }

    pub fn keeper_path(&self) -> PathBuf {
        self.mount.path().join("keeper")
    }

    pub fn home(&self) -> Result<HostRoot> {
        HostRoot::open(&self.home_path())
    }

    pub fn domain(&self) -> Result<Domain> {
        Domain::open(&self.home()?, &self.owner.genesis.domain_id())
    }

    pub fn keeper(&self) -> Result<Keeper> {
        Keeper::open(HostRoot::open(&self.keeper_path())?, self.context.clone())
    }

    /// The domain as the keeper has it.
    pub fn kept(&self) -> Result<Domain> {
        let root = HostRoot::open(&self.keeper_path())?;
        Domain::open(&root, &self.owner.genesis.domain_id())
    }

    pub fn create(&self) -> Result<Domain> {
        let epochs = match self.owner.genesis.params.encrypted {
            true => self.owner.epochs(),
            false => Vec::new(),
        };
        let founding = Founding {
            genesis: &self.owner.dam_genesis(),
            dam: Some(&self.owner.dam),
            epochs: &epochs,
            place: Place::Home,
        };
        Domain::create(&self.home()?, &self.context, &founding)
    }

    /// The keeper's rules for the outcome that it is to give, and trust in the owner.
    pub fn set_policy(&self, outcome: AdmissionResult) -> Result<()> {
        let root = HostRoot::open(&self.keeper_path())?;
        let known = format!("known_roots = \"{outcome}\"");
        let text = asl_auth::policy::DEFAULT_POLICY
            .replace("known_roots = \"ACCEPTED_LIMITED\"", &known)
            .replace("encryption_only = true", "encryption_only = false");
        files::replace(&root.layout().host_policy(), text.as_bytes(), 0o600)?;
        let name = format!("{}.pub", self.owner.root.id());
        let line = self.owner.root.public().to_openssh("root") + "\n";
        let path = root.layout().trusted_roots().join(name);
        files::replace(&path, line.as_bytes(), 0o600)
    }

    pub fn petition(&self, terms: &Terms) -> Result<Petition> {
        let root = HostRoot::open(&self.keeper_path())?;
        let ask = |r: &mut AdmissionRequest| {
            r.nonce = [terms.nonce; 16];
            r.time = Timestamp::claimed(NOW + i64::from(terms.nonce));
            (r.storage_bytes, r.seconds) = (terms.bytes, terms.seconds);
            r.snapshots = terms.snapshots;
        };
        Ok(self.owner.petition_under(&self.owner.dam, &root, ask))
    }

    pub fn opened_for(&self) -> Option<Purpose> {
        self.open.as_ref().map(|(what, _)| *what)
    }

    pub fn close(&mut self) {
        self.open = None;
    }

    /// The domain opened for that: as it is already, or closed and opened again.
    pub fn handle(&mut self, what: Purpose) -> Result<&mut StoreHandle> {
        if self.opened_for() != Some(what) {
            self.close();
            let opened = self.open(what)?;
            self.open = Some((what, opened));
        }
        let (_, handle) = self.open.as_mut().unwrap();
        Ok(handle)
    }

    fn open(&self, what: Purpose) -> Result<StoreHandle> {
        let (root, domain) = (self.home()?, self.domain()?);
        let credentials = match (self.owner.genesis.params.encrypted, what) {
            (false, _) => Credentials::None,
            (true, Purpose::Seal) => Credentials::Seal(self.owner.credential()),
            (true, _) => Credentials::Open(OpenIdentity::parse(&self.owner.open_text).unwrap()),
        };
        StoreHandle::open(Opening {
            root: &root,
            domain: &domain,
            purpose: what,
            credentials,
            scope: self.scope,
            boot: self.boot,
            context: &self.context,
        })
    }
}

/// What is asked of the keeper; the nonce makes it a request of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    pub nonce: u8,
    pub bytes: u64,
    pub seconds: u64,
    pub snapshots: u32,
}

impl Terms {
    /// More than any flow needs.
    pub const fn wide(nonce: u8) -> Terms {
        Terms {
            nonce,
            bytes: 1 << 30,
            seconds: 7 * 86_400,
            snapshots: 60,
        }
    }
}

/// The bytes of a piece, by its number: small, text, or larger than a block.
pub fn piece(n: u64) -> Vec<u8> {
    match n % 4 {
        0 => super::common::random(n, 700),
        1 => format!("text {n} ").repeat(300).into_bytes(),
        2 => super::common::random(n, 5_000),
        _ => super::common::random(n, 20_000),
    }
}

/// The piece that names a root.
pub fn root_piece(name: u8) -> Vec<u8> {
    format!("the root of name {name}").into_bytes()
}

pub fn put(handle: &StoreHandle, n: u64) -> Result<Put> {
    let bytes = piece(n);
    let id = handle.chunk_id(&bytes)?;
    handle.put_piece(id, &super::common::tag(), &bytes)
}
