//! P8: nothing a peer, a stick or a disk contains breaks a codec.
#![allow(clippy::unwrap_used)] // a failed unwrap fails the test

use asl_core::canon::{self, Limits};
use asl_core::codec::{BlobRef, Entry, EntryKind, Link, ListNode, Meta, Problem, Root};
use asl_core::{ChunkId, DomainId, Error, Kind, Label, MapBuilder, Timestamp, TypeTag};
use asl_testkit::{most_held, torture_count, Counted, Decoder, MOST_HELD};

#[global_allocator]
static COUNTED: Counted = Counted;

fn entry(kind: EntryKind, content: Option<BlobRef>) -> Entry {
    Entry {
        name: b"a name".to_vec(),
        kind,
        meta: Meta {
            mode: 0o644,
            user: Some(b"alice".to_vec()),
            mtime_s: -5,
            xattrs: vec![
                (b"user.a".to_vec(), vec![1; 9]),
                (b"user.b".to_vec(), vec![]),
            ],
            ..Meta::default()
        },
        hard_link: Some(3),
        content,
        key: Some([8; 32].into()),
    }
}

fn blob() -> BlobRef {
    BlobRef {
        size: 1 << 20,
        depth: 1,
        top: Some(ChunkId::from([1; 32])),
    }
}

fn root() -> Root {
    let problem = |n: u8| Problem {
        path: vec![b'a', n],
        why: "input/output error".into(),
    };
    Root {
        source: b"/mnt".to_vec(),
        top: entry(EntryKind::Directory, Some(blob())),
        started: Timestamp::claimed(1),
        ended: Timestamp::claimed(2),
        entries: 3,
        bytes: 4,
        problems: (0..3).map(problem).collect(),
        problem_count: 3,
    }
}

#[test]
fn p8_spoiled_codecs_are_refused_or_read() {
    let count = torture_count(2000);
    let links = |n: u8| Link {
        size: 1 + u64::from(n),
        id: (!n.is_multiple_of(3)).then(|| ChunkId::from([n; 32])),
    };
    let list = ListNode((0..40).map(links).collect()).encode();
    Decoder {
        name: "blob list",
        good: vec![list, ListNode(vec![links(1)]).encode()],
        mend: |bytes| bytes,
        decode: &ListNode::decode,
        encode: Some(&ListNode::encode),
    }
    .try_spoiled(1, count);
    let kinds = [
        EntryKind::File,
        EntryKind::Symlink(b"../away".to_vec()),
        EntryKind::BlockDevice(0x801),
    ];
    let entries = kinds.map(|kind| entry(kind, Some(blob())).encode());
    Decoder {
        name: "tree entry",
        good: entries.to_vec(),
        mend: |bytes| bytes,
        decode: &Entry::decode_first,
        encode: None,
    }
    .try_spoiled(2, count);
    Decoder {
        name: "root",
        good: vec![root().encode()],
        mend: |bytes| bytes,
        decode: &Root::decode,
        encode: None,
    }
    .try_spoiled(3, count);
    Decoder {
        name: "deterministic CBOR",
        good: vec![root().encode(), entries[0].clone()],
        mend: |bytes| bytes,
        decode: &|bytes| canon::decode(bytes, "test", Limits::DOCUMENT),
        encode: Some(&canon::encode),
    }
    .try_spoiled(4, count);
}

