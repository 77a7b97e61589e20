//! `eds device`.

use edgesentry_chain::{Device, Scheme};
use serde_json::json;

use crate::{Folder, ledger};

fn device(seed: u8, scheme: Scheme) -> Device {
    Device::from_seed("lift-01", [seed; 32], scheme)
}

fn key(seed: u8) -> String {
    device(seed, Scheme::Record).public_key().unwrap().to_string()
}

#[test]
fn a_device_is_registered_rotated_and_revoked() {
    let folder = Folder::new();
    let (one, two) = (key(1), key(2));
    let run = folder.eds(&format!("device register lift-01 --public-key {one} --scheme payload-hash"));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let said =
        format!("lift-01: key {one} signs under scheme payload-hash from sequence 1 in edgesentry.db\n");
    assert_eq!(run.stdout, said);
    let again =
        folder.eds(&format!("--json device register lift-01 --public-key {one} --scheme payload-hash"));
    assert_eq!(again.envelope()["device"]["valid_from"], 1);

    let run = folder.eds(&format!("--json device rotate lift-01 --public-key {two} --valid-from 3"));
    assert_eq!(
        run.envelope()["device"],
        json!({"device_id": "lift-01", "key": two, "scheme": "record", "valid_from": 3, "also_key_of": []})
    );
    let run = folder.eds("device keys -o keys.json");
    assert_eq!((run.code, run.stderr.as_str()), (0, "keys.json: keys of 1 device written\n"));
    assert_eq!(folder.eds("device keys").stdout, folder.read("keys.json"));

    // Two records under the old key, one under the new one.
    let (mut old, new) = (device(1, Scheme::PayloadHash), device(2, Scheme::Record));
    let mut records = vec![old.sign(1, b"a", "lift-01/1").unwrap(), old.sign(2, b"b", "lift-01/2").unwrap()];
    records.push(new.resume(old.head()).sign(3, b"c", "lift-01/3").unwrap());
    folder.write_records("export.ndjson", &records);
    std::fs::create_dir_all(folder.path("payloads/lift-01")).unwrap();
    for (name, payload) in [("1", "a"), ("2", "b"), ("3", "c")] {
        folder.write(&format!("payloads/lift-01/{name}"), payload);
    }
    let ingest = "ingest export.ndjson --payloads payloads";
    assert_eq!(folder.eds(ingest).code, 0);
    assert_eq!(folder.eds("verify-chain export.ndjson --keys keys.json --require signatures").code, 0);

    let run = folder.eds("device revoke lift-01 --reason lost");
    assert_eq!(run.stdout, "lift-01: records are rejected from sequence 4 on\n");
    let list = folder.eds("--json device list").envelope()["devices"].clone();
    assert_eq!(list[0]["head"]["sequence"], 3);
    assert_eq!(
        list[0]["keys"][1],
        json!({"key": two, "scheme": "record", "valid_from": 3, "revoked_from": 4, "revoked_reason": "lost"})
    );
    let run = folder.eds("device list");
    assert!(run.stdout.contains("from 3  revoked from 4 (lost)\n"), "{}", run.stdout);
    // The records of the ledger stay valid, and sending them again gives duplicates.
    assert_eq!(folder.eds(ingest).code, 0);
    assert_eq!(folder.eds("verify-chain --ledger --registered --payload-store").code, 0);
    // A new key is accepted.
    assert_eq!(folder.eds(&format!("device rotate lift-01 --public-key {}", key(3))).code, 0);
}

#[test]
fn the_key_ring_of_the_registry_is_the_one_registered() {
    let (folder, fleet) = ledger(100);
    assert_eq!(folder.eds("device keys").stdout, edgesentry_formats::write_key_ring(&fleet.keys));
    let list = folder.eds("device list");
    assert!(list.stdout.starts_with("5 devices\n"), "{}", list.stdout);
}

#[test]
fn slips_change_nothing() {
    let folder = Folder::new();
    let (one, two) = (key(1), key(2));
    let code = |line: &str| {
        let run = folder.eds(&format!("--json device {line}"));
        (run.code, run.envelope()["error"]["code"].as_str().unwrap().to_owned())
    };
    let weak = "0".repeat(64);
    assert_eq!(code(&format!("register lift-01 --key {weak}")), (2, "key".to_owned()));
    assert_eq!(code("register lift-01 --key zz"), (2, "key".to_owned()));
    assert_eq!(code("list"), (2, "config".to_owned()));
    assert!(!folder.path("edgesentry.db").exists(), "nothing was right so far");

    assert_eq!(folder.eds(&format!("device register lift-01 --public-key {one}")).code, 0);
    assert_eq!(code(&format!("register lift-01 --key {two}")), (2, "registry".to_owned()));
    assert_eq!(
        code(&format!("register lift-01 --key {one} --scheme payload-hash")),
        (2, "registry".to_owned())
    );
    assert_eq!(code(&format!("rotate lift-02 --key {two}")), (2, "device_not_found".to_owned()));
    assert_eq!(code("revoke lift-02"), (2, "registry".to_owned()));
    assert_eq!(code(&format!("rotate lift-01 --key {two} --valid-from 1")), (2, "registry".to_owned()));
    for line in [
        "device".to_owned(),
        "device register".to_owned(),
        format!("device register x --public-key {one} --start-head 5"),
        format!("device register x --public-key {one} --start-head 0:{weak}"),
        format!("device register x --public-key {one} --scheme none"),
    ] {
        assert_eq!(folder.eds(&line).code, 2, "{line}");
    }
    let list = folder.eds("--json device list").envelope()["devices"].clone();
    assert_eq!((list.as_array().unwrap().len(), list[0]["keys"].as_array().unwrap().len()), (1, 1));
}

#[test]
fn a_key_of_another_device_is_warned_of() {
    let folder = Folder::new();
    let one = key(1);
    assert_eq!(folder.eds(&format!("device register lift-01 --public-key {one}")).stderr, "");
    let run = folder.eds(&format!("device register lift-02 --public-key {one}"));
    let warning = "warning: the key is also registered for device lift-01; each of them can sign in the name of the others: \
                   register a key of its own for each device\n";
    assert_eq!((run.code, run.stderr.as_str()), (0, warning));
    let run = folder.eds(&format!("--json device register lift-03 --public-key {one}"));
    assert_eq!(run.envelope()["device"]["also_key_of"], json!(["lift-01", "lift-02"]));
    let run = folder.eds(&format!("--quiet device register lift-04 --public-key {one}"));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
}
