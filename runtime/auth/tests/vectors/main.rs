//! P9: authority is never widened by error, replay or age. One named case each: what is spoilt,
//! and the reason it must be refused with. No two cases may share a reason.
#![allow(clippy::unwrap_used)] // a failed unwrap fails the test

mod answers;
#[path = "../common/mod.rs"]
mod common;
mod manifests;
mod requests;
mod revocations;
mod signatures;
mod successions;

use asl_auth::*;
use asl_core::{Error, Value};
use common::*;
use coset::{CborSerializable, CoseSign};
use std::collections::BTreeMap;

type Made = Box<dyn Fn() -> String>;

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

fn case(name: &'static str, why: &'static str, made: impl Fn() -> String + 'static) -> Vector {
    Vector {
        name,
        why,
        made: Box::new(made),
    }
}

struct Vector {
    name: &'static str,
    why: &'static str,
    made: Made,
}

fn signature(bytes: &[u8], change: impl FnOnce(&mut CoseSign)) -> Vec<u8> {
    let mut cose = CoseSign::from_slice(bytes).unwrap();
    change(&mut cose);
    cose.to_vec().unwrap()
}

/// A case with a spoilt DAM signature.
fn dam_sig(change: impl FnOnce(&mut CoseSign)) -> String {
    let mut c = Case::new();
    c.dam_sig = signature(&c.dam_sig, change);
    c.rejected()
}

/// The DAM after this one, which brings other root keys.
fn rotated(first: &VerifiedDam) -> VerifiedDam {
    let mut next = next_dam(&first.dam().encode());
    next.roots = roots(&[7, 8], 2);
    let bytes = next.encode();
    Dam::verify(&bytes, &sign_dam(&bytes, &[1, 2, 7, 8]), Some(first)).unwrap()
}

/// A case whose DAM was changed before it was signed.
fn dam_with(key: i64, to: impl Into<Value>) -> String {
    Case::with_dam_bytes(set(&dam().encode(), key, to)).rejected()
}

/// A case whose DAM follows another.
fn following(change: impl FnOnce(&mut Dam)) -> Case {
    let first = verified(&dam());
    let mut next = next_dam(&dam().encode());
    change(&mut next);
    let mut c = Case::with_dam(&next);
    c.previous = Some(first);
    c
}

fn request_with(change: impl FnOnce(&mut AdmissionRequest)) -> String {
    let c = Case::new();
    let mut request = request_for(&c.dam);
    change(&mut request);
    c.with_request(request.encode()).rejected()
}

#[test]
fn every_spoilt_authority_is_refused_for_its_own_reason() {
    let groups = [
        manifests::chain(),
        signatures::signatures(),
        manifests::forms(),
        requests::requests(),
        answers::decisions(),
        answers::sessions_and_secrets(),
        successions::roots_change(),
        revocations::forms(),
        revocations::authority(),
    ];
    let (mut seen, mut wrong) = (BTreeMap::new(), Vec::new());
    for v in groups.into_iter().flatten() {
        let reason = (v.made)();
        if !reason.contains(v.why) {
            wrong.push(format!("{}: expected {:?}, got {reason:?}", v.name, v.why));
        }
        if let Some(other) = seen.insert(v.why, v.name) {
            wrong.push(format!("{} and {other} share a reason", v.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!(
        "{} spoilt authorities refused, each for its own reason",
        seen.len()
    );
    assert!(seen.len() >= 60, "only {} cases", seen.len());
}

#[test]
fn a_signature_in_its_second_mathematical_form_is_refused() {
    // S + L verifies under a lax reading of RFC 8032; strict reading allows one form only.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let c = Case::new();
    let spoilt = signature(&c.request_sig, |s| {
        let sig = &mut s.signatures[0].signature;
        let mut carry = 0u16;
        for (byte, add) in sig[32..].iter_mut().zip(L) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
    });
    assert_ne!(spoilt, c.request_sig);
    let keys = [operator().public()];
    let verify = |sig: &[u8]| cose::verify(AdmissionRequest::KIND, &c.request, sig, &keys);
    assert!(verify(&c.request_sig).is_ok());
    assert!(verify(&spoilt).is_err());
}

#[test]
fn no_single_flipped_bit_of_what_is_sent_is_admitted() {
    fn part(c: &mut Case, n: usize) -> &mut Vec<u8> {
        match n {
            0 => &mut c.dam,
            1 => &mut c.dam_sig,
            2 => &mut c.request,
            _ => &mut c.request_sig,
        }
    }
    let mut c = Case::new();
    let mut tried = 0;
    for n in 0..4 {
        for bit in (0..part(&mut c, n).len() * 8).step_by(7) {
            part(&mut c, n)[bit / 8] ^= 1 << (bit % 8);
            c.rejected();
            part(&mut c, n)[bit / 8] ^= 1 << (bit % 8);
            tried += 1;
        }
    }
    assert_eq!(c.admit().outcome, AdmissionResult::AcceptedLimited);
    assert!(tried > 1000, "{tried}");
}
