//! Links, heads, histories and segments: the finding of each attack, and proof that the split of the input does not
//! matter.
#![allow(clippy::unwrap_used)]

#[path = "../../checked.rs"]
mod checked;

use std::sync::Arc;

use edgesentry_chain::part::{Ends, Part, Verified};
use edgesentry_chain::{
    AuditRecord, Checks, Device, Evidence, Finding, FindingCode as Code, Hash, Head, Heads, Hint, Input,
    Kept, KeyError, KeyRing, NotChecked, Order, Payloads, Report, RingKey, Scheme, Segments, Verdict,
};
use proptest::prelude::*;

fn device(name: &str, scheme: Scheme) -> Device {
    Device::from_seed(name, *Hash::of(name.as_bytes()).as_bytes(), scheme)
}

fn ring(devices: &[Device]) -> KeyRing {
    let mut ring = KeyRing::new();
    for device in devices {
        let key = device.public_key().unwrap();
        ring.insert(device.device_id(), RingKey { key, scheme: device.scheme(), valid_from: 1 }).unwrap();
    }
    ring
}

fn chain(device: &mut Device, records: usize) -> Vec<AuditRecord> {
    (0..records as u64)
        .map(|at| {
            let payload = format!("{} observes {at}", device.device_id());
            let object_ref = format!("s3://bucket/{}/{at}.bin", device.device_id());
            device.sign(1_700_000_000_000 + at * 1000, payload.as_bytes(), object_ref).unwrap()
        })
        .collect()
}

fn report(records: &[AuditRecord], checks: &Checks<'_>) -> Report {
    checks.report(checks.verify(records, 0).unwrap())
}

/// Returns (code, sequence) of each finding, in order.
fn found(report: &Report) -> Vec<(Code, u64)> {
    report.findings.iter().map(|finding| (finding.code, finding.sequence.unwrap())).collect()
}

fn ten() -> Vec<AuditRecord> {
    chain(&mut device("lift-01", Scheme::Record), 10)
}

#[test]
fn an_honest_chain_is_valid() {
    let mut lift = device("lift-01", Scheme::Record);
    let records = chain(&mut lift, 10);
    let (ring, head) = (ring(std::slice::from_ref(&lift)), lift.head().unwrap());
    let heads = Heads::from([("lift-01".into(), head)]);
    let checks = Checks { keys: Some(&ring), heads: Some(&heads), ..Checks::default() };
    let report = report(&records, &checks);
    assert_eq!(report.verdict, Verdict::Valid, "{:?}", report.findings);
    assert_eq!(report.coverage.signatures.unwrap().record, 10);
    assert_eq!(report.heads[&Arc::from("lift-01")], head);
}

#[test]
fn records_of_devices_may_interleave() {
    let mut devices = ["a", "b", "c"].map(|name| device(name, Scheme::Record));
    let ring = ring(&devices);
    let mut chains = devices.each_mut().map(|device| chain(device, 5).into_iter());
    let records: Vec<AuditRecord> = (0..15)
        .map(|at| chains[[0, 1, 2, 0, 2, 1][at % 6]].next())
        .take_while(Option::is_some)
        .flatten()
        .collect();
    assert!(records.len() > 10);
    let report = report(&records, &Checks { keys: Some(&ring), ..Checks::default() });
    assert_eq!((report.verdict, report.coverage.devices), (Verdict::Valid, 3));
    assert_eq!(report.coverage.records, records.len() as u64);
}

#[test]
fn nothing_to_verify_is_not_a_pass() {
    let report = report(&[], &Checks::default());
    assert_eq!(report.verdict, Verdict::NothingToVerify);
    assert!(!report.ok());
}

#[test]
fn a_changed_record_is_a_cause_and_a_gap_is_not() {
    let mut lift = device("lift-01", Scheme::Record);
    let mut records = chain(&mut lift, 6);
    records.remove(2);
    records[2].timestamp_ms = 0;
    let ring = ring(std::slice::from_ref(&lift));
    let with_keys = report(&records, &Checks { keys: Some(&ring), ..Checks::default() });
    let expected = [(Code::SignatureInvalid, 4), (Code::SequenceGap, 4), (Code::PrevHashMismatch, 5)];
    assert_eq!(found(&with_keys), expected);
    let cause = with_keys.findings[2].cause.as_ref().unwrap();
    assert_eq!((cause.code, cause.sequence), (Code::SignatureInvalid, Some(4)));
    let kinds: Vec<Code> = with_keys.kinds().map(|(code, _)| code).collect();
    assert_eq!(kinds, [Code::SignatureInvalid, Code::SequenceGap, Code::PrevHashMismatch]);
    let without = report(&records, &Checks::default());
    assert_eq!(found(&without), [(Code::SequenceGap, 4), (Code::PrevHashMismatch, 5)]);
    assert_eq!(without.findings[1].cause, None);
}

