//! One regular file's bytes: its holes, its data, and what could not be read of it.

use super::blob::{BlobWriter, Written};
use super::session::{Session, Tag};
use crate::os::{retry, told};
use crate::PAGE;
use asl_core::Result;
use rustix::fd::BorrowedFd;
use rustix::fs::{seek, SeekFrom};
use rustix::io::{pread, Errno};

/// Bytes of one read.
pub(super) const READ: usize = 1 << 20;
/// Unreadable ranges of one file told with their offsets; further ones are counted.
const RANGES: usize = 200;

/// What a file is read through, so that a failing medium can be played in a test.
pub(crate) trait Bytes {
    /// Reads at an offset; 0 is the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::result::Result<usize, Errno>;
    /// The next data from an offset, and where it ends; `None` where a hole reaches to the end.
    fn next_data(&self, from: u64) -> std::result::Result<Option<(u64, u64)>, Errno>;
}

impl Bytes for BorrowedFd<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::result::Result<usize, Errno> {
        retry(|| pread(self, &mut *buffer, offset))
    }

    fn next_data(&self, from: u64) -> std::result::Result<Option<(u64, u64)>, Errno> {
        let start = match retry(|| seek(self, SeekFrom::Data(from))) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            Err(e) => return Err(e),
        };
        retry(|| seek(self, SeekFrom::Hole(start))).map(|end| Some((start, end)))
    }
}

/// What was read of a file.
pub(crate) struct Content {
    pub written: Written,
    /// What is not as it stood there, in words; one for each kind of trouble.
    pub troubles: Vec<String>,
}

/// Reads up to `size` bytes, keeping what can be read (reliability.md, P7).
///
/// # Errors
/// Those of the store, and `Interrupted`; never one of the source.
pub(crate) fn read_file(
    s: &mut Session,
    file: &dyn Bytes,
    size: u64,
    sparse: bool,
    buffer: &mut Vec<u8>,
) -> Result<Content> {
    buffer.resize(READ, 0);
    let mut reading = Reading {
        file,
        size,
        writer: BlobWriter::new(s.chunking, Tag::Blob),
        bad: Vec::new(),
        more_bad: 0,
        error: None,
        short: false,
    };
    let mut at = 0;
    while at < size && !reading.short {
        // A file system that cannot say where data is gets everything read.
        let data = match sparse.then(|| file.next_data(at)) {
            Some(Ok(found)) => found,
            _ => Some((at, size)),
        };
        let page = PAGE as u64;
        let (from, to) = match data {
            Some((from, to)) => (
                (from / page * page).clamp(at, size),
                to.div_ceil(page).saturating_mul(page).min(size),
            ),
            None => (size, size),
        };
        if from > at {
            reading.writer.hole(s, from - at)?;
            s.progress.bytes += from - at;
        }
        let to = if to > from || from == size { to } else { size };
        at = reading.data(s, from, to, buffer)?;
        s.pulse()?;
    }
    reading.finish(s)
}

struct Reading<'a> {
    file: &'a dyn Bytes,
    size: u64,
    writer: BlobWriter,
    bad: Vec<(u64, u64)>,
    more_bad: u64,
    error: Option<Errno>,
    short: bool,
}

