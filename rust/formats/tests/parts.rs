//! Parts of a run: any cut of the inputs, any order and grouping of the parts, and any way between processes give the
//! report of one process.
#![allow(clippy::unwrap_used)]

#[path = "common/logged.rs"]
mod logged;
#[path = "common/tampered.rs"]
mod tampered;

use std::collections::BTreeMap;
use std::sync::Arc;

use edgesentry_chain::part::MAX_NUMBER;
use edgesentry_chain::{
    AuditRecord, Checks, Finding, FindingCode as Code, Hash, Head, Heads, Order, Report, RootCheck, Verdict,
};
use edgesentry_formats::{
    ColumnNames, Contested, Ends, Error, Options, Part, PartError, Places, Progress, RowError, Source,
    decode_rows, encode_row, verify, verify_contested, verify_part, verify_with_log,
};
use edgesentry_log::LogCheck;
use logged::{Logged, Store, Writing};
use proptest::prelude::*;
use tampered::{CHAINS, Entry, KEYS, apply, device, edit, entries, lines, ndjson};

/// The number of cases; `make soak` runs more.
fn cases() -> ProptestConfig {
    let cases = std::env::var("EDGESENTRY_PART_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(cases.unwrap_or(100))
}

fn options(order: Order, max_findings: usize) -> Options {
    Options { order, max_findings }
}

fn progress() -> Arc<Progress> {
    Arc::new(Progress::default())
}

fn heads() -> Heads {
    Heads::from([
        ("a".into(), Head { sequence: 3, hash: CHAINS[0][2].hash() }),
        ("b".into(), Head { sequence: 300, hash: Hash::ZERO }),
        ("e".into(), Head { sequence: 1, hash: Hash::ZERO }),
    ])
}

type Rows = Vec<(Option<String>, Vec<u8>)>;

fn rows(part: &Part) -> Rows {
    let rows = part.rows();
    rows.iter().map(|row| (row.device_id.as_deref().map(str::to_owned), encode_row(row).unwrap())).collect()
}

fn restored(rows: &Rows) -> Result<Part, RowError> {
    decode_rows(rows.iter().map(|(device_id, state)| (device_id.as_deref(), state.as_slice())))
}

/// How parts are made and merged.
#[derive(Clone, Debug)]
struct Way {
    cuts: Vec<prop::sample::Index>,
    /// Which two parts are merged next.
    pairs: Vec<(prop::sample::Index, prop::sample::Index)>,
    travels: bool,
    /// Merges by putting the rows of all parts together.
    at_once: bool,
}

fn way() -> impl Strategy<Value = Way> {
    let cuts = proptest::collection::vec(any::<prop::sample::Index>(), 0..6);
    let pairs = proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 8);
    (cuts, pairs, any::<bool>(), any::<bool>()).prop_map(|(cuts, pairs, travels, at_once)| Way {
        cuts,
        pairs,
        travels,
        at_once,
    })
}