#[test]
fn links_are_named() {
    let of = |records: &[AuditRecord]| found(&report(records, &Checks::default()));
    let pick = |at: &[usize]| at.iter().map(|at| ten()[*at].clone()).collect::<Vec<_>>();
    assert_eq!(of(&pick(&[1, 2])), [(Code::FirstRecordNotGenesis, 2)]);
    let linked = AuditRecord { prev_record_hash: Hash::of(b"?"), ..ten()[0].clone() };
    assert_eq!(of(&[linked]), [(Code::FirstRecordNotGenesis, 1)]);
    assert_eq!(of(&pick(&[0, 1, 3, 4])), [(Code::SequenceGap, 4)]);
    assert_eq!(of(&pick(&[0, 1, 1, 2])), [(Code::SequenceDuplicate, 2)]);
    let swapped = [(Code::SequenceGap, 3), (Code::SequenceOutOfOrder, 2), (Code::SequenceGap, 4)];
    assert_eq!(of(&pick(&[0, 2, 1, 3])), swapped);
    assert_eq!(of(&pick(&[0, 1, 2, 0])), [(Code::SequenceDuplicate, 1)]);
    assert_eq!(of(&pick(&[0, 1, 1, 2, 0])), [(Code::SequenceDuplicate, 2), (Code::SequenceDuplicate, 1)]);
    // The second of records that were replayed together is replayed again.
    let twice = report(&pick(&[0, 1, 2, 0, 1, 2, 1]), &Checks::default());
    assert_eq!(found(&twice), [(Code::SequenceDuplicate, 1), (Code::SequenceDuplicate, 2)]);
    assert_eq!(twice.counts, [(Code::SequenceDuplicate, 2)].into());
    // Replayed much later: the record is known; the next record seems far off, and names the cause.
    let replayed = report(&pick(&[0, 1, 2, 3, 1, 4]), &Checks::default());
    assert_eq!(found(&replayed), [(Code::SequenceDuplicate, 2), (Code::SequenceGap, 5)]);
    assert_eq!(replayed.findings[1].cause.as_ref().unwrap().code, Code::SequenceDuplicate);
}

#[test]
fn a_fork_is_named_next_to_its_rival_and_far_from_it() {
    let records = ten();
    let mut rival =
        device("lift-01", Scheme::Record).resume(Some(Head { sequence: 4, hash: records[3].hash() }));
    let rival: Vec<AuditRecord> =
        (0..3).map(|at| rival.sign(5, b"another story", format!("rival/{at}")).unwrap()).collect();

    let mut near = records.clone();
    near.insert(5, rival[0].clone());
    let near = report(&near, &Checks::default());
    assert_eq!(found(&near), [(Code::Fork, 5), (Code::PrevHashMismatch, 6)]);
    assert_eq!(near.findings[1].cause.as_ref().unwrap().code, Code::Fork);

    let far: Vec<AuditRecord> = records.iter().chain(&rival).cloned().collect();
    assert_eq!(found(&report(&far, &Checks::default())), [(Code::Fork, 5)]);
}

#[test]
fn a_flipped_payload_hash_shows_twice_and_the_second_names_the_first() {
    let mut lift = device("lift-01", Scheme::PayloadHash);
    let mut records = chain(&mut lift, 10);
    records[4].payload_hash.0[0] ^= 1;
    let ring = ring(&[lift]);
    let report = report(&records, &Checks { keys: Some(&ring), ..Checks::default() });
    assert_eq!(found(&report), [(Code::SignatureInvalid, 5), (Code::PrevHashMismatch, 6)]);
    let cause = report.findings[1].cause.as_ref().unwrap();
    assert_eq!((cause.code, cause.sequence), (Code::SignatureInvalid, Some(5)));
}

/// Under scheme payload-hash, re-linking an edited chain needs no key; under scheme record it does.
#[test]
fn a_relinked_edit_passes_under_payload_hash_and_fails_under_record() {
    for (scheme, expected) in [(Scheme::PayloadHash, vec![]), (Scheme::Record, vec![5, 6, 7, 8, 9, 10])] {
        let mut lift = device("lift-01", scheme);
        let mut records = chain(&mut lift, 10);
        records[4].timestamp_ms += 60_000;
        for at in 5..10 {
            records[at].prev_record_hash = records[at - 1].hash();
        }
        let ring = ring(&[lift]);
        let report = report(&records, &Checks { keys: Some(&ring), ..Checks::default() });
        let expected: Vec<_> = expected.into_iter().map(|at| (Code::SignatureInvalid, at)).collect();
        assert_eq!(found(&report), expected, "{scheme}");
        let warned =
            report.coverage.not_checked.iter().any(|gap| matches!(gap, NotChecked::PayloadHashOnly { .. }));
        assert_eq!(warned, scheme == Scheme::PayloadHash);
    }
}

#[test]
fn a_malformed_entry_is_the_cause_of_a_gap_over_it_alone() {
    let mut records = ten();
    records[6].timestamp_ms += 1;
    let checks = Checks::default();
    // The entries 3 and 7 are malformed: the first one is in place of a record, the second one is not.
    let places: Vec<(&AuditRecord, u64)> = records
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != 3)
        .map(|(at, record)| (record, at as u64 + u64::from(at >= 7)))
        .collect();
    let mut segments = checks.verify_indexed(places).unwrap();
    for at in [3, 7, 20] {
        segments.add(Finding::malformed(at, "a record", "a list"));
    }
    let report = checks.report(segments);
    let causes: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            let cause = finding.cause.as_ref().map(|cause| (cause.code, cause.index));
            (finding.code, finding.index.unwrap(), cause)
        })
        .collect();
    let malformed = |at| (Code::RecordMalformed, at, None);
    assert_eq!(
        causes,
        [
            malformed(3),
            (Code::SequenceGap, 4, Some((Code::RecordMalformed, 3))),
            malformed(7),
            (Code::PrevHashMismatch, 8, None),
            malformed(20)
        ]
    );
}

