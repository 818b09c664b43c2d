//! Ed25519 keys: of roots, operators, hosts and session devices.

use asl_core::canon::Limits;
use asl_core::{words, Entropy, Error, Fields, KeyId, Kind, MapBuilder, Result};
use base64::prelude::{Engine, BASE64_STANDARD};
use ed25519_dalek::{Signer, VerifyingKey};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// The kind of the document that holds a secret key.
pub const SECRET_KEY_KIND: &str = "asl.secret-key/1";

const SSH_NAME: &str = "ssh-ed25519";

/// An Ed25519 public key that is a point of the curve and not of small order.
///
/// 32 bytes; as text one OpenSSH `ssh-ed25519` line (formats.md, "Keys and words").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Takes the raw 32 bytes.
    ///
    /// # Errors
    /// `Invalid` where they are no point of the curve, or a weak one for which many messages
    /// verify.
    pub fn from_bytes(bytes: &[u8]) -> Result<PublicKey> {
        let bad = |why| Error::new(Kind::Invalid, "read", "public key", why);
        let raw = <[u8; 32]>::try_from(bytes).map_err(|_| bad("not 32 bytes long"))?;
        let key = VerifyingKey::from_bytes(&raw).map_err(|_| bad("not a point of the curve"))?;
        if key.is_weak() {
            return Err(bad("a weak key"));
        }
        Ok(PublicKey(raw))
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The fingerprint: BLAKE3-256 of the raw bytes.
    pub fn id(&self) -> KeyId {
        blake3::hash(&self.0).into()
    }

    /// The fingerprint as 12 words, for reading over the phone.
    pub fn words(&self) -> String {
        words(self.id().as_bytes())
    }

    /// The key as one OpenSSH line, without a newline; the comment may be empty.
    pub fn to_openssh(&self, comment: &str) -> String {
        let text = BASE64_STANDARD.encode([SSH_HEAD, &self.0].concat());
        format!("{SSH_NAME} {text} {comment}")
            .trim_end()
            .to_string()
    }

    /// Reads one OpenSSH `ssh-ed25519` line; the comment is not looked at.
    ///
    /// # Errors
    /// `Invalid` where the line is not of that form.
    pub fn from_openssh(line: &str) -> Result<PublicKey> {
        let bad = |why: &str| {
            Error::new(Kind::Invalid, "read", "public key", why)
                .next("give one OpenSSH `ssh-ed25519` line for each key")
        };
        let mut parts = line.split_ascii_whitespace();
        if parts.next() != Some(SSH_NAME) {
            return Err(bad("not an ssh-ed25519 line"));
        }
        let text = parts.next().ok_or_else(|| bad("the key is missing"))?;
        let blob = BASE64_STANDARD
            .decode(text)
            .map_err(|_| bad("the key is not base64"))?;
        let raw = blob
            .strip_prefix(SSH_HEAD)
            .ok_or_else(|| bad("the key is not of the kind the line names"))?;
        PublicKey::from_bytes(raw)
    }

    /// Reads a `.pub` file: one key a line, blank lines and `#` comments apart.
    ///
    /// # Errors
    /// `Invalid`, with the number of the line.
    pub fn parse_file(text: &str) -> Result<Vec<PublicKey>> {
        let mut keys = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = PublicKey::from_openssh(line).map_err(|e| {
                let why = format!("line {}: {}", n + 1, e.why());
                Error::new(Kind::Invalid, "read", "public key file", why).next(e.what_next())
            })?;
            keys.push(key);
        }
        Ok(keys)
    }

    /// Whether this key made the signature; strict, so one message has one valid form.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(raw) = <[u8; 64]>::try_from(signature) else {
            return false;
        };
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&raw))
                .is_ok()
        })
    }
}

/// `string "ssh-ed25519"` and the length of the key, as RFC 8709 section 4 has them.
const SSH_HEAD: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20";

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id())
    }
}

impl From<PublicKey> for asl_core::Value {
    fn from(key: PublicKey) -> Self {
        asl_core::Value::Bytes(key.0.to_vec())
    }
}

