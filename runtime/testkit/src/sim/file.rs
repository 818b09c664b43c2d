//! Open files of a simulated disk.

use super::world::{DataOp, NodeId};
use super::{Call, SimDisk};
use asl_backend::disk::{DiskFile, Lock};
use rustix::io::Errno;
use std::io;

/// An open file of a [`SimDisk`].
pub struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) node: NodeId,
    pub(super) handle: u64,
    pub(super) writes: bool,
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let mut state = self.disk.call(Call::Read)?;
        Ok(state.world.file(self.node)?.seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let half = state.call(Call::Read)?;
        let bytes = &state.world.file(self.node)?.seen;
        let start = usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
        let mut n = buffer.len().min(bytes.len() - start);
        if half && n > 1 {
            n /= 2;
        }
        buffer[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        let half = state.call(Call::Write)?;
        if !self.writes {
            return Err(Errno::BADF.into());
        }
        let at = usize::try_from(offset).map_err(|_| Errno::FBIG)?;
        let mut n = bytes.len();
        if half && n > 1 {
            n /= 2;
        }
        if let Some(capacity) = state.world.capacity {
            let free = capacity.saturating_sub(state.world.used());
            let inside = state.world.file(self.node)?.seen.len().saturating_sub(at);
            let room = usize::try_from(free).unwrap_or(usize::MAX);
            n = n.min(inside.saturating_add(room));
            if n == 0 && !bytes.is_empty() {
                return Err(Errno::NOSPC.into());
            }
        }
        let op = DataOp::Write(at, bytes[..n].to_vec());
        state.world.change(self.node, op)?;
        Ok(n)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.call(Call::Write)?;
        if !self.writes {
            return Err(Errno::BADF.into());
        }
        let len = usize::try_from(len).map_err(|_| Errno::FBIG)?;
        state.world.change(self.node, DataOp::Len(len))
    }

    fn sync(&self) -> io::Result<()> {
        let node = self.node;
        self.disk
            .state()
            .sync(|world, fails| world.sync_file(node, fails))
    }

    fn drop_cache(&self) {
        let mut state = self.disk.state();
        if let Ok(file) = state.world.file(self.node) {
            if file.pending.is_empty() {
                file.seen = file.medium.clone();
            }
        }
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        let mut state = self.disk.call(Call::Read)?;
        Ok(state.lock(self.node, self.handle, lock))
    }

    fn fits(&self, len: u64) -> io::Result<bool> {
        let state = self.disk.call(Call::Read)?;
        Ok(state.largest.is_none_or(|largest| len <= largest))
    }

    fn has_name(&self) -> io::Result<bool> {
        let state = self.disk.call(Call::Read)?;
        Ok(state.world.has_name(self.node))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let handle = self.handle;
        self.disk.state().locks.retain(|(_, h, _)| *h != handle);
    }
}
