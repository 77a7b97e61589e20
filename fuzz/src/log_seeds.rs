//! Seeds of the log formats, each after the byte that selects its format.

use edgesentry_chain::{Hash, Scheme};
use edgesentry_log::{
    AddCheckpoint, Checkpoint, ConsistencyProof, EntryBundle, ErasedLeaf, HeadEntry, HeadsLeaf, HeadsProof,
    HeadsTree, KeyLeaf, KeyType, LayoutItem, LayoutWriter, Leaf, LogProof, Note, OpenedLeaf, Policy,
    RevokedLeaf, RunLeaf, RunProof, SignerKey, TileId, TileKind, Tree, TreeHash, VerifierKey, WitnessedLogs,
    consistency_path, inclusion_path,
};

use crate::fleet;

const ORIGIN: &str = "log.example/lifts";

fn entry(device_id: &str) -> HeadEntry {
    HeadEntry {
        device_id: device_id.into(),
        sequence: 7,
        record_hash: Hash::of(b"7"),
        start_sequence: 0,
        start_hash: Hash::ZERO,
    }
}

/// Returns notes, proofs, policies, keys and paths.
pub fn log_text() -> Vec<Vec<u8>> {
    let key = |name, kind| SignerKey::from_seed(name, kind, [7; 32]).expect("a name");
    let (log, witness) = (key(ORIGIN, KeyType::Ed25519), key("w", KeyType::CosignatureV1));
    let tree = HeadsTree::new(vec![entry("lift-01"), entry("lift-03")]).expect("sorted entries");
    let heads = HeadsLeaf { records: 14, devices: 2, heads_root: tree.root(), at_ms: 1_700_000_000_000 };
    let leaf = Leaf::Heads(heads).to_bytes();
    let checkpoint = Checkpoint::new(ORIGIN, 1, TreeHash::of_leaf(&leaf)).expect("a small log");
    let mut note = checkpoint.sign(&log).expect("the key of the log");
    note.add(checkpoint.cosign(&witness, 1_800_000_000).expect("a witness")).expect("a second line");
    let proof =
        LogProof { extra: Some(leaf), index: 0, path: vec![TreeHash::EMPTY; 2], checkpoint: note.clone() };
    let heads = ["lift-02", "lift-03", "lift-09"]
        .map(|device| HeadsProof::of_device(device, &tree, proof.clone()).expect("a whole tree").to_string());
    let policy = format!(
        "log {} https://log # ours\nwitness w {}\ngroup g any w\nquorum g\n",
        log.verifier(),
        witness.verifier()
    );
    let judged = format!("{policy}\0{note}");
    let mut seeds = vec![(0, note.to_string()), (1, proof.to_string()), (3, policy), (3, judged)];
    seeds.extend(heads.map(|proof| (2, proof)));
    seeds.extend([
        (4, checkpoint.to_string()),
        (5, witness.verifier().to_string()),
        (6, log.secret_text().to_string()),
        (7, "tile/entries/x001/x234/067.p/255".to_owned()),
        (7, note.signatures()[1].to_string()),
    ]);
    seeds.into_iter().map(|(kind, text)| [&[kind], text.as_bytes()].concat()).collect()
}

/// A log of two devices with four records each and a heads leaf, signed at sizes 3 and 9. Nothing else has a signature of
/// its key.
pub struct ProvenLog {
    /// The policy with its key.
    pub policy: Policy,
    /// The checkpoint of size 3.
    pub older: Note,
    /// The leaves.
    pub leaves: Vec<Leaf>,
    /// The entries of the heads tree.
    pub entries: Vec<HeadEntry>,
    tree: Tree,
    note: Note,
}

impl Default for ProvenLog {
    fn default() -> ProvenLog {
        let (_, records, _) = fleet(2, 4);
        let mut entries: Vec<HeadEntry> = records
            .iter()
            .filter(|record| record.sequence == 4)
            .map(|record| HeadEntry {
                device_id: record.device_id.clone(),
                sequence: record.sequence,
                record_hash: record.hash(),
                start_sequence: 0,
                start_hash: Hash::ZERO,
            })
            .collect();
        entries.sort_by(|a, b| a.device_id.cmp(&b.device_id));
        let heads = HeadsTree::new(entries.clone()).expect("sorted entries");
        let mut leaves: Vec<Leaf> = records.into_iter().map(Leaf::Record).collect();
        let (records, devices) = (leaves.len() as u64, entries.len() as u64);
        leaves.push(Leaf::Heads(HeadsLeaf { records, devices, heads_root: heads.root(), at_ms: 5 }));
        let key = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [9; 32]).expect("a name");
        let (mut tree, mut notes) = (Tree::default(), Vec::new());
        for leaf in &leaves {
            tree.push(leaf.hash());
            let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).expect("a small log");
            notes.push(checkpoint.sign(&key).expect("the key of the log"));
        }
        let policy = format!("log {}\nquorum none\n", key.verifier());
        ProvenLog {
            policy: Policy::parse(policy.as_bytes()).expect("a policy"),
            note: notes.pop().expect("the last note"),
            older: notes.swap_remove(2),
            leaves,
            entries,
            tree,
        }
    }
}