impl Way {
    fn pieces<'e>(&self, entries: &'e [Entry]) -> Vec<&'e [Entry]> {
        let mut cuts: Vec<usize> = self.cuts.iter().map(|cut| cut.index(entries.len() + 1)).collect();
        cuts.extend([0, entries.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|cut| &entries[cut[0]..cut[1]]).collect()
    }

    fn merged(&self, mut parts: Vec<Part>) -> Part {
        if self.at_once {
            let mut all: Rows = parts.iter().flat_map(rows).collect();
            // Engines return rows in any order.
            all.sort_by_cached_key(|(_, state)| Hash::of(state).0);
            return restored(&all).unwrap();
        }
        let mut pairs = self.pairs.iter();
        while parts.len() > 1 {
            let (one, other) = pairs.next().unwrap();
            let one = parts.swap_remove(one.index(parts.len()));
            let other = parts.swap_remove(other.index(parts.len()));
            let merged = one.merge(other).unwrap();
            parts.push(if self.travels { restored(&rows(&merged)).unwrap() } else { merged });
        }
        parts.remove(0)
    }

    fn report(&self, entries: &[Entry], checks: &Checks<'_>, options: &Options) -> Report {
        let pieces = self.pieces(entries);
        self.report_of(|number| ndjson(pieces[number]), pieces.len(), checks, None, options)
    }

    /// Returns the report of the parts of these sources.
    fn report_of(
        &self,
        source: impl Fn(usize) -> Source,
        sources: usize,
        checks: &Checks<'_>,
        log: Option<&LogCheck<'_>>,
        options: &Options,
    ) -> Report {
        let part = |number: usize| {
            let one = vec![source(number)];
            let part = verify_part(one, checks, number as u64, log, options, &progress()).unwrap();
            if self.travels { restored(&rows(&part)).unwrap() } else { part }
        };
        let mut whole = self.merged((0..sources).map(part).collect());
        let contested = whole.contested();
        // Only the log compares the keys.
        let keys = checks.keys.filter(|_| log.is_some());
        if !contested.is_empty() {
            let refused = whole.clone().report(&Ends { heads: checks.heads, keys, ..Ends::default() }, log);
            assert!(matches!(refused, Err(PartError::Contested { .. })), "{refused:?}");
            // The chains may be verified again apart from each other.
            for (device_id, ranges) in contested {
                let one = Contested::from([(device_id, ranges)]);
                let all = (0..sources).map(&source).collect();
                let again =
                    verify_contested(all, checks, Places::From(0), one, log, options, &progress()).unwrap();
                let again = if self.travels { restored(&rows(&again)).unwrap() } else { again };
                whole = whole.merge(again).unwrap();
            }
            assert_eq!(whole.contested(), Contested::new());
        }
        let ends = Ends { heads: checks.heads, keys, inputs: Some(sources as u64), ..Ends::default() };
        whole.report(&ends, log).unwrap()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn parts_in_the_order_of_position_give_the_report_of_one_process(
        entries in entries(),
        levels in (any::<bool>(), any::<bool>()),
        cap in prop_oneof![0usize..4, Just(100_000)],
        way in way(),
    ) {
        let heads = heads();
        let checks = Checks {
            keys: levels.0.then_some(&*KEYS),
            heads: levels.1.then_some(&heads),
            ..Checks::default()
        };
        let options = options(Order::Position, cap);
        let sources = way.pieces(&entries).into_iter().map(ndjson).collect();
        let expected = verify(sources, &checks, &options, &progress()).unwrap();
        let report = way.report(&entries, &checks, &options);
        prop_assert_eq!(serde_json::to_string(&report).unwrap(), serde_json::to_string(&expected).unwrap());
        prop_assert_eq!(report, expected);
    }

    #[test]
    fn parts_in_the_order_of_sequence_give_the_report_of_the_sorted_table(
        entries in entries(),
        levels in (any::<bool>(), any::<bool>()),
        order in any::<u64>(),
        ways in proptest::collection::vec(way(), 2),
    ) {
        let heads = heads();
        let checks = Checks {
            keys: levels.0.then_some(&*KEYS),
            heads: levels.1.then_some(&heads),
            ..Checks::default()
        };
        let mut records: Vec<AuditRecord> = entries.into_iter().flatten().collect();
        records.sort_by(AuditRecord::cmp_in_table);
        let sorted: Vec<Entry> = records.iter().cloned().map(Some).collect();
        let expected = verify(vec![ndjson(&sorted)], &checks, &Options::default(), &progress()).unwrap();
        records.sort_by_cached_key(|record| blake3_key(order, record));
        let scattered: Vec<Entry> = records.into_iter().map(Some).collect();
        let options = options(Order::Sequence, 100_000);
        for way in ways {
            let report = way.report(&scattered, &checks, &options);
            prop_assert_eq!(report.verdict, expected.verdict);
            prop_assert_eq!(&report.counts, &expected.counts);
            prop_assert_eq!(&report.coverage, &expected.coverage);
            prop_assert_eq!(&report.heads, &expected.heads);
            prop_assert_eq!(&report.chains, &expected.chains);
            prop_assert_eq!(plain(&report), plain(&expected));
            let again = way.report(&scattered, &checks, &options);
            prop_assert_eq!(serde_json::to_string(&report).unwrap(), serde_json::to_string(&again).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_findings_that_a_table_keeps_are_its_first_ones(
        entries in entries(),
        keys in any::<bool>(),
        cap in 0usize..8,
        order in any::<u64>(),
        way in way(),
    ) {
        let checks = Checks { keys: keys.then_some(&*KEYS), ..Checks::default() };
        let mut records: Vec<AuditRecord> = entries.into_iter().flatten().collect();
        records.sort_by(AuditRecord::cmp_in_table);
        let sorted: Vec<Entry> = records.iter().cloned().map(Some).collect();
        let all = verify(vec![ndjson(&sorted)], &checks, &Options::default(), &progress()).unwrap();
        records.sort_by_cached_key(|record| blake3_key(order, record));
        let scattered: Vec<Entry> = records.into_iter().map(Some).collect();
        let options = options(Order::Sequence, cap);
        let report = way.report(&scattered, &checks, &options);
        prop_assert_eq!(&report.counts, &all.counts);
        prop_assert_eq!(report.findings.len(), cap.min(all.findings.len()));
        // Records at one sequence have another order in the files.
        let (mut listed, first) = (at_sequences(&report.findings), at_sequences(&all.findings));
        let end = listed.pop_last();
        let before = first.iter().take(listed.len());
        prop_assert!(before.eq(listed.iter()), "{listed:?} of {first:?}");
        if let Some((place, findings)) = end {
            prop_assert_eq!(first.iter().nth(listed.len()).map(|(place, _)| place), Some(&place));
            prop_assert!(findings.iter().all(|finding| first[&place].contains(finding)));
        }
    }
}

fn writing() -> impl Strategy<Value = Writing> {
    let sizes = (1usize..9, 1usize..9, 0usize..3, any::<prop::sample::Index>());
    let flags = (any::<bool>(), any::<bool>(), prop_oneof![9 => Just(true), 1 => Just(false)]);
    (sizes, flags).prop_map(|((batch, batches, later, earlier), (has_previous, erases, trusted))| Writing {
        batch,
        batches,
        previous: has_previous.then(|| earlier.index(batches)),
        later: later.min(batches - 1),
        erases,
        trusted,
    })
}

proptest! {
    #![proptest_config(cases())]

    /// With a log, the report is that of one process over the same files to the byte, in both orders.
    #[test]
    fn parts_with_a_log_give_the_report_of_one_process(
        writing in writing(),
        interleaved in any::<bool>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), edit()), 0..4),
        keys in any::<bool>(),
        cap in prop_oneof![0usize..4, Just(100_000)],
        sequence in any::<bool>(),
        scattered in any::<Option<u64>>(),
        way in way(),
    ) {
        let logged = Logged::new(&writing);
        let log = logged.check();
        let records = writing.records();
        let mut entries: Vec<Entry> = if interleaved {
            (0..records).flat_map(|at| CHAINS.iter().map(move |chain| Some(chain[at].clone()))).collect()
        } else {
            CHAINS.iter().flat_map(|chain| chain[..records].iter().cloned().map(Some)).collect()
        };
        let is_sound = edits.is_empty();
        for (at, edit) in edits {
            if !entries.is_empty() {
                apply(&mut entries, at, edit);
            }
        }
        let order = if sequence { Order::Sequence } else { Order::Position };
        if let Some(order) = scattered.filter(|_| sequence) {
            entries.sort_by_cached_key(|entry| entry.as_ref().map(|record| blake3_key(order, record)));
        }
        let checks = Checks { keys: keys.then_some(&*KEYS), payloads: Some(&Store), ..Checks::default() };
        let options = options(order, cap);
        let folder = tempfile::tempdir().unwrap();
        let pieces = way.pieces(&entries);
        let file = |number: usize| folder.path().join(format!("{number}.ndjson"));
        for (number, piece) in pieces.iter().enumerate() {
            std::fs::write(file(number), lines(piece)).unwrap();
        }
        let source = |number: usize| Source::Path(file(number));
        let sources = (0..pieces.len()).map(source).collect();
        let expected = verify_with_log(sources, &checks, Some(&log), &options, &progress()).unwrap();
        let covered = expected.coverage.log.as_ref().unwrap();
        prop_assert!(!is_sound || covered.root == RootCheck::Compared);
        let agrees = writing.previous.is_none_or(|earlier| earlier + writing.later < writing.batches);
        let excuses = is_sound && agrees && writing.trusted && writing.erases;
        prop_assert!(!excuses || covered.erased > 0);
        let report = way.report_of(source, pieces.len(), &checks, Some(&log), &options);
        prop_assert_eq!(serde_json::to_string(&report).unwrap(), serde_json::to_string(&expected).unwrap());
        prop_assert_eq!(report, expected);
    }
}

