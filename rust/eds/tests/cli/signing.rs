//! `eds keygen`, `inspect-key`, `sign-record`, `verify-record`.

use serde_json::Value;

use crate::Folder;

/// Writes a device with its seed, two payloads, and a chain of two records.
fn device() -> (Folder, String) {
    let folder = Folder::new();
    let run = folder.eds("--json keygen --device lift-01");
    let key = run.envelope()["key"]["public_key"].as_str().unwrap().to_owned();
    let ring = run.envelope()["key"]["key_ring"].to_string();
    folder.write("keys.json", ring);
    folder.write("1.bin", "door open");
    folder.write("2.bin", "door closed");
    let sign = |sequence: u64, after: &str| {
        let run = folder.eds(&format!(
            "sign-record --key lift-01.seed --device lift-01 --payload {sequence}.bin \
             --object-ref s3://b/{sequence}.bin --timestamp-ms 170000000000{sequence} {after}"
        ));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        assert_eq!(run.stdout.lines().count(), 1);
        run.stdout
    };
    folder.write("1.json", sign(1, ""));
    folder.write("2.json", sign(2, "--after 1.json"));
    folder.write("chain.ndjson", folder.read("1.json") + &folder.read("2.json"));
    (folder, key)
}

#[test]
fn keygen_to_verdict() {
    let (folder, key) = device();
    let run = folder.eds("verify-chain chain.ndjson --keys keys.json --require signatures --json");
    let report = run.envelope()["report"].clone();
    assert_eq!((run.code, &report["coverage"]["signatures"]["record"]), (0, &2.into()));
    let run = folder.eds(&format!(
        "verify-record 2.json --public-key {key} --scheme record --payload 2.bin --previous 1.json"
    ));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    assert_eq!(folder.eds("verify-record 1.json --keys keys.json --payload 1.bin").code, 0);
}

#[test]
fn signing_resumes_after_chain_or_heads() {
    let (folder, _) = device();
    assert_eq!(folder.eds("heads chain.ndjson -o heads.json").code, 0);
    let line =
        "sign-record --key lift-01.seed --device lift-01 --payload 1.bin --object-ref x --timestamp-ms 3";
    let after_chain = folder.eds(&format!("{line} --after chain.ndjson"));
    let after_heads = folder.eds(&format!("{line} --after heads.json"));
    assert_eq!(after_chain.stdout, after_heads.stdout);
    let record: Value = serde_json::from_str(&after_chain.stdout).unwrap();
    assert_eq!(record["sequence"], 3);
    assert_eq!(folder.eds(&format!("--json {line}")).envelope()["record"]["sequence"], 1);
    for file in ["chain.ndjson", "heads.json"] {
        let run = folder.eds(
            &line.replace("lift-01 ", "other ").replace("--payload", &format!("--after {file} --payload")),
        );
        assert_eq!(run.code, 2);
        assert!(run.stderr.contains("no record of device \"other\""), "{}", run.stderr);
    }
    assert_eq!(folder.run(&["sign-record", "--device", ""], b"").code, 2);
}

#[cfg(unix)]
#[test]
fn seeds_are_kept_secret() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let run = folder.eds("keygen --device lift-01");
    assert_eq!(run.code, 0);
    let seed = folder.read("lift-01.seed");
    assert_eq!((seed.len(), seed.ends_with('\n')), (65, true));
    let path = folder.path("lift-01.seed");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let inspected = folder.eds("inspect-key lift-01.seed");
    assert_eq!(inspected.code, 0);
    for text in
        [&run.stdout, &run.stderr, &inspected.stdout, &folder.eds("--json inspect-key lift-01.seed").stdout]
    {
        assert!(!text.contains(seed.trim()));
    }
    let public = inspected.stdout.lines().find_map(|line| line.strip_prefix("public key  ")).unwrap();
    assert!(run.stdout.contains(public));

    let again = folder.eds("keygen --device lift-01");
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("lift-01.seed: exists and is not overwritten"), "{}", again.stderr);
    assert_eq!(folder.read("lift-01.seed"), seed);

    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let shared = folder.eds("inspect-key lift-01.seed");
    assert_eq!(shared.code, 2);
    let sentence = "error: lift-01.seed: mode 0640 lets others read or change the seed; run: chmod 600 lift-01.seed; \
                    if it is a public key, pass its 64 hex digits in place of the file\n";
    assert_eq!(shared.stderr, sentence);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();

    for text in ["", "abc\n", &format!("{}\n\n", seed.trim()), &"zz".repeat(32), &"a".repeat(1000)] {
        folder.write("lift-01.seed", text);
        let run = folder.eds("inspect-key lift-01.seed");
        assert_eq!(run.code, 2);
        assert!(run.stderr.contains("a seed file holds 64 hex digits and a newline"), "{}", run.stderr);
    }
}

