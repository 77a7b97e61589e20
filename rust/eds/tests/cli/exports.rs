//! Exports that devices running edgesentry-rs 0.1 wrote: verdicts and last hashes.

use serde_json::Value;

use crate::{Folder, exports};

#[test]
fn field_exports_have_the_expected_verdict_and_heads() {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(exports().join("expected.json")).unwrap()).unwrap();
    let keys = exports().join("keys.json");
    for (file, expected) in expected["files"].as_object().unwrap() {
        let export = exports().join(file);
        let line = ["--json", "verify-chain", export.to_str().unwrap(), "--keys", keys.to_str().unwrap()];
        let run = Folder::new().run(&line, b"");
        let report = &run.envelope()["report"];
        assert_eq!((run.code, &report["verdict"]), (0, &expected["verdict"]), "{file}");
        assert_eq!(report["coverage"]["records"], expected["records"]);
        assert_eq!(report["coverage"]["signatures"]["payload_hash"], expected["records"]);
        let devices = expected["devices"].as_object().unwrap();
        assert_eq!(report["heads"].as_object().unwrap().len(), devices.len());
        for (device_id, expected) in devices {
            let head = &report["heads"][device_id];
            assert_eq!(head["hash"], expected["last_hash"]);
            assert_eq!(head["sequence"].to_string(), expected["last_sequence"].as_str().unwrap());
        }
    }
}

#[test]
fn the_whole_field_is_one_input() {
    let files = ["single_1000.json", "five_interleaved.json", "keys.json"].map(|file| exports().join(file));
    let [single, five, keys] = files.each_ref().map(|path| path.to_str().unwrap());
    let run =
        Folder::new().run(&["verify-chain", single, five, "--keys", keys, "--require", "signatures"], b"");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.starts_with("VALID  2,000 records of 6 devices"), "{}", run.stdout);
}