/// A record by its device and sequence.
type Place = (Option<Arc<str>>, Option<u64>);

/// Returns the codes of findings by device and sequence.
fn at_sequences(findings: &[Finding]) -> BTreeMap<Place, Vec<Code>> {
    let mut places: BTreeMap<_, Vec<Code>> = BTreeMap::new();
    for finding in findings {
        places.entry((finding.device_id.clone(), finding.sequence)).or_default().push(finding.code);
    }
    places.values_mut().for_each(|codes| codes.sort());
    places
}

fn blake3_key(order: u64, record: &AuditRecord) -> [u8; 32] {
    let mut bytes = record.canonical_bytes();
    bytes.extend(order.to_le_bytes());
    Hash::of(&bytes).0
}

/// Returns the findings without their places in the inputs.
fn plain(report: &Report) -> BTreeMap<String, u64> {
    let mut findings = BTreeMap::new();
    for finding in &report.findings {
        let Finding { code, device_id, sequence, expected, actual, record_hash, cause, .. } = finding;
        let cause = cause.as_ref().map(|cause| (cause.code, cause.sequence));
        let text = format!("{code} {device_id:?} {sequence:?} {expected} {actual} {record_hash:?} {cause:?}");
        *findings.entry(text).or_default() += 1;
    }
    findings
}

