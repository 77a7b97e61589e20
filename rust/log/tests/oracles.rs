//! Checks interoperability: golang.org/x/mod, the origin of these formats, and the crates signed_note and tlog_tiles
//! read our notes, tiles and proofs, and we read theirs. tests/oracles/build builds them. Each disagreement is a
//! failure.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use edgesentry_log::{
    Checkpoint, KeyType, Note, NoteError, SignerKey, Tile, TileKind, Tree, TreeHash, consistency_path,
    inclusion_path, new_tiles, verify_consistency, verify_inclusion,
};

const ORIGIN: &str = "log.example/lifts";
/// Full tiles, a partial one, and two levels.
const SIZE: u64 = 600;

/// The directory of both programs, built once.
static PROGRAMS: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = root.join("target/oracles");
    let status = Command::new(root.join("tests/oracles/build")).arg(&out).status().unwrap();
    assert!(status.success(), "tests/oracles/build failed");
    out
});

struct Questions {
    /// `ours` has our tiles; the programs write to `theirs`.
    directory: tempfile::TempDir,
    asked: Vec<(String, Option<String>)>,
}

impl Questions {
    fn ask(&mut self, question: String, expected: Option<String>) {
        self.asked.push((question, expected));
    }

    /// Sends all questions to a program. `tolerated` selects deliberate differences.
    fn answer(&self, program: &str, tolerated: impl Fn(&str) -> bool) {
        let input = self.directory.path().join("questions");
        let lines: String = self.asked.iter().map(|(question, _)| format!("{question}\n")).collect();
        std::fs::write(&input, lines).unwrap();
        let output = Command::new(PROGRAMS.join(program))
            .arg(self.directory.path())
            .stdin(Stdio::from(std::fs::File::open(input).unwrap()))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        std::io::stderr().flush().unwrap();
        let answers = String::from_utf8(output.stdout).unwrap();
        assert_eq!(answers.lines().count(), self.asked.len(), "{program} ended early");
        let mut accepted = 0;
        for ((question, expected), answer) in self.asked.iter().zip(answers.lines()) {
            let answer = (answer != "no").then(|| answer.to_owned());
            assert!(
                *expected == answer || tolerated(question),
                "{program}: {question}: {answer:?}, ours {expected:?}"
            );
            accepted += usize::from(answer.is_some());
        }
        println!("{program}: {} questions, {accepted} accepted", self.asked.len());
        assert!(accepted > 100 && accepted < self.asked.len());
    }
}

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [7; 32]).unwrap()
}

/// Returns the tree of `leaf 0`, `leaf 1`, …, and its root at each size.
fn tree() -> (Tree, Vec<TreeHash>) {
    let mut tree = Tree::default();
    let mut roots = vec![tree.root()];
    for n in 0..SIZE {
        tree.push(leaf_hash(n));
        roots.push(tree.root());
    }
    (tree, roots)
}

fn leaf_hash(n: u64) -> TreeHash {
    TreeHash::of_leaf(format!("leaf {n}").as_bytes())
}

fn text(path: &[TreeHash]) -> String {
    format!("-{}", path.iter().map(|hash| hex::encode(hash.0)).collect::<String>())
}

fn path(text: &str) -> Vec<TreeHash> {
    let bytes = hex::decode(text.trim_start_matches('-')).unwrap();
    bytes.chunks(32).map(|hash| TreeHash(hash.try_into().unwrap())).collect()
}

