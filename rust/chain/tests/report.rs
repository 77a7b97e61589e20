//! Reports: the sentences and the data of levels, gaps and hints, the limits of findings, and reports that are kept.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use edgesentry_chain::state::{ReportJson, ReportState};
use edgesentry_chain::{
    AuditRecord, Checks, Coverage, Device, Evidence, Finding, FindingCode as Code, Hash, Head, HeadCoverage,
    Heads, Hint, Input, InputKind, KeyRing, Level, LogCoverage, MAX_KEPT_BYTES, NotChecked, NotCovered,
    PayloadCoverage, PayloadError, Payloads, Predecessor, ProvidedBy, Report, RingKey, RootCheck, Scheme,
    SignatureCoverage, Verdict, check_extension, require,
};

fn device(name: &str) -> Device {
    Device::from_seed(name, *Hash::of(name.as_bytes()).as_bytes(), Scheme::PayloadHash)
}

fn records(name: &str, count: u64) -> Vec<AuditRecord> {
    let mut device = device(name);
    (1..=count).map(|at| device.sign(at, b"observed", format!("{at}.bin")).unwrap()).collect()
}

fn report(records: &[AuditRecord], checks: &Checks<'_>) -> Report {
    checks.report(checks.verify(records, 0).unwrap())
}

fn input(name: &str, entries: u64) -> Input {
    let (name, format) = (name.into(), "json".to_owned());
    Input { name, format, entries, bytes: Some(100), modified: None, path: None }
}

fn log() -> LogCoverage {
    LogCoverage {
        origin: "example.com/log".to_owned(),
        size: 10,
        records: 10,
        after: 0,
        erased: 0,
        unknown_leaves: 0,
        witnesses: 2,
        quorum: true,
        root: RootCheck::Compared,
        previous: Some(true),
        predecessor: None,
        timestamps: Vec::new(),
    }
}

/// Every level is covered, by the auditor.
fn covered() -> Coverage {
    Coverage {
        records: 10,
        devices: 2,
        signatures: Some(SignatureCoverage { record: 10, ..SignatureCoverage::default() }),
        payloads: Some(PayloadCoverage { checked: 10, ..PayloadCoverage::default() }),
        heads: Some(HeadCoverage { trusted: 2, ..HeadCoverage::default() }),
        log: Some(log()),
        ..Coverage::default()
    }
}

