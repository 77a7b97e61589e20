//! `eds witness`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use edgesentry_log::{
    AddCheckpoint, Checkpoint, KeyType, SignerKey, Tree, TreeHash, consistency_path, witness_path,
};
use serde_json::json;

use crate::{Folder, Run};

const ORIGIN: &str = "log.example/lifts";

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [42; 32]).unwrap()
}

fn tree(side: u8, size: u64) -> Tree {
    let mut tree = Tree::default();
    (0..size).for_each(|n| tree.push(TreeHash::of_leaf(&[side, n.to_le_bytes()[0]])));
    tree
}

fn request(side: u8, old: u64, size: u64) -> String {
    let tree = tree(side, size);
    let proof = consistency_path(old, size, |node| tree.node(node)).unwrap();
    let note = Checkpoint::new(ORIGIN, size, tree.root()).unwrap().sign(&log_key()).unwrap();
    AddCheckpoint::new(old, proof, note).unwrap().to_string()
}

/// A new witness of one log.
fn witness() -> Folder {
    let folder = Folder::new();
    folder.write("logs", format!("log {}\n", log_key().verifier()));
    folder.write(
        "eds.toml",
        "[witness]\nstate = \"sqlite:witness.db\"\nkey = \"witness.seed\"\nname = \"witness.example\"\nlogs = \"logs\"\n",
    );
    let run = eds(&folder, "init");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let key = run.envelope()["witness"]["verifier_key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("witness.example+"), "{key}");
    folder
}

fn eds(folder: &Folder, arguments: &str) -> Run {
    folder.eds(&format!("--json witness {arguments} --config eds.toml"))
}

fn code(run: &Run) -> (i32, String) {
    (run.code, run.envelope()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_witness_without_a_network_cosigns_files() {
    let folder = witness();
    folder.write("first", request(1, 0, 3));
    folder.write("second", request(1, 3, 9));
    let plain = folder.eds("witness cosign first --config eds.toml");
    assert_eq!(plain.code, 0, "{}", plain.stderr);
    assert!(plain.stdout.starts_with("— witness.example ") && plain.stdout.lines().count() == 1);
    // Again, it is the same line; also from stdin.
    assert_eq!(folder.eds("witness cosign first --config eds.toml").stdout, plain.stdout);
    let run = eds(&folder, "cosign second");
    assert_eq!((run.code, &run.envelope()["witness"]["size"]), (0, &json!(9)));
    // A request that is older than the state.
    assert_eq!(code(&eds(&folder, "cosign first")), (2, "witness_refused".to_owned()));
    let status = eds(&folder, "status").envelope();
    assert_eq!(status["witness"]["logs"][0]["size"], 9, "{status}");
    assert!(folder.eds("witness status --config eds.toml").stdout.contains("cosigned at"));

    // A contradiction of the log is a finding, and kept.
    assert_eq!(eds(&folder, "evidence").code, 0);
    folder.write("fork", request(2, 9, 9));
    assert_eq!(code(&eds(&folder, "cosign fork")), (1, "witness_refused".to_owned()));
    let run = eds(&folder, "evidence --export found");
    assert_eq!(code(&run), (1, "two_roots".to_owned()));
    assert_eq!(run.envelope()["witness"]["evidence"][0]["kind"], "two_roots");
    assert_eq!(folder.read("found/001-two_roots.request"), request(2, 9, 9));
    assert!(folder.read("found/001-two_roots.checkpoint").contains("— witness.example "));
    // Anyone can verify it: the proof does not extend the checkpoint, and the log has signed both.
    folder.write("log-only", format!("{}quorum none\n", folder.read("logs")));
    let verify = "--json verify-proof found/001-two_roots.proof --policy log-only --previous found/001-two_roots.checkpoint";
    assert_eq!(code(&folder.eds(verify)), (1, "checkpoint_inconsistent".to_owned()));
    // A larger checkpoint whose proof leads to another root at the size of the cosigned one.
    folder.write("larger", request(2, 9, 20));
    assert_eq!(code(&eds(&folder, "cosign larger")), (1, "witness_refused".to_owned()));
    assert_eq!(eds(&folder, "evidence --export both").envelope()["witness"]["two_roots"], 2);
    let proofs = std::fs::read_dir(folder.path("both")).unwrap().map(|file| file.unwrap().path());
    let proofs: Vec<_> = proofs.filter(|path| path.extension().is_some_and(|end| end == "proof")).collect();
    assert_eq!(proofs.len(), 2);
    for proof in proofs {
        let previous = proof.with_extension("checkpoint");
        let (proof, previous) = (proof.display(), previous.display());
        let verify = format!("--json verify-proof {proof} --policy log-only --previous {previous}");
        assert_eq!(code(&folder.eds(&verify)), (1, "checkpoint_inconsistent".to_owned()));
    }

    for (bytes, exit) in [("no request".to_owned(), 2), ("x".repeat(20 << 10), 2)] {
        folder.write("bad", bytes);
        assert_eq!(eds(&folder, "cosign bad").code, exit);
    }
}

#[test]
fn a_witness_can_be_made_after_a_first_failure() {
    let folder = Folder::new();
    folder.write("logs", format!("log {}\n", log_key().verifier()));
    let settings = |state: &str, key: &str, name: &str| {
        let text =
            format!("[witness]\nstate = \"{state}\"\nkey = \"{key}\"\nname = \"{name}\"\nlogs = \"logs\"\n");
        folder.write("eds.toml", text);
    };
    for (state, name) in [
        ("sqlite:witness.db", "a+b"),
        ("sqlite:missing/witness.db", "witness.example"),
        ("x:y", "witness.example"),
    ] {
        settings(state, "witness.seed", name);
        assert_ne!(eds(&folder, "init").code, 0, "{state} {name}");
        assert!(!folder.path("witness.seed").exists(), "{state} {name}");
    }
    settings("sqlite:witness.db", "missing/witness.seed", "witness.example");
    assert_ne!(eds(&folder, "init").code, 0);
    settings("sqlite:witness.db", "witness.seed", "witness.example");
    for _ in 0..2 {
        let run = eds(&folder, "init");
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    folder.write("request", request(1, 0, 3));
    assert_eq!(eds(&folder, "cosign request").code, 0);
    // The state belongs to its key: neither a new key nor another name takes it over.
    settings("sqlite:witness.db", "other.seed", "witness.example");
    let run = eds(&folder, "init");
    assert_eq!(code(&run), (2, "config".to_owned()), "{}", run.stderr);
    assert!(!folder.path("other.seed").exists());
    settings("sqlite:witness.db", "witness.seed", "other.example");
    for command in ["cosign request", "init", "serve --listen 127.0.0.1:0"] {
        let run = eds(&folder, command);
        assert_eq!(code(&run), (2, "config".to_owned()), "{command}");
        assert!(
            run.envelope()["error"]["message"].as_str().unwrap().contains("belongs to the key"),
            "{command}"
        );
    }
}

#[test]
fn a_witness_that_lost_its_state_does_not_start_again() {
    let folder = witness();
    // Again, it is the same witness.
    assert_eq!(eds(&folder, "init").code, 0);
    folder.write("request", request(1, 0, 3));
    assert_eq!(eds(&folder, "cosign request").code, 0);
    for file in ["witness.db", "witness.db-wal", "witness.db-shm"] {
        let _ = std::fs::remove_file(folder.path(file));
    }
    for command in ["cosign request", "status", "evidence", "init", "serve --listen 127.0.0.1:0"] {
        assert_eq!(code(&eds(&folder, command)), (2, "config".to_owned()), "{command}");
        assert!(!folder.path("witness.db").exists());
    }
    let run = folder.eds("witness status");
    assert!(run.code == 2 && run.stderr.contains("witness.state is not set"), "{}", run.stderr);
}

/// A witness in a process of its own; killed when dropped.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(folder: &Folder) -> Served {
        let mut command = folder.command();
        command.args(["witness", "serve", "--config", "eds.toml", "--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let address = crate::serve::listening(&line).strip_prefix("http://").unwrap().to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Served { child, address }
    }

    /// Sends a request, and returns the connection before the response.
    fn send(&self, head: &str, body: &str) -> std::net::TcpStream {
        let mut stream = std::net::TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(
            stream,
            "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        stream
    }

    fn call(&self, head: &str, body: &str) -> String {
        let mut answer = String::new();
        self.send(head, body).read_to_string(&mut answer).unwrap();
        answer
    }

    fn add(&self, request: &str) -> String {
        self.call("POST /add-checkpoint", request)
    }

    fn latest(&self) -> String {
        self.call(&format!("GET /{}", witness_path(ORIGIN)), "")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_cosignature_that_was_not_sent_is_returned_after_a_kill() {
    let folder = witness();
    let mut served = Served::start(&folder);
    assert!(served.add(&request(1, 0, 2)).starts_with("HTTP/1.1 200"), "{}", served.latest());
    for size in 3..8 {
        // The client never reads the response; the witness is killed when the state is there.
        let unread = served.send("POST /add-checkpoint", &request(1, size - 1, size));
        for _ in 0..1000 {
            if served.latest().contains(&format!("\n{size}\n")) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        served.child.kill().unwrap();
        served.child.wait().unwrap();
        drop(unread);
        served = Served::start(&folder);
        let answer = served.add(&request(1, size - 1, size));
        assert!(
            answer.starts_with("HTTP/1.1 409") && answer.ends_with(&format!("\r\n\r\n{size}\n")),
            "{answer}"
        );
        let answer = served.add(&request(1, size, size));
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("— witness.example "), "{answer}");
        let other = served.add(&request(2, size, size));
        assert!(other.starts_with("HTTP/1.1 422"), "{other}");
    }
    drop(served);
    folder.write("request", request(1, 6, 7));
    let line = folder.eds("witness cosign request --config eds.toml");
    assert_eq!(line.code, 0, "{}", line.stderr);
}