#[test]
fn keygen_without_a_device() {
    let folder = Folder::new();
    let run = folder.eds("keygen");
    assert_eq!(run.code, 0);
    assert!(folder.path("device.seed").exists() && run.stdout.contains("--device ID"));
    assert_eq!(folder.eds("keygen --output absent/x.seed").code, 2);
}

#[test]
fn weak_keys_are_named() {
    let folder = Folder::new();
    let sound = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    assert_eq!(folder.eds(&format!("inspect-key {sound}")).code, 0);
    for (weak, why) in [("01".to_owned() + &"00".repeat(31), "small order"), ("ff".repeat(32), "canonical")] {
        let run = folder.eds(&format!("inspect-key {weak}"));
        assert_eq!((run.code, run.stderr.as_str()), (1, ""));
        assert!(run.stdout.contains(why), "{}", run.stdout);
        let key = folder.eds(&format!("--json inspect-key {weak}")).envelope()["key"].clone();
        assert_eq!(key["accepted"], false);
    }
    let run = folder.eds("inspect-key d75a98");
    assert_eq!(run.code, 2);
    assert_eq!(run.stderr, "error: d75a98: neither a file nor a public key of 64 hex digits\n");
}

#[test]
fn verify_record_reports_each_fault() {
    let (folder, key) = device();
    let code = |line: &str| {
        let run = folder.eds(&format!("--json {line}"));
        let envelope = run.envelope();
        let codes =
            envelope["report"]["counts"].as_object().map(|counts| counts.keys().cloned().collect::<Vec<_>>());
        (run.code, codes.unwrap_or_default().join(","))
    };
    let keys = "--keys keys.json";
    assert_eq!(code(&format!("verify-record 2.json {keys}")), (0, String::new()));
    assert_eq!(
        code(&format!("verify-record 2.json {keys} --payload 1.bin")),
        (1, "payload_hash_mismatch".into())
    );
    assert_eq!(
        code(&format!("verify-record 2.json {keys} --previous 2.json")),
        (1, "sequence_duplicate".into())
    );
    assert_eq!(code("verify-record chain.ndjson --keys keys.json").0, 2);
    folder.write("none.json", "{}");
    assert_eq!(code("verify-record 2.json --keys none.json"), (1, "unknown_device".into()));
    folder.write("broken.json", "{\"device_id\": 7}\n");
    assert_eq!(code(&format!("verify-record broken.json {keys}")), (1, "record_malformed".into()));
    let other = folder.read("1.json").replace("lift-01", "lift-02");
    folder.write("other.json", other);
    assert_eq!(code(&format!("verify-record 2.json {keys} --previous other.json")).0, 2);
    assert_eq!(code("verify-record 2.json").0, 2);
    assert_eq!(code(&format!("verify-record 2.json --public-key {}", "00".repeat(32))).0, 2);
    folder.write("empty.json", "");
    assert_eq!(code(&format!("verify-record empty.json {keys}")).0, 3);

    assert_eq!(folder.eds(&format!("verify-record 2.json --public-key {key}")).code, 0);
    let run = folder.eds(&format!("verify-record 2.json --public-key {key} --scheme payload-hash"));
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("holds under scheme record: register the key with it"), "{}", run.stdout);
    assert!(run.stdout.contains("the previous record was not given"), "{}", run.stdout);
}
