//! This code generates the examples of docs/reference/log.md. `EDGESENTRY_WRITE=1` writes them into the page.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use edgesentry_chain::{Device, Hash, Scheme};
use edgesentry_log::{
    Checkpoint, DeviceState, HeadEntry, HeadsLeaf, HeadsProof, HeadsTree, KeyLeaf, KeyType, LayoutItem,
    LayoutWriter, Leaf, LogProof, OpenedLeaf, Policy, RunLeaf, RunProof, SignerKey, Tree, TreeHash,
    inclusion_path, new_tiles,
};

const ORIGIN: &str = "log.example/lifts";
const TIME_MS: u64 = 1_800_000_000_000;

/// Returns a log of five leaves: opened, two keys, a record, the heads.
fn examples() -> Vec<(&'static str, String)> {
    let log = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [1; 32]).unwrap();
    let witness = SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [2; 32]).unwrap();
    let mut lift = Device::from_seed("lift-01", [3; 32], Scheme::Record);
    let record = lift.sign(TIME_MS, b"door closed", "lift-01/1.bin").unwrap();
    let entry = |device_id: &str, sequence, record_hash| HeadEntry {
        device_id: device_id.into(),
        sequence,
        record_hash,
        start_sequence: 0,
        start_hash: Hash::ZERO,
    };
    let entries = vec![entry("lift-01", 1, record.hash()), entry("lift-03", 0, Hash::ZERO)];
    let heads = HeadsTree::new(entries.clone()).unwrap();
    let key = |device_id: &str, seed: u8| {
        let device = Device::from_seed(device_id, [seed; 32], Scheme::Record);
        Leaf::Key(KeyLeaf {
            device_id: device_id.into(),
            valid_from: 1,
            public_key: *device.public_key().unwrap().as_bytes(),
            scheme: Scheme::Record,
            start: None,
            at_ms: TIME_MS,
        })
    };
    let opened = OpenedLeaf { origin: ORIGIN.into(), records_before: 0, previous: None, at_ms: TIME_MS };
    let heads_leaf = HeadsLeaf { records: 1, devices: 2, heads_root: heads.root(), at_ms: TIME_MS };
    let leaves = [
        Leaf::Opened(opened),
        key("lift-01", 3),
        key("lift-03", 4),
        Leaf::Record(record),
        Leaf::Heads(heads_leaf),
    ];

    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push(leaf.hash()));
    let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap();
    let mut note = checkpoint.sign(&log).unwrap();
    note.add(checkpoint.cosign(&witness, TIME_MS / 1000).unwrap()).unwrap();
    let proof = |index: u64| LogProof {
        extra: Some(leaves[index as usize].to_bytes()),
        index,
        path: inclusion_path(index, tree.size(), |node| tree.node(node)).unwrap(),
        checkpoint: note.clone(),
    };
    let policy = format!(
        "log {}\nwitness ours {}\ngroup witnesses all ours\nquorum witnesses\n",
        log.verifier(),
        witness.verifier()
    );
    let LogProof { extra, index, path, checkpoint: signed } = proof(3);
    let leaf = RunLeaf { leaf: extra.unwrap(), index, path };
    let run = RunProof { leaves: vec![leaf], checkpoint: signed };
    let absent = HeadsProof::of_device("lift-02", &heads, proof(4)).unwrap();

    // The proofs on the page hold.
    let trusted = Policy::parse(policy.as_bytes()).unwrap();
    assert_eq!(proof(3).verify_extra(&trusted).unwrap().1.quorum_time(), Some(TIME_MS / 1000));
    assert_eq!(run.verify(&trusted).unwrap().indexes, [3]);
    assert_eq!(absent.verify(&trusted).unwrap().state, DeviceState::Absent);

    let mut layout = LayoutWriter::default();
    for leaf in &leaves {
        let bytes = leaf.to_bytes();
        let run = LayoutItem::Run { device_id: "lift-01", first_sequence: 1, count: 1 };
        layout.push(if matches!(leaf, Leaf::Record(_)) { run } else { LayoutItem::Leaf(&bytes) }).unwrap();
    }
    let sized = |what: &str, bytes: &[u8]| {
        format!("{what}, {} bytes\n{}\n", bytes.len(), wrapped(&hex::encode(bytes)))
    };
    let names = ["06 opened", "03 key", "03 key", "01 record", "02 heads"];
    let tiles: String =
        new_tiles(69_000, 70_000).filter(|id| id.width() < 256).map(|id| format!("{id}\n")).collect();
    vec![
        ("verifier key", format!("{}\n", log.verifier())),
        ("witness key", format!("{}\n", witness.verifier())),
        ("checkpoint", note.to_string()),
        ("cosigned message", format!("cosignature/v1\ntime {}\n{checkpoint}", TIME_MS / 1000)),
        ("tiles", tiles),
        ("tlog-proof", proof(3).to_string()),
        ("run proof", run.to_string()),
        ("policy", policy),
        (
            "leaves",
            [0, 1, 3, 4].map(|at| sized(names[at], &leaves[at].to_bytes())).concat()
                + &format!("root of the five leaves: {}\n", hex(tree.root())),
        ),
        (
            "heads entry",
            sized("lift-01", &entries[0].to_bytes()) + &format!("root with lift-03: {}\n", hex(heads.root())),
        ),
        ("heads proof", absent.to_string()),
        ("layout", sized("5 leaves", &layout.into_bytes())),
    ]
}

fn hex(hash: TreeHash) -> String {
    hex::encode(hash.0)
}

/// Wraps hex digits, 32 bytes per line.
fn wrapped(hex: &str) -> String {
    let lines: Vec<&str> = hex.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join("\n")
}

#[test]
fn the_examples_of_the_reference_are_generated() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/log.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let mut parts = text.split("<!-- example: ");
    let mut written = parts.next().unwrap().to_owned();
    let mut examples = examples().into_iter();
    for part in parts {
        let (name, rest) = part.split_once(" -->\n").unwrap();
        let rest = rest.trim_start();
        let (expected, example) = examples.next().expect("more examples in the page than here");
        assert_eq!(name, expected);
        // After the existing block, if there is one.
        let rest = match rest.strip_prefix("```text\n") {
            Some(block) => block.split_once("\n```\n").unwrap().1.trim_start(),
            None => rest,
        };
        written.push_str(&format!("<!-- example: {name} -->\n\n```text\n{example}```\n\n{rest}"));
    }
    written.truncate(written.trim_end().len());
    written.push('\n');
    assert_eq!(examples.next(), None, "an example that the page does not show");
    if std::env::var_os("EDGESENTRY_WRITE").is_some() {
        std::fs::write(&page, &written).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&page).unwrap(), written, "EDGESENTRY_WRITE=1 writes the page again");
}
