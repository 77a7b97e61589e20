//! The effect of a group on a ledger: one decision for every store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use edgesentry_chain::{Hash, Head, RingKey};

use super::{Decision, Entry};
use crate::admission::{
    Admitted, Chain, MAX_ID_BYTES, Outcome, OutcomeKind, Refusal, Rejection, RejectionCode, refusal,
};
use crate::payload::Stored;

/// Limits on the stored evidence of a record that was rejected before its signature was verified: of each text, and of
/// the record. A record of usual size is stored whole.
const MAX_UNSIGNED_TEXT_BYTES: usize = 160;
const MAX_UNSIGNED_EVIDENCE_BYTES: usize = 512;

/// A device while its head is locked.
#[derive(Clone, Copy)]
pub(super) struct Locked {
    pub(super) chain: Chain,
    pub(super) keys_version: i64,
}

/// Locked devices.
pub(super) type Chains = HashMap<Arc<str>, Locked>;
/// Hashes of the records that the ledger holds, by device and sequence.
pub(super) type Held = HashMap<(Arc<str>, u64), Hash>;

/// All rows to write, and the decisions.
pub(super) struct Plan<'a> {
    pub(super) accepted: Vec<&'a Stored>,
    pub(super) log: Vec<LogRow>,
    /// The new heads, by device.
    pub(super) heads: Vec<(Arc<str>, Head)>,
    /// New keys that devices have stated.
    pub(super) keys: BTreeMap<Arc<str>, RingKey>,
    pub(super) decisions: Vec<Decision>,
}

/// A row of the operation log.
pub(super) struct LogRow {
    pub(super) device_id: String,
    pub(super) sequence: Option<i64>,
    pub(super) outcome: OutcomeKind,
    pub(super) reason: Option<&'static str>,
    pub(super) record_hash: Hash,
    pub(super) expected: Option<String>,
    pub(super) actual: Option<String>,
    pub(super) evidence: Option<Vec<u8>>,
}

/// A group whose records all continue their chains if the heads are those that the records state.
pub(super) struct Continuation<'a> {
    /// The heads and the versions of keys that it expects, by device.
    pub(super) expected: BTreeMap<Arc<str>, Locked>,
    /// The rows to write and the decisions, if they are as expected.
    pub(super) plan: Plan<'a>,
}

/// Decides a group under the heads that its records state; returns `None` unless this accepts every record that passed
/// admission, and needs nothing else of the ledger.
pub(super) fn continuation(entries: &[Entry]) -> Option<Continuation<'_>> {
    let is_doubtful = |entry: &Entry| matches!(entry, Entry::Doubtful(_));
    if entries.iter().any(is_doubtful) || !new_keys(entries).is_empty() {
        return None;
    }
    let mut expected = BTreeMap::new();
    for admitted in admitted(entries) {
        let record = admitted.record();
        if !expected.contains_key(record.device_id.as_str()) {
            let head = Head { sequence: record.sequence.checked_sub(1)?, hash: record.prev_record_hash };
            let locked = Locked { chain: Chain { head }, keys_version: admitted.keys_version() };
            expected.insert(Arc::from(record.device_id.as_str()), locked);
        }
    }
    let chains: Chains =
        expected.iter().map(|(device_id, locked)| (Arc::clone(device_id), *locked)).collect();
    if !keys_are_current(entries, &chains) {
        return None;
    }
    let plan = plan(entries, chains, Held::new(), HashSet::new());
    (plan.accepted.len() == admitted(entries).count()).then_some(Continuation { expected, plan })
}

/// Returns the devices whose heads must be locked, in the order in which every appender locks them.
pub(super) fn devices(entries: &[Entry]) -> Vec<String> {
    let mut devices: Vec<&str> =
        admitted(entries).map(|admitted| admitted.record().device_id.as_str()).collect();
    devices.sort_unstable();
    devices.dedup();
    devices.into_iter().map(str::to_owned).collect()
}

