//! `snapshot forget`: which snapshots go, and which roots go with them.

use super::sealed::open_credentials;
use super::{open_domain, open_handle};
use crate::cli::WhichDomain;
use crate::out::Out;
use asl_core::codec::Root;
use asl_core::{ChunkId, Result, SnapshotId};
use asl_host::pins::pins;
use asl_host::{Credentials, Domain, Purpose, StoreHandle};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

pub fn forget(
    root: &Path,
    which: &WhichDomain,
    named: &[SnapshotId],
    keep_last: Option<u32>,
    identity: Option<&Path>,
    out: Out,
) -> Result<ExitCode> {
    let (root, domain) = open_domain(root, which)?;
    let opens = identity.is_some() || !domain.genesis().params.encrypted;
    let credentials = match opens {
        true => open_credentials(&domain, identity)?,
        false => Credentials::None,
    };
    let handle = open_handle(&root, &domain, Purpose::Upkeep, credentials)?;
    let snapshots = match keep_last {
        Some(n) => all_but(&handle, &domain, n as usize)?,
        None => named.to_vec(),
    };
    let roots = match opens && !snapshots.is_empty() {
        true => replaced(&handle, &snapshots)?,
        false => Vec::new(),
    };
    handle.forget(&snapshots, &roots)?;
    let names: Vec<String> = snapshots.iter().map(ToString::to_string).collect();
    let mut text = match names.as_slice() {
        [] => "Nothing to forget.\n".to_string(),
        names => format!("Forgotten: {}.\n", names.join(" ")),
    };
    match (names.is_empty(), opens) {
        (true, _) => {}
        (_, true) => text.push_str(&format!(
            "{} roots that newer ones replaced are let go; they are freed once no kept snapshot lists them.\n",
            roots.len()
        )),
        (_, false) => text.push_str(
            "No root is let go: which are replaced is sealed; give --identity to let them go too.\n",
        ),
    }
    if !names.is_empty() {
        text.push_str("`asl-host gc` frees what nothing reaches now.\n");
    }
    let roots: Vec<String> = roots.iter().map(ToString::to_string).collect();
    out.result(&text, &json!({ "forgotten": names, "roots_let_go": roots }))?;
    Ok(ExitCode::SUCCESS)
}

/// All snapshots but the last `n` and the pinned ones.
fn all_but(handle: &StoreHandle, domain: &Domain, n: usize) -> Result<Vec<SnapshotId>> {
    let pinned = pins(domain)?;
    let all: Vec<SnapshotId> = handle.current().snapshots.keys().copied().collect();
    let old = all.len().saturating_sub(n);
    let goes = |id: &SnapshotId| !pinned.contains_key(id);
    Ok(all.into_iter().take(old).filter(goes).collect())
}

/// Roots that are no source's newest, neither now nor in a snapshot that stays.
fn replaced(handle: &StoreHandle, going: &[SnapshotId]) -> Result<Vec<ChunkId>> {
    let current = handle.current();
    let mut sources: BTreeMap<ChunkId, Vec<u8>> = BTreeMap::new();
    for id in &current.root_order {
        sources.insert(*id, Root::decode(&handle.get_piece(id)?)?.source);
    }
    let mut needed: BTreeSet<ChunkId> = BTreeSet::new();
    let mut need_newest = |within: &dyn Fn(&ChunkId) -> bool| {
        let mut newest: BTreeMap<&[u8], ChunkId> = BTreeMap::new();
        for id in current.root_order.iter().filter(|id| within(id)) {
            if let Some(source) = sources.get(id) {
                newest.insert(source, *id);
            }
        }
        needed.extend(newest.into_values());
    };
    need_newest(&|_| true);
    for (id, manifest) in handle.manifests() {
        if !going.contains(&id) {
            let named: BTreeSet<ChunkId> = manifest?.roots.iter().map(|(root, _)| *root).collect();
            need_newest(&|root| named.contains(root));
        }
    }
    let goes = |id: &ChunkId| !needed.contains(id);
    Ok(current.roots.keys().copied().filter(goes).collect())
}
