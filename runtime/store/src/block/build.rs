//! Filling a block: extents are laid back to back, a directory after them.

use super::directory::{Directory, Entry, ENTRY_ROW, EXTENT_ROW, FOOTER};
use super::extent::{Extent, Located};
use super::pack::{Packed, GROUP_BYTES};
use crate::wire::len32;
use asl_core::{Result, TypeTag};

const WHAT: &str = "block";

/// A block being filled, in memory only.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    tag_bytes: usize,
    directory: Directory,
}

impl BlockBuilder {
    /// A block in a buffer that was used before, with room for `target` bytes and an extent more.
    pub(crate) fn within(mut bytes: Vec<u8>, target: usize) -> Self {
        bytes.clear();
        bytes.reserve(target + 4 * GROUP_BYTES);
        BlockBuilder {
            bytes,
            ..BlockBuilder::default()
        }
    }

    /// A block that goes on where a smaller one ended, likewise.
    pub(crate) fn grown(small: &BlockBuilder, bytes: Vec<u8>, target: usize) -> Self {
        let mut block = BlockBuilder {
            tag_bytes: small.tag_bytes,
            directory: small.directory.clone(),
            ..BlockBuilder::within(bytes, target)
        };
        block.bytes.extend_from_slice(&small.bytes);
        block
    }

    /// Lays down the extents of a group; answers the buffers they were in.
    pub(crate) fn push(&mut self, packed: Vec<Packed>) -> Result<Vec<Vec<u8>>> {
        packed.into_iter().map(|extent| self.lay(extent)).collect()
    }

    fn lay(&mut self, packed: Packed) -> Result<Vec<u8>> {
        let extent = len32(WHAT, self.directory.extents.len())?;
        self.directory.extents.push(Extent {
            offset: len32(WHAT, self.bytes.len())?,
            stored: len32(WHAT, packed.bytes.len())?,
            plain: packed.plain,
            codec: packed.codec,
        });
        self.bytes.extend_from_slice(&packed.bytes);
        let mut inner = 0u32;
        for (id, tag, length) in packed.pieces {
            let tag = self.tag(tag)?;
            self.directory.entries.push(Entry {
                id,
                tag,
                extent,
                inner,
                length,
            });
            inner = inner.saturating_add(length);
        }
        Ok(packed.bytes)
    }

    fn tag(&mut self, tag: TypeTag) -> Result<u32> {
        let tags = &mut self.directory.tags;
        let at = match tags.iter().position(|t| *t == tag) {
            Some(at) => at,
            None => {
                self.tag_bytes += 1 + tag.as_str().len();
                tags.push(tag);
                tags.len() - 1
            }
        };
        len32(WHAT, at)
    }

