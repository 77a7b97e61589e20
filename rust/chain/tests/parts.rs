//! Parts of a run, however they are divided, merged and kept, give the report of one process. `rust/formats/tests/parts.rs`
//! compares them on random input.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use edgesentry_chain::part::{
    Contested, ContestedRange, Ends, MAX_NUMBER, MAX_OPEN_GAPS, Part, PartError, PartRow, Places, Restored,
    Verified, is_contested,
};
use edgesentry_chain::{
    AuditRecord, Checks, Claim, Claims, Device, Finding, FindingCode as Code, Hash, Heads, Hint, Input, Kept,
    KeyRing, Order, PayloadError, Payloads, ProvidedBy, Report, RingKey, Scheme, Segments, Verdict,
};
use serde_json::{Value, json};

const ORDERS: [Order; 2] = [Order::Position, Order::Sequence];
/// More findings than there are.
const MOST: usize = 100;

fn device(name: &str) -> Device {
    Device::from_seed(name, *Hash::of(name.as_bytes()).as_bytes(), Scheme::PayloadHash)
}

fn chain(name: &str, count: u64) -> Vec<AuditRecord> {
    let mut device = device(name);
    (1..=count).map(|at| device.sign(at, b"observed", format!("{at}.bin")).unwrap()).collect()
}

fn ring() -> KeyRing {
    let mut ring = KeyRing::new();
    for name in ["a", "b", "c", "d"] {
        let key =
            RingKey { key: device(name).public_key().unwrap(), scheme: Scheme::PayloadHash, valid_from: 1 };
        ring.insert(name, key).unwrap();
    }
    ring
}

/// A whole chain, one with repeated records, one with an edited and a missing record, one out of order within an input,
/// and one of an unknown device.
fn inputs() -> Vec<Vec<AuditRecord>> {
    let (a, b, mut c, d, e) = (chain("a", 8), chain("b", 6), chain("c", 9), chain("d", 6), chain("e", 4));
    c[4].timestamp_ms += 1;
    c.remove(6);
    vec![
        [&a[..3], &b[..3], &c[..2]].concat(),
        [&a[3..4], &c[2..6], &b[1..2], &d[3..], &d[..3], &e[..2]].concat(),
        [&b[3..], &b[4..5], &c[6..], &a[4..]].concat(),
        e[2..].to_vec(),
    ]
}

fn input(records: &[AuditRecord]) -> Input {
    let entries = records.len() as u64;
    Input { name: "one".into(), format: "json".into(), entries, bytes: None, modified: None, path: None }
}

fn segments<'r>(
    checks: &Checks<'_>,
    order: Order,
    records: impl IntoIterator<Item = (&'r AuditRecord, u64)>,
) -> Segments {
    let mut records: Vec<_> = records.into_iter().collect();
    match order {
        Order::Position => checks.verify_indexed(records).unwrap(),
        Order::Sequence => {
            records.sort_by(|(a, _), (b, _)| a.cmp_in_table(b));
            checks.verify_sorted(records).unwrap()
        }
    }
}

fn part(checks: &Checks<'_>, order: Order, number: u64, records: &[AuditRecord]) -> Part {
    let segments = segments(checks, order, records.iter().zip(0..));
    Part::new(
        checks,
        order,
        number,
        vec![input(records)],
        Verified::new(segments, Kept::in_order(MOST, order)),
    )
    .unwrap()
}

/// The parts of consecutive inputs.
fn parts(checks: &Checks<'_>, order: Order, inputs: &[Vec<AuditRecord>]) -> Vec<Part> {
    (0..).zip(inputs).map(|(number, records)| part(checks, order, number, records)).collect()
}

/// The part of the rows of a part.
fn restored(part: &Part) -> Part {
    let mut restored = Restored::default();
    for row in part.rows() {
        restored.add(row.device_id, row.state).unwrap();
    }
    restored.finish().unwrap()
}

fn merged(parts: impl IntoIterator<Item = Part>) -> Part {
    parts.into_iter().reduce(|one, other| one.merge(other).unwrap()).unwrap()
}

/// The part of the contested records, verified again.
fn again(checks: &Checks<'_>, part: &Part, all: &[Vec<AuditRecord>]) -> Part {
    let (order, contested) = (part.order(), part.contested());
    let records = all.iter().flatten().zip(0..).filter(|(record, _)| is_contested(&contested, record));
    let segments = segments(checks, order, records);
    let inputs: Vec<Input> = all.iter().map(|records| input(records)).collect();
    let verified = Verified::new(segments, Kept::in_order(MOST, order));
    Part::again(checks, order, Places::From(0), &inputs, verified, contested).unwrap()
}

/// Adds the contested records, verified again.
fn settled(checks: &Checks<'_>, part: Part, all: &[Vec<AuditRecord>]) -> Part {
    let again = again(checks, &part, all);
    part.merge(again).unwrap()
}

/// What a report says, without the order of its findings.
fn said(report: &Report) -> impl PartialEq + std::fmt::Debug + use<> {
    let Report { verdict, counts, hints, heads, chains, coverage, .. } = report.clone();
    let place = |finding: &Finding| {
        (finding.device_id.clone(), finding.sequence, finding.code, finding.index, finding.cause.clone())
    };
    let mut findings: Vec<_> = report.findings.iter().map(place).collect();
    findings.sort_by(|a, b| (&a.0, a.1, a.2, a.3).cmp(&(&b.0, b.1, b.2, b.3)));
    (verdict, counts, hints, heads, chains, coverage, findings)
}

