//! The host-policy as its keeper writes it: read with line numbers, and told rule by rule.
#![allow(clippy::unwrap_used)]

mod common;
use asl_auth::policy::{HostPolicy, DEFAULT_POLICY};
use asl_auth::AdmissionResult::{Accepted, AcceptedLimited, Deferred, Rejected};
use asl_auth::*;
use asl_core::Digest;
use common::*;

#[test]
fn the_default_policy_reads_as_its_comments_say() {
    let p = HostPolicy::parse(DEFAULT_POLICY).unwrap();
    assert_eq!(p.known_roots, AdmissionResult::AcceptedLimited);
    assert_eq!(p.unknown_roots, AdmissionResult::Rejected);
    assert_eq!((p.lease.bytes, p.total_bytes), (64 << 30, 256 << 30));
    assert_eq!((p.lease.seconds, p.grace_s), (30 * 86400, 7 * 86400));
    assert!(p.encryption_only && p.renewable);
    assert_eq!(p.strangers, 64);
    assert!(p.takes_label(&"anything".parse().unwrap()));
}

#[test]
fn a_policy_that_cannot_be_meant_is_refused_with_its_line() {
    for (from, to, line, why) in [
        ("layout = 1", "layout = 2", 3, "layout"),
        ("\"REJECTED\"", "\"MAYBE\"", 9, "not ACCEPTED"),
        ("[\"*\"]", "[\"a*b\"]", 11, "not a label"),
        ("[\"*\"]", "[\"\"]", 11, "not a label"),
        ("strangers = 64", "strangers = -1", 14, ""),
        ("\"64 GiB\"", "\"64 GB\"", 20, "KiB"),
        ("\"64 GiB\"", "0", 20, "zero or too large"),
        ("\"64 GiB\"", "-5", 20, ""),
        ("\"256 GiB\"", "\"99999999999 TiB\"", 21, "KiB"),
        ("\"30 days\"", "\"99999999 days\"", 23, "zero or too large"),
        ("\"30 days\"", "\"a month\"", 23, "hours"),
        (
            "after-grace\"\n",
            "never\"\n",
            27,
            "after-grace or by-keeper",
        ),
        ("renewable = true", "renewable = 1", 28, ""),
        ("max_bytes", "max_byte", 20, "max_byte"),
        ("grace = ", "grace == ", 25, ""),
    ] {
        let text = DEFAULT_POLICY.replacen(from, to, 1);
        assert_ne!(text, DEFAULT_POLICY, "{from}");
        let e = HostPolicy::parse(&text).unwrap_err();
        assert!(e.why().contains(&format!("line {line}:")), "{to}: {e}");
        assert!(e.why().contains(why), "{to}: {e}");
    }
    let text = DEFAULT_POLICY.replace("snapshots = 64\n", "");
    let e = HostPolicy::parse(&text).unwrap_err();
    assert!(e.why().contains("snapshots"), "{e}");
}

#[test]
fn a_label_pattern_takes_its_beginning_and_nothing_else() {
    let text = DEFAULT_POLICY.replace("[\"*\"]", "[\"alice.*\", \"bob\"]");
    let p = HostPolicy::parse(&text).unwrap();
    let takes = |l: &str| p.takes_label(&l.parse().unwrap());
    assert!(takes("alice.personal") && takes("bob"));
    assert!(!takes("alice") && !takes("bobby") && !takes("eve"));
}

/// The default policy with more at its end.
fn with(rules: &str) -> String {
    format!("{DEFAULT_POLICY}\n{rules}")
}

#[test]
fn the_rules_that_stand_there_as_examples_are_rules() {
    let examples: String = DEFAULT_POLICY
        .lines()
        .skip_while(|l| *l != "# [[rule]]")
        .filter_map(|l| l.strip_prefix("# "))
        .map(|l| format!("{l}\n"))
        .collect();
    let p = HostPolicy::parse(&with(&examples)).unwrap();
    let names: Vec<_> = p
        .rules
        .iter()
        .map(|r| (r.name.as_str(), r.outcome))
        .collect();
    assert_eq!(names, [("family", Accepted), ("large", Deferred)]);
}

