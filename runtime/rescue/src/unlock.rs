//! The short-lived child that holds the passphrase (reliability.md, P11).
//!
//! The child asks for the passphrase on the terminal it inherits, opens the seal credential and
//! the operator key, signs what the order names, and hands the results through a pipe. The
//! passphrase and the operator key never enter the parent's memory.

use crate::out::{remark, Out};
use crate::prompt::{first_line, secret};
use crate::system::{self, SystemEntropy};
use asl_auth::{
    cose, document, secrets, AdmissionRequest, Delegation, LockedBytes, Locking, PublicKey,
    SealCredential, SigningKey,
};
use asl_core::canon::Limits;
use asl_core::{Digest, Error, Fields, KeyId, Kind, MapBuilder, Result, Timestamp, Value};
use asl_host::keystick::{name, KeyStick, Signed};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

const ORDER: &str = "asl.unlock-order/1";
const RESULT: &str = "asl.unlocked/1";
const FAILURE: &str = "asl.unlock-failure/1";

/// Bytes of a child's answer at most.
const MOST: usize = 64 << 10;

/// Times a person may try a passphrase.
const TRIES: u32 = 3;

/// A request the operator shall sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTerms {
    /// Whom it asks.
    pub host: KeyId,
    /// Bytes wanted.
    pub bytes: u64,
    /// Seconds wanted.
    pub seconds: u64,
}

/// How long a device key may sign: 7 days of the session's monotonic time.
const SESSION_SECONDS: u32 = 7 * 86_400;

/// Snapshots asked for beside the bytes.
const SNAPSHOTS_WANTED: u32 = 64;

/// What the child shall do with the unlocked keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// The mounted stick, or a key directory.
    pub stick: PathBuf,
    /// Where the passphrase is read from, instead of the terminal.
    pub passphrase_file: Option<PathBuf>,
    /// The session's device key, to be delegated to.
    pub device: Option<PublicKey>,
    /// Requests to be signed.
    pub requests: Vec<RequestTerms>,
    /// A document to be signed as "proven".
    pub proven: Option<Vec<u8>>,
    /// A revocation to be signed.
    pub revocation: Option<Vec<u8>>,
}

/// What comes out of the child.
pub struct Unlocked {
    /// The right to seal and to deduplicate.
    pub seal: SealCredential,
    /// The delegation of the session's device key.
    pub delegation: Option<Signed>,
    /// The signed requests, in the order asked.
    pub requests: Vec<Signed>,
    /// The signature over the "proven" document.
    pub proven_sig: Option<Vec<u8>>,
    /// The signature over the revocation.
    pub revocation_sig: Option<Vec<u8>>,
}

/// Runs the child and takes its results into locked memory.
///
/// # Errors
/// Those of the child: `Refused` for a wrong passphrase, `NotFound` and `Invalid` for the stick.
pub fn unlock(order: &Order, out: Out) -> Result<Unlocked> {
    let failed = |e: std::io::Error| Error::new(Kind::Io, "start", "the unlocking child", e);
    let program = std::env::current_exe().map_err(failed)?;
    let mut child = Command::new(program)
        .arg("unlock-child")
        .arg(hex(&order.encode()))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // Room for all of it at once, in memory that is not swapped: a growing buffer leaves copies.
    let mut held = LockedBytes::zeroed(MOST)?;
    if held.locking() == Locking::NotLocked {
        out.note("warning: memory cannot be locked here; the seal credential may reach the swap");
    }
    let length = match child.stdout.take() {
        Some(mut pipe) => fill(&mut pipe, &mut held).map_err(failed)?,
        None => 0,
    };
    let bytes = held.get(..length).unwrap_or_default();
    let status = child.wait().map_err(failed)?;
    if system::stopped() {
        return Err(Error::new(
            Kind::Interrupted,
            "unlock",
            order.stick.display(),
            "it was interrupted",
        ));
    }
    if let Ok(e) = decode_failure(bytes) {
        return Err(e);
    }
    if !status.success() {
        return Err(Error::new(
            Kind::Io,
            "unlock",
            order.stick.display(),
            format!("the child ended with {status}"),
        ));
    }
    Unlocked::decode(bytes)
}

