//! `eds monitor`: each result lands in its class and in no other.

mod log;
mod server;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use edgesentry_chain::{AuditRecord, Device, Hash, Scheme};
use edgesentry_log::{Checkpoint, HeadsLeaf, KeyType, Leaf, Note, PolicyWitness, SignerKey, TreeHash};
use serde_json::{Value, json};

use self::log::{ORIGIN, TestLog, log_key, witness_key};
use self::server::{FileServer, Reply};
use crate::serve::Served;
use crate::{Folder, Run, ledger};

/// A directory with a log, and policies: `policy` without witnesses, `witnessed` with one.
fn site() -> (Folder, TestLog) {
    let folder = Folder::new();
    let key = log_key().verifier().to_string();
    folder.write("policy", format!("log {key}\nquorum none\n"));
    let witness = witness_key().verifier().to_string();
    folder.write("witnessed", format!("log {key}\nwitness ours {witness}\nquorum ours\n"));
    let log = TestLog::new(&folder.path("log"));
    (folder, log)
}

fn round(folder: &Folder, url: &str, more: &str) -> (i32, Value) {
    let run = folder.eds(&format!("--json monitor {url} --policy policy --state state.db --once {more}"));
    let envelope = run.envelope();
    (
        run.code,
        if envelope["monitor"].is_null() { envelope["error"].clone() } else { envelope["monitor"].clone() },
    )
}

fn check(folder: &Folder) -> (i32, Value) {
    round(folder, "folder:log", "")
}

/// The codes of the open findings, with their classes.
fn findings(round: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = round["findings"].as_array().unwrap_or_else(|| panic!("{round}"));
    all.iter().map(|finding| (text(&finding["class"]), text(&finding["code"]))).collect()
}

fn found(class: &str, code: &str) -> Vec<(String, String)> {
    vec![(class.to_owned(), code.to_owned())]
}

fn assert_verified(result: &(i32, Value), log: &TestLog) {
    let (code, round) = result;
    assert_eq!((*code, round["outcome"].as_str()), (0, Some("verified")), "{round}");
    let checkpoint = Checkpoint::parse(log.note().text()).unwrap();
    assert_eq!(round["verified"]["size"], checkpoint.size());
    assert_eq!(round["verified"]["root"], checkpoint.root().to_string());
}

/// Checks that a round failed without a finding, and that the state has not moved.
fn assert_infrastructure(result: &(i32, Value), size: Option<u64>, what: &str) {
    let (code, round) = result;
    assert_eq!((*code, round["outcome"].as_str()), (3, Some("infrastructure")), "{what}: {round}");
    assert_eq!(round["verified"]["size"].as_u64(), size, "{what}: {round}");
    assert!(!round["failures"].as_array().unwrap().is_empty(), "{what}");
}

fn ok(run: Run) -> Run {
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    run
}

#[test]
fn an_honest_log_advances_from_size_0() {
    let (folder, mut log) = site();
    let key_leaves = std::mem::take(&mut log.leaves);
    log.publish();
    assert_verified(&check(&folder), &log);
    assert_verified(&check(&folder), &log);
    log.leaves = key_leaves;
    for records in [1, 300, 5, 0, 700] {
        log.publish_more(records);
        assert_verified(&check(&folder), &log);
    }
    let run = ok(folder.eds("monitor folder:log --policy policy --state state.db --once"));
    assert!(run.stdout.starts_with("VERIFIED  log.example/lifts: 1,013 leaves replayed"), "{}", run.stdout);
}

#[test]
fn a_partial_bundle_that_is_gone_is_read_from_the_full_one() {
    let (folder, mut log) = site();
    log.publish_more(200);
    let small = log.note();
    log.publish_more(200);
    log.write("checkpoint", small.to_string().as_bytes());
    for tile in ["tile/entries/000.p", "tile/0/000.p", "tile/1/000.p"] {
        if log.folder.join(tile).exists() {
            log.remove(tile);
        }
    }
    let (code, round) = check(&folder);
    assert_eq!((code, round["verified"]["size"].as_u64()), (0, Some(203)), "{round}");
}

#[test]
fn a_rollback_to_an_older_checkpoint_of_the_tree_is_unverifiable() {
    let (folder, mut log) = site();
    log.grow(3);
    let old = log.note();
    log.publish_more(3);
    assert_verified(&check(&folder), &log);
    let newest = std::fs::read(log.folder.join("checkpoint")).unwrap();
    log.write("checkpoint", old.to_string().as_bytes());
    for times in 1..=2 {
        let (code, round) = check(&folder);
        assert_eq!((code, findings(&round)), (1, found("unverifiable", "checkpoint_rolled_back")), "{round}");
        assert_eq!(round["findings"][0]["times"], times);
        assert_eq!((&round["verified"]["size"], &round["confirmed"]), (&json!(10), &json!(false)));
    }
    // The evidence shows that the tree is the same.
    ok(folder.eds("monitor --state state.db --evidence evidence"));
    let proof = folder.eds(
        "verify-proof evidence/1-consistency.proof --policy policy --previous evidence/1-previous.checkpoint",
    );
    assert_eq!(proof.code, 0, "{}", proof.stderr);
    // It stays when the log is as before.
    log.write("checkpoint", &newest);
    let (code, round) = check(&folder);
    assert_eq!((code, round["outcome"].as_str()), (1, Some("unverifiable")));
    assert_eq!(folder.eds("monitor --state state.db --findings").code, 1);
    let unknown = folder.eds("--json monitor --state state.db --acknowledge 7");
    assert_eq!((unknown.code, &unknown.envelope()["error"]["code"]), (2, &json!("finding_not_found")));
    ok(folder.eds("monitor --state state.db --acknowledge 1"));
    assert_verified(&check(&folder), &log);
    let listed = ok(folder.eds("monitor --state state.db --findings"));
    assert!(listed.stdout.contains("acknowledged"), "{}", listed.stdout);
    // The acknowledged one says nothing new, and still nothing is verified.
    log.write("checkpoint", old.to_string().as_bytes());
    let (code, round) = check(&folder);
    assert_eq!(
        (code, round["outcome"].as_str(), findings(&round)),
        (1, Some("unverifiable"), vec![]),
        "{round}"
    );
    assert_eq!(round["still_found"], "unverifiable");
    let text = folder.eds("monitor folder:log --policy policy --state state.db --once").stdout;
    assert!(text.contains("an acknowledged finding holds again"), "{text}");
    // The tiles that prove it are gone: this is a failure besides.
    log.remove("tile/0");
    let (_, round) = check(&folder);
    assert_eq!((round["failures"][0]["code"].as_str()), Some("log_unreachable"), "{round}");
    log.publish();
    // An older checkpoint of another tree is tamper.
    let mut other = TestLog::new(&folder.path("other"));
    other.push(&Leaf::parse(&[0x30, 1]).unwrap());
    other.grow(2);
    log.write("checkpoint", other.note().to_string().as_bytes());
    assert_eq!(findings(&check(&folder).1), found("tamper", "checkpoint_inconsistent"));
}