#[test]
fn names_are_those_of_their_values() {
    for level in Level::ALL {
        assert_eq!(level.name().parse(), Ok(*level));
        assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        assert_eq!(level.to_string(), level.name());
        assert!(level.question().ends_with('?'), "{level}");
    }
    assert_eq!(
        Level::ALL.iter().map(|level| level.question()).collect::<BTreeSet<_>>().len(),
        Level::ALL.len()
    );
    assert_eq!("keys".parse::<Level>().unwrap_err().to_string(), "unknown level \"keys\"");
    for code in Code::ALL {
        assert_eq!(code.name().parse(), Ok(*code));
        assert!(!code.summary().is_empty() && code.url().ends_with(&format!("/docs/findings/{code}.md")));
    }
    assert_eq!("gap".parse::<Code>().unwrap_err().to_string(), "unknown finding code \"gap\"");
    assert_eq!(format!("{:>10}|{:<12}|", Level::Log, Code::Fork), "       log|fork        |");
    for kind in
        [InputKind::StartHeads, InputKind::Keys, InputKind::Payloads, InputKind::Heads, InputKind::Policy]
    {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
    let levels =
        [InputKind::StartHeads, InputKind::Keys, InputKind::Payloads, InputKind::Heads, InputKind::Policy];
    assert_eq!(levels.map(InputKind::level), Level::ALL);
    for by in [
        ProvidedBy::Auditor,
        ProvidedBy::Manifest,
        ProvidedBy::Ledger,
        ProvidedBy::Record,
        ProvidedBy::Bundle,
    ] {
        assert_eq!(serde_json::to_value(by).unwrap(), by.name());
        assert_eq!(by.to_string(), format!("the {}", by.name()));
        assert_eq!(by.is_trusted(), by == ProvidedBy::Auditor);
    }
    let verdicts =
        [Verdict::Valid, Verdict::Findings, Verdict::NothingToVerify].map(|verdict| verdict.to_string());
    assert_eq!(verdicts, ["valid", "findings", "nothing to verify"]);
}

#[test]
fn each_gap_has_its_sentence_and_its_level() {
    let by = ProvidedBy::Ledger;
    let gaps = [
        (
            NotChecked::BeginningsClaimed { chains: 1, by: ProvidedBy::Record },
            "links: the previous record was not given",
        ),
        (
            NotChecked::BeginningsClaimed { chains: 1, by },
            "links: 1 chain starts after a link claimed by the ledger",
        ),
        (NotChecked::BeginningsClaimed { chains: 2, by }, "links: 2 chains start after a link"),
        (NotChecked::LinksNotChecked, "links: the bundle has single records"),
        (NotChecked::NoKeys, "signatures: no key ring was given"),
        (NotChecked::KeysClaimed { by }, "signatures: the keys are claimed by the ledger"),
        (
            NotChecked::Unsigned { records: 1 },
            "signatures: 1 record has no valid key in the key ring and was not",
        ),
        (
            NotChecked::Unsigned { records: 2 },
            "signatures: 2 records have no valid key in the key ring and were not",
        ),
        (
            NotChecked::PayloadHashOnly { records: 1 },
            "signatures: 1 record was checked under scheme payload-hash",
        ),
        (NotChecked::PayloadHashOnly { records: 2 }, "signatures: 2 records were checked under scheme"),
        (NotChecked::NoPayloads, "payloads: no payload store was given"),
        (NotChecked::PayloadErased { payloads: 1 }, "payloads: 1 payload was erased"),
        (NotChecked::PayloadErased { payloads: 2 }, "payloads: 2 payloads were erased"),
        (NotChecked::NoHeads, "heads: no trusted heads were given"),
        (
            NotChecked::HeadsClaimed { devices: 2, by },
            "heads: the heads of 2 devices are claimed by the ledger",
        ),
        (NotChecked::DevicesWithoutHead { devices: 1 }, "heads: 1 device has no trusted head, so its chain"),
        (
            NotChecked::DevicesWithoutHead { devices: 2 },
            "heads: 2 devices have no trusted head, so their chains",
        ),
        (NotChecked::NoLayout, "log: no layout of the log was read"),
        (NotChecked::LogIncomplete, "log: not every leaf"),
        (NotChecked::LogOutOfOrder, "log: the records are too far from the order"),
        (NotChecked::PreviousNotCompared, "log: the log was not compared with the earlier checkpoint"),
        (NotChecked::NoWitnesses, "log: the policy requires no witness"),
        (NotChecked::RecordsAfterCheckpoint { records: 1 }, "log: 1 record is in the log after"),
        (NotChecked::RecordsAfterCheckpoint { records: 2 }, "log: 2 records are in the log after"),
        (NotChecked::UnknownLeaves { leaves: 1 }, "log: 1 leaf is of a kind"),
        (NotChecked::UnknownLeaves { leaves: 2 }, "log: 2 leaves are of a kind"),
        (NotChecked::PolicyClaimed { by }, "log: the policy is claimed by the ledger"),
        (NotChecked::PartOfLog, "log: the bundle has a part of the log"),
        (NotChecked::TimestampsNotChecked { files: 1 }, "log: 1 file of time stamps was not verified"),
        (NotChecked::TimestampsNotChecked { files: 2 }, "log: 2 files of time stamps were not verified"),
    ];
    for (gap, beginning) in gaps {
        let sentence = gap.with_level();
        assert!(sentence.starts_with(beginning), "{sentence}");
        assert!(!sentence.ends_with('.'), "{sentence}");
        assert!(sentence.starts_with(gap.level().name()), "{sentence}");
    }
}

#[test]
fn gaps_are_found_level_by_level() {
    let gaps = |change: fn(&mut Coverage, &mut LogCoverage)| {
        let (mut coverage, mut log) = (covered(), log());
        change(&mut coverage, &mut log);
        // A report that is completed with the level of the log.
        let mut report = report(&records("a", 1), &Checks::default());
        report.coverage = coverage;
        report.add_log(log, ProvidedBy::Auditor, Vec::new());
        report.coverage.not_checked
    };
    assert_eq!(gaps(|_, _| ()), []);
    assert_eq!(gaps(|coverage, _| coverage.signatures = None), [NotChecked::NoKeys]);
    let unchecked: fn(&mut Coverage, &mut LogCoverage) =
        |coverage, _| coverage.signatures.as_mut().unwrap().unchecked = 1;
    assert_eq!(gaps(unchecked), [NotChecked::Unsigned { records: 1 }]);
    let payload_hash: fn(&mut Coverage, &mut LogCoverage) =
        |coverage, _| coverage.signatures.as_mut().unwrap().payload_hash = 1;
    assert_eq!(gaps(payload_hash), [NotChecked::PayloadHashOnly { records: 1 }]);
    assert_eq!(gaps(|coverage, _| coverage.payloads = None), [NotChecked::NoPayloads]);
    let erased: fn(&mut Coverage, &mut LogCoverage) =
        |coverage, _| coverage.payloads.as_mut().unwrap().erased = 3;
    assert_eq!(gaps(erased), [NotChecked::PayloadErased { payloads: 3 }]);
    assert_eq!(gaps(|coverage, _| coverage.heads = None), [NotChecked::NoHeads]);
    let without: fn(&mut Coverage, &mut LogCoverage) = |coverage, _| {
        coverage.heads =
            Some(HeadCoverage { devices_without: 5, devices_claimed: 2, ..HeadCoverage::default() });
        coverage.provided_by.entry(InputKind::Heads).or_default().insert(ProvidedBy::Manifest);
    };
    let heads = NotChecked::HeadsClaimed { devices: 2, by: ProvidedBy::Manifest };
    assert_eq!(gaps(without), [heads, NotChecked::DevicesWithoutHead { devices: 3 }]);
    let beginnings: fn(&mut Coverage, &mut LogCoverage) = |coverage, _| {
        coverage.links.from_claimed = 1;
        coverage.provided_by.entry(InputKind::StartHeads).or_default().insert(ProvidedBy::Bundle);
    };
    assert_eq!(gaps(beginnings), [NotChecked::BeginningsClaimed { chains: 1, by: ProvidedBy::Bundle }]);
    assert_eq!(gaps(|_, log| log.root = RootCheck::NoLayout), [NotChecked::NoLayout]);
    assert_eq!(gaps(|_, log| log.root = RootCheck::Incomplete), [NotChecked::LogIncomplete]);
    assert_eq!(gaps(|_, log| log.root = RootCheck::OutOfOrder), [NotChecked::LogOutOfOrder]);
    assert_eq!(gaps(|_, log| log.previous = Some(false)), [NotChecked::PreviousNotCompared]);
    assert_eq!(gaps(|_, log| log.previous = None), []);
    assert_eq!(gaps(|_, log| log.quorum = false), [NotChecked::NoWitnesses]);
    assert_eq!(gaps(|_, log| log.after = 4), [NotChecked::RecordsAfterCheckpoint { records: 4 }]);
    assert_eq!(gaps(|_, log| log.unknown_leaves = 1), [NotChecked::UnknownLeaves { leaves: 1 }]);

    let mut report = report(&records("a", 1), &Checks::default());
    assert_eq!(report.coverage.levels().collect::<Vec<_>>(), Level::ALL[..4]);
    report.add_log(log(), ProvidedBy::Bundle, Vec::new());
    assert_eq!(report.coverage.levels().collect::<Vec<_>>(), Level::ALL);
    assert!(report.coverage.not_checked.contains(&NotChecked::PolicyClaimed { by: ProvidedBy::Bundle }));
    assert_eq!(report.coverage.claimed_by(InputKind::Policy), Some(ProvidedBy::Bundle));
}

#[test]
fn a_required_level_is_covered_in_full_or_has_gaps() {
    assert_eq!(require(Level::ALL, &covered()), []);
    let gaps = |level: Level, change: fn(&mut Coverage)| {
        let mut coverage = covered();
        change(&mut coverage);
        let gaps = require(&[level], &coverage);
        assert!(gaps.iter().all(|gap| gap.level() == level), "{gaps:?}");
        gaps.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(gaps(Level::Links, |coverage| *coverage = Coverage::default()), none);
    assert_eq!(
        gaps(Level::Signatures, |coverage| coverage.signatures = None),
        ["signatures of 10 records could not be checked: no valid key"]
    );
    assert_eq!(
        gaps(Level::Signatures, |coverage| {
            coverage.signatures.as_mut().unwrap().unchecked = 1;
            coverage.provided_by.entry(InputKind::Keys).or_default().insert(ProvidedBy::Ledger);
        }),
        ["signatures of 1 record could not be checked: no valid key", "the keys are claimed by the ledger"]
    );
    assert_eq!(gaps(Level::Payloads, |coverage| coverage.payloads = None), ["10 payloads were not checked"]);
    assert_eq!(
        gaps(Level::Payloads, |coverage| coverage.payloads.as_mut().unwrap().checked = 9),
        ["1 payload was not checked"]
    );
    assert_eq!(gaps(Level::Heads, |coverage| coverage.heads = None), ["2 devices without a trusted head"]);
    assert_eq!(
        gaps(Level::Heads, |coverage| {
            coverage.heads.as_mut().unwrap().devices_without = 1;
            coverage.links.from_claimed = 1;
        }),
        ["1 device without a trusted head", "1 chain without a trusted beginning"]
    );
    let not_compared = "the records were not compared with the checkpoint";
    assert_eq!(gaps(Level::Log, |coverage| coverage.log = None), [not_compared]);
    assert_eq!(
        gaps(Level::Log, |coverage| coverage.log.as_mut().unwrap().root = RootCheck::NoLayout),
        [not_compared]
    );
    assert_eq!(
        gaps(Level::Log, |coverage| {
            let log = coverage.log.as_mut().unwrap();
            (log.previous, log.quorum, log.after, log.unknown_leaves) = (Some(false), false, 1, 2);
            coverage.not_checked = vec![NotChecked::PartOfLog];
        }),
        [
            "the log was not compared with the earlier checkpoint",
            "the policy requires no witness",
            "1 record of the log after the checkpoint",
            "2 leaves of the log of unknown kinds",
            "the bundle has a part of the log",
        ]
    );
    assert_eq!(NotCovered::UnknownLeaves(1).to_string(), "1 leaf of the log of an unknown kind");
}

#[test]
fn each_hint_has_its_sentence_and_its_data() {
    let device_id: Arc<str> = "lift-01".into();
    let order =
        |devices, many_inputs| Hint::NotInOrder { devices, device_id: Arc::clone(&device_id), many_inputs };
    let scheme = |signatures, devices| {
        let device_id = Arc::clone(&device_id);
        Hint::OtherScheme { scheme: Scheme::PayloadHash, signatures, devices, device_id }
    };
    let hints = [
        (
            order(1, false),
            Level::Links,
            "the records of device \"lift-01\" are complete and linked, but do not come in \
            the order of its sequence: sort the records",
        ),
        (
            order(2, true),
            Level::Links,
            "the records of 2 devices (the first is \"lift-01\") are complete and linked, but \
            do not come in the order of their sequence: give the inputs in the order",
        ),
        (
            scheme(1, 1),
            Level::Signatures,
            "1 invalid signature holds under scheme payload-hash, of device \"lift-01\": ",
        ),
        (
            scheme(3, 2),
            Level::Signatures,
            "3 invalid signatures hold under scheme payload-hash, of 2 devices",
        ),
        (
            Hint::ErasureUnproven { payloads: 1 },
            Level::Payloads,
            "1 of the missing payloads was erased, as the side under \
            test lists it: ",
        ),
        (
            Hint::ErasureUnproven { payloads: 2 },
            Level::Payloads,
            "2 of the missing payloads were erased, as the side under \
            test lists them: ",
        ),
        (
            Hint::PartOfExport { missing: 2, present: 1 },
            Level::Heads,
            "2 of the 3 devices of the trusted heads have no record here",
        ),
        (
            Hint::PartOfExport { missing: 1, present: 3 },
            Level::Heads,
            "1 of the 4 devices of the trusted heads has no record here",
        ),
    ];
    for (hint, level, beginning) in hints {
        assert!(hint.to_string().starts_with(beginning), "{hint}");
        assert_eq!(hint.level(), level);
        assert_eq!(hint.likely_cause(), format!("Likely cause: {hint}"));
        let json = serde_json::to_value(&hint).unwrap();
        assert_eq!((&json["code"], &json["message"]), (&hint.code().into(), &hint.to_string().into()));
        // Everything but the message, and the inputs, which the report has.
        let fields = match hint {
            Hint::NotInOrder { .. } => 4,
            Hint::OtherScheme { .. } => 6,
            Hint::PartOfExport { .. } => 4,
            _ => 3,
        };
        assert_eq!(json.as_object().unwrap().len(), fields, "{json}");
        let bytes = postcard::to_allocvec(&hint).unwrap();
        assert_eq!(postcard::from_bytes::<Hint>(&bytes).unwrap(), hint);
    }
}

#[test]
fn new_heads_extend_old_ones_or_give_findings() {
    let chain = records("a", 3);
    let heads = |at: usize| {
        let head = Head { sequence: chain[at].sequence, hash: chain[at].hash() };
        Heads::from([(Arc::from("a"), head)])
    };
    let found = |_: &str, sequence: u64| {
        chain.iter().find(|record| record.sequence == sequence).map(AuditRecord::hash)
    };
    let told = |findings: Vec<Finding>| -> Vec<(Code, u64, String)> {
        findings
            .into_iter()
            .map(|finding| (finding.code, finding.sequence.unwrap(), finding.actual.to_string()))
            .collect()
    };
    assert_eq!(told(check_extension(&heads(1), &heads(2), found)), []);
    assert_eq!(told(check_extension(&heads(1), &heads(1), found)), []);
    let shorter = format!("sequence 1, hash {}", chain[0].hash());
    assert_eq!(told(check_extension(&heads(1), &heads(0), found)), [(Code::HeadMismatch, 2, shorter)]);
    let other = |_: &str, _: u64| Some(Hash::ZERO);
    let changed = format!("sequence 2, hash {}", Hash::ZERO);
    assert_eq!(told(check_extension(&heads(1), &heads(2), other)), [(Code::HeadMismatch, 2, changed)]);
    let none = |_: &str, _: u64| None;
    let missing = "no record at sequence 2".to_owned();
    assert_eq!(told(check_extension(&heads(1), &heads(2), none)), [(Code::HeadMismatch, 2, missing)]);
    let gone = told(check_extension(&heads(1), &Heads::new(), found));
    assert_eq!(gone, [(Code::DeviceMissing, 2, "no record of the device".to_owned())]);
}

/// A chain whose every record but the first has a fault.
fn faulty(records: usize) -> Report {
    let mut chain = self::records("a", records as u64);
    chain.iter_mut().for_each(|record| record.prev_record_hash = Hash::ZERO);
    report(&chain, &Checks::default())
}

#[test]
fn findings_beyond_a_limit_stay_counted() {
    let mut all = faulty(5);
    assert_eq!((all.findings.len(), all.findings_omitted, all.counts[&Code::PrevHashMismatch]), (4, 0, 4));
    all.keep(4);
    assert_eq!((all.findings.len(), all.findings_omitted), (4, 0));
    all.keep(3);
    assert_eq!((all.findings.len(), all.findings_omitted, all.counts[&Code::PrevHashMismatch]), (3, 1, 4));
    let long: Arc<str> = "a".repeat(MAX_KEPT_BYTES / 2).into();
    all.findings.iter_mut().for_each(|finding| finding.device_id = Some(Arc::clone(&long)));
    all.keep(3);
    assert_eq!((all.findings.len(), all.findings_omitted), (2, 2));

    let mut links = faulty(5);
    links.add_findings(vec![Finding::new(Code::HeadMismatch, "a", "b")]);
    assert_eq!(links.counts[&Code::HeadMismatch], 1);
    links.without_links();
    assert_eq!((links.findings.len(), links.findings_omitted, links.verdict), (1, 0, Verdict::Findings));
    let mut links = faulty(5);
    links.without_links();
    assert_eq!((links.findings.len(), links.findings_omitted, links.verdict), (0, 0, Verdict::Valid));
    let mut malformed = report(&[], &Checks::default());
    malformed.add_findings(vec![Finding::malformed(7, "a record", "a list")]);
    assert_eq!(malformed.findings[0].index, Some(7));
    assert_eq!(malformed.findings[0].to_string(), "record_malformed: expected a record, found a list");
    malformed.without_links();
    assert_eq!((malformed.findings.len(), malformed.verdict), (1, Verdict::Findings));
    let mut empty = report(&[], &Checks::default());
    empty.without_links();
    assert_eq!(empty.verdict, Verdict::NothingToVerify);
    let mut swapped = records("a", 3);
    swapped.swap(1, 2);
    let mut swapped = report(&swapped, &Checks::default());
    assert_eq!(swapped.hints.len(), 1);
    swapped.without_links();
    assert_eq!(swapped.hints, []);
}

#[test]
fn findings_are_located_in_their_inputs() {
    let mut report = faulty(5);
    report.locate(vec![input("one", 2), input("two", 3)]);
    let places: Vec<(String, u64)> = report
        .findings
        .iter()
        .map(|finding| finding.location.as_ref().unwrap())
        .map(|location| (location.input.to_string(), location.record))
        .collect();
    let two = |record| ("two".to_owned(), record);
    assert_eq!(places, [("one".to_owned(), 2), two(1), two(2), two(3)]);

    let mut swapped = records("a", 3);
    swapped.swap(1, 2);
    for (inputs, many) in [(vec![input("one", 3)], false), (vec![input("one", 2), input("two", 1)], true)] {
        let mut report = self::report(&swapped, &Checks::default());
        report.locate(inputs);
        let [Hint::NotInOrder { many_inputs, .. }] = &report.hints[..] else { panic!("{:?}", report.hints) };
        assert_eq!(*many_inputs, many);
    }
}

struct Missing;

impl Payloads for Missing {
    fn payload_hash(&self, _: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
        Ok(None)
    }
}

#[test]
fn erased_payloads_are_counted_or_hinted_at() {
    let chain = records("a", 3);
    let missing = report(&chain, &Checks { payloads: Some(&Missing), ..Checks::default() });
    assert_eq!(missing.counts[&Code::PayloadMissing], 3);
    let mut erased = missing.clone();
    erased.add_erased(2, 1);
    let expected = PayloadCoverage { checked: 3, erased: 2, erased_present: 1 };
    assert_eq!(erased.coverage.payloads, Some(expected));
    assert!(erased.coverage.not_checked.contains(&NotChecked::PayloadErased { payloads: 2 }));

    let mut hinted = missing.clone();
    hinted.hint_erased(|device_id, sequence| device_id == "a" && sequence > 1);
    assert_eq!(hinted.hints, [Hint::ErasureUnproven { payloads: 2 }]);
    let mut hinted = missing;
    hinted.hint_erased(|_, _| false);
    assert_eq!(hinted.hints, []);
    // Only missing payloads can have been erased.
    let mut faulty = faulty(3);
    faulty.hint_erased(|_, _| true);
    assert_eq!(faulty.hints, []);
}

#[test]
fn long_text_of_a_record_is_shortened_in_evidence() {
    for (length, shown) in [(3, "äää".to_owned()), (1000, "ä".repeat(1000)), (1001, "ä".repeat(1000) + "…")]
    {
        let record = device("a").sign(1, b"observed", "ä".repeat(length)).unwrap();
        let report = report(&[record], &Checks { payloads: Some(&Missing), ..Checks::default() });
        assert_eq!(report.findings[0].expected.to_string(), format!("a payload at \"{shown}\""));
    }
}

/// A report with findings of many kinds, hints, a log and located inputs.
fn rich() -> Report {
    let (mut a, b) = (records("a", 9), records("b", 4));
    a.swap(3, 4);
    let mut b = b;
    b[2].timestamp_ms += 1;
    b[3].signature[0] ^= 1;
    let mut ring = KeyRing::new();
    let key = RingKey { key: device("b").public_key().unwrap(), scheme: Scheme::Record, valid_from: 1 };
    ring.insert("b", key).unwrap();
    let heads: Heads = ["b", "c", "d", "e"]
        .into_iter()
        .map(|name| (Arc::from(name), Head { sequence: 9, hash: Hash::ZERO }))
        .collect();
    let checks =
        Checks { keys: Some(&ring), payloads: Some(&Missing), heads: Some(&heads), ..Checks::default() };
    let mut report = report(&[a, b].concat(), &checks);
    let predecessor = Some(Predecessor { origin: "old".to_owned(), size: 7, root: "cm9vdA==".to_owned() });
    let log = LogCoverage { predecessor, previous: None, ..log() };
    report.add_log(log, ProvidedBy::Auditor, vec![Finding::new(Code::LeafMissing, "a leaf", "none")]);
    report.hint_unproven(1);
    report.keep(20);
    report.locate(vec![
        Input { modified: Some(std::time::UNIX_EPOCH), path: Some("/a/b".into()), ..input("one", 5) },
        input("two", 8),
    ]);
    report
}

#[test]
fn a_kept_report_is_the_same_report() {
    let mut swapped = records("a", 3);
    swapped.swap(1, 2);
    let mut out_of_order = report(&swapped, &Checks::default());
    out_of_order.locate(vec![input("one", 3)]);
    assert_eq!(out_of_order.hints.len(), 1);
    let (valid, empty) = (report(&records("a", 2), &Checks::default()), report(&[], &Checks::default()));
    for report in [rich(), faulty(3), out_of_order, valid, empty] {
        let bytes = postcard::to_allocvec(&ReportState::from(&report)).unwrap();
        let restored = Report::try_from(postcard::from_bytes::<ReportState>(&bytes).unwrap()).unwrap();
        assert_eq!(restored, report);
        let json = serde_json::to_string(&report).unwrap();
        let read = Report::try_from(serde_json::from_str::<ReportJson>(&json).unwrap()).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
        assert_eq!(read.verdict, report.verdict);
    }
    let report = rich();
    assert!(report.hints.len() >= 4 && report.findings_omitted > 0, "{report:?}");
    assert!(report.findings.iter().any(|finding| matches!(finding.expected, Evidence::Key { .. })));
}

#[test]
fn an_inconsistent_report_is_refused() {
    let refused = |change: fn(&mut Report)| {
        let mut report = rich();
        change(&mut report);
        Report::try_from(ReportState::from(&report)).unwrap_err()
    };
    let more = "it has more findings than it counts";
    let gap: fn(&mut Report) = |report| {
        let one = report.counts.remove(&Code::PrevHashMismatch).unwrap_or_default();
        *report.counts.get_mut(&Code::PayloadMissing).unwrap() += one;
        report.findings[0].code = Code::PrevHashMismatch;
    };
    assert_eq!(refused(gap), more);
    let fewer: fn(&mut Report) = |report| {
        let code = report.findings[0].code;
        let kept = report.findings.iter().filter(|finding| finding.code == code).count() as u64;
        report.counts.insert(code, kept - 1);
    };
    assert_eq!(refused(fewer), more);
    let zero: fn(&mut Report) = |report| report.counts.extend([(Code::TimestampInvalid, 0)]);
    assert_eq!(refused(zero), "it has a finding code with a count of 0");
    let sum = "the number of its findings is not the sum of its counts";
    assert_eq!(refused(|report| report.findings_omitted += 1), sum);
    assert_eq!(refused(|report| report.findings_omitted = u64::MAX), sum);
    let chains = "its heads do not match its chains";
    assert_eq!(refused(|report| drop(report.chains.pop_first())), chains);
    assert_eq!(refused(|report| report.coverage.devices += 1), chains);
    let records = "the records of its chains do not match its count";
    assert_eq!(refused(|report| report.coverage.records += 1), records);

    let json = serde_json::to_value(rich()).unwrap();
    let mut other = json.clone();
    other["verdict"] = "valid".into();
    let read =
        |json: serde_json::Value| Report::try_from(serde_json::from_value::<ReportJson>(json).unwrap());
    assert_eq!(read(other).unwrap_err(), "its verdict is not that of its contents");
    assert!(read(json).is_ok());
}

#[test]
fn as_many_missing_devices_as_present_ones_give_no_hint_of_a_part() {
    let chain = records("a", 1);
    let heads: Heads = ["a", "b"]
        .into_iter()
        .map(|name| (Arc::from(name), Head { sequence: 1, hash: chain[0].hash() }))
        .collect();
    let report = report(&chain, &Checks { heads: Some(&heads), ..Checks::default() });
    assert_eq!((report.hints, report.counts[&Code::DeviceMissing]), (Vec::new(), 1));
}
