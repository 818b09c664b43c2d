//! The door that a host gives: [`PieceStore`] over a [`StoreHandle`].

use crate::{Acknowledged, Chunking, PieceStore};
use asl_core::{BlockId, ChunkId, Result, TypeTag};
use asl_host::{Ack, Durability, Put, StoreHandle, TakePiece};

impl PieceStore for StoreHandle {
    fn chunking(&self) -> Chunking {
        let params = self.params();
        Chunking {
            min: params.chunk_min,
            avg: params.chunk_avg,
            max: params.chunk_max,
        }
    }

    fn chunk_id(&self, bytes: &[u8]) -> Result<ChunkId> {
        StoreHandle::chunk_id(self, bytes)
    }

    fn put(&self, id: ChunkId, tag: &TypeTag, bytes: &[u8]) -> Result<bool> {
        Ok(self.put_piece(id, tag, bytes)? == Put::Added)
    }

    fn commit_due(&self) -> Result<Option<Acknowledged>> {
        Ok(StoreHandle::commit_due(self)?.map(acknowledged))
    }

    fn begin_root(&self) -> Result<()> {
        StoreHandle::begin_root(self)
    }

    fn finish_root(&self, root: &[u8]) -> Result<(ChunkId, Acknowledged)> {
        StoreHandle::finish_root(self, root).map(|(id, ack)| (id, acknowledged(ack)))
    }

    fn get(&self, id: &ChunkId) -> Result<Vec<u8>> {
        self.get_piece(id)
    }

    fn get_many(&self, ids: &[ChunkId], take: TakePiece<'_>) -> Result<()> {
        self.get_pieces(ids, take)
    }

    fn block_of(&self, id: &ChunkId) -> Result<Option<BlockId>> {
        StoreHandle::block_of(self, id)
    }

    fn rely_on(&self, block: &BlockId) -> Result<bool> {
        StoreHandle::rely_on(self, block)
    }

    fn working_key(&self, about: &[u8]) -> Result<[u8; 32]> {
        StoreHandle::working_key(self, about)
    }

    fn working_files(&self) -> Result<Vec<String>> {
        StoreHandle::working_files(self)
    }

    fn read_working(&self, name: &str) -> Result<Vec<u8>> {
        StoreHandle::read_working(self, name)
    }

    fn write_working(&self, name: &str, content: &[u8]) -> Result<()> {
        StoreHandle::write_working(self, name, content)
    }

    fn remove_working(&self, name: &str) -> Result<()> {
        StoreHandle::remove_working(self, name)
    }
}

fn acknowledged(ack: Ack) -> Acknowledged {
    Acknowledged {
        logseq: ack.head.logseq,
        frame: ack.head.frame,
        durable: ack.durability == Durability::Durable,
        stored_bytes: ack.head.stored_bytes,
    }
}