#[test]
fn parts_give_the_report_of_one_process() {
    let (inputs, ring) = (inputs(), ring());
    let checks = Checks { keys: Some(&ring), ..Checks::default() };
    for order in ORDERS {
        let mut once = checks.report(segments(&checks, order, inputs.iter().flatten().zip(0..)));
        once.locate(inputs.iter().map(|records| input(records)).collect());
        let conclude = |part: Part| {
            let part = settled(&checks, part, &inputs);
            assert_eq!(part.contested().len(), 0);
            let report = part.report(&Ends { inputs: Some(4), ..Ends::default() }).unwrap();
            assert_eq!(said(&report), said(&once), "{order:?}");
            let places = |report: &Report| -> Vec<_> {
                report.findings.iter().map(|finding| (finding.index, finding.location.clone())).collect()
            };
            if order == Order::Position {
                assert_eq!(places(&report), places(&once));
            }
        };
        let all = || parts(&checks, order, &inputs);
        conclude(merged(all()));
        conclude(merged(all().into_iter().rev()));
        let [one, two, three, four] = all().try_into().unwrap();
        conclude(merged([merged([four, two]), merged([one, three])]));

        let whole = merged(all());
        let contested: Vec<_> =
            whole.contested().into_keys().map(|device_id| device_id.to_string()).collect();
        assert_eq!(contested, ["b"]);
        let records = inputs.iter().map(Vec::len).sum::<usize>() as u64;
        assert_eq!((whole.records(), whole.devices().len(), whole.most()), (records, 5, MOST));
        assert_eq!(whole.heads(), once.heads);
        assert!(matches!(whole.clone().report(&Ends::default()), Err(PartError::Contested { .. })));
        conclude(restored(&whole));

        let mut shares: Vec<Vec<Part>> = vec![Vec::new(); 3];
        for part in all() {
            for (share, of_part) in shares.iter_mut().zip(part.split(3)) {
                share.push(of_part);
            }
        }
        let shares: Vec<Part> = shares.into_iter().map(merged).collect();
        assert_eq!(shares.iter().map(Part::records).sum::<u64>(), records);
        let twice = [shares.clone(), shares.clone()].concat();
        assert!(matches!(Part::united(twice), Err(PartError::Inconsistent(_))));
        conclude(Part::united(shares).unwrap());
        // Records that were verified again are divided too.
        let shares = settled(&checks, whole, &inputs).split(5);
        let report = Part::united(shares).unwrap().report(&Ends::default()).unwrap();
        assert_eq!(said(&report), said(&once));
    }
}

#[test]
fn records_verified_with_other_keys_are_refused() {
    let (records, ring, none) = (chain("a", 6), ring(), KeyRing::new());
    let [with, without] = [&ring, &none].map(|keys| Checks { keys: Some(keys), ..Checks::default() });
    for (order, lacking) in ORDERS.into_iter().flat_map(|order| [(order, 0), (order, 1)]) {
        let halves = [0, 1].map(|half| {
            let checks = if half == lacking { &without } else { &with };
            segments(checks, order, records.iter().zip(0..).skip(3 * half).take(3))
        });
        let whole = halves.into_iter().reduce(Segments::merge).unwrap();
        let verified = Verified::new(whole, Kept::in_order(MOST, order));
        let refused = Part::new(&with, order, 0, vec![input(&records)], verified).unwrap_err();
        assert!(
            matches!(refused, PartError::OtherBasis { what: "keys", .. }),
            "{order:?} {lacking}: {refused}"
        );
    }
}

#[test]
fn a_chain_is_contested_if_a_part_of_it_runs_backwards() {
    let a = chain("a", 6);
    let checks = Checks::default();
    let is_contested =
        |inputs: &[Vec<AuditRecord>]| !merged(parts(&checks, Order::Position, inputs)).contested().is_empty();
    assert!(!is_contested(&[a[..3].to_vec(), a[3..].to_vec()]));
    // A gap, and an edited record.
    let mut edited = a.clone();
    edited[1].timestamp_ms += 1;
    assert!(!is_contested(&[edited[..3].to_vec(), edited[4..].to_vec()]));
    assert!(is_contested(&[a[..3].to_vec(), a[2..].to_vec(), vec![a[1].clone()]]));
    let backwards = [&a[..3], &a[1..2]].concat();
    assert!(!is_contested(std::slice::from_ref(&backwards)));
    assert!(is_contested(&[backwards, a[3..].to_vec()]));
    assert!(is_contested(&[a[..2].to_vec(), vec![a[4].clone(), a[2].clone()]]));
}

#[test]
fn a_chain_in_one_part_that_lacks_only_order_keeps_its_hint() {
    let mut a = chain("a", 6);
    a.rotate_left(2);
    let checks = Checks::default();
    let part = part(&checks, Order::Position, 0, &a);
    let restored = restored(&part);
    let hint = Hint::NotInOrder { devices: 1, device_id: "a".into(), many_inputs: false };
    for part in [part, restored] {
        assert_eq!(part.report(&Ends::default()).unwrap().hints, std::slice::from_ref(&hint));
    }
}

#[test]
fn heads_that_come_after_the_parts_are_compared_with_the_ends_of_chains() {
    let a = chain("a", 6);
    let checks = Checks::default();
    for order in ORDERS {
        let parts = || merged(parts(&checks, order, &[a[..3].to_vec(), a[3..].to_vec()]));
        let verdict = |heads: Heads| {
            let report = parts().report(&Ends { heads: Some(&heads), ..Ends::default() });
            report.map(|report| (report.verdict, report.counts.into_keys().next()))
        };
        let head =
            |sequence, hash| Heads::from([(Arc::from("a"), edgesentry_chain::Head { sequence, hash })]);
        assert_eq!(verdict(head(6, a[5].hash())), Ok((Verdict::Valid, None)));
        let mismatch = Ok((Verdict::Findings, Some(Code::HeadMismatch)));
        assert_eq!(verdict(head(6, Hash::ZERO)), mismatch);
        assert_eq!(verdict(head(7, a[5].hash())), mismatch);
        assert!(matches!(verdict(head(5, a[4].hash())), Err(PartError::EarlierHead { sequence: 5, .. })));
    }
}

