//! Witnesses: the order of the answers, evidence, and that a witness never cosigns two histories.

#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use edgesentry_log::{
    AddCheckpoint, Checkpoint, CosignatureError, EvidenceKind, KeyType, MAX_WITNESS_REQUEST_BYTES, Note,
    NoteSignature, SignerKey, Tree, TreeHash, WitnessRefusal, WitnessRequestError, WitnessedLogs,
    consistency_path, cosigned_note, decide_witness, read_cosignature, read_witness_size, witness_path,
};
use proptest::prelude::*;

const ORIGIN: &str = "log.example/lifts";

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [1; 32]).unwrap()
}

fn witness() -> SignerKey {
    SignerKey::from_seed("w.example", KeyType::CosignatureV1, [2; 32]).unwrap()
}

fn logs() -> WitnessedLogs {
    WitnessedLogs::parse(format!("log {}", log_key().verifier()).as_bytes()).unwrap()
}

/// A tree whose leaves are those of `seed` from a size on.
fn tree(size: u64, seed: u8, fork_at: u64) -> Tree {
    let mut tree = Tree::default();
    for n in 0..size {
        let side = if n < fork_at { 0 } else { seed };
        tree.push(TreeHash::of_leaf(&[side, n.to_le_bytes()[0]]));
    }
    tree
}

fn checkpoint(tree: &Tree, size: u64) -> Checkpoint {
    Checkpoint::new(ORIGIN, size, tree.root()).unwrap()
}

/// A request from `old` to the whole tree.
fn request(tree: &Tree, old: u64, size: u64) -> AddCheckpoint {
    let proof = consistency_path(old, size, |node| tree.node(node)).unwrap();
    AddCheckpoint::new(old, proof, checkpoint(tree, size).sign(&log_key()).unwrap()).unwrap()
}

/// A note with a signature of the log over any text.
fn signed(text: &str) -> Note {
    Note::sign(text, &log_key()).unwrap()
}

fn status(request: &AddCheckpoint, last: Option<&Checkpoint>) -> u16 {
    match logs().check(request) {
        Err(refusal) => refusal.status(),
        Ok(_) => decide_witness(request, last).outcome.map_or_else(|refusal| refusal.status(), |_| 200),
    }
}