#[test]
fn an_unknown_device_and_a_missing_payload_break_no_link() {
    let other = ring(&[device("lift-02", Scheme::Record)]);
    let unknown = Checks { keys: Some(&other), ..Checks::default() };
    let missing = Checks { payloads: Some(&Observed), ..Checks::default() };
    for (checks, code, at) in [(unknown, Code::UnknownDevice, 0), (missing, Code::PayloadMissing, 2)] {
        let mut records = ten();
        records[at + 1].prev_record_hash = Hash::ZERO;
        let report = report(&records, &checks);
        assert_eq!(report.findings[0].code, code);
        let link = &report.findings[1];
        assert_eq!((link.code, link.index), (Code::PrevHashMismatch, Some(at as u64 + 1)));
        assert_eq!(link.cause, None);
    }
}

#[test]
fn keys_are_judged_by_sequence() {
    let mut old = device("lift-01", Scheme::Record);
    let mut records = chain(&mut old, 5);
    let mut new = Device::from_seed("lift-01", [42; 32], Scheme::Record).resume(old.head());
    records.extend(chain(&mut new, 5));
    let mut ring = ring(&[old.clone()]);
    ring.insert("lift-01", RingKey { key: new.public_key().unwrap(), scheme: Scheme::Record, valid_from: 6 })
        .unwrap();
    let checks = Checks { keys: Some(&ring), ..Checks::default() };
    assert!(report(&records, &checks).ok());

    // The old key still signs after its rotation.
    let mut late = chain(&mut device("lift-01", Scheme::Record), 7);
    assert_eq!(
        found(&report(&late, &checks)),
        [(Code::KeyNotValidAtSequence, 6), (Code::KeyNotValidAtSequence, 7)]
    );
    // No key is valid yet.
    let mut ring = KeyRing::new();
    let key = old.public_key().unwrap();
    ring.insert("lift-01", RingKey { key, scheme: Scheme::Record, valid_from: 3 }).unwrap();
    late.truncate(4);
    let checks = Checks { keys: Some(&ring), ..Checks::default() };
    let report = report(&late, &checks);
    assert_eq!(found(&report), [(Code::KeyNotValidAtSequence, 1), (Code::KeyNotValidAtSequence, 2)]);
    assert_eq!(report.coverage.signatures.unwrap().unchecked, 2);
}

#[test]
fn an_unknown_device_is_one_finding() {
    let known = device("lift-02", Scheme::Record);
    let ring = ring(&[known]);
    let checks = Checks { keys: Some(&ring), ..Checks::default() };
    let records = ten();
    let halves = checks.verify(&records[..5], 0).unwrap().merge(checks.verify(&records[5..], 5).unwrap());
    let report = checks.report(halves);
    assert_eq!(found(&report), [(Code::UnknownDevice, 1)]);
    assert_eq!(report.coverage.signatures.unwrap().unchecked, 10);
}

#[test]
fn trusted_heads_catch_truncation_and_missing_devices() {
    let records = ten();
    let head = |at: usize| Head { sequence: at as u64 + 1, hash: records[at].hash() };
    let check = |records: &[AuditRecord], heads: Heads| {
        found(&report(records, &Checks { heads: Some(&heads), ..Checks::default() }))
    };
    let lift = || Arc::<str>::from("lift-01");
    assert_eq!(check(&records, Heads::from([(lift(), head(9))])), []);
    // A chain that grew after the snapshot still contains its head.
    assert_eq!(check(&records, Heads::from([(lift(), head(6))])), []);
    assert_eq!(check(&records[..8], Heads::from([(lift(), head(9))])), [(Code::HeadMismatch, 10)]);
    let rewritten = Head { hash: Hash::of(b"x"), ..head(6) };
    assert_eq!(check(&records, Heads::from([(lift(), rewritten)])), [(Code::HeadMismatch, 7)]);
    let two = Heads::from([(lift(), head(9)), ("lift-02".into(), head(3))]);
    assert_eq!(check(&records, two.clone()), [(Code::DeviceMissing, 4)]);
    assert_eq!(check(&[], two.clone()), [(Code::DeviceMissing, 10), (Code::DeviceMissing, 4)]);
    let nothing = report(&[], &Checks { heads: Some(&two), ..Checks::default() });
    assert_eq!((nothing.hints, nothing.verdict), (vec![], Verdict::Findings));
}

#[test]
fn a_range_is_verified_against_its_start_heads() {
    let records = ten();
    let start = Heads::from([("lift-01".into(), Head { sequence: 4, hash: records[3].hash() })]);
    let check = |range: &[AuditRecord]| {
        found(&report(range, &Checks { start_heads: Some(&start), ..Checks::default() }))
    };
    assert_eq!(check(&records[4..]), []);
    assert_eq!(check(&records[5..]), [(Code::SequenceGap, 6)]);
    let mut edited = records[4..].to_vec();
    edited[0].prev_record_hash = Hash::ZERO;
    assert_eq!(check(&edited)[0], (Code::PrevHashMismatch, 5));
}

#[test]
fn the_last_sequence_does_not_overflow() {
    let mut record = ten().remove(0);
    record.sequence = u64::MAX;
    let mut next = record.clone();
    next.sequence = 0;
    let codes: Vec<Code> =
        report(&[record, next], &Checks::default()).findings.iter().map(|f| f.code).collect();
    assert_eq!(codes, [Code::FirstRecordNotGenesis, Code::SequenceOutOfOrder]);
}

