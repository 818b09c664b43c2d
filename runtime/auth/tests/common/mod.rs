//! A small world of keys and documents for the tests, and ways to spoil them.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses a part; a failed unwrap fails the test

use asl_auth::*;
use asl_core::canon::{self, Limits};
use asl_core::{Digest, Entropy, Result, Timestamp, Value};

pub const DAY: i64 = 86_400 * 1_000_000_000;
pub const NOW: i64 = 20_000 * DAY;

/// Counts up: enough for nonces, and the same in every run.
pub struct Counter(pub std::sync::atomic::AtomicU8);

impl Entropy for Counter {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        let n = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        buffer.fill(n);
        Ok(())
    }
}

pub fn entropy() -> Counter {
    Counter(std::sync::atomic::AtomicU8::new(1))
}

pub fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

pub fn root(n: u8) -> SigningKey {
    key(10 + n)
}

pub fn operator() -> SigningKey {
    key(30)
}

pub fn host() -> SigningKey {
    key(40)
}

pub fn roots(numbers: &[u8], threshold: u8) -> RootSet {
    RootSet::new(
        numbers.iter().map(|n| root(*n).public()).collect(),
        threshold,
    )
    .unwrap()
}

pub const OWNER: &str = "age1s33499u8ux02mwket7p6dzjga4xjjwrrksauw0yextvlpy3we3eqk2hvp5";

pub fn genesis(encrypted: bool) -> Genesis {
    let set = roots(&[1, 2, 3], 2);
    Genesis {
        label: "alice.personal".parse().unwrap(),
        nonce: [9; 16],
        host: host().id(),
        time: Timestamp::claimed(NOW),
        params: StoreParams::standard(encrypted),
        root_set: set.digest(),
        threshold: set.threshold(),
    }
}

pub fn dam_of(genesis: &Genesis) -> Dam {
    let encrypted = genesis.params.encrypted;
    Dam {
        domain: genesis.hash(),
        genesis: genesis.encode(),
        sequence: 1,
        previous: None,
        roots: roots(&[1, 2, 3], 2),
        operators: vec![operator().public()],
        encryption: encrypted.then(|| DomainEncryption {
            epoch: 1,
            data_recipient: OWNER.into(),
            index_recipient: OWNER.into(),
            owner_recipients: vec![OWNER.into()],
            epoch_file: Digest::of(b"epoch"),
            keys_file: Digest::of(b"keys"),
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
    }
}

pub fn dam() -> Dam {
    dam_of(&genesis(true))
}

/// The second DAM of the same domain.
pub fn next_dam(first: &[u8]) -> Dam {
    Dam {
        sequence: 2,
        previous: Some(Digest::of(first)),
        ..dam()
    }
}

pub fn sign_dam(bytes: &[u8], numbers: &[u8]) -> Vec<u8> {
    let keys: Vec<SigningKey> = numbers.iter().map(|n| root(*n)).collect();
    let keys: Vec<&SigningKey> = keys.iter().collect();
    cose::sign(Dam::KIND, bytes, &keys).unwrap()
}

pub fn verified(dam: &Dam) -> VerifiedDam {
    let bytes = dam.encode();
    Dam::verify(&bytes, &sign_dam(&bytes, &[1, 2]), None).unwrap()
}

pub fn request_for(dam: &[u8]) -> AdmissionRequest {
    AdmissionRequest {
        dam: Digest::of(dam),
        host: host().id(),
        storage_bytes: 10 << 30,
        seconds: 7 * 86400,
        snapshots: 8,
        nonce: [5; 16],
        time: Timestamp::claimed(0),
    }
}

/// Everything one admission needs; a test changes a part and asks.
pub struct Case {
    pub dam: Vec<u8>,
    pub dam_sig: Vec<u8>,
    pub request: Vec<u8>,
    pub request_sig: Vec<u8>,
    pub trusted: Vec<PublicKey>,
    pub policy: HostPolicy,
    pub now: Timestamp,
    pub previous: Option<VerifiedDam>,
    pub state: DomainState,
    pub held: bool,
    pub conduct: Conduct,
    pub promised: u64,
    pub strangers: u32,
    pub ruling: Option<AdmissionResult>,
}

impl Case {
    pub fn new() -> Case {
        Case::with_dam(&dam())
    }

    /// A case whose DAM is this one, duly signed and asked for.
    pub fn with_dam(dam: &Dam) -> Case {
        Case::with_dam_bytes(dam.encode())
    }

    pub fn with_dam_bytes(dam: Vec<u8>) -> Case {
        let request = request_for(&dam).encode();
        Case {
            dam_sig: sign_dam(&dam, &[1, 2]),
            request_sig: sign_request(&request),
            dam,
            request,
            trusted: vec![root(1).public()],
            policy: HostPolicy::parse(policy::DEFAULT_POLICY).unwrap(),
            now: Timestamp::claimed(NOW),
            previous: None,
            state: DomainState::Unrecognized,
            held: false,
            conduct: Conduct::default(),
            promised: 0,
            strangers: 0,
            ruling: None,
        }
    }

    pub fn with_request(mut self, request: Vec<u8>) -> Case {
        self.request_sig = sign_request(&request);
        self.request = request;
        self
    }

    pub fn admit(&self) -> Decision {
        let decision = self.weigh().decision;
        // Whatever comes in, what goes out is a document the other side can read.
        let bytes = decision.encode();
        assert_eq!(Decision::decode(&bytes).unwrap(), decision);
        decision
    }

    pub fn weigh(&self) -> Verdict {
        weigh(&AdmitInput {
            dam: &self.dam,
            dam_sig: &self.dam_sig,
            request: &self.request,
            request_sig: &self.request_sig,
            trusted_roots: &self.trusted,
            policy: &self.policy,
            now: self.now,
            host: &host().public(),
            previous: self.previous.as_ref(),
            state: self.state,
            held: self.held,
            conduct: self.conduct,
            promised_bytes: self.promised,
            strangers: self.strangers,
            ruling: self.ruling,
        })
    }

    /// The reason of a rejection.
    pub fn rejected(&self) -> String {
        let decision = self.admit();
        assert_eq!(decision.outcome, AdmissionResult::Rejected, "{decision:?}");
        assert!(decision.lease.is_none());
        decision.reason
    }
}

pub fn sign_request(bytes: &[u8]) -> Vec<u8> {
    cose::sign(AdmissionRequest::KIND, bytes, &[&operator()]).unwrap()
}

/// Changes a document's map and spells it anew.
pub fn changed(bytes: &[u8], change: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let mut value = canon::decode(bytes, "test", Limits::DOCUMENT).unwrap();
    change(value.as_map_mut().unwrap());
    canon::encode(&value)
}

pub fn set(bytes: &[u8], key: i64, to: impl Into<Value>) -> Vec<u8> {
    let to = to.into();
    changed(bytes, |map| {
        map.retain(|(k, _)| *k != Value::from(key));
        map.push((Value::from(key), to));
    })
}