#[test]
fn p8_spoiled_names_are_refused_or_safe_as_a_path() {
    let text = |bytes: &[u8]| {
        std::str::from_utf8(bytes)
            .map(str::to_string)
            .map_err(|e| Error::new(Kind::Invalid, "read", "a name", e))
    };
    let safe = |name: &str| {
        assert!(!name.contains('/') && !name.contains('\0'), "{name:?}");
        assert!(!name.starts_with('.') && name.len() <= 255, "{name:?}");
    };
    let good = [
        "alice.personal",
        "a",
        "tgk.edge",
        "alice.personal~3f0d70f1b906",
    ];
    let good = good.map(|name| name.as_bytes().to_vec());
    let count = torture_count(2000);
    Decoder {
        name: "label",
        good: good[..3].to_vec(),
        mend: |bytes| bytes,
        decode: &|bytes| text(bytes)?.parse::<Label>().inspect(|l| safe(l.as_str())),
        encode: Some(&|label: &Label| label.as_str().as_bytes().to_vec()),
    }
    .try_spoiled(5, count);
    Decoder {
        name: "domain id",
        good: good[3..].to_vec(),
        mend: |bytes| bytes,
        decode: &|bytes| {
            text(bytes)?
                .parse::<DomainId>()
                .inspect(|d| safe(&d.to_string()))
        },
        encode: Some(&|id: &DomainId| id.to_string().into_bytes()),
    }
    .try_spoiled(6, count);
    Decoder {
        name: "type tag",
        good: good[1..3].to_vec(),
        mend: |bytes| bytes,
        decode: &|bytes| text(bytes)?.parse::<TypeTag>(),
        encode: Some(&|tag: &TypeTag| tag.as_str().as_bytes().to_vec()),
    }
    .try_spoiled(7, count);
}

type Refuses<'a> = &'a dyn Fn(&[u8]) -> bool;

/// Bombs: few bytes that ask for much. Each is refused, and costs less than the cap.
#[test]
fn p8_bombs_in_cbor_are_refused_before_they_go_off() {
    let nested = |open: u8, depth: usize| [vec![open; depth], vec![0]].concat();
    let claims = |head: u8, n: u64| [&[head][..], &n.to_be_bytes()].concat();
    let wide = |n: u32| [&[0x9a][..], &n.to_be_bytes(), &vec![0; n as usize]].concat();
    let bombs: Vec<(&str, Vec<u8>)> = vec![
        (
            "arrays in arrays, a hundred thousand deep",
            nested(0x81, 100_000),
        ),
        (
            "maps in maps, a hundred thousand deep",
            [0xa1, 0].repeat(100_000),
        ),
        ("tags on tags", nested(0xc1, 100_000)),
        ("an array of 2^64 items", claims(0x9b, u64::MAX)),
        ("a map of 2^63 pairs", claims(0xbb, 1 << 63)),
        ("a byte string of an exabyte", claims(0x5b, 1 << 60)),
        ("a text of 4 GiB", claims(0x7b, 1 << 32)),
        ("a byte string without an end", vec![0x5f; 60_000]),
        ("an array without an end", vec![0x9f; 60_000]),
        ("a map without an end", vec![0xbf; 60_000]),
        ("more items than a document has", wide(5000)),
        (
            "a whole document of empty arrays",
            [vec![0x99, 0xea, 0x60], vec![0x80; 60_000]].concat(),
        ),
        (
            "a bignum of 60 000 bytes",
            [&[0xc2, 0x59, 0xea, 0x60][..], &[0xff; 60_000]].concat(),
        ),
        (
            "a document of 17 MiB",
            MapBuilder::document("asl.root/1")
                .put(1, vec![0u8; 17 << 20])
                .encode(),
        ),
        ("nothing", vec![]),
    ];
    for (name, bytes) in bombs {
        let readers: [(&str, Refuses); 4] = [
            ("CBOR", &|b| {
                canon::decode(b, "bomb", Limits::DOCUMENT).is_err()
            }),
            ("blob list", &|b| ListNode::decode(b).is_err()),
            ("tree entry", &|b| Entry::decode_first(b).is_err()),
            ("root", &|b| Root::decode(b).is_err()),
        ];
        for (reader, refuses) in readers {
            let (refused, held) = most_held(|| refuses(&bytes));
            assert!(refused, "{name} is read as {reader}");
            assert!(
                held <= MOST_HELD / 16,
                "{name}, read as {reader}, holds {held} bytes"
            );
        }
    }
}
