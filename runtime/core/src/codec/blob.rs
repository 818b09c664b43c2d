//! Blobs: a Merkle list of pieces with sizes, holes as holes.
//!
//! A blob of at most one chunk is that chunk (depth 0). Longer ones hang under list nodes of at
//! most [`FAN_OUT`] links; a blob of depth d has its data d links below its top. A link without
//! an id is a hole: that many zero bytes which were never stored.

use crate::canon::{self, Limits};
use crate::{ChunkId, Error, Fields, Kind, MapBuilder, Result, Value};

/// Links in one list node at most.
pub const FAN_OUT: usize = 1024;

/// The depth of a blob's tree at most: 1024^6 chunks are more than a file can have.
const DEEPEST: u64 = 6;

/// One reference of a list: a piece, or a hole, and how many logical bytes it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Logical bytes below this link.
    pub size: u64,
    /// The piece; `None` for a hole.
    pub id: Option<ChunkId>,
}

/// Where a blob's bytes are: its size, the depth of its list, and its top piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// Logical bytes of the blob.
    pub size: u64,
    /// List levels above the data: 0 where the top is the data itself.
    pub depth: u8,
    /// The top piece; `None` where the blob is empty or one hole.
    pub top: Option<ChunkId>,
}

impl BlobRef {
    /// The blob's one link: its top.
    pub fn links(&self) -> Option<ChunkId> {
        self.top
    }

    /// Reads a reference from its map.
    ///
    /// # Errors
    /// `Invalid` where a field is missing, of another type, or too deep.
    pub fn from_fields(mut f: Fields) -> Result<Self> {
        let (size, depth) = (f.uint(0)?, f.opt(1, Fields::uint)?.unwrap_or(0));
        let top = f.opt(2, Fields::id)?;
        f.finish()?;
        match u8::try_from(depth) {
            Ok(depth) if u64::from(depth) <= DEEPEST => Ok(BlobRef { size, depth, top }),
            _ => Err(Error::new(
                Kind::Invalid,
                "read",
                "blob reference",
                "list too deep",
            )),
        }
    }
}

impl From<BlobRef> for Value {
    fn from(b: BlobRef) -> Value {
        let depth = (b.depth > 0).then_some(u64::from(b.depth));
        MapBuilder::new()
            .put(0, b.size)
            .opt(1, depth)
            .opt(2, b.top)
            .build()
    }
}

/// A node of a blob's list: up to [`FAN_OUT`] links in the order of the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListNode(pub Vec<Link>);

impl ListNode {
    /// The logical bytes below the node, saturating.
    pub fn size(&self) -> u64 {
        self.0.iter().fold(0, |n, l| n.saturating_add(l.size))
    }

    /// The pieces the node refers to.
    pub fn links(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.0.iter().filter_map(|l| l.id)
    }

    /// Encodes the node: an array of `[size, id]` or `[size]`.
    pub fn encode(&self) -> Vec<u8> {
        let link = |l: &Link| {
            let mut pair = vec![Value::from(l.size)];
            pair.extend(l.id.map(Value::from));
            Value::Array(pair)
        };
        canon::encode(&Value::Array(self.0.iter().map(link).collect()))
    }

    /// Decodes a node.
    ///
    /// # Errors
    /// `Invalid` where it is malformed or has more than [`FAN_OUT`] links.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let bad = || Error::new(Kind::Invalid, "read", "list node", "not a list of links");
        let value = canon::decode(bytes, "list node", Limits::ENTRY)?;
        let items = value.into_array().map_err(|_| bad())?;
        if items.len() > FAN_OUT {
            return Err(bad());
        }
        let link = |v: Value| {
            let pair = v.into_array().ok()?;
            let (size, rest) = pair.split_first()?;
            let id = match rest {
                [] => None,
                [id] => Some(ChunkId::from(
                    <[u8; 32]>::try_from(id.as_bytes()?.as_slice()).ok()?,
                )),
                _ => return None,
            };
            let size = size.as_integer().and_then(|i| u64::try_from(i).ok())?;
            Some(Link { size, id })
        };
        items
            .into_iter()
            .map(|v| link(v).ok_or_else(bad))
            .collect::<Result<_>>()
            .map(ListNode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_a_hole_is_read_back() {
        let node = ListNode(vec![
            Link {
                size: 10,
                id: Some(ChunkId::from([1; 32])),
            },
            Link {
                size: 1 << 40,
                id: None,
            },
        ]);
        assert_eq!(ListNode::decode(&node.encode()).unwrap(), node);
        assert_eq!(node.size(), (1 << 40) + 10);
        assert_eq!(node.links().count(), 1);
    }

    #[test]
    fn a_full_node_fits_its_limits() {
        let link = Link {
            size: u64::MAX,
            id: Some(ChunkId::from([9; 32])),
        };
        let node = ListNode(vec![link; FAN_OUT]);
        assert_eq!(ListNode::decode(&node.encode()).unwrap(), node);
        let over = ListNode(vec![link; FAN_OUT + 1]);
        assert!(ListNode::decode(&over.encode()).is_err());
    }

    #[test]
    fn a_malformed_node_is_refused() {
        for v in [
            Value::from(1),
            Value::Array(vec![Value::from(1)]),
            Value::Array(vec![Value::Array(vec![])]),
            Value::Array(vec![Value::Array(vec![Value::from(-1)])]),
            Value::Array(vec![Value::Array(vec![
                Value::from(1),
                Value::Bytes(vec![0; 31]),
            ])]),
        ] {
            assert!(ListNode::decode(&canon::encode(&v)).is_err(), "{v:?}");
        }
    }

    #[test]
    fn a_reference_too_deep_to_be_true_is_refused() {
        let deep = MapBuilder::new().put(0, 5).put(1, 7).build();
        assert!(BlobRef::from_fields(Fields::of(deep, "t").unwrap()).is_err());
    }
}
