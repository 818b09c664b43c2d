//! A disk that loses power, and fails, when a test says so.
//!
//! Names and bytes persist apart, as POSIX allows: a file's sync keeps its bytes and not its name,
//! a directory's sync its names and not the bytes. Every call is counted; any of them can fail, or
//! be the one before which the power goes (reliability.md, P1, P3 and P4).

mod crash;
mod file;
mod mount;
mod state;
mod world;

pub use file::SimFile;
pub use mount::Mount;

use asl_backend::disk::{Access, Disk, Entry, Lock, Process};
use asl_backend::{Durability, Space};
use rustix::io::Errno;
use state::{Call, State};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use world::{DirNode, FileNode, NameOp, Node, NodeId, World, ROOT};

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
                syncs: 0,
                failing_sync: None,
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

    /// The calls made so far that are syncs.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Fails the `k`-th sync from now with EIO, `k` from 1, and no other: what it was to write is
    /// lost, and later syncs say nothing of it.
    pub fn fail_sync_at(&self, k: u64) {
        let mut state = self.state();
        state.failing_sync = Some(state.syncs.saturating_add(k));
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

    /// Whether the power is gone.
    pub fn is_halted(&self) -> bool {
        let state = self.state();
        state.halt.is_some_and(|at| state.calls >= at)
    }

    /// Ends all faults. What they lost stays lost.
    pub fn heal(&self) {
        let mut state = self.state();
        state.fault = None;
        state.failing_sync = None;
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

    /// A number that two disks share where the same names and bytes are seen on them; by chance two
    /// others do in one of 2^64 cases.
    pub fn fingerprint(&self) -> u64 {
        crash::fingerprint(&self.state().world)
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
        let file = state.world.file(node)?;
        // Synced pages are dropped, so that others read from the medium too.
        file.seen = file.medium.clone();
        Ok(Box::new(io::Cursor::new(file.medium.clone())))
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