#[test]
fn a_rule_that_cannot_be_meant_is_refused_with_its_line() {
    let good = "[[rule]]\nname = \"a\"\noutcome = \"DEFERRED\"\n";
    let first = DEFAULT_POLICY.lines().count() + 2;
    assert!(HostPolicy::parse(&with(good)).is_ok());
    for (from, to, line, why) in [
        ("\"a\"", "\"A b\"", 1, "1 to 32 of a-z"),
        ("\"a\"", "\"\"", 1, "1 to 32"),
        ("DEFERRED", "PERHAPS", 2, "not ACCEPTED"),
        ("outcome", "lable = 1\noutcome", 2, "lable"),
        ("outcome", "labels = [\"A\"]\noutcome", 2, "not a label"),
        (
            "outcome",
            "roots = \"some\"\noutcome",
            2,
            "not known, unknown",
        ),
        ("outcome", "bytes_over = \"1 GB\"\noutcome", 2, "KiB"),
        ("outcome", "max_time = 0\noutcome", 2, "zero"),
        ("outcome", "lapses_over = -1\noutcome", 2, ""),
        ("outcome", "encrypted = \"yes\"\noutcome", 2, ""),
        (
            "[[rule]]\n",
            "[[rule]]\nname = \"a\"\noutcome = \"REJECTED\"\n[[rule]]\n",
            4,
            "another rule has that name",
        ),
        ("[[rule]]", "[rule]", 0, ""),
    ] {
        let e = HostPolicy::parse(&with(&good.replacen(from, to, 1))).unwrap_err();
        let line = format!("line {}:", first + line);
        assert!(e.why().contains(&line), "{to}: {e}, not {line}");
        assert!(e.why().contains(why), "{to}: {e}");
    }
    for (from, to) in [
        ("per_domain = 24", "per_domain = 0"),
        ("total = 1000", "total = 0"),
    ] {
        let e = HostPolicy::parse(&DEFAULT_POLICY.replacen(from, to, 1)).unwrap_err();
        assert!(e.why().contains("none at all"), "{e}");
    }
}

#[test]
fn a_policy_from_before_rates_and_rules_is_read_and_bounded_all_the_same() {
    let (old, _) = DEFAULT_POLICY.split_once("[rate]").unwrap();
    let p = HostPolicy::parse(old).unwrap();
    assert_eq!(
        (p.rate.per_domain, p.rate.total, p.rate.seconds),
        (24, 1000, 86_400)
    );
    assert!(p.rules.is_empty());
}

/// What a rule's condition takes and what it leaves, on the case of a trusted root that asks for
/// 10 GiB and 7 days.
#[test]
fn each_condition_of_a_rule_fits_what_it_says_and_nothing_else() {
    let key = root(1).public().to_openssh("");
    let stranger = root(7).public().to_openssh("");
    for (condition, fits) in [
        ("labels = [\"alice.*\"]".to_string(), true),
        ("labels = [\"bob\", \"alice\"]".into(), false),
        ("labels = []".into(), false),
        ("roots = \"known\"".into(), true),
        ("roots = \"unknown\"".into(), false),
        (format!("roots = \"{}\"", key.trim()), true),
        (format!("roots = \"{}\"", stranger.trim()), false),
        ("encrypted = true".into(), true),
        ("encrypted = false".into(), false),
        ("bytes_over = \"9 GiB\"".into(), true),
        ("bytes_over = \"10 GiB\"".into(), false),
        ("time_over = \"6 days\"".into(), true),
        ("time_over = \"7 days\"".into(), false),
        ("lapses_over = 1".into(), true),
        ("lapses_over = 2".into(), false),
        ("suspensions_over = 0".into(), true),
        ("suspensions_over = 1".into(), false),
        ("encrypted = true\nbytes_over = \"10 GiB\"".into(), false),
    ] {
        let mut c = Case::new();
        (c.conduct.lapses, c.conduct.suspensions) = (2, 1);
        let rule = format!("[[rule]]\nname = \"mine\"\noutcome = \"DEFERRED\"\n{condition}\n");
        c.policy = HostPolicy::parse(&with(&rule)).unwrap();
        let verdict = c.weigh();
        let outcome = if fits { Deferred } else { AcceptedLimited };
        assert_eq!(verdict.decision.outcome, outcome, "{condition}");
        let by = verdict.decided_by();
        assert_eq!(
            by.starts_with("rule \"mine\" (line "),
            fits,
            "{condition}: {by}"
        );
        if !fits {
            let mine = verdict
                .steps
                .iter()
                .find(|s| s.rule.contains("mine"))
                .unwrap();
            assert_eq!(mine.said, Said::PassedOver);
            assert!(!mine.why.is_empty());
            assert_eq!(by, "known_roots");
        }
    }
}

