//! Parts of a run, however they are divided, merged and kept, give the report of one process. `rust/formats/tests/parts.rs`
//! compares them on random input.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use edgesentry_chain::part::{Ends, Part, PartError, Places, Restored, Verified, is_contested};
use edgesentry_chain::{
    AuditRecord, Checks, Device, FindingCode as Code, Hash, Heads, Hint, Input, Kept, KeyRing, Order, Report,
    RingKey, Scheme, Verdict,
};

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
) -> edgesentry_chain::Segments {
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

/// Adds the contested records, verified again.
fn settled(checks: &Checks<'_>, part: Part, all: &[Vec<AuditRecord>]) -> Part {
    let (order, contested) = (part.order(), part.contested());
    let records = all.iter().flatten().zip(0..).filter(|(record, _)| is_contested(&contested, record));
    let segments = segments(checks, order, records);
    let inputs: Vec<Input> = all.iter().map(|records| input(records)).collect();
    let kept = Kept::in_order(MOST, order);
    part.merge(
        Part::again(checks, order, Places::From(0), &inputs, Verified::new(segments, kept), contested)
            .unwrap(),
    )
    .unwrap()
}

/// What a report says, without the order of its findings.
fn said(report: &Report) -> impl PartialEq + std::fmt::Debug + use<> {
    let Report { verdict, counts, hints, heads, chains, coverage, .. } = report.clone();
    let place = |finding: &edgesentry_chain::Finding| {
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
        let whole = halves.into_iter().reduce(edgesentry_chain::Segments::merge).unwrap();
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