/// Returns the hints of a report, as sentences.
fn hints(report: &Report) -> Vec<String> {
    report.hints.iter().map(ToString::to_string).collect()
}

#[test]
fn complete_chains_out_of_order_have_a_hint() {
    let mut two = chain(&mut device("lift-02", Scheme::Record), 10);
    two.rotate_left(7);
    let mut records = ten();
    records.reverse();
    records.extend(two);
    let report = report(&records, &Checks::default());
    assert_eq!(report.verdict, Verdict::Findings);
    let hint = Hint::NotInOrder { devices: 2, device_id: "lift-01".into(), many_inputs: false };
    assert_eq!(report.hints, [hint]);
    assert_eq!(
        hints(&report),
        [
            "the records of 2 devices (the first is \"lift-01\") are complete and linked, but do not come in the \
          order of their sequence: sort the records by device_id and sequence"
        ]
    );
}

#[test]
fn a_chain_that_lacks_more_than_order_has_no_such_hint() {
    let not_in_order = |records: &[AuditRecord]| {
        report(records, &Checks::default()).hints.iter().any(|hint| matches!(hint, Hint::NotInOrder { .. }))
    };
    let rotated = || [&ten()[4..], &ten()[..4]].concat();
    assert!(not_in_order(&rotated()));
    // A range of a chain is complete too.
    assert!(not_in_order(&[&ten()[5..], &ten()[2..5]].concat()));
    assert!(!not_in_order(&ten()));
    assert!(!not_in_order(&ten()[2..]));
    for at in [0, 3, 5, 6, 9] {
        let (mut missing, mut twice, mut edited, mut renumbered) =
            (rotated(), rotated(), rotated(), rotated());
        missing.remove(at);
        twice.insert(at, twice[at].clone());
        edited[at].timestamp_ms += 1;
        renumbered[at].sequence = 4;
        // Without the first or the last link of the chain, the rest is complete.
        assert_eq!(not_in_order(&missing), at == 5 || at == 6, "{at}");
        assert!(!not_in_order(&twice), "{at}");
        // No later record contains the hash of the last record.
        assert_eq!(not_in_order(&edited), at == 5, "{at}");
        assert_eq!(not_in_order(&renumbered), renumbered == rotated(), "{at}");
    }
}

#[test]
fn a_part_of_an_export_has_a_hint() {
    let mut heads: Heads =
        (0..9).map(|at| (format!("other-{at}").into(), Head { sequence: 1, hash: Hash::ZERO })).collect();
    let records = ten();
    heads.insert("lift-01".into(), Head { sequence: 10, hash: records[9].hash() });
    let report = report(&records, &Checks { heads: Some(&heads), ..Checks::default() });
    assert_eq!(report.counts[&Code::DeviceMissing], 9);
    assert_eq!(report.hints, [Hint::PartOfExport { missing: 9, present: 1 }]);
}

#[test]
fn a_large_part_of_an_export_is_neighbours() {
    let mut heads = Heads::new();
    let mut records = Vec::new();
    for at in 0..6 {
        let name = format!("lift-{at}");
        let one = chain(&mut device(&name, Scheme::Record), 2);
        heads.insert(name.into(), Head { sequence: 2, hash: one[1].hash() });
        records.push(one);
    }
    let hints = |there: &[usize]| {
        let part: Vec<_> = there.iter().flat_map(|at| records[*at].clone()).collect();
        report(&part, &Checks { heads: Some(&heads), ..Checks::default() }).hints
    };
    for part in [&[0, 1, 2, 3][..], &[1, 2, 3, 4], &[2, 3, 4, 5]] {
        assert_eq!(hints(part), [Hint::PartOfExport { missing: 2, present: 4 }], "{part:?}");
    }
    // One missing chain does not imply a partial export, and a partial export leaves no gaps.
    assert_eq!(hints(&[0, 1, 2, 3, 4]), []);
    assert_eq!(hints(&[0, 2, 3, 5]), []);
}

#[test]
fn a_signature_under_the_other_scheme_is_reported_and_stays_invalid() {
    for (signs, registered) in [(Scheme::Record, Scheme::PayloadHash), (Scheme::PayloadHash, Scheme::Record)]
    {
        let mut lift = device("lift-01", signs);
        let mut records = chain(&mut lift, 3);
        records[1].signature[0] ^= 1;
        let key = lift.public_key().unwrap();
        let mut ring = KeyRing::new();
        ring.insert("lift-01", RingKey { key, scheme: registered, valid_from: 1 }).unwrap();
        let report = report(&records, &Checks { keys: Some(&ring), ..Checks::default() });
        assert_eq!(report.counts[&Code::SignatureInvalid], 3);
        let other = Evidence::OtherScheme { key: *key.as_bytes(), scheme: signs };
        let evidence: Vec<bool> = report
            .findings
            .iter()
            .filter(|finding| finding.code == Code::SignatureInvalid)
            .map(|finding| finding.actual == other)
            .collect();
        assert_eq!(evidence, [true, false, true]);
        let device_id = "lift-01".into();
        let hint = Hint::OtherScheme { scheme: signs, signatures: 2, devices: 1, device_id };
        assert_eq!(report.hints, [hint]);
        // Signatures alone never lead to the advice to register a key with the weaker scheme.
        let confirms = hints(&report)[0].contains("only if its owner confirms");
        assert_eq!(confirms, signs == Scheme::PayloadHash, "{:?}", hints(&report));
    }
}

