//! QR codes on a terminal: half blocks, light on dark, as large as the screen has room for.
//!
//! Light modules are drawn, dark ones left: on the black ground of a console that is a code as
//! every reader wants it, and most read it on a white ground too.

use asl_auth::code;
use asl_core::{Error, Kind, Result};
use asl_host::keystick::Signed;
use qrcode::bits::Bits;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode, Version};

/// Rows and columns of a screen that codes are drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Rows for the drawing alone.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
}

impl Room {
    /// What every terminal has: 80x24, less a line above and two below.
    pub const LEAST: Room = Room {
        rows: 21,
        columns: 80,
    };

    /// The room on the terminal that standard output is, where it says so, and never less than
    /// [`Room::LEAST`]: a serial line reports 0x0.
    pub fn of_terminal() -> Room {
        let (rows, columns) = console::Term::stdout().size();
        Room {
            rows: usize::from(rows).saturating_sub(3).max(Room::LEAST.rows),
            columns: usize::from(columns).max(Room::LEAST.columns),
        }
    }

    /// Modules on a side, the quiet ones around apart.
    fn modules(self) -> usize {
        self.columns.min(2 * self.rows).saturating_sub(2 * QUIET)
    }
}

/// Quiet modules on each side.
const QUIET: usize = 4;

/// A code as text and as a drawing.
#[derive(Clone, Debug)]
pub struct Code {
    /// What a reader gives.
    pub text: String,
    /// The rows to print, ended by line feeds.
    pub drawing: String,
}

/// Draws one text as one code.
///
/// # Errors
/// `Invalid` where it does not fit the room.
pub fn draw(text: &str, room: Room) -> Result<Code> {
    let too_large = || {
        Error::new(
            Kind::Invalid,
            "draw",
            "a QR code",
            "the text does not fit the screen",
        )
        .next("use a larger screen or a smaller font")
    };
    let code = QrCode::with_error_correction_level(text, EcLevel::L).map_err(|_| too_large())?;
    if code.width() > room.modules() {
        return Err(too_large());
    }
    let mut drawing = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    drawing.push('\n');
    Ok(Code {
        text: text.to_string(),
        drawing,
    })
}

/// Draws one text for paper: dark modules in ink, and enough to spare for a crease or a stain.
///
/// # Errors
/// `Invalid` where it is longer than any code may be.
pub fn draw_for_paper(text: &str) -> Result<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).map_err(|_| {
        Error::new(Kind::Invalid, "draw", "a QR code", "the text is too long")
            .next("keep it as a file instead")
    })?;
    Ok(code.render::<Dense1x2>().build())
}

/// Draws a signed request: one code where the room has it, else several numbered parts, to be
/// shown one after the other.
///
/// # Errors
/// `Invalid` where the request is larger than any may be.
pub fn draw_request(request: &Signed, room: Room) -> Result<Vec<Code>> {
    code::write(&request.bytes, &request.sig, capacity(room))?
        .iter()
        .map(|part| draw(part, room))
        .collect()
}

/// Letters and digits that a code in this room holds.
fn capacity(room: Room) -> usize {
    // A code of version v has 17 + 4 v modules on a side, and each two of these characters take
    // 11 bits behind at most 17 bits of mode and length.
    let largest = room.modules().saturating_sub(17) / 4;
    let version = i16::try_from(largest.clamp(1, 40)).unwrap_or(1);
    let bits = Bits::new(Version::Normal(version)).max_len(EcLevel::L);
    bits.map_or(0, |bits| bits.saturating_sub(17) * 2 / 11)
}

#[cfg(test)]
#[path = "../tests/common/scan.rs"]
mod scan;

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest request there may be, as bytes.
    fn largest() -> Signed {
        Signed {
            bytes: vec![0x5a; 290],
            sig: vec![0xa5; 110],
        }
    }

    /// What a reader that is not ours makes of the picture that a camera sees.
    fn scanned(code: &Code) -> String {
        let mut codes = scan::codes(&code.drawing, scan::Blocks::Light);
        assert_eq!(codes.len(), 1, "{}", code.drawing);
        codes.remove(0)
    }

    #[test]
    fn another_reader_reads_what_is_drawn_and_every_part_fits_80x24() {
        let codes = draw_request(&largest(), Room::LEAST).unwrap();
        assert!(codes.len() > 1);
        let mut all = String::new();
        for code in &codes {
            let rows: Vec<&str> = code.drawing.lines().collect();
            assert!(rows.len() <= 21, "{} rows", rows.len());
            assert!(rows.iter().all(|r| r.chars().count() <= 80));
            assert_eq!(scanned(code), code.text);
            all.push_str(&scanned(code));
        }
        let (request, sig) = asl_auth::code::read(&all).unwrap();
        assert_eq!((request, sig), (largest().bytes, largest().sig));
    }

    #[test]
    fn a_screen_with_the_rows_gets_one_code_and_no_screen_a_code_that_does_not_fit() {
        let mut last = usize::MAX;
        for rows in [21, 25, 30, 35, 41, 60, 100] {
            let room = Room { rows, columns: 200 };
            let codes = draw_request(&largest(), room).unwrap();
            assert!(codes.len() <= last);
            last = codes.len();
            for code in &codes {
                assert!(code.drawing.lines().count() <= rows, "{rows}");
                assert_eq!(scanned(code), code.text);
            }
        }
        assert_eq!(last, 1);
        // Wide is not high, nor high wide.
        for (rows, columns) in [(21, 300), (300, 80)] {
            let codes = draw_request(&largest(), Room { rows, columns }).unwrap();
            let widest = codes[0].drawing.lines().map(|l| l.chars().count()).max();
            assert!(widest.unwrap() <= columns);
        }
    }

    #[test]
    fn a_text_or_a_request_that_fits_nowhere_is_refused() {
        assert_eq!(
            draw(&"x".repeat(200), Room::LEAST).unwrap_err().kind(),
            Kind::Invalid
        );
        let mut request = largest();
        request.bytes = vec![0; 4000];
        assert!(draw_request(&request, Room::LEAST).is_err());
        let nothing = Room {
            rows: 0,
            columns: 0,
        };
        assert!(draw_request(&largest(), nothing).is_err());
    }
}