#[test]
fn a_rewritten_leaf_under_a_signed_root_is_tamper_with_evidence() {
    for without_tiles in [false, true] {
        let (folder, mut log) = site();
        log.publish_more(300);
        assert_verified(&check(&folder), &log);
        let size = log.leaves.len() as u64;
        // The operator has the log's key, and signs the tree again.
        let mut leaf = log.leaves[5].clone();
        *leaf.last_mut().unwrap() ^= 1;
        log.leaves[5] = leaf;
        log.publish_more(10);
        if without_tiles {
            log.remove("tile/0");
        }
        let (code, round) = check(&folder);
        assert_eq!((code, findings(&round)), (1, found("tamper", "checkpoint_inconsistent")), "{round}");
        assert_eq!(round["verified"]["size"], size);
        ok(folder.eds("monitor --state state.db --evidence evidence"));
        let previous = Note::parse(folder.read("evidence/1-previous.checkpoint").as_bytes()).unwrap();
        assert_eq!(Checkpoint::parse(previous.text()).unwrap().size(), size);
        if without_tiles {
            continue;
        }
        let proof = folder.eds(
            "--json verify-proof evidence/1-consistency.proof --policy policy --previous evidence/1-previous.checkpoint",
        );
        assert_eq!((proof.code, &proof.envelope()["error"]["code"]), (1, &json!("checkpoint_inconsistent")));
    }
}

#[test]
fn another_root_of_the_same_size_is_tamper() {
    let (folder, mut log) = site();
    let mut other = log.fork(&folder.path("other"));
    log.publish_more(3);
    assert_verified(&check(&folder), &log);
    other.push(&Leaf::parse(&[0x30, 1]).unwrap());
    other.grow(2);
    assert_eq!(other.leaves.len(), log.leaves.len());
    log.write("checkpoint", other.note().to_string().as_bytes());
    let (code, round) = check(&folder);
    assert_eq!((code, findings(&round)), (1, found("tamper", "checkpoint_inconsistent")), "{round}");
    ok(folder.eds("monitor --state state.db --evidence evidence"));
    let proof = folder.eds(
        "--json verify-proof evidence/1-consistency.proof --policy policy --previous evidence/1-previous.checkpoint",
    );
    assert_eq!((proof.code, &proof.envelope()["error"]["code"]), (1, &json!("checkpoint_inconsistent")));
}

#[test]
fn a_fault_that_only_a_replay_finds_is_tamper_and_the_state_moves() {
    type Change = fn(&mut TestLog);
    let cases: [(&str, Change); 4] = [
        ("heads_mismatch", |log| {
            let mut heads = log.heads();
            heads.heads_root = TreeHash::of_leaf(b"another record of lift-01");
            log.push(&Leaf::Heads(heads));
        }),
        ("sequence_gap", |log| {
            log.sign();
        }),
        ("signature_invalid", |log| {
            let mut record = log.sign();
            record.signature[40] ^= 1;
            log.push(&Leaf::Record(record));
        }),
        ("prev_hash_mismatch", |log| {
            let mut record = log.sign();
            record.prev_record_hash = Hash::of(b"another record");
            let device =
                edgesentry_chain::Device::from_seed("lift-01", [7; 32], edgesentry_chain::Scheme::Record);
            device.sign_record(&mut record).unwrap();
            log.push(&Leaf::Record(record));
        }),
    ];
    for (code, change) in cases {
        let (folder, mut log) = site();
        log.publish_more(3);
        assert_verified(&check(&folder), &log);
        change(&mut log);
        let heads = log.heads();
        log.push(&Leaf::Heads(heads));
        log.grow(usize::from(code == "sequence_gap"));
        log.publish();
        let (exit, round) = check(&folder);
        assert_eq!(exit, 1, "{code}: {round}");
        assert!(findings(&round).contains(&("tamper".to_owned(), code.to_owned())), "{code}: {round}");
        assert!(findings(&round).iter().all(|(class, _)| class == "tamper"), "{round}");
        assert_eq!(round["verified"]["size"], log.leaves.len());
    }
}

#[test]
fn leaves_that_cannot_be_read_are_unverifiable() {
    for leaf in [&[0x30, 1][..], &[3, 9, 9]] {
        let (folder, mut log) = site();
        log.grow(3);
        log.leaves.push(leaf.to_vec());
        log.publish_more(1);
        let (code, round) = check(&folder);
        assert_eq!((code, findings(&round)), (1, found("unverifiable", "leaf_unread")), "{round}");
        assert_eq!(round["verified"]["size"], log.leaves.len());
        log.leaves.push(leaf.to_vec());
        log.publish_more(1);
        let (code, round) = check(&folder);
        assert_eq!((code, findings(&round)), (1, found("unverifiable", "leaf_unread")), "{round}");
        assert_eq!(round["findings"][0]["times"], 2);
        ok(folder.eds("monitor --state state.db --acknowledge 1"));
        assert_verified(&check(&folder), &log);
        // It may explain what follows.
        let heads = log.heads();
        log.push(&Leaf::Heads(HeadsLeaf { records: heads.records + 1, ..heads }));
        log.publish();
        let (code, round) = check(&folder);
        assert_eq!((code, findings(&round)), (1, found("unverifiable", "heads_mismatch")), "{round}");
    }
}

