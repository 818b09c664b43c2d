//! Secrets under a passphrase: age files with one scrypt stanza.
//!
//! Any age tool opens them. The work factor is stated, not measured, so that a stick made on a
//! fast machine opens on a slow one; on opening there is an explicit maximum, so that a hostile
//! stick cannot buy hours of work (architecture.md, "Sealing").

use crate::sealing::{age_header_fits, read_to_end};
use age::secrecy::SecretString;
use age::DecryptError;
use asl_core::{Error, Kind, Result};
use std::io::Write;
use zeroize::Zeroizing;

/// The work factor used for new secrets: scrypt N = 2^17, 128 MiB, about half a second.
pub const WORK_FACTOR: u8 = 17;

/// The highest work factor that is opened: N = 2^20, 1 GiB.
pub const MAX_WORK_FACTOR: u8 = 20;

/// Seals a small secret under a passphrase, with a work factor of 1 to 20.
///
/// # Errors
/// `Invalid` for an empty passphrase or a work factor out of range.
pub fn passphrase_lock(plain: &[u8], passphrase: &str, work_factor: u8) -> Result<Vec<u8>> {
    let refuse = |why: &str| Error::new(Kind::Invalid, "seal", "secret", why);
    if passphrase.is_empty() {
        return Err(refuse("the passphrase is empty"));
    }
    if !(1..=MAX_WORK_FACTOR).contains(&work_factor) {
        return Err(refuse("the work factor is not 1 to 20"));
    }
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase));
    recipient.set_work_factor(work_factor);
    let sealed = age::Encryptor::with_recipients(std::iter::once(&recipient as _))
        .map_err(|_| refuse("age refused the recipient"))?;
    let write = || -> std::io::Result<Vec<u8>> {
        let mut out = sealed.wrap_output(Vec::new())?;
        out.write_all(plain)?;
        out.finish()
    };
    write().map_err(|e| Error::new(Kind::Io, "seal", "secret", e))
}

/// Opens what a passphrase sealed; `max_work_factor` bounds the work a file can ask for.
///
/// # Errors
/// `Refused` for a wrong passphrase; `Invalid` where the file is no passphrase file or asks for
/// more work than the maximum; `Damage` where the passphrase is right and the contents are not
/// what was sealed.
pub fn passphrase_unlock(
    sealed: &[u8],
    passphrase: &str,
    max_work_factor: u8,
) -> Result<Zeroizing<Vec<u8>>> {
    let bad = |why: String| Error::new(Kind::Invalid, "open", "secret", why);
    let shape = || bad("not a passphrase-protected age file".into());
    let damage = |why: &str| {
        Error::new(Kind::Damage, "open", "secret", why)
            .next("use another copy of the key stick, or make the bundle anew at home")
    };
    if !age_header_fits(sealed) {
        return Err(shape());
    }
    let file = age::Decryptor::new_buffered(sealed).map_err(|_| shape())?;
    if !file.is_scrypt() {
        return Err(shape());
    }
    let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase));
    identity.set_max_work_factor(max_work_factor);
    let stream = file.decrypt(std::iter::once(&identity as _));
    let stream = stream.map_err(|e| match e {
        // The stanza's own AEAD is the one test of a passphrase there is.
        DecryptError::DecryptionFailed => {
            Error::new(Kind::Refused, "open", "secret", "wrong passphrase")
                .next("type it again; mind the keyboard layout")
        }
        DecryptError::ExcessiveWork { required, .. } => bad(format!(
            "it asks for work factor {required}, the maximum is {max_work_factor}"
        )),
        DecryptError::InvalidMac => damage("its header was altered"),
        _ => shape(),
    })?;
    read_to_end(stream, sealed.len()).map_err(|_| damage("its contents were altered or cut"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Low, so that the tests take no time; the format is the same.
    const LOW: u8 = 4;

    #[test]
    fn a_secret_comes_back_under_its_passphrase() {
        let sealed = passphrase_lock(b"seed", "correct horse", LOW).unwrap();
        let open = passphrase_unlock(&sealed, "correct horse", MAX_WORK_FACTOR).unwrap();
        assert_eq!(&**open, b"seed");
    }

    #[test]
    fn the_stated_work_factor_is_the_one_in_the_file() {
        let sealed = passphrase_lock(b"seed", "p", WORK_FACTOR).unwrap();
        let head = String::from_utf8_lossy(&sealed[..100]).to_string();
        let stanza = head.lines().nth(1).unwrap();
        assert!(stanza.starts_with("-> scrypt ") && stanza.ends_with(" 17"));
        assert!(passphrase_unlock(&sealed, "p", WORK_FACTOR).is_ok());
    }

    #[test]
    fn a_wrong_passphrase_is_told_from_damage() {
        let sealed = passphrase_lock(b"seed", "right", LOW).unwrap();
        let e = passphrase_unlock(&sealed, "wrong", MAX_WORK_FACTOR).unwrap_err();
        assert_eq!((e.kind(), e.why()), (Kind::Refused, "wrong passphrase"));
        assert!(e.what_next().contains("keyboard"));

        let mut flipped = sealed.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let e = passphrase_unlock(&flipped, "right", MAX_WORK_FACTOR).unwrap_err();
        assert_eq!(e.kind(), Kind::Damage);

        let cut = &sealed[..sealed.len() - 5];
        let e = passphrase_unlock(cut, "right", MAX_WORK_FACTOR).unwrap_err();
        assert_eq!(e.kind(), Kind::Damage);
    }

    #[test]
    fn a_file_that_asks_for_too_much_work_is_refused_before_it_is_done() {
        let sealed = passphrase_lock(b"seed", "p", 11).unwrap();
        let e = passphrase_unlock(&sealed, "p", 10).unwrap_err();
        assert!(e.why().contains("work factor 11, the maximum is 10"), "{e}");
        // A file that states 2^63: the statement alone is enough to be refused.
        let text = String::from_utf8_lossy(&sealed[..60]).to_string();
        let huge = [
            text.split_once(" 11\n").unwrap().0.as_bytes(),
            b" 63\n",
            &sealed[text.find(" 11\n").unwrap() + 4..],
        ]
        .concat();
        let e = passphrase_unlock(&huge, "p", MAX_WORK_FACTOR).unwrap_err();
        assert!(e.why().contains("work factor 63"), "{e}");
    }

    #[test]
    fn what_is_no_passphrase_file_is_refused() {
        for bytes in [&b""[..], b"hello", b"age-encryption.org/v1\n", &[0xff; 999]] {
            let e = passphrase_unlock(bytes, "p", MAX_WORK_FACTOR).unwrap_err();
            assert_eq!(e.kind(), Kind::Invalid, "{e}");
        }
        assert!(passphrase_lock(b"seed", "", LOW).is_err());
        assert!(passphrase_lock(b"seed", "p", 21).is_err());
        assert!(passphrase_lock(b"seed", "p", 0).is_err());
    }
}