#[test]
fn the_first_rule_that_fits_decides_and_its_terms_are_the_leases() {
    let mut c = Case::new();
    c.policy = HostPolicy::parse(&with(
        "[[rule]]\nname = \"not\"\nlabels = [\"bob\"]\noutcome = \"REJECTED\"\n\
         [[rule]]\nname = \"small\"\noutcome = \"ACCEPTED_LIMITED\"\nmax_bytes = \"1 MiB\"\nmax_time = \"1 days\"\nsnapshots = 2\n\
         [[rule]]\nname = \"never\"\noutcome = \"ACCEPTED\"\n",
    ))
    .unwrap();
    let verdict = c.weigh();
    let lease = verdict.decision.lease.clone().unwrap();
    assert_eq!((lease.storage_bytes, lease.snapshots), (1 << 20, 2));
    assert_eq!(lease.expires_at.unix_ns, NOW + DAY);
    let of_rules: Vec<_> = verdict
        .steps
        .iter()
        .filter(|s| s.rule.starts_with("rule"))
        .map(|s| s.said)
        .collect();
    assert_eq!(of_rules, [Said::PassedOver, Said::Decided]);
    assert!(verdict.decision.reason.contains("rule small"));
}

#[test]
fn no_rule_lifts_a_bound() {
    let accept =
        with("[[rule]]\nname = \"all\"\noutcome = \"ACCEPTED_LIMITED\"\nmax_bytes = \"900 TiB\"\n");
    type Spoil = fn(&mut Case);
    let spoiled: [(Spoil, &str, &str); 5] = [
        (|c| c.policy.labels = vec!["bob".into()], "label", "labels"),
        (
            |c| c.promised = c.policy.total_bytes,
            "no room",
            "total_bytes",
        ),
        (
            |c| {
                c.trusted.clear();
                c.strangers = c.policy.strangers;
            },
            "takes no more",
            "strangers",
        ),
        (
            |c| c.state = DomainState::Revoked,
            "revoked",
            "the domain's state",
        ),
        (|c| c.request_sig = vec![0xa0], "", "the request"),
    ];
    for (spoil, why, by) in spoiled {
        let mut c = Case::new();
        c.policy = HostPolicy::parse(&accept).unwrap();
        assert_eq!(c.admit().outcome, AcceptedLimited);
        spoil(&mut c);
        let verdict = c.weigh();
        assert_eq!(verdict.decision.outcome, Rejected);
        assert!(
            verdict.decision.reason.contains(why),
            "{}",
            verdict.decision.reason
        );
        assert_eq!(verdict.decided_by(), by);
        assert_eq!(verdict.proven, by != "the request");
    }
    let mut c = Case::with_dam(&dam_of(&genesis(false)));
    c.policy = HostPolicy::parse(&accept).unwrap();
    assert_eq!(c.weigh().decided_by(), "encryption_only");
}

#[test]
fn what_the_keepers_hand_suspended_no_policy_admits_and_the_hand_does() {
    for policy in [
        DEFAULT_POLICY.to_string(),
        with("[[rule]]\nname = \"all\"\noutcome = \"ACCEPTED\"\n"),
    ] {
        let mut c = Case::new();
        c.policy = HostPolicy::parse(&policy).unwrap();
        (c.state, c.held) = (DomainState::Suspended, true);
        let verdict = c.weigh();
        assert_eq!(verdict.decision.outcome, Deferred);
        assert!(verdict.decision.reason.contains("decides later"));
        assert_eq!(verdict.decided_by(), "the domain's standing");
        c.ruling = Some(Accepted);
        assert_eq!(c.admit().outcome, Accepted);
    }
}

