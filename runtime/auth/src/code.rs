//! A signed request as text: what a QR code carries out of a machine without a network.
//!
//! Upper case letters, digits, `/` and `:` only, so that a QR code holds it in its dense form and
//! a person can read a part aloud. Several parts travel alike: each names its number, how many
//! there are, and the whole they belong to (FORMATS.md, "Codes").

use crate::document::AdmissionRequest;
use asl_core::canon::{self, Limits};
use asl_core::{Digest, Error, Fields, Kind, MapBuilder, Result, Value};
use data_encoding::BASE32_NOPAD;

/// What every part begins with; the 1 is the form's version.
const MARK: &str = "ASLR1:";
/// Parts of one code at most.
const MAX_PARTS: usize = 16;
/// Characters that are looked at, at most.
const MAX_TEXT: usize = 16 << 10;
/// Bytes of a code at most: a signed request and the map around it.
const MAX_BYTES: usize = AdmissionRequest::MAX_SIGNED + 16;
/// Characters of a part before its payload: mark, `NN/NN:`, eight digits, `:`.
const HEAD: usize = MARK.len() + 6 + 9;

/// Writes a signed request as one or more parts of at most `most` characters each.
///
/// # Errors
/// `Invalid` where request and signature are more than one code may hold, or `most` is too few.
pub fn write(request: &[u8], sig: &[u8], most: usize) -> Result<Vec<String>> {
    let bytes = MapBuilder::new()
        .put(1, Value::Bytes(request.to_vec()))
        .put(2, Value::Bytes(sig.to_vec()))
        .encode();
    let text = BASE32_NOPAD.encode(&bytes);
    let room = most.saturating_sub(HEAD);
    let count = text.len().div_ceil(room.max(1));
    if bytes.len() > MAX_BYTES || room == 0 || count > MAX_PARTS {
        return Err(bad("it does not fit"));
    }
    // Parts of one length: none is a code of its own size.
    let each = text.len().div_ceil(count);
    let whole = tag(&bytes);
    let parts = (1..).zip(text.as_bytes().chunks(each));
    Ok(parts
        .map(|(n, part)| {
            let part = String::from_utf8_lossy(part);
            format!("{MARK}{n}/{count}:{whole}:{part}")
        })
        .collect())
}

/// Reads the parts of one code, in any order and however they are broken over lines; gives the
/// request's bytes and its signature's, believed by nobody yet.
///
/// # Errors
/// `Invalid` naming the part that is missing, of another code, or misread.
pub fn read(text: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    if text.len() > MAX_TEXT {
        return Err(bad("it is longer than any code"));
    }
    let text: String = text.split_whitespace().collect();
    let text = text.to_ascii_uppercase();
    let mut parts = text.split(MARK);
    if parts.next().is_some_and(|before| !before.is_empty()) || text.is_empty() {
        return Err(bad("it does not begin with ASLR1:"));
    }
    let mut found: Vec<Option<&str>> = Vec::new();
    let mut whole = "";
    for part in parts {
        let (number, count, tag, payload) = split(part)?;
        if found.is_empty() {
            found = vec![None; count];
            whole = tag;
        }
        if found.len() != count || whole != tag {
            return Err(bad("its parts are of different codes"));
        }
        match found.get_mut(number.wrapping_sub(1)) {
            Some(Some(there)) if *there != payload => {
                return Err(bad(&format!("part {number} is there twice, and differs")));
            }
            Some(place) => *place = Some(payload),
            None => return Err(bad("a part's number is beyond their count")),
        }
    }
    if let Some(missing) = found.iter().position(Option::is_none) {
        let why = format!("part {} of {} is missing", missing + 1, found.len());
        return Err(bad(&why));
    }
    let text: String = found.into_iter().flatten().collect();
    let bytes = BASE32_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| bad("a character is none of A to Z and 2 to 7, or some are missing"))?;
    if tag(&bytes) != whole {
        return Err(bad("it was misread: its check digits do not fit"));
    }
    let limits = Limits {
        bytes: MAX_BYTES,
        depth: 2,
        items: 8,
    };
    let mut f = Fields::of(canon::decode(&bytes, "code", limits)?, "code")?;
    let read = (f.bytes(1)?, f.bytes(2)?);
    f.finish()?;
    Ok(read)
}

