//! P8: nothing a peer or a stick contains breaks a document's reader.
#![allow(clippy::unwrap_used)] // a failed unwrap fails the test

mod common;
use asl_auth::*;
use asl_core::{Digest, Error, Kind, Result, Timestamp, Value};
use asl_testkit::{most_held, torture_count, Counted, Decoder, SeededEntropy, MOST_HELD};
use common::*;
use std::fmt::Debug;

#[global_allocator]
static COUNTED: Counted = Counted;

/// Spoils bytes that a document's reader takes, and what is written of a changed one.
#[track_caller]
fn spoiled<T: Debug>(name: &str, good: Vec<Vec<u8>>, decode: &dyn Fn(&[u8]) -> Result<T>) {
    Decoder {
        name,
        good,
        mend: |bytes| bytes,
        decode,
        encode: None,
    }
    .try_spoiled(1, torture_count(2000));
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|e| Error::new(Kind::Invalid, "read", "a text", e))
}

fn delegation(dam: &[u8]) -> Delegation {
    Delegation {
        device: key(50).public(),
        session: [3; 16],
        start: Timestamp::claimed(NOW),
        duration_s: 3600,
        verbs: Verb::ALL.to_vec(),
        dam: Digest::of(dam),
    }
}

#[test]
fn p8_spoiled_documents_are_refused_or_read() {
    let case = Case::new();
    let plain = dam_of(&genesis(false)).encode();
    let next = next_dam(&case.dam).encode();
    spoiled("DAM", vec![case.dam.clone(), plain, next], &Dam::decode);
    let both = vec![genesis(true).encode(), genesis(false).encode()];
    spoiled("genesis", both, &Genesis::decode);
    spoiled(
        "admission request",
        vec![case.request.clone()],
        &AdmissionRequest::decode,
    );
    let mut deferred = Case::new();
    deferred.ruling = Some(AdmissionResult::Deferred);
    let decisions = vec![case.admit().encode(), deferred.admit().encode()];
    spoiled("admission decision", decisions, &Decision::decode);
    let signed = delegation(&case.dam).encode();
    spoiled("delegation", vec![signed], &Delegation::decode);
    let keys = EpochKeys {
        number: 1,
        chunk_id_key: [1; 32],
        mac_key: [2; 32],
    };
    spoiled(
        "epoch keys",
        vec![keys.encode().to_vec()],
        &EpochKeys::decode,
    );
    let entropy = SeededEntropy::new(1);
    let owner = OpenIdentity::generate().0.recipients();
    let epoch = NewEpoch::create(1, &owner, &entropy).unwrap();
    let credential = epoch.credential().encode().to_vec();
    spoiled("seal credential", vec![credential], &SealCredential::decode);
    spoiled("secret key", vec![key(1).encode().to_vec()], &|b| {
        SigningKey::decode(b).map(drop)
    });
}

#[test]
fn p8_spoiled_signatures_are_never_taken() {
    let dam = dam().encode();
    let good = sign_dam(&dam, &[1, 2]);
    // Whatever is read of a spoiled signature, it counts for nobody but those who made it.
    let count = |sig: &[u8]| -> Result<usize> {
        let roots = roots(&[1, 2, 3], 2);
        let signers = cose::verify(Dam::KIND, &dam, sig, roots.keys())?;
        assert!(signers.len() <= 2, "{signers:?}");
        Ok(signers.len())
    };
    spoiled("COSE_Sign", vec![good], &count);
}

#[test]
fn p8_spoiled_texts_are_refused_or_read() {
    let case = Case::new();
    let code = code::write(&case.request, &case.request_sig, 300)
        .unwrap()
        .join("\n");
    spoiled("code", vec![code.into_bytes()], &|b| code::read(text(b)?));
    let policy = policy::DEFAULT_POLICY.as_bytes().to_vec();
    spoiled("host-policy", vec![policy], &|b| {
        HostPolicy::parse(text(b)?).map(drop)
    });
    let line = format!("# mine\n{}\n", key(1).public().to_openssh("alice"));
    spoiled("public keys", vec![line.into_bytes()], &|b| {
        PublicKey::parse_file(text(b)?)
    });
    let (open, file) = OpenIdentity::generate();
    spoiled("open identity", vec![file.as_bytes().to_vec()], &|b| {
        OpenIdentity::parse(text(b)?)
    });
    let recipient = open.recipients()[0].to_string().into_bytes();
    let ssh = key(1).public().to_openssh("").into_bytes();
    spoiled("recipient", vec![recipient, ssh], &|b| {
        text(b)?.parse::<Recipient>()
    });
}

