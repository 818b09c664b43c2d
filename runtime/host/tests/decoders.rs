//! P8: nothing that a stick or this host's own record of a domain contains breaks its reader.
#![allow(clippy::unwrap_used)] // a failed unwrap fails the test

use asl_auth::{DomainState, SigningKey};
use asl_core::{canon, Error, Kind, SnapshotId, Timestamp};
use asl_host::capability::Place;
use asl_host::hostlog::HostRecord;
use asl_host::keystick::{name, HostPin, KeyStick};
use asl_testkit::{most_held, torture_count, Counted, Decoder, MOST_HELD};

#[global_allocator]
static COUNTED: Counted = Counted;

/// A pin as a person types it.
fn pin() -> String {
    let key = SigningKey::from_seed(&[7; 32]).public().to_openssh("");
    format!("home=192.0.2.7:7643={key}")
}

/// A key stick on which a list of hosts lies.
fn stick(hosts: &[u8]) -> (tempfile::TempDir, KeyStick) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(name::SEAL), b"sealed").unwrap();
    std::fs::write(dir.path().join(name::HOSTS), hosts).unwrap();
    let stick = KeyStick::open(dir.path()).unwrap();
    (dir, stick)
}

#[test]
fn p8_spoiled_records_of_a_host_are_refused_or_read() {
    let time = Timestamp::claimed(5);
    let snapshot = SnapshotId::new(3).unwrap();
    let records = [
        HostRecord::Role(Place::Home),
        HostRecord::State {
            state: DomainState::Courtesy,
            why: "it asked".into(),
            time,
        },
        HostRecord::Evidence {
            decision: [1; 32].into(),
            floor_ns: -1,
        },
        HostRecord::Pin {
            snapshot,
            manifest: [2; 32].into(),
            why: "kept".into(),
            time,
        },
        HostRecord::Unpin { snapshot, time },
        HostRecord::Damaged {
            blocks: vec![[3; 32].into(), [4; 32].into()],
            time,
        },
    ];
    let good = records.iter().map(|r| canon::encode(&r.to_value()));
    Decoder {
        name: "host log record",
        good: good.collect(),
        mend: |bytes| bytes,
        decode: &|b| HostRecord::from_value(canon::decode(b, "record", canon::Limits::DOCUMENT)?),
        encode: None,
    }
    .try_spoiled(1, torture_count(2000));
}

#[test]
fn p8_spoiled_pins_and_lists_of_hosts_are_refused_or_read() {
    let count = torture_count(2000);
    let text = |b: &[u8]| {
        let text = std::str::from_utf8(b).map(str::to_string);
        text.map_err(|e| Error::new(Kind::Invalid, "read", "a pin", e))
    };
    Decoder {
        name: "pin",
        good: vec![pin().into_bytes()],
        mend: |bytes| bytes,
        decode: &|b| HostPin::parse(&text(b)?),
        encode: None,
    }
    .try_spoiled(1, count);
    let (_, address, key) = {
        let text = pin();
        let mut parts = text.splitn(3, '=').map(str::to_string);
        (parts.next(), parts.next().unwrap(), parts.next().unwrap())
    };
    let list = format!("[[host]]\nname = \"home\"\naddress = \"{address}\"\nkey = \"{key}\"\n");
    let (dir, stick) = stick(b"");
    Decoder {
        name: "list of hosts",
        good: vec![list.into_bytes()],
        mend: |bytes| bytes,
        decode: &|b| {
            std::fs::write(dir.path().join(name::HOSTS), b).unwrap();
            stick.hosts()
        },
        encode: None,
    }
    // A file each: fewer of them.
    .try_spoiled(2, count / 10);
}

#[test]
fn p8_bombs_on_a_stick_are_refused_before_they_go_off() {
    let bombs: [(&str, Vec<u8>); 4] = [
        (
            "tables in tables",
            format!("a = {}", "{a=".repeat(100_000)).into_bytes(),
        ),
        (
            "the longest that is read",
            format!("a = {}", "{a=".repeat(21_000)).into_bytes(),
        ),
        ("a list of a megabyte", vec![b'\n'; 1 << 20]),
        (
            "a thousand hosts",
            "[[host]]\nname='a'\naddress='b:1'\nkey='c'\n"
                .repeat(1000)
                .into_bytes(),
        ),
    ];
    for (name, bytes) in bombs {
        let (_dir, stick) = stick(&bytes);
        drop(bytes);
        let (read, held) = most_held(|| stick.hosts());
        assert!(read.is_err(), "{name} is taken");
        assert!(held <= MOST_HELD, "{name} holds {held} bytes");
    }
}
