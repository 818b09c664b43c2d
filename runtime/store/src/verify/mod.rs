//! Finding damage before it is served (reliability.md, P5).
//!
//! The structural part needs no key (architecture.md, invariant 10): the log's chain, the ledger,
//! manifests and block sets against it, each file against its digest, each block's shape. With the
//! segment keys trust values are checked too; with the open identity every piece.

mod blocks;
mod course;
mod history;
mod in_order;
mod segments;

pub use course::Sample;

use crate::names;
use crate::store::{Damage, Store};
use asl_core::{Error, Kind, Result};

/// How deep to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Open every block and check every piece and segment against it; needs the open identity.
    pub data: bool,
    /// Look at a share of the blocks only; everything else is checked whole.
    pub sample: Option<Sample>,
    /// Note in `tmp/` which blocks were found good, for a later check that is to go on.
    pub remember: bool,
    /// Go on where a check of the same depth was interrupted.
    pub resume: bool,
}

/// What [`Store::verify`] looked at, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Frames of the content log.
    pub frames: u64,
    /// Blocks read whole and hashed.
    pub blocks: u64,
    /// Their bytes.
    pub block_bytes: u64,
    /// Segments whose file was checked.
    pub segments: u64,
    /// Segments whose trust value was checked.
    pub trusted: u64,
    /// Snapshots whose manifest and block list were checked.
    pub snapshots: u64,
    /// Block sets checked.
    pub sets: u64,
    /// Pieces opened and checked against their ids.
    pub pieces: u64,
    /// Blocks that the check which this one goes on from had found good.
    pub earlier: u64,
    /// What could not be looked at, and why; a reader must not take it for checked.
    pub not_checked: Vec<String>,
    /// What is odd and not damage: leftovers of a crash, a torn tail that a writer will cut.
    pub notes: Vec<String>,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// What [`Store::read_back`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBackReport {
    /// Blocks read from the medium.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that were read back before, for an earlier snapshot, and not now.
    pub before: u64,
    /// Blocks that are missing, cannot be read, or are not what was written.
    pub damage: Vec<Damage>,
}

impl Store {
    /// Checks everything CURRENT needs.
    ///
    /// `progress` is told bytes of blocks done and to do; `stop` is asked between blocks. Damaged
    /// blocks are no longer taken for known.
    ///
    /// # Errors
    /// `Interrupted` where `stop` says so; `Io` where the location itself fails. Damage is no
    /// error: it is in the report.
    pub fn verify(
        &self,
        options: VerifyOptions,
        progress: &dyn Fn(u64, u64),
        stop: &dyn Fn() -> bool,
    ) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        self.check_history(&mut report)?;
        self.check_blocks(options, &mut report, progress, stop)?;
        self.check_working(&mut report)?;
        Ok(report)
    }

    /// Working files are derived and believed by nobody who cannot prove them; one that is spoiled
    /// only costs time.
    fn check_working(&self, report: &mut VerifyReport) -> Result<()> {
        for file in self.working_files()? {
            let name = names::working()?.join(&file)?;
            let tell = |e: Error| format!("{name}: {}", e.why());
            match self.read_working(&file) {
                Err(e) if e.kind() == Kind::Refused => report.not_checked.push(tell(e)),
                Err(e) if e.kind() == Kind::Io => return Err(e),
                Err(e) => report.notes.push(format!(
                    "{}; it is derived, and nobody believes it",
                    tell(e)
                )),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

impl VerifyReport {
    /// Tells of an object that is not what was written.
    pub fn damaged(&mut self, object: impl ToString, why: impl ToString) {
        self.damage.push(Damage {
            object: object.to_string(),
            why: why.to_string(),
            block: None,
        });
    }

    /// Takes an error for damage, unless the location itself failed or the key is not at hand.
    ///
    /// # Errors
    /// The error, where the location failed.
    pub fn judge(&mut self, object: impl ToString, e: Error) -> Result<()> {
        match e.kind() {
            Kind::Damage | Kind::Invalid | Kind::NotFound => self.damaged(object, e.why()),
            Kind::Refused => self
                .not_checked
                .push(format!("{}: {}", object.to_string(), e.why())),
            _ => return Err(e),
        }
        Ok(())
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "check", "the blocks", "it was stopped")
        .next("go on with `asl-host verify --resume`")
}
