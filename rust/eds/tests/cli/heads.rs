//! `eds heads`.

use edgesentry_chain::Heads;
use eds::fleet::SHUTTLES;
use eds::tamper;

use crate::{Folder, fleet};

#[test]
fn the_snapshot_finds_what_is_cut_off_later() {
    let (folder, fleet) = fleet(200);
    let run = folder.eds("heads export.ndjson --keys keys.json -o snapshot.json");
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    assert_eq!(run.stderr, "snapshot.json: 5 heads written\n");
    let heads: Heads = edgesentry_formats::read_heads(folder.read("snapshot.json").as_bytes()).unwrap();
    assert_eq!(heads, fleet.heads);
    assert_eq!(folder.eds("heads export.ndjson").stdout, folder.read("snapshot.json"));
    assert_eq!(folder.eds("verify-chain export.ndjson --heads snapshot.json --require heads").code, 0);

    let mut records = fleet.records.clone();
    tamper::truncate(&mut records, SHUTTLES[1], 2);
    folder.write_records("cut.ndjson", &records);
    let run = folder.eds("--json verify-chain cut.ndjson --heads snapshot.json");
    assert_eq!(run.code, 1);
    assert_eq!(run.envelope()["report"]["findings"][0]["code"], "head_mismatch");
    // A newer snapshot replaces the older one.
    assert_eq!(folder.eds("heads cut.ndjson -o snapshot.json").code, 0);
    assert_eq!(folder.eds("verify-chain cut.ndjson --heads snapshot.json").code, 0);
    let files = std::fs::read_dir(folder.0.path()).unwrap().count();
    assert_eq!(files, 5, "no partial file is left");
}

#[test]
fn a_broken_chain_gets_no_snapshot() {
    let (folder, fleet) = fleet(200);
    let mut records = fleet.records.clone();
    tamper::delete(&mut records, SHUTTLES[1], 10);
    folder.write_records("export.ndjson", &records);
    let run = folder.eds("heads export.ndjson -o snapshot.json");
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("sequence_gap 1") && run.stderr.contains("--force"), "{}", run.stderr);
    assert!(!folder.path("snapshot.json").exists());
    assert_eq!(folder.eds("--json heads export.ndjson").envelope()["error"]["code"], "chain_broken");

    let run = folder.eds("heads export.ndjson -o snapshot.json --force");
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("warning"), "{}", run.stderr);
    assert_eq!(
        folder.eds("--json heads export.ndjson --force").envelope()["heads"].as_object().unwrap().len(),
        5
    );
}

#[test]
fn nothing_gives_no_snapshot() {
    let folder = Folder::new();
    folder.write("empty.json", "[]");
    let run = folder.eds("--json heads empty.json -o snapshot.json");
    assert_eq!((run.code, run.envelope()["error"]["code"].as_str()), (3, Some("nothing_to_verify")));
    assert!(!folder.path("snapshot.json").exists());
    let (folder, _) = fleet(100);
    let run = folder.eds("heads export.ndjson -o absent/heads.json");
    assert_eq!(run.code, 3);
    assert!(run.stderr.starts_with("error: absent/heads.json: cannot write"), "{}", run.stderr);
}