/// Returns all questions with our own results.
fn questions() -> Questions {
    let directory = tempfile::tempdir().unwrap();
    let (tree, roots) = tree();
    let root = |size: u64| roots[size as usize];
    for id in new_tiles(0, SIZE).filter(|id| id.kind() != TileKind::Entries) {
        let file = directory.path().join("ours").join(id.to_string());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, Tile::from_nodes(id, |node| tree.node(node)).unwrap().to_bytes()).unwrap();
    }
    let mut questions = Questions { directory, asked: Vec::new() };
    let hex = |hash: TreeHash| hex::encode(hash.0);

    questions.ask(format!("build {SIZE}"), Some(hex(root(SIZE))));
    for index in (0..SIZE).step_by(37).chain([255, 256, 511, 512, SIZE - 1]) {
        let path = inclusion_path(index, SIZE, |node| tree.node(node)).unwrap();
        questions.ask(format!("prove-included {SIZE} {} {index}", hex(root(SIZE))), Some(text(&path)));
        for changed in
            [path.clone(), path[1..].to_vec(), [path.as_slice(), &path[..1]].concat(), flipped(&path)]
        {
            for (at, size) in [(index, SIZE), (index ^ 1, SIZE), (index, SIZE - 1)] {
                let holds = verify_inclusion(leaf_hash(index), at, size, &changed, root(SIZE)).is_ok();
                let leaf = hex(leaf_hash(index));
                let question = format!("included {size} {} {at} {leaf} {}", hex(root(SIZE)), text(&changed));
                questions.ask(question, holds.then(|| "ok".into()));
            }
        }
    }
    // x/mod does not support the empty tree.
    for old in (1..SIZE).step_by(41).chain([2, 255, 256, 257, 512, SIZE - 1, SIZE]) {
        let path = consistency_path(old, SIZE, |node| tree.node(node)).unwrap();
        questions.ask(format!("prove-consistent {SIZE} {} {old}", hex(root(SIZE))), Some(text(&path)));
        let shorter = path.get(1..).unwrap_or_default().to_vec();
        for changed in [path.clone(), shorter, [path.as_slice(), &[root(1)]].concat(), flipped(&path)] {
            for (at, old_root) in [(old, root(old)), (old - 1, root(old)), (old, root(old - 1))] {
                if at == 0 {
                    continue;
                }
                let holds = verify_consistency(at, old_root, SIZE, root(SIZE), &changed).is_ok();
                let question = format!(
                    "consistent {SIZE} {} {at} {} {}",
                    hex(root(SIZE)),
                    hex(old_root),
                    text(&changed)
                );
                questions.ask(question, holds.then(|| "ok".into()));
            }
        }
    }

    let checkpoint = Checkpoint::new(ORIGIN, SIZE, root(SIZE)).unwrap();
    let mut note = checkpoint.sign(&log_key()).unwrap();
    let (public, secret) = (log_key().verifier().to_string(), log_key().secret_text());
    let signed = hex::encode(note.to_string());
    questions.ask(format!("sign {} {}", *secret, hex::encode(note.text())), Some(signed));
    let witness = SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [8; 32]).unwrap();
    note.add(checkpoint.cosign(&witness, 1_800_000_000).unwrap()).unwrap();
    let bytes = note.to_string().into_bytes();
    let mut all = vec![bytes.clone()];
    for at in 0..bytes.len() {
        all.push([&bytes[..at], &bytes[at + 1..]].concat());
        let mut changed = bytes.clone();
        changed[at] ^= [1, 2, 32, 128][at % 4];
        all.push(changed);
    }
    for bytes in all {
        let ours = opened(&bytes).ok();
        questions
            .ask(format!("open {public} {}", hex::encode(&bytes)), ours.map(|note| hex::encode(note.text())));
    }
    questions
}

fn flipped(path: &[TreeHash]) -> Vec<TreeHash> {
    let mut path = path.to_vec();
    path.iter_mut().take(1).for_each(|hash| hash.0[5] ^= 1);
    path
}

fn opened(bytes: &[u8]) -> Result<Note, NoteError> {
    let note = Note::parse(bytes)?;
    note.verify([log_key().verifier()])?;
    Ok(note)
}

/// Returns true if only our stricter rules reject the note; other programs may then accept it. The rules are canonical
/// base64, as signed-note v1.1 requires, and no control characters, including those above U+007F.
fn stricter_here(question: &str) -> bool {
    let Some(bytes) = question.strip_prefix("open ").and_then(|rest| rest.split(' ').nth(1)) else {
        return false;
    };
    let bytes = hex::decode(bytes).unwrap();
    match opened(&bytes) {
        Err(NoteError::SignatureLine(_)) => {
            // With the bits after the last byte of each signature cleared, the note would be accepted.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let lines = text.lines().map(|line| match line.strip_suffix("=\n").or(line.strip_suffix('=')) {
                Some(front) if line.starts_with('—') => format!("{}=\n", canonical(front)),
                _ => format!("{line}\n"),
            });
            Note::parse(lines.collect::<String>().as_bytes()).is_ok()
        }
        Err(NoteError::Characters) => String::from_utf8(bytes).is_ok_and(|text| {
            text.chars().all(|c| c >= ' ' || c == '\n')
                && text.contains(|c: char| c.is_control() && c != '\n')
        }),
        _ => false,
    }
}

/// Clears the bits after the last byte in base64; `front` is the text before the padding.
fn canonical(front: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padding = if front.ends_with('=') { 4 } else { 2 };
    let front = front.trim_end_matches('=');
    let Some((last, value)) = front.chars().last().and_then(|last| Some((last, ALPHABET.find(last)?))) else {
        return front.to_owned();
    };
    let cleared = value & !((1 << padding) - 1);
    let padding = if padding == 4 { "=" } else { "" };
    format!("{}{}{padding}", &front[..front.len() - last.len_utf8()], &ALPHABET[cleared..=cleared])
}

#[test]
fn others_agree_on_notes_tiles_and_proofs() {
    let questions = questions();
    for program in ["go", "rust"] {
        questions.answer(program, stricter_here);
        // Their tiles equal ours, byte by byte, and their proofs, compared above, hold.
        let (tree, roots) = tree();
        let theirs = questions.directory.path().join("theirs");
        for id in new_tiles(0, SIZE).filter(|id| id.kind() != TileKind::Entries) {
            let bytes = std::fs::read(theirs.join(id.to_string())).unwrap();
            let tile = Tile::parse(id, &bytes).unwrap();
            assert_eq!(Tile::from_nodes(id, |node| tree.node(node)), Some(tile), "{program}: {id}");
        }
        let read = |node| {
            let id = edgesentry_log::TileId::of_node(node, SIZE)?;
            Tile::parse(id, &std::fs::read(theirs.join(id.to_string())).ok()?).ok()?.node(node)
        };
        let proof = inclusion_path(300, SIZE, read).unwrap();
        assert_eq!(path(&text(&proof)), proof);
        verify_inclusion(leaf_hash(300), 300, SIZE, &proof, roots[SIZE as usize]).unwrap();
        std::fs::remove_dir_all(theirs).unwrap();
    }
}
