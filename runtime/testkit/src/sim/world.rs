//! The simulated file system: what its users see, what the medium holds, and what lies between.

use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};

pub(super) type NodeId = u64;
/// A place for a name: a directory and the name in it.
pub(super) type Place = (NodeId, String);

/// A change of names that the medium does not hold yet.
#[derive(Clone, Debug)]
pub(super) enum NameOp {
    Put(Place, NodeId),
    Drop(Place),
    /// From, to: in one step, as every file system with a journal does it.
    Move(Place, Place, NodeId),
}

impl NameOp {
    fn places(&self) -> Vec<&Place> {
        match self {
            NameOp::Put(place, _) | NameOp::Drop(place) => vec![place],
            NameOp::Move(from, to, _) => vec![from, to],
        }
    }
}

/// A change of bytes that the medium does not hold yet.
#[derive(Clone, Debug)]
pub(super) enum DataOp {
    Write(usize, Vec<u8>),
    Len(usize),
}

impl DataOp {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            DataOp::Len(len) => bytes.resize(*len, 0),
            DataOp::Write(at, new) => {
                let end = at + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(new);
            }
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct FileNode {
    pub seen: Vec<u8>,
    pub medium: Vec<u8>,
    pub pending: Vec<DataOp>,
}

#[derive(Clone, Default)]
pub(super) struct DirNode {
    pub seen: BTreeMap<String, NodeId>,
    pub medium: BTreeMap<String, NodeId>,
}

#[derive(Clone)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
}

/// Everything below the calls; no faults here.
#[derive(Clone)]
pub(super) struct World {
    pub nodes: BTreeMap<NodeId, Node>,
    pub pending: Vec<NameOp>,
    pub capacity: Option<u64>,
    next: NodeId,
}

pub(super) const ROOT: NodeId = 0;

impl World {
    pub fn new() -> Self {
        World {
            nodes: BTreeMap::from([(ROOT, Node::Dir(DirNode::default()))]),
            pending: Vec::new(),
            capacity: None,
            next: 1,
        }
    }