type Rows = Vec<(Option<Arc<str>>, Value)>;

/// The rows of a part, in a form whose fields can be edited.
fn rows(part: &Part) -> Rows {
    part.rows().iter().map(|row| (row.device_id.clone(), serde_json::to_value(&row.state).unwrap())).collect()
}

fn restored_of(rows: &Rows) -> Result<Part, PartError> {
    let mut restored = Restored::default();
    for (device_id, state) in rows {
        restored.add(device_id.clone(), serde_json::from_value(state.clone()).unwrap())?;
    }
    restored.finish()
}

/// Asserts that rows are refused with this reason after an edit, also in the reverse order.
#[track_caller]
fn assert_refused(rows: &Rows, reason: &str, edit: impl FnOnce(&mut Rows)) {
    assert!(restored_of(rows).is_ok());
    let mut edited = rows.clone();
    edit(&mut edited);
    for _ in 0..2 {
        let refused = restored_of(&edited).unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
        edited.reverse();
    }
}

/// Asserts that rows are accepted after an edit.
#[track_caller]
fn assert_accepted(rows: &Rows, edit: impl FnOnce(&mut Rows)) {
    let mut edited = rows.clone();
    edit(&mut edited);
    restored_of(&edited).unwrap();
}

fn whole(rows: &mut Rows) -> &mut Value {
    &mut rows[0].1["Whole"]
}

fn segment(rows: &mut Rows, at: usize) -> &mut Value {
    &mut rows[at].1["Segment"]
}

/// The position of a row of an input.
fn position(number: u64, row: u64) -> u64 {
    number * (1 << 40) + row
}

const OVERLAP: &str = "its inputs overlap";
const OUTSIDE: &str = "a record is outside of its inputs";
const TOO_HIGH: &str = "a position is above 2^23-1";

#[test]
fn the_inputs_of_rows_are_checked() {
    let (a, checks) = (chain("a", 9), Checks::default());
    for order in ORDERS {
        let last = rows(&part(&checks, order, MAX_NUMBER, &a));
        assert_refused(&last, TOO_HIGH, |rows| whole(rows)["inputs"][0][0] = json!(MAX_NUMBER + 1));
        assert_accepted(&last, |rows| whole(rows)["inputs"][0][1]["entries"] = json!((1_u64 << 40) - 1));
        assert_refused(&last, TOO_HIGH, |rows| whole(rows)["inputs"][0][1]["entries"] = json!(1_u64 << 40));

        let two = rows(&merged(parts(&checks, order, &[a[..3].to_vec(), a[3..].to_vec()])));
        assert_refused(&two, "input 0 is in two parts", |rows| whole(rows)["inputs"][1][0] = json!(0));
        assert_refused(&two, OUTSIDE, |rows| segment(rows, 1)["first"][4] = json!(position(2, 0)));
        assert_refused(&two, OUTSIDE, |rows| segment(rows, 1)["last"][3] = json!(position(2, 0)));
        assert_refused(&two, OUTSIDE, |rows| whole(rows)["blocks"] = json!([]));
    }
    let two = rows(&merged(parts(&checks, Order::Position, &[a[..3].to_vec(), a[3..].to_vec()])));
    assert_eq!(two[0].1["Whole"]["blocks"], json!([[0, 2]]));
    assert_accepted(&two, |rows| whole(rows)["blocks"] = json!([[0, 2], [2, 2]]));
    let overlapping = [
        json!([[0, 3]]),
        json!([[2, 0]]),
        json!([[0, 2], [1, 2]]),
        json!([[1, 2], [0, 2]]),
        json!([[0, 2], [0, 1]]),
        json!([[0, 1], [0, 2]]),
        json!([[0, 0], [0, 0]]),
        json!([[0, 2], [0, 0]]),
        json!([[0, 2], [1, 1]]),
    ];
    for blocks in overlapping {
        assert_refused(&two, OVERLAP, |rows| whole(rows)["blocks"] = blocks);
    }
    for (first, last) in [((0, 0), (1, 0)), ((1, 0), (1, 1)), ((1, 0), (0, 0))] {
        assert_refused(&two, OUTSIDE, |rows| {
            whole(rows)["blocks"] = json!([[0, 1]]);
            segment(rows, 1)["first"][4] = json!(position(first.0, first.1));
            segment(rows, 1)["last"][3] = json!(position(last.0, last.1));
        });
    }
    assert_refused(&two, OUTSIDE, |rows| {
        segment(rows, 1)["first"][4] = json!(position(1, 0));
        segment(rows, 1)["last"][3] = json!(position(0, 1));
    });
    assert_refused(&two, "a device has two rows for the same inputs", |rows| {
        rows.push(rows[1].clone());
        whole(rows)["rows"] = json!(2);
    });
    assert_refused(&two, "rows are missing, or are there twice", |rows| drop(rows.pop()));
    assert_refused(&two, "the row without a device is missing", |rows| drop(rows.remove(0)));
    assert_refused(&two, "the device of a row is not that of its state", |rows| rows[1].0 = None);
    let sorted = rows(&part(&checks, Order::Sequence, 0, &a));
    assert_refused(&sorted, OVERLAP, |rows| whole(rows)["blocks"] = json!([[1, 2]]));
}

