//! A disk that loses power, and fails, when a test says so.
//!
//! Names and bytes persist apart, as POSIX allows: a file's sync keeps its bytes and not its name,
//! a directory's sync its names and not the bytes. Every call is counted; any of them can fail, or
//! be the one before which the power goes (reliability.md, P1, P3 and P4).

mod crash;
mod world;

use asl_backend::disk::{Access, Disk, DiskFile, Entry, Lock, Process};
use asl_backend::{Durability, Space};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use world::{DataOp, DirNode, FileNode, NameOp, Node, NodeId, Place, World, ROOT};

/// What a call answers instead of being carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO, from any call.
    Io,
    /// ENOSPC, from calls that write.
    NoSpace,
    /// EROFS, from calls that write.
    ReadOnly,
    /// EINTR, from any call.
    Interrupted,
    /// A read or write does half of what was asked; other calls are carried out.
    Short,
}

/// What kind of call a fault is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Sync,
}

struct State {
    world: World,
    calls: u64,
    fault: Option<(u64, Fault, bool)>,
    halt: Option<u64>,
    renames_new: bool,
    renames_whole: bool,
    links: bool,
    largest: Option<u64>,
    syncs_all: bool,
    durability: Durability,
    locks: Vec<(NodeId, u64, Lock)>,
    handles: u64,
}

/// The disk. A clone is another user of the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    root: NodeId,
    pid: u32,
}

impl Default for SimDisk {
    fn default() -> Self {
        SimDisk::new()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        SimDisk::of(World::new())
    }

    fn of(world: World) -> Self {
        SimDisk {
            state: Arc::new(Mutex::new(State {
                world,
                calls: 0,
                fault: None,
                halt: None,
                renames_new: true,
                renames_whole: true,
                links: true,
                largest: None,
                syncs_all: true,
                durability: Durability::Durable,
                locks: Vec::new(),
                handles: 0,
            })),
            root: ROOT,
            pid: 1,
        }
    }

    /// Has no rename to a free name in one step, as FUSE file systems.
    #[must_use]
    pub fn without_rename_new(self) -> Self {
        self.state().renames_new = false;
        self
    }

    /// Gives a file one name and no second, as FAT and exFAT.
    #[must_use]
    pub fn without_links(self) -> Self {
        self.state().links = false;
        self
    }

    /// Has no journal, as FAT: a rename is two steps, each of which may fail or be the last before
    /// the power goes, and which reach the medium apart. A file may so end with two names; taking
    /// the one away frees its bytes, and the other then names nothing. It gives no second names.
    #[must_use]
    pub fn without_journal(self) -> Self {
        self.state().renames_whole = false;
        self.without_links()
    }

    /// Holds no file larger than that, in bytes.
    pub fn set_largest_file(&self, bytes: u64) {
        self.state().largest = Some(bytes);
    }

    /// Reports no errors from syncing everything, so that each thing must be synced.
    #[must_use]
    pub fn without_sync_all(self) -> Self {
        self.state().syncs_all = false;
        self
    }

    /// Says it keeps nothing when the power goes.
    #[must_use]
    pub fn volatile(self) -> Self {
        self.state().durability = Durability::Volatile;
        self
    }

