//! `init` and `status`.

use super::context;
use crate::out::Out;
use asl_backend::Limits;
use asl_core::Result;
use asl_host::{reserve, Domain, HostRoot, KeptKey};
use serde_json::json;
use std::path::Path;

pub fn init(path: &Path, out: Out) -> Result<()> {
    let root = HostRoot::init(path, &context(), KeptKey::Plain)?;
    reserve::keep(path, &context());
    let key = root.public_key();
    let limits = Limits::probe(path)?;
    for words in limits.words() {
        out.note(&words);
    }
    let text = format!(
        "Made the root at {}.\nThis host's key:   {}\nThis host's words: {}\n\
         Put the roots you trust into {}, edit {}, then run `asl-host serve`.",
        path.display(),
        key.to_openssh(""),
        key.words(),
        root.layout().trusted_roots().display(),
        root.layout().host_policy().display(),
    );
    out.result(&text, &json!({ "root": path, "host": root.id().to_string(), "key": key.to_openssh(""), "words": key.words(), "limits": limits }))
}

pub fn status(path: &Path, out: Out) -> Result<()> {
    let root = HostRoot::open(path)?;
    let mut domains = Vec::new();
    let mut text = format!(
        "Host {}\n  root  {}\n  words {}\n",
        root.id(),
        path.display(),
        root.public_key().words()
    );
    for id in root.domains()? {
        let described = match Domain::open(&root, &id) {
            Ok(domain) => domain.describe(),
            Err(e) => {
                json!({ "domain_id": id.to_string(), "error": e.to_string(), "next": e.what_next() })
            }
        };
        let state = described["state"].as_str().unwrap_or("unreadable");
        text.push_str(&format!("  domain {id}  {state}\n"));
        domains.push(described);
    }
    if domains.is_empty() {
        text.push_str("  no domains\n");
    }
    let strangers = match asl_host::admission::strangers(&root) {
        Ok((kept, most)) => {
            text.push_str(&format!(
                "  strangers  {kept} of {most} domains without a trusted root\n"
            ));
            json!({ "kept": kept, "most": most })
        }
        Err(e) => {
            text.push_str(&format!("  host-policy: {e}\n"));
            json!({ "error": e.to_string(), "next": e.what_next() })
        }
    };
    out.result(&text, &json!({ "host": root.id().to_string(), "words": root.public_key().words(), "domains": domains, "strangers": strangers }))
}
