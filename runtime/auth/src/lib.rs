//! Keys, signed documents, admission and lease terms, as values without I/O.
