//! A real server and a real client on loopback: what is admitted, and all that is not.
#![allow(clippy::unwrap_used)] // a failed unwrap fails the test

mod raw;

use asl_auth::{PublicKey, SigningKey};
use asl_core::{Error, Kind, Result};
use asl_net::*;
use raw::raw_client;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(20);

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn envelope() -> AdmissionEnvelope {
    AdmissionEnvelope {
        dam: b"dam".to_vec(),
        dam_sig: vec![1],
        request: b"request".to_vec(),
        request_sig: vec![2; 200],
    }
}

/// Echoes the request as the decision, after a while, and counts.
#[derive(Default)]
struct Echo {
    takes: Duration,
    fails: bool,
    asked: AtomicUsize,
}

impl AdmissionService for Echo {
    fn admit(&self, envelope: AdmissionEnvelope) -> Result<DecisionEnvelope> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(self.takes);
        if self.fails {
            return Err(Error::new(Kind::Io, "write", "/secret/path", "disk full"));
        }
        Ok(DecisionEnvelope {
            decision: envelope.request,
            sig: envelope.request_sig,
        })
    }
}

fn serve_with(echo: Echo, limits: Limits) -> (Server, Arc<Echo>) {
    let echo = Arc::new(echo);
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(any, &key(1), echo.clone(), limits).unwrap();
    (server, echo)
}

fn serve() -> (Server, Arc<Echo>) {
    serve_with(Echo::default(), Limits::default())
}

fn ask(server: &Server) -> Result<DecisionEnvelope> {
    let address = server.local_addr().to_string();
    submit(&address, &key(1).public(), &envelope(), WAIT)
}

/// Sends raw bytes over TLS 1.3 and returns what comes back until the end.
fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut tls = raw_client(server.local_addr(), &[&rustls::version::TLS13]);
    // The server may answer and close before all is written.
    let _ = tls.write_all(bytes);
    let mut answer = Vec::new();
    let _ = tls.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A TCP server that does one thing with one connection and counts the bytes it is sent.
fn peer(act: impl FnOnce(TcpStream) -> usize + Send + 'static) -> (SocketAddr, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || act(listener.accept().unwrap().0));
    (address, thread)
}

type Peer = std::thread::JoinHandle<usize>;

fn certificate(of: &SigningKey) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let head = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    let der = PrivatePkcs8KeyDer::from([&head[..], of.to_seed().as_slice()].concat());
    let pair = rcgen::KeyPair::try_from(&der).unwrap();
    let params = rcgen::CertificateParams::new(vec!["x".into()]).unwrap();
    (params.self_signed(&pair).unwrap().der().clone(), der.into())
}

/// A TLS server that shows one key's certificate and signs with another, and returns how many
/// bytes of a request it was given.
fn tls_peer(shown: &SigningKey, held: &SigningKey) -> (SocketAddr, Peer) {
    #[derive(Debug)]
    struct Show(Arc<rustls::sign::CertifiedKey>);
    impl rustls::server::ResolvesServerCert for Show {
        fn resolve(
            &self,
            _: rustls::server::ClientHello<'_>,
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(self.0.clone())
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let signer = provider
        .key_provider
        .load_private_key(certificate(held).1)
        .unwrap();
    let show = rustls::sign::CertifiedKey::new(vec![certificate(shown).0], signer);
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Show(Arc::new(show))));
    peer(move |tcp| {
        let tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, tcp);
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        got.len()
    })
}

fn submit_to(address: SocketAddr, pinned: &PublicKey, wait: Duration) -> Error {
    submit(&address.to_string(), pinned, &envelope(), wait).unwrap_err()
}

#[test]
fn a_request_reaches_the_host_and_its_decision_comes_back_unchanged() {
    let (server, echo) = serve();
    for n in 1..=3 {
        let answer = ask(&server).unwrap();
        assert_eq!(answer.decision, envelope().request);
        assert_eq!(answer.sig, envelope().request_sig);
        assert_eq!(echo.asked.load(Ordering::SeqCst), n);
    }
    server.stop();
}