    /// Holds at most so many bytes of file contents, also after they are cut down to it.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().world.capacity = bytes;
    }

    /// The same disk as another process sees it.
    #[must_use]
    pub fn as_process(&self, pid: u32) -> Self {
        SimDisk {
            pid,
            ..self.clone()
        }
    }

    /// The same disk, seen from one of its directories.
    ///
    /// # Errors
    /// The system's.
    pub fn below(&self, path: &Path) -> io::Result<Self> {
        let mut state = self.state();
        let root = state.world.lookup(self.root, path)?;
        state.world.dir(root)?;
        drop(state);
        Ok(SimDisk {
            root,
            ..self.clone()
        })
    }

    /// The calls made so far.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Takes the power away before the `k`-th call from now, `k` from 1: it and every later call
    /// does nothing and answers EIO. What is left then are the [`crash_images`](Self::crash_images).
    pub fn halt_at(&self, k: u64) {
        let mut state = self.state();
        state.halt = Some(state.calls.saturating_add(k));
    }

    /// Fails the `k`-th call from now, `k` from 1; that one only, or it and all after it.
    ///
    /// A sync that fails loses the bytes it was to write for good, while the cache still shows
    /// them; names stay pending.
    pub fn fail_at(&self, k: u64, fault: Fault, for_ever: bool) {
        let mut state = self.state();
        state.fault = Some((state.calls.saturating_add(k), fault, for_ever));
    }

    /// Ends all faults. What they lost stays lost.
    pub fn heal(&self) {
        let mut state = self.state();
        state.fault = None;
        state.halt = None;
    }

    /// Disks as they may be found when the power goes now and comes back: no locks, no faults.
    ///
    /// The first four are the corners (nothing pending reached the medium, everything did, names
    /// alone, bytes alone); the others are drawn with the seed.
    pub fn crash_images(&self, seed: u64, n: usize) -> Vec<SimDisk> {
        let state = self.state();
        (0..n)
            .map(|number| {
                let disk = SimDisk::of(crash::image(&state.world, seed, number));
                {
                    let mut after = disk.state();
                    after.renames_new = state.renames_new;
                    after.renames_whole = state.renames_whole;
                    after.links = state.links;
                    after.largest = state.largest;
                    after.syncs_all = state.syncs_all;
                    after.durability = state.durability;
                }
                disk
            })
            .collect()
    }

    /// Every file as it is seen now, by its path from the disk's own root.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        crash::files(&self.state().world)
    }

    /// Flips one bit of a file, on the medium and in the cache.
    ///
    /// # Errors
    /// The system's; EINVAL where the file is shorter.
    pub fn flip(&self, path: &Path, byte: usize, bit: u32) -> io::Result<()> {
        let mut state = self.state();
        let id = state.world.lookup(self.root, path)?;
        let file = state.world.file(id)?;
        let mask = 1u8.checked_shl(bit).ok_or(Errno::INVAL)?;
        *file.seen.get_mut(byte).ok_or(Errno::INVAL)? ^= mask;
        if let Some(byte) = file.medium.get_mut(byte) {
            *byte ^= mask;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, call: Call) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.call(call)?;
        Ok(state)
    }

    fn handle(&self, state: &mut State, node: NodeId, access: Access) -> SimFile {
        state.handles += 1;
        SimFile {
            disk: self.clone(),
            node,
            handle: state.handles,
            writes: access == Access::Write,
        }
    }
}

impl State {
    /// Counts a call; answers whether it is to be done by half.
    fn call(&mut self, call: Call) -> io::Result<bool> {
        self.calls += 1;
        if self.halt.is_some_and(|at| self.calls >= at) {
            return Err(Errno::IO.into());
        }
        let Some((at, fault, for_ever)) = self.fault else {
            return Ok(false);
        };
        if self.calls != at && !(for_ever && self.calls > at) {
            return Ok(false);
        }
        match fault {
            Fault::Io => Err(Errno::IO.into()),
            Fault::Interrupted => Err(Errno::INTR.into()),
            Fault::NoSpace if call != Call::Read => Err(Errno::NOSPC.into()),
            Fault::ReadOnly if call != Call::Read => Err(Errno::ROFS.into()),
            Fault::NoSpace | Fault::ReadOnly => Ok(false),
            Fault::Short => Ok(true),
        }
    }

    /// A sync call: an error other than an interruption loses the bytes that were pending.
    fn sync(&mut self, act: impl FnOnce(&mut World, bool) -> io::Result<()>) -> io::Result<()> {
        let halted = self.halt.is_some_and(|at| self.calls + 1 >= at);
        match self.call(Call::Sync) {
            Ok(_) => act(&mut self.world, false),
            Err(e) => {
                if !halted && e.kind() != io::ErrorKind::Interrupted {
                    act(&mut self.world, true)?;
                }
                Err(e)
            }
        }
    }

    /// A rename, in one step or in two.
    fn rename(&mut self, from: Place, to: Place, node: NodeId) -> io::Result<()> {
        if self.renames_whole {
            return self.world.name(NameOp::Move(from, to, node));
        }
        self.world.name(NameOp::Put(to, node))?;
        self.call(Call::Write)?;
        self.world.name(NameOp::Drop(from))
    }

    /// Locks a node for a handle; false where another has a lock that forbids it.
    fn lock(&mut self, node: NodeId, handle: u64, lock: Lock) -> bool {
        let refused = self.locks.iter().any(|(of, by, held)| {
            *of == node && *by != handle && (lock == Lock::Exclusive || *held == Lock::Exclusive)
        });
        if !refused {
            self.locks.retain(|(_, by, _)| *by != handle);
            self.locks.push((node, handle, lock));
        }
        !refused
    }