/// Number, count, tag and payload of a part.
fn split(part: &str) -> Result<(usize, usize, &str, &str)> {
    let cut = || {
        let (numbers, rest) = part.split_once(':')?;
        let (tag, payload) = rest.split_once(':')?;
        let (number, count) = numbers.split_once('/')?;
        let number = number.parse().ok()?;
        let count = count.parse().ok().filter(|n| (1..=MAX_PARTS).contains(n))?;
        Some((number, count, tag, payload))
    };
    cut().ok_or_else(|| bad("a part does not say which of how many it is"))
}

/// The first eight digits of the digest: which whole a part belongs to.
fn tag(bytes: &[u8]) -> String {
    let digits = Digest::of(bytes).to_string().to_ascii_uppercase();
    digits.chars().take(8).collect()
}

fn bad(why: &str) -> Error {
    Error::new(Kind::Invalid, "read", "the code", why)
        .next("scan it again, every part of it; or carry the request on a stick")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(most: usize) -> Vec<String> {
        write(&[7; 290], &[9; 110], most).unwrap()
    }

    #[test]
    fn the_largest_request_there_is_comes_back_from_one_part_or_many_in_any_order() {
        for most in [1000, 300, 114, 70] {
            let mut parts = code(most);
            assert!(parts.iter().all(|p| p.len() <= most), "{most}");
            parts.reverse();
            let (request, sig) = read(&parts.join("\n")).unwrap();
            assert_eq!((request, sig), (vec![7; 290], vec![9; 110]));
        }
        assert_eq!((code(1000).len(), code(114).len()), (1, 8));
        assert_eq!(
            write(&[7; 300], &[9; 120], 1000).unwrap_err().kind(),
            Kind::Invalid
        );
        assert_eq!(
            write(&[7; 30], &[9; 12], HEAD).unwrap_err().kind(),
            Kind::Invalid
        );
    }

    #[test]
    fn a_code_copied_by_hand_may_be_broken_over_lines_in_small_letters_and_hold_a_part_twice() {
        let parts = code(300);
        let mut text = parts.join(" \r\n").to_lowercase();
        text.insert(40, '\n');
        text.push_str(&parts[1]);
        assert_eq!(read(&text).unwrap().0, vec![7; 290]);
    }

    #[test]
    fn a_code_that_is_not_whole_is_refused_and_says_what_is_wrong() {
        let (parts, other) = (code(300), write(&[8; 290], &[9; 110], 300).unwrap());
        let spoilt = |part: &str| {
            let (front, last) = part.split_at(part.len() - 2);
            format!("{front}{}", if last == "AA" { "BB" } else { "AA" })
        };
        let with = |change: &str| [parts[0].as_str(), change, parts[2].as_str()].concat();
        for (text, why) in [
            (String::new(), "does not begin"),
            ("hello".into(), "does not begin"),
            (format!("x{}", parts.join("")), "does not begin"),
            (parts[..2].join(""), "part 3 of 3 is missing"),
            (parts[1..].join(""), "part 1 of 3 is missing"),
            (with(&other[1]), "different codes"),
            (parts.join("") + &spoilt(&parts[1]), "twice"),
            (
                with(&parts[1].replacen("2/3", "4/3", 1)),
                "beyond their count",
            ),
            (
                with(&parts[1].replacen("2/3", "0/3", 1)),
                "beyond their count",
            ),
            (
                with(&parts[1].replacen("2/3", "2/17", 1)),
                "which of how many",
            ),
            (with(&parts[1].replacen("2/3", "2", 1)), "which of how many"),
            (with(&format!("{}1", parts[1])), "none of A to Z"),
            (with(&spoilt(&parts[1])), "misread"),
            ("ASLR1:1/1:00000000:".into(), "misread"),
            ("ASLR1:".repeat(3), "which of how many"),
            ("A".repeat(MAX_TEXT + 1), "longer than any"),
        ] {
            let e = read(&text).unwrap_err();
            assert!(e.why().contains(why), "{why}: {e} for {text}");
            assert!(e.what_next().contains("scan it again"), "{e:?}");
        }
    }
}
