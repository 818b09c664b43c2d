//! What a camera and a reader that is not ours make of codes that are drawn in half blocks.
//!
//! Read by the unit tests of `src/qr.rs` too: one reader for what is drawn anywhere.
#![allow(dead_code)] // each of its users needs a part

const PIXELS: usize = 3;

/// Modules of paper around a code, for one that brings none of its own.
const QUIET: usize = 4;

/// What is written in full blocks and half blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// The lit modules: on a dark screen.
    Light,
    /// The dark modules: ink on paper.
    Ink,
}

/// Every code in a text, in order; lines of anything else part them.
pub fn codes(text: &str, blocks: Blocks) -> Vec<String> {
    let is_drawn = |l: &&str| l.contains(['█', '▀', '▄']) && l.chars().all(|c| " █▀▄".contains(c));
    let mut drawings: Vec<Vec<Vec<char>>> = vec![Vec::new()];
    for line in text.lines() {
        match (is_drawn(&line), drawings.last_mut()) {
            (true, Some(drawing)) => drawing.push(line.chars().collect()),
            _ => drawings.push(Vec::new()),
        }
    }
    drawings.retain(|d| !d.is_empty());
    drawings.iter().map(|rows| read(rows, blocks)).collect()
}

fn read(rows: &[Vec<char>], blocks: Blocks) -> String {
    // A line's end may have lost its blanks.
    let widest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let is_set = |x: usize, y: usize| match rows.get(y / 2).and_then(|r| r.get(x)) {
        Some('█') => true,
        Some('▀') => y.is_multiple_of(2),
        Some('▄') => !y.is_multiple_of(2),
        _ => false,
    };
    let (width, height) = (widest + 2 * QUIET, rows.len() * 2 + 2 * QUIET);
    let pixel = |x: usize, y: usize| {
        let (x, y) = (x / PIXELS, y / PIXELS);
        let inside = (QUIET..QUIET + widest).contains(&x) && (QUIET..height - QUIET).contains(&y);
        let light = match inside {
            true => is_set(x - QUIET, y - QUIET) == (blocks == Blocks::Light),
            false => true,
        };
        if light {
            255
        } else {
            0
        }
    };
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(width * PIXELS, height * PIXELS, pixel);
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "{rows:?}");
    grids[0].decode().expect("the code cannot be read").1
}
