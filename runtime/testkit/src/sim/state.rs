//! What all users of a simulated disk share: the world, what it can do, faults, locks.

use super::world::{NameOp, NodeId, Place, World};
use super::Fault;
use asl_backend::disk::Lock;
use asl_backend::Durability;
use rustix::io::Errno;
use std::io;

/// What kind of call a fault is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Read,
    Write,
    Sync,
}

pub(super) struct State {
    pub(super) world: World,
    pub(super) calls: u64,
    pub(super) syncs: u64,
    pub(super) failing_sync: Option<u64>,
    pub(super) fault: Option<(u64, Fault, bool)>,
    pub(super) halt: Option<u64>,
    pub(super) renames_new: bool,
    pub(super) renames_whole: bool,
    pub(super) links: bool,
    pub(super) largest: Option<u64>,
    pub(super) syncs_all: bool,
    pub(super) durability: Durability,
    pub(super) locks: Vec<(NodeId, u64, Lock)>,
    pub(super) handles: u64,
}

impl State {
    /// Counts a call; answers whether it is to be done by half.
    pub(super) fn call(&mut self, call: Call) -> io::Result<bool> {
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
    pub(super) fn sync(
        &mut self,
        act: impl FnOnce(&mut World, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        let halted = self.halt.is_some_and(|at| self.calls + 1 >= at);
        self.syncs += 1;
        let called = match self.failing_sync {
            Some(at) if self.syncs == at => self.call(Call::Sync).and(Err(Errno::IO.into())),
            _ => self.call(Call::Sync),
        };
        match called {
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
    pub(super) fn rename(&mut self, from: Place, to: Place, node: NodeId) -> io::Result<()> {
        if self.renames_whole {
            return self.world.name(NameOp::Move(from, to, node));
        }
        self.world.name(NameOp::Put(to, node))?;
        self.call(Call::Write)?;
        self.world.name(NameOp::Drop(from))
    }

    /// Locks a node for a handle; false where another has a lock that forbids it.
    pub(super) fn lock(&mut self, node: NodeId, handle: u64, lock: Lock) -> bool {
        let refused = self.locks.iter().any(|(of, by, held)| {
            *of == node && *by != handle && (lock == Lock::Exclusive || *held == Lock::Exclusive)
        });
        if !refused {
            self.locks.retain(|(_, by, _)| *by != handle);
            self.locks.push((node, handle, lock));
        }
        !refused
    }

    pub(super) fn replace(&mut self, from: NodeId, to: Option<NodeId>) -> io::Result<()> {
        let Some(to) = to else { return Ok(()) };
        match (self.world.is_dir(from), self.world.is_dir(to)) {
            (true, false) => Err(Errno::NOTDIR.into()),
            (false, true) => Err(Errno::ISDIR.into()),
            (true, true) if !self.world.dir(to)?.seen.is_empty() => Err(Errno::NOTEMPTY.into()),
            _ => Ok(()),
        }
    }
}