#[test]
fn an_old_key_of_any_scheme_is_named() {
    let mut old = device("lift-01", Scheme::PayloadHash);
    let records = chain(&mut old, 3);
    let mut ring = ring(&[old]);
    let key = Device::from_seed("lift-01", [42; 32], Scheme::Record).public_key().unwrap();
    ring.insert("lift-01", RingKey { key, scheme: Scheme::Record, valid_from: 3 }).unwrap();
    let report = report(&records, &Checks { keys: Some(&ring), ..Checks::default() });
    assert_eq!(found(&report), [(Code::KeyNotValidAtSequence, 3)]);
}

/// A signature of scheme record over digest D is one of scheme payload-hash for a record whose payload hash is D.
#[test]
fn a_key_belongs_to_one_scheme() {
    let mut honest = device("lift-01", Scheme::Record);
    let record = chain(&mut honest, 1).remove(0);
    let mut forged = record.clone();
    (forged.device_id, forged.object_ref) = ("lift-02".into(), "never/signed".into());
    forged.payload_hash = Hash(record.signing_digest());

    let mut ring = ring(&[honest.clone()]);
    let key = RingKey { key: honest.public_key().unwrap(), scheme: Scheme::PayloadHash, valid_from: 1 };
    for device_id in ["lift-02", "lift-01"] {
        let error = ring.insert(device_id, key).unwrap_err();
        assert!(
            matches!(&error, KeyError::TwoSchemes { other_device_id, .. } if other_device_id == "lift-01")
        );
        let message = error.to_string();
        let parts = [&key.key.short(), device_id, "lift-01", "payload-hash", "scheme record", "one scheme"];
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    assert!(ring.keys("lift-02").is_none());
    assert!(!report(&[forged], &Checks { keys: Some(&ring), ..Checks::default() }).ok());
    // The same key with the same scheme may serve more than one device.
    ring.insert("lift-02", RingKey { scheme: Scheme::Record, ..key }).unwrap();
}

#[test]
fn devices_with_the_same_key_are_named() {
    let key = |name: &str, valid_from| {
        let key = device(name, Scheme::Record).public_key().unwrap();
        RingKey { key, scheme: Scheme::Record, valid_from }
    };
    let (a, b) = (key("a", 1), key("b", 1));
    let mut ring = KeyRing::new();
    ring.insert("a", a).unwrap();
    ring.insert("b", b).unwrap();
    assert_eq!((ring.shared_key(), ring.other_owner("a", &a.key)), (None, None));
    assert_eq!((ring.other_owner("b", &a.key), ring.other_owner("a", &key("c", 1).key)), (Some("a"), None));
    // A device that returns to an earlier key shares it with no other.
    ring.insert("a", key("a", 5)).unwrap();
    assert_eq!((ring.shared_key(), ring.other_owner("a", &a.key)), (None, None));
    ring.insert("c", b).unwrap();
    assert_eq!((ring.shared_key(), ring.other_owner("b", &b.key)), (Some(("b", "c")), Some("c")));
}

/// Each bad signature is tried under the other keys of its device, some thousands at a time.
#[test]
fn each_of_many_bad_signatures_is_one_finding() {
    let mut lift = device("lift-01", Scheme::Record);
    let mut records = chain(&mut lift, 2100);
    let mut ring = ring(&[lift]);
    let other = |name: &str, valid_from| {
        let key = device(name, Scheme::Record).public_key().unwrap();
        RingKey { key, scheme: Scheme::Record, valid_from }
    };
    ring.insert("lift-01", other("later", 100_000)).unwrap();
    records.iter_mut().for_each(|record| record.signature[40] ^= 1);
    let report = report(&records, &Checks { keys: Some(&ring), ..Checks::default() });
    let invalid = report.findings.iter().filter(|finding| finding.code == Code::SignatureInvalid);
    assert!(invalid.map(|finding| finding.sequence.unwrap()).eq(1..=2100));
}

#[test]
fn findings_have_the_positions_that_the_caller_gives() {
    let mut records = ten();
    records.remove(3);
    let checks = Checks::default();
    let spread = records.iter().zip((7..).step_by(5));
    let report = checks.report(checks.verify_indexed(spread).unwrap());
    let places: Vec<_> = report.findings.iter().map(|finding| (finding.code, finding.index)).collect();
    assert_eq!(places, [(Code::SequenceGap, Some(22))]);
}

struct Observed;

impl Payloads for Observed {
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, edgesentry_chain::PayloadError> {
        Ok(match record.sequence {
            3 => None,
            7 => Some(Hash::of(b"swapped")),
            sequence => Some(Hash::of(format!("{} observes {}", record.device_id, sequence - 1).as_bytes())),
        })
    }
}

#[test]
fn payloads_are_compared_with_the_records() {
    let report = report(&ten(), &Checks { payloads: Some(&Observed), ..Checks::default() });
    assert_eq!(found(&report), [(Code::PayloadMissing, 3), (Code::PayloadHashMismatch, 7)]);
    assert_eq!(report.coverage.payloads.unwrap().checked, 10);
}

/// Generates four interleaved chains, with tampering by index operations.
fn mixed() -> impl Strategy<Value = Vec<AuditRecord>> {
    let mischief = proptest::collection::vec((0u8..6, any::<prop::sample::Index>(), any::<u16>()), 0..12);
    (1usize..60, mischief).prop_map(|(per_device, mischief)| {
        let names = ["a", "b", "c", "d"];
        let mut chains: Vec<_> =
            names.map(|name| chain(&mut device(name, Scheme::Record), per_device).into_iter()).into();
        let mut records = Vec::new();
        for _ in 0..per_device {
            records.extend(chains.iter_mut().filter_map(Iterator::next));
        }
        for (kind, at, noise) in mischief {
            let at = at.index(records.len());
            match kind {
                0 if records.len() > 1 => drop(records.remove(at)),
                1 => records.insert((at + noise as usize % 9).min(records.len()), records[at].clone()),
                2 => records.swap(at, noise as usize % per_device),
                3 => records[at].timestamp_ms ^= 1 << (noise % 64),
                4 => records[at].sequence = u64::from(noise) % (per_device as u64 + 2),
                _ => records[at].signature[noise as usize % 64] ^= 4,
            }
        }
        records
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// For every cut of the input and every order of joins, the report equals that of a single pass.
    #[test]
    fn merging_is_associative_and_equals_one_pass(
        records in mixed(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6), left_first: bool,
    ) {
        let ring = ring(&["a", "b", "c"].map(|name| device(name, Scheme::Record)));
        let heads = Heads::from([("a".into(), Head { sequence: 3, hash: Hash::of(b"?") })]);
        let checks = Checks { keys: Some(&ring), heads: Some(&heads), ..Checks::default() };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(records.len())).collect();
        cuts.push(0);
        cuts.push(records.len());
        cuts.sort_unstable();
        let pieces: Vec<Segments> = cuts
            .windows(2)
            .map(|cut| checks.verify(&records[cut[0]..cut[1]], cut[0] as u64).unwrap())
            .collect();
        let joined = if left_first {
            pieces.into_iter().fold(Segments::default(), Segments::merge)
        } else {
            pieces.into_iter().rev().fold(Segments::default(), |right, left| left.merge(right))
        };
        let once = report(&records, &checks);
        prop_assert_eq!(checks.report(joined), once.clone());
        prop_assert_eq!(checks.report(checks.verify_parallel(&records, 0).unwrap()), once);
    }

    /// Flips any single bit of any field of any record of a signed chain whose heads are trusted.
    #[test]
    fn any_flipped_bit_is_found(at in 0usize..30, field in 0usize..7, bit: u16) {
        let mut devices = [device("lift-01", Scheme::Record), device("lift-02", Scheme::PayloadHash)];
        let mut records = chain(&mut devices[0], 15);
        records.extend(chain(&mut devices[1], 15));
        let heads: Heads =
            devices.iter().map(|device| (device.device_id().into(), device.head().unwrap())).collect();
        let ring = ring(&devices);
        let checks = Checks { keys: Some(&ring), heads: Some(&heads), ..Checks::default() };
        prop_assert!(report(&records, &checks).ok());

        let before = records[at].clone();
        let record = &mut records[at];
        let flip = |text: &mut String| {
            // Bits 0 to 6 of ASCII stay text.
            let at = bit as usize / 7 % text.len();
            let mut bytes = std::mem::take(text).into_bytes();
            bytes[at] ^= 1 << (bit % 7);
            *text = String::from_utf8(bytes).unwrap();
        };
        let bytes_bit = |bytes: &mut [u8]| bytes[bit as usize / 8 % bytes.len()] ^= 1 << (bit % 8);
        match field {
            0 => flip(&mut record.device_id),
            1 => record.sequence ^= 1 << (bit % 64),
            2 => record.timestamp_ms ^= 1 << (bit % 64),
            3 => bytes_bit(&mut record.payload_hash.0),
            4 => bytes_bit(&mut record.signature),
            5 => bytes_bit(&mut record.prev_record_hash.0),
            _ => flip(&mut record.object_ref),
        }
        let (sequences, name) = ([before.sequence, before.sequence + 1, record.sequence], record.device_id.clone());
        let report = report(&records, &checks);
        prop_assert!(!report.ok());
        // The finding is at the record or the next one, of the device named before or after.
        let near = report.findings.iter().any(|finding| {
            let device_id = finding.device_id.as_deref().unwrap();
            (device_id == before.device_id || device_id == name)
                && sequences.contains(&finding.sequence.unwrap())
        });
        prop_assert!(near, "{:?}", report.findings);
    }
}

#[test]
fn hashes_and_keys_are_read_from_their_texts() {
    let hash = Hash::of(b"door closed");
    assert_eq!((hash.to_string().parse(), format!("{hash:?}")), (Ok(hash), format!("Hash({hash})")));
    let error = "12".parse::<Hash>().unwrap_err().to_string();
    assert_eq!(error, "a hash is 64 hex digits, not \"12\"");
    let json = serde_json::to_string(&hash).unwrap();
    assert_eq!(json, format!("\"{hash}\""));
    assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
    let bytes = postcard::to_allocvec(&hash).unwrap();
    assert_eq!((bytes.as_slice(), postcard::from_bytes(&bytes)), (&hash.as_bytes()[..], Ok(hash)));

    let lift = device("lift-01", Scheme::Record);
    let key = lift.public_key().unwrap();
    let text = key.to_string();
    assert_eq!((text.parse(), format!("{key:?}")), (Ok(key), format!("PublicKey({text})")));
    assert_eq!((key.short().as_str(), text.len()), (&text[..16], 64));
    assert_ne!(key, device("lift-02", Scheme::Record).public_key().unwrap());
    assert_eq!(edgesentry_chain::PublicKey::from_checked_bytes(*key.as_bytes()), Ok(key));
    assert!(matches!(edgesentry_chain::PublicKey::from_checked_bytes([0; 32]), Err(KeyError::SmallOrder(_))));
    assert_eq!("Ä".parse::<edgesentry_chain::PublicKey>(), Err(KeyError::NotHex(1)));
    for scheme in [Scheme::PayloadHash, Scheme::Record] {
        assert_eq!((scheme.to_string().parse(), scheme.other().other()), (Ok(scheme), scheme));
        assert_ne!(scheme.other(), scheme);
        assert_eq!(serde_json::to_value(scheme).unwrap(), scheme.name());
    }
    assert_eq!("ed25519".parse::<Scheme>(), Err(KeyError::UnknownScheme("ed25519".to_owned())));
}

#[test]
fn a_device_keeps_its_seed_and_its_place() {
    let mut lift = Device::from_seed("lift-01", [7; 32], Scheme::Record);
    assert_eq!((lift.seed().as_deref(), lift.may_block(), lift.head()), (Some(&[7; 32]), false, None));
    let record = lift.sign(1, b"door closed", "1").unwrap();
    assert_eq!(lift.head(), Some(Head { sequence: 1, hash: record.hash() }));
    let mut again = Device::from_seed("lift-01", [7; 32], Scheme::Record).resume(lift.head());
    assert_eq!(again.sign(2, b"door open", "2").unwrap(), lift.sign(2, b"door open", "2").unwrap());
    assert_eq!((lift.device_id(), lift.scheme()), ("lift-01", Scheme::Record));

    let mut ring = KeyRing::new();
    assert_eq!((ring.is_empty(), ring.len(), ring.keys("lift-01")), (true, 0, None));
    let key = RingKey { key: lift.public_key().unwrap(), scheme: Scheme::Record, valid_from: 3 };
    ring.insert("lift-01", key).unwrap();
    // The same key once more changes nothing; another one cannot begin at its place.
    ring.insert("lift-01", key).unwrap();
    assert_eq!((ring.is_empty(), ring.len(), ring.keys("lift-01")), (false, 1, Some(&[key][..])));
    let other = RingKey { key: device("lift-02", Scheme::Record).public_key().unwrap(), ..key };
    assert!(matches!(ring.insert("lift-01", other), Err(KeyError::SameStart { valid_from: 3, .. })));
    assert_eq!((ring.key_at("lift-01", 2), ring.key_at("lift-01", 3)), (None, Some(&key)));
    assert_eq!(ring.iter().collect::<Vec<_>>(), [("lift-01", &[key][..])]);
}

/// A token with another key than it states.
struct Defective(edgesentry_chain::SeedSigner);

impl edgesentry_chain::Signer for Defective {
    fn public_key(&self) -> &edgesentry_chain::PublicKey {
        self.0.public_key()
    }

    fn sign(&self, _: &[u8]) -> Result<[u8; 64], edgesentry_chain::SignerError> {
        Ok([1; 64])
    }
}

#[test]
fn an_external_key_signs_the_same_or_fails() {
    use edgesentry_chain::{SeedSigner, SignError, Signer, SignerError};
    let seed = *Hash::of(b"lift-01").as_bytes();
    let signer = SeedSigner::new(seed).unwrap();
    assert!(!signer.may_block());
    assert!(format!("{signer:?}").ends_with("seed: \"redacted\" }"), "{signer:?}");
    let mut lift = device("lift-01", Scheme::Record);
    let mut token = Device::from_signer("lift-01", Arc::new(signer.clone()), Scheme::Record);
    assert_eq!((token.seed(), token.may_block(), token.public_key()), (None, false, lift.public_key()));
    assert_eq!(chain(&mut token, 3), chain(&mut lift, 3));

    let mut defective = Device::from_signer("lift-01", Arc::new(Defective(signer)), Scheme::Record);
    assert!(defective.may_block());
    let error = defective.sign(1, b"door closed", "1").unwrap_err();
    let SignError::Signer(error) = error else { panic!("{error}") };
    assert!(!error.retryable && error.problem.contains("nothing was signed"), "{error}");
    assert!(error.to_string().starts_with(&format!("the signer of the key {}", lift.public_key().unwrap())));
    assert_eq!(defective.head(), None);
    assert!(SignerError::passing("a", "b").retryable);
    assert_eq!(SignerError::passing("a", "b").to_string(), "a: b");
    let mut last = lift.resume(Some(Head { sequence: u64::MAX, hash: Hash::ZERO }));
    assert!(matches!(last.sign(1, b"", "1"), Err(SignError::ChainFull(_))));
}

#[test]
fn segments_of_sorted_records_are_joined_when_the_gap_is_filled() {
    let records = ten();
    let checks = Checks::default();
    let sorted = |range: std::ops::Range<usize>| {
        let at = range.start as u64;
        checks.verify_sorted(records[range].iter().zip(at..)).unwrap()
    };
    let open = sorted(0..3).merge(sorted(6..10));
    assert_eq!((open.count(), open.open_gaps(), open.records()), (2, 1, 7));
    assert_eq!(open.heads()[&Arc::from("lift-01")], Head { sequence: 10, hash: records[9].hash() });
    assert_eq!(found(&checks.report(open.clone())), [(Code::SequenceGap, 7)]);
    for joined in [open.clone().merge(sorted(3..6)), sorted(3..6).merge(open)] {
        assert_eq!((joined.count(), joined.open_gaps(), joined.records()), (1, 0, 10));
        assert_eq!(checks.report(joined), report(&records, &checks));
    }
    let chains = checks.verify(&records, 0).unwrap();
    assert_eq!((chains.count(), chains.open_gaps(), chains.records()), (1, 0, 10));
}

#[test]
fn sorted_records_may_repeat_and_leave_gaps() {
    let records = ten();
    let mut rival = records[2].clone();
    rival.timestamp_ms += 1;
    let mut sorted =
        vec![&records[0], &records[1], &records[1], &records[2], &rival, &records[3], &records[7]];
    sorted.sort_by(|a, b| a.cmp_in_table(b));
    let checks = Checks::default();
    let segments = checks.verify_sorted(sorted.into_iter().zip(0..)).unwrap();
    assert_eq!((segments.count(), segments.open_gaps(), segments.records()), (2, 1, 7));
    let codes: Vec<Code> = segments.findings().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::SequenceDuplicate, Code::Fork, Code::PrevHashMismatch]);
    assert_eq!(found(&checks.report(segments)).last(), Some(&(Code::SequenceGap, 8)));
}