/// Returns the device and sequence of each record at or behind its head: the ledger's record there must be known.
pub(super) fn behind_heads<'a>(entries: &'a [Entry], chains: &Chains) -> Vec<(&'a str, u64)> {
    admitted(entries)
        .map(Admitted::record)
        .filter(|record| {
            chains
                .get(record.device_id.as_str())
                .is_some_and(|locked| record.sequence <= locked.chain.head.sequence)
        })
        .map(|record| (record.device_id.as_str(), record.sequence))
        .collect()
}

/// Returns true if every record was admitted under the current keys of its device.
pub(super) fn keys_are_current(entries: &[Entry], chains: &Chains) -> bool {
    admitted(entries).all(|admitted| {
        let locked = chains.get(admitted.record().device_id.as_str());
        locked.is_some_and(|locked| locked.keys_version == admitted.keys_version())
    })
}

/// Returns the new keys that the records state.
pub(super) fn new_keys(entries: &[Entry]) -> Vec<RingKey> {
    admitted(entries).filter_map(|admitted| admitted.succeeding()?.as_ref().ok().copied()).collect()
}

/// Decides every record, in order. `taken` are those of the new keys that a device already has.
pub(super) fn plan<'a>(
    entries: &'a [Entry],
    mut chains: Chains,
    mut held: Held,
    mut taken: HashSet<[u8; 32]>,
) -> Plan<'a> {
    let mut plan = Plan {
        accepted: Vec::new(),
        log: Vec::new(),
        heads: Vec::new(),
        keys: BTreeMap::new(),
        decisions: Vec::new(),
    };
    let mut moved: BTreeMap<Arc<str>, Head> = BTreeMap::new();
    // Devices with a record that waits for its payload: records behind it are not decided before it.
    let mut waiting: HashSet<&str> = HashSet::new();
    for entry in entries {
        let outcome = match entry {
            Entry::Rejected(rejection) => Outcome::Rejected(rejection.clone()),
            Entry::Record(stored) => {
                let admitted = stored.admitted();
                let (chain, key) = chain_of(&mut chains, admitted);
                let mut outcome = chain.judge(admitted, held.get(&key).copied());
                if outcome == Outcome::Accepted
                    && let Err((code, expected, actual)) =
                        succeed(&mut plan.keys, &mut taken, &key.0, admitted)
                {
                    let record = Arc::clone(admitted.record());
                    outcome = Outcome::Rejected(Rejection { code, expected, actual, record });
                }
                if outcome == Outcome::Accepted {
                    chain.decide(admitted, None);
                    plan.accepted.push(stored);
                    moved.insert(Arc::clone(&key.0), chain.head);
                    held.insert(key, admitted.hash());
                }
                outcome
            }
            Entry::Doubtful(admitted) => {
                let (chain, key) = chain_of(&mut chains, admitted);
                let outcome = chain.judge(admitted, held.get(&key).copied());
                if outcome == Outcome::Accepted {
                    waiting.insert(&admitted.record().device_id);
                    plan.decisions.push(Decision::PayloadWanted);
                    continue;
                }
                outcome
            }
        };
        // It may have its payload already, if another call processed the records before it, and then failed.
        if let Outcome::Rejected(rejection) = &outcome
            && [RejectionCode::SequenceGap, RejectionCode::PrevHashMismatch].contains(&rejection.code)
            && entry.admitted().is_some_and(|admitted| waiting.contains(&*admitted.record().device_id))
        {
            plan.decisions.push(Decision::PayloadWanted);
            continue;
        }
        plan.log.push(log_row(entry, &outcome));
        plan.decisions.push(Decision::Decided(outcome));
    }
    plan.heads = moved.into_iter().collect();
    plan
}