impl ProvenLog {
    /// Returns proofs of each kind.
    pub fn proofs(&self) -> Vec<Vec<u8>> {
        let size = self.tree.size();
        let leaf = |index: u64| RunLeaf {
            leaf: self.leaves[usize::try_from(index).expect("a small log")].to_bytes(),
            index,
            path: inclusion_path(index, size, |node| self.tree.node(node)).expect("a leaf"),
        };
        let proof = |index: u64| {
            let RunLeaf { leaf, index, path } = leaf(index);
            LogProof { extra: Some(leaf), index, path, checkpoint: self.note.clone() }
        };
        let heads = HeadsTree::new(self.entries.clone()).expect("sorted entries");
        let head =
            |device_id: &str| HeadsProof::of_device(device_id, &heads, proof(size - 1)).expect("a tree");
        let run = RunProof { leaves: [1, 3, 5].map(leaf).to_vec(), checkpoint: self.note.clone() };
        let grown = ConsistencyProof::new(3, self.note.clone(), |node| self.tree.node(node));
        [
            proof(2).to_string(),
            proof(size - 1).to_string(),
            run.to_string(),
            head(&self.entries[0].device_id).to_string(),
            head("unknown").to_string(),
            grown.expect("an older size").to_string(),
        ]
        .map(String::into_bytes)
        .to_vec()
    }
}

/// A log that a witness knows: it has signed one history of 8 leaves, and another checkpoint of size 5.
pub struct WitnessedLog {
    /// The logs of the witness.
    pub logs: WitnessedLogs,
    /// The key of the witness.
    pub witness: VerifierKey,
    key: SignerKey,
    trees: Vec<Tree>,
}

impl Default for WitnessedLog {
    fn default() -> WitnessedLog {
        let key = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [9; 32]).expect("a name");
        let witness = SignerKey::from_seed("w", KeyType::CosignatureV1, [8; 32]).expect("a name");
        let logs = WitnessedLogs::parse(format!("log {}", key.verifier()).as_bytes()).expect("a policy");
        let trees = (0..=8_u8).map(|size| {
            let mut tree = Tree::default();
            (0..size).for_each(|leaf| tree.push(TreeHash::of_leaf(&[leaf])));
            tree
        });
        WitnessedLog { logs, witness: witness.verifier().clone(), key, trees: trees.collect() }
    }
}

impl WitnessedLog {
    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        ORIGIN
    }

    /// Returns the root at a size.
    pub fn root(&self, size: u64) -> TreeHash {
        self.trees[usize::try_from(size).expect("a small log")].root()
    }

    /// Returns requests that a witness cosigns, and some that it refuses.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        let request = |old: u64, size: u64, root: TreeHash| {
            let tree = &self.trees[usize::try_from(size).expect("a small log")];
            let proof = consistency_path(old, size, |node| tree.node(node)).expect("an older size");
            let checkpoint = Checkpoint::new(ORIGIN, size, root).expect("a small log");
            let note = checkpoint.sign(&self.key).expect("the key of the log");
            AddCheckpoint::new(old, proof, note).expect("a small request").to_string().into_bytes()
        };
        let mut requests: Vec<_> = [(0, 3), (3, 5), (3, 8), (3, 3), (2, 7)]
            .map(|(old, size)| request(old, size, self.root(size)))
            .to_vec();
        requests.push(request(3, 5, TreeHash::of_leaf(b"another history")));
        requests
    }
}

/// Returns leaves, entries, records, bundles, tiles and layouts.
pub fn log_binary() -> Vec<Vec<u8>> {
    let (_, records, _) = fleet(1, 1);
    let device_id = String::from("lift-01");
    let record = records[0].canonical_bytes();
    let leaves = [
        Leaf::Record(records[0].clone()),
        Leaf::Heads(HeadsLeaf { records: 1, devices: 1, heads_root: TreeHash::EMPTY, at_ms: 5 }),
        Leaf::Key(KeyLeaf {
            device_id: device_id.clone(),
            valid_from: 1,
            public_key: [1; 32],
            scheme: Scheme::Record,
            start: None,
            at_ms: 5,
        }),
        Leaf::Revoked(RevokedLeaf { device_id: device_id.clone(), revoked_from: 9, at_ms: 5 }),
        Leaf::Erased(ErasedLeaf {
            device_id,
            sequence: 1,
            payload_hash: Hash::ZERO,
            reason: "asked for".into(),
            at_ms: 5,
        }),
        Leaf::Opened(OpenedLeaf { origin: ORIGIN.into(), records_before: 0, previous: None, at_ms: 5 }),
    ];
    let id = TileId::new(TileKind::Entries, 7, 1).expect("a small tile");
    let bundle = EntryBundle::write(id, [&record]).expect("one record");
    let mut layout = LayoutWriter::default();
    let run = LayoutItem::Run { device_id: "lift-01", first_sequence: 1, count: 300 };
    layout.push(LayoutItem::Leaf(b"\x06...")).and_then(|()| layout.push(run)).expect("two items");
    let mut seeds: Vec<(u8, Vec<u8>)> = leaves.iter().map(|leaf| (0, leaf.to_bytes())).collect();
    seeds.extend([
        (1, entry("lift-01").to_bytes()),
        (2, record),
        (3, bundle),
        (4, vec![7; 32]),
        (5, layout.into_bytes()),
    ]);
    seeds.into_iter().map(|(kind, bytes)| [&[kind], bytes.as_slice()].concat()).collect()
}

/// Returns two numbers, a size, and a path.
pub fn log_tree() -> Vec<Vec<u8>> {
    let seed = |first: u64, second: u64, size: u64, path: &[u8]| {
        [&first.to_be_bytes(), &second.to_be_bytes(), size.to_be_bytes().as_slice(), path].concat()
    };
    vec![seed(3, 7, 7, &[1; 96]), seed(u64::MAX, u64::MAX, 199, &[]), seed(0, 1 << 62, 64, &[2; 64])]
}
