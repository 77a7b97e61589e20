//! Inputs from the ledger or a manifest are claims: every form of the report states that, and `--require` rejects
//! them.

use edgesentry_chain::{Head, Heads};
use eds::fleet::WATER;
use serde_json::{Value, json};

use crate::{Folder, ledger};

const CUT: &str = "DELETE FROM audit_records WHERE device_id = 'water-branch-1' AND sequence <= 15";
const ALL: &str = "--keys keys.json --heads heads.json --payload-store --require signatures,payloads,heads";

/// Returns a ledger whose owner has removed the first 15 records of a chain, and registered a start head after them.
fn cut_ledger() -> (Folder, Heads) {
    let (folder, fleet) = ledger(200);
    let last = fleet.of(WATER).map(|(record, _)| record).nth(14).unwrap();
    let start = Head { sequence: 15, hash: last.hash() };
    folder.tamper("edgesentry.db", CUT);
    folder.tamper(
        "edgesentry.db",
        "UPDATE chain_heads SET start_sequence = 15, start_hash = (SELECT prev_record_hash FROM audit_records \
         WHERE device_id = 'water-branch-1' AND sequence = 16) WHERE device_id = 'water-branch-1'",
    );
    (folder, Heads::from([(WATER.into(), start)]))
}

fn verdict(folder: &Folder, line: &str) -> (i32, Value) {
    let run = folder.eds(&format!("--json verify-chain {line}"));
    (run.code, run.envelope())
}

#[test]
fn a_start_that_only_the_ledger_claims_is_a_finding() {
    let (folder, start) = cut_ledger();
    let (code, envelope) = verdict(&folder, &format!("--ledger edgesentry.db {ALL}"));
    assert_eq!((code, &envelope["report"]["counts"]), (1, &json!({"first_record_not_genesis": 1})));

    // An auditor who knows that the chain began elsewhere provides its start head.
    folder.write("start.json", edgesentry_formats::write_heads(&start));
    let (code, envelope) =
        verdict(&folder, &format!("--ledger edgesentry.db {ALL} --start-heads start.json"));
    assert_eq!(code, 0, "{envelope}");
    let coverage = &envelope["report"]["coverage"];
    assert_eq!(coverage["links"], json!({"from_first": 4, "from_trusted": 1, "from_claimed": 0}));
    let by = json!({"start_heads": ["auditor"], "keys": ["auditor"], "payloads": ["ledger"], "heads": ["auditor"]});
    assert_eq!(coverage["provided_by"], by);

    // The ledger's own start head is a claim, used on request.
    let (code, envelope) = verdict(&folder, &format!("--ledger edgesentry.db {ALL} --registered"));
    assert_eq!((code, &envelope["report"]["verdict"]), (2, &json!("valid")));
    assert_eq!(envelope["error"]["code"], "required_not_covered");
    let gap = json!({"level": "links", "code": "beginnings_claimed", "chains": 1, "by": "ledger"});
    assert_eq!(envelope["report"]["coverage"]["gaps"][0], gap);
}

#[test]
fn a_truncated_export_with_a_matching_manifest_covers_no_level() {
    let (folder, fleet) = ledger(200);
    // Records 16 to 20 of the water chain alone, and a manifest that claims that this is all.
    folder.tamper("edgesentry.db", CUT);
    folder.tamper(
        "edgesentry.db",
        "DELETE FROM audit_records WHERE sequence > 20 OR device_id != 'water-branch-1'",
    );
    assert_eq!(folder.eds("export -o cut.json").code, 0);
    let verify = "cut.json --manifest cut.json.manifest.json --keys keys.json";

    let (code, envelope) = verdict(&folder, &format!("{verify} --require heads"));
    assert_eq!((code, envelope["error"]["code"].as_str()), (2, Some("required_input_missing")));
    let (code, envelope) = verdict(&folder, verify);
    let coverage = &envelope["report"]["coverage"];
    assert_eq!((code, &coverage["provided_by"]["heads"]), (0, &json!(["manifest"])));
    assert_eq!((&coverage["heads"]["trusted"], &coverage["heads"]["claimed"]), (&json!(0), &json!(1)));
    // The auditor's own head of record 20 does not cover the beginning, which is claimed as well.
    let head = fleet.of(WATER).map(|(record, _)| record).nth(19).unwrap();
    let head = Heads::from([(WATER.into(), Head { sequence: 20, hash: head.hash() })]);
    folder.write("head.json", edgesentry_formats::write_heads(&head));
    let (code, envelope) = verdict(&folder, &format!("{verify} --heads head.json --require heads"));
    assert_eq!((code, envelope["error"]["code"].as_str()), (2, Some("required_not_covered")));
    assert!(
        envelope["error"]["message"].as_str().unwrap().contains("1 chain without a trusted beginning"),
        "{envelope}"
    );

    // Every form of the report states that beginning and end are claimed.
    let forms = "--html report.html --junit junit.xml --sarif findings.sarif --github";
    let run = folder.eds(&format!("verify-chain {verify} {forms}"));
    let page = folder.read("report.html");
    let texts = [run.stdout, run.stderr, page, folder.read("junit.xml"), folder.read("findings.sarif")];
    for text in texts {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("1 chain starts after a link claimed by the manifest"), "{text}");
        assert!(text.contains("the heads of 1 device are claimed by the manifest"), "{text}");
        assert!(!text.contains("1 trusted head"), "{text}");
    }
}

