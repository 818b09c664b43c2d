//! Deterministic CBOR (RFC 8949, section 4.2.1), strict on reading.
//!
//! The bytes received are the bytes verified, hashed and stored, so a reader must accept exactly
//! one spelling of each value. [`check`] walks the bytes without allocating and refuses
//! indefinite lengths, non-minimal heads, unsorted or equal map keys, floats, tags, trailing
//! bytes, and whatever exceeds the [`Limits`]; only then does ciborium decode them.

use crate::{Error, Kind, Result, Value};

/// What a document may cost its reader.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes at most.
    pub bytes: usize,
    /// Nesting of arrays and maps at most.
    pub depth: u8,
    /// Data items at most, containers included.
    pub items: usize,
}

impl Limits {
    /// Signed documents and their signatures: 64 KiB.
    pub const DOCUMENT: Limits = Limits {
        bytes: 64 << 10,
        depth: 8,
        items: 4096,
    };
    /// A commit frame's body, a manifest's block list: 16 MiB.
    pub const FRAME: Limits = Limits {
        bytes: 16 << 20,
        depth: 8,
        items: 1 << 18,
    };
    /// One entry of a tree, extended attributes included: 1 MiB.
    pub const ENTRY: Limits = Limits {
        bytes: 1 << 20,
        depth: 6,
        items: 8192,
    };
}

/// Encodes a value deterministically: map keys sorted by their encoded bytes, at every depth.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            head(4, items.len() as u64, out);
            items.iter().for_each(|v| write(v, out));
        }
        Value::Map(pairs) => {
            let mut sorted: Vec<(Vec<u8>, &Value)> =
                pairs.iter().map(|(k, v)| (encode(k), v)).collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            head(5, sorted.len() as u64, out);
            for (key, v) in sorted {
                out.extend_from_slice(&key);
                write(v, out);
            }
        }
        // Writing to a Vec cannot fail, and scalars have no map that could be unsorted.
        scalar => drop(ciborium::into_writer(scalar, out)),
    }
}

fn head(major: u8, n: u64, out: &mut Vec<u8>) {
    let m = major << 5;
    let be = n.to_be_bytes();
    match n {
        0..=23 => out.push(m | n as u8),
        24..=0xff => out.extend_from_slice(&[m | 24, be[7]]),
        0x100..=0xffff => out.extend_from_slice(&[m | 25, be[6], be[7]]),
        0x1_0000..=0xffff_ffff => {
            out.push(m | 26);
            out.extend_from_slice(&be[4..]);
        }
        _ => {
            out.push(m | 27);
            out.extend_from_slice(&be);
        }
    }
}

/// Decodes a value that must be in the one deterministic spelling and within the limits.
///
/// # Errors
/// `Invalid`, naming `what` and the byte at which the rule broke.
pub fn decode(bytes: &[u8], what: &str, limits: Limits) -> Result<Value> {
    let used = check(bytes, what, limits)?;
    if used != bytes.len() {
        return Err(bad(what, used, "trailing bytes"));
    }
    ciborium::from_reader(bytes).map_err(|e| bad(what, 0, &e.to_string()))
}

/// Decodes the first value of a CBOR sequence and says how many bytes it took.
///
/// # Errors
/// `Invalid`, as [`decode`].
pub fn decode_first(bytes: &[u8], what: &str, limits: Limits) -> Result<(Value, usize)> {
    let used = check(bytes, what, limits)?;
    let first = bytes.get(..used).unwrap_or_default();
    let value = ciborium::from_reader(first).map_err(|e| bad(what, 0, &e.to_string()))?;
    Ok((value, used))
}

/// Walks one value, checks its spelling and its cost, and returns its length in bytes.
///
/// # Errors
/// `Invalid`, as [`decode`].
pub fn check(bytes: &[u8], what: &str, limits: Limits) -> Result<usize> {
    let window = bytes
        .get(..limits.bytes.min(bytes.len()))
        .unwrap_or_default();
    let mut walk = Walk {
        bytes: window,
        at: 0,
        items: 0,
        limits,
    };
    match walk.item(0) {
        Ok(()) => Ok(walk.at),
        Err("ends too early") if bytes.len() > limits.bytes => Err(bad(
            what,
            walk.at,
            &format!("longer than {} bytes", limits.bytes),
        )),
        Err(why) => Err(bad(what, walk.at, why)),
    }
}

fn bad(what: &str, at: usize, why: &str) -> Error {
    Error::new(
        Kind::Invalid,
        "read",
        what,
        format!("not deterministic CBOR at byte {at}: {why}"),
    )
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    items: usize,
    limits: Limits,
}

