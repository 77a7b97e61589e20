//! Receipts: the outbox keeps an acknowledged record until it has verified a proof that the record is in the log.
//!
//! The device is a witness for itself: it keeps the last trusted checkpoint of each log, and refuses one that does not
//! extend it.

use std::time::Duration;

use edgesentry_chain::AuditRecord;
use edgesentry_log::{
    Checkpoint, ConsistencyProof, ConsistencyProofError, Leaf, Note, Policy, ProofError, ProofFileError,
    RunProof, verify_consistency,
};
use tracing::{error, warn};

use super::{Flushed, Outbox};
use crate::error::Error;
use crate::rejection::RejectionCode;
use crate::sink::{ReceiptSource, Sink};
use crate::wire::ProblemCode;

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::agent";
/// The maximum number of records in a request for receipts.
const RECEIPT_RECORDS: u32 = 1024;
/// The default of [`ReceiptRules::max_age`]: twice the default interval between checkpoints.
pub const DEFAULT_MAX_RECEIPT_AGE: Duration = Duration::from_secs(120);

/// The rules for receipts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceiptRules {
    /// The trusted keys of the log and of its witnesses. It comes from the owner of the device, not from the service.
    pub policy: Policy,
    /// How long an acknowledged record may lack its receipt, by the clock of the device, before the outbox reports it.
    pub max_age: Duration,
}

impl ReceiptRules {
    /// Returns the rules with the default age.
    pub fn new(policy: Policy) -> ReceiptRules {
        ReceiptRules { policy, max_age: DEFAULT_MAX_RECEIPT_AGE }
    }
}

/// The receipts of one flush.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Receipts {
    /// Records that left the outbox, because their receipts hold.
    pub verified: u64,
    /// Records that the service had acknowledged and then lost, and that were sent again.
    pub sent_again: u64,
    /// Records that still lack their receipts.
    pub pending: PendingReceipts,
}

/// Acknowledged records without a receipt.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct PendingReceipts {
    /// The number of records.
    pub records: u64,
    /// The time since the service first acknowledged the oldest of them, by the clock of the device.
    pub age: Duration,
    /// Whether the oldest one waits longer than [`ReceiptRules::max_age`]; false without rules.
    pub is_overdue: bool,
}

/// Two signed checkpoints of one log, of which one does not extend the other. Those of the same size contradict each
/// other by themselves; with others, the service had no proof that holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckpointConflict {
    /// The time at which the outbox saw it, Unix milliseconds by the clock of the device.
    pub at_ms: u64,
    /// The checkpoint that the outbox had kept, a signed note.
    pub kept: String,
    /// The checkpoint that the service showed later, a signed note.
    pub shown: String,
    /// Why the later one does not extend the earlier one.
    pub reason: String,
}

/// A verified receipt.
pub(super) struct Receipt {
    /// The sequence of its last record.
    pub(super) last: u64,
    records: u64,
    /// Its checkpoint, as signed.
    pub(super) note: Note,
    /// The content of the note.
    pub(super) checkpoint: Checkpoint,
}

/// The rules of an outbox, and the log of the service to which it sends.
pub(super) struct Collection<'a> {
    rules: &'a ReceiptRules,
    source: &'a dyn ReceiptSource,
}