#[test]
fn a_checkpoint_that_is_not_trusted_is_unverifiable_and_moves_nothing() {
    let (folder, mut log) = site();
    folder.write("policy", folder.read("witnessed"));
    log.cosigns = true;
    log.publish_more(3);
    assert_verified(&check(&folder), &log);
    let size = log.leaves.len();
    log.publish_more(1);
    let signed = std::fs::read_to_string(log.folder.join("checkpoint")).unwrap();
    let without_witness = log.note().to_string();
    let damaged = signed.replace("\n\n", "\n");
    let other = signed.replace(ORIGIN, "log.example/doors");
    for (note, code) in [
        (without_witness, "witness_quorum_missing"),
        (signed.replacen("\n8\n", "\n9\n", 1), "checkpoint_untrusted"),
        (other, "checkpoint_untrusted"),
    ] {
        log.write("checkpoint", note.as_bytes());
        let (exit, round) = check(&folder);
        assert_eq!((exit, findings(&round)), (1, found("unverifiable", code)), "{note}{round}");
        assert_eq!(round["verified"]["size"], size);
        let id = round["findings"][0]["id"].as_u64().unwrap();
        ok(folder.eds(&format!("monitor --state state.db --acknowledge {id}")));
        // Acknowledged, and nothing is checked: not verified.
        let (exit, round) = check(&folder);
        assert_eq!((exit, round["outcome"].as_str()), (1, Some("unverifiable")), "{round}");
        assert_eq!((findings(&round), &round["confirmed"]), (vec![], &json!(false)));
    }
    // A text that is not a note says nothing about the log.
    log.write("checkpoint", damaged.as_bytes());
    assert_infrastructure(&check(&folder), Some(size as u64), "not a note");
    log.write("checkpoint", signed.as_bytes());
    let (code, round) = round(&folder, "folder:log", "--max-age 1h");
    assert_eq!((code, findings(&round)), (1, found("unverifiable", "checkpoint_stale")), "{round}");
    assert_eq!(round["verified"]["size"], log.leaves.len());
}

#[test]
fn a_log_without_its_quorum_is_still_held_to_its_signature() {
    let (folder, mut log) = site();
    folder.write("policy", folder.read("witnessed"));
    log.cosigns = true;
    log.publish_more(3);
    assert_verified(&check(&folder), &log);
    log.leaves.truncate(2);
    log.grow(1);
    log.write("checkpoint", log.note().to_string().as_bytes());
    let both =
        |code: &str| [found("unverifiable", code), found("tamper", "checkpoint_inconsistent")].concat();
    assert_eq!(findings(&check(&folder).1), both("witness_quorum_missing"));
}

#[test]
fn a_signature_binds_the_log_without_a_quorum() {
    // Without a quorum, and with a damaged line of the witness.
    for (damage, code) in [(false, "witness_quorum_missing"), (true, "checkpoint_untrusted")] {
        let (folder, mut log) = site();
        folder.write("policy", folder.read("witnessed"));
        log.cosigns = true;
        log.publish_more(3);
        assert_verified(&check(&folder), &log);
        let mut other = log.fork(&folder.path("other"));
        other.push(&Leaf::parse(&[0x30, 1]).unwrap());
        other.grow(4);
        let mut note = other.note();
        if damage {
            let line = log.cosigned().signatures().last().unwrap().clone();
            note.add(line).unwrap();
        }
        log.write("checkpoint", note.to_string().as_bytes());
        let (exit, round) = check(&folder);
        assert_eq!((exit, findings(&round)), (1, found("unverifiable", code)), "{round}");
        ok(folder.eds("monitor --state state.db --acknowledge 1"));
        // The log shows its first tree again, which grows past the other one.
        log.publish_more(9);
        let (exit, round) = check(&folder);
        assert_eq!((exit, findings(&round)), (1, found("tamper", "checkpoint_inconsistent")), "{round}");
        ok(folder.eds("monitor --state state.db --evidence evidence"));
        let previous = folder.read("evidence/2-previous.checkpoint");
        assert_eq!(Note::parse(previous.as_bytes()).unwrap().text(), other.note().text());
    }
}

#[test]
fn a_place_that_fails_is_infrastructure_and_nothing_else() {
    let (folder, mut log) = site();
    log.publish_more(300);
    let server = FileServer::start(&log.folder);
    assert_verified(&round(&folder, &server.url, ""), &log);
    let size = Some(log.leaves.len() as u64);
    log.publish_more(300);
    let replies = [
        ("404", Reply::Status(404)),
        ("401", Reply::Status(401)),
        ("500", Reply::Status(500)),
        ("redirect", Reply::Status(302)),
        ("page", Reply::Page),
        ("truncated", Reply::Truncated),
        ("hang", Reply::Hang),
        ("endless", Reply::Endless),
    ];
    for (what, reply) in replies {
        for part in ["checkpoint", "tile/entries"] {
            server.rule(move |path, _| if path.starts_with(part) { reply } else { Reply::File });
            let result = round(&folder, &server.url, "--timeout 1");
            assert_infrastructure(&result, size, &format!("{what} of {part}"));
        }
    }
    // Leaves that are not those of the tree, and tiles that are not.
    server.rule(|path, _| if path.starts_with("tile/entries") { Reply::Garbled } else { Reply::File });
    assert_infrastructure(&round(&folder, &server.url, ""), size, "garbled entries");
    server.rule(|path, _| if path.starts_with("tile") { Reply::Garbled } else { Reply::File });
    assert_infrastructure(&round(&folder, &server.url, ""), size, "garbled tiles");
    assert_infrastructure(&round(&folder, "http://127.0.0.1:9/log", ""), size, "no server");
    std::fs::create_dir(folder.path("empty")).unwrap();
    assert_infrastructure(&round(&folder, "folder:empty", ""), size, "an empty directory");
    server.rule(|_, _| Reply::File);
    assert_verified(&round(&folder, &server.url, ""), &log);
}