#[test]
fn a_host_is_dialled_by_name_too() {
    let (server, _) = serve();
    let address = format!("localhost:{}", server.local_addr().port());
    assert!(submit(&address, &key(1).public(), &envelope(), WAIT).is_ok());
}

#[test]
fn a_host_with_another_key_is_refused_before_anything_is_sent() {
    let (server, echo) = serve();
    let e = submit_to(server.local_addr(), &key(2).public(), WAIT);
    assert_eq!(e.kind(), Kind::Refused);
    assert!(e.why().contains("nothing was sent"), "{e}");
    assert!(e.why().contains(&key(1).public().words()), "{e}");
    assert!(e.why().contains(&key(2).public().words()), "{e}");
    assert_eq!(echo.asked.load(Ordering::SeqCst), 0);

    let (address, peer) = tls_peer(&key(1), &key(1));
    submit_to(address, &key(2).public(), WAIT);
    assert_eq!(
        peer.join().unwrap(),
        0,
        "bytes of a request reached a stranger"
    );
}

#[test]
fn a_copied_certificate_without_its_key_is_refused_before_anything_is_sent() {
    // The control: the same peer with the right key is given the request.
    let (address, peer) = tls_peer(&key(1), &key(1));
    submit_to(address, &key(1).public(), Duration::from_secs(1));
    assert!(peer.join().unwrap() > 200);

    let (address, peer) = tls_peer(&key(1), &key(3));
    let e = submit_to(address, &key(1).public(), WAIT);
    assert!(e.why().contains("did not prove the pinned key"), "{e}");
    assert_eq!(peer.join().unwrap(), 0);
}

#[test]
fn nothing_listening_is_said_so_with_another_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let e = submit_to(address, &key(1).public(), WAIT);
    assert!(e.why().contains("nothing listens there"), "{e}");
    assert!(e.what_next().contains("stick"), "{e:?}");
}

#[test]
fn an_address_without_a_port_or_a_host_that_does_not_exist_is_refused() {
    for address in ["127.0.0.1", "", "host:port:more", "no-such-host.invalid:1"] {
        let e = submit(address, &key(1).public(), &envelope(), WAIT).unwrap_err();
        assert_eq!(e.kind(), Kind::Io, "{address}: {e}");
    }
}

