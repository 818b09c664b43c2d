//! Requests that must not be granted.

use super::*;
use asl_core::{Digest, Timestamp};

pub fn requests() -> Vec<Vector> {
    vec![
        case("expired", "it has expired", || {
            let mut d = dam();
            d.not_after = Some(Timestamp::claimed(NOW));
            Case::with_dam(&d).rejected()
        }),
        case("not valid yet", "it is not valid yet", || {
            let mut d = dam();
            d.not_before = Some(Timestamp::claimed(NOW + 1));
            Case::with_dam(&d).rejected()
        }),
        case(
            "request under another DAM",
            "admission request: it names another DAM",
            || request_with(|r| r.dam = Digest::of(b"other")),
        ),
        case("wrong host", "it asks another host", || {
            request_with(|r| r.host = key(41).id())
        }),
        case("request for nothing", "it asks for nothing", || {
            request_with(|r| r.seconds = 0)
        }),
        case(
            "request signed by a root",
            "asl.admission-request/1: signed by unknown",
            || {
                let mut c = Case::new();
                c.request_sig =
                    cose::sign(AdmissionRequest::KIND, &c.request, &[&root(1)]).unwrap();
                c.rejected()
            },
        ),
        case(
            "request altered",
            "signature of asl.admission-request/1: key",
            || {
                let mut c = Case::new();
                c.request = set(&c.request, 3, u64::MAX);
                c.rejected()
            },
        ),
        case(
            "request too long for its code",
            "longer than 300 bytes",
            || {
                let c = Case::new();
                let long = set(&c.request, -1, "x".repeat(300));
                c.with_request(long).rejected()
            },
        ),
        case("label not taken", "takes no domain of this label", || {
            let mut c = Case::new();
            c.policy.labels = vec!["bob*".into()];
            c.rejected()
        }),
        case(
            "plain domain where only encrypted are taken",
            "only encrypted domains",
            || Case::with_dam(&dam_of(&genesis(false))).rejected(),
        ),
        case(
            "roots nobody trusts",
            "rejects it: none of its roots is trusted",
            || {
                let mut c = Case::new();
                c.trusted = vec![operator().public()];
                c.rejected()
            },
        ),
        case(
            "trusted roots, rejected by policy",
            "rejects it: its root is trusted",
            || {
                let mut c = Case::new();
                c.policy.known_roots = AdmissionResult::Rejected;
                c.rejected()
            },
        ),
        case("revoked", "the domain is revoked here", || {
            let mut c = Case::new();
            c.state = DomainState::Revoked;
            c.rejected()
        }),
        case(
            "outcome the domain does not accept",
            "which the domain does not accept",
            || {
                let mut d = dam();
                d.policy.outcomes = vec![AdmissionResult::Accepted];
                Case::with_dam(&d).rejected()
            },
        ),
        case(
            "one stranger too many",
            "domains without a trusted root and takes no more",
            || {
                let mut c = Case::new();
                c.trusted.clear();
                c.policy.unknown_roots = AdmissionResult::Deferred;
                c.strangers = c.policy.strangers;
                c.rejected()
            },
        ),
        case(
            "rejected by the keeper, whom policy would have let in",
            "the keeper of this host decided so",
            || {
                let mut c = Case::new();
                c.ruling = Some(AdmissionResult::Rejected);
                c.rejected()
            },
        ),
        case(
            "revoked, whatever the keeper decides for one request",
            "admit the domain: the domain is revoked",
            || {
                let mut c = Case::new();
                c.state = DomainState::Revoked;
                c.ruling = Some(AdmissionResult::Accepted);
                c.rejected()
            },
        ),
        case("no room", "no room left", || {
            let mut c = Case::new();
            c.promised = c.policy.total_bytes;
            c.rejected()
        }),
        case("a clock at the end of time", "clock is too far off", || {
            let mut c = Case::new();
            c.now = Timestamp::claimed(i64::MAX);
            c.rejected()
        }),
    ]
}