#[test]
fn a_request_is_read_as_it_is_written() {
    let request = request(&tree(13, 0, 0), 5, 13);
    let text = request.to_string();
    assert_eq!(AddCheckpoint::parse(text.as_bytes()).unwrap(), request);
    let hashes = request.proof().len();
    for bad in [
        text.replace("old 5", "old 05"),
        text.replace("old 5", "old -1"),
        text.replace("old 5", "Old 5"),
        text.replacen("old 5\n", "old 5\n\n", 1),
        text.replacen('\n', "\r\n", 1),
        text.replacen("old 5\n", "old 5\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB1=\n", 1),
        text.replacen("\n\n", "\n", 1),
        text.trim_end().to_owned(),
        "old 5\n".to_owned(),
        String::new(),
    ] {
        assert!(AddCheckpoint::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(matches!(AddCheckpoint::parse(b"\xff\n"), Err(WitnessRequestError::Note(_))));
    let hash = TreeHash::EMPTY;
    let lines =
        |count: usize| text.replacen("old 5\n", &format!("old 5\n{}", format!("{hash}\n").repeat(count)), 1);
    assert!(AddCheckpoint::parse(lines(63 - hashes).as_bytes()).is_ok());
    assert_eq!(AddCheckpoint::parse(lines(64 - hashes).as_bytes()), Err(WitnessRequestError::Proof(65)));
    let long = vec![b'o'; MAX_WITNESS_REQUEST_BYTES + 1];
    assert_eq!(AddCheckpoint::parse(&long), Err(WitnessRequestError::TooLarge(long.len())));
}

#[test]
fn a_checkpoint_with_extension_lines_is_refused() {
    let text = format!("{}extension\n", checkpoint(&tree(3, 0, 0), 3));
    let error = AddCheckpoint::new(0, Vec::new(), signed(&text)).unwrap_err();
    assert_eq!(WitnessRefusal::from(error).status(), 400);
}

#[test]
fn the_checks_of_a_witness_have_an_order() {
    let (three, other) = (tree(3, 0, 0), tree(3, 9, 1));
    let last = checkpoint(&three, 3);
    let grown = tree(7, 0, 0);
    assert_eq!(status(&request(&grown, 3, 7), Some(&last)), 200);
    assert_eq!(status(&request(&three, 3, 3), Some(&last)), 200);
    assert_eq!(status(&request(&three, 0, 3), None), 200);
    assert_eq!(status(&request(&tree(0, 0, 0), 0, 0), None), 200);
    assert_eq!(status(&request(&grown, 2, 7), Some(&last)), 409);
    assert_eq!(status(&request(&grown, 3, 7), None), 409);
    assert_eq!(status(&request(&other, 3, 3), Some(&last)), 422);
    assert_eq!(status(&request(&other, 2, 3), Some(&last)), 409);
    assert_eq!(status(&request(&tree(7, 9, 1), 3, 7), Some(&last)), 422);

    let note = checkpoint(&three, 3).sign(&log_key()).unwrap();
    let with = |old, proof, note: &Note| AddCheckpoint::new(old, proof, note.clone()).unwrap();
    // The proof is too long.
    assert_eq!(status(&with(0, vec![TreeHash::EMPTY], &note), None), 422);
    assert_eq!(status(&with(3, vec![TreeHash::EMPTY], &note), Some(&last)), 422);
    // The empty tree with another root.
    let empty = signed(&format!("{ORIGIN}\n0\n{}\n", TreeHash::of_leaf(b"")));
    assert_eq!(status(&with(0, vec![], &empty), None), 422);
    // A larger old size comes after the signature, and before the state.
    assert_eq!(status(&with(4, vec![], &note), Some(&last)), 400);
    let key = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [3; 32]).unwrap();
    let stranger = checkpoint(&three, 3).sign(&key).unwrap();
    assert_eq!(status(&with(4, vec![], &stranger), Some(&last)), 403);
    let id = format!("{}", log_key().verifier().id());
    let bytes = [hex::decode(id).unwrap(), vec![7; 64]].concat();
    let line = format!("— {ORIGIN} {}", STANDARD.encode(&bytes));
    let damaged = Note::assemble(note.text(), [NoteSignature::parse(&line).unwrap()]).unwrap();
    assert_eq!(status(&with(0, vec![], &damaged), None), 403);
    let other_log = SignerKey::from_seed("other.example", KeyType::Ed25519, [1; 32]).unwrap();
    let text = Checkpoint::new("other.example", 3, three.root()).unwrap().sign(&other_log).unwrap();
    assert_eq!(status(&with(4, vec![], &text), None), 404);
}

#[test]
fn two_roots_are_evidence_under_every_status_and_an_invalid_proof_is_not() {
    let last = checkpoint(&tree(4, 0, 0), 4);
    let evidence = |request: &AddCheckpoint| decide_witness(request, Some(&last)).evidence;
    let other = tree(4, 9, 1);
    assert_eq!(evidence(&request(&other, 4, 4)), Some(EvidenceKind::TwoRoots));
    assert_eq!(evidence(&request(&other, 2, 4)), Some(EvidenceKind::TwoRoots));
    assert_eq!(evidence(&request(&tree(9, 0, 0), 4, 9)), None);
    assert_eq!(evidence(&request(&tree(9, 0, 0), 2, 9)), None);
    assert_eq!(decide_witness(&request(&other, 0, 4), None).evidence, None);
    // A proof from a power of two lacks the older root, so the root at that size is not shown.
    assert_eq!(evidence(&request(&tree(9, 9, 1), 4, 9)), None);

    // A proof from another size leads to the root of the checkpoint and to another root at the size of the last one.
    for (old, new) in [(3, 7), (3, 4), (5, 9), (6, 64), (7, 200)] {
        let last = checkpoint(&tree(old, 0, 0), old);
        let decide = |request: &AddCheckpoint| decide_witness(request, Some(&last));
        let forked = request(&tree(new, 9, 1), old, new);
        assert_eq!(decide(&forked).evidence, Some(EvidenceKind::TwoRoots), "{old} {new}");
        assert_eq!(decide(&forked).outcome.unwrap_err().status(), 422);
        // Anyone can change a proof of a good checkpoint, or of a forked one.
        let good = request(&tree(new, 0, 0), old, new);
        for real in [&good, &forked] {
            for at in 0..real.proof().len() {
                let mut proof = real.proof().to_vec();
                proof[at] = TreeHash::of_leaf(b"junk");
                let junk = AddCheckpoint::new(old, proof, real.note().clone()).unwrap();
                assert_eq!(decide(&junk).evidence, None, "{old} {new} {at}");
            }
            for proof in [Vec::new(), vec![TreeHash::EMPTY; 63]] {
                let junk = AddCheckpoint::new(old, proof, real.note().clone()).unwrap();
                assert_eq!(decide(&junk).evidence, None, "{old} {new}");
            }
        }
    }
    assert_eq!(EvidenceKind::by_name("two_roots"), Some(EvidenceKind::TwoRoots));
    assert_eq!(EvidenceKind::by_name("not_shown"), None);
}

#[test]
fn a_note_of_a_witness_has_no_lines_of_strangers() {
    let tree = tree(3, 0, 0);
    let mut note = checkpoint(&tree, 3).sign(&log_key()).unwrap();
    note.add(NoteSignature::parse("— stranger AAAAAAAA").unwrap()).unwrap();
    let request = AddCheckpoint::new(0, Vec::new(), note).unwrap();
    let signed = logs().check(&request).unwrap();
    let checkpoint = decide_witness(&request, None).outcome.unwrap();
    let (note, line) = cosigned_note(&checkpoint, &signed, &witness(), 1_800_000_000).unwrap();
    assert_eq!(note.signatures().len(), 2);
    let (log, witness) = (log_key(), witness());
    assert_eq!(note.verify([log.verifier(), witness.verifier()]).unwrap().len(), 2);

    let response = format!("— stranger AAAAAAAA\n{line}\n");
    let read = read_cosignature(response.as_bytes(), note.text(), witness.verifier()).unwrap();
    assert_eq!(read, (line.clone(), 1_800_000_000));
    let other = Checkpoint::new(ORIGIN, 4, TreeHash::EMPTY).unwrap().to_string();
    for (response, text) in [
        (format!("{line}\n"), other.as_str()),
        (format!("{line}\n{line}\n"), note.text()),
        ("— stranger AAAAAAAA\n".to_owned(), note.text()),
        (String::new(), note.text()),
    ] {
        let error = read_cosignature(response.as_bytes(), text, witness.verifier()).unwrap_err();
        assert!(matches!(error, CosignatureError::Invalid { .. }), "{response}: {error}");
    }
    for response in [b"\xff".as_slice(), b"<html>", &[b'x'; 20 << 10]] {
        let error = read_cosignature(response, note.text(), witness.verifier()).unwrap_err();
        assert!(matches!(error, CosignatureError::Lines(_)), "{error}");
    }
}

#[test]
fn the_path_and_the_size_of_a_witness_are_read() {
    // printf example.com/log | sha256sum
    let path = "4d3203c8f35cdf600e475f55fede6081a703d3d322f208865fca2ec4f0e030f8/checkpoint";
    assert_eq!(witness_path("example.com/log"), path);
    assert_eq!(read_witness_size(b"12\n"), Some(12));
    for bad in [b"12".as_slice(), b"012\n", b"\xff\n", b"-1\n", b"12\n\n"] {
        assert_eq!(read_witness_size(bad), None);
    }
}

proptest! {
    /// However requests of two histories of a log arrive, the cosigned checkpoints are of one history.
    #[test]
    fn a_witness_cosigns_one_history(
        fork_at in 0_u64..20,
        steps in prop::collection::vec((0_u64..20, 0_u64..20, any::<bool>(), any::<bool>()), 1..40),
    ) {
        let mut last: Option<Checkpoint> = None;
        for (old, size, side, honest) in steps {
            let side = if side { 1 } else { 2 };
            let tree = tree(size, side, fork_at);
            let old = if honest { last.as_ref().map_or(0, Checkpoint::size) } else { old };
            if old > size {
                continue;
            }
            let request = request(&tree, old, size);
            prop_assert!(logs().check(&request).is_ok());
            let decision = decide_witness(&request, last.as_ref());
            if let Ok(next) = decision.outcome {
                prop_assert!(decision.evidence.is_none());
                prop_assert_eq!(next.to_string(), request.note().text());
                if let Some(last) = &last {
                    prop_assert!(next.size() >= last.size());
                    // The last checkpoint is a prefix of the next one.
                    let prefix = |side| self::tree(last.size(), side, fork_at).root() == last.root();
                    prop_assert!(prefix(side) || last.size() == 0);
                }
                last = Some(next);
            }
        }
    }

    /// No bytes make the parser panic, and a parsed request is written as it was read.
    #[test]
    fn bytes_are_parsed_or_refused(mutations in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6)) {
        let mut bytes = request(&tree(13, 0, 0), 5, 13).to_string().into_bytes();
        for (at, byte) in mutations {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(request) = AddCheckpoint::parse(&bytes) {
            prop_assert_eq!(request.to_string().into_bytes(), bytes);
        }
    }
}
