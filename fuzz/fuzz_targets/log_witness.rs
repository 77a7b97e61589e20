//! Requests to a witness: a request that is read is written as the same text, and a witness cosigns one history only.

#![no_main]

use std::sync::LazyLock;

use edgesentry_fuzz::{WitnessedLog, bounded, plant};
use edgesentry_log::{AddCheckpoint, Checkpoint, decide_witness, read_cosignature, read_witness_size};
use libfuzzer_sys::fuzz_target;

static LOG: LazyLock<WitnessedLog> = LazyLock::new(WitnessedLog::default);

fuzz_target!(init: plant(LOG.requests()), |input: &[u8]| bounded(|| judge(input)));

fn judge(input: &[u8]) {
    let _ = read_witness_size(input);
    let last = Checkpoint::new(LOG.origin(), 3, LOG.root(3)).expect("a small log");
    let _ = read_cosignature(input, &last.to_string(), &LOG.witness);
    let Ok(request) = AddCheckpoint::parse(input) else { return };
    assert_eq!(request.to_string().as_bytes(), input);
    let Ok(note) = LOG.logs.check(&request) else { return };
    assert_eq!(note.text(), request.note().text());
    // The log has signed one history, and one other checkpoint of size 5.
    for last in [None, Some(&last)] {
        let decision = decide_witness(&request, last);
        if let Ok(checkpoint) = decision.outcome {
            assert!(decision.evidence.is_none());
            assert_eq!(checkpoint.to_string(), request.note().text());
            assert!(last.is_none() || checkpoint.root() == LOG.root(checkpoint.size()));
        }
    }
}