    /// Bytes of the plaintext if it ended now.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
            + self.directory.extents.len() * EXTENT_ROW
            + self.directory.entries.len() * ENTRY_ROW
            + self.tag_bytes
            + FOOTER
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.directory.entries.is_empty()
    }

    /// The plaintext, and where each piece lies in it.
    pub(crate) fn finish(mut self) -> Result<(Vec<u8>, Vec<Located>)> {
        self.directory.write(&mut self.bytes)?;
        let located = self.directory.located().collect();
        Ok((self.bytes, located))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{cut, Codec, Group, Packer, Unpacker};
    use super::*;

    fn extract(stored: &[u8], at: &Located) -> Result<Vec<u8>> {
        let mut unpacker = Unpacker::new()?;
        let plain = unpacker.unpack(stored, at.codec)?;
        cut(plain, at).map(<[u8]>::to_vec)
    }

    fn decode_whole(stored: &[u8], extent: &Extent) -> Result<Vec<u8>> {
        let mut unpacker = Unpacker::new()?;
        unpacker.unpack_exact(stored, extent).map(<[u8]>::to_vec)
    }

    fn noise(n: usize, seed: u64) -> Vec<u8> {
        let mut out = vec![0; n];
        blake3::Hasher::new()
            .update(&seed.to_le_bytes())
            .finalize_xof()
            .fill(&mut out);
        out
    }

    fn tag(text: &str) -> TypeTag {
        text.parse().unwrap()
    }

    fn block(pieces: &[(&str, Vec<u8>)]) -> (Vec<u8>, Vec<Located>) {
        let (mut packer, mut builder) = (Packer::new().unwrap(), BlockBuilder::default());
        let mut group = Group::default();
        for (t, bytes) in pieces {
            if group.is_full() || Group::stands_alone(bytes.len()) {
                let full = std::mem::take(&mut group);
                if !full.is_empty() {
                    builder.push(packer.pack(full).unwrap()).unwrap();
                }
            }
            group
                .push(blake3::hash(bytes).into(), &tag(t), bytes)
                .unwrap();
        }
        builder.push(packer.pack(group).unwrap()).unwrap();
        let size = builder.size();
        let (plain, located) = builder.finish().unwrap();
        assert_eq!(plain.len(), size);
        (plain, located)
    }

    fn sample_pieces() -> Vec<(&'static str, Vec<u8>)> {
        let mut pieces: Vec<_> = (0u64..40)
            .map(|i| ("asl.blob", format!("piece {i} ").repeat(200).into_bytes()))
            .collect();
        pieces.push(("asl.tree", noise(200_000, 1)));
        pieces.push(("asl.blob", vec![7; 300_000]));
        pieces.push(("asl.blob", Vec::new()));
        pieces
    }

    #[test]
    fn every_piece_is_read_back_from_its_extent_alone() {
        let pieces = sample_pieces();
        let (plain, located) = block(&pieces);
        assert_eq!(located.len(), pieces.len());
        for (at, (_, bytes)) in located.iter().zip(&pieces) {
            let stored = &plain[at.offset as usize..][..at.stored as usize];
            assert_eq!(&extract(stored, at).unwrap(), bytes);
        }
    }

    #[test]
    fn a_block_describes_itself() {
        let (plain, located) = block(&sample_pieces());
        let directory = Directory::read(&plain).unwrap();
        assert_eq!(directory.located().collect::<Vec<_>>(), located);
        assert_eq!(directory.tags, [tag("asl.blob"), tag("asl.tree")]);
        for e in &directory.extents {
            let stored = &plain[e.offset as usize..][..e.stored as usize];
            assert_eq!(decode_whole(stored, e).unwrap().len(), e.plain as usize);
        }
    }

    #[test]
    fn noise_is_stored_raw_and_text_is_compressed() {
        let (plain, located) = block(&[("a", noise(500_000, 2))]);
        assert_eq!(located[0].codec, Codec::Raw);
        assert!(plain.len() < 500_200);
        let (plain, located) = block(&[("a", vec![b'x'; 500_000])]);
        assert_eq!(located[0].codec, Codec::Zstd);
        assert!(plain.len() < 1000);
    }

    #[test]
    fn noise_beside_text_is_not_tried_and_every_piece_is_found() {
        let text = |n: usize| "neither here nor there ".repeat(n).into_bytes();
        let pieces = [
            ("a", text(900)),
            ("b", noise(30_000, 3)),
            ("a", text(10)),
            ("b", noise(60_000, 4)),
        ];
        let (plain, located) = block(&pieces);
        let codecs: Vec<Codec> = located.iter().map(|l| l.codec).collect();
        assert_eq!(codecs, [Codec::Zstd, Codec::Zstd, Codec::Raw, Codec::Raw]);
        for (at, (_, bytes)) in located.iter().zip([0, 2, 1, 3].map(|n| &pieces[n])) {
            let stored = &plain[at.offset as usize..][..at.stored as usize];
            assert_eq!(&extract(stored, at).unwrap(), bytes);
        }
    }

    #[test]
    fn what_is_even_and_repeats_itself_is_compressed_all_the_same() {
        let counting: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let (plain, located) = block(&[("a", counting)]);
        assert_eq!(located[0].codec, Codec::Zstd);
        assert!(plain.len() < 10_000, "{}", plain.len());
    }

    #[test]
    fn small_pieces_share_an_extent() {
        let pieces: Vec<_> = (0..50u64).map(|i| ("a", noise(1000, i))).collect();
        let (plain, _) = block(&pieces);
        assert_eq!(Directory::read(&plain).unwrap().extents.len(), 1);
    }

    #[test]
    fn a_flipped_bit_anywhere_in_the_directory_is_found() {
        let (plain, located) = block(&[("a", noise(3000, 1)), ("b", vec![1; 3000])]);
        let start = located.iter().map(|l| l.offset + l.stored).max().unwrap() as usize;
        for at in start..plain.len() {
            for bit in 0..8 {
                let mut bad = plain.clone();
                bad[at] ^= 1 << bit;
                assert!(Directory::read(&bad).is_err(), "byte {at} bit {bit}");
            }
        }
        for n in 0..plain.len() {
            assert!(Directory::read(&plain[..n]).is_err(), "cut to {n}");
        }
    }

    /// Writes a directory that its own writer would not, with a right checksum.
    fn forged(change: impl FnOnce(&mut Directory)) -> asl_core::Error {
        let (plain, _) = block(&[("a", noise(300, 1)), ("b", noise(300, 2))]);
        let mut directory = Directory::read(&plain).unwrap();
        let end = directory.extents.iter().map(|e| e.stored).sum::<u32>() as usize;
        change(&mut directory);
        let mut out = plain[..end].to_vec();
        directory.write(&mut out).unwrap();
        Directory::read(&out).unwrap_err()
    }

    #[test]
    fn a_second_spelling_of_a_block_is_refused() {
        forged(|d| d.entries.swap(0, 1));
        forged(|d| d.entries[1].id = d.entries[0].id);
        forged(|d| d.entries[0].inner = 1);
        forged(|d| d.entries[1].length -= 1);
        forged(|d| d.entries[1].extent = 1);
        forged(|d| d.entries.clear());
        forged(|d| (d.entries[0].tag, d.entries[1].tag) = (1, 0));
        forged(|d| d.tags[1] = d.tags[0].clone());
        forged(|d| d.tags.push(tag("unused")));
        forged(|d| d.entries[1].tag = 7);
        forged(|d| d.extents[0].offset = 1);
        forged(|d| d.extents[0].stored -= 1);
        forged(|d| d.extents[0].plain = u32::MAX);
        forged(|d| d.extents[0].codec = Codec::Zstd);
        forged(|d| {
            let e = d.extents[0];
            d.extents.push(e);
        });
        let e = forged(|d| d.entries[1].inner = u32::MAX);
        assert!(e.why().contains("back to back"), "{e}");
    }

    #[test]
    fn an_extent_that_claims_too_much_is_refused_without_allocating_it() {
        let id = blake3::hash(b"").into();
        let at = |inner, length| Located {
            id,
            offset: 0,
            stored: 0,
            codec: Codec::Zstd,
            inner,
            length,
        };
        assert!(extract(&[], &at(u32::MAX, u32::MAX)).is_err());
        assert!(extract(&[1, 2, 3], &at(0, 10)).is_err());
        let small = zstd::bulk::compress(&[7; 1000], 1).unwrap();
        assert_eq!(extract(&small, &at(990, 10)).unwrap(), [7; 10]);
        assert!(extract(&small, &at(990, 11)).is_err());
        let e = Extent {
            offset: 0,
            stored: small.len() as u32,
            plain: 999,
            codec: Codec::Zstd,
        };
        assert!(decode_whole(&small, &e).is_err());
        let twice = [small.clone(), small].concat();
        assert!(decode_whole(&twice, &Extent { plain: 2000, ..e }).is_err());
    }
}