fn fill(pipe: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    loop {
        let rest = buffer.get_mut(length..).unwrap_or_default();
        match pipe.read(rest) {
            Ok(0) => return Ok(length),
            Ok(n) => length += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The child's whole life: prints the results, or the failure, as CBOR for the parent.
///
/// # Errors
/// `Io` where the parent is gone; other failures travel through the pipe.
pub fn child(order: &str) -> Result<()> {
    system::end_with_parent()?;
    let bytes = unhex(order)
        .and_then(|bytes| Order::decode(&bytes))
        .and_then(|order| carry_out(&order))
        .unwrap_or_else(|e| Zeroizing::new(encode_failure(&e)));
    let mut pipe = std::io::stdout().lock();
    pipe.write_all(&bytes)
        .and_then(|()| pipe.flush())
        .map_err(|e| Error::new(Kind::Io, "answer", "the parent", e))
}

fn carry_out(order: &Order) -> Result<Zeroizing<Vec<u8>>> {
    let stick = KeyStick::open(&order.stick)?;
    let (sealed, operator) = (stick.read(name::SEAL)?, stick.read(name::OPERATOR)?);
    let (credential, passphrase) = open_with_passphrase(order, &sealed)?;
    let needs_operator = order.device.is_some()
        || !order.requests.is_empty()
        || order.proven.is_some()
        || order.revocation.is_some();
    let mut map = MapBuilder::document(RESULT).put(1, Value::Bytes(credential.to_vec()));
    if needs_operator {
        let key = SigningKey::decode(&secrets::passphrase_unlock(
            &operator,
            &passphrase,
            secrets::MAX_WORK_FACTOR,
        )?)?;
        map = sign_all(order, &stick, &key, map)?;
    }
    Ok(Zeroizing::new(map.encode()))
}

fn sign_all(
    order: &Order,
    stick: &KeyStick,
    key: &SigningKey,
    mut map: MapBuilder,
) -> Result<MapBuilder> {
    let now = Timestamp::claimed(asl_core::HostClock::wall_ns(&system::SystemClock));
    let nonce = || {
        let mut nonce = [0; 16];
        asl_core::Entropy::fill(&SystemEntropy, &mut nonce).map(|()| nonce)
    };
    let pair =
        |doc: Vec<u8>, sig: Vec<u8>| Value::Array(vec![Value::Bytes(doc), Value::Bytes(sig)]);
    if let Some(proven) = &order.proven {
        return Ok(map.put(4, cose::sign(document::Proven::KIND, proven, &[key])?));
    }
    if let Some(revocation) = &order.revocation {
        let kind = document::Revocation::KIND;
        return Ok(map.put(5, cose::sign(kind, revocation, &[key])?));
    }
    let dam = Digest::of(&stick.read(name::DAM)?);
    if let Some(device) = &order.device {
        let delegation = Delegation {
            device: *device,
            session: nonce()?,
            start: now,
            duration_s: SESSION_SECONDS,
            verbs: asl_auth::Verb::ALL.to_vec(),
            dam,
        };
        let doc = delegation.encode();
        let sig = cose::sign(Delegation::KIND, &doc, &[key])?;
        map = map.put(2, pair(doc, sig));
    }
    let mut requests = Vec::new();
    for terms in &order.requests {
        let request = AdmissionRequest {
            dam,
            host: terms.host,
            storage_bytes: terms.bytes,
            seconds: terms.seconds,
            snapshots: SNAPSHOTS_WANTED,
            nonce: nonce()?,
            time: now,
        };
        let doc = request.encode();
        let sig = cose::sign(AdmissionRequest::KIND, &doc, &[key])?;
        requests.push(pair(doc, sig));
    }
    Ok(map.list(3, requests))
}

fn open_with_passphrase(
    order: &Order,
    sealed: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, Zeroizing<String>)> {
    if let Some(file) = &order.passphrase_file {
        let passphrase = first_line(file)?;
        let opened = secrets::passphrase_unlock(sealed, &passphrase, secrets::MAX_WORK_FACTOR)?;
        return Ok((opened, passphrase));
    }
    let mut tries = 0;
    loop {
        let passphrase = secret("Passphrase of the key stick")?;
        remark("Unlocking; this takes a few seconds ...");
        tries += 1;
        match secrets::passphrase_unlock(sealed, &passphrase, secrets::MAX_WORK_FACTOR) {
            Ok(opened) => return Ok((opened, passphrase)),
            Err(e) if e.kind() == Kind::Refused && tries < TRIES => {
                remark("That passphrase does not open it. Try again.")
            }
            Err(e) => return Err(e),
        }
    }
}

impl Order {
    fn encode(&self) -> Vec<u8> {
        let path = |p: &Path| Value::Bytes(p.as_os_str().as_bytes().to_vec());
        let request = |r: &RequestTerms| {
            Value::from(
                MapBuilder::new()
                    .put(0, r.host)
                    .put(1, r.bytes)
                    .put(2, r.seconds),
            )
        };
        MapBuilder::document(ORDER)
            .put(1, path(&self.stick))
            .opt(2, self.passphrase_file.as_deref().map(path))
            .opt(
                3,
                self.device
                    .as_ref()
                    .map(|d| Value::Bytes(d.as_bytes().to_vec())),
            )
            .list(4, self.requests.iter().map(request))
            .opt(5, self.proven.clone())
            .opt(6, self.revocation.clone())
            .encode()
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let path = |bytes: Vec<u8>| PathBuf::from(std::ffi::OsStr::from_bytes(&bytes));
        let mut f = Fields::document(bytes, ORDER, Limits::DOCUMENT)?;
        let stick = path(f.bytes(1)?);
        let passphrase_file = f.opt(2, Fields::bytes)?.map(path);
        let device = f
            .opt(3, Fields::bytes)?
            .map(|b| PublicKey::from_bytes(&b))
            .transpose()?;
        let request = |v: Value| {
            let mut f = Fields::of(v, "request terms")?;
            let terms = RequestTerms {
                host: f.id(0)?,
                bytes: f.uint(1)?,
                seconds: f.uint(2)?,
            };
            f.finish().map(|()| terms)
        };
        let requests = f.list(4)?.into_iter().map(request).collect::<Result<_>>()?;
        let proven = f.opt(5, Fields::bytes)?;
        let revocation = f.opt(6, Fields::bytes)?;
        f.finish()?;
        Ok(Order {
            stick,
            passphrase_file,
            device,
            requests,
            proven,
            revocation,
        })
    }
}

impl Unlocked {
    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut f = Fields::document(bytes, RESULT, Limits::DOCUMENT)?;
        let signed = |v: Value| {
            let pair = v
                .into_array()
                .ok()
                .and_then(|a| <[Value; 2]>::try_from(a).ok());
            let bytes = |v: Value| v.into_bytes().ok();
            pair.and_then(|[doc, sig]| {
                Some(Signed {
                    bytes: bytes(doc)?,
                    sig: bytes(sig)?,
                })
            })
            .ok_or_else(|| {
                Error::new(
                    Kind::Invalid,
                    "read",
                    RESULT,
                    "a signed document is malformed",
                )
            })
        };
        let credential = Zeroizing::new(f.bytes(1)?);
        let unlocked = Unlocked {
            seal: SealCredential::decode(&credential)?,
            delegation: f.opt(2, Fields::value)?.map(signed).transpose()?,
            requests: f
                .opt(3, Fields::list)?
                .unwrap_or_default()
                .into_iter()
                .map(signed)
                .collect::<Result<_>>()?,
            proven_sig: f.opt(4, Fields::bytes)?,
            revocation_sig: f.opt(5, Fields::bytes)?,
        };
        f.finish()?;
        Ok(unlocked)
    }
}

/// The kinds a child can end with, by their number in the pipe.
const KINDS: [Kind; 9] = [
    Kind::Io,
    Kind::NotFound,
    Kind::Exists,
    Kind::Invalid,
    Kind::Usage,
    Kind::Refused,
    Kind::Damage,
    Kind::Concurrent,
    Kind::Interrupted,
];

fn encode_failure(e: &Error) -> Vec<u8> {
    let kind = KINDS
        .iter()
        .position(|k| *k == e.kind())
        .unwrap_or_default() as u64;
    MapBuilder::document(FAILURE)
        .put(1, kind)
        .put(2, e.object())
        .put(3, e.why())
        .put(4, e.what_next())
        .encode()
}

fn decode_failure(bytes: &[u8]) -> Result<Error> {
    let mut f = Fields::document(bytes, FAILURE, Limits::DOCUMENT)?;
    let number = usize::try_from(f.uint(1)?).unwrap_or(usize::MAX);
    let kind = KINDS.get(number).copied().unwrap_or(Kind::Io);
    let e = Error::new(kind, "unlock", f.text(2)?, f.text(3)?);
    let next = f.text(4)?;
    Ok(e.next(next))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let bad = || Error::new(Kind::Usage, "read", "the order", "not hexadecimal");
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err(bad());
    }
    (0..text.len())
        .step_by(2)
        .map(|i| {
            text.get(i..i + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or_else(bad)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_travels_to_the_child_as_it_was_given() {
        let order = Order {
            stick: "/mnt/\u{e9}".into(),
            passphrase_file: Some("/p".into()),
            requests: vec![RequestTerms {
                host: KeyId::from([7; 32]),
                bytes: 1,
                seconds: 2,
            }],
            ..Order::default()
        };
        assert_eq!(
            Order::decode(&unhex(&hex(&order.encode())).unwrap()).unwrap(),
            order
        );
    }

    #[test]
    fn a_failure_of_the_child_keeps_its_kind_and_its_words() {
        let e =
            Error::new(Kind::Refused, "unlock", "seal.age", "wrong passphrase").next("try again");
        let back = decode_failure(&encode_failure(&e)).unwrap();
        assert_eq!(back, e);
    }

    #[test]
    fn a_malformed_order_is_refused() {
        for text in ["", "0", "zz", "a1", "\u{e9}\u{e9}"] {
            assert!(
                unhex(text).and_then(|b| Order::decode(&b)).is_err(),
                "{text}"
            );
        }
    }
}
