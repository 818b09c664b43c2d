//! The one static binary `asl-host`: command line and rescue TUI.

fn main() {}