#[test]
fn p8_spoiled_sealed_files_are_refused_or_open_to_what_was_sealed() {
    let (open, _) = OpenIdentity::generate();
    let owner = open.recipients();
    let epoch = NewEpoch::create(1, &owner, &SeededEntropy::new(1)).unwrap();
    // Opening costs curve arithmetic: fewer of them.
    let count = torture_count(2000) / 10;
    Decoder {
        name: "epoch file",
        good: vec![epoch.epoch_age.clone()],
        mend: |bytes| bytes,
        decode: &|b| epoch::open_epoch(b, &open),
        encode: None,
    }
    .try_spoiled(1, count);
    let whole = epoch::open_keys(&epoch.epoch_keys_age, &epoch.index_identity).unwrap();
    Decoder {
        name: "epoch keys file",
        good: vec![epoch.epoch_keys_age.clone()],
        mend: |bytes| bytes,
        decode: &|b| {
            epoch::open_keys(b, &epoch.index_identity).inspect(|keys| assert!(*keys == whole))
        },
        encode: None,
    }
    .try_spoiled(2, count);
    let sealed = secrets::passphrase_lock(b"a seed", "p", 2).unwrap();
    Decoder {
        name: "passphrase file",
        good: vec![sealed],
        mend: |bytes| bytes,
        decode: &|b| {
            secrets::passphrase_unlock(b, "p", 4).inspect(|s| assert_eq!(s.as_slice(), b"a seed"))
        },
        encode: None,
    }
    .try_spoiled(3, count);
}

/// Bombs: few bytes that ask for much work or memory. Each is refused within the cap.
#[test]
fn p8_bombs_in_documents_and_keys_are_refused_before_they_go_off() {
    let case = Case::new();
    let stanza = |line: &str| format!("age-encryption.org/v1\n{line}\n").into_bytes();
    let age = |b: &[u8]| secrets::passphrase_unlock(b, "p", secrets::MAX_WORK_FACTOR).is_err();
    let (open, _) = OpenIdentity::generate();
    let sealed = |b: &[u8]| epoch::open_epoch(b, &open).is_err();
    let policy = |b: &[u8]| HostPolicy::parse(std::str::from_utf8(b).unwrap()).is_err();
    let dam = |b: &[u8]| Dam::decode(b).is_err();
    let sig = |b: &[u8]| cose::verify(Dam::KIND, &case.dam, b, &[root(1).public()]).is_err();
    let code = |b: &[u8]| code::read(std::str::from_utf8(b).unwrap()).is_err();
    let keys = |n: usize| Value::Array(vec![Value::Bytes(vec![9; 32]); n]);
    let salt = "AAAAAAAAAAAAAAAAAAAAAA";
    let open_toml = |open: &str, depth| format!("a = {}", open.repeat(depth)).into_bytes();
    // Policies, profiles and pins are read up to 64 KiB.
    type Refuses<'a> = &'a dyn Fn(&[u8]) -> bool;
    let bombs: Vec<(&str, Vec<u8>, Refuses)> = vec![
        (
            "scrypt with 2^63 rounds",
            stanza(&format!("-> scrypt {salt} 63\nAAAA")),
            &age,
        ),
        (
            "scrypt with a number that is none",
            stanza(&format!("-> scrypt {salt} {}\nAAAA", "9".repeat(9000))),
            &age,
        ),
        (
            "a header that has no end",
            stanza(&"-> X25519 A\n\n".repeat(100_000)),
            &sealed,
        ),
        (
            "a stanza of a megabyte",
            stanza(&format!("-> X25519 {}", "A".repeat(1 << 20))),
            &sealed,
        ),
        (
            "a hundred thousand lines of one stanza",
            stanza(&format!(
                "-> X25519 A\n{}",
                format!("{}\n", "A".repeat(64)).repeat(100_000)
            )),
            &sealed,
        ),
        (
            "brackets in brackets in a policy",
            open_toml("[", 60_000),
            &policy,
        ),
        (
            "tables in tables in a policy",
            open_toml("{a=", 20_000),
            &policy,
        ),
        (
            "a key of thirty thousand dots",
            format!("{}a = 1", "a.".repeat(30_000)).into_bytes(),
            &policy,
        ),
        ("a thousand operators", set(&case.dam, 6, keys(1000)), &dam),
        ("one operator three times", set(&case.dam, 6, keys(3)), &dam),
        (
            "a genesis of 60 000 bytes in a DAM",
            set(&case.dam, 2, Value::Bytes(vec![0; 60_000])),
            &dam,
        ),
        ("a signature of a megabyte", vec![0x98; 1 << 20], &sig),
        (
            "a signature by a thousand keys",
            many_signatures(&case.dam_sig),
            &sig,
        ),
        (
            "a code of a megabyte",
            "ASLR1:1/1:AAAAAAAA:".repeat(60_000).into_bytes(),
            &code,
        ),
        (
            "a code of 2^32 parts",
            b"ASLR1:1/4294967296:AAAAAAAA:AAAA".to_vec(),
            &code,
        ),
    ];
    for (name, bytes, refuses) in bombs {
        let (refused, held) = most_held(|| refuses(&bytes));
        assert!(refused, "{name} is taken");
        assert!(held <= MOST_HELD, "{name} holds {held} bytes");
    }
}

/// The signatures of a document, again and again.
fn many_signatures(sig: &[u8]) -> Vec<u8> {
    let mut value: Value =
        asl_core::canon::decode(sig, "sig", asl_core::canon::Limits::DOCUMENT).unwrap();
    let inner = match &mut value {
        Value::Tag(_, inner) => inner.as_mut(),
        other => other,
    };
    if let Some(Value::Array(all)) = inner.as_array_mut().and_then(|a| a.get_mut(3)) {
        let one = all[0].clone();
        all.resize(1000, one);
    }
    asl_core::canon::encode(&value)
}
