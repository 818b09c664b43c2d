//! A hostile client against a real keeper: nothing happens but a refusal and a line in a log, and an
//! honest client is answered all the while.
//!
//! The hostile one comes from ::1 and the honest one from 127.0.0.1, for the server two households.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../host/tests/common/mod.rs"]
mod common;
mod raw;

use asl_auth::{cose, AdmissionRequest, AdmissionResult, Decision};
use asl_core::{Result, Timestamp};
use asl_host::admission::{Keeper, Petition};
use asl_host::keystick::Signed;
use asl_net::*;
use common::{files, sign_dam, Host, Owner, NOW};
use raw::raw_client;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(20);

/// The keeper behind the wire, and what was told of each connection.
struct Desk {
    keeper: Keeper,
    seen: Mutex<Vec<Seen>>,
}

impl AdmissionService for Desk {
    fn admit(&self, envelope: AdmissionEnvelope) -> Result<DecisionEnvelope> {
        let petition = Petition {
            dam: Signed {
                bytes: envelope.dam,
                sig: envelope.dam_sig,
            },
            request: Signed {
                bytes: envelope.request,
                sig: envelope.request_sig,
            },
        };
        self.keeper.admit(&petition).map(|d| DecisionEnvelope {
            decision: d.bytes,
            sig: d.sig,
        })
    }

    fn seen(&self, seen: &Seen) {
        self.seen.lock().unwrap().push(seen.clone());
    }
}

fn envelope(petition: &Petition) -> AdmissionEnvelope {
    AdmissionEnvelope {
        dam: petition.dam.bytes.clone(),
        dam_sig: petition.dam.sig.clone(),
        request: petition.request.bytes.clone(),
        request_sig: petition.request.sig.clone(),
    }
}

fn post(kind: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("POST {ADMISSION_PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\n{more}\r\n");
    [head.as_bytes(), body].concat()
}

fn cbor(body: &[u8]) -> Vec<u8> {
    post(
        "application/cbor",
        &format!("content-length: {}\r\n", body.len()),
        body,
    )
}

/// Sends these bytes and gives the whole of what came back.
fn send(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut tls = raw_client(to, &[&rustls::version::TLS13]);
    // The server may answer and close before all is written.
    let _ = tls.write_all(bytes);
    let mut answer = Vec::new();
    let _ = tls.read_to_end(&mut answer);
    answer
}

/// The decision in an answer.
fn decided(answer: &[u8]) -> Decision {
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let envelope = DecisionEnvelope::decode(&answer[at + 4..]).unwrap();
    Decision::decode(&envelope.decision).unwrap()
}

/// Sends a byte now and then for as long as it is listened to; gives how long that was.
fn dawdle(to: SocketAddr, begun: &[u8], rest: u8) -> Duration {
    let since = Instant::now();
    let mut tls = raw_client(to, &[&rustls::version::TLS13]);
    let _ = tls.write_all(begun);
    tls.sock
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    while since.elapsed() < WAIT {
        let gone = |e: &std::io::Error| e.kind() != std::io::ErrorKind::WouldBlock;
        if tls.write_all(&[rest]).and_then(|()| tls.flush()).is_err() {
            break;
        }
        match tls.read(&mut [0; 512]) {
            Err(e) if !gone(&e) => {}
            Ok(n) if n > 0 => {}
            _ => break,
        }
    }
    since.elapsed()
}

