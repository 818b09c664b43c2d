//! The program that travels on every key stick: this one, if it runs elsewhere too.

use asl_core::{Error, Kind, Result};

/// This program's bytes, and whether they are a static binary.
///
/// # Errors
/// `Io`.
pub fn this_program() -> Result<(Vec<u8>, bool)> {
    let program = std::env::current_exe()
        .and_then(std::fs::read)
        .map_err(|e| Error::new(Kind::Io, "read", "this program", e))?;
    let is_static = is_static(&program).unwrap_or(false);
    Ok((program, is_static))
}

/// Whether an ELF binary asks for no loader of the system: no program header of type PT_INTERP.
fn is_static(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let number = |at: usize, width: usize| {
        let bytes = elf.get(at..at.checked_add(width)?)?;
        Some(bytes.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b)))
    };
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let first = usize::try_from(number(0x20, 8)?).ok()?;
    let (length, count) = (number(0x36, 2)?, number(0x38, 2)?);
    for n in 0..count {
        let at = first.checked_add(usize::try_from(n * length).ok()?)?;
        if number(at, 4)? == u64::from(PT_INTERP) {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit little-endian ELF header with these program header types.
    fn elf(types: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[0x20] = 64;
        bytes[0x36] = 56;
        bytes[0x38] = u8::try_from(types.len()).unwrap();
        for kind in types {
            let mut header = vec![0; 56];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            bytes.extend(header);
        }
        bytes
    }

    #[test]
    fn a_program_that_asks_for_a_loader_is_not_called_static() {
        assert_eq!(is_static(&elf(&[6, 3, 1])), Some(false));
        assert_eq!(is_static(&elf(&[1, 1, 2])), Some(true));
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
        assert_eq!(is_static(&elf(&[1, 3])[..100]), None, "cut off");
        let mut far = elf(&[1]);
        far[0x20..0x28].fill(0xff);
        assert_eq!(is_static(&far), None);
    }
}
