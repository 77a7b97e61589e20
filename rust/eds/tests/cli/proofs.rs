//! `eds prove` and `eds verify-proof`.

use eds::fleet::{Fleet, WATER};
use serde_json::{Value, json};

use crate::{Folder, Run, as_json, ledger};

/// A ledger whose log is signed: eds.toml, policy.txt, old.checkpoint, and behind it a larger checkpoint.
fn logged() -> (Folder, Fleet) {
    let (folder, fleet) = ledger(100);
    folder.write("eds.toml", "[log]\norigin = \"log.example/lifts\"\nkey = \"log.seed\"\n");
    let init = ok(folder.eds("--json checkpoint init --config eds.toml")).envelope();
    let key = init["checkpoint"]["verifier_key"].as_str().unwrap();
    folder.write("policy.txt", format!("log {key}\nquorum none\n"));
    let first = ok(folder.eds("--json checkpoint --config eds.toml")).envelope();
    folder.write("old.checkpoint", first["checkpoint"]["checkpoint"].as_str().unwrap());
    ok(folder.eds("keygen --output door.seed"));
    let key = ok(folder.eds("--json inspect-key door.seed")).envelope();
    let key = key["key"]["public_key"].as_str().unwrap_or_else(|| panic!("{key}")).to_owned();
    ok(folder.eds(&format!("device register door-1 --public-key {key} --config eds.toml")));
    ok(folder.eds("checkpoint --config eds.toml"));
    folder.write("record.json", as_json(record(&fleet, 7)).to_string());
    folder.write("other.json", as_json(record(&fleet, 8)).to_string());
    (folder, fleet)
}

fn record(fleet: &Fleet, sequence: u64) -> &edgesentry_chain::AuditRecord {
    let of =
        |record: &&edgesentry_chain::AuditRecord| record.device_id == WATER && record.sequence == sequence;
    fleet.records.iter().find(of).unwrap()
}

fn ok(run: Run) -> Run {
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    run
}

fn error(run: &Run) -> (i32, Value) {
    (run.code, run.envelope()["error"]["code"].clone())
}

#[test]
fn a_proof_of_each_kind_goes_to_a_file_or_to_stdout() {
    let (folder, _) = logged();
    for (line, statement) in [
        (format!("record {WATER} 7"), format!("the record of device \"{WATER}\" with sequence 7 is leaf ")),
        (
            format!("record {WATER} 7-12"),
            format!("the records of device \"{WATER}\" with sequences 7 to 12 are among leaves "),
        ),
        (format!("head {WATER}"), format!("the last record of device \"{WATER}\" in log ")),
        ("head lift-99".to_owned(), "has no key and no record of device \"lift-99\"".to_owned()),
        ("head door-1".to_owned(), "device \"door-1\" has no record in log ".to_owned()),
        ("consistency old.checkpoint".to_owned(), "extends the older checkpoint of size ".to_owned()),
    ] {
        let previous = if line.starts_with("consistency") { "--previous old.checkpoint" } else { "" };
        let proof = ok(folder.eds(&format!("prove {line} --config eds.toml"))).stdout;
        let run =
            folder.eds_with(&format!("verify-proof - --policy policy.txt {previous}"), proof.as_bytes());
        let run = ok(run);
        assert!(run.stdout.starts_with("valid: ") && run.stdout.contains(&statement), "{}", run.stdout);

        let run = ok(folder.eds(&format!("prove {line} --config eds.toml -o file.proof")));
        assert!(run.stdout.starts_with("file.proof: proof of "), "{}", run.stdout);
        assert_eq!(folder.read("file.proof"), proof);
        let envelope = ok(folder.eds(&format!("--json prove {line} --config eds.toml"))).envelope();
        assert_eq!(envelope["proof"]["proof"], proof);
        let run = ok(folder.eds(&format!("--json verify-proof file.proof --policy policy.txt {previous}")));
        let proven = run.envelope()["proof"].clone();
        assert!(proven["statement"].as_str().unwrap().contains(&statement), "{proven}");
        assert_eq!(proven["kind"], envelope["proof"]["kind"]);
        assert_eq!(proven["checkpoint"]["size"], envelope["proof"]["size"]);
        assert_eq!(proven["checkpoint"]["quorum_time"], Value::Null);
    }
}