#[test]
fn a_hostile_client_gets_nowhere_and_an_honest_one_is_answered_all_the_while() {
    let (host, alice) = (Host::new(2), Owner::new(7));
    host.trust(&alice);
    let desk = Arc::new(Desk {
        keeper: host.keeper(),
        seen: Mutex::default(),
    });
    let limits = Limits {
        per_address: 8,
        per_minute: 10_000,
        head_time: Duration::from_secs(2),
        body_time: Duration::from_secs(2),
        connection_time: Duration::from_secs(6),
        ..Limits::default()
    };
    let key = desk.keeper.key().clone();
    let any: SocketAddr = "[::]:0".parse().unwrap();
    let server = Server::start(any, &key, desk.clone(), limits).unwrap();
    let port = server.local_addr().port();
    let hostile: SocketAddr = format!("[::1]:{port}").parse().unwrap();
    let honest = format!("127.0.0.1:{port}");

    let petition = alice.petition(&host.root(), 1);
    let first = submit(&honest, &key.public(), &envelope(&petition), WAIT).unwrap();
    assert_eq!(
        Decision::decode(&first.decision).unwrap().outcome,
        AdmissionResult::AcceptedLimited
    );
    let kept = files(&host.path().join("domains"));

    let stop = AtomicBool::new(false);
    let (answered, slowest) = (AtomicU64::new(0), Mutex::new(Duration::ZERO));
    let tried = std::thread::scope(|s| {
        s.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let since = Instant::now();
                let again = submit(&honest, &key.public(), &envelope(&petition), WAIT).unwrap();
                assert_eq!(again, first);
                let mut slowest = slowest.lock().unwrap();
                *slowest = slowest.max(since.elapsed());
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        let tried = std::panic::catch_unwind(AssertUnwindSafe(|| {
            attack(hostile, &host, &alice, &petition, &first)
        }));
        stop.store(true, Ordering::Relaxed);
        tried
    });
    let tried = tried.unwrap();
    let (answered, slowest) = (answered.into_inner(), slowest.into_inner().unwrap());
    println!("{tried} attacks; {answered} honest answers meanwhile, the slowest {slowest:?}");
    assert!(
        answered > 0 && slowest < Duration::from_secs(5),
        "{slowest:?}"
    );

    // Nothing has come of it: no domain, no record, no byte of the one that is there.
    assert_eq!(files(&host.path().join("domains")), kept);
    assert!(files(&host.root().layout().quarantine()).len() <= 6 * 20);
    server.stop();
    let seen = desk.seen.lock().unwrap();
    let of_hostile = seen.iter().filter(|s| s.from.ip() == hostile.ip()).count();
    assert!(
        of_hostile as u64 >= tried,
        "{of_hostile} lines for {tried} attacks"
    );
    for outcome in [
        Outcome::Slow,
        Outcome::NoTls,
        Outcome::Malformed,
        Outcome::TooMany,
    ] {
        assert!(
            seen.iter().any(|s| s.outcome == outcome),
            "no {outcome:?} was told"
        );
    }
    let printable = |s: &Seen| {
        s.asked
            .iter()
            .all(|a| a.bytes().all(|b| (b' '..=b'~').contains(&b)))
    };
    assert!(seen.iter().all(printable));
}