fn intact() -> Vec<Entry> {
    CHAINS[..3].iter().flatten().cloned().map(Some).collect()
}

fn part(entries: &[Entry], number: u64, order: Order) -> Part {
    let checks = Checks { keys: Some(&*KEYS), ..Checks::default() };
    verify_part(vec![ndjson(entries)], &checks, number, None, &options(order, 10), &progress()).unwrap()
}

/// Intact records in any order and any files are valid in the order of sequence, and nothing is contested.
#[test]
fn intact_records_in_any_order_are_never_accused() {
    let mut records: Vec<AuditRecord> = intact().into_iter().flatten().collect();
    let checks = Checks::default();
    for order in 0..5 {
        records.sort_by_cached_key(|record| blake3_key(order, record));
        let entries: Vec<Entry> = records.iter().cloned().map(Some).collect();
        let options = options(Order::Sequence, 10);
        let whole = verify(vec![ndjson(&entries)], &checks, &options, &progress()).unwrap();
        assert_eq!((whole.verdict, &whole.findings), (Verdict::Valid, &vec![]));
        let parts = (0..).zip(entries.chunks(100));
        let parts = parts.map(|(number, entries)| {
            verify_part(vec![ndjson(entries)], &checks, number, None, &options, &progress()).unwrap()
        });
        let parts = parts.reduce(|a, b| a.merge(b).unwrap()).unwrap();
        assert_eq!(parts.contested(), Contested::new());
        assert_eq!(parts.report(&Ends::default(), None).unwrap().verdict, Verdict::Valid);
    }
}

#[test]
fn a_row_is_small() {
    for order in [Order::Position, Order::Sequence] {
        let part = part(&intact()[..600], 1000, order);
        for row in part.rows().iter().filter(|row| row.device_id.is_some()) {
            let bytes = encode_row(row).unwrap().len();
            assert!(bytes <= 190, "{bytes} bytes");
        }
    }
}

#[test]
fn parts_that_are_not_of_one_run_are_refused() {
    let entries = intact();
    let (one, two) = (part(&entries[..300], 0, Order::Position), part(&entries[300..], 1, Order::Position));
    let merged = |a: &Part, b: &Part| a.clone().merge(b.clone());
    assert_eq!(merged(&one, &one).unwrap_err(), PartError::Repeated(0));
    let other = part(&entries, 1, Order::Sequence);
    assert!(matches!(merged(&one, &other), Err(PartError::OtherRun("the orders"))));
    let without =
        verify_part(vec![ndjson(&entries)], &Checks::default(), 1, None, &Options::default(), &progress());
    assert!(matches!(merged(&one, &without.unwrap()), Err(PartError::OtherRun(_))));
    let ends = |inputs| Ends { inputs: Some(inputs), ..Ends::default() };
    let both = merged(&two, &one).unwrap();
    assert!(both.clone().report(&ends(2), None).is_ok());
    assert_eq!(both.report(&ends(3), None).unwrap_err(), PartError::Inputs { expected: 3, found: 2 });
    let apart = merged(&one, &part(&entries[300..], 5, Order::Position)).unwrap();
    assert_eq!(apart.report(&Ends::default(), None).unwrap_err(), PartError::Missing(1));
    // A device has other keys in one part.
    let mut keys = edgesentry_chain::KeyRing::new();
    let key = device("b").public_key().unwrap();
    let ring_key = edgesentry_chain::RingKey { key, scheme: edgesentry_chain::Scheme::Record, valid_from: 1 };
    keys.insert("a", ring_key).unwrap();
    let checks = Checks { keys: Some(&keys), ..Checks::default() };
    let options = options(Order::Position, 10);
    let other = verify_part(vec![ndjson(&entries[..10])], &checks, 1, None, &options, &progress()).unwrap();
    assert!(matches!(merged(&one, &other), Err(PartError::OtherBasis { what: "keys", .. })));
    let heads = heads();
    let refused = one.report(&Ends { heads: Some(&heads), ..Ends::default() }, None);
    // Parts without heads have the ends of the chains alone.
    assert!(matches!(refused, Err(PartError::EarlierHead { .. })));
    assert!(verify_part(vec![ndjson(&entries)], &checks, MAX_NUMBER, None, &options, &progress()).is_ok());
    let high = verify_part(vec![ndjson(&entries)], &checks, MAX_NUMBER + 1, None, &options, &progress());
    assert!(matches!(high, Err(Error::Part(PartError::Inconsistent(_)))));
}

