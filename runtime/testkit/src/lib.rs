//! Simulated disk, fake clock and vectors, for tests only.