/// An Ed25519 secret key; its bytes are wiped when it is dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// Those of the entropy.
    pub fn generate(entropy: &dyn Entropy) -> Result<SigningKey> {
        let mut seed = Zeroizing::new([0u8; 32]);
        entropy.fill(&mut *seed)?;
        Ok(SigningKey::from_seed(&seed))
    }

    /// The key of this seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> SigningKey {
        SigningKey(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, from which the whole key follows.
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The fingerprint of the public half.
    pub fn id(&self) -> KeyId {
        self.public().id()
    }

    /// The key as a document of kind `asl.secret-key/1`: what a key file holds, or what a
    /// passphrase or an age recipient seals.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let doc = MapBuilder::document(SECRET_KEY_KIND)
            .put(1, asl_core::Value::Bytes(self.to_seed().to_vec()))
            .put(2, self.public());
        Zeroizing::new(doc.encode())
    }

    /// Reads what [`SigningKey::encode`] wrote.
    ///
    /// # Errors
    /// `Invalid` where the bytes are no such document, or its halves do not belong together.
    pub fn decode(bytes: &[u8]) -> Result<SigningKey> {
        let mut f = Fields::document(bytes, SECRET_KEY_KIND, Limits::DOCUMENT)?;
        let mut seed = f.fixed::<32>(1)?;
        let key = SigningKey::from_seed(&seed);
        seed.zeroize();
        let public: [u8; 32] = f.fixed(2)?;
        f.finish()?;
        if key.public().as_bytes() != &public {
            let why = "its public half is not that of its secret half";
            return Err(Error::new(Kind::Invalid, "read", SECRET_KEY_KIND, why));
        }
        Ok(key)
    }

    /// Reads a key from a file: what [`SigningKey::encode`] wrote, or an OpenSSH Ed25519 private
    /// key without a passphrase.
    ///
    /// # Errors
    /// `Invalid` where it is neither; `Refused` for an OpenSSH key under a passphrase.
    pub fn from_file(bytes: &[u8]) -> Result<SigningKey> {
        if bytes.starts_with(crate::openssh::BEGIN) {
            return crate::openssh::private_key(bytes);
        }
        SigningKey::decode(bytes)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, secret not shown)", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32])
    }

    #[test]
    fn a_key_is_read_back_from_its_openssh_line() {
        let public = key(1).public();
        let line = public.to_openssh("root of alice");
        assert!(line.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"));
        assert_eq!(PublicKey::from_openssh(&line).unwrap(), public);
        assert!(!public.to_openssh("").ends_with(' '));
    }

    #[test]
    fn a_key_file_names_the_line_it_cannot_read() {
        let good = key(1).public().to_openssh("one");
        let text = format!("# roots\n\n{good}\nssh-rsa AAAA\n");
        let e = PublicKey::parse_file(&text).unwrap_err();
        assert!(e.why().contains("line 4"), "{e}");
        assert_eq!(PublicKey::parse_file(&good).unwrap().len(), 1);
    }

    #[test]
    fn a_key_of_small_order_or_off_the_curve_is_refused() {
        let mut identity = [0u8; 32];
        identity[0] = 1;
        assert!(PublicKey::from_bytes(&identity).is_err());
        assert!(PublicKey::from_bytes(&[0u8; 32]).is_err());
        assert!(PublicKey::from_bytes(&[2u8; 32]).is_err());
        assert!(PublicKey::from_bytes(&[1u8; 31]).is_err());
    }

    #[test]
    fn a_line_of_another_shape_is_refused() {
        for line in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 !!!!",
            "ssh-ed25519 AAAA",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAI",
        ] {
            assert!(PublicKey::from_openssh(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_secret_key_is_read_back_and_one_with_a_foreign_public_half_refused() {
        let bytes = key(3).encode();
        assert_eq!(SigningKey::decode(&bytes).unwrap().id(), key(3).id());
        let mixed = MapBuilder::document(SECRET_KEY_KIND)
            .put(1, asl_core::Value::Bytes(vec![3; 32]))
            .put(2, key(4).public())
            .encode();
        assert!(SigningKey::decode(&mixed).is_err());
    }

    #[test]
    fn a_secret_key_does_not_show_itself() {
        let shown = format!("{:?}", key(7));
        assert!(!shown.contains("7, 7"), "{shown}");
    }
}
