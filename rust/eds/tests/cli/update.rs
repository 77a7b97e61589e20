//! `eds update`: publishers sign, a device verifies and remembers.

use serde_json::Value;

use crate::token::{Token, program};
use crate::{Folder, Run};

/// Two publishers with their trust, and an image of version 5.
fn publishers() -> Folder {
    let folder = Folder::new();
    publish(&folder);
    folder
}

fn publish(folder: &Folder) {
    let key = |name: &str| {
        let run = folder.eds(&format!("--json keygen --output {name}.seed"));
        run.envelope()["key"]["public_key"].as_str().unwrap().to_owned()
    };
    let (a, b) = (key("a"), key("b"));
    folder.write("trust.json", format!(r#"{{"name": "door", "threshold": 2, "keys": ["{a}", "{b}"]}}"#));
    folder.write("5.bin", "version 5");
}

fn sign(folder: &Folder, version: u64, more: &str) {
    let expires = if more.contains("--expires") { "" } else { "--expires 2099-01-01T00:00:00Z" };
    let run = folder.eds(&format!(
        "update sign {version}.bin --name door --version {version} {expires} --key a.seed --key b.seed \
         --output {version}.manifest {more}"
    ));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
}

fn verify(folder: &Folder, version: u64, more: &str) -> Run {
    folder.eds(&format!("--json update verify {version}.manifest {version}.bin --trust trust.json {more}"))
}

fn code(run: &Run) -> (i32, Value) {
    (run.code, run.envelope()["error"]["code"].clone())
}

#[test]
fn a_device_accepts_an_update_and_refuses_older_ones() {
    let folder = publishers();
    sign(&folder, 5, "");
    folder.write("4.bin", "version 4");
    sign(&folder, 4, "");
    assert_eq!(folder.eds("update create-state device.state --name door").code, 0);
    let again = folder.eds("--json update create-state device.state --name door");
    assert_eq!(code(&again), (2, "update_state_exists".into()));

    let run = verify(&folder, 5, "");
    assert_eq!((run.code, &run.envelope()["update"]["signatures"]), (0, &2.into()));
    assert_eq!(run.envelope()["update"]["state"], Value::Null);
    let text = folder.eds("update verify 5.manifest 5.bin --trust trust.json");
    assert!(text.stdout.contains("not checked: the version against a device"), "{}", text.stdout);
    // Reading changes nothing.
    let before = std::fs::read(folder.path("device.state")).unwrap();
    let run = verify(&folder, 4, "--state device.state");
    assert_eq!((run.code, &run.envelope()["update"]["accepted"]), (0, &false.into()));
    assert_eq!(std::fs::read(folder.path("device.state")).unwrap(), before);

    let run = verify(&folder, 5, "--state device.state --accept --audit accepted.json");
    assert_eq!((run.code, &run.envelope()["update"]["state"]["minimum_version"]), (0, &5.into()));
    assert!(folder.read("accepted.json").contains(r#""outcome":"accepted","name":"door","version":5"#));
    let mixed = verify(&folder, 5, "--audit -");
    assert_eq!(code(&mixed), (2, "usage".into()));
    assert_eq!(verify(&folder, 5, "--state device.state --accept").code, 0);
    let old = verify(&folder, 4, "--state device.state --accept --audit refused.json");
    assert_eq!(code(&old), (1, "update_rollback".into()));
    assert!(folder.read("refused.json").contains(r#""outcome":"refused","reason":"update_rollback""#));
}

#[test]
fn attacks_are_refused_with_their_reason() {
    let folder = publishers();
    sign(&folder, 5, "");
    assert_eq!(folder.eds("update create-state device.state --name door").code, 0);
    let with = "--state device.state --accept";
    let refused = |expected: &str, more: &str| {
        let before = std::fs::read(folder.path("device.state")).unwrap();
        let run = verify(&folder, 5, &format!("{with} {more}"));
        assert_eq!(code(&run), (1, expected.into()));
        assert_eq!(std::fs::read(folder.path("device.state")).unwrap(), before, "{expected}");
    };
    refused("update_expired", "--now 2099-01-01T00:00:00Z");
    for (image, expected) in [
        ("version", "update_image_truncated"),
        ("version 5!", "update_image_too_long"),
        ("version 6", "update_image_hash"),
    ] {
        folder.write("5.bin", image);
        refused(expected, "");
    }
    folder.write("5.bin", "version 5");
    let manifest = std::fs::read(folder.path("5.manifest")).unwrap();
    folder.write("5.manifest", &manifest[1..]);
    refused("update_malformed", "--audit malformed.json");
    assert_eq!(
        folder.read("malformed.json"),
        r#"{"type":"edgesentry-update/v1","outcome":"refused","reason":"update_malformed"}"#
    );
    let mut forged = manifest.clone();
    *forged.last_mut().unwrap() ^= 1;
    folder.write("5.manifest", forged);
    refused("update_untrusted", "");

    // One publisher is not enough; another can add a signature, once.
    let one =
        "update sign 5.bin --name door --version 5 --expires 4070908800000 --key a.seed --output 5.manifest";
    assert_eq!(folder.eds(one).code, 0);
    refused("update_untrusted", "");
    let add = "--json update add-signature 5.manifest --key b.seed";
    let run = folder.eds(add);
    assert_eq!((run.code, run.envelope()["update"]["signers"].as_array().unwrap().len()), (0, 2));
    assert_eq!(code(&folder.eds(add)), (2, "update_unusable".into()));
    let other = folder.read("trust.json").replace("door", "lift");
    folder.write("other.json", other);
    let run = folder.eds(&format!("--json update verify 5.manifest 5.bin --trust other.json {with}"));
    assert_eq!(code(&run), (1, "update_other_name".into()));
    assert_eq!(verify(&folder, 5, with).code, 0);

    // Two images of one version.
    folder.write("5.bin", "another 5");
    sign(&folder, 5, "");
    refused("update_conflict", "");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = publishers();
    sign(&folder, 5, "--minimum-version 4");
    let damaged = "--state device.state";
    assert_eq!(code(&verify(&folder, 5, damaged)), (3, "io".into()));
    folder.write("device.state", [0; 1024]);
    assert_eq!(code(&verify(&folder, 5, damaged)), (3, "update_state".into()));
    assert_eq!(code(&verify(&folder, 5, &format!("{damaged} --accept"))), (3, "update_state".into()));
    assert_eq!(std::fs::read(folder.path("device.state")).unwrap(), [0; 1024]);
    for trust in ["", "{}", r#"{"name": "door", "threshold": 1, "keys": []}"#, &"x".repeat(70_000)] {
        folder.write("trust.json", trust);
        assert_eq!(code(&verify(&folder, 5, "")), (2, "update_trust".into()));
    }
    let line = "--json update sign 5.bin --name door --version 5 --expires 1 --key a.seed --output";
    assert_eq!(code(&folder.eds(&format!("{line} 5.bin"))), (2, "output_refused".into()));
    assert_eq!(code(&folder.eds(&format!("{line} a.seed"))), (2, "output_refused".into()));
    folder.write("5.bin", "");
    assert_eq!(code(&folder.eds(&format!("{line} 6.manifest"))), (2, "update_unusable".into()));
    let run = folder.eds("update sign 5.bin --name a/b --version 5 --expires 1 --key a.seed --output x");
    assert_eq!((run.code, folder.path("x").exists()), (2, false));
}

#[test]
fn the_device_records_accepted_and_refused_updates() {
    let folder = publishers();
    sign(&folder, 5, "");
    folder.write("4.bin", "version 4");
    sign(&folder, 4, "");
    assert_eq!(folder.eds("update create-state device.state --name door").code, 0);
    assert_eq!(folder.eds("keygen --device door-01 --output door-01.seed").code, 0);
    let chain = "--state device.state --accept --outbox door.outbox --device door-01 --key door-01.seed";
    let run = verify(&folder, 5, chain);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert_eq!(run.envelope()["update"]["record"]["object_ref"], "door-01/updates/1.json");
    let run = verify(&folder, 4, chain);
    assert_eq!(code(&run), (1, "update_rollback".into()));
    let message = run.envelope()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.ends_with("; sequence 2 of the device records it"), "{message}");
    let text = folder.eds(&format!("update verify 5.manifest 5.bin --trust trust.json {chain}"));
    assert!(text.stdout.ends_with("sequence 3 of the device records it\n"), "{}", text.stdout);
    // A record needs a key, and a key is for a record.
    let keyless = "--state device.state --accept --outbox door.outbox --device door-01";
    for (more, expected) in [(keyless, "--key or --signer"), ("--key door-01.seed", "pass --outbox")] {
        let run = verify(&folder, 5, more);
        assert_eq!(code(&run), (2, "usage".into()));
        assert!(run.stdout.contains(expected), "{}", run.stdout);
    }
    // A check alone is not recorded.
    let check = "--state device.state --outbox door.outbox --device door-01 --key door-01.seed";
    assert_eq!(verify(&folder, 5, check).code, 2);
    // The files of the device are not outputs.
    for file in ["door.outbox", "door-01.seed"] {
        let run = verify(&folder, 5, &format!("{chain} --audit {file}"));
        assert_eq!(code(&run), (2, "output_refused".into()), "{file}");
    }
}

#[test]
fn a_device_records_updates_with_a_key_in_a_token_or_a_program() {
    let token = Token::new();
    let folder = &token.folder;
    publish(folder);
    sign(folder, 5, "");
    let keys = [
        (token.keygen("door-01"), format!("--key {}", token.uri("door-01"))),
        (program(folder), "--signer sign".to_owned()),
    ];
    for (at, (key, named)) in keys.iter().enumerate() {
        assert_eq!(folder.eds(&format!("update create-state {at}.state --name door")).code, 0);
        let chain = format!("--state {at}.state --accept --outbox {at}.outbox --device door-0{at} {named}");
        let run = verify(folder, 5, &chain);
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        folder.write("record.json", run.envelope()["update"]["record"].to_string());
        assert_eq!(folder.eds(&format!("verify-record record.json --key {key}")).code, 0);
        folder.write("5.bin", "version 6");
        assert_eq!(code(&verify(folder, 5, &chain)), (1, "update_image_hash".into()));
        folder.write("5.bin", "version 5");
    }
    // Without its token the device accepts nothing, and the state stays.
    let before = std::fs::read(folder.path("0.state")).unwrap();
    std::fs::rename(folder.path("tokens"), folder.path("away")).unwrap();
    let (_, named) = &keys[0];
    let chain = format!("--state 0.state --accept --outbox 0.outbox --device door-00 {named}");
    assert_eq!(code(&verify(folder, 5, &chain)), (3, "signer".into()));
    assert_eq!(std::fs::read(folder.path("0.state")).unwrap(), before);
}

#[test]
fn a_full_disk_or_a_damaged_state_accepts_nothing() {
    let folder = publishers();
    folder.write("6.bin", "version 6");
    for version in [5, 6] {
        sign(&folder, version, "");
    }
    assert_eq!(folder.eds("update create-state device.state --name door").code, 0);
    assert_eq!(folder.eds("keygen --device door-01 --out door-01.seed").code, 0);
    let chain = "--state device.state --accept --outbox door.outbox --device door-01 --key door-01.seed";
    assert_eq!(verify(&folder, 5, chain).code, 0);
    let state = || std::fs::read(folder.path("device.state")).unwrap();
    let five = state();
    // No file grows beyond 1,024 bytes, so that the outbox is full, and the state is not.
    let line = format!("--json update verify 6.manifest 6.bin --trust trust.json {chain}");
    let script = format!("trap '' XFSZ; ulimit -f 1; exec {} {line}", env!("CARGO_BIN_EXE_eds"));
    let full = folder.command_of("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(full.status.code(), Some(3), "{}", String::from_utf8_lossy(&full.stdout));
    assert_eq!(state(), five, "accepted without a record");
    let run = verify(&folder, 6, chain);
    assert_eq!((run.code, &run.envelope()["update"]["record"]["sequence"]), (0, &2.into()));
    let six = state();

    let damaged = |bytes: &[u8]| {
        folder.write("device.state", bytes);
        for more in ["--state device.state", "--state device.state --accept", chain] {
            assert_eq!(code(&verify(&folder, 6, more)), (3, "update_state".into()));
        }
        assert_eq!(state(), bytes);
        let again = folder.eds("update create-state device.state --name door");
        assert_eq!(again.code, 2, "a damaged state was replaced");
    };
    for size in [0, 1, 512, 1023] {
        damaged(&six[..size]);
    }
    damaged(&[six.as_slice(), &[0]].concat());
    let mut both = six.clone();
    for slot in [0, 512] {
        both[slot + 50] ^= 1;
    }
    damaged(&both);
    // One slot is enough: after damage to the newer one the device has the state before it.
    let mut versions = [0, 512].map(|slot| {
        let mut one = six.clone();
        one[slot + 50] ^= 1;
        folder.write("device.state", &one);
        let run = verify(&folder, 6, "--state device.state");
        run.envelope()["update"]["state"]["version"].as_u64().unwrap()
    });
    versions.sort_unstable();
    assert_eq!(versions, [5, 6]);
    folder.write("device.state", &six);
    assert_eq!(verify(&folder, 6, chain).code, 0);
}
