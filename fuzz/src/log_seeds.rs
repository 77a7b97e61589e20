//! Seeds of the log formats, each after the byte that selects its format.

use edgesentry_chain::{Hash, Scheme};
use edgesentry_log::{
    Checkpoint, EntryBundle, ErasedLeaf, HeadEntry, HeadsLeaf, HeadsProof, HeadsTree, KeyLeaf, KeyType,
    LayoutItem, LayoutWriter, Leaf, LogProof, OpenedLeaf, RevokedLeaf, SignerKey, TileId, TileKind, TreeHash,
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
