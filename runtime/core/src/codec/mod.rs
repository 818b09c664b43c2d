//! The codecs of artifacts: blob, tree and root, each with its links (formats.md, "Artifacts").
//!
//! A *piece* is what the store keeps under a [`ChunkId`]: a chunk of data, a list node, or a root.
//! Names, types and sizes lie inside pieces, which an encrypted domain seals.

mod blob;
mod root;
mod tree;

pub use blob::{BlobRef, Link, ListNode, FAN_OUT};
pub use root::{Problem, Root};
pub use tree::{Entry, EntryKind, Meta};

use crate::{canon, ArtifactKey, Digest, MapBuilder, TypeTag, Value};

/// The type tag of regular file contents and other plain bytes.
pub const BLOB: &str = "asl.blob";
/// The type tag of a directory.
pub const TREE: &str = "asl.tree";

/// Computes an artifact's public identity (seed 004, phase 2).
///
/// BLAKE3-256 derive-key over the deterministic CBOR of type tag, metadata and the BLAKE3 of the
/// logical bytes. Unkeyed, so it survives import into another domain; shown to no host before
/// publication.
pub fn artifact_key(tag: &TypeTag, metadata: &Value, logical: &Digest) -> ArtifactKey {
    key_of(tag.as_str(), metadata.clone(), logical)
}

/// The public identity of plain bytes, such as a file's contents.
pub fn blob_key(logical: &Digest) -> ArtifactKey {
    key_of(BLOB, no_metadata(), logical)
}

/// The public identity of a directory, from the digest of its entries' public forms in order.
pub fn tree_key(public_entries: &Digest) -> ArtifactKey {
    key_of(TREE, no_metadata(), public_entries)
}

fn key_of(tag: &str, metadata: Value, logical: &Digest) -> ArtifactKey {
    let text = MapBuilder::new()
        .put(0, tag)
        .put(1, metadata)
        .put(2, *logical)
        .encode();
    ArtifactKey::from(blake3::derive_key("asl.artifact-key/1", &text))
}

fn no_metadata() -> Value {
    Value::Map(Vec::new())
}

/// Encodes a value as an element of a CBOR sequence.
fn element(map: MapBuilder) -> Vec<u8> {
    canon::encode(&map.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_key_depends_on_its_bytes_and_its_type_alone() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_ne!(blob_key(&a), blob_key(&b));
        assert_ne!(blob_key(&a), tree_key(&a));
        let tag: TypeTag = BLOB.parse().unwrap();
        assert_eq!(artifact_key(&tag, &no_metadata(), &a), blob_key(&a));
        assert!(TREE.parse::<TypeTag>().is_ok());
    }
}