#[test]
fn a_kill_in_the_middle_of_a_replay_costs_only_its_last_part() {
    let (folder, mut log) = site();
    log.publish_more(10_000);
    let server = FileServer::start(&log.folder);
    server.rule(|path, _| if path == "tile/entries/035" { Reply::Hang } else { Reply::File });
    let mut command = folder.command();
    command.args([
        "monitor",
        &server.url,
        "--policy",
        "policy",
        "--state",
        "state.db",
        "--once",
        "--timeout",
        "600",
    ]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    // The progress is stored before the bundle after it is read.
    while !stored_progress(&folder) {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    server.take_paths();
    server.rule(|_, _| Reply::File);
    assert_verified(&round(&folder, &server.url, ""), &log);
    let paths = server.take_paths();
    // Several bundles are requested at once.
    let first = paths.iter().filter(|path| path.starts_with("tile/entries/")).min().unwrap();
    assert_eq!(first, "tile/entries/032", "{paths:?}");
}

#[test]
fn findings_are_bounded() {
    let (folder, mut log) = site();
    // Leaves that cannot be read are one finding. Contradictions of records are one each, up to a limit.
    log.leaves.push(vec![0x30, 1]);
    log.leaves.push(vec![0x31, 1]);
    let mut record = log.sign();
    for _ in 0..10_100 {
        record.signature[40] ^= 1;
        record.sequence += 2;
        log.push(&Leaf::Record(record.clone()));
    }
    log.publish_more(0);
    let (code, round) = check(&folder);
    // One finding counts those that are not kept.
    assert_eq!((code, round["findings"].as_array().unwrap().len()), (1, 10_001));
    assert!(round["findings_dropped"].as_u64().unwrap() > 10_000, "{}", round["findings_dropped"]);
    let counted =
        round["findings"].as_array().unwrap().iter().filter(|each| each["code"] == "findings_dropped");
    assert_eq!(counted.count(), 1);
    let unread = &round["findings"][0];
    assert_eq!((&unread["code"], &unread["times"]), (&json!("leaf_unread"), &json!(2)));
    assert_eq!(round["verified"]["size"], log.leaves.len());
    // A fork is found nevertheless.
    let mut leaf = log.leaves[1].clone();
    *leaf.last_mut().unwrap() ^= 1;
    log.leaves[1] = leaf;
    log.publish_more(1);
    let (_, round) = check(&folder);
    assert_eq!(round["outcome"], "tamper");
    assert!(findings(&round).contains(&("tamper".to_owned(), "checkpoint_inconsistent".to_owned())));
    // Findings that are not kept are never verified, if all others are acknowledged.
    folder.tamper(
        "state.db",
        "UPDATE monitor_findings SET acknowledged_ms = 1 WHERE code <> 'findings_dropped'",
    );
    log.remove("checkpoint");
    let (code, round) = check(&folder);
    assert_eq!((code, findings(&round)), (1, found("unverifiable", "findings_dropped")), "{round}");
}

#[test]
fn a_round_has_a_limit_and_the_next_one_continues() {
    let (folder, mut log) = site();
    log.publish_more(10_000);
    for replayed in [4096, 8192] {
        let (code, result) = round(&folder, "folder:log", "--round-time 0s");
        assert_eq!((code, result["outcome"].as_str()), (3, Some("infrastructure")), "{result}");
        assert_eq!(result["replayed"], replayed);
        assert_eq!(result["failures"][0]["code"], "replay_unfinished");
    }
    // The log may grow meanwhile.
    log.publish_more(3);
    assert_verified(&round(&folder, "folder:log", "--round-time 0s"), &log);
}

#[test]
fn a_leaf_is_kept_with_its_proof() {
    let (folder, mut log) = site();
    log.grow(300);
    let mut record = log.sign();
    record.signature[40] ^= 1;
    log.push(&Leaf::Record(record));
    log.publish_more(0);
    // The tiles are missing at first: the leaf alone.
    std::fs::rename(log.folder.join("tile/0"), folder.path("away")).unwrap();
    let (_, round) = check(&folder);
    assert_eq!(findings(&round), found("tamper", "signature_invalid"));
    assert_eq!(
        (&round["findings"][0]["leaf"], &round["findings"][0]["evidence"]),
        (&json!(303), &json!(["leaf"]))
    );
    std::fs::rename(folder.path("away"), log.folder.join("tile/0")).unwrap();
    let (_, round) = check(&folder);
    assert_eq!(round["findings"][0]["evidence"], json!(["leaf.proof"]));
    ok(folder.eds("monitor --state state.db --evidence evidence"));
    let proof = ok(folder.eds("--json verify-proof evidence/1-leaf.proof --policy policy")).envelope();
    let proof = &proof["proof"];
    assert_eq!(
        (&proof["kind"], &proof["index"], &proof["sequence"]),
        (&json!("record"), &json!(303), &json!(301))
    );
    // Leaves that cannot be read are one finding, each with its own proof.
    log.leaves.extend([vec![0x30, 1], vec![0x30, 2]]);
    log.publish_more(0);
    let (_, round) = check(&folder);
    assert_eq!(round["findings"][1]["evidence"], json!(["leaf.proof", "2-leaf.proof"]));
    // The evidence is bounded.
    let mut record = log.sign();
    record.signature[40] ^= 1;
    (0..300).for_each(|_| log.push(&Leaf::Record(record.clone())));
    log.publish_more(0);
    let (_, round) = check(&folder);
    let kept = round["findings"].as_array().unwrap().iter().filter(|each| each["evidence"] != json!([]));
    assert_eq!(kept.count(), 34);
}

/// Returns true if the state has 32 bundles of the replay.
fn stored_progress(folder: &Folder) -> bool {
    use sqlx::{Connection, SqliteConnection};
    let url = format!("sqlite:{}?mode=ro", folder.path("state.db").display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let Ok(mut connection) = SqliteConnection::connect(&url).await else { return false };
        let replayed: Result<Option<Vec<u8>>, _> =
            sqlx::query_scalar("SELECT replayed FROM monitor_log").fetch_one(&mut connection).await;
        // The size is a varint behind two bytes: 8,192 leaves.
        replayed.ok().flatten().is_some_and(|state| state[2..4] == [0x80, 0x40])
    })
}

/// Serves the checkpoint that the witness has of the log.
fn witness(folder: &Folder) -> FileServer {
    let server = FileServer::start(&folder.path("witness"));
    let (key, witness) = (log_key().verifier().to_string(), witness_key().verifier().to_string());
    folder.write("policy", format!("log {key}\nwitness ours {witness} {}\nquorum ours\n", server.url));
    server
}

fn show_witness(folder: &Folder, note: &str) {
    let path = folder.path("witness").join(PolicyWitness::checkpoint_path(ORIGIN));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, note).unwrap();
}

fn state_of_witness(round: &Value) -> &str {
    round["witnesses"][0]["state"].as_str().unwrap()
}