// What the keeper changes without being asked.

fn amended(amendment: Amendment, promised: u64) -> asl_core::Result<LeaseTerms> {
    let c = Case::new();
    let lease = c.admit().lease.unwrap();
    let decision = amend(
        &AmendInput {
            request: Digest::of(&c.request),
            host: &host().public(),
            now: c.now,
            policy: &c.policy,
            lease: Some(&lease),
            promised_bytes: promised,
        },
        amendment,
    )?;
    // What goes out is a document the other side can read, about the same lease.
    assert_eq!(Decision::decode(&decision.encode()).unwrap(), decision);
    let terms = decision.lease.unwrap();
    assert_eq!(terms.lease_id, lease.lease_id);
    Ok(terms)
}

#[test]
fn a_lease_is_granted_renewed_shrunk_and_ended_and_each_changes_its_own_term() {
    let bounds = LeaseBounds {
        bytes: 100 << 30,
        snapshots: 3,
        seconds: 86_400,
    };
    let terms = amended(Amendment::Grant(bounds), 0).unwrap();
    assert_eq!((terms.storage_bytes, terms.snapshots), (100 << 30, 3));
    assert_eq!(terms.expires_at.unix_ns, NOW + DAY);
    let terms = amended(
        Amendment::Renew {
            seconds: 60 * 86_400,
        },
        0,
    )
    .unwrap();
    assert_eq!(
        (terms.storage_bytes, terms.expires_at.unix_ns),
        (10 << 30, NOW + 60 * DAY)
    );
    let terms = amended(Amendment::Shrink { bytes: 5 }, u64::MAX).unwrap();
    assert_eq!(
        (terms.storage_bytes, terms.expires_at.unix_ns),
        (5, NOW + 7 * DAY)
    );
    let terms = amended(Amendment::End, u64::MAX).unwrap();
    assert_eq!(
        (terms.storage_bytes, terms.expires_at.unix_ns),
        (10 << 30, NOW - 1)
    );
}

#[test]
fn an_amendment_that_is_none_of_its_kind_or_has_no_room_is_refused() {
    let bounds = LeaseBounds {
        bytes: 1 << 30,
        snapshots: 1,
        seconds: 1,
    };
    let total = HostPolicy::parse(DEFAULT_POLICY).unwrap().total_bytes;
    for (amendment, promised, why) in [
        (
            Amendment::Grant(LeaseBounds { bytes: 0, ..bounds }),
            0,
            "a lease of nothing",
        ),
        (
            Amendment::Grant(LeaseBounds {
                seconds: 0,
                ..bounds
            }),
            0,
            "a lease of nothing",
        ),
        (
            Amendment::Grant(LeaseBounds {
                seconds: u64::MAX,
                ..bounds
            }),
            0,
            "too far off",
        ),
        (Amendment::Grant(bounds), total, "only 0 bytes are left"),
        (
            Amendment::Grant(bounds),
            total - (1 << 30) + 1,
            "bytes are left",
        ),
        (
            Amendment::Renew { seconds: 86_400 },
            0,
            "lasts longer already",
        ),
        (
            Amendment::Renew {
                seconds: 90 * 86_400,
            },
            total - 1,
            "only 1 bytes are left",
        ),
        (Amendment::Shrink { bytes: 10 << 30 }, 0, "not fewer bytes"),
        (Amendment::Shrink { bytes: 0 }, 0, "not fewer bytes"),
    ] {
        let e = amended(amendment, promised).unwrap_err();
        assert!(e.why().contains(why), "{amendment:?}: {e}");
    }
    let c = Case::new();
    let input = AmendInput {
        request: Digest::of(&c.request),
        host: &host().public(),
        now: c.now,
        policy: &c.policy,
        lease: None,
        promised_bytes: 0,
    };
    for amendment in [
        Amendment::End,
        Amendment::Renew { seconds: 9 },
        Amendment::Shrink { bytes: 9 },
    ] {
        assert!(amend(&input, amendment)
            .unwrap_err()
            .why()
            .contains("no lease here"));
    }
}
