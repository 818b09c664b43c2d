//! `policy check | explain`: the keeper's rules, read and weighed by what the host itself uses.

use super::context;
use crate::cli::Policy;
use crate::out::Out;
use asl_auth::{HostPolicy, Said, Verdict};
use asl_core::Result;
use asl_host::admission::{Keeper, Petition};
use asl_host::HostRoot;
use serde_json::{json, Value};
use std::path::Path;

pub fn policy(root: &Path, verb: Policy, out: Out) -> Result<()> {
    match verb {
        Policy::Check { policy: Some(file) } => check(&HostRoot::policy_at(&file)?, &[], out),
        Policy::Check { policy: None } => {
            let root = HostRoot::open(root)?;
            let trusted = root.trusted_roots()?;
            let words: Vec<String> = trusted.iter().map(|key| key.words()).collect();
            check(&root.policy()?, &words, out)
        }
        Policy::Explain { request } => {
            let keeper = Keeper::open(HostRoot::open(root)?, context())?;
            explain(&keeper.explain(&Petition::read(&request)?)?, out)
        }
    }
}

fn check(policy: &HostPolicy, trusted: &[String], out: Out) -> Result<()> {
    let mut text = format!(
        "The policy is good: known roots {}, unknown roots {}, {} rules, {} trusted roots.\n",
        policy.known_roots,
        policy.unknown_roots,
        policy.rules.len(),
        trusted.len()
    );
    for rule in &policy.rules {
        text.push_str(&format!(
            "  line {:4}  {:32} {}\n",
            rule.line, rule.name, rule.outcome
        ));
    }
    for words in trusted {
        text.push_str(&format!("  trusted    {words}\n"));
    }
    let rules = policy.rules.iter().map(
        |rule| json!({ "name": rule.name, "line": rule.line, "outcome": rule.outcome.code() }),
    );
    let object = json!({
        "known_roots": policy.known_roots.code(),
        "unknown_roots": policy.unknown_roots.code(),
        "rules": rules.collect::<Vec<Value>>(),
        "trusted_roots": trusted,
    });
    out.result(&text, &object)
}

fn explain(verdict: &Verdict, out: Out) -> Result<()> {
    let mut text = super::admission::in_words(&verdict.decision);
    text.push_str(&format!("\nDecided by {}.\n", verdict.decided_by()));
    for step in &verdict.steps {
        let rule = &step.rule;
        text.push_str(&format!("  {:11} {rule}: {}\n", word(step.said), step.why));
    }
    let steps = verdict.steps.iter();
    let steps = steps.map(|s| json!({ "rule": s.rule, "said": word(s.said), "why": s.why }));
    let mut object = super::admission::decided(&verdict.decision);
    object["decided_by"] = json!(verdict.decided_by());
    object["steps"] = steps.collect::<Vec<Value>>().into();
    out.result(&text, &object)
}

fn word(said: Said) -> &'static str {
    match said {
        Said::Passed => "passed",
        Said::PassedOver => "not this",
        Said::Decided => "DECIDED",
        Said::Refused => "REFUSED",
    }
}
