//! The asking side: one request, one answer, within a time.

use crate::tls::{client_config, server_name, Seen};
use crate::wire::{fits, AdmissionEnvelope, DecisionEnvelope, ADMISSION_PATH, MAX_BODY};
use asl_auth::PublicKey;
use asl_core::{Error, Kind, Result};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use std::io::ErrorKind;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

/// Sends a request for admission to the host at `address` ("host:port") and returns its answer.
///
/// Nothing is sent before the peer has proved that it holds the pinned key. The answer's own
/// signature is the caller's to check (`asl_auth::check_decision`). Blocks for `timeout` at most;
/// must not be called from async code.
///
/// # Errors
/// `Io` where the host cannot be reached, is too slow, or cannot decide now; `Refused` where
/// another key answers or the host takes no such request; `Invalid` where the answer is not one.
/// Each says what to do next.
pub fn submit(
    address: &str,
    pinned: &PublicKey,
    envelope: &AdmissionEnvelope,
    timeout: Duration,
) -> Result<DecisionEnvelope> {
    let body = envelope.encode();
    fits(&body)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Io, "ask", address, e))?;
    let asked = runtime.block_on(async {
        match tokio::time::timeout(timeout, ask(address, *pinned, body)).await {
            Ok(answer) => answer,
            Err(_) => {
                let why = format!("no answer within {} s", timeout.as_secs_f32());
                Err(Error::new(Kind::Io, "ask", address, why).next(OTHER_WAYS))
            }
        }
    });
    // A name lookup that hangs must not hold up the caller.
    runtime.shutdown_background();
    DecisionEnvelope::decode(&asked?)
}

const OTHER_WAYS: &str = "check the network and try again later; or carry the request on a stick \
                          or as a code: sealing does not wait for it";

async fn ask(address: &str, pinned: PublicKey, body: Vec<u8>) -> Result<Vec<u8>> {
    let stream = connect(address, pinned).await?;
    let failed = |e: &dyn std::fmt::Display| {
        Error::new(Kind::Io, "ask", address, format!("the line broke: {e}")).next(OTHER_WAYS)
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed(&e))?;
    // It ends with the runtime; what goes wrong in it, the request reports.
    tokio::spawn(connection);
    let request = hyper::Request::post(ADMISSION_PATH)
        .header(HOST, "asl-host")
        .header(CONTENT_TYPE, "application/cbor")
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| failed(&e))?;
    let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let status = response.status();
    let answer = Limited::new(response.into_body(), MAX_BODY).collect().await;
    let answer = answer.map_err(|e| failed(&e))?.to_bytes().to_vec();
    if status.is_success() {
        return Ok(answer);
    }
    let said = printable(&answer);
    let why = format!("the host answered {}: {said}", status.as_u16());
    Err(if status.is_server_error() {
        Error::new(Kind::Io, "ask", address, why).next(OTHER_WAYS)
    } else {
        Error::new(Kind::Refused, "ask", address, why)
            .next("check that both sides run the same version of asl-host")
    })
}

async fn connect(address: &str, pinned: PublicKey) -> Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await.map_err(|e| {
        let why = match e.kind() {
            ErrorKind::ConnectionRefused => "nothing listens there".to_string(),
            ErrorKind::InvalidInput => "the address is not like host:port".to_string(),
            _ => format!("not reachable: {e}"),
        };
        Error::new(Kind::Io, "ask", address, why).next(OTHER_WAYS)
    })?;
    let seen = Seen::default();
    let connector = TlsConnector::from(Arc::new(client_config(pinned, seen.clone())?));
    connector.connect(server_name()?, tcp).await.map_err(|e| {
        let shown = *seen.lock().unwrap_or_else(PoisonError::into_inner);
        match shown {
            Some(other) if other != pinned => {
                let why = format!(
                    "another key answers there: \"{}\", expected \"{}\"; nothing was sent",
                    other.words(),
                    pinned.words()
                );
                Error::new(Kind::Refused, "ask", address, why).next(
                    "compare the words with the host's keeper; pin the new key only if they \
                         say it is theirs",
                )
            }
            Some(_) => Error::new(
                Kind::Refused,
                "ask",
                address,
                format!("what answers there did not prove the pinned key: {e}"),
            )
            .next("something stands between you and the host; use another network or a stick"),
            None if matches!(
                e.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
            ) =>
            {
                let why = "it hung up before it said who it is";
                Error::new(Kind::Io, "ask", address, why).next(
                    "it may have too many callers: try again in a minute; or check the address and \
                     the port",
                )
            }
            None => Error::new(
                Kind::Io,
                "ask",
                address,
                format!("what answers there is no asl-host: {e}"),
            )
            .next("check the address and the port"),
        }
    })
}

/// What a peer says, cut and made harmless for a terminal.
fn printable(bytes: &[u8]) -> String {
    let safe = |b: &u8| match b {
        b' '..=b'~' => char::from(*b),
        _ => '?',
    };
    bytes.trim_ascii().iter().take(200).map(safe).collect()
}