#[test]
fn a_proof_is_held_to_the_expected_statement() {
    let (folder, _) = logged();
    ok(folder.eds(&format!("prove record {WATER} 7 --config eds.toml -o record.proof")));
    ok(folder.eds("prove consistency old.checkpoint --config eds.toml -o grown.proof"));
    let verify = |line: &str| folder.eds(&format!("--json verify-proof {line} --policy policy.txt"));
    ok(verify("record.proof --record record.json"));
    ok(verify(&format!("record.proof --device {WATER} --sequence 7 --expect record")));
    for line in [
        "record.proof --record other.json",
        "record.proof --device lift-99",
        "record.proof --sequence 8",
        "record.proof --expect head",
        "record.proof --previous old.checkpoint",
    ] {
        assert_eq!(error(&verify(line)), (1, json!("proof_of_other")), "{line}");
    }
    ok(folder.eds(&format!("prove record {WATER} 5-9 --config eds.toml -o run.proof")));
    ok(verify("run.proof --record record.json"));
    ok(verify(&format!("run.proof --device {WATER} --sequence 5-9 --expect run")));
    for line in ["run.proof --sequence 5", "run.proof --sequence 5-8", "run.proof --expect record"] {
        assert_eq!(error(&verify(line)), (1, json!("proof_of_other")), "{line}");
    }
    assert_eq!(verify("run.proof --sequence 9-5").code, 2);
    let missing = verify("grown.proof");
    assert_eq!(error(&missing), (2, json!("proof_incomplete")));
    assert!(missing.stdout.contains("pass --previous"), "{}", missing.stdout);

    // Another key, a damaged signature, and a policy that is not one.
    let policy = folder.read("policy.txt");
    ok(folder.eds("keygen --output other.seed"));
    let other = folder.eds("--json verify-proof record.proof --policy other.txt");
    assert_eq!(error(&other), (2, json!("policy_unreadable")));
    folder.write("other.txt", "quorum none\n");
    let other = folder.eds("--json verify-proof record.proof --policy other.txt");
    assert_eq!(error(&other), (1, json!("checkpoint_untrusted")));
    folder.write("other.txt", policy.replace("quorum none", "quorum nobody"));
    let other = folder.eds("--json verify-proof record.proof --policy other.txt");
    assert_eq!(error(&other), (2, json!("policy")));

    let proof = folder.read("record.proof");
    folder.write("changed.proof", proof.replace("index ", "index 1"));
    assert_eq!(error(&verify("changed.proof")), (1, json!("proof_invalid")));
    folder.write("changed.proof", &proof[..proof.len() - 1]);
    assert_eq!(error(&verify("changed.proof")), (3, json!("proof_malformed")));
    folder.write("changed.proof", vec![b'x'; 1 << 20]);
    assert_eq!(error(&verify("changed.proof")), (3, json!("proof_malformed")));
    assert_eq!(error(&verify("absent.proof")), (2, json!("proof_unreadable")));
    assert_eq!(verify("record.proof --expect luck").code, 2);
}

#[test]
fn a_proof_of_an_earlier_checkpoint_is_made_and_refused_as_old() {
    let (folder, _) = logged();
    let old: u64 = folder.read("old.checkpoint").lines().nth(1).unwrap().parse().unwrap();
    for line in [format!("record {WATER} 7"), format!("record {WATER} 7-9"), "head door-1".to_owned()] {
        ok(folder.eds(&format!("prove {line} --size {old} --config eds.toml -o old.proof")));
        let verify =
            |line: &str| folder.eds(&format!("--json verify-proof old.proof --policy policy.txt {line}"));
        let proven = ok(verify(&format!("--min-size {old}"))).envelope();
        assert_eq!(proven["proof"]["checkpoint"]["size"], json!(old));
        assert_eq!(error(&verify(&format!("--min-size {}", old + 1))), (1, json!("checkpoint_stale")));
        // No witness gives a time.
        let run = verify("--max-age 7d");
        assert_eq!(error(&run), (1, json!("checkpoint_stale")));
        assert!(run.stdout.contains("the policy requires no witness"), "{}", run.stdout);
    }
    // door-1 was not registered yet.
    let verify =
        |line: &str| folder.eds(&format!("--json verify-proof old.proof --policy policy.txt {line}"));
    ok(verify("--expect absence --device door-1"));
    for size in [0, old - 1, 90_000] {
        let run = folder.eds(&format!("--json prove head door-1 --size {size} --config eds.toml"));
        assert_eq!(error(&run), (2, json!("checkpoint_unknown")), "{size}");
    }
    let run = folder.eds(&format!("--json prove record {WATER} 1-4097 --config eds.toml"));
    assert_eq!(error(&run), (2, json!("run_length")));
}

#[test]
fn an_impossible_proof_is_an_error() {
    let (folder, _) = logged();
    let prove = |line: &str| folder.eds(&format!("--json prove {line} --config eds.toml"));
    assert_eq!(error(&prove(&format!("record {WATER} 700"))), (3, json!("not_logged")));
    assert_eq!(error(&prove("record lift-99 1")), (3, json!("not_logged")));
    assert_eq!(error(&prove("consistency absent")), (2, json!("checkpoint_unreadable")));
    assert_eq!(error(&prove("consistency policy.txt")), (2, json!("checkpoint")));
    let old = folder.read("old.checkpoint");
    folder.write("foreign", old.replacen("log.example/lifts", "log.example/doors", 1));
    assert_eq!(error(&prove("consistency foreign")), (2, json!("log_origin")));
    let size = old.lines().nth(1).unwrap().to_owned();
    folder.write("larger", old.replacen(&size, "9000", 1));
    assert_eq!(error(&prove("consistency larger")), (1, json!("checkpoint_inconsistent")));
    folder.write("split", old.replacen(&size, &(size.parse::<u64>().unwrap() - 1).to_string(), 1));
    assert_eq!(error(&prove("consistency split")), (1, json!("checkpoint_inconsistent")));
    // The checkpoint is an input.
    let run = prove("consistency old.checkpoint -o old.checkpoint");
    assert_eq!(error(&run), (2, json!("output_refused")));
    assert_eq!(folder.read("old.checkpoint"), old);

    let (bare, _) = ledger(100);
    let run = bare.eds(&format!("--json prove record {WATER} 7"));
    assert_ne!(run.code, 0, "{}", run.stdout);
}
