//! A log of the chains of `tampered`.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use edgesentry_chain::{AuditRecord, Hash, PayloadError, Payloads, Scheme};
use edgesentry_log::{
    Checkpoint, CompactRange, ErasedLeaf, HeadEntry, HeadsLeaf, HeadsRoot, KeyLeaf, KeyType, LayoutItem,
    LayoutWriter, Leaf, LogCheck, LogInputs, Note, OpenedLeaf, Places, Policy, SignerKey,
    leaf_hash_of_record,
};

use crate::tampered::{CHAINS, DEVICES, device};

const ORIGIN: &str = "log.example/parts";
/// The records whose payloads the log says were erased: (device, sequence).
pub const ERASED: [(&str, u64); 3] = [("a", 2), ("b", 1), ("c", 4)];

/// The inputs of the level.
pub struct Logged {
    policy: Policy,
    checkpoint: Note,
    previous: Option<Note>,
    places: Places,
}

/// How a log is written.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// The records of each device in a batch.
    pub batch: usize,
    pub batches: usize,
    /// The batch of the earlier checkpoint, if there is one.
    pub previous: Option<usize>,
    /// The batches after the checkpoint.
    pub later: usize,
    pub erases: bool,
    /// False if the policy trusts another log.
    pub trusted: bool,
}

impl Writing {
    /// Returns the number of records of each device.
    pub fn records(&self) -> usize {
        self.batch * self.batches
    }
}

impl Logged {
    pub fn new(writing: &Writing) -> Logged {
        let (mut layout, mut range) = (LayoutWriter::default(), CompactRange::default());
        let leaf = |leaf: &Leaf, layout: &mut LayoutWriter, range: &mut CompactRange| {
            layout.push(LayoutItem::Leaf(&leaf.to_bytes())).unwrap();
            range.push(leaf.hash());
        };
        let opened = OpenedLeaf { origin: ORIGIN.into(), records_before: 0, previous: None, at_ms: 1 };
        leaf(&Leaf::Opened(opened), &mut layout, &mut range);
        for name in DEVICES {
            let scheme = if name == "a" { Scheme::Record } else { Scheme::PayloadHash };
            let key = KeyLeaf {
                device_id: name.into(),
                valid_from: 1,
                public_key: *device(name).public_key().unwrap().as_bytes(),
                scheme,
                start: None,
                at_ms: 1,
            };
            leaf(&Leaf::Key(key), &mut layout, &mut range);
        }
        let mut sizes = Vec::new();
        for batch in 0..writing.batches {
            let (first, end) = (batch * writing.batch, (batch + 1) * writing.batch);
            for chain in CHAINS.iter() {
                let records = &chain[first..end];
                let run = LayoutItem::Run {
                    device_id: &chain[0].device_id,
                    first_sequence: records[0].sequence,
                    count: records.len() as u64,
                };
                layout.push(run).unwrap();
                for record in records {
                    range.push(leaf_hash_of_record(&record.canonical_bytes()));
                }
            }
            for (device_id, sequence) in ERASED.iter().filter(|(_, sequence)| {
                let at = *sequence as usize - 1;
                writing.erases && (first..end).contains(&at)
            }) {
                let erased = ErasedLeaf {
                    device_id: (*device_id).into(),
                    sequence: *sequence,
                    payload_hash: CHAINS[0][0].payload_hash,
                    reason: "asked".into(),
                    at_ms: 2,
                };
                leaf(&Leaf::Erased(erased), &mut layout, &mut range);
            }
            let mut heads = HeadsRoot::default();
            for chain in CHAINS.iter() {
                let last = &chain[end - 1];
                let entry = HeadEntry {
                    device_id: last.device_id.clone(),
                    sequence: last.sequence,
                    record_hash: last.hash(),
                    start_sequence: 0,
                    start_hash: Hash::ZERO,
                };
                heads.push(&entry).unwrap();
            }
            let records = (end * CHAINS.len()) as u64;
            let (devices, heads_root) = (heads.devices(), heads.root());
            leaf(&Leaf::Heads(HeadsLeaf { records, devices, heads_root, at_ms: 3 }), &mut layout, &mut range);
            sizes.push((range.end(), range.root().unwrap()));
        }
        let key = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [1; 32]).unwrap();
        let other = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [2; 32]).unwrap();
        let verifier = if writing.trusted { key.verifier() } else { other.verifier() };
        let signed = |batch: usize| {
            let (size, root) = sizes[batch];
            Checkpoint::new(ORIGIN, size, root).unwrap().sign(&key).unwrap()
        };
        Logged {
            policy: Policy::parse(format!("log {verifier}\nquorum none\n").as_bytes()).unwrap(),
            checkpoint: signed(writing.batches - 1 - writing.later),
            previous: writing.previous.map(signed),
            places: Places::parse(&layout.into_bytes()).unwrap(),
        }
    }

    pub fn check(&self) -> LogCheck<'_> {
        LogCheck::new(&LogInputs {
            policy: &self.policy,
            checkpoint: &self.checkpoint,
            places: Some(&self.places),
            previous: self.previous.as_ref(),
            max_age: None,
        })
    }
}

/// A store without some payloads, of which the log excuses only those that were erased.
pub struct Store;

impl Payloads for Store {
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        let at = (record.device_id.as_str(), record.sequence);
        Ok(match at {
            ("a", 2) | ("b", 1) | ("d", 3) => None,
            ("c", 4) | ("c", 5) => Some(Hash::ZERO),
            _ => Some(record.payload_hash),
        })
    }
}