#[test]
fn damaged_rows_are_refused() {
    let whole = rows(&part(&intact(), 0, Order::Position));
    assert!(restored(&whole).is_ok());
    for row in 0..whole.len() {
        let mut missing = whole.clone();
        missing.remove(row);
        assert!(restored(&missing).is_err());
        let mut twice = whole.clone();
        twice.push(whole[row].clone());
        assert!(restored(&twice).is_err());
        for byte in 0..whole[row].1.len() {
            let mut damaged = whole.clone();
            damaged[row].1[byte] ^= 1;
            assert!(restored(&damaged).is_err(), "row {row}, byte {byte}");
        }
        let mut renamed = whole.clone();
        renamed[row].0 = Some("other".into());
        assert!(restored(&renamed).is_err());
        let mut cut = whole.clone();
        cut[row].1.pop();
        assert!(restored(&cut).is_err());
    }
    assert!(restored(&Vec::new()).is_err());
}

#[test]
fn rows_of_a_log_are_small_and_checked() {
    let writing = Writing { batch: 30, batches: 9, previous: Some(3), later: 1, erases: true, trusted: true };
    let logged = Logged::new(&writing);
    let (log, checks) = (logged.check(), Checks { payloads: Some(&Store), ..Checks::default() });
    let mut records: Vec<AuditRecord> =
        CHAINS.iter().flat_map(|chain| chain[..writing.records()].to_vec()).collect();
    records.sort_by_cached_key(|record| blake3_key(7, record));
    let entries: Vec<Entry> = records.into_iter().map(Some).collect();
    let options = options(Order::Sequence, 10);
    let parts = entries.chunks(300).zip(0..).map(|(entries, number)| {
        rows(&verify_part(vec![ndjson(entries)], &checks, number, Some(&log), &options, &progress()).unwrap())
    });
    let all: Rows = parts.flatten().collect();
    let report = restored(&all).unwrap().report(&Ends::default(), Some(&log)).unwrap();
    let covered = report.coverage.log.as_ref().unwrap();
    assert_eq!((covered.root, covered.records, covered.after), (RootCheck::Compared, 960, 120));
    assert_eq!(covered.erased, 3);
    let (of_log, of_chains): (Rows, Rows) =
        all.iter().cloned().partition(|(device_id, row)| device_id.is_none() && row[9] == 1);
    // Single leaves have a hash each, six in a row.
    assert!((100..300).contains(&of_log.len()), "{} rows", of_log.len());
    assert!(all.iter().filter(|(id, row)| id.is_some() || row[9] == 1).all(|(_, row)| row.len() <= 250));
    let without = restored(&of_chains).unwrap().report(&Ends::default(), Some(&log));
    assert!(matches!(without, Err(PartError::Inconsistent(_))), "{without:?}");
    for (at, (_, content)) in
        of_log.iter().enumerate().filter(|(at, _)| at % 7 == 0 || of_log[*at].1[10] == 0)
    {
        let mut missing = of_log.clone();
        missing.remove(at);
        let mut twice = missing.clone();
        twice.push(missing[0].clone());
        let mut damaged = of_log.clone();
        damaged[at].1[content.len() - 1] ^= 1;
        let mut renamed = of_log.clone();
        renamed[at].0 = Some("a".into());
        for rows in [missing, twice, damaged, renamed] {
            let restored = restored(&[of_chains.clone(), rows].concat());
            let report = restored.map(|part| part.report(&Ends::default(), Some(&log)));
            assert!(!matches!(report, Ok(Ok(_))), "row {at}: {report:?}");
        }
    }
}