/// The rows of a device that come before the row of their part wait for it.
#[test]
fn rows_in_any_order_give_the_part() {
    let (inputs, ring) = (inputs(), ring());
    let checks = Checks { keys: Some(&ring), ..Checks::default() };
    for order in ORDERS {
        let report = |part: Part| said(&settled(&checks, part, &inputs).report(&Ends::default()).unwrap());
        let expected = report(merged(parts(&checks, order, &inputs)));
        let mut any: Rows = parts(&checks, order, &inputs).iter().flat_map(rows).collect();
        for turn in 0..any.len() {
            any.rotate_left(1);
            any.swap(0, turn);
            assert_eq!(report(restored_of(&any).unwrap()), expected, "{order:?} {turn}");
        }
        // The rows of records verified again too.
        let again = again(&checks, &merged(parts(&checks, order, &inputs)), &inputs);
        any = parts(&checks, order, &inputs).iter().chain([&again]).flat_map(rows).collect();
        // Last comes the row with the ranges.
        let first_of_again = any.len() - rows(&again).len();
        any[first_of_again..].reverse();
        for turn in 0..any.len() {
            let report = restored_of(&any).unwrap().report(&Ends::default()).unwrap();
            assert_eq!(said(&report), expected, "{order:?} {turn}");
            any.rotate_left(1);
            any.swap(0, turn);
        }
    }
}

#[test]
fn the_numbers_of_a_row_are_checked() {
    const RECORDS: &str = "the records of a device are not within its sequences";
    const COUNTS: &str = "it counts more than its records";
    let (a, checks) = (chain("a", 9), Checks::default());
    let span = |records: u64, lowest: u64, highest: u64| {
        json!({
            "records": records, "lowest_sequence": lowest, "highest_sequence": highest,
            "earliest_ms": 1, "latest_ms": 9,
        })
    };
    for order in ORDERS {
        // Sequences 3 to 7.
        let plain = rows(&part(&checks, order, 0, &a[2..7]));
        assert_eq!(plain[1].1["Segment"]["span"], Value::Null);
        assert_accepted(&plain, |rows| segment(rows, 1)["span"] = span(5, 3, 7));
        for refused in [span(0, 3, 7), span(5, 4, 7), span(5, 3, 6), span(5, 8, 9), span(5, 1, 2)] {
            assert_refused(&plain, RECORDS, |rows| segment(rows, 1)["span"] = refused);
        }
        for wide in [span(5, 2, 7), span(5, 3, 8), span(5, 2, 8)] {
            match order {
                Order::Position => assert_accepted(&plain, |rows| segment(rows, 1)["span"] = wide),
                Order::Sequence => {
                    assert_refused(&plain, RECORDS, |rows| segment(rows, 1)["span"] = wide);
                }
            }
        }
        for count in ["payload_hash_signatures", "record_signatures", "unsigned", "payloads"] {
            assert_accepted(&plain, |rows| segment(rows, 1)["tally"][count] = json!(5));
            assert_refused(&plain, COUNTS, |rows| segment(rows, 1)["tally"][count] = json!(6));
        }
        for scheme in [0, 1] {
            assert_accepted(&plain, |rows| segment(rows, 1)["tally"]["other_scheme"][scheme] = json!(5));
            assert_refused(&plain, COUNTS, |rows| {
                segment(rows, 1)["tally"]["other_scheme"][scheme] = json!(6);
            });
        }
        let fault = |count: u64| json!([["sequence_gap", count]]);
        assert_accepted(&plain, |rows| segment(rows, 1)["faults"] = fault(5));
        assert_refused(&plain, COUNTS, |rows| segment(rows, 1)["faults"] = fault(6));
    }
}

#[test]
fn rows_of_records_verified_again_are_within_their_ranges() {
    let (a, checks) = (chain("a", 9), Checks::default());
    for order in ORDERS {
        let range = ContestedRange { first: 3, last: 6, records: 4 };
        let ranges = Contested::from([(Arc::from("a"), vec![range])]);
        let again = |records: &[AuditRecord]| {
            let verified =
                Verified::new(segments(&checks, order, records.iter().zip(0..)), Kept::in_order(MOST, order));
            Part::again(&checks, order, Places::From(0), &[input(records)], verified, ranges.clone()).unwrap()
        };
        let plain = rows(&again(&a[2..6]));
        assert_accepted(&plain, |_| ());
        assert_accepted(&rows(&again(&a[3..5])), |_| ());
        for outside in [&a[1..6], &a[2..7], &a[1..7], &a[..2], &a[6..]] {
            let refused = restored_of(&rows(&again(outside))).unwrap_err();
            assert!(matches!(refused, PartError::Changed(_)), "{refused}");
        }
        for (first, last) in [(6, 3), (7, 6)] {
            assert_refused(&plain, "are not those of the parts", |rows| {
                whole(rows)["ranges"]["a"][0]["first"] = json!(first);
                whole(rows)["ranges"]["a"][0]["last"] = json!(last);
            });
        }
        if order == Order::Position {
            assert_refused(&plain, "are not those of the parts", |rows| {
                rows.push(rows[1].clone());
                whole(rows)["rows"] = json!(2);
            });
        }
    }
}

