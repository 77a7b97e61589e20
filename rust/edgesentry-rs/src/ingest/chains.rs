//! The service's view of the chains: the head of the ledger and the records in progress.
//!
//! It decides one thing only: whether to write a payload before asking the ledger. A record that seems to continue its
//! chain has its payload written; any other goes to the ledger without one, and the ledger decides it under the lock on
//! its head. So a stale view costs time but never rejects a record, and a record that does not continue its chain
//! leaves no payload behind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgesentry_chain::{AuditRecord, Hash, Head, SUCCESSION_PREFIX};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::admission::Admitted;

/// The view of all chains.
#[derive(Default)]
pub(super) struct Chains {
    chains: Mutex<HashMap<Arc<str>, Chain>>,
    /// The number of successions in progress, in all chains.
    successions: AtomicUsize,
    /// Notified when claims end.
    ended: Notify,
}

/// The view of one chain.
#[derive(Default)]
struct Chain {
    /// The last known head in the ledger; it may be stale.
    head: Option<Head>,
    /// Records in progress, by sequence: their payloads are written or being written, and they are not committed yet.
    claims: BTreeMap<u64, Hash>,
    /// Those that state a new key for the records behind them.
    successions: BTreeSet<u64>,
}

impl Chain {
    fn continues(&self, record: &AuditRecord) -> bool {
        let Some(before) = record.sequence.checked_sub(1) else { return false };
        let is_before = |hash: Hash| hash == record.prev_record_hash;
        !self.claims.contains_key(&record.sequence)
            && (self.claims.get(&before).copied().is_some_and(is_before)
                || self.head.is_some_and(|head| head.sequence == before && is_before(head.hash)))
    }

    fn note_succession(&mut self, record: &AuditRecord, total: &AtomicUsize) {
        if record.object_ref.starts_with(SUCCESSION_PREFIX) && self.successions.insert(record.sequence) {
            total.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Claims on the places of records in progress, until dropped.
pub(super) struct Claims {
    chains: Arc<Chains>,
    records: Vec<Arc<AuditRecord>>,
}

impl Chains {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Chain>> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a head of the ledger; a head only moves forward.
    pub(super) fn learn(&self, device_id: &Arc<str>, head: Head) {
        let mut chains = self.lock();
        let chain = match chains.get_mut(device_id) {
            Some(chain) => chain,
            None => chains.entry(Arc::clone(device_id)).or_default(),
        };
        if chain.head.is_none_or(|known| known.sequence < head.sequence) {
            chain.head = Some(head);
        }
    }

    /// Drops the view of a head: the ledger has decided otherwise.
    pub(super) fn forget(&self, device_id: &str) {
        if let Some(chain) = self.lock().get_mut(device_id) {
            chain.head = None;
        }
    }

    /// Waits until no record is in progress at the places of these; returns false after the deadline.
    pub(super) async fn free(&self, records: &[&AuditRecord], deadline: Instant) -> bool {
        self.end(deadline, || records.iter().any(|record| self.is_taken(record))).await
    }

    /// Waits until no succession is in progress before one of these records, whose key it changes, or until the deadline.
    pub(super) async fn succeeded(&self, records: &[Arc<AuditRecord>], deadline: Instant) {
        if self.successions.load(Ordering::SeqCst) > 0 {
            self.end(deadline, || self.is_succeeding(records)).await;
        }
    }

    /// Waits until claims end and `is_open` is false; returns false after the deadline.
    async fn end(&self, deadline: Instant, is_open: impl Fn() -> bool) -> bool {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // From here on no notification is missed.
            ended.as_mut().enable();
            if !is_open() {
                return true;
            }
            if timeout_at(deadline, ended).await.is_err() {
                return false;
            }
        }
    }

    fn is_taken(&self, record: &AuditRecord) -> bool {
        let chains = self.lock();
        let chain = chains.get(record.device_id.as_str());
        chain.is_some_and(|chain| chain.claims.contains_key(&record.sequence))
    }

    fn is_succeeding(&self, records: &[Arc<AuditRecord>]) -> bool {
        let chains = self.lock();
        let is_before = |record: &Arc<AuditRecord>| {
            let chain = chains.get(record.device_id.as_str())?;
            Some(*chain.successions.first()? < record.sequence)
        };
        records.iter().filter_map(is_before).any(|is_before| is_before)
    }

    /// Returns the devices whose head must be read again before the places of these records are known.
    pub(super) fn unknown<'a>(&self, records: impl Iterator<Item = &'a AuditRecord>) -> Vec<Arc<str>> {
        let chains = self.lock();
        let mut unknown: Vec<Arc<str>> = Vec::new();
        for record in records {
            let head = chains.get(record.device_id.as_str()).and_then(|chain| chain.head);
            // At or behind a known head: reading it again yields nothing new.
            if head.is_none_or(|head| head.sequence < record.sequence) {
                unknown.push(record.device_id.as_str().into());
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }
}

impl Claims {
    pub(super) fn new(chains: &Arc<Chains>) -> Claims {
        Claims { chains: Arc::clone(chains), records: Vec::new() }
    }

    /// Claims, in order, the places of the records that continue their chains; returns for each whether it does.
    pub(super) fn add<'a>(&mut self, admitted: impl Iterator<Item = &'a Admitted>) -> Vec<bool> {
        let mut chains = self.chains.lock();
        let add = |admitted: &Admitted| {
            let record = admitted.record();
            // If the chain is unknown, no record is known to continue it.
            let Some(chain) = chains.get_mut(record.device_id.as_str()) else { return false };
            if !chain.continues(record) {
                return false;
            }
            chain.claims.insert(record.sequence, admitted.hash());
            chain.note_succession(record, &self.chains.successions);
            self.records.push(Arc::clone(record));
            true
        };
        admitted.map(add).collect()
    }

    /// Claims the places of all of these records, without checking their chains, if no other call has one of them.
    pub(super) fn add_all<'a>(&mut self, admitted: impl Iterator<Item = &'a Admitted> + Clone) -> bool {
        let mut chains = self.chains.lock();
        let taken = |admitted: &Admitted| {
            let record = admitted.record();
            let chain = chains.get(record.device_id.as_str());
            chain.is_some_and(|chain| chain.claims.contains_key(&record.sequence))
        };
        if admitted.clone().any(taken) {
            return false;
        }
        for admitted in admitted {
            let record = admitted.record();
            let chain = chains.entry(record.device_id.as_str().into()).or_default();
            // Of two at one place in this call the ledger accepts the first.
            if chain.claims.insert(record.sequence, admitted.hash()).is_none() {
                chain.note_succession(record, &self.chains.successions);
                self.records.push(Arc::clone(record));
            }
        }
        true
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        if self.records.is_empty() {
            return;
        }
        {
            let mut chains = self.chains.lock();
            for record in &self.records {
                if let Some(chain) = chains.get_mut(record.device_id.as_str()) {
                    chain.claims.remove(&record.sequence);
                    if chain.successions.remove(&record.sequence) {
                        self.chains.successions.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            }
        }
        self.chains.ended.notify_waiters();
    }
}