/// Only the records decide which findings contested sequences have.
#[test]
fn joining_contested_segments_adds_no_finding() {
    let mut records = ten();
    records[3].prev_record_hash = Hash::ZERO;
    for at in 4..10 {
        records[at].prev_record_hash = records[at - 1].hash();
    }
    let checks = Checks::default();
    let sorted = |range: std::ops::Range<usize>| {
        let at = range.start as u64;
        checks.verify_sorted(records[range].iter().zip(at..)).unwrap()
    };
    let (low, high) = (|| sorted(0..3), || sorted(3..6));
    assert_eq!(found(&checks.report(low().merge(high()))), [(Code::PrevHashMismatch, 4)]);
    let (contested_low, contested_high) = (|| low().merge(sorted(1..3)), || high().merge(sorted(4..6)));
    for (one, other) in [
        (contested_low(), high()),
        (high(), contested_low()),
        (low(), contested_high()),
        (contested_high(), low()),
    ] {
        let joined = one.merge(other);
        assert_eq!((joined.count(), joined.findings()), (1, &[][..]));
        assert_eq!(joined.heads()[&Arc::from("lift-01")].sequence, 6);
    }
}

#[test]
fn withdrawn_findings_are_counted_no_more() {
    let mut records = ten();
    records[4].timestamp_ms += 1;
    records.remove(7);
    let checks = Checks::default();
    let input = Input {
        name: "one".into(),
        format: "json".to_owned(),
        entries: records.len() as u64,
        bytes: None,
        modified: None,
        path: None,
    };
    let expected = [(Code::PrevHashMismatch, 6), (Code::SequenceGap, 9)];
    for sorted in [false, true] {
        let mut segments = match sorted {
            false => checks.verify(&records, 0).unwrap(),
            true => checks.verify_sorted(records.iter().zip(0..)).unwrap(),
        };
        let all = segments.findings().len();
        let withdrawn = segments.withdraw(|finding| finding.code == Code::PrevHashMismatch);
        assert_eq!((withdrawn.len(), segments.findings().len()), (1, all - 1));
        assert_eq!(found(&checks.report(segments.clone())), expected[1..]);
        let order = if sorted { Order::Sequence } else { Order::Position };
        let part =
            Part::new(&checks, order, 0, vec![input.clone()], Verified::new(segments.clone(), Kept::new(10)))
                .unwrap();
        assert_eq!(found(&part.report(&Ends::default()).unwrap()), expected[1..]);
        // They may be added again.
        withdrawn.into_iter().for_each(|finding| segments.add(finding));
        assert_eq!(found(&checks.report(segments.clone())), expected);
        let taken = segments.take_findings();
        assert_eq!((taken.len(), segments.findings().len()), (all, 0));
        let mut kept = Kept::new(1);
        kept.add(taken);
        segments.keep(kept);
        let report = checks.report(segments);
        assert_eq!(report.counts.values().sum::<u64>(), 2);
        assert_eq!(
            report.findings_omitted,
            report.counts.values().sum::<u64>() - report.findings.len() as u64
        );
    }
}