#[test]
fn the_ranges_of_records_verified_again_are_apart() {
    let checks = Checks::default();
    let again = |ranges: &[(u64, u64)]| {
        let ranges = ranges.iter().map(|&(first, last)| ContestedRange { first, last, records: 1 });
        let ranges = Contested::from([(Arc::from("a"), ranges.collect())]);
        let verified = Verified::new(Segments::default(), Kept::new(MOST));
        let part = Part::again(&checks, Order::Position, Places::From(0), &[], verified, ranges).unwrap();
        restored_of(&rows(&part)).map(drop)
    };
    assert_eq!(again(&[(1, 1)]), Ok(()));
    assert_eq!(again(&[(4, 6), (1, 3)]), Ok(()));
    for refused in [&[(1, 4), (4, 6)][..], &[(1, 6), (2, 3)], &[(2, 1)], &[(1, 1), (3, 2)]] {
        assert!(matches!(again(refused), Err(PartError::Changed(_))), "{refused:?}");
    }
}

#[test]
fn the_places_of_records_verified_again_are_checked() {
    assert_eq!((MAX_NUMBER, MAX_OPEN_GAPS), (8_388_607, 1_048_576));
    let checks = Checks::default();
    let again = |places: Places<'_>, entries: &[u64]| {
        let inputs: Vec<_> =
            entries.iter().map(|entries| Input { entries: *entries, ..input(&[]) }).collect();
        let verified = Verified::new(Segments::default(), Kept::new(MOST));
        Part::again(&checks, Order::Position, places, &inputs, verified, Contested::new()).is_ok()
    };
    for (places, entries, is_accepted) in [
        (Places::From(0), &[][..], true),
        (Places::From(MAX_NUMBER), &[], true),
        (Places::From(MAX_NUMBER), &[1], true),
        (Places::From(MAX_NUMBER), &[1, 1], false),
        (Places::From(MAX_NUMBER - 1), &[1, 1], true),
        (Places::From(MAX_NUMBER + 1), &[1], false),
        (Places::From(u64::MAX), &[1, 1, 1], false),
        (Places::From(0), &[(1 << 40) - 1], true),
        (Places::From(0), &[1, 1 << 40], false),
        (Places::Inputs(&[]), &[], true),
        (Places::Inputs(&[3, 1]), &[1, 1], true),
        (Places::Inputs(&[3, 1]), &[1], false),
        (Places::Inputs(&[3]), &[1, 1], false),
        (Places::Inputs(&[0, MAX_NUMBER]), &[1, 1], true),
        (Places::Inputs(&[0, MAX_NUMBER + 1]), &[1, 1], false),
        (Places::Inputs(&[0]), &[1 << 40], false),
        (Places::Records(&[]), &[], true),
        (Places::Records(&[7, 9]), &[1, 1], true),
        (Places::Records(&[7, 9]), &[2], true),
        (Places::Records(&[7, 9]), &[3], false),
        (Places::Records(&[7, 9]), &[1], false),
        (Places::Records(&[position(MAX_NUMBER, 9)]), &[1], true),
        (Places::Records(&[position(MAX_NUMBER + 1, 0)]), &[1], false),
    ] {
        assert_eq!(again(places, entries), is_accepted, "{places:?} {entries:?}");
    }
}

#[test]
fn records_verified_again_have_the_positions_of_the_run() {
    let (inputs, ring) = (inputs(), ring());
    let checks = Checks { keys: Some(&ring), ..Checks::default() };
    for order in ORDERS {
        let whole = merged(parts(&checks, order, &inputs));
        let expected = settled(&checks, whole.clone(), &inputs).report(&Ends::default()).unwrap();
        let contested = whole.contested();
        let is_contested = |record: &AuditRecord| is_contested(&contested, record);
        let again = |places: Places<'_>, all: &[Vec<&AuditRecord>]| {
            let records = all.iter().flatten().copied().zip(0..).filter(|(record, _)| is_contested(record));
            let segments = segments(&checks, order, records);
            let inputs: Vec<Input> =
                all.iter().map(|all| Input { entries: all.len() as u64, ..input(&[]) }).collect();
            let verified = Verified::new(segments, Kept::in_order(MOST, order));
            let again = Part::again(&checks, order, places, &inputs, verified, contested.clone()).unwrap();
            let report = whole.clone().merge(again).unwrap().report(&Ends::default()).unwrap();
            assert_eq!(said(&report), said(&expected), "{order:?} {places:?}");
        };
        let every: Vec<Vec<&AuditRecord>> = inputs.iter().map(|all| all.iter().collect()).collect();
        again(Places::From(0), &every);
        again(Places::Inputs(&[0, 1, 2, 3]), &every);
        // The last input has none of the device.
        again(Places::Inputs(&[0, 1, 2]), &every[..3]);
        let numbered = (0..).zip(&every).flat_map(|(number, all)| {
            (0..).zip(all).map(move |(row, record)| (position(number, row), *record))
        });
        let (positions, records): (Vec<u64>, Vec<&AuditRecord>) =
            numbered.filter(|(_, record)| is_contested(record)).unzip();
        again(Places::Records(&positions), &[records]);
    }
}

/// A finding that counts only if the log does not excuse it.
fn withheld(device_id: &str, sequence: u64, index: u64) -> Finding {
    let mut finding = Finding::new(Code::PayloadMissing, "a payload", "none");
    (finding.device_id, finding.sequence, finding.index) =
        (Some(device_id.into()), Some(sequence), Some(index));
    finding
}