/// Takes the new key that a record states, if it states one. A record behind a succession of this group was admitted
/// under the old key, which is not valid there any more.
fn succeed(
    keys: &mut BTreeMap<Arc<str>, RingKey>,
    taken: &mut HashSet<[u8; 32]>,
    device_id: &Arc<str>,
    admitted: &Admitted,
) -> Result<(), Refusal> {
    let sequence = admitted.record().sequence;
    if let Some(new) = keys.get(device_id) {
        let expected = format!("a signature by key {}, valid from sequence {} on", new.key, new.valid_from);
        let actual = format!("one by the key before it, at sequence {sequence}");
        return Err((RejectionCode::KeyNotValidAtSequence, expected.into(), actual.into()));
    }
    let Some(succeeding) = admitted.succeeding() else { return Ok(()) };
    let new = succeeding.clone()?;
    if !taken.insert(*new.key.as_bytes()) {
        let actual = format!("a succession to key {}", new.key);
        return Err(refusal("a key that no device has had", actual));
    }
    keys.insert(Arc::clone(device_id), new);
    Ok(())
}

/// Returns the locked chain of a record, and the record's place in it.
fn chain_of<'a>(chains: &'a mut Chains, admitted: &Admitted) -> (&'a mut Chain, (Arc<str>, u64)) {
    let record = admitted.record();
    let key = (Arc::from(record.device_id.as_str()), record.sequence);
    match chains.get_mut(&key.0) {
        Some(locked) => (&mut locked.chain, key),
        // keys_are_current has checked every device.
        None => unreachable!("a record of a device that is not locked"),
    }
}

fn admitted(entries: &[Entry]) -> impl Iterator<Item = &Admitted> {
    entries.iter().filter_map(Entry::admitted)
}

fn log_row(entry: &Entry, outcome: &Outcome) -> LogRow {
    let (record, record_hash) = match entry {
        Entry::Record(stored) => (stored.admitted().record(), stored.admitted().hash()),
        Entry::Doubtful(admitted) => (admitted.record(), admitted.hash()),
        Entry::Rejected(rejection) => (&rejection.record, rejection.record.hash()),
    };
    let rejection = outcome.rejection();
    // Anyone can send an unsigned record: store little of it.
    let (text_bytes, evidence_bytes) = match rejection {
        Some(rejection) if !rejection.code.is_signed() => {
            (MAX_UNSIGNED_TEXT_BYTES, MAX_UNSIGNED_EVIDENCE_BYTES)
        }
        _ => (MAX_ID_BYTES, usize::MAX),
    };
    let evidence = |_| {
        let mut bytes = record.canonical_bytes();
        bytes.truncate(evidence_bytes);
        bytes.shrink_to_fit();
        bytes
    };
    LogRow {
        device_id: storable(&record.device_id, text_bytes),
        sequence: i64::try_from(record.sequence).ok(),
        outcome: outcome.kind(),
        reason: rejection.map(|rejection| rejection.code.name()),
        record_hash,
        expected: rejection.map(|rejection| storable(&rejection.expected.to_string(), text_bytes)),
        actual: match (rejection, outcome, entry.admitted().and_then(Admitted::succeeding)) {
            (Some(rejection), ..) => Some(storable(&rejection.actual.to_string(), text_bytes)),
            (None, Outcome::Accepted, Some(Ok(new))) => Some(format!(
                "key {} of scheme {} succeeds from sequence {} on",
                new.key, new.scheme, new.valid_from
            )),
            _ => None,
        },
        evidence: rejection.map(evidence),
    }
}

/// Returns text that every database accepts: no U+0000, at most `most` bytes, with an ellipsis at the end if it was
/// cut.
fn storable(text: &str, most: usize) -> String {
    const CUT: &str = "\u{2026}";
    let shown = &text[..text.floor_char_boundary(most + 1)];
    let whole = shown.replace('\0', "\u{fffd}");
    if shown.len() == text.len() && whole.len() <= most {
        return whole;
    }
    format!("{}{CUT}", &whole[..whole.floor_char_boundary(most - CUT.len())])
}