impl<'a> Walk<'a> {
    fn item(&mut self, depth: u8) -> std::result::Result<(), &'static str> {
        self.items += 1;
        if self.items > self.limits.items {
            return Err("too many items");
        }
        if depth > self.limits.depth {
            return Err("nested too deeply");
        }
        let first = *self.take(1)?.first().ok_or("ends too early")?;
        let (major, info) = (first >> 5, first & 31);
        if major == 7 {
            return match info {
                20..=22 => Ok(()),
                25..=27 => Err("floats are not used"),
                _ => Err("unknown simple value"),
            };
        }
        let n = self.argument(info)?;
        match major {
            0 | 1 => Ok(()),
            2 => self.string(n).map(drop),
            3 => std::str::from_utf8(self.string(n)?)
                .map(drop)
                .map_err(|_| "text is not UTF-8"),
            4 => (0..n).try_for_each(|_| self.item(depth + 1)),
            5 => self.map(n, depth),
            _ => Err("tags are not used"),
        }
    }

    fn map(&mut self, pairs: u64, depth: u8) -> std::result::Result<(), &'static str> {
        let mut previous: Option<&'a [u8]> = None;
        for _ in 0..pairs {
            let start = self.at;
            self.item(depth + 1)?;
            let key = self.bytes.get(start..self.at).unwrap_or_default();
            match previous.map(|p| p.cmp(key)) {
                Some(std::cmp::Ordering::Equal) => return Err("duplicate map key"),
                Some(std::cmp::Ordering::Greater) => return Err("map keys out of order"),
                _ => previous = Some(key),
            }
            self.item(depth + 1)?;
        }
        Ok(())
    }

    fn argument(&mut self, info: u8) -> std::result::Result<u64, &'static str> {
        let width = match info {
            0..=23 => return Ok(u64::from(info)),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 => return Err("indefinite length"),
            _ => return Err("reserved head"),
        };
        let n = self
            .take(width)?
            .iter()
            .fold(0u64, |n, b| n << 8 | u64::from(*b));
        let least = match width {
            1 => 24,
            2 => 0x100,
            4 => 0x1_0000,
            _ => 0x1_0000_0000,
        };
        if n < least {
            return Err("number not in its shortest form");
        }
        Ok(n)
    }

    fn string(&mut self, n: u64) -> std::result::Result<&'a [u8], &'static str> {
        self.take(usize::try_from(n).map_err(|_| "ends too early")?)
    }

    fn take(&mut self, n: usize) -> std::result::Result<&'a [u8], &'static str> {
        let end = self.at.checked_add(n).ok_or("ends too early")?;
        let got = self.bytes.get(self.at..end).ok_or("ends too early")?;
        self.at = end;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8], why: &str) {
        let e = decode(bytes, "test", Limits::DOCUMENT).unwrap_err();
        assert!(e.why().contains(why), "{e}");
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        let v = Value::Map(vec![
            (Value::from("bb"), Value::from(-5)),
            (Value::from(300), Value::Bytes(vec![1, 2, 3])),
            (
                Value::from(-1),
                Value::Array(vec![Value::Null, Value::Bool(true)]),
            ),
            (Value::from(24), Value::from(u64::MAX)),
        ]);
        let bytes = encode(&v);
        assert_eq!(
            encode(&decode(&bytes, "test", Limits::DOCUMENT).unwrap()),
            bytes
        );
    }

    #[test]
    fn map_keys_are_sorted_by_their_encoded_bytes() {
        let v = Value::Map(
            [-1i64, 100, 10]
                .iter()
                .map(|k| (Value::from(*k), Value::from(0)))
                .collect(),
        );
        assert_eq!(encode(&v), [0xa3, 0x0a, 0, 0x18, 0x64, 0, 0x20, 0]);
    }

    #[test]
    fn a_second_spelling_of_a_value_is_refused() {
        refused(&[0x18, 0x05], "shortest form");
        refused(&[0x19, 0x00, 0x18], "shortest form");
        refused(&[0x9f, 0x01, 0xff], "indefinite");
        refused(&[0x5f, 0x41, 0x01, 0xff], "indefinite");
        refused(&[0xa2, 0x01, 0x00, 0x01, 0x00], "duplicate");
        refused(&[0xa2, 0x02, 0x00, 0x01, 0x00], "out of order");
        refused(&[0xf9, 0x3c, 0x00], "floats");
        refused(&[0xc1, 0x00], "tags");
        refused(&[0xf8, 0x20], "unknown simple");
        refused(&[0x00, 0x00], "trailing");
        refused(&[0x62, 0xc3, 0x28], "UTF-8");
        refused(&[0x1c], "reserved");
    }

    #[test]
    fn a_bomb_is_refused_before_it_costs_anything() {
        refused(&[0x81; 100_000], "nested too deeply");
        refused(
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            "ends too early",
        );
        refused(
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            "ends too early",
        );
        refused(&[], "ends too early");
        let mut many = vec![0x99, 0xff, 0xff];
        many.extend(std::iter::repeat_n(0u8, 65535));
        refused(&many, "too many items");
        let mut long = vec![0x5a, 0x00, 0x02, 0x00, 0x00];
        long.extend(std::iter::repeat_n(0u8, 0x20000));
        refused(&long, "longer than");
    }
}
