//! Reading a file past the cache, and asking that it be forgotten.

use rustix::fs::{self, Advice, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Asks the kernel to forget the synced pages of a file.
pub(crate) fn drop_cache(file: &File) {
    // Advice: where it goes unheard, the bytes read are still the file's.
    let _ = fs::fadvise(file, 0, None, Advice::DontNeed);
}

/// What is read at a time.
const CHUNK: usize = 1 << 20;
/// What direct reads are aligned to: no medium has larger sectors.
const ALIGN: usize = 4096;

/// Reads a file from its start, directly from the medium while the system allows that.
pub(crate) struct MediumReader {
    file: File,
    direct: bool,
    buffer: Vec<u8>,
    /// Where in the buffer aligned memory begins.
    base: usize,
    /// The bytes of the buffer that are still to be handed out.
    ready: Range<usize>,
    offset: u64,
}

impl MediumReader {
    pub(crate) fn new(file: File, direct: bool) -> Self {
        let buffer = vec![0; CHUNK + ALIGN];
        let base = buffer.as_ptr().align_offset(ALIGN).min(ALIGN);
        MediumReader {
            file,
            direct,
            buffer,
            base,
            ready: 0..0,
            offset: 0,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if !self.offset.is_multiple_of(ALIGN as u64) {
            self.through_cache()?;
        }
        let window = self.base..self.base + CHUNK;
        let n = loop {
            let Some(chunk) = self.buffer.get_mut(window.clone()) else {
                return Err(io::ErrorKind::OutOfMemory.into());
            };
            match self.file.read_at(chunk, self.offset) {
                Ok(n) => break n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Sectors larger than our alignment, or a file system that changed its mind.
                Err(e) if self.direct && e.kind() == io::ErrorKind::InvalidInput => {
                    self.through_cache()?;
                }
                Err(e) => return Err(e),
            }
        };
        self.offset = self.offset.saturating_add(n as u64);
        self.ready = self.base..self.base + n;
        Ok(())
    }

    /// Goes on without direct reads; the pages were dropped before the first.
    fn through_cache(&mut self) -> io::Result<()> {
        if self.direct {
            let flags = fs::fcntl_getfl(&self.file)?;
            fs::fcntl_setfl(&self.file, flags.difference(OFlags::DIRECT))?;
            self.direct = false;
        }
        Ok(())
    }
}

impl Read for MediumReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() {
            self.fill()?;
        }
        let n = to.len().min(self.ready.len());
        let from = self.ready.start..self.ready.start + n;
        if let (Some(to), Some(from)) = (to.get_mut(..n), self.buffer.get(from)) {
            to.copy_from_slice(from);
        }
        self.ready.start += n;
        Ok(n)
    }
}