#[test]
fn the_rows_of_a_share_are_those_of_the_divided_part() {
    let (inputs, ring) = (inputs(), ring());
    let checks = Checks { keys: Some(&ring), ..Checks::default() };
    for (order, most) in ORDERS.into_iter().flat_map(|order| [(order, MOST), (order, 2)]) {
        let part = |number: u64, records: &Vec<AuditRecord>| {
            let mut segments = segments(&checks, order, records.iter().zip(0..));
            let mut malformed = Finding::new(Code::RecordMalformed, "a record", "none");
            malformed.index = Some(0);
            segments.add(malformed);
            let mut kept = Kept::in_order(most, order);
            kept.add(segments.take_findings());
            let some = records.iter().zip(0..).step_by(2);
            let some = some.map(|(record, at)| withheld(&record.device_id, record.sequence, at));
            let verified = Verified { withheld: some.collect(), ..Verified::new(segments, kept) };
            Part::new(&checks, order, number, vec![input(records)], verified).unwrap()
        };
        let whole = merged((0..).zip(&inputs).map(|(number, records)| part(number, records)));
        let contested = whole.contested();
        let all: Vec<&AuditRecord> = inputs.iter().flatten().collect();
        let records = all.iter().copied().zip(0..).filter(|(record, _)| is_contested(&contested, record));
        let records: Vec<_> = records.collect();
        let mut again =
            Verified::new(segments(&checks, order, records.iter().copied()), Kept::in_order(most, order));
        again.withheld = records.iter().map(|(record, at)| withheld("b", record.sequence, *at)).collect();
        let inputs: Vec<Input> = inputs.iter().map(|records| input(records)).collect();
        let again = Part::again(&checks, order, Places::From(0), &inputs, again, contested).unwrap();
        let whole = whole.merge(again).unwrap();
        let plain = |row: PartRow| {
            let PartRow { device_id, first_sequence, last_sequence, records, findings, state } = row;
            (
                device_id,
                first_sequence,
                last_sequence,
                records,
                findings,
                serde_json::to_value(state).unwrap(),
            )
        };
        for shares in [0, 1, 2, 5] {
            let divided = whole.clone().split(shares);
            let of_shares = whole.share_rows(shares);
            assert_eq!((divided.len(), of_shares.len()), (shares.max(1) as usize, shares.max(1) as usize));
            for (rows, share) in of_shares.into_iter().zip(&divided) {
                let rows: Vec<_> = rows.map(plain).collect();
                // A device with a row has its findings there.
                let loose = rows[0].5["Whole"]["findings"].as_array().unwrap();
                assert!(loose.iter().all(|finding| finding["device_id"].is_null()), "{order:?} {shares}");
                let expected: Vec<_> = share.rows().into_iter().map(plain).collect();
                assert_eq!(rows, expected, "{order:?} {most} {shares}");
            }
            assert!(shares < 2 || divided.iter().filter(|share| share.records() > 0).count() > 1);
            let same: Vec<_> = Part::united(divided).unwrap().rows().into_iter().map(plain).collect();
            let expected: Vec<_> = whole.rows().into_iter().map(plain).collect();
            assert_eq!(same, expected, "{order:?} {most} {shares}");
            assert_eq!(rows(&restored_of(&rows(&whole)).unwrap()), rows(&whole), "{order:?} {most}");
        }
    }
}

