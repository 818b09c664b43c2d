//! `dam`: who speaks for a domain, written, signed and looked at.

pub mod look;
pub mod write;

use crate::cli::Dam as Verb;
use crate::out::Out;
use asl_core::Result;

pub fn dam(verb: Verb, out: Out) -> Result<()> {
    match verb {
        Verb::Create {
            keys,
            label,
            next,
            days,
        } => write::create(&keys, label.as_deref(), next, days, out),
        Verb::Sign { keys, root_key } => write::sign(&keys, root_key.as_deref(), out),
        Verb::Show { dam } => look::show(&dam, out),
        Verb::Verify { keys } => look::verify(&keys, out),
        Verb::Diff { old, new } => look::diff(&old, &new, out),
    }
}