#[test]
fn a_log_agrees_with_a_witness_at_any_size() {
    let (folder, mut log) = site();
    log.cosigns = true;
    let _server = witness(&folder);
    log.publish_more(300);
    let result = check(&folder);
    assert_verified(&result, &log);
    assert_eq!(state_of_witness(&result.1), "never");
    for (size, state) in [(3, "agrees"), (256, "agrees"), (log.leaves.len(), "agrees")] {
        let mut older = log.fork(&folder.path("older"));
        older.leaves.truncate(size);
        show_witness(&folder, &older.cosigned().to_string());
        let result = check(&folder);
        assert_verified(&result, &log);
        assert_eq!((state_of_witness(&result.1), &result.1["witnesses"][0]["size"]), (state, &json!(size)));
    }
    // A witness signs before the log publishes.
    let mut next = log.fork(&log.folder);
    next.grow(20);
    show_witness(&folder, &next.cosigned().to_string());
    let result = check(&folder);
    assert_verified(&result, &log);
    assert_eq!(state_of_witness(&result.1), "ahead");
    // The log shows the tiles of the larger tree already, and not its checkpoint.
    next.publish();
    log.write("checkpoint", log.cosigned().to_string().as_bytes());
    let result = check(&folder);
    assert_verified(&result, &log);
    assert_eq!(state_of_witness(&result.1), "ahead");
    // For ten minutes.
    folder.tamper("state.db", "UPDATE monitor_seen SET first_ms = first_ms - 660000");
    let (code, round) = check(&folder);
    assert_eq!((code, findings(&round)), (1, found("unverifiable", "checkpoint_withheld")), "{round}");
}

#[test]
fn two_histories_are_tamper() {
    let (folder, mut log) = site();
    log.cosigns = true;
    let _server = witness(&folder);
    log.grow(3);
    let mut other = log.fork(&folder.path("other"));
    log.publish_more(5);
    assert_verified(&check(&folder), &log);
    // Smaller, of the same size, and larger: the log shows the tiles of its other tree for the last one.
    for (records, code) in [(1, 1), (5, 1), (9, 0)] {
        let mut shown = other.fork(&folder.path("shown"));
        let mut leaf = other.leaves[3].clone();
        leaf[3] ^= 1;
        shown.leaves[3] = leaf;
        shown.grow(records);
        show_witness(&folder, &shown.cosigned().to_string());
        let (exit, round) = check(&folder);
        assert_eq!(exit, code, "{records}: {round}");
        let id = round["findings"].as_array().unwrap().last().map(|finding| finding["id"].as_u64().unwrap());
        if code == 0 {
            assert_eq!(state_of_witness(&round), "ahead");
            continue;
        }
        assert_eq!(findings(&round), found("tamper", "checkpoint_inconsistent"), "{round}");
        assert_eq!(state_of_witness(&round), "contradicts");
        let (id, evidence) = (id.unwrap(), format!("evidence-{records}"));
        ok(folder.eds(&format!("monitor --state state.db --evidence {evidence}")));
        let proof = folder.eds(&format!(
            "--json verify-proof {evidence}/{id}-consistency.proof --policy policy --previous {evidence}/{id}-previous.checkpoint"
        ));
        assert_eq!((proof.code, &proof.envelope()["error"]["code"]), (1, &json!("checkpoint_inconsistent")));
        ok(folder.eds(&format!("monitor --state state.db --acknowledge {id}")));
    }
    // The other tree comes to light when the log grows past it.
    log.publish_more(40);
    let (exit, round) = check(&folder);
    assert_eq!((exit, findings(&round)), (1, found("tamper", "checkpoint_inconsistent")), "{round}");
    other.leaves.clear();
}

#[test]
fn a_witness_that_stays_ahead_shows_a_withheld_tree() {
    let (folder, mut log) = site();
    log.cosigns = true;
    let _server = witness(&folder);
    log.publish_more(3);
    let mut next = log.fork(&folder.path("next"));
    next.grow(20);
    next.grow(300);
    show_witness(&folder, &next.cosigned().to_string());
    assert_verified(&check(&folder), &log);
    // Eleven minutes ago.
    folder.tamper("state.db", "UPDATE monitor_seen SET first_ms = first_ms - 660000");
    // The log withholds it as well if it shows no checkpoint, or another one in between.
    log.remove("checkpoint");
    let (code, round) = check(&folder);
    assert_eq!((code, findings(&round)), (1, found("unverifiable", "checkpoint_withheld")), "{round}");
    let mut between = log.fork(&log.folder);
    between.publish_more(20);
    let (code, round) = check(&folder);
    assert_eq!((code, findings(&round)), (1, found("unverifiable", "checkpoint_withheld")), "{round}");
    assert_eq!(round["findings"][0]["times"], 2);
    log.leaves = next.leaves.clone();
    log.publish();
    ok(folder.eds("monitor --state state.db --acknowledge 1"));
    let result = check(&folder);
    assert_verified(&result, &log);
    assert_eq!(state_of_witness(&result.1), "agrees");
}

#[test]
fn a_witness_that_fails_is_infrastructure() {
    let (folder, mut log) = site();
    log.cosigns = true;
    let server = witness(&folder);
    log.publish_more(300);
    show_witness(&folder, &log.cosigned().to_string());
    assert_verified(&check(&folder), &log);
    let size = Some(log.leaves.len() as u64);
    for (what, reply) in [
        ("500", Reply::Status(500)),
        ("page", Reply::Page),
        ("truncated", Reply::Truncated),
        ("hang", Reply::Hang),
    ] {
        server.rule(move |_, _| reply);
        assert_infrastructure(&round(&folder, "folder:log", "--timeout 1"), size, what);
    }
    server.rule(|_, _| Reply::File);
    // Notes that log and witness have not both signed are not trusted.
    show_witness(&folder, &log.note().to_string());
    let (code, round) = check(&folder);
    assert_eq!((code, findings(&round)), (1, found("unverifiable", "witness_not_compared")), "{round}");
    assert_eq!(state_of_witness(&round), "failed");
}

