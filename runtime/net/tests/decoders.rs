//! P8: nothing that comes over the wire breaks its reader.
#![allow(clippy::unwrap_used)] // a failed unwrap fails the test

use asl_net::{AdmissionEnvelope, DecisionEnvelope};
use asl_testkit::{torture_count, Counted, Decoder};

#[global_allocator]
static COUNTED: Counted = Counted;

#[test]
fn p8_spoiled_envelopes_are_refused_or_read() {
    let count = torture_count(2000);
    let admission = AdmissionEnvelope {
        dam: vec![1; 300],
        dam_sig: vec![2; 100],
        request: vec![3; 200],
        request_sig: vec![4; 100],
    };
    Decoder {
        name: "admission envelope",
        good: vec![admission.encode()],
        mend: |bytes| bytes,
        decode: &AdmissionEnvelope::decode,
        encode: None,
    }
    .try_spoiled(1, count);
    let decision = DecisionEnvelope {
        decision: vec![5; 300],
        sig: vec![6; 100],
    };
    Decoder {
        name: "decision envelope",
        good: vec![decision.encode()],
        mend: |bytes| bytes,
        decode: &DecisionEnvelope::decode,
        encode: None,
    }
    .try_spoiled(2, count);
}
