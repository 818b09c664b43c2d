//! ASL-STORE and INDEX: blocks, segments, the content log, replay, snapshots, verify.
