//! What looks into a sealed domain: `ls`, `find`, `cat`.

use super::WhichDomain;
use asl_core::SnapshotId;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Which snapshot, and what opens it.
#[derive(Args, Clone)]
pub struct Sealed {
    #[command(flatten)]
    pub which: WhichDomain,
    /// The owner's age identity file; not needed for a plain domain
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The snapshot; the newest without it
    #[arg(long)]
    pub snapshot: Option<SnapshotId>,
}

#[derive(Args)]
pub struct Ls {
    /// A path in the snapshot; its top without it
    #[arg(default_value = "", hide_default_value = true)]
    pub path: OsString,
    #[command(flatten)]
    pub sealed: Sealed,
    /// With mode, owner, group, size and time
    #[arg(short = 'l', long)]
    pub long: bool,
    /// Whole paths, as their bytes, each ended by NUL
    #[arg(short = '0', long, conflicts_with_all = ["long", "json"])]
    pub null: bool,
}

#[derive(Args)]
pub struct Find {
    /// Look below this path of the snapshot; everywhere without it
    #[arg(default_value = "", hide_default_value = true)]
    pub path: OsString,
    #[command(flatten)]
    pub sealed: Sealed,
    /// Names that fit this pattern: * ? [a-z] {jpg,png}
    #[arg(long, value_name = "GLOB")]
    pub name: Option<OsString>,
    /// Take A for a in the pattern
    #[arg(short, long, requires = "name")]
    pub ignore_case: bool,
    /// Entries of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<EntryType>,
    /// Files larger than so many bytes; k, M, G and T are decimal
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub larger: Option<u64>,
    /// Files smaller than so many bytes
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub smaller: Option<u64>,
    /// Changed at or after this time: 2026-01-31, or 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub newer: Option<i64>,
    /// Changed before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub older: Option<i64>,
    /// With mode, owner, group, size and time
    #[arg(short = 'l', long)]
    pub long: bool,
    /// Paths as their bytes, each ended by NUL
    #[arg(short = '0', long, conflicts_with_all = ["long", "json"])]
    pub null: bool,
}

#[derive(Args)]
pub struct Cat {
    /// The path of a file in the snapshot
    pub path: OsString,
    #[command(flatten)]
    pub sealed: Sealed,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EntryType {
    #[value(alias = "f")]
    File,
    #[value(alias = "d")]
    Directory,
    #[value(alias = "l")]
    Symlink,
    #[value(alias = "c")]
    Char,
    #[value(alias = "b")]
    Block,
    #[value(alias = "p")]
    Fifo,
    #[value(alias = "s")]
    Socket,
}

/// A size such as 4096, 10k or 1.5G.
fn size(text: &str) -> Result<u64, String> {
    let bad = || "give bytes, or a number with k, M, G or T".to_string();
    let unit = match text.chars().last() {
        Some('k' | 'K') => 1_000,
        Some('M') => 1_000_000,
        Some('G') => 1_000_000_000,
        Some('T') => 1_000_000_000_000u64,
        _ => 1,
    };
    let number = if unit == 1 {
        text
    } else {
        text.split_at(text.len() - 1).0
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty()
        || !digits(whole)
        || !digits(part)
        || part.len() > 3
        || (unit == 1 && number.contains('.'))
    {
        return Err(bad());
    }
    let thousandths: u64 = format!("{part:0<3}").parse().map_err(|_| bad())?;
    let bytes = whole.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    bytes
        .and_then(|n| n.checked_add(unit / 1000 * thousandths))
        .ok_or_else(bad)
}

/// A day or a time, UTC, as seconds since 1970.
fn time(text: &str) -> Result<i64, String> {
    // A day alone: the parser would also take a time behind it, and forget it.
    let day = text.parse::<jiff::civil::Date>().ok();
    if let Some(day) = day.filter(|_| text.len() == "2026-01-31".len()) {
        let start = day.to_zoned(jiff::tz::TimeZone::UTC);
        return start
            .map(|t| t.timestamp().as_second())
            .map_err(|e| e.to_string());
    }
    text.parse::<jiff::Timestamp>()
        .map(|t| t.as_second())
        .map_err(|_| "give a day as 2026-01-31, or a time as 2026-01-31T12:00:00Z".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_as_written_and_nothing_else_is() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("10k"), Ok(10_000));
        assert_eq!(size("1.5G"), Ok(1_500_000_000));
        assert_eq!(size("18446744073709551615"), Ok(u64::MAX));
        for bad in [
            "",
            "k",
            "-1",
            "+1",
            "1.5",
            "1e3",
            "1.1234M",
            "18446744073709551616",
            "99999999999T",
            "1\u{b5}",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(time("1970-01-02"), Ok(86_400));
        assert_eq!(time("2026-01-31T12:00:00Z"), Ok(1_769_860_800));
        assert_eq!(time("1969-12-31"), Ok(-86_400));
        for bad in ["", "yesterday", "2026-02-30", "2026-01-31 12:00"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
