//! OpenSSH private keys (PROTOCOL.key of OpenSSH), Ed25519 and without a passphrase: a person may
//! sign with a key that is there already.

use crate::keys::SigningKey;
use asl_core::{Error, Kind, Result};
use base64::prelude::{Engine, BASE64_STANDARD};
use zeroize::Zeroizing;

/// What such a file begins with.
pub(crate) const BEGIN: &[u8] = b"-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";

fn bad(why: &str) -> Error {
    Error::new(Kind::Invalid, "read", "OpenSSH private key", why)
        .next("give an unlocked `ssh-ed25519` key, or one that `asl-host key root` made")
}

/// Reads the one key of a file.
pub(crate) fn private_key(file: &[u8]) -> Result<SigningKey> {
    let text = std::str::from_utf8(file).map_err(|_| bad("it is not text"))?;
    let body = text.trim().lines().skip(1).map(str::trim);
    let body: Zeroizing<String> = Zeroizing::new(body.take_while(|l| *l != END).collect());
    let blob = BASE64_STANDARD.decode(body.as_bytes());
    let blob = Zeroizing::new(blob.map_err(|_| bad("it is not base64"))?);
    let rest = blob
        .strip_prefix(MAGIC)
        .ok_or_else(|| bad("not of a version that is known"))?;

    let mut outer = Parts(rest);
    let (cipher, kdf) = (outer.string()?, outer.string()?);
    if cipher != b"none" || kdf != b"none" {
        return Err(Error::new(
            Kind::Refused,
            "read",
            "OpenSSH private key",
            "it is under a passphrase",
        )
        .next("give a copy without one (`ssh-keygen -p` on a copy), on a machine you trust"));
    }
    outer.string()?;
    if outer.number()? != 1 {
        return Err(bad("it does not hold one key"));
    }
    outer.string()?;
    let mut inner = Parts(outer.string()?);
    if inner.number()? != inner.number()? {
        return Err(bad("its check numbers differ"));
    }
    if inner.string()? != b"ssh-ed25519" {
        return Err(bad("not an ssh-ed25519 key"));
    }
    let public = inner.string()?;
    let seed = inner
        .string()?
        .get(..32)
        .and_then(|s| <&[u8; 32]>::try_from(s).ok());
    let key = SigningKey::from_seed(seed.ok_or_else(|| bad("it is cut off"))?);
    if key.public().as_bytes() != public {
        return Err(bad("its public half is not that of its secret half"));
    }
    Ok(key)
}

/// What is left to read, in the encoding of RFC 4251.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn number(&mut self) -> Result<u32> {
        let (head, rest) = self
            .0
            .split_first_chunk::<4>()
            .ok_or_else(|| bad("it is cut off"))?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*head))
    }

    fn string(&mut self) -> Result<&'a [u8]> {
        let length = self.number()? as usize;
        let (head, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| bad("it is cut off"))?;
        self.0 = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("../tests/ssh_ed25519_key");
    const PUB: &str = include_str!("../tests/ssh_ed25519_key.pub");
    const LOCKED: &str = include_str!("../tests/ssh_ed25519_key_under_passphrase");

    #[test]
    fn a_key_of_openssh_signs_as_its_public_line_says() {
        let key = SigningKey::from_file(KEY.as_bytes()).unwrap();
        let line = crate::PublicKey::from_openssh(PUB).unwrap();
        assert_eq!(key.public(), line);
    }

    #[test]
    fn a_key_under_a_passphrase_is_refused_with_a_way_on() {
        let e = SigningKey::from_file(LOCKED.as_bytes()).unwrap_err();
        assert_eq!(e.kind(), Kind::Refused);
        assert!(e.what_next().contains("ssh-keygen -p"), "{e}");
    }

    #[test]
    fn no_cut_and_no_flipped_bit_of_a_key_file_breaks_the_reader() {
        let mut taken = 0;
        for cut in 0..KEY.len() {
            taken += usize::from(SigningKey::from_file(&KEY.as_bytes()[..cut]).is_ok());
        }
        assert!(taken < 40, "only the last line may be missing: {taken}");
        for at in 0..KEY.len() {
            let mut bytes = KEY.as_bytes().to_vec();
            bytes[at] ^= 1;
            let _ = SigningKey::from_file(&bytes);
        }
    }
}
