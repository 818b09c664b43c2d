//! Detached COSE signatures (RFC 9052, COSE_Sign) over the exact bytes of a document.
//!
//! One COSE_Signature a key, Ed25519 strict, algorithm and key id protected, the document's kind
//! as external data so that no signature serves for another kind (formats.md, "Documents").
//! There is one spelling of a set of signatures; any other is refused.

use crate::keys::{PublicKey, SigningKey};
use asl_core::canon::{self, Limits};
use asl_core::{Error, KeyId, Kind, Result};
use coset::iana::Algorithm;
use coset::{
    AsCborValue, CborSerializable, CoseSign, CoseSignBuilder, CoseSignature, CoseSignatureBuilder,
    HeaderBuilder, RegisteredLabelWithPrivate,
};

/// Signatures on one document at most.
pub const MAX_SIGNATURES: usize = 16;

const LIMITS: Limits = Limits {
    bytes: 4096,
    depth: 4,
    items: 256,
};

fn blank(id: KeyId) -> CoseSignatureBuilder {
    let header = HeaderBuilder::new()
        .algorithm(Algorithm::EdDSA)
        .key_id(id.as_bytes().to_vec());
    CoseSignatureBuilder::new().protected(header.build())
}

fn spell(cose: CoseSign) -> Result<Vec<u8>> {
    let value = cose
        .to_cbor_value()
        .map_err(|e| Error::new(Kind::Invalid, "write", "signature", e))?;
    Ok(canon::encode(&value))
}

/// Signs a document's bytes with each key, in ascending order of key id.
///
/// # Errors
/// `Invalid` for no key, more than [`MAX_SIGNATURES`], or one key given twice.
pub fn sign(kind: &str, document: &[u8], signers: &[&SigningKey]) -> Result<Vec<u8>> {
    let refuse = |why| Error::new(Kind::Invalid, "sign", kind, why);
    let mut signers: Vec<(KeyId, &SigningKey)> = signers.iter().map(|k| (k.id(), *k)).collect();
    signers.sort_by_key(|(id, _)| *id);
    if signers.is_empty() || signers.len() > MAX_SIGNATURES {
        return Err(refuse("needs 1 to 16 keys"));
    }
    if signers.windows(2).any(|w| w[0].0 == w[1].0) {
        return Err(refuse("the same key was given twice"));
    }
    let mut cose = CoseSignBuilder::new();
    for (id, key) in signers {
        cose = cose.add_detached_signature(blank(id).build(), document, kind.as_bytes(), |m| {
            key.sign(m).to_vec()
        });
    }
    spell(cose.build())
}

/// Adds one key's signature to those that are there, for holders who sign in turn.
///
/// All that are there must be good and by `known` keys.
///
/// # Errors
/// As [`verify`] and [`sign`]; `Exists` where this key has signed already.
pub fn add(
    kind: &str,
    document: &[u8],
    signature: &[u8],
    known: &[PublicKey],
    signer: &SigningKey,
) -> Result<Vec<u8>> {
    let there = verify(kind, document, signature, known)?;
    let own = sign(kind, document, &[signer])?;
    if there.contains(&signer.id()) {
        return Err(
            Error::new(Kind::Exists, "sign", kind, "this key has signed it already")
                .next("have another holder sign it"),
        );
    }
    let parse = |bytes: &[u8]| {
        CoseSign::from_slice(bytes)
            .map(|cose| cose.signatures)
            .map_err(|_| Error::new(Kind::Invalid, "sign", kind, "not a COSE_Sign structure"))
    };
    let mut all = parse(signature)?;
    all.extend(parse(&own)?);
    if all.len() > MAX_SIGNATURES {
        let why = "it has as many signatures as it may";
        return Err(Error::new(Kind::Invalid, "sign", kind, why));
    }
    all.sort_by_key(|one| key_id(one).ok());
    let both = all
        .into_iter()
        .fold(CoseSignBuilder::new(), |cose, one| cose.add_signature(one));
    spell(both.build())
}

/// Verifies every signature over a document's bytes and returns the distinct signers.
///
/// All signatures must be good and by one of `keys`: a set that holds one bad signature is
/// refused whole. Whether the signers are enough is the caller's question.
///
/// # Errors
/// `Invalid` where the bytes are not the one spelling of a signature set; `Refused` where a key is
/// unknown, stands twice, or did not sign these bytes as this kind.
pub fn verify(
    kind: &str,
    document: &[u8],
    signature: &[u8],
    keys: &[PublicKey],
) -> Result<Vec<KeyId>> {
    let object = format!("signature of {kind}");
    let bad = |why: &str| Error::new(Kind::Invalid, "verify", &object, why);
    let no = |why: String| Error::new(Kind::Refused, "verify", &object, why);

    let used = canon::check(signature, &object, LIMITS)?;
    if used != signature.len() {
        return Err(bad("trailing bytes"));
    }
    let cose = CoseSign::from_slice(signature).map_err(|_| bad("not a COSE_Sign structure"))?;
    if cose.payload.is_some() {
        return Err(bad("it carries a payload of its own"));
    }
    if cose.signatures.is_empty() || cose.signatures.len() > MAX_SIGNATURES {
        return Err(bad("not 1 to 16 signatures"));
    }
    let mut signers = Vec::new();
    let mut rebuilt = CoseSignBuilder::new();
    for one in &cose.signatures {
        let id = key_id(one).map_err(bad)?;
        let key = keys
            .iter()
            .find(|k| k.id() == id)
            .ok_or_else(|| no(format!("signed by unknown key {id}")))?;
        match signers.last() {
            Some(last) if *last == id => return Err(no(format!("key {id} signed twice"))),
            Some(last) if *last > id => return Err(bad("signatures not in order of key id")),
            _ => signers.push(id),
        }
        let message = cose.tbs_detached_data(document, kind.as_bytes(), one);
        if !key.verifies(&message, &one.signature) {
            return Err(no(format!("key {id} did not sign this document")));
        }
        rebuilt = rebuilt.add_signature(blank(id).signature(one.signature.clone()).build());
    }
    if spell(rebuilt.build())? != signature {
        return Err(bad("not in its one spelling"));
    }
    Ok(signers)
}

fn key_id(one: &CoseSignature) -> std::result::Result<KeyId, &'static str> {
    let header = &one.protected.header;
    let eddsa = RegisteredLabelWithPrivate::Assigned(Algorithm::EdDSA);
    if header.alg.as_ref() != Some(&eddsa) {
        return Err("the algorithm is not Ed25519");
    }
    let id = <[u8; 32]>::try_from(header.key_id.as_slice()).map_err(|_| "no key id of 32 bytes")?;
    Ok(KeyId::from(id))
}