/// A chain that repeats records of another file is verified again, and its findings are named.
#[test]
fn a_repetition_in_another_file_is_contested() {
    let chain: Vec<Entry> = CHAINS[0].iter().cloned().map(Some).collect();
    // In the order of position, only the step back is a finding.
    for (order, repeated) in [(Order::Position, 1), (Order::Sequence, 50)] {
        let checks = Checks::default();
        let options = options(order, 100_000);
        let pieces = [&chain[..200], &chain[150..300]];
        let parts = pieces.iter().zip(0..).map(|(piece, number)| {
            verify_part(vec![ndjson(piece)], &checks, number, None, &options, &progress()).unwrap()
        });
        let whole = parts.reduce(|a, b| a.merge(b).unwrap()).unwrap();
        let contested = whole.contested();
        assert_eq!(contested.len(), 1);
        let sources = || pieces.iter().map(|piece| ndjson(piece)).collect::<Vec<Source>>();
        let again = verify_contested(
            sources(),
            &checks,
            Places::From(0),
            contested.clone(),
            None,
            &options,
            &progress(),
        )
        .unwrap();
        let report = whole.clone().merge(again).unwrap().report(&Ends::default(), None).unwrap();
        assert_eq!(report.coverage.records, 350);
        assert_eq!(report.counts.get(&Code::SequenceDuplicate), Some(&repeated), "{:?}", report.counts);
        // The records of one file are not those of the parts.
        let half = vec![ndjson(pieces[0])];
        let again =
            verify_contested(half, &checks, Places::From(0), contested, None, &options, &progress()).unwrap();
        let refused = whole.merge(again).unwrap().report(&Ends::default(), None);
        assert!(matches!(refused, Err(PartError::Changed(_))), "{refused:?}");
    }
}

/// Files are read again if records repeat in several of them, also those that name their columns differently.
#[test]
fn files_are_read_again_for_repetitions_far_away() {
    let folder = tempfile::tempdir().unwrap();
    let chain: Vec<Entry> = CHAINS[0].iter().cloned().map(Some).collect();
    let file = |name: &str, entries: &[Entry], column: &str| {
        let text = String::from_utf8(lines(entries)).unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text.replace("timestamp_ms", column)).unwrap();
        path
    };
    let options = options(Order::Sequence, 100_000);
    let names = ColumnNames::new([("timestamp_ms", "event_time")], []).unwrap();
    for (column, names) in [("timestamp_ms", ColumnNames::default()), ("event_time", names)] {
        let files = [file("one", &chain[..200], column), file("other", &chain[150..300], column)];
        let names = Arc::new(names);
        let sources = files.map(|path| Source::Path(path).named(&names)).into();
        let report = verify(sources, &Checks::default(), &options, &progress()).unwrap();
        assert_eq!(report.coverage.records, 350);
        assert_eq!(report.counts.get(&Code::SequenceDuplicate), Some(&50), "{:?}", report.counts);
    }
    let sources = vec![ndjson(&chain[..200]), ndjson(&chain[150..300])];
    let refused = verify(sources, &Checks::default(), &options, &progress());
    assert!(matches!(refused, Err(Error::Unreadable { .. })), "{refused:?}");
}

/// The contested ranges of a device may have any order, and those that overlap are refused.
#[test]
fn contested_ranges_in_any_order_are_verified_again() {
    let chain: Vec<Entry> = CHAINS[0].iter().cloned().map(Some).collect();
    let checks = Checks::default();
    let options = options(Order::Sequence, 100_000);
    let piece = [&chain[..50], &chain[100..150]].concat();
    let part =
        |number| verify_part(vec![ndjson(&piece)], &checks, number, None, &options, &progress()).unwrap();
    let whole = part(0).merge(part(1)).unwrap();
    let again = |contested| {
        let sources = vec![ndjson(&piece), ndjson(&piece)];
        let again =
            verify_contested(sources, &checks, Places::From(0), contested, None, &options, &progress())
                .unwrap();
        whole.clone().merge(again)
    };
    let mut contested = whole.contested();
    let found: Vec<_> = contested["a"].iter().map(|range| (range.first, range.last)).collect();
    assert_eq!(found, [(1, 50), (101, 150)]);
    contested.values_mut().for_each(|ranges| ranges.reverse());
    let report = again(contested.clone()).unwrap().report(&Ends::default(), None).unwrap();
    assert_eq!(report.counts.get(&Code::SequenceDuplicate), Some(&100), "{:?}", report.counts);
    contested.values_mut().for_each(|ranges| ranges[1].last = 110);
    let refused = again(contested);
    assert!(matches!(refused, Err(PartError::Changed(_))), "{refused:?}");
}