impl Outbox {
    /// Keeps each record until its receipt holds under the rules, from now on: the file states it for every process that
    /// opens it. A process without rules can sign, and cannot flush.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn require_receipts(mut self, rules: ReceiptRules) -> Result<Outbox, Error> {
        self.set_required(true).await?;
        self.rules = Some(rules);
        Ok(self)
    }

    /// Keeps no record for its receipt any more: acknowledged records leave at the next flush, as duplicates.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn stop_receipts(mut self) -> Result<Outbox, Error> {
        self.set_required(false).await?;
        self.rules = None;
        Ok(self)
    }

    /// Returns the acknowledged records that lack their receipts.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn pending(&self) -> Result<PendingReceipts, Error> {
        let (records, age) = self.pending_age().await?;
        let is_overdue = records > 0 && self.rules.as_ref().is_some_and(|rules| age > rules.max_age);
        Ok(PendingReceipts { records, age, is_overdue })
    }

    /// Returns the rules and the source of receipts, if the outbox requires receipts.
    pub(super) async fn collection<'a>(
        &'a self,
        sink: &'a dyn Sink,
    ) -> Result<Option<Collection<'a>>, Error> {
        if !self.is_required().await? {
            return Ok(None);
        }
        let place = &self.database.place;
        let rules = self.rules.as_ref().ok_or_else(|| {
            Error::Config(format!(
                "{place}: the outbox keeps records until their receipts hold: open it with the policy for them, or stop \
                 requiring receipts"
            ))
        })?;
        let source = sink.receipts().ok_or_else(|| {
            Error::Config(format!(
                "{place}: the outbox requires receipts, which come over HTTP: flush it through a client of the service"
            ))
        })?;
        Ok(Some(Collection { rules, source }))
    }

    /// Sends waiting records, collects receipts, and sends records again that the service has lost.
    pub(super) async fn flush_and_collect(
        &self,
        sink: &dyn Sink,
        collection: &Collection<'_>,
    ) -> Result<Flushed, Error> {
        let (mut flushed, mut receipts) = (Flushed::default(), Receipts::default());
        let mut sent = self.send(sink, &mut flushed).await;
        let collected =
            if is_unreachable(&sent) { Ok(false) } else { self.collect(collection, &mut receipts).await };
        if matches!(collected, Ok(true)) || misses_earlier(&flushed) {
            receipts.sent_again = self.send_again().await?;
            if receipts.sent_again > 0 {
                let (device_id, records) = (self.device.device_id(), receipts.sent_again);
                warn!(target: TARGET, device_id, records, "the service has lost acknowledged records, which are sent again");
                flushed.rejection = None;
                sent = self.send(sink, &mut flushed).await;
            }
        }
        receipts.pending = self.report_pending().await?;
        collected?;
        sent?;
        Ok(Flushed { waiting: self.waiting().await?, receipts: Some(receipts), ..flushed })
    }

    async fn report_pending(&self) -> Result<PendingReceipts, Error> {
        self.correct_ages().await?;
        let pending = self.pending().await?;
        if pending.is_overdue {
            let (device_id, records) = (self.device.device_id(), pending.records);
            let age_ms = u64::try_from(pending.age.as_millis()).unwrap_or(u64::MAX);
            warn!(target: TARGET, device_id, records, age_ms, "acknowledged records wait too long for their receipts");
        }
        Ok(pending)
    }

    /// Collects receipts until no record is pending or the log has no more of them. Returns true if the ledger of the
    /// service lacks an acknowledged record.
    async fn collect(
        &self,
        Collection { rules, source }: &Collection<'_>,
        receipts: &mut Receipts,
    ) -> Result<bool, Error> {
        let device_id = self.device.device_id();
        let mut was_stale = false;
        loop {
            let own = self.pending_records(RECEIPT_RECORDS).await?;
            // Before the request: another flush may keep a later checkpoint while the answer is on its way.
            let kept = self.kept_notes().await?;
            let (Some(first), Some(last)) = (own.first(), own.last()) else { return Ok(false) };
            let (first, last) = (first.sequence, last.sequence);
            let bytes = match source.receipt(device_id, first, last).await {
                Err(Error::Service { code: ProblemCode::NotLogged | ProblemCode::NoCheckpoint, .. }) => {
                    return Ok(false);
                }
                Err(Error::Service { code: ProblemCode::RecordMissing, .. }) => return Ok(true),
                answer => answer?,
            };
            let receipt = verify(&bytes, &own, &rules.policy).map_err(|error| {
                self.unproven(error.code(), format!("sequences {first} to {last}: the receipt: {error}"))
            })?;
            let kept = kept.get(receipt.checkpoint.origin()).map(String::as_str);
            let Some(is_later) = self.compare(*source, kept, &receipt, was_stale).await? else {
                was_stale = true;
                continue;
            };
            was_stale = false;
            if self.take(&receipt, kept, is_later).await? {
                receipts.verified += receipt.records;
            }
        }
    }

    /// Compares the checkpoint of a receipt with the kept one. Returns true if it is later, and `None` if it is earlier
    /// and was not asked for once more.
    async fn compare(
        &self,
        source: &dyn ReceiptSource,
        kept_note: Option<&str>,
        receipt: &Receipt,
        was_stale: bool,
    ) -> Result<Option<bool>, Error> {
        let Some(kept_note) = kept_note else { return Ok(Some(true)) };
        let damaged = |problem: String| {
            Error::Outbox(format!("{}: the kept checkpoint is damaged: {problem}", self.database.place))
        };
        let note = Note::parse(kept_note.as_bytes()).map_err(|error| damaged(error.to_string()))?;
        let kept = Checkpoint::parse(note.text()).map_err(|error| damaged(error.to_string()))?;
        let shown = &receipt.checkpoint;
        let is_earlier = shown.size() < kept.size();
        if is_earlier && !was_stale {
            return Ok(None);
        }
        let (from, to) = if is_earlier { (shown, &kept) } else { (&kept, shown) };
        let path = if from.size() < to.size() {
            let bytes = match source.consistency(from.size(), to.size()).await {
                // The copy of the log that answers does not have the kept checkpoint. That proves nothing.
                Err(Error::Service { code: ProblemCode::NoCheckpoint, .. }) if is_earlier => {
                    let problem = format!(
                        "log {:?} has size {}, behind the checkpoint of size {} that this device kept",
                        kept.origin(),
                        shown.size(),
                        kept.size()
                    );
                    return Err(self.unproven("checkpoint_stale", problem));
                }
                answer => answer?,
            };
            let proof = ConsistencyProof::parse(&bytes).map_err(|error| {
                let error = ProofFileError::Consistency(error);
                self.unproven(error.code(), format!("the consistency proof: {error}"))
            })?;
            proof.path
        } else {
            Vec::new()
        };
        match verify_consistency(from.size(), from.root(), to.size(), to.root(), &path) {
            Ok(()) => Ok(Some(kept.size() < shown.size())),
            Err(problem) => Err(self.conflict(kept_note, &kept, receipt, problem).await?),
        }
    }

    /// Keeps both checkpoints, and returns the error.
    async fn conflict(
        &self,
        kept_note: &str,
        kept: &Checkpoint,
        receipt: &Receipt,
        problem: ProofError,
    ) -> Result<Error, Error> {
        self.keep_conflict(kept_note, &receipt.note.to_string(), &problem.to_string()).await?;
        let code = ProofFileError::Consistency(ConsistencyProofError::Path(problem)).code();
        let problem = format!(
            "log {:?} at size {} is of another history than the checkpoint of size {} that this device kept: {problem}; the \
             outbox has both as evidence",
            kept.origin(),
            receipt.checkpoint.size(),
            kept.size()
        );
        Ok(self.unproven(code, problem))
    }

    fn unproven(&self, code: &'static str, problem: String) -> Error {
        let device_id = self.device.device_id();
        let problem = format!("device {device_id:?}: {problem}");
        error!(target: TARGET, device_id, code, error = problem, "a receipt of the transparency log does not hold");
        Error::Receipt { place: self.database.place.clone(), code, problem }
    }
}

