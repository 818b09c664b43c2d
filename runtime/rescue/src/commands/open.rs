//! `restore`: a sealed tree is brought back.

use super::sealed::open_sealed;
use super::SEALED_WITH_HOLES;
use crate::cli;
use crate::out::{size, Out};
use crate::progress::Screen;
use asl_core::{Error, Kind, Result};
use asl_ingest::RestoreOptions;
use serde_json::{json, Value};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

pub fn restore(root: &Path, args: &cli::Restore, out: Out) -> Result<ExitCode> {
    let opened = open_sealed(root, &args.sealed)?;
    let places = opened.places(args.path.as_bytes())?;
    let mut problems = 0;
    let mut restored = Vec::new();
    for place in &places {
        // One root restores to the directory itself; several, each to a numbered one below it.
        let to = if places.len() == 1 {
            args.to.clone()
        } else {
            std::fs::create_dir_all(&args.to)
                .map_err(|e| Error::new(Kind::Io, "make", args.to.display(), e))?;
            args.to.join(&place.number)
        };
        let options = RestoreOptions {
            path: place.path.clone(),
            ..RestoreOptions::default()
        };
        let screen = Screen::new(out, "restoring", |_| ());
        let done = asl_ingest::restore(&opened.handle, &place.root, &to, &options, &screen);
        screen.finish();
        let done = done?;
        problems += done.problem_count;
        restored.push((to, done));
    }
    let mut text = String::new();
    for (to, done) in &restored {
        text.push_str(&format!(
            "Restored {} entries, {} to {} ({} problems).\n",
            done.entries,
            size(done.bytes),
            to.display(),
            done.problem_count
        ));
    }
    let list: Vec<Value> = restored
        .iter()
        .map(|(to, d)| json!({ "to": to, "entries": d.entries, "bytes": d.bytes, "problems": d.problem_count, "damaged": d.damaged }))
        .collect();
    out.result(
        &text,
        &json!({ "snapshot": opened.snapshot.to_string(), "restored": list, "problems": problems }),
    )?;
    Ok(ExitCode::from(if problems > 0 {
        SEALED_WITH_HOLES
    } else {
        0
    }))
}
