//! Proofs that a service makes. The service is not trusted: a response must be a proof of the statement that was asked for.

use edgesentry_log::{
    Checkpoint, ConsistencyProof, Leaf, LogProof, ProofFile, RunProof, StatementKind, verify_consistency,
};
use edgesentry_rs::log::ProveError;

use super::{Proof, Statement, failure, kind_of_heads};
use crate::commands::Sequences;
use crate::exit::Failure;
use crate::remote::Service;

/// Fetches the proof of a statement.
pub(super) fn prove(
    statement: &Statement,
    service: &Service,
    older: Option<&Checkpoint>,
) -> Result<Proof, Failure> {
    let number = |number: u64| Some(number.to_string());
    let (path, mut query) = match statement {
        Statement::Record { device, sequence: Sequences { first, last }, .. } => {
            let last = ("to_sequence", last.and_then(number));
            (
                "api/v1/log/proof",
                vec![("device_id", Some(device.clone())), ("sequence", number(*first)), last],
            )
        }
        Statement::Head { device, .. } => {
            ("api/v1/log/heads-proof", vec![("device_id", Some(device.clone()))])
        }
        Statement::Consistency { .. } => {
            ("api/v1/log/consistency", vec![("from", older.and_then(|older| number(older.size())))])
        }
    };
    query.push(("size", statement.running().size.and_then(number)));
    let text = service.text(path, &query)?;
    let strange = |problem: &str| {
        let message = format!(
            "{}: the response to {path} is not the proof that was asked for: {problem}",
            service.place()
        );
        Failure::unfinished("service", message)
    };
    let proof = ProofFile::parse(text.as_bytes()).map_err(|error| strange(&error.to_string()))?;
    let checkpoint =
        Checkpoint::parse(proof.checkpoint().text()).map_err(|error| strange(&error.to_string()))?;
    if statement.running().size.is_some_and(|size| size != checkpoint.size()) {
        return Err(strange("its checkpoint has another size"));
    }
    let kind = match (statement, &proof) {
        (Statement::Record { device, sequence, .. }, ProofFile::Leaf(proof)) if sequence.last.is_none() => {
            is_of_record(proof, device, sequence.first).then_some(StatementKind::Record)
        }
        (
            Statement::Record { device, sequence: Sequences { first, last: Some(last) }, .. },
            ProofFile::Run(proof),
        ) => is_of_run(proof, device, *first, *last).then_some(StatementKind::Run),
        (Statement::Head { device, .. }, ProofFile::Heads(proof)) => {
            (proof.device_id() == device).then(|| kind_of_heads(proof))
        }
        (Statement::Consistency { .. }, ProofFile::Consistency(proof)) => {
            extends(proof, older, &checkpoint)?;
            Some(StatementKind::Consistency)
        }
        _ => None,
    };
    let kind = kind.ok_or_else(|| strange("it is of another statement"))?;
    Ok(Proof { kind, text: proof.to_string(), checkpoint })
}

fn is_of_record(proof: &LogProof, device: &str, sequence: u64) -> bool {
    proof.extra.as_deref().is_some_and(|leaf| is_leaf_of(leaf, device, sequence))
}

fn is_of_run(proof: &RunProof, device: &str, first: u64, last: u64) -> bool {
    let ends = proof.leaves.first().zip(proof.leaves.last());
    ends.is_some_and(|(one, other)| {
        is_leaf_of(&one.leaf, device, first) && is_leaf_of(&other.leaf, device, last)
    })
}

fn is_leaf_of(leaf: &[u8], device: &str, sequence: u64) -> bool {
    matches!(Leaf::parse(leaf), Ok(Leaf::Record(record)) if record.device_id == device && record.sequence == sequence)
}

/// Checks the hashes of a proof that the log only grew.
fn extends(proof: &ConsistencyProof, older: Option<&Checkpoint>, newer: &Checkpoint) -> Result<(), Failure> {
    let Some(older) = older else { return Ok(()) };
    if older.origin() != newer.origin() {
        let (older, log) = (older.origin().to_owned(), newer.origin().to_owned());
        return Err(failure(&ProveError::OtherLog { older, log }));
    }
    verify_consistency(older.size(), older.root(), newer.size(), newer.root(), &proof.path)
        .map_err(|_| failure(&ProveError::Diverged { older: older.size() }))
}
