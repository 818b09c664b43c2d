//! `admission log`: the audit log of this host.

use crate::commands::DAMAGE;
use crate::out::{printable, Out};
use asl_core::Result;
use asl_host::audit::Audit;
use asl_host::HostRoot;
use serde_json::{json, Value};
use std::path::Path;
use std::process::ExitCode;

pub fn log(root: &Path, domain: Option<&str>, last: Option<usize>, out: Out) -> Result<ExitCode> {
    let root = HostRoot::open(root)?;
    let history = Audit::at(root.layout().audit()).history()?;
    let about = |line: &&Value| {
        let named = line["domain"].as_str();
        domain.is_none_or(|d| named.is_some_and(|n| n == d || n.split('~').next() == Some(d)))
    };
    let lines: Vec<&Value> = history.lines.iter().filter(about).collect();
    let from = lines.len().saturating_sub(last.unwrap_or(usize::MAX));
    let shown = lines.get(from..).unwrap_or_default();
    let broken = history
        .broken
        .iter()
        .map(|b| json!({ "event": "broken", "file": b.file, "line": b.line, "why": b.why }));
    let broken: Vec<Value> = broken.collect();
    for line in shown.iter().copied().chain(&broken) {
        out.result(&in_words(line), line)?;
    }
    if shown.is_empty() && broken.is_empty() && out.is_text() {
        out.result(
            "Nothing was asked of this host, and nothing was done.",
            &json!({}),
        )?;
    }
    Ok(match broken.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(DAMAGE),
    })
}

fn in_words(line: &Value) -> String {
    let text = |key: &str| line[key].as_str().map(printable).unwrap_or_default();
    if line["event"] == "broken" {
        return format!(
            "DAMAGED  {} line {}: {}",
            text("file"),
            line["line"],
            text("why")
        );
    }
    let done = match line["outcome"].as_str() {
        Some(outcome) => format!("{} {}", text("event"), printable(outcome)),
        None => format!("{} {}", text("event"), text("state")),
    };
    let rule = match line["rule"].as_str() {
        Some(rule) => format!(" ({})", printable(rule)),
        None => String::new(),
    };
    let (time, domain, by) = (text("time"), text("domain"), text("by"));
    format!(
        "{time}  {done:28} {domain:32} by {by}{rule}: {}",
        text("why")
    )
}