#[test]
fn a_witness_without_the_tiles_of_the_log_is_not_compared() {
    let (folder, mut log) = site();
    log.cosigns = true;
    let _server = witness(&folder);
    log.publish_more(300);
    assert_verified(&check(&folder), &log);
    // Behind the replay, only the tiles have the root of an older size.
    let mut older = log.fork(&folder.path("older"));
    older.leaves.truncate(100);
    show_witness(&folder, &older.cosigned().to_string());
    std::fs::rename(log.folder.join("tile/0"), folder.path("away")).unwrap();
    let result = check(&folder);
    assert_infrastructure(&result, Some(log.leaves.len() as u64), "no tiles");
    let codes: Vec<&Value> =
        result.1["failures"].as_array().unwrap().iter().map(|each| &each["code"]).collect();
    assert_eq!(codes, ["log_unreachable", "witness_not_compared"]);
    std::fs::rename(folder.path("away"), log.folder.join("tile/0")).unwrap();
    assert_verified(&check(&folder), &log);
}

#[test]
fn a_witness_that_shows_less_than_before_is_reported() {
    let (folder, mut log) = site();
    log.cosigns = true;
    let _server = witness(&folder);
    log.publish_more(30);
    show_witness(&folder, &log.cosigned().to_string());
    assert_verified(&check(&folder), &log);
    let mut older = log.fork(&folder.path("older"));
    older.leaves.truncate(10);
    show_witness(&folder, &older.cosigned().to_string());
    let (code, round) = check(&folder);
    assert_eq!((code, findings(&round)), (1, found("unverifiable", "witness_rolled_back")), "{round}");
    assert_eq!(state_of_witness(&round), "rolled_back");
    ok(folder.eds("monitor --state state.db --acknowledge 1"));
    std::fs::remove_file(folder.path("witness").join(PolicyWitness::checkpoint_path(ORIGIN))).unwrap();
    let (code, round) = check(&folder);
    assert_eq!((code, findings(&round)), (1, found("unverifiable", "witness_rolled_back")), "{round}");
}

#[test]
fn a_split_view_shows_without_the_checkpoint_of_the_log() {
    // The log shows none, one without a quorum, or one that is not its own.
    for case in ["none", "without quorum", "other"] {
        let (folder, mut log) = site();
        log.cosigns = true;
        let _server = witness(&folder);
        log.grow(3);
        let mut other = log.fork(&folder.path("other"));
        log.publish_more(5);
        assert_verified(&check(&folder), &log);
        other.push(&Leaf::parse(&[0x30, 1]).unwrap());
        other.grow(2);
        show_witness(&folder, &other.cosigned().to_string());
        match case {
            "none" => log.remove("checkpoint"),
            "without quorum" => log.write("checkpoint", log.note().to_string().as_bytes()),
            _ => log
                .write("checkpoint", log.note().to_string().replace(ORIGIN, "log.example/doors").as_bytes()),
        }
        let (code, round) = check(&folder);
        assert_eq!((code, round["outcome"].as_str()), (1, Some("tamper")), "{case}: {round}");
        assert!(findings(&round).contains(&("tamper".to_owned(), "checkpoint_inconsistent".to_owned())));
        assert_eq!(state_of_witness(&round), "contradicts", "{case}");
    }
}

#[test]
fn each_pair_of_contradicting_checkpoints_stays_together() {
    let (folder, mut log) = site();
    log.publish_more(3);
    assert_verified(&check(&folder), &log);
    let verified = log.note();
    let sizes = [4_u64, 6, 5];
    for size in sizes {
        let mut other = TestLog::new(&folder.path("other"));
        other.push(&Leaf::parse(&[0x30, 1]).unwrap());
        other.grow(usize::try_from(size).unwrap() - 4);
        log.write("checkpoint", other.note().to_string().as_bytes());
        assert_eq!(findings(&check(&folder).1), found("tamper", "checkpoint_inconsistent"));
    }
    ok(folder.eds("monitor --state state.db --evidence evidence"));
    for (prefix, size) in ["1-", "1-2-", "1-3-"].into_iter().zip(sizes) {
        let checkpoint = |name: &str| {
            let note = folder.read(&format!("evidence/{prefix}{name}.checkpoint"));
            Checkpoint::parse(Note::parse(note.as_bytes()).unwrap().text()).unwrap()
        };
        let pair = [checkpoint("previous"), checkpoint("other")];
        let mut pair_sizes = pair.each_ref().map(Checkpoint::size);
        pair_sizes.sort_unstable();
        assert_eq!(pair_sizes, [size, 6], "{prefix}");
        assert!(pair.iter().any(|each| each.to_string() == verified.text()), "{prefix}");
        let proof = folder.eds(&format!(
            "--json verify-proof evidence/{prefix}consistency.proof --policy policy --previous evidence/{prefix}previous.checkpoint"
        ));
        assert_eq!(proof.envelope()["error"]["code"], "checkpoint_inconsistent", "{prefix}");
    }
}

#[test]
fn a_change_of_the_policy_drops_checkpoints_of_other_keys() {
    let (folder, mut log) = site();
    log.publish_more(3);
    assert_verified(&check(&folder), &log);
    // A second key of the log, which signs another tree.
    let second = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [9; 32]).unwrap();
    let both = format!("log {}\nlog {}\nquorum none\n", log_key().verifier(), second.verifier());
    let one = folder.read("policy");
    folder.write("policy", both);
    let forged =
        Checkpoint::new(ORIGIN, 9, TreeHash::of_leaf(b"another tree")).unwrap().sign(&second).unwrap();
    log.write("checkpoint", forged.to_string().as_bytes());
    let (code, problem) = round(&folder, "folder:log", "--origin log.example/lifts --accept-policy");
    assert_eq!(code, 3, "{problem}");
    folder.write("policy", one);
    log.publish_more(9);
    assert_verified(&round(&folder, "folder:log", "--accept-policy"), &log);
}

