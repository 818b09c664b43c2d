//! Two roots with every kind of file: a domain at home, and its records at the host that admitted it.

use crate::common::*;
use asl_auth::{cose, Delegation, OpenIdentity, SigningKey, Verb};
use asl_core::{ChunkId, Digest, Result, Timestamp};
use asl_host::handle::Device;
use asl_host::keystick::Signed;
use asl_host::{pins, Credentials, Domain, HostRoot, LeaseScope, StoreHandle};
use asl_store::{GcOptions, Mode, ReadBack};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub struct World {
    host: Host,
    owner: Owner,
    /// What is sealed in it.
    pub pieces: BTreeMap<ChunkId, Vec<u8>>,
}

impl World {
    /// A domain at home, admitted elsewhere: sealed, snapshot, pinned, forgotten, collected.
    pub fn home() -> World {
        let Admitted { home, owner, .. } = admitted(10 << 30, 86_400, 8);
        let mut pieces = BTreeMap::new();
        let device = device(&home, &owner);
        let handle = home.open_to_seal(&owner, LeaseScope::Remote).unwrap();
        for n in 0..3u64 {
            handle.begin_root().unwrap();
            // So many that the first segment has two pages, and a filter.
            let many = if n == 0 { 1300 } else { 3 };
            for k in 0..many {
                let bytes = random(n * 10_000 + k, if k == 0 { 9000 } else { 40 });
                let id = handle.chunk_id(&bytes).unwrap();
                handle.put_piece(id, &tag(), &bytes).unwrap();
                if k < 3 {
                    pieces.insert(id, bytes);
                }
            }
            handle.finish_root(&random(n, 64)).unwrap();
            handle.snapshot(Some(&device), ReadBack::Done, 0).unwrap();
        }
        handle
            .write_working("files-0123456789abcdef-00000001", b"a cache")
            .unwrap();
        drop(handle);
        let mut domain = home.domain(&owner);
        pins::pin(
            &mut domain,
            &home.context,
            "snap-000002".parse().unwrap(),
            "the last good one",
        )
        .unwrap();
        let mut handle = home.open_for_upkeep(&owner, Credentials::None).unwrap();
        handle
            .forget(&["snap-000001".parse().unwrap()], &[])
            .unwrap();
        handle.gc(GcOptions::default(), &|| false).unwrap();
        drop(handle);
        home.domain(&owner).write_descriptor(&home.context).unwrap();
        World {
            host: home,
            owner,
            pieces,
        }
    }

    /// The host that admitted a domain, and refused a stranger's.
    pub fn keeper() -> World {
        let Admitted { keeper, owner, .. } = admitted(10 << 30, 86_400, 8);
        let stranger = Owner::new(30);
        let petition = stranger.petition_for(&keeper.root(), 3, u64::MAX >> 1, 86_400, 8);
        keeper.keeper().admit(&petition).unwrap();
        World {
            host: keeper,
            owner,
            pieces: BTreeMap::new(),
        }
    }

    pub fn dir(&self) -> PathBuf {
        self.host.path()
    }

    pub fn open(&self) -> Result<(HostRoot, Domain)> {
        let root = HostRoot::open(&self.host.path())?;
        let domain = Domain::open(&root, &self.owner.genesis.domain_id())?;
        Ok((root, domain))
    }

    fn open_identity(&self) -> Credentials {
        Credentials::Open(OpenIdentity::parse(&self.owner.open_text).unwrap())
    }

    /// `None` where this host holds none of the content.
    pub fn reading(&self, domain: &Domain) -> Result<Option<StoreHandle>> {
        if !domain.holds_content()? {
            return Ok(None);
        }
        let open = self.open_identity();
        let scope = LeaseScope::Remote;
        self.host
            .open(&self.owner, Mode::Read, open, scope, BOOT)
            .map(Some)
    }

    /// Writes what is derived of the records, as every command does at its end.
    pub fn write_views(&self, domain: &Domain) -> Result<()> {
        domain.write_descriptor(&self.host.context)
    }

    pub fn upkeep(&self, domain: &Domain) -> Result<Option<StoreHandle>> {
        if !domain.holds_content()? {
            return Ok(None);
        }
        self.host
            .open_for_upkeep(&self.owner, self.open_identity())
            .map(Some)
    }
}

fn device(host: &Host, owner: &Owner) -> Device {
    let key = SigningKey::from_seed(&[77; 32]);
    let bytes = Delegation {
        device: key.public(),
        session: [5; 16],
        start: Timestamp::claimed(NOW),
        duration_s: 3600,
        verbs: vec![Verb::SignHead, Verb::SignManifest],
        dam: Digest::of(&owner.dam.bytes),
    }
    .encode();
    let sig = cose::sign(Delegation::KIND, &bytes, &[&owner.operator]).unwrap();
    Device::new(key, Signed { bytes, sig }, &host.domain(owner)).unwrap()
}
