//! The decision that needs the head of a chain.

use std::cmp::Ordering;
use std::sync::Arc;

use edgesentry_chain::{Hash, Head};

use super::{Admitted, CheckedValue, Outcome, Rejection, RejectionCode};

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
        let reject = |code, expected, actual| {
            Outcome::Rejected(Rejection { code, expected, actual, record: Arc::clone(record) })
        };
        let out_of_order =
            |code| reject(code, CheckedValue::Sequence(next), CheckedValue::Sequence(record.sequence));
        match (record.sequence.cmp(&next), held) {
            (Ordering::Greater, _) => out_of_order(RejectionCode::SequenceGap),
            (Ordering::Less, Some(hash)) if hash == admitted.hash() => Outcome::Duplicate,
            (Ordering::Less, Some(hash)) => reject(RejectionCode::Fork, hash.into(), admitted.hash().into()),
            (Ordering::Less, None) => out_of_order(RejectionCode::SequenceDuplicate),
            (Ordering::Equal, _) if record.prev_record_hash != self.head.hash => {
                let (expected, actual) = (self.head.hash.into(), record.prev_record_hash.into());
                reject(RejectionCode::PrevHashMismatch, expected, actual)
            }
            (Ordering::Equal, _) => Outcome::Accepted,
        }
    }
}