#[test]
fn a_state_belongs_to_one_monitor_one_log_and_one_policy() {
    let (folder, mut log) = site();
    log.publish_more(3);
    assert_verified(&check(&folder), &log);
    let refused = |policy: &str, state: &str| {
        let line = format!("--json monitor folder:log --policy {policy} --state {state} --once");
        let run = folder.eds(&line);
        (run.code, run.envelope()["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    let (code, message) = refused("witnessed", "state.db");
    assert!(
        code == 2 && message.contains("under another policy") && message.contains("--accept-policy"),
        "{message}"
    );
    log.cosigns = true;
    log.publish();
    ok(folder.eds("monitor folder:log --policy witnessed --state state.db --once --accept-policy"));
    ok(folder.eds("monitor folder:log --policy witnessed --state state.db --once"));
    let doors = SignerKey::from_seed("log.example/doors", KeyType::Ed25519, [3; 32]).unwrap();
    folder.write("doors", format!("log {}\nquorum none\n", doors.verifier()));
    let (code, message) = refused("doors", "state.db");
    assert!(code == 2 && message.contains("belongs to log \"log.example/lifts\""), "{message}");
    folder.write("both", format!("log {}\nlog {}\nquorum none\n", log_key().verifier(), doors.verifier()));
    let (code, message) = refused("both", "new.db");
    assert!(code == 2 && message.contains("--origin"), "{message}");
    ok(folder.eds("monitor folder:log --policy both --origin log.example/lifts --state new.db --once"));
    // Other files stay as they are.
    let text = "A text that is longer than the header of a database, which has a hundred bytes. ".repeat(3);
    folder.write("text.db", &text);
    let (code, message) = refused("witnessed", "text.db");
    assert!(code != 0 && message.contains("text.db"), "{message}");
    assert_eq!(folder.read("text.db"), text);
    let (code, message) = refused("witnessed", "missing/state.db");
    assert!(code != 0 && message.contains("missing/state.db"), "{message}");
    folder.tamper("state.db", "UPDATE monitor_log SET follower = x'0700'");
    log.publish_more(1);
    let (code, message) = refused("witnessed", "state.db");
    assert!(code == 2 && message.contains("damaged"), "{message}");
}

#[test]
fn a_ledger_is_not_a_state() {
    let (folder, _) = ledger(20);
    folder.write("policy", format!("log {}\nquorum none\n", log_key().verifier()));
    let before = std::fs::read(folder.path("edgesentry.db")).unwrap();
    let run = folder.eds("--json monitor folder:. --policy policy --state edgesentry.db --once");
    let message = run.envelope()["error"]["message"].as_str().unwrap().to_owned();
    assert!(run.code == 2 && message.contains("no state of a monitor"), "{message}");
    assert_eq!(std::fs::read(folder.path("edgesentry.db")).unwrap(), before);
    let run = folder.eds("--json monitor --state none.db --findings");
    assert_ne!(run.code, 0);
    assert!(!folder.path("none.db").exists());
}

/// A monitor in a process of its own; killed when dropped.
struct Watching(std::process::Child, String);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Watching {
    fn start(folder: &Folder, url: &str) -> Watching {
        let mut command = folder.command_for_signals();
        command.args(["monitor", url, "--policy", "policy", "--state", "state.db", "--interval", "1s"]);
        command.args(["--metrics-listen", "127.0.0.1:0", "--token-file", "token", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let url = crate::serve::listening(&line);
        let address = url.strip_prefix("http://").and_then(|url| url.strip_suffix("/metrics"));
        let address = address.unwrap_or_else(|| panic!("{line}")).to_owned();
        std::thread::spawn(move || lines.for_each(drop));
        Watching(child, address)
    }

    /// Waits until the metrics have a line.
    fn shows(&self, line: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let text = crate::serve::get(&self.1, "/metrics");
            if text.lines().any(|each| each == line) {
                return;
            }
            assert!(Instant::now() < deadline, "no {line} in {text}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn it_watches_a_served_log_until_it_is_stopped() {
    let (folder, _) = ledger(300);
    let made = ok(folder.eds("--json token auditor --scope read")).envelope()["token"].clone();
    folder.write("token", made["token"].as_str().unwrap());
    let hash = made["hash"].as_str().unwrap();
    folder.write(
        "eds.toml",
        format!(
            "[log]\norigin = \"log.example/lifts\"\nkey = \"log.seed\"\ninterval_seconds = 1\n\
             [serve.tokens.auditor]\nhash = \"{hash}\"\nscopes = [\"read\"]\n"
        ),
    );
    let init = ok(folder.eds("--json checkpoint init --config eds.toml")).envelope();
    let key = init["checkpoint"]["verifier_key"].as_str().unwrap();
    folder.write("policy", format!("log {key}\nquorum none\n"));
    ok(folder.eds("checkpoint --config eds.toml"));
    let mut command = folder.command();
    command.env("EDS_CONFIG", "eds.toml");
    let served = Served::start(command, "127.0.0.1:0");
    let url = format!("http://{}/log", served.address());
    let (code, problem) = round(&folder, &url, "");
    assert_eq!((code, problem["outcome"].as_str()), (3, Some("infrastructure")), "{problem}");
    let (code, verified) = round(&folder, &url, "--token-file token");
    assert_eq!(code, 0, "{verified}");
    let size = verified["verified"]["size"].as_u64().unwrap();

    let watching = Watching::start(&folder, &url);
    watching.shows(&format!("edgesentry_monitor_verified_size {size}"));
    watching.shows("edgesentry_monitor_info{origin=\"log.example/lifts\"} 1");
    watching.shows("edgesentry_monitor_findings{class=\"tamper\"} 0");
    watching.shows("edgesentry_monitor_failures_total 0");
    let second = round(&folder, &url, "");
    let message = second.1["message"].as_str().unwrap();
    assert!(second.0 == 2 && message.contains("another monitor uses this state"), "{message}");
    // Under another path as well.
    std::os::unix::fs::symlink("state.db", folder.path("link.db")).unwrap();
    let linked = folder.eds(&format!("monitor {url} --policy policy --state link.db --once"));
    assert!(
        linked.code == 2 && linked.stderr.contains("another monitor uses this state"),
        "{}",
        linked.stderr
    );
    // A new key is a leaf of the next batch.
    ok(folder.eds("keygen --output door.seed"));
    let key = ok(folder.eds("--json inspect-key door.seed")).envelope();
    let key = key["key"]["public_key"].as_str().unwrap().to_owned();
    ok(folder.eds(&format!("device register door-1 --public-key {key} --config eds.toml")));
    watching.shows(&format!("edgesentry_monitor_verified_size {}", size + 2));
    drop(served);
    watching.shows("edgesentry_monitor_failures_total 1");
    watching.shows("edgesentry_monitor_findings{class=\"tamper\"} 0");
    let pid = rustix::process::Pid::from_child(&watching.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut watching = watching;
    assert_eq!(watching.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_monitor_that_restarts_shows_its_findings_before_its_first_round() {
    let (folder, mut log) = site();
    log.grow(3);
    let old = log.note();
    log.publish_more(3);
    assert_verified(&check(&folder), &log);
    log.write("checkpoint", old.to_string().as_bytes());
    assert_eq!(findings(&check(&folder).1), found("unverifiable", "checkpoint_rolled_back"));
    let server = FileServer::start(&log.folder);
    server.rule(|_, _| Reply::Hang);
    folder.write("token", "eds_token");
    let watching = Watching::start(&folder, &server.url);
    watching.shows("edgesentry_monitor_findings{class=\"unverifiable\"} 1");
    watching.shows("edgesentry_monitor_verified_size 10");
}

#[test]
fn a_state_with_two_names_is_refused() {
    let (folder, mut log) = site();
    log.publish_more(3);
    assert_verified(&check(&folder), &log);
    std::fs::hard_link(folder.path("state.db"), folder.path("other.db")).unwrap();
    for state in ["state.db", "other.db"] {
        let run = folder.eds(&format!("monitor folder:log --policy policy --state {state} --once"));
        assert!(run.code == 2 && run.stderr.contains("several names"), "{}", run.stderr);
    }
    std::fs::remove_file(folder.path("other.db")).unwrap();
    assert_verified(&check(&folder), &log);
}

#[test]
fn the_keys_of_a_registry_do_not_contradict_its_log() {
    let folder = Folder::new();
    folder.write(
        "eds.toml",
        "ledger = \"sqlite:l.db\"\n[log]\norigin = \"log.example/lifts\"\nkey = \"log.seed\"\n",
    );
    let key = |name: &str| {
        ok(folder.eds(&format!("keygen --output {name}")));
        let key = ok(folder.eds(&format!("--json inspect-key {name}"))).envelope();
        key["key"]["public_key"].as_str().unwrap().to_owned()
    };
    ok(folder.eds("keygen --output log.seed"));
    ok(folder.eds(&format!("device register lift-01 --public-key {} --config eds.toml", key("first.seed"))));
    let init = ok(folder.eds("--json checkpoint init --config eds.toml")).envelope();
    let verifier = init["checkpoint"]["verifier_key"].as_str().unwrap();
    folder.write("policy", format!("log {verifier}\nquorum none\n"));
    let verified = |what: &str| {
        ok(folder.eds("checkpoint --config eds.toml"));
        let (code, round) = round(&folder, "folder:l.db.log/log", "");
        assert_eq!((code, round["outcome"].as_str()), (0, Some("verified")), "{what}: {round}");
    };
    verified("a first key");
    ok(folder.eds("device revoke lift-01 --config eds.toml"));
    let second = key("second.seed");
    ok(folder.eds(&format!("device rotate lift-01 --public-key {second} --config eds.toml")));
    verified("a key in place of one that never signed");
    std::fs::create_dir(folder.path("payloads")).unwrap();
    folder.write("payloads/1.bin", "door");
    let record = ok(folder
        .eds("sign-record --key second.seed --device lift-01 --payload payloads/1.bin --object-ref 1.bin"));
    folder.write("chain.ndjson", record.stdout);
    ok(folder.eds("ingest chain.ndjson --payloads payloads --config eds.toml"));
    verified("its record");
    ok(folder.eds("device revoke lift-01 --config eds.toml"));
    verified("a revoked key");
    ok(folder.eds(&format!("device rotate lift-01 --public-key {} --config eds.toml", key("third.seed"))));
    ok(folder.eds("device revoke lift-01 --config eds.toml"));
    ok(folder.eds(&format!("device rotate lift-01 --public-key {} --config eds.toml", key("fourth.seed"))));
    verified("two keys of one batch");
}

#[test]
fn keys_of_the_operator_and_of_the_device_are_distinguished() {
    let folder = Folder::new();
    folder.write(
        "eds.toml",
        "ledger = \"sqlite:l.db\"\n[ingest]\nrotation = \"device\"\n\
         [log]\norigin = \"log.example/lifts\"\nkey = \"log.seed\"\n",
    );
    let lift = |seed| Device::from_seed("lift-01", [seed; 32], Scheme::Record);
    let key = |seed| lift(seed).public_key().unwrap();
    ok(folder.eds("keygen --out log.seed"));
    ok(folder.eds(&format!("device register lift-01 --public-key {} --config eds.toml", key(1))));
    let init = ok(folder.eds("--json checkpoint init --config eds.toml")).envelope();
    let verifier = init["checkpoint"]["verifier_key"].as_str().unwrap();
    folder.write("policy", format!("log {verifier}\nquorum none\n"));
    std::fs::create_dir(folder.path("payloads")).unwrap();
    let send = |record: &AuditRecord, payload: &[u8]| {
        folder.write(&format!("payloads/{}", record.object_ref), payload);
        folder.write_records("records.ndjson", std::slice::from_ref(record));
        ok(folder.eds("ingest records.ndjson --payloads payloads --config eds.toml"));
    };
    let replaced = || {
        ok(folder.eds("checkpoint --config eds.toml"));
        let (code, round) = round(&folder, "folder:l.db.log/log", "");
        assert_eq!((code, round["outcome"].as_str()), (0, Some("verified")), "{round}");
        let keys = &round["replaced_keys"];
        (keys["by_device"].as_u64().unwrap(), keys["by_operator"].as_u64().unwrap())
    };
    let mut device = lift(1);
    send(&device.sign(1, b"one", "1.bin").unwrap(), b"one");
    let (record, payload) = device.succeed(2, lift(2)).unwrap();
    send(&record, &payload);
    assert_eq!(replaced(), (0, 0));
    send(&device.sign(3, b"three", "3.bin").unwrap(), b"three");
    assert_eq!(replaced(), (1, 0));
    ok(folder.eds(&format!("device rotate lift-01 --public-key {} --config eds.toml", key(3))));
    let mut device = lift(3).resume(device.head());
    send(&device.sign(4, b"four", "4.bin").unwrap(), b"four");
    assert_eq!(replaced(), (1, 1));
    let mut command = folder.command();
    command.args(["monitor", "folder:l.db.log/log", "--policy", "policy", "--state", "other.db", "--once"]);
    let text = command.env("RUST_LOG", "edgesentry_rs=warn").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&text.stdout), String::from_utf8_lossy(&text.stderr));
    assert!(
        out.contains("  2 replaced keys: 1 by successions of devices, 1 by the operator alone\n"),
        "{out}"
    );
    let event = "a key of the monitored log has no succession by the device";
    assert!(err.contains(event) && err.contains("lift-01"), "{err}");
}