impl Reading<'_> {
    /// Reads one range; answers where it ended.
    fn data(&mut self, s: &mut Session, from: u64, to: u64, buffer: &mut [u8]) -> Result<u64> {
        let mut at = from;
        while at < to && !self.short {
            let want = usize::try_from(to - at).unwrap_or(READ).min(READ);
            let Some(part) = buffer.get_mut(..want) else {
                break;
            };
            let got = self.fill(s, part, at)?;
            self.short = got < want;
            s.progress.bytes += got as u64;
            self.writer.pages(s, part.get(..got).unwrap_or_default())?;
            at += got as u64;
        }
        Ok(at)
    }

    /// Fills the buffer as far as the file reaches; unreadable pages become zeros.
    fn fill(&mut self, s: &mut Session, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let (mut done, want) = (0, buffer.len());
        while done < want {
            let Some(rest) = buffer.get_mut(done..) else {
                break;
            };
            let at = offset + done as u64;
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(n) => done += n.min(want - done),
                Err(e) => {
                    // A large read fails as a whole for one bad sector: go on page by page.
                    let page = PAGE - (at % PAGE as u64) as usize;
                    let n = page.min(want - done);
                    let Some(part) = rest.get_mut(..n) else {
                        break;
                    };
                    match self.file.read_at(part, at) {
                        Ok(0) => break,
                        Ok(n) => done += n,
                        Err(_) => {
                            part.fill(0);
                            self.unreadable(at, n as u64, e);
                            done += n;
                        }
                    }
                    s.pulse()?;
                }
            }
        }
        Ok(done)
    }

    fn unreadable(&mut self, at: u64, bytes: u64, e: Errno) {
        self.error.get_or_insert(e);
        let room = self.bad.len() < RANGES;
        match self.bad.last_mut() {
            Some((_, end)) if *end == at => *end = at + bytes,
            _ if room => self.bad.push((at, at + bytes)),
            _ => self.more_bad += 1,
        }
    }

    fn finish(self, s: &mut Session) -> Result<Content> {
        let mut troubles = Vec::new();
        let read = self.writer.size();
        if let Some(e) = self.error {
            let ranges = self.bad.iter().map(|(a, b)| format!("{a}-{}", b - 1));
            let mut text = ranges.collect::<Vec<_>>().join(", ");
            if self.more_bad > 0 {
                text.push_str(&format!(" and {} more pages", self.more_bad));
            }
            troubles.push(format!(
                "unreadable, kept as zeros: bytes {text} ({})",
                told(e)
            ));
        }
        if read < self.size {
            troubles.push(format!(
                "changed while it was read: it ended at byte {read} of {}",
                self.size
            ));
        }
        let written = self.writer.finish(s)?;
        Ok(Content { written, troubles })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{noise, Pieces, Quiet, Stopping};
    use asl_core::{Digest, Kind};
    use std::cell::Cell;

    /// A medium on which reads that touch a bad page fail whole.
    struct Faulty {
        bytes: Vec<u8>,
        bad: Vec<u64>,
        most: usize,
        reads: Cell<u64>,
    }

    impl Bytes for Faulty {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::result::Result<usize, Errno> {
            self.reads.set(self.reads.get() + 1);
            let page = PAGE as u64;
            let end = offset + buffer.len() as u64;
            if self
                .bad
                .iter()
                .any(|b| offset < (b + 1) * page && b * page < end)
            {
                return Err(Errno::IO);
            }
            let rest = self.bytes.get(offset as usize..).unwrap_or_default();
            let n = rest.len().min(buffer.len()).min(self.most);
            buffer[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }

        fn next_data(&self, _: u64) -> std::result::Result<Option<(u64, u64)>, Errno> {
            Err(Errno::INVAL)
        }
    }

    fn faulty(bad: &[u64], most: usize) -> Faulty {
        Faulty {
            bytes: noise(8, 3 * READ + 777),
            bad: bad.to_vec(),
            most,
            reads: Cell::new(0),
        }
    }

    fn run(file: &Faulty, size: u64) -> (Content, u64) {
        let store = Pieces::new();
        let mut s = Session::new(&store, &Quiet).unwrap();
        let c = read_file(&mut s, file, size, true, &mut Vec::new()).unwrap();
        (c, s.progress.bytes)
    }

    #[test]
    fn what_can_be_read_around_bad_sectors_is_kept_and_the_rest_told_to_the_page() {
        let bad = [0, 1, 2, 300, 512, 767, 768];
        for most in [usize::MAX, 10_000, 4096, 777] {
            let file = faulty(&bad, most);
            let (content, read) = run(&file, file.bytes.len() as u64);
            let mut expected = file.bytes.clone();
            for b in bad {
                let from = b as usize * PAGE;
                let to = (from + PAGE).min(expected.len());
                expected[from..to].fill(0);
            }
            assert_eq!(
                content.written.digest,
                Digest::of(&expected),
                "reads of {most}"
            );
            assert_eq!(read, expected.len() as u64);
            assert_eq!(
                content.troubles,
                [
                    "unreadable, kept as zeros: bytes 0-12287, 1228800-1232895, 2097152-2101247, \
                  3141632-3146504 (Input/output error (os error 5))"
                ]
            );
        }
    }

    #[test]
    fn a_dead_file_is_zeros_of_its_size_and_its_text_is_bounded() {
        let every_other: Vec<u64> = (0..800).filter(|p| p % 2 == 0).collect();
        let file = faulty(&every_other, usize::MAX);
        let (content, _) = run(&file, file.bytes.len() as u64);
        assert_eq!(content.troubles.len(), 1);
        assert!(
            content.troubles[0].contains("and 185 more pages"),
            "{}",
            content.troubles[0]
        );
        assert!(content.troubles[0].len() < 8 << 10);
    }

    #[test]
    fn a_file_that_shrank_is_kept_as_far_as_it_went_and_told() {
        let file = faulty(&[], usize::MAX);
        let (content, _) = run(&file, file.bytes.len() as u64 + 50_000_000);
        assert_eq!(content.written.digest, Digest::of(&file.bytes));
        assert_eq!(content.written.blob.size, file.bytes.len() as u64);
        assert!(content.troubles[0].starts_with("changed while it was read"));
    }

    #[test]
    fn a_file_that_grows_is_read_to_the_size_it_had() {
        let file = faulty(&[], usize::MAX);
        let (content, _) = run(&file, 5000);
        assert_eq!(content.written.digest, Digest::of(&file.bytes[..5000]));
        assert!(content.troubles.is_empty());
    }

    #[test]
    fn a_stop_is_heard_in_the_midst_of_bad_sectors() {
        let file = faulty(&(0..800).collect::<Vec<_>>(), usize::MAX);
        let store = Pieces::new();
        let watch = Stopping::after(5);
        let mut s = Session::new(&store, &watch).unwrap();
        let size = file.bytes.len() as u64;
        let e = read_file(&mut s, &file, size, false, &mut Vec::new());
        assert_eq!(e.map(|_| ()).unwrap_err().kind(), Kind::Interrupted);
        assert!(file.reads.get() < 20, "{} reads", file.reads.get());
    }
}