/// Returns true if no response came.
fn is_unreachable(sent: &Result<(), Error>) -> bool {
    matches!(sent, Err(Error::Service { code: ProblemCode::Unreachable, .. }))
}

/// Returns true if the service rejected a record because it lacks an earlier one.
fn misses_earlier(flushed: &Flushed) -> bool {
    let code = flushed.rejection.as_ref().map(|rejection| rejection.code.as_str());
    code == Some(RejectionCode::SequenceGap.name())
}

/// Verifies that a receipt proves the first of these records, or all of them, byte for byte.
fn verify(bytes: &[u8], own: &[AuditRecord], policy: &Policy) -> Result<Receipt, ProofFileError> {
    let proof = RunProof::parse(bytes)?;
    let proven = proof.verify(policy)?;
    let mut last = None;
    for (at, leaf) in proof.leaves.iter().enumerate() {
        let record = own.get(at).filter(|record| Leaf::Record((*record).clone()).to_bytes() == leaf.leaf);
        let Some(record) = record else {
            return Err(ProofFileError::Other {
                expected: own.get(at).map_or("no further record".to_owned(), |record| {
                    format!("the record of this outbox with sequence {}", record.sequence)
                }),
                proven: format!("another record as leaf {}", leaf.index),
            });
        };
        last = Some(record.sequence);
    }
    let last = last.ok_or(ProofFileError::Header)?;
    let checkpoint = proven.checkpoint.checkpoint().clone();
    Ok(Receipt { last, records: proof.leaves.len() as u64, note: proof.checkpoint, checkpoint })
}
