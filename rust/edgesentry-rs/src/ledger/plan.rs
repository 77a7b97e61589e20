//! What a group does to a ledger: one decision for every store.

use std::collections::HashMap;
use std::sync::Arc;

use edgesentry_chain::{Hash, Head};

use super::Entry;
use crate::ingest::verify::{Chain, LONGEST_TEXT, Outcome, RejectionCode};
use crate::payload::Stored;

/// A device as it stands while its head is locked.
pub(super) struct Locked {
    pub(super) chain: Chain,
    pub(super) keys_version: i64,
}

impl Locked {
    /// From the columns of a row.
    pub(super) fn new(sequence: i64, record_hash: &[u8], keys_version: i64) -> Locked {
        let head = Head { sequence: sequence.cast_unsigned(), hash: hash(record_hash) };
        Locked { chain: Chain { head }, keys_version }
    }
}

/// A hash column; its length is checked by the table.
pub(super) fn hash(bytes: &[u8]) -> Hash {
    Hash(bytes.try_into().unwrap_or_default())
}

/// Locked devices.
pub(super) type Chains = HashMap<Arc<str>, Locked>;
/// Hashes of the records that the ledger holds, by device and sequence.
pub(super) type Held = HashMap<(Arc<str>, u64), Hash>;

/// Everything to write, and the answers.
pub(super) struct Plan<'a> {
    pub(super) accepted: Vec<&'a Stored>,
    pub(super) log: Vec<LogRow>,
    pub(super) heads: Vec<(Arc<str>, Head)>,
    pub(super) outcomes: Vec<Outcome>,
}

/// A row of the operation log.
pub(super) struct LogRow {
    pub(super) device_id: String,
    pub(super) sequence: Option<i64>,
    pub(super) outcome: &'static str,
    pub(super) reason: Option<&'static str>,
    pub(super) record_hash: Hash,
    pub(super) expected: Option<String>,
    pub(super) actual: Option<String>,
    pub(super) evidence: Option<Vec<u8>>,
}

/// The devices whose heads must be locked, in the one order in which everybody locks them.
pub(super) fn devices(entries: &[Entry]) -> Vec<String> {
    let mut devices: Vec<&str> =
        records(entries).map(|stored| stored.admitted().record().device_id.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    devices.into_iter().map(str::to_owned).collect()
}

/// The device and sequence of each record that lies at or behind its head: the ledger's record there must be known.
pub(super) fn behind_heads<'a>(entries: &'a [Entry], chains: &Chains) -> Vec<(&'a str, u64)> {
    records(entries)
        .map(|stored| stored.admitted().record())
        .filter(|record| {
            chains
                .get(record.device_id.as_str())
                .is_some_and(|locked| record.sequence <= locked.chain.head.sequence)
        })
        .map(|record| (record.device_id.as_str(), record.sequence))
        .collect()
}

/// Whether every record was admitted under the keys that its device has now.
pub(super) fn keys_are_current(entries: &[Entry], chains: &Chains) -> bool {
    records(entries).map(Stored::admitted).all(|admitted| {
        let locked = chains.get(admitted.record().device_id.as_str());
        locked.is_some_and(|locked| locked.keys_version == admitted.keys_version())
    })
}

/// Decides every record, in order.
pub(super) fn plan<'a>(entries: &'a [Entry], mut chains: Chains, mut held: Held) -> Plan<'a> {
    let mut plan = Plan { accepted: Vec::new(), log: Vec::new(), heads: Vec::new(), outcomes: Vec::new() };
    let mut moved: HashMap<Arc<str>, Head> = HashMap::new();
    for entry in entries {
        let (outcome, hash) = match entry {
            Entry::Rejected(rejection) => (Outcome::Rejected(rejection.clone()), rejection.record.hash()),
            Entry::Record(stored) => {
                let admitted = stored.admitted();
                let record = admitted.record();
                let device_id: Arc<str> = record.device_id.as_str().into();
                let key = (Arc::clone(&device_id), record.sequence);
                let hash = admitted.hash();
                let outcome = match (chains.get_mut(&device_id), stored.conflict()) {
                    (Some(Locked { chain, .. }), None) => {
                        let outcome = chain.decide(admitted, held.get(&key).copied());
                        if outcome == Outcome::Accepted {
                            plan.accepted.push(stored);
                            held.insert(key, hash);
                            moved.insert(device_id, chain.head);
                        }
                        outcome
                    }
                    (Some(Locked { chain, .. }), Some(there)) => {
                        chain.decide_conflict(admitted, held.get(&key).copied(), there)
                    }
                    // keys_are_current has seen every device.
                    (None, _) => unreachable!("a record of a device that is not locked"),
                };
                (outcome, hash)
            }
        };
        plan.log.push(log_row(entry, &outcome, hash));
        plan.outcomes.push(outcome);
    }
    plan.heads = moved.into_iter().collect();
    plan
}

fn records(entries: &[Entry]) -> impl Iterator<Item = &Stored> {
    entries.iter().filter_map(|entry| match entry {
        Entry::Record(stored) => Some(stored),
        Entry::Rejected(_) => None,
    })
}

fn log_row(entry: &Entry, outcome: &Outcome, record_hash: Hash) -> LogRow {
    let record = match entry {
        Entry::Record(stored) => stored.admitted().record(),
        Entry::Rejected(rejection) => &rejection.record,
    };
    let rejection = outcome.rejection();
    // What is out of range is not kept whole: it may be of any size.
    let keep =
        |code| code != RejectionCode::OutOfRange || record.object_ref.len() + record.device_id.len() < 4096;
    LogRow {
        device_id: storable(&record.device_id),
        sequence: i64::try_from(record.sequence).ok(),
        outcome: outcome.name(),
        reason: rejection.map(|rejection| rejection.code.name()),
        record_hash,
        expected: rejection.map(|rejection| storable(&rejection.expected)),
        actual: rejection.map(|rejection| storable(&rejection.actual)),
        evidence: rejection.filter(|rejection| keep(rejection.code)).map(|_| record.canonical_bytes()),
    }
}

/// Text as every database takes it: no U+0000, at most [`LONGEST_TEXT`] bytes.
fn storable(text: &str) -> String {
    let end = text
        .char_indices()
        .map(|(at, char)| at + char.len_utf8())
        .take_while(|end| *end <= LONGEST_TEXT)
        .last();
    text[..end.unwrap_or(0)].replace('\0', "\u{fffd}").chars().take(LONGEST_TEXT).collect()
}
