//! Inputs from the side under test are claims: they are checked and reported as claims, and cover no required level.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use edgesentry_chain::{
    AuditRecord, Checks, Claim, Claims, Device, FindingCode, Hash, Head, Heads, InputKind, KeyRing, Level,
    LinkCoverage, NotChecked, NotCovered, ProvidedBy, Report, RingKey, Scheme, Verdict, missing_inputs,
    require,
};

fn lift() -> Device {
    Device::from_seed("lift-01", [7; 32], Scheme::Record)
}

fn ring() -> KeyRing {
    let mut ring = KeyRing::new();
    let key = RingKey { key: lift().public_key().unwrap(), scheme: Scheme::Record, valid_from: 1 };
    ring.insert("lift-01", key).unwrap();
    ring
}

fn records() -> Vec<AuditRecord> {
    let mut lift = lift();
    (1..=10).map(|at| lift.sign(at, b"observed", format!("{at}.bin")).unwrap()).collect()
}

/// Returns the head of a chain that ends with its record `sequence`.
fn heads(records: &[AuditRecord], sequence: usize) -> Heads {
    let hash = records[sequence - 1].hash();
    Heads::from([(Arc::from("lift-01"), Head { sequence: sequence as u64, hash })])
}

fn report(records: &[AuditRecord], checks: &Checks<'_>) -> Report {
    checks.report(checks.verify(records, 0).unwrap())
}

fn by<T: ?Sized>(by: ProvidedBy, what: &T) -> Option<Claim<'_, T>> {
    Some(Claim { by, what })
}

