//! Sources, chunking, the sealing pipeline and restore, over a StoreHandle.
