//! A log in the hands of its operator, who has the key: any leaves under a signed root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use edgesentry_chain::{AuditRecord, Device, Hash, Head, Scheme};
use edgesentry_log::{
    Appender, Checkpoint, HeadEntry, HeadsLeaf, HeadsTree, KeyLeaf, KeyType, Leaf, Note, OpenedLeaf,
    SignerKey,
};

pub(super) const ORIGIN: &str = "log.example/lifts";
pub(super) const COSIGNED_AT: u64 = 1_700_000_000;

/// A log that is published into a directory.
pub(super) struct TestLog {
    pub(super) leaves: Vec<Vec<u8>>,
    pub(super) folder: PathBuf,
    device: Device,
    pub(super) cosigns: bool,
}

pub(super) fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [1; 32]).unwrap()
}

pub(super) fn witness_key() -> SignerKey {
    SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [2; 32]).unwrap()
}

impl TestLog {
    /// Returns a log with a device that has a key.
    pub(super) fn new(folder: &Path) -> TestLog {
        let device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
        let opened = OpenedLeaf { origin: ORIGIN.to_owned(), records_before: 0, previous: None, at_ms: 1 };
        let key = KeyLeaf {
            device_id: "lift-01".to_owned(),
            valid_from: 1,
            public_key: *device.public_key().unwrap().as_bytes(),
            scheme: Scheme::Record,
            start: None,
            at_ms: 1,
        };
        let leaves = [Leaf::Opened(opened), Leaf::Key(key)].map(|leaf| leaf.to_bytes()).into();
        TestLog { leaves, folder: folder.to_owned(), device, cosigns: false }
    }

    pub(super) fn sign(&mut self) -> AuditRecord {
        let sequence = self.device.head().map_or(1, |head| head.sequence + 1);
        self.device.sign(sequence, b"door", format!("{sequence}.bin")).unwrap()
    }

    pub(super) fn push(&mut self, leaf: &Leaf) {
        self.leaves.push(leaf.to_bytes());
    }

    /// Appends records and the heads that belong to the log.
    pub(super) fn grow(&mut self, records: usize) {
        for _ in 0..records {
            let record = self.sign();
            self.push(&Leaf::Record(record));
        }
        let heads = self.heads();
        self.push(&Leaf::Heads(heads));
    }

    /// Appends records and heads, and writes all files.
    pub(super) fn publish_more(&mut self, records: usize) {
        self.grow(records);
        self.publish();
    }

    /// Returns the heads leaf of all leaves.
    pub(super) fn heads(&self) -> HeadsLeaf {
        let start = Head { sequence: 0, hash: Hash::ZERO };
        let (mut heads, mut records) = (BTreeMap::new(), 0);
        for leaf in &self.leaves {
            match Leaf::parse(leaf) {
                Ok(Leaf::Key(key)) => drop(heads.entry(key.device_id).or_insert(start)),
                Ok(Leaf::Record(record)) => {
                    records += 1;
                    let head = Head { sequence: record.sequence, hash: record.hash() };
                    heads.insert(record.device_id, head);
                }
                _ => {}
            }
        }
        let devices = heads.len() as u64;
        let entry = |(device_id, head): (String, Head)| HeadEntry {
            device_id,
            sequence: head.sequence,
            record_hash: head.hash,
            start_sequence: 0,
            start_hash: Hash::ZERO,
        };
        let tree = HeadsTree::new(heads.into_iter().map(entry).collect()).unwrap();
        HeadsLeaf { records, devices, heads_root: tree.root(), at_ms: 2 }
    }

    fn appended(&self) -> Appender {
        let mut appender = Appender::default();
        self.leaves.iter().for_each(|leaf| appender.push(leaf).unwrap());
        appender
    }

    /// Returns the checkpoint of all leaves, signed by the log.
    pub(super) fn note(&self) -> Note {
        let appender = self.appended();
        Checkpoint::new(ORIGIN, appender.size(), appender.root()).unwrap().sign(&log_key()).unwrap()
    }

    /// Returns the checkpoint of all leaves, signed by log and witness.
    pub(super) fn cosigned(&self) -> Note {
        let mut note = self.note();
        let checkpoint = Checkpoint::parse(note.text()).unwrap();
        note.add(checkpoint.cosign(&witness_key(), COSIGNED_AT).unwrap()).unwrap();
        note
    }

    /// Writes all files of the log. Files of other leaves are replaced, and partial ones of smaller trees stay.
    pub(super) fn publish(&self) {
        let mut appender = self.appended();
        let mut files = appender.take_full();
        files.extend(appender.partial());
        for (id, bytes) in files {
            self.write(&id.to_string(), &bytes);
        }
        let note = if self.cosigns { self.cosigned() } else { self.note() };
        self.write("checkpoint", note.to_string().as_bytes());
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        let path = self.folder.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap()
        } else {
            std::fs::remove_file(path).unwrap()
        }
    }

    /// Returns another log that has grown from the same leaves.
    pub(super) fn fork(&self, folder: &Path) -> TestLog {
        let device = Device::from_seed("lift-01", [7; 32], Scheme::Record).resume(self.device.head());
        TestLog { leaves: self.leaves.clone(), folder: folder.to_owned(), device, cosigns: self.cosigns }
    }
}
