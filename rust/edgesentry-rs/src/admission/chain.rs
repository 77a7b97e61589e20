//! The decision that needs the head of a chain.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use edgesentry_chain::{Hash, Head};

use super::{Admitted, Outcome, Rejection, RejectionCode};

/// A chain as a ledger sees it inside its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chain {
    /// The last link; sequence 0 and a zero hash before the first record.
    pub head: Head,
}

impl Chain {
    /// A chain without records.
    pub const EMPTY: Chain = Chain { head: Head { sequence: 0, hash: Hash::ZERO } };

    /// Decides whether `admitted` continues the chain, and if so, moves the head onto it.
    ///
    /// `held` is the hash of the record that the ledger holds at this sequence. The service reports the outcome after
    /// the commit.
    pub fn decide(&mut self, admitted: &Admitted, held: Option<Hash>) -> Outcome {
        let outcome = self.judge(admitted, held);
        if outcome == Outcome::Accepted {
            self.head = Head { sequence: admitted.record().sequence, hash: admitted.hash() };
        }
        outcome
    }

    /// Like [`Chain::decide`], without moving the head.
    pub fn judge(&self, admitted: &Admitted, held: Option<Hash>) -> Outcome {
        let record = admitted.record();
        let next = self.head.sequence + 1;
        let reject = |code, expected: &dyn fmt::Display, actual: &dyn fmt::Display| {
            let (expected, actual) = (expected.to_string(), actual.to_string());
            Outcome::Rejected(Rejection { code, expected, actual, record: Arc::clone(record) })
        };
        match (record.sequence.cmp(&next), held) {
            (Ordering::Greater, _) => reject(RejectionCode::SequenceGap, &next, &record.sequence),
            (Ordering::Less, Some(hash)) if hash == admitted.hash() => Outcome::Duplicate,
            (Ordering::Less, Some(hash)) => reject(RejectionCode::Fork, &hash, &admitted.hash()),
            (Ordering::Less, None) => reject(RejectionCode::SequenceDuplicate, &next, &record.sequence),
            (Ordering::Equal, _) if record.prev_record_hash != self.head.hash => {
                reject(RejectionCode::PrevHashMismatch, &self.head.hash, &record.prev_record_hash)
            }
            (Ordering::Equal, _) => Outcome::Accepted,
        }
    }
}
