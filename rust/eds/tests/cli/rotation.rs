//! `eds rotate` and `eds keys follow`.

use bytes::Bytes;
use edgesentry_chain::{Device, Scheme};
use edgesentry_formats::{create_seed_file, read_seed_file};
use edgesentry_rs::agent::Outbox;

use crate::Folder;
use crate::token::program;

fn lift(seed: u8) -> Device {
    Device::from_seed("lift-01", [seed; 32], Scheme::Record)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_in_an_outbox_and_the_command_can_be_repeated() {
    let folder = Folder::new();
    create_seed_file(&folder.path("lift.seed"), &[1; 32]).unwrap();
    let rotate = "--json rotate --outbox lift.outbox --device lift-01 --key lift.seed --new-key new.seed";
    let run = folder.eds(rotate);
    assert_eq!((run.code, run.envelope()["error"]["code"].as_str()), (2, Some("outbox_unreadable")));
    assert!(!folder.path("new.seed").exists());
    let outbox = Outbox::open(&folder.path("lift.outbox"), lift(1)).await.unwrap();
    outbox.sign(1, Bytes::from_static(b"a"), "1.bin").await.unwrap();
    outbox.close().await;
    let run = folder.eds(rotate);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let rotation = run.envelope()["rotation"].clone();
    let seed = read_seed_file(&folder.path("new.seed")).unwrap();
    let new = Device::from_seed("lift-01", *seed, Scheme::Record);
    assert_eq!(rotation["key"], new.public_key().unwrap().to_string());
    assert_eq!((rotation["sequence"].as_u64(), rotation["valid_from"].as_u64()), (Some(2), Some(3)));
    // As after a crash before the caller noticed.
    assert_eq!(folder.eds(rotate).envelope()["rotation"], rotation);
    let other =
        folder.eds("rotate --outbox lift.outbox --device lift-01 --key lift.seed --new-key third.seed");
    assert!(other.code != 0 && other.stderr.contains("succeeded at sequence 2"), "{}", other.stderr);
    let outbox = Outbox::open(&folder.path("lift.outbox"), new).await.unwrap();
    assert_eq!((outbox.waiting().await.unwrap(), outbox.head().await.unwrap().unwrap().sequence), (2, 2));
    outbox.close().await;

    // To a key in a program, and from it back to a seed.
    program(&folder);
    let sign = "rotate --outbox lift.outbox --device lift-01";
    let run = folder.eds(&format!("--json {sign} --key new.seed --new-signer sign"));
    assert_eq!((run.code, run.envelope()["rotation"]["seed_file"].is_null()), (0, true), "{}", run.stderr);
    let run = folder.eds(&format!("--json {sign} --signer sign --new-key last.seed"));
    assert_eq!((run.code, run.envelope()["rotation"]["sequence"].as_u64()), (0, Some(4)), "{}", run.stderr);
    assert_eq!(folder.eds(&format!("{sign} --new-key other.seed")).code, 2);
    assert!(!folder.path("other.seed").exists());
}

#[test]
fn a_key_ring_follows_the_successions_of_an_export() {
    let folder = Folder::new();
    let mut device = lift(1);
    let mut records = vec![device.sign(1, b"a", "1.bin").unwrap()];
    let mut thief = device.clone();
    records.push(device.succeed(2, lift(2)).unwrap().0);
    records.push(device.sign(3, b"c", "3.bin").unwrap());
    folder.write_records("export.ndjson", &records);
    let key = lift(1).public_key().unwrap();
    folder.write("first.json", format!("{{\"lift-01\": {{\"key\": \"{key}\", \"scheme\": \"record\"}}}}"));
    let run = folder.eds("--json verify-chain export.ndjson --keys first.json");
    assert_eq!(run.envelope()["report"]["counts"]["succession_invalid"], 1);
    let run = folder.eds("--json keys follow export.ndjson --keys first.json -o keys.json");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.envelope()["keys"]["followed"][0]["valid_from"], 3);
    assert_eq!(folder.eds("verify-chain export.ndjson --keys keys.json --require signatures").code, 0);

    // A second succession at the same sequence: nothing is written.
    records.insert(2, thief.succeed(2, lift(9)).unwrap().0);
    folder.write_records("forked.ndjson", &records);
    let run = folder.eds("--json keys follow forked.ndjson --keys first.json -o other.json");
    assert_eq!((run.code, run.envelope()["error"]["code"].as_str()), (1, Some("succession_invalid")));
    assert_eq!(run.envelope()["keys"]["refused"][0]["sequence"], 2);
    assert!(!folder.path("other.json").exists());
}
