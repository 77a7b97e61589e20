//! Chains with tampering and malformed entries.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::Cursor;
use std::sync::LazyLock;

use edgesentry_chain::{AuditRecord, Device, Hash, KeyRing, RingKey, Scheme};
use edgesentry_formats::{Source, record_to_json};
use proptest::prelude::*;

pub const DEVICES: [&str; 4] = ["a", "b", "c", "d"];
pub const RECORDS_PER_DEVICE: usize = 300;

/// A record, or a malformed entry.
pub type Entry = Option<AuditRecord>;

pub fn device(name: &str) -> Device {
    let scheme = if name == "b" { Scheme::PayloadHash } else { Scheme::Record };
    Device::from_seed(name, *Hash::of(name.as_bytes()).as_bytes(), scheme)
}

pub static CHAINS: LazyLock<Vec<Vec<AuditRecord>>> = LazyLock::new(|| {
    let chain = |name: &&str| {
        let mut device = device(name);
        (0..RECORDS_PER_DEVICE as u64).map(|at| device.sign(at, b"x", format!("{at}")).unwrap()).collect()
    };
    DEVICES.iter().map(chain).collect()
});

/// Device d has no key; the key of device c is registered under the wrong scheme.
pub static KEYS: LazyLock<KeyRing> = LazyLock::new(|| {
    let mut ring = KeyRing::new();
    for name in ["a", "b", "c"] {
        let key = device(name).public_key().unwrap();
        let scheme = if name == "a" { Scheme::Record } else { Scheme::PayloadHash };
        ring.insert(name, RingKey { key, scheme, valid_from: 1 }).unwrap();
    }
    ring
});

#[derive(Clone, Debug)]
pub enum Edit {
    Drop,
    Repeat { times: usize, length: usize },
    Swap { with: prop::sample::Index },
    Reverse { length: usize },
    Fork,
    Renumber(u64),
    BadSignature,
    Malformed { length: usize },
}

pub fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        Just(Edit::Drop),
        (1usize..40, 1usize..4).prop_map(|(times, length)| Edit::Repeat { times, length }),
        any::<prop::sample::Index>().prop_map(|with| Edit::Swap { with }),
        (2usize..400).prop_map(|length| Edit::Reverse { length }),
        Just(Edit::Fork),
        (0u64..310).prop_map(Edit::Renumber),
        Just(Edit::BadSignature),
        (1usize..300).prop_map(|length| Edit::Malformed { length }),
    ]
}

/// Generates chains, interleaved or one after the other, with tampering.
pub fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), edit()), 0..8);
    (any::<bool>(), 1..RECORDS_PER_DEVICE, edits).prop_map(|(interleaved, records, edits)| {
        let chains = CHAINS.iter().map(|chain| &chain[..records]);
        let mut entries: Vec<Entry> = if interleaved {
            (0..records).flat_map(|at| chains.clone().map(move |chain| Some(chain[at].clone()))).collect()
        } else {
            chains.flatten().cloned().map(Some).collect()
        };
        for (at, edit) in edits {
            if !entries.is_empty() {
                apply(&mut entries, at, edit);
            }
        }
        entries
    })
}

pub fn apply(entries: &mut Vec<Entry>, at: prop::sample::Index, edit: Edit) {
    let at = at.index(entries.len());
    let until = |length: usize| at..entries.len().min(at + length);
    match edit {
        Edit::Drop => drop(entries.remove(at)),
        Edit::Repeat { times, length } => {
            let again = vec![entries[until(length)].to_vec(); times].concat();
            entries.splice(at..at, again);
        }
        Edit::Swap { with } => {
            let with = with.index(entries.len());
            entries.swap(at, with);
        }
        Edit::Reverse { length } => {
            let range = until(length);
            entries[range].reverse();
        }
        Edit::Fork => {
            let mut rival = entries[at].clone();
            rival.iter_mut().for_each(|record| record.timestamp_ms += 1);
            entries.insert(at, rival);
        }
        Edit::Renumber(sequence) => entries[at].iter_mut().for_each(|record| record.sequence = sequence),
        Edit::BadSignature => entries[at].iter_mut().for_each(|record| record.signature[3] ^= 1),
        Edit::Malformed { length } => {
            entries.splice(at..at, vec![None; length]);
        }
    }
}

pub fn ndjson(entries: &[Entry]) -> Source {
    Source::Reader { name: "lines".into(), reader: Box::new(Cursor::new(lines(entries))) }
}

pub fn lines(entries: &[Entry]) -> Vec<u8> {
    let mut text = Vec::new();
    for entry in entries {
        match entry {
            Some(record) => record_to_json(record, &mut text),
            None => text.extend(b"{}"),
        }
        text.push(b'\n');
    }
    text
}