#[test]
fn a_server_that_never_answers_costs_the_stated_time_and_no_more() {
    let silent = || {
        peer(|mut tcp| {
            let mut all = Vec::new();
            let _ = tcp.read_to_end(&mut all);
            all.len()
        })
    };
    let (address, thread) = silent();
    let begun = Instant::now();
    let e = submit_to(address, &key(1).public(), Duration::from_millis(500));
    assert!(e.why().contains("no answer within 0.5 s"), "{e}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    thread.join().unwrap();

    // The same where the handshake is made and the decision never comes.
    let slow = Echo {
        takes: Duration::from_secs(3),
        ..Echo::default()
    };
    let (server, _) = serve_with(slow, Limits::default());
    let e = submit_to(
        server.local_addr(),
        &key(1).public(),
        Duration::from_millis(500),
    );
    assert!(e.why().contains("no answer within"), "{e}");
}

#[test]
fn what_speaks_no_tls_is_told_from_a_host() {
    let (address, thread) = peer(|mut tcp| {
        tcp.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        let mut all = Vec::new();
        let _ = tcp.read_to_end(&mut all);
        0
    });
    let e = submit_to(address, &key(1).public(), WAIT);
    assert!(e.why().contains("is no asl-host"), "{e}");
    thread.join().unwrap();
}

#[test]
fn a_client_that_speaks_only_tls_1_2_is_refused() {
    let (server, _) = serve();
    let mut tls = raw_client(server.local_addr(), &[&rustls::version::TLS12]);
    let e = tls
        .write_all(b"GET /asl/1/health HTTP/1.1\r\n\r\n")
        .unwrap_err();
    assert!(e.to_string().contains("ProtocolVersion"), "{e}");
}

#[test]
fn a_client_without_tls_gets_nothing() {
    let (server, _) = serve();
    let mut tcp = TcpStream::connect(server.local_addr()).unwrap();
    tcp.set_read_timeout(Some(WAIT)).unwrap();
    tcp.write_all(b"GET /asl/1/health HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut all = Vec::new();
    let _ = tcp.read_to_end(&mut all);
    assert!(!all.windows(4).any(|w| w == b"HTTP"));
}

#[test]
fn health_answers_and_other_roads_do_not() {
    let (server, echo) = serve();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").into_bytes();
    assert!(raw(&server, &get(HEALTH_PATH)).starts_with("HTTP/1.1 200"));
    assert!(raw(&server, &get("/")).starts_with("HTTP/1.1 404"));
    assert!(raw(&server, &get("/../../etc/passwd")).starts_with("HTTP/1.1 404"));
    assert!(raw(&server, &get(ADMISSION_PATH)).starts_with("HTTP/1.1 405"));
    assert!(raw(&server, &post(HEALTH_PATH, b"")).starts_with("HTTP/1.1 405"));
    assert_eq!(echo.asked.load(Ordering::SeqCst), 0);
}

#[test]
fn too_large_a_body_is_refused_whether_it_is_announced_or_not() {
    let (server, echo) = serve();
    let large = vec![0u8; MAX_BODY + 1];
    // Where it is announced, before any of it is sent.
    let announced = post(ADMISSION_PATH, &large);
    let head = announced.len() - large.len();
    let answer = raw(&server, &announced[..head]);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

    let head =
        format!("POST {ADMISSION_PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut chunked = head.into_bytes();
    for part in large.chunks(60_000) {
        chunked.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        chunked.extend_from_slice(part);
        chunked.extend_from_slice(b"\r\n");
    }
    let answer = raw(&server, &chunked);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(echo.asked.load(Ordering::SeqCst), 0);

    let mut own = envelope();
    own.dam = large;
    let address = server.local_addr().to_string();
    let e = submit(&address, &key(1).public(), &own, WAIT).unwrap_err();
    assert_eq!(e.kind(), Kind::Invalid, "{e}");
}

#[test]
fn a_body_as_large_as_allowed_arrives() {
    let (server, _) = serve();
    let mut own = envelope();
    own.dam = vec![7; MAX_BODY - 1024];
    let address = server.local_addr().to_string();
    assert!(submit(&address, &key(1).public(), &own, WAIT).is_ok());
}

#[test]
fn garbage_is_refused_and_the_host_is_not_asked() {
    let (server, echo) = serve();
    let good = envelope().encode();
    let cases: [&[u8]; 5] = [
        b"",
        b"hello",
        &good[..good.len() - 1],
        &[&good[..], &[0]].concat(),
        &DecisionEnvelope {
            decision: vec![1],
            sig: vec![2],
        }
        .encode(),
    ];
    for body in cases {
        let answer = raw(&server, &post(ADMISSION_PATH, body));
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let answer = raw(&server, b"\x00\x01\x02\x03 what\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(echo.asked.load(Ordering::SeqCst), 0);
    assert!(ask(&server).is_ok(), "garbage must not end the serving");
}

#[test]
fn a_host_that_cannot_decide_says_so_and_tells_nothing_about_itself() {
    let broken = Echo {
        fails: true,
        ..Echo::default()
    };
    let (server, _) = serve_with(broken, Limits::default());
    let e = ask(&server).unwrap_err();
    assert_eq!(e.kind(), Kind::Io);
    assert!(e.why().contains("cannot decide now"), "{e}");
    assert!(!e.why().contains("secret"), "{e}");
}

#[test]
fn a_service_that_panics_does_not_end_the_serving() {
    struct Panics(AtomicUsize);
    impl AdmissionService for Panics {
        fn admit(&self, envelope: AdmissionEnvelope) -> Result<DecisionEnvelope> {
            assert!(
                self.0.fetch_add(1, Ordering::SeqCst) > 0,
                "the first one panics"
            );
            Ok(DecisionEnvelope {
                decision: envelope.request,
                sig: envelope.request_sig,
            })
        }
    }
    let any = "127.0.0.1:0".parse().unwrap();
    let service = Arc::new(Panics(AtomicUsize::new(0)));
    let server = Server::start(any, &key(1), service, Limits::default()).unwrap();
    assert!(ask(&server)
        .unwrap_err()
        .why()
        .contains("cannot decide now"));
    assert!(ask(&server).is_ok());
}

#[test]
fn a_client_that_dawdles_is_dropped_and_its_place_is_free_again() {
    let limits = Limits {
        connections: 1,
        head_time: Duration::from_millis(300),
        connection_time: Duration::from_secs(1),
        ..Limits::default()
    };
    let (server, _) = serve_with(Echo::default(), limits);
    // One never shakes hands, one never ends its head, one never ends its body.
    let mut mute = TcpStream::connect(server.local_addr()).unwrap();
    mute.set_read_timeout(Some(WAIT)).unwrap();
    assert_eq!(mute.read(&mut [0; 8]).unwrap(), 0);
    for begun in [
        &b"GET /asl/1/hea"[..],
        &post(ADMISSION_PATH, &[0; 100])[..160],
    ] {
        let start = Instant::now();
        let answer = raw(&server, begun);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert!(ask(&server).is_ok());
}

#[test]
fn more_callers_than_places_are_all_answered_in_turn() {
    let limits = Limits {
        connections: 2,
        decisions: 1,
        ..Limits::default()
    };
    let slow = Echo {
        takes: Duration::from_millis(20),
        ..Echo::default()
    };
    let (server, echo) = serve_with(slow, limits);
    std::thread::scope(|s| {
        for _ in 0..12 {
            s.spawn(|| ask(&server).unwrap());
        }
    });
    assert_eq!(echo.asked.load(Ordering::SeqCst), 12);
}

#[test]
fn stopping_lets_a_decision_in_work_reach_its_asker_and_takes_no_more() {
    let slow = Echo {
        takes: Duration::from_millis(700),
        ..Echo::default()
    };
    let (server, echo) = serve_with(slow, Limits::default());
    let address = server.local_addr();
    let asker = std::thread::spawn(move || {
        submit(&address.to_string(), &key(1).public(), &envelope(), WAIT)
    });
    while echo.asked.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    server.stop();
    assert!(asker.join().unwrap().is_ok());
    let e = submit_to(address, &key(1).public(), WAIT);
    assert!(e.why().contains("nothing listens there"), "{e}");
}

#[test]
fn stopping_does_not_wait_for_idle_strangers() {
    let (server, _) = serve();
    let _mute = TcpStream::connect(server.local_addr()).unwrap();
    let mut tls = raw_client(server.local_addr(), &[&rustls::version::TLS13]);
    tls.write_all(b"GET /asl").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    server.stop();
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn an_address_in_use_is_said_so() {
    let (server, _) = serve();
    let again = Server::start(
        server.local_addr(),
        &key(1),
        Arc::new(Echo::default()),
        Limits::default(),
    );
    let e = again.err().unwrap();
    assert!(e.what_next().contains("another address"), "{e}");
}

#[test]
fn an_answer_that_is_none_is_refused() {
    // A host that holds the right key, yet answers with something else.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (cert, der) = certificate(&key(1));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert], der)
        .unwrap();
    let config = Arc::new(config);
    let long = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![0; MAX_BODY + 2]].concat();
    let odd = b"HTTP/1.1 403 No\r\ncontent-length: 9\r\n\r\n\x1b[2Jgo away";
    for (answer, kind, why) in [
        (
            &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"[..],
            Kind::Invalid,
            "CBOR",
        ),
        (&long, Kind::Io, "the line broke"),
        (odd, Kind::Refused, "403: ?[2Jgo aw"),
        (b"220 smtp ready\r\n\r\n", Kind::Io, "the line broke"),
    ] {
        let (answer, config) = (answer.to_vec(), config.clone());
        let (address, thread) = peer(move |tcp| {
            let tls = rustls::ServerConnection::new(config).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, tcp);
            let mut buffer = [0; 4096];
            let n = stream.read(&mut buffer).unwrap_or(0);
            let _ = stream.write_all(&answer);
            stream.conn.send_close_notify();
            let _ = stream.flush();
            n
        });
        let e = submit_to(address, &key(1).public(), WAIT);
        assert_eq!(e.kind(), kind, "{e}");
        assert!(e.why().contains(why), "{e}");
        thread.join().unwrap();
    }
}