#[test]
fn a_row_tells_what_its_segment_has() {
    let (mut a, ring) = (chain("a", 9), ring());
    a[4].timestamp_ms += 1;
    let checks = Checks { keys: Some(&ring), ..Checks::default() };
    for order in ORDERS {
        let rows = part(&checks, order, 0, &a[2..]).rows();
        let [whole, row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((&whole.device_id, whole.records, whole.findings), (&None, 0, 0));
        assert_eq!((whole.first_sequence, whole.last_sequence), (None, None));
        // No code without findings has a place in the row.
        let state = serde_json::to_value(&whole.state).unwrap();
        assert_eq!(state["Whole"]["loose"], json!([]));
        assert_eq!((row.device_id.as_deref(), row.records), (Some("a"), 7));
        assert_eq!((row.first_sequence, row.last_sequence), (Some(3), Some(9)));
        // The signature of the edited record, and the link to it.
        assert_eq!(row.findings, 1);
    }
}

#[test]
fn withheld_findings_count_if_the_log_does_not_excuse_them() {
    let (a, checks) = (chain("a", 4), Checks::default());
    for order in ORDERS {
        let mut verified =
            Verified::new(segments(&checks, order, a.iter().zip(0..)), Kept::in_order(MOST, order));
        verified.withheld = vec![withheld("a", 2, 1), withheld("a", 3, 2)];
        verified.is_logged = true;
        let mut part = Part::new(&checks, order, 0, vec![input(&a)], verified).unwrap();
        assert!(part.is_logged());
        assert_eq!(part.withheld(), 2);
        let excused = part.clone().report(&Ends::default()).unwrap();
        assert_eq!((excused.verdict, excused.counts.len()), (Verdict::Valid, 0));
        part.accuse();
        assert_eq!(part.withheld(), 0);
        let accused = part.report(&Ends::default()).unwrap();
        assert_eq!((accused.verdict, accused.findings.len()), (Verdict::Findings, 2));
        assert_eq!(accused.counts, [(Code::PayloadMissing, 2)].into());
    }
}

#[test]
fn blocks_that_follow_each_other_are_joined() {
    let (a, checks) = (chain("a", 9), Checks::default());
    let part = |number: u64, records: &[AuditRecord]| part(&checks, Order::Position, number, records);
    let blocks = |part: &Part| rows(part)[0].1["Whole"]["blocks"].clone();
    let apart = merged([part(0, &a[..3]), part(2, &a[6..])]);
    assert_eq!(blocks(&apart), json!([[0, 1], [2, 3]]));
    assert_eq!(blocks(&merged([apart.clone(), part(1, &a[3..6])])), json!([[0, 3]]));
    assert_eq!(blocks(&merged([apart.clone(), part(4, &[])])), json!([[0, 1], [2, 3], [4, 5]]));
    let ends = |inputs| Ends { inputs: Some(inputs), ..Ends::default() };
    assert_eq!(apart.clone().report(&ends(2)).unwrap_err(), PartError::Missing(1));
    assert_eq!(apart.report(&ends(3)).unwrap_err(), PartError::Inputs { expected: 3, found: 2 });
    // The numbers of a table have no order.
    let numbered = [(0, &a[..3]), (2, &a[3..])];
    let numbered = numbered.map(|(number, records)| self::part(&checks, Order::Sequence, number, records));
    assert_eq!(merged(numbered).report(&ends(2)).unwrap().verdict, Verdict::Valid);
}

/// Some inputs are not there yet.
#[test]
fn a_chain_is_contested_if_it_runs_backwards_between_blocks() {
    let (a, checks) = (chain("a", 9), Checks::default());
    let contested = |inputs: &[Vec<AuditRecord>]| {
        let parts = (0..).zip(inputs);
        merged(parts.map(|(number, records)| part(&checks, Order::Position, 2 * number, records))).contested()
    };
    let all = |first, last, records| {
        Contested::from([(Arc::from("a"), vec![ContestedRange { first, last, records }])])
    };
    let backwards = |first: usize| vec![a[first].clone(), a[first - 1].clone()];
    let none = Contested::new();
    assert_eq!(contested(&[a[..3].to_vec(), a[5..].to_vec()]), none);
    // The same record again is not before the last one.
    assert_eq!(contested(&[a[..3].to_vec(), a[2..].to_vec()]), none);
    assert_eq!(contested(&[a[..2].to_vec(), a[2..4].to_vec(), a[6..].to_vec()]), none);
    assert_eq!(contested(&[a[2..5].to_vec(), a[..2].to_vec()]), all(1, 5, 5));
    assert_eq!(contested(&[a[..2].to_vec(), a[4..].to_vec(), a[2..4].to_vec()]), all(1, 9, 9));
    assert_eq!(contested(&[a[4..].to_vec(), a[..2].to_vec(), a[2..4].to_vec()]), all(1, 9, 9));
    assert_eq!(contested(&[backwards(1), a[4..].to_vec()]), all(1, 9, 7));
    assert_eq!(contested(&[a[..2].to_vec(), backwards(7)]), all(1, 8, 4));
    assert_eq!(contested(&[backwards(1)]), none);
    // A block of two inputs is contested by itself.
    let [one, two] = [a[2..4].to_vec(), a[..2].to_vec()];
    let block =
        merged([(0, &one), (1, &two)].map(|(number, all)| part(&checks, Order::Position, number, all)));
    let range = all(1, 4, 4);
    assert_eq!(block.contested(), range);
    let other = part(&checks, Order::Position, 3, &chain("b", 2));
    assert_eq!(merged([block, other]).contested(), range);
}

#[test]
fn the_devices_that_are_contested_are_counted() {
    let (a, b, checks) = (chain("a", 3), chain("b", 3), Checks::default());
    for order in ORDERS {
        let refused = |repeated: Vec<AuditRecord>| {
            let inputs = [[&a[..], &b[..]].concat(), repeated];
            merged(parts(&checks, order, &inputs)).report(&Ends::default()).unwrap_err().to_string()
        };
        assert!(refused(a[..1].to_vec()).starts_with("1 device is contested, first \"a\""));
        let both = refused(vec![b[0].clone(), a[0].clone()]);
        assert!(both.starts_with("2 devices are contested, first \"a\""), "{both}");
    }
}

#[test]
fn the_counts_of_a_part_are_within_those_of_its_inputs() {
    const MORE: &str = "it counts more than its inputs have";
    let (a, checks) = (chain("a", 4), Checks::default());
    let report = |rows: &Rows| {
        let report = restored_of(rows).unwrap().report(&Ends::default());
        report.map(|report| report.counts).map_err(|error| error.to_string())
    };
    for order in ORDERS {
        let plain = rows(&part(&checks, order, 0, &a));
        let with = |edit: &dyn Fn(&mut Rows)| {
            let mut edited = plain.clone();
            edit(&mut edited);
            report(&edited)
        };
        let fewer = with(&|rows| whole(rows)["inputs"][0][1]["entries"] = json!(3)).unwrap_err();
        assert!(fewer.contains(MORE), "{fewer}");
        let malformed =
            |count: u64| with(&|rows| whole(rows)["loose"] = json!([["record_malformed", count]]));
        assert_eq!(malformed(32), Ok([(Code::RecordMalformed, 32)].into()));
        for count in [33, 34, u64::MAX] {
            let refused = malformed(count).unwrap_err();
            assert!(refused.contains(MORE), "{refused}");
        }
    }
    let mut edited = a.clone();
    edited[1].timestamp_ms += 1;
    for order in ORDERS {
        let plain = rows(&part(&checks, order, 0, &edited));
        assert_eq!(report(&plain), Ok([(Code::PrevHashMismatch, 1)].into()));
        let mut uncounted = plain.clone();
        segment(&mut uncounted, 1)["faults"] = json!([]);
        let refused = report(&uncounted).unwrap_err();
        assert!(refused.contains("it has more findings than it counts"), "{refused}");
        for (index, is_accepted) in [(3, true), (4, false), (position(1, 0), false)] {
            let mut moved = plain.clone();
            segment(&mut moved, 1)["findings"][0]["index"] = json!(index);
            let report = report(&moved);
            let outside = "a finding is about a record outside of its inputs";
            assert_eq!(report.is_ok(), is_accepted, "{order:?} {index}");
            assert!(report.err().is_none_or(|refused| refused.contains(outside)), "{order:?} {index}");
        }
    }
}

#[test]
fn shares_of_other_inputs_are_refused() {
    let (a, checks) = (chain("a", 4), Checks::default());
    let refused = |one: &Part, other: &Part| {
        let refused = Part::united(vec![one.clone(), other.clone()]).map(drop);
        assert_eq!(refused, Err(PartError::Inconsistent("its shares do not have the same inputs")));
    };
    let part = |order, number, records: &[AuditRecord]| part(&checks, order, number, records);
    let [one, other] = [(0, &a[..2]), (1, &a[2..])].map(|(number, all)| part(Order::Position, number, all));
    refused(&one, &other);
    // The same blocks, or the same inputs.
    let other = merged([part(Order::Sequence, 0, &a[..2]), part(Order::Sequence, 1, &a[2..])]);
    refused(&part(Order::Sequence, 1, &chain("b", 2)), &other);
    let both = merged([one, part(Order::Position, 1, &a[2..])]);
    let mut fewer = rows(&both);
    fewer.truncate(1);
    whole(&mut fewer)["rows"] = json!(0);
    whole(&mut fewer)["blocks"] = json!([[0, 1]]);
    refused(&both, &restored_of(&fewer).unwrap());
    assert_eq!(Part::united(Vec::new()).unwrap_err(), PartError::Inconsistent("it has no shares"));
}

#[test]
fn the_heads_of_a_report_are_those_of_its_parts() {
    let a = chain("a", 6);
    let checks = |heads| Checks { heads, ..Checks::default() };
    let head = |sequence: u64| {
        let hash = a[sequence as usize - 1].hash();
        Heads::from([(Arc::from("a"), edgesentry_chain::Head { sequence, hash })])
    };
    let (three, six) = (head(3), head(6));
    for order in ORDERS {
        let with = part(&checks(Some(&three)), order, 0, &a);
        let report = |part: &Part, heads| part.clone().report(&Ends { heads, ..Ends::default() });
        assert_eq!(report(&with, Some(&three)).unwrap().verdict, Verdict::Valid);
        for heads in [None, Some(&six)] {
            let refused = report(&with, heads).unwrap_err();
            assert!(matches!(refused, PartError::OtherBasis { what: "heads", .. }), "{refused}");
        }
        let segments = segments(&checks(Some(&three)), order, a.iter().zip(0..));
        let verified = Verified::new(segments, Kept::in_order(MOST, order));
        let refused = Part::new(&checks(None), order, 0, vec![input(&a)], verified).unwrap_err();
        assert!(matches!(refused, PartError::OtherBasis { what: "heads", .. }), "{refused}");
    }
    // The last record is not the highest one.
    let mut rotated = a.clone();
    rotated.rotate_left(2);
    let rotated = part(&checks(None), Order::Position, 0, &rotated);
    let refused = rotated.report(&Ends { heads: Some(&six), ..Ends::default() }).unwrap_err();
    assert!(matches!(refused, PartError::EarlierHead { sequence: 6, .. }), "{refused}");
}

/// Only the records decide which of two at the last sequence is the head, and a contested range before the last records
/// has no head.
#[test]
fn the_heads_of_records_verified_again_are_those_of_the_report() {
    let checks = Checks::default();
    let a = chain("a", 6);
    let mut forked = a[5].clone();
    forked.timestamp_ms += 1;
    let inputs = |first: &[AuditRecord], second: &[AuditRecord]| vec![first.to_vec(), second.to_vec()];
    for inputs in [
        inputs(&a, std::slice::from_ref(&forked)),
        inputs(&[&a[..5], std::slice::from_ref(&forked)].concat(), &a[5..]),
        inputs(&[&a[..3], &a[4..]].concat(), &a[1..2]),
    ] {
        for order in ORDERS {
            let part = settled(&checks, merged(parts(&checks, order, &inputs)), &inputs);
            let heads = part.heads();
            assert_eq!(heads, part.report(&Ends::default()).unwrap().heads, "{order:?}");
        }
    }
}

#[test]
fn the_providers_of_keys_and_payloads_are_those_of_the_parts() {
    struct Stored;

    impl Payloads for Stored {
        fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError> {
            Ok(Some(record.payload_hash))
        }
    }

    let (a, ring) = (chain("a", 6), ring());
    let claimed = Claims {
        keys: Some(Claim { by: ProvidedBy::Manifest, what: &ring }),
        payloads: Some(Claim { by: ProvidedBy::Bundle, what: &Stored }),
        ..Claims::default()
    };
    let brought = Checks { keys: Some(&ring), payloads: Some(&Stored), ..Checks::default() };
    let all = [
        (brought, true),
        (Checks { claims: claimed, ..Checks::default() }, false),
        (Checks { claims: claimed, ..brought }, true),
        (Checks::default(), false),
    ];
    for (order, (checks, has_keys)) in
        ORDERS.into_iter().flat_map(|order| all.iter().map(move |each| (order, each)))
    {
        let once = checks.report(segments(checks, order, a.iter().zip(0..)));
        let part = merged(parts(checks, order, &[a[..3].to_vec(), a[3..].to_vec()]));
        assert_eq!(part.has_keys_of_auditor(), *has_keys);
        for keys in [None, Some(&ring).filter(|_| checks.key_ring().is_some())] {
            let report = part.clone().report(&Ends { keys, ..Ends::default() }).unwrap();
            assert_eq!(said(&report), said(&once), "{order:?} {has_keys}");
        }
    }
}