#[test]
fn a_slice_is_a_share_of_each_thread_and_no_batch_too_large() {
    use edgesentry_chain::{SLICE_RECORDS, slice_size};
    let threads = rayon::current_num_threads();
    assert_eq!((slice_size(0), slice_size(1), slice_size(256)), (256, 256, 256));
    for records in [10_000, 1 << 20, (1 << 20) + 1] {
        let size = slice_size(records);
        assert!((256..=SLICE_RECORDS).contains(&size), "{size}");
        let slices = records.div_ceil(size);
        assert!(size == 256 || slices.div_ceil(threads) * threads * size >= records, "{slices} of {size}");
    }
    let large = 64 * SLICE_RECORDS * threads;
    assert_eq!(slice_size(large), SLICE_RECORDS);
    // Three slices.
    let mut records = chain(&mut device("lift-01", Scheme::Record), 900);
    for at in [0, 400, 800] {
        records[at].timestamp_ms += 1;
    }
    let checks = Checks::default();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let parallel = pool.install(|| checks.verify_parallel(&records, 5).unwrap());
    let report = checks.report(parallel);
    let places: Vec<Option<u64>> = report.findings.iter().map(|finding| finding.index).collect();
    assert_eq!(places, [6, 406, 806].map(Some));
    assert_eq!(report, checks.report(checks.verify(&records, 5).unwrap()));
}