    pub fn dir(&mut self, id: NodeId) -> io::Result<&mut DirNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(Errno::NOTDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub fn file(&mut self, id: NodeId) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(Errno::ISDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub fn is_dir(&self, id: NodeId) -> bool {
        matches!(self.nodes.get(&id), Some(Node::Dir(_)))
    }

    pub fn lookup(&mut self, root: NodeId, path: &Path) -> io::Result<NodeId> {
        let mut at = root;
        for component in path.components() {
            let Component::Normal(name) = component else {
                return Err(Errno::INVAL.into());
            };
            let name = name.to_str().ok_or(Errno::INVAL)?;
            at = *self.dir(at)?.seen.get(name).ok_or(Errno::NOENT)?;
        }
        Ok(at)
    }

    pub fn place(&mut self, root: NodeId, path: &Path) -> io::Result<Place> {
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .ok_or(Errno::INVAL)?;
        let dir = self.lookup(root, path.parent().unwrap_or(Path::new("")))?;
        self.dir(dir)?;
        Ok((dir, name.to_owned()))
    }

    pub fn at(&mut self, place: &Place) -> io::Result<Option<NodeId>> {
        Ok(self.dir(place.0)?.seen.get(&place.1).copied())
    }

    pub fn free(&mut self, place: &Place) -> io::Result<()> {
        match self.at(place)? {
            Some(_) => Err(Errno::EXIST.into()),
            None => Ok(()),
        }
    }

    pub fn add(&mut self, place: Place, node: Node) -> io::Result<NodeId> {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        self.name(NameOp::Put(place, id))?;
        Ok(id)
    }

    /// Changes the names that are seen, and remembers that the medium does not know yet.
    pub fn name(&mut self, op: NameOp) -> io::Result<()> {
        match &op {
            NameOp::Put((dir, name), node) => {
                self.dir(*dir)?.seen.insert(name.clone(), *node);
            }
            NameOp::Drop((dir, name)) => {
                self.dir(*dir)?.seen.remove(name);
            }
            NameOp::Move(from, to, node) => {
                self.dir(from.0)?.seen.remove(&from.1);
                self.dir(to.0)?.seen.insert(to.1.clone(), *node);
            }
        }
        self.pending.push(op);
        Ok(())
    }

    /// What the medium's directories hold once an op has reached it.
    pub fn apply_to_medium(&mut self, op: &NameOp) {
        let put = |world: &mut World, (dir, name): &Place, node| {
            if let Ok(dir) = world.dir(*dir) {
                dir.medium.insert(name.clone(), node);
            }
        };
        match op {
            NameOp::Put(place, node) => put(self, place, *node),
            NameOp::Drop((dir, name)) => {
                if let Ok(dir) = self.dir(*dir) {
                    dir.medium.remove(name);
                }
            }
            NameOp::Move((dir, name), to, node) => {
                if let Ok(dir) = self.dir(*dir) {
                    dir.medium.remove(name);
                }
                put(self, to, *node);
            }
        }
    }

    /// Takes out the pending ops that syncing a directory must carry to the medium.
    ///
    /// A file moved here from elsewhere has its new name for sure; that the old one is gone is
    /// the other directory's to sync.
    fn take_names(&mut self, dir: NodeId) -> Vec<NameOp> {
        let mut chosen = vec![false; self.pending.len()];
        let mut places: BTreeSet<Place> = BTreeSet::new();
        for (chosen, op) in chosen.iter_mut().zip(&self.pending).rev() {
            let touches = op
                .places()
                .iter()
                .any(|place| place.0 == dir || places.contains(*place));
            if touches {
                *chosen = true;
                // Whatever happened to the same names before happened before on the medium too.
                places.extend(op.places().into_iter().cloned());
            }
        }
        let mut taken = Vec::new();
        let mut left = Vec::new();
        for (op, chosen) in std::mem::take(&mut self.pending).into_iter().zip(chosen) {
            if chosen {
                // An old name that was to go, and came back since, is not to go any more.
                left.retain(|gone| !matches!(gone, NameOp::Drop(p) if op.places().contains(&p)));
            }
            match op {
                NameOp::Move(from, to, node) if chosen && to.0 == dir && from.0 != dir => {
                    taken.push(NameOp::Put(to, node));
                    left.push(NameOp::Drop(from));
                }
                op if chosen => taken.push(op),
                op => left.push(op),
            }
        }
        self.pending = left;
        taken
    }

    /// Syncs a directory; where that fails, its names stay pending.
    pub fn sync_dir(&mut self, dir: NodeId, fails: bool) -> io::Result<()> {
        self.dir(dir)?;
        if !fails {
            for op in self.take_names(dir) {
                self.apply_to_medium(&op);
            }
        }
        Ok(())
    }

    /// Syncs a file's bytes, or, where that fails, loses what it had pending for good: the cache
    /// still shows it, and no later sync says so (as Linux does).
    pub fn sync_file(&mut self, id: NodeId, fails: bool) -> io::Result<()> {
        let file = self.file(id)?;
        for op in std::mem::take(&mut file.pending) {
            if !fails {
                op.apply(&mut file.medium);
            }
        }
        Ok(())
    }

    pub fn sync_all(&mut self, fails: bool) {
        if !fails {
            for op in std::mem::take(&mut self.pending) {
                self.apply_to_medium(&op);
            }
        }
        let files: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in files {
            // Directories answer with an error and hold no bytes.
            let _ = self.sync_file(id, fails);
        }
    }

    pub fn change(&mut self, id: NodeId, op: DataOp) -> io::Result<()> {
        let file = self.file(id)?;
        op.apply(&mut file.seen);
        file.pending.push(op);
        Ok(())
    }

    /// Frees the bytes of a file that is about to lose one name of several: on FAT the others then
    /// name clusters that belong to nobody.
    pub fn free_bytes_of_other_names(&mut self, id: NodeId) -> io::Result<()> {
        let names = self.nodes.values().map(|node| match node {
            Node::Dir(dir) => dir.seen.values().filter(|n| **n == id).count(),
            Node::File(_) => 0,
        });
        if names.sum::<usize>() > 1 {
            *self.file(id)? = FileNode::default();
        }
        Ok(())
    }

    pub fn has_name(&self, id: NodeId) -> bool {
        self.nodes
            .values()
            .any(|node| matches!(node, Node::Dir(dir) if dir.seen.values().any(|n| *n == id)))
    }

    /// The bytes of all files that have a name.
    pub fn used(&self) -> u64 {
        let named: BTreeSet<NodeId> = self
            .nodes
            .values()
            .flat_map(|node| match node {
                Node::Dir(dir) => dir.seen.values().copied().collect::<Vec<_>>(),
                Node::File(_) => Vec::new(),
            })
            .collect();
        named
            .iter()
            .map(|id| match self.nodes.get(id) {
                Some(Node::File(file)) => file.seen.len() as u64,
                _ => 0,
            })
            .sum()
    }
}
