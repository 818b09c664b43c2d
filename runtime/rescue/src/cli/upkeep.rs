//! What keeps a domain sound and small: `verify`, `repair`, `gc`.

use super::WhichDomain;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    pub which: WhichDomain,
    /// Open every block and check every piece; an encrypted domain needs --identity for it
    #[arg(long)]
    pub data: bool,
    /// The owner's age identity file; --data goes with it
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Look at a share of the blocks only, drawn anew each time; all else is checked whole
    #[arg(long, value_name = "PERCENT", value_parser = per_million)]
    pub sample: Option<u32>,
    /// Go on where a check of the same depth was interrupted
    #[arg(long, conflicts_with = "sample")]
    pub resume: bool,
}

#[derive(Args)]
pub struct Repair {
    #[command(flatten)]
    pub which: WhichDomain,
    /// The owner's age identity file: also make index segments anew, and name the paths that are lost
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

#[derive(Args)]
pub struct Gc {
    #[command(flatten)]
    pub which: WhichDomain,
    /// Say what would go, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also what an interrupted ingest has sealed, which is else kept for when it goes on
    #[arg(long)]
    pub unfinished: bool,
    /// Also write blocks anew of which at most half is still reached; an encrypted domain needs --identity for it
    #[arg(long)]
    pub repack: bool,
    /// The owner's age identity file, for --repack
    #[arg(long, value_name = "FILE", requires = "repack")]
    pub identity: Option<PathBuf>,
}

/// A share such as 10, 10% or 0.5%, in millionths.
fn per_million(text: &str) -> Result<u32, String> {
    let bad = || "give a share of the blocks, above 0 and up to 100%".to_string();
    let number = text.strip_suffix('%').unwrap_or(text);
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || part.is_empty() || part.len() > 4 || !digits(whole) || !digits(part) {
        return Err(bad());
    }
    let part: u32 = format!("{part:0<4}").parse().map_err(|_| bad())?;
    let share = whole
        .parse::<u32>()
        .ok()
        .and_then(|n| n.checked_mul(10_000)?.checked_add(part));
    share
        .filter(|n| (1..=1_000_000).contains(n))
        .ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_as_written_and_nothing_else_is() {
        assert_eq!(per_million("10"), Ok(100_000));
        assert_eq!(per_million("100%"), Ok(1_000_000));
        assert_eq!(per_million("0.5%"), Ok(5_000));
        assert_eq!(per_million("0.0001"), Ok(1));
        for bad in [
            "", "%", "0", "0%", "101", "-1", "1.", ".5", "1e1", "1.00001", "5%%",
        ] {
            assert!(per_million(bad).is_err(), "{bad}");
        }
    }
}
