//! `key root`: a root key of its own, for one of several holders.

use crate::commands::context;
use crate::out::Out;
use asl_auth::SigningKey;
use asl_backend::files;
use asl_core::{Error, Kind, Result};
use asl_host::keystick::name;
use serde_json::json;
use std::path::Path;

pub fn run(to: &Path, out: Out) -> Result<()> {
    if to.symlink_metadata().is_ok() {
        return Err(
            Error::new(Kind::Exists, "make a key in", to.display(), "it exists")
                .next("name a new directory; keys are never overwritten"),
        );
    }
    super::generate::make_private_dir(to)?;
    let key = SigningKey::generate(&*context().entropy)?;
    // The public half last: a directory that has it has both.
    files::write_new(&to.join(name::ROOT_KEY), &key.encode(), 0o600)?;
    let line = key.public().to_openssh("root") + "\n";
    files::write_new(&to.join(name::ROOT_PUB), line.as_bytes(), 0o600)?;
    out.result(
        &format!(
            "Made a root key in {}.\n  words {}\nKeep root.key offline; give root.pub to who writes the DAM, and say the words by telephone.",
            to.display(),
            key.public().words()
        ),
        &json!({ "keys": to, "root": key.public().to_openssh(""), "words": key.public().words() }),
    )
}
