//! Proof files of all kinds: a file that is read is written as the same text, and a file that holds proves a true statement
//! about the one log whose key the policy has.

#![no_main]

use std::sync::LazyLock;

use edgesentry_fuzz::{ProvenLog, bounded, plant};
use edgesentry_log::{Expected, ProofFile, Statement};
use libfuzzer_sys::fuzz_target;

static LOG: LazyLock<ProvenLog> = LazyLock::new(ProvenLog::default);

fuzz_target!(init: plant(LOG.proofs()), |input: &[u8]| bounded(|| judge(input)));

fn judge(input: &[u8]) {
    let Ok(proof) = ProofFile::parse(input) else { return };
    let written = match &proof {
        ProofFile::Leaf(proof) => proof.to_string(),
        ProofFile::Run(proof) => proof.to_string(),
        ProofFile::Heads(proof) => proof.to_string(),
        ProofFile::Consistency(proof) => proof.to_string(),
        _ => return,
    };
    assert_eq!(written.as_bytes(), input);
    let previous = matches!(proof, ProofFile::Consistency(_)).then_some(&LOG.older);
    let Ok(proven) = proof.verify(&LOG.policy, &Expected { previous, ..Expected::default() }) else { return };
    let is_logged = |index: u64, leaf: &[u8]| {
        let at = usize::try_from(index).expect("a small log");
        LOG.leaves.get(at).is_some_and(|own| own.to_bytes() == leaf)
    };
    let record = |index: u64, record: &edgesentry_chain::AuditRecord| {
        is_logged(index, &edgesentry_log::Leaf::Record(record.clone()).to_bytes())
    };
    match &proven.statement {
        Statement::Record { index, record: proven } => assert!(record(*index, proven)),
        Statement::Run { indexes, records } => {
            assert!(!records.is_empty() && records.len() == indexes.len());
            assert!(indexes.iter().zip(records).all(|(index, proven)| record(*index, proven)));
        }
        Statement::Leaf { index, leaf } => assert!(is_logged(*index, leaf)),
        Statement::Head(entry) => assert!(LOG.entries.contains(entry)),
        Statement::Absent(device_id) => {
            assert!(LOG.entries.iter().all(|entry| entry.device_id != *device_id))
        }
        Statement::Extends(older) => assert_eq!(older.to_string(), LOG.older.text()),
    }
}