fn codes(report: &Report) -> Vec<FindingCode> {
    report.findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn a_claimed_head_is_checked_and_covers_nothing() {
    let records = records();
    // The exporter truncated the chain, and wrote a matching manifest.
    let forged = heads(&records, 6);
    let claims = Claims { heads: by(ProvidedBy::Manifest, &forged), ..Claims::default() };
    let checks = Checks { claims, ..Checks::default() };
    let cut = report(&records[..6], &checks);
    assert_eq!(cut.verdict, Verdict::Valid);
    assert!(
        cut.coverage.not_checked.contains(&NotChecked::HeadsClaimed { devices: 1, by: ProvidedBy::Manifest })
    );
    assert_eq!(require(&[Level::Heads], &cut.coverage), [NotCovered::DevicesWithoutHead(1)]);

    // A claim that contradicts the records is still a finding, marked as a claim.
    let contradicted = report(&records[..5], &checks);
    assert_eq!(codes(&contradicted), [FindingCode::HeadMismatch]);
    let last = format!("sequence 5, hash {}", records[4].hash());
    assert_eq!(contradicted.findings[0].actual.to_string(), last);
    assert!(contradicted.findings[0].expected.to_string().ends_with("as claimed by the manifest"));
    let absent = report(&[], &checks);
    assert_eq!(codes(&absent), [FindingCode::DeviceMissing]);
}

#[test]
fn the_heads_of_the_auditor_and_of_the_manifest_are_both_checked() {
    let records = records();
    let (trusted, forged) = (heads(&records, 9), heads(&records, 6));
    let claims = Claims { heads: by(ProvidedBy::Manifest, &forged), ..Claims::default() };
    let checks = Checks { heads: Some(&trusted), claims, ..Checks::default() };
    assert_eq!(codes(&report(&records, &checks)), []);
    assert_eq!(require(&[Level::Heads], &report(&records, &checks).coverage), []);
    assert_eq!(codes(&report(&records[..8], &checks)), [FindingCode::HeadMismatch]);
    assert_eq!(
        codes(&report(&records[..5], &checks)),
        [FindingCode::HeadMismatch, FindingCode::HeadMismatch]
    );
    // For every cut into segments, the report is the same.
    for at in 1..8 {
        let (one, other) = records[..8].split_at(at);
        let (one, other) = (checks.verify(one, 0).unwrap(), checks.verify(other, at as u64).unwrap());
        assert_eq!(checks.report(one.merge(other)), report(&records[..8], &checks), "{at}");
    }
}

#[test]
fn a_claimed_start_is_reported_and_covers_no_required_level() {
    let records = records();
    let (start, end) = (heads(&records, 4), heads(&records, 10));
    let claims = Claims { start_heads: by(ProvidedBy::Ledger, &start), ..Claims::default() };
    let checks = Checks { heads: Some(&end), claims, ..Checks::default() };
    let claimed = report(&records[4..], &checks);
    assert_eq!(claimed.verdict, Verdict::Valid);
    assert_eq!(claimed.coverage.links, LinkCoverage { from_claimed: 1, ..LinkCoverage::default() });
    let gap = NotChecked::BeginningsClaimed { chains: 1, by: ProvidedBy::Ledger };
    assert_eq!((gap.level(), claimed.coverage.not_checked[0].clone()), (Level::Links, gap));
    assert_eq!(require(&[Level::Heads], &claimed.coverage), [NotCovered::BeginningsClaimed(1)]);

    // The auditor's start head takes precedence.
    let brought = report(&records[4..], &Checks { start_heads: Some(&start), ..checks });
    assert_eq!(brought.coverage.links, LinkCoverage { from_trusted: 1, ..LinkCoverage::default() });
    assert_eq!(require(&[Level::Heads], &brought.coverage), []);
    let other = heads(&records, 3);
    let contradicted = report(&records[4..], &Checks { start_heads: Some(&other), ..checks });
    assert_eq!(codes(&contradicted), [FindingCode::SequenceGap]);
    // Without any start head, it is a finding.
    let without = report(&records[4..], &Checks { claims: Claims::default(), ..checks });
    assert_eq!(codes(&without), [FindingCode::FirstRecordNotGenesis]);
    // A chain that starts at sequence 1 needs no start head.
    let genesis = Heads::from([(Arc::from("lift-01"), Head { sequence: 0, hash: Hash::ZERO })]);
    let claims = Claims { start_heads: by(ProvidedBy::Ledger, &genesis), ..Claims::default() };
    let first = report(&records, &Checks { claims, ..checks });
    assert_eq!(first.coverage.links, LinkCoverage { from_first: 1, ..LinkCoverage::default() });
    let without = report(&records, &Checks::default());
    assert_eq!(without.coverage.links, first.coverage.links);
}

#[test]
fn claimed_keys_decide_and_cover_nothing() {
    let (records, ring) = (records(), ring());
    let claims = Claims { keys: by(ProvidedBy::Ledger, &ring), ..Claims::default() };
    let claimed = report(&records, &Checks { claims, ..Checks::default() });
    assert_eq!(claimed.coverage.signatures.as_ref().unwrap().record, 10);
    assert_eq!(claimed.coverage.claimed_by(InputKind::Keys), Some(ProvidedBy::Ledger));
    assert_eq!(claimed.coverage.not_checked[0], NotChecked::KeysClaimed { by: ProvidedBy::Ledger });
    assert_eq!(
        require(&[Level::Signatures], &claimed.coverage),
        [NotCovered::KeysClaimed(ProvidedBy::Ledger)]
    );
    let brought = report(&records, &Checks { keys: Some(&ring), claims, ..Checks::default() });
    assert_eq!(brought.coverage.claimed_by(InputKind::Keys), None);
    assert_eq!(require(&[Level::Signatures], &brought.coverage), []);
}

#[test]
fn claims_are_missing_inputs_before_anything_is_read() {
    let (ring, heads) = (ring(), heads(&records(), 10));
    let claims = Claims {
        keys: by(ProvidedBy::Ledger, &ring),
        heads: by(ProvidedBy::Manifest, &heads),
        ..Claims::default()
    };
    let all = Level::REQUIRABLE;
    let missing = |checks: &Checks<'_>| -> Vec<(Level, Option<ProvidedBy>)> {
        let missing = missing_inputs(all, &checks.providers());
        missing.iter().map(|missing| (missing.level, missing.claimed_by)).collect()
    };
    let claimed = Checks { claims, ..Checks::default() };
    assert_eq!(
        missing(&claimed),
        [
            (Level::Signatures, Some(ProvidedBy::Ledger)),
            (Level::Payloads, None),
            (Level::Heads, Some(ProvidedBy::Manifest)),
            (Level::Log, None),
        ]
    );
    let brought = Checks { keys: Some(&ring), heads: Some(&heads), ..claimed };
    assert_eq!(missing(&brought), [(Level::Payloads, None), (Level::Log, None)]);
    // A claim of no start heads claims nothing.
    let starts = |starts: &Heads| {
        let claims = Claims { start_heads: by(ProvidedBy::Ledger, starts), ..Claims::default() };
        Checks { claims, ..Checks::default() }.providers().contains_key(&InputKind::StartHeads)
    };
    assert_eq!([starts(&Heads::new()), starts(&heads)], [false, true]);
    assert_eq!(format!("{:?}", claims.keys.unwrap()), "Claim { by: Ledger, .. }");
}

#[test]
fn json_has_sentences_and_data() {
    let records = records();
    let end = heads(&records, 10);
    let claims = Claims { heads: by(ProvidedBy::Manifest, &end), ..Claims::default() };
    let coverage = report(&records, &Checks { claims, ..Checks::default() }).coverage;
    let json = serde_json::to_value(&coverage).unwrap();
    assert_eq!(json["provided_by"], serde_json::json!({"heads": ["manifest"]}));
    assert_eq!(json["heads"]["claimed"], 1);
    let sentences = json["not_checked"].as_array().unwrap();
    let gaps = json["gaps"].as_array().unwrap();
    assert_eq!((sentences.len(), gaps.len()), (3, 3));
    assert!(
        sentences[2]
            .as_str()
            .unwrap()
            .starts_with("heads: the heads of 1 device are claimed by the manifest")
    );
    let gap = serde_json::json!({"level": "heads", "code": "heads_claimed", "devices": 1, "by": "manifest"});
    assert_eq!(gaps[2], gap);
}
