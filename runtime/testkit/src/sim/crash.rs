//! What a medium may hold after the power went.
//!
//! Names and bytes that were not synced are there or not, each for itself and in any order; bytes
//! tear at 512-byte sectors; a file may have grown without its bytes, which then are zeros.

use super::world::{DataOp, Node, NodeId, World};
use crate::Random;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

const SECTOR: usize = 512;

/// How much of what was pending reaches the medium.
#[derive(Clone, Copy)]
enum Luck {
    None,
    All,
    Some,
}

/// The `number`-th image of a world, for a seed. The first four are the corners.
pub(super) fn image(world: &World, seed: u64, number: usize) -> World {
    let mut random = Random::new(seed ^ (number as u64).wrapping_mul(0x5851_f42d_4c95_7f2d));
    let (names, bytes) = match number {
        0 => (Luck::None, Luck::None),
        1 => (Luck::All, Luck::All),
        2 => (Luck::All, Luck::None),
        3 => (Luck::None, Luck::All),
        _ => (Luck::Some, Luck::Some),
    };
    let mut after = world.clone();
    let pending = std::mem::take(&mut after.pending);
    // Either a journal's prefix, or no order at all.
    let prefix = random
        .coin()
        .then(|| random.below(pending.len() as u64 + 1) as usize);
    for (i, op) in pending.iter().enumerate() {
        let reaches = match (names, prefix) {
            (Luck::None, _) => false,
            (Luck::All, _) => true,
            (Luck::Some, Some(prefix)) => i < prefix,
            (Luck::Some, None) => random.coin(),
        };
        if reaches {
            after.apply_to_medium(op);
        }
    }
    for node in after.nodes.values_mut() {
        match node {
            Node::Dir(dir) => dir.seen = dir.medium.clone(),
            Node::File(file) => {
                let pending = std::mem::take(&mut file.pending);
                match bytes {
                    Luck::None => {}
                    Luck::All => pending.iter().for_each(|op| op.apply(&mut file.medium)),
                    Luck::Some => tear(&pending, &mut file.medium, &mut random),
                }
                file.seen = file.medium.clone();
            }
        }
    }
    after
}

/// Some whole writes, then some sectors of those after them.
fn tear(pending: &[DataOp], medium: &mut Vec<u8>, random: &mut Random) {
    let whole = random.below(pending.len() as u64 + 1) as usize;
    for (i, op) in pending.iter().enumerate() {
        if i < whole {
            op.apply(medium);
            continue;
        }
        match op {
            DataOp::Len(_) => {
                if random.coin() {
                    op.apply(medium);
                }
            }
            DataOp::Write(at, bytes) => {
                let mut start = 0;
                while start < bytes.len() {
                    let sector_end = ((at + start) / SECTOR + 1) * SECTOR;
                    let end = (sector_end - at).min(bytes.len());
                    if random.coin() {
                        DataOp::Write(at + start, bytes[start..end].to_vec()).apply(medium);
                    }
                    start = end;
                }
                if random.coin() && medium.len() < at + bytes.len() {
                    medium.resize(at + bytes.len(), 0);
                }
            }
        }
    }
}

/// A hash of all names and bytes that are seen.
pub(super) fn fingerprint(world: &World) -> u64 {
    fn take(world: &World, id: NodeId, hasher: &mut DefaultHasher) {
        match world.nodes.get(&id) {
            Some(Node::File(file)) => file.seen.hash(hasher),
            Some(Node::Dir(dir)) => {
                dir.seen.len().hash(hasher);
                for (name, child) in &dir.seen {
                    name.hash(hasher);
                    take(world, *child, hasher);
                }
            }
            None => {}
        }
    }
    let mut hasher = DefaultHasher::new();
    take(world, super::world::ROOT, &mut hasher);
    hasher.finish()
}

/// The files of a world by their paths.
pub(super) fn files(world: &World) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![(super::world::ROOT, String::new())];
    while let Some((id, path)) = todo.pop() {
        match world.nodes.get(&id) {
            Some(Node::File(file)) => {
                found.insert(path, file.seen.clone());
            }
            Some(Node::Dir(dir)) => {
                for (name, child) in &dir.seen {
                    let slash = if path.is_empty() { "" } else { "/" };
                    todo.push((*child, format!("{path}{slash}{name}")));
                }
            }
            None => {}
        }
    }
    found
}