    fn replace(&mut self, from: NodeId, to: Option<NodeId>) -> io::Result<()> {
        let Some(to) = to else { return Ok(()) };
        match (self.world.is_dir(from), self.world.is_dir(to)) {
            (true, false) => Err(Errno::NOTDIR.into()),
            (false, true) => Err(Errno::ISDIR.into()),
            (true, true) if !self.world.dir(to)?.seen.is_empty() => Err(Errno::NOTEMPTY.into()),
            _ => Ok(()),
        }
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn create(&self, path: &Path, _mode: u32) -> io::Result<SimFile> {
        let mut state = self.call(Call::Write)?;
        let place = state.world.place(self.root, path)?;
        state.world.free(&place)?;
        let node = state.world.add(place, Node::File(FileNode::default()))?;
        Ok(self.handle(&mut state, node, Access::Write))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<SimFile> {
        let mut state = self.call(Call::Read)?;
        let node = state.world.lookup(self.root, path)?;
        if state.world.is_dir(node) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(self.handle(&mut state, node, access))
    }

    fn open_medium(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let mut state = self.call(Call::Read)?;
        let node = state.world.lookup(self.root, path)?;
        state.sync(|world, fails| world.sync_file(node, fails))?;
        Ok(Box::new(io::Cursor::new(
            state.world.file(node)?.medium.clone(),
        )))
    }

    fn entry(&self, path: &Path) -> io::Result<Entry> {
        let mut state = self.call(Call::Read)?;
        let node = state.world.lookup(self.root, path)?;
        Ok(match state.world.file(node) {
            Ok(file) => Entry::File(file.seen.len() as u64),
            Err(_) => Entry::Dir,
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.call(Call::Read)?;
        let node = state.world.lookup(self.root, path)?;
        let mut names: Vec<String> = state.world.dir(node)?.seen.keys().cloned().collect();
        // No file system promises an order.
        names.reverse();
        Ok(names)
    }

    fn make_dir(&self, path: &Path, _mode: u32) -> io::Result<()> {
        let mut state = self.call(Call::Write)?;
        let place = state.world.place(self.root, path)?;
        state.world.free(&place)?;
        state
            .world
            .add(place, Node::Dir(DirNode::default()))
            .map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.call(Call::Write)?;
        let node = state.world.lookup(self.root, from)?;
        let from = state.world.place(self.root, from)?;
        let to = state.world.place(self.root, to)?;
        let there = state.world.at(&to)?;
        if there == Some(node) {
            return Ok(());
        }
        state.replace(node, there)?;
        state.rename(from, to, node)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.call(Call::Write)?;
        if !state.renames_new {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let node = state.world.lookup(self.root, from)?;
        let from = state.world.place(self.root, from)?;
        let to = state.world.place(self.root, to)?;
        state.world.free(&to)?;
        state.rename(from, to, node)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.call(Call::Write)?;
        if !state.links {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let node = state.world.lookup(self.root, from)?;
        state.world.file(node)?;
        let to = state.world.place(self.root, to)?;
        state.world.free(&to)?;
        state.world.name(NameOp::Put(to, node))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call(Call::Write)?;
        let node = state.world.lookup(self.root, path)?;
        state.world.file(node)?;
        let place = state.world.place(self.root, path)?;
        if !state.renames_whole {
            state.world.free_bytes_of_other_names(node)?;
        }
        state.world.name(NameOp::Drop(place))
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let mut state = self.call(Call::Read)?;
        let node = state.world.lookup(self.root, path)?;
        state.world.dir(node)?;
        let held = self.handle(&mut state, node, Access::Read);
        drop(state);
        // Counted once: how long one waits is no step of a program.
        while !self.state().lock(node, held.handle, Lock::Exclusive) {
            std::thread::yield_now();
        }
        Ok(Box::new(held))
    }

    fn renames_whole(&self) -> bool {
        self.state().renames_whole
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call(Call::Write)?;
        let node = state.world.lookup(self.root, path)?;
        if !state.world.dir(node)?.seen.is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        let place = state.world.place(self.root, path)?;
        state.world.name(NameOp::Drop(place))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let node = state.world.lookup(self.root, path)?;
        state.sync(|world, fails| world.sync_dir(node, fails))
    }

    fn sync_all(&self) -> io::Result<bool> {
        let mut state = self.state();
        if state.syncs_all {
            state.sync(|world, fails| {
                world.sync_all(fails);
                Ok(())
            })?;
        }
        Ok(state.syncs_all)
    }

    fn durability(&self) -> Durability {
        self.state().durability
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.call(Call::Read)?;
        let total = state.world.capacity.unwrap_or(1 << 40);
        Ok(Space {
            total,
            free: total.saturating_sub(state.world.used()),
            files: None,
        })
    }

    fn process(&self) -> Process {
        Process {
            pid: self.pid,
            boot_id: "simulated".to_owned(),
            command: "test".to_owned(),
        }
    }
}

/// An open file of a [`SimDisk`].
pub struct SimFile {
    disk: SimDisk,
    node: NodeId,
    handle: u64,
    writes: bool,
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
