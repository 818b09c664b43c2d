//! `dam`: who speaks for a domain, written, signed, looked at and taken up.

pub mod apply;
pub mod look;
pub mod sign;
pub mod wishes;
pub mod write;

use crate::cli::Dam as Verb;
use crate::out::Out;
use asl_core::Result;
use std::path::Path;

pub fn dam(root: &Path, verb: Verb, out: Out) -> Result<()> {
    match verb {
        Verb::Create(args) => write::create(&args, out),
        Verb::Sign { keys, root_key } => sign::sign(&keys, root_key.as_deref(), out),
        Verb::Show { dam } => look::show(&dam, out),
        Verb::Verify { keys } => look::verify(&keys, out),
        Verb::Diff { old, new } => look::diff(&old, &new, out),
        Verb::Apply { keys } => apply::apply(root, &keys, out),
    }
}