/// Everything that is tried; gives how often.
fn attack(
    to: SocketAddr,
    host: &Host,
    alice: &Owner,
    petition: &Petition,
    first: &DecisionEnvelope,
) -> u64 {
    let mut tried = 0;
    let good = envelope(petition).encode();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes();
    let long = "x".repeat(20_000);
    let many: String = (0..100).map(|n| format!("x-{n}: y\r\n")).collect();
    let chunk = [b"ffff\r\n".to_vec(), vec![0; 0xffff], b"\r\n".to_vec()].concat();
    let nested = [vec![0x81; 5000], vec![0x00]].concat();
    let mixed = "content-length: 4\r\ntransfer-encoding: chunked\r\n";
    let smuggled = [b"0\r\n\r\n".to_vec(), get("/asl/1/health")].concat();
    // What is sent, and the answers that refuse it; nothing at all is a refusal too.
    let table: Vec<(&str, Vec<u8>, &[&str])> = vec![
        (
            "a body said to be a terabyte",
            post(
                "application/cbor",
                "content-length: 1099511627776\r\n",
                b"x",
            ),
            &["413"],
        ),
        (
            "a body of a negative size",
            post("application/cbor", "content-length: -1\r\n", b"x"),
            &["400"],
        ),
        (
            "two sizes",
            post(
                "application/cbor",
                "content-length: 1\r\ncontent-length: 2\r\n",
                b"xx",
            ),
            &["400"],
        ),
        (
            "chunks without end",
            post(
                "application/cbor",
                "transfer-encoding: chunked\r\n",
                &chunk.repeat(6),
            ),
            &["413"],
        ),
        (
            "a chunk of a bad size",
            post(
                "application/cbor",
                "transfer-encoding: chunked\r\n",
                b"ffffffffffffffffff\r\n",
            ),
            &["400"],
        ),
        (
            "an endless header",
            post("application/cbor", &format!("x: {long}\r\n"), b""),
            &["431", "400"],
        ),
        (
            "an endless path",
            get(&format!("/{long}")),
            &["414", "431", "400"],
        ),
        (
            "a hundred headers",
            post("application/cbor", &many, b""),
            &["431", "400"],
        ),
        (
            "another media type",
            post(
                "text/html",
                &format!("content-length: {}\r\n", good.len()),
                &good,
            ),
            &["415"],
        ),
        (
            "no media type",
            format!("POST {ADMISSION_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx")
                .into_bytes(),
            &["415"],
        ),
        ("another method", get(ADMISSION_PATH), &["405"]),
        (
            "a method of its own",
            format!("STEAL {ADMISSION_PATH} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes(),
            &["405"],
        ),
        (
            "a path out of the root",
            get("/../../../etc/passwd"),
            &["404"],
        ),
        (
            "a path out of the root, encoded",
            get("/asl/1/..%2f..%2fhost/identity.key"),
            &["404"],
        ),
        ("a path with a zero", get("/asl/1/admission%00"), &["404"]),
        (
            "a path with two slashes",
            get("//asl/1/admission"),
            &["404"],
        ),
        ("the metrics, from outside", get("/metrics"), &["404"]),
        (
            "HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            &["400", "505"],
        ),
        (
            "no HTTP",
            b"\x16\x03\x01\x00\x00 hello\r\n\r\n".to_vec(),
            &["400"],
        ),
        ("nothing", cbor(b""), &["400"]),
        ("arrays in arrays", cbor(&nested), &["400"]),
        (
            "a list said to be endless",
            cbor(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            &["400"],
        ),
        (
            "bytes said to be endless",
            cbor(&[
                0xa1, 0x01, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ]),
            &["400"],
        ),
        (
            "a map of a million pairs",
            cbor(&[0xba, 0x00, 0x10, 0x00, 0x00]),
            &["400"],
        ),
        ("an indefinite map", cbor(&[0xbf, 0xff]), &["400"]),
        (
            "a request and more",
            cbor(&[&good[..], &[0]].concat()),
            &["400"],
        ),
        ("half a request", cbor(&good[..good.len() / 2]), &["400"]),
        (
            "both sizes and a second request",
            post("application/cbor", mixed, &smuggled),
            &["400"],
        ),
    ];
    for (name, bytes, statuses) in table {
        let answer = String::from_utf8_lossy(&send(to, &bytes)).into_owned();
        let status = answer.get(9..12).unwrap_or("");
        assert!(
            answer.is_empty() || statuses.contains(&status),
            "{name}: {answer}"
        );
        assert!(
            answer.matches("HTTP/1.1 ").count() <= 1,
            "{name}: two answers: {answer}"
        );
        assert!(
            !answer.contains("/tmp") && !answer.contains("host/"),
            "{name}: {answer}"
        );
        tried += 1;
    }

    // Well-formed, and not theirs to ask: each is a signed rejection.
    let bob = Owner::with(8, true, |g| g.label = "bob".parse().unwrap());
    let other = Host::new(3);
    let mut stolen = alice.petition(&host.root(), 7);
    stolen.request.sig = cose::sign(
        AdmissionRequest::KIND,
        &stolen.request.bytes,
        &[&bob.operator],
    )
    .unwrap();
    let mut ended = alice.decoded();
    ended.not_after = Some(Timestamp::claimed(NOW - 1));
    let ended = sign_dam(&ended, &alice.root);
    let mut forged = alice.decoded();
    forged.operators = vec![bob.operator.public()];
    let forged = sign_dam(&forged, &bob.root);
    let mut flipped = alice.petition(&host.root(), 8);
    flipped.request.bytes[60] ^= 1;
    for (name, petition) in [
        ("somebody else's DAM", stolen),
        (
            "a DAM that has ended",
            alice.petition_under(&ended, &host.root(), |r| r.nonce = [9; 16]),
        ),
        (
            "a DAM of its own making",
            alice.petition_under(&forged, &host.root(), |_| ()),
        ),
        (
            "a request to another host",
            alice.petition(&other.root(), 1),
        ),
        ("a request with one bit changed", flipped),
        ("a root that nobody knows", bob.petition(&host.root(), 1)),
    ] {
        let decision = decided(&send(to, &cbor(&envelope(&petition).encode())));
        assert_eq!(
            decision.outcome,
            AdmissionResult::Rejected,
            "{name}: {decision:?}"
        );
        assert!(decision.lease.is_none());
        tried += 1;
    }
    // A request that was granted, sent again by a stranger, grants nothing more.
    for _ in 0..3 {
        let decision = decided(&send(to, &cbor(&good)));
        assert_eq!(decision, Decision::decode(&first.decision).unwrap());
        tried += 1;
    }

    // Slow ones are cut: before the handshake, in the head, in the body.
    std::thread::scope(|s| {
        let head = s.spawn(|| dawdle(to, b"POST /asl", b'x'));
        let body = cbor(&[0; 1000]);
        let body = body[..body.len() - 1000].to_vec();
        let body = s.spawn(move || dawdle(to, &body, 0));
        let mute = s.spawn(|| {
            let since = Instant::now();
            let mut tcp = TcpStream::connect(to).unwrap();
            tcp.set_read_timeout(Some(WAIT)).unwrap();
            let _ = tcp.read(&mut [0; 8]);
            since.elapsed()
        });
        for (name, thread) in [("head", head), ("body", body), ("mute", mute)] {
            let lasted = thread.join().unwrap();
            assert!(
                lasted < Duration::from_secs(8),
                "a slow {name} lasted {lasted:?}"
            );
            tried += 1;
        }
    });
    let mut tcp = TcpStream::connect(to).unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    tcp.set_read_timeout(Some(WAIT)).unwrap();
    let _ = tcp.read_to_end(&mut Vec::new());
    tried += 1;

    // Many at once: its own places are all it gets.
    let all: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(to).unwrap()).collect();
    let cut = |tcp: &TcpStream| {
        tcp.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut tcp = tcp;
        !matches!(tcp.read(&mut [0; 8]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
    };
    let refused = all.iter().rev().take(24).filter(|tcp| cut(tcp)).count();
    assert!(refused >= 20, "only {refused} of 24 were cut at once");
    tried + all.len() as u64
}