#[test]
fn a_manifest_that_disagrees_with_its_records_is_a_finding() {
    let (folder, fleet) = ledger(200);
    assert_eq!(folder.eds("export -o export.json").code, 0);
    folder.write_records("export.json", &fleet.records[..150]);
    // Earlier heads of the auditor do not prevent the check of the manifest's.
    folder.write("old.json", edgesentry_formats::write_heads(&Heads::new()));
    let (code, envelope) = verdict(
        &folder,
        "export.json --manifest export.json.manifest.json --keys keys.json --heads old.json",
    );
    assert_eq!(code, 1);
    let expected = envelope["report"]["findings"][0]["expected"].as_str().unwrap();
    assert!(expected.ends_with(", as claimed by the manifest"), "{expected}");
}

#[test]
fn a_manifest_and_start_heads_are_brought_in_place() {
    let (folder, fleet) = ledger(200);
    assert_eq!(folder.eds("export -o export.json --from-sequence 5").code, 0);
    let manifest = "--ledger edgesentry.db --keys keys.json --manifest export.json.manifest.json";
    let (code, envelope) = verdict(&folder, manifest);
    assert_eq!(code, 0, "{envelope}");
    assert_eq!(envelope["report"]["coverage"]["links"]["from_first"], fleet.heads.len());
    assert_eq!(envelope["report"]["coverage"]["provided_by"]["heads"], json!(["manifest"]));
    assert_eq!(verdict(&folder, &format!("{manifest} --require heads")).0, 2);
    folder.tamper(
        "edgesentry.db",
        "DELETE FROM audit_records WHERE device_id = 'water-branch-1' AND sequence > 3",
    );
    let (code, envelope) = verdict(&folder, manifest);
    assert_eq!((code, &envelope["report"]["counts"]), (1, &json!({"head_mismatch": 1})));
    let (code, envelope) = verdict(&folder, "--ledger edgesentry.db --start-heads heads.json");
    assert_eq!(code, 1);
    assert_eq!(envelope["report"]["counts"], json!({"sequence_out_of_order": fleet.heads.len()}));
}

#[test]
fn keys_and_heads_of_the_ledger_are_claims() {
    let (folder, _) = ledger(200);
    let (code, envelope) = verdict(&folder, "--ledger edgesentry.db --registered --payload-store");
    let coverage = &envelope["report"]["coverage"];
    let by = json!({"keys": ["ledger"], "payloads": ["ledger"], "heads": ["ledger"]});
    assert_eq!((code, &coverage["provided_by"]), (0, &by));
    for level in ["signatures", "heads"] {
        let (code, envelope) =
            verdict(&folder, &format!("--ledger edgesentry.db --registered --require {level}"));
        assert_eq!((code, envelope["error"]["code"].as_str()), (2, Some("required_input_missing")));
        let message = envelope["error"]["message"].as_str().unwrap();
        assert!(message.contains("the ledger provides only a claim"), "{message}");
    }
}

#[test]
fn the_checklist_of_a_recovery_does_not_trust_start_heads_of_the_ledger() {
    let (folder, start) = cut_ledger();
    let line = "--json ops verify-recovery --ledger edgesentry.db --heads heads.json --keys keys.json";
    let whole = |line: &str| {
        let checks = folder.eds(line).envelope()["checklist"]["checks"].clone();
        let named = |check: &&Value| check["name"].as_str().unwrap().starts_with("every chain is whole");
        checks.as_array().unwrap().iter().find(named).unwrap().clone()
    };
    let check = whole(line);
    let evidence = check["evidence"].as_str().unwrap();
    assert!(evidence.starts_with("1 first_record_not_genesis"), "{check}");
    assert!(evidence.contains("--start-heads"), "{check}");
    folder.write("start.json", edgesentry_formats::write_heads(&start));
    let check = whole(&format!("{line} --start-heads start.json"));
    assert!(!check["evidence"].as_str().unwrap().contains("first_record_not_genesis"), "{check}");
}
