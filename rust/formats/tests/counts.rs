//! Counts, verdict, coverage and the kept findings depend on the input alone: not on the limit of findings, on batches,
//! on threads, or on the split of the input into files.
#![allow(clippy::unwrap_used)]

#[path = "common/tampered.rs"]
mod tampered;

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, RecordBatchIterator, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use edgesentry_chain::{
    AuditRecord, Checks, Evidence, Finding, FindingCode as Code, Hash, Head, Heads, Hint, KeyRing,
    MAX_KEPT_BYTES, Report,
};
use edgesentry_formats::{Options, Progress, Source, records_to_batch, verify};
use proptest::prelude::*;
use tampered::{CHAINS, Entry, KEYS, entries, ndjson};

/// One form and verification of an input.
#[derive(Clone, Debug)]
struct Way {
    cap: usize,
    threads: usize,
    /// Rows of an Arrow batch; `None` for NDJSON.
    batch_rows: Option<usize>,
    cuts: Vec<prop::sample::Index>,
}

fn way() -> impl Strategy<Value = Way> {
    let cap = prop_oneof![0usize..4, 4usize..2000];
    let batch_rows = proptest::option::of(1usize..400);
    let cuts = proptest::collection::vec(any::<prop::sample::Index>(), 0..5);
    (cap, 1usize..4, batch_rows, cuts).prop_map(|(cap, threads, batch_rows, cuts)| Way {
        cap,
        threads,
        batch_rows,
        cuts,
    })
}

impl Way {
    fn verify(&self, entries: &[Entry], checks: &Checks<'_>) -> Report {
        let mut cuts: Vec<usize> = self.cuts.iter().map(|cut| cut.index(entries.len() + 1)).collect();
        cuts.extend([0, entries.len()]);
        cuts.sort_unstable();
        let sources = cuts.windows(2).map(|cut| match self.batch_rows {
            None => ndjson(&entries[cut[0]..cut[1]]),
            Some(rows) => batches(&entries[cut[0]..cut[1]], rows),
        });
        let options = Options { max_findings: self.cap, ..Options::default() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads).build().unwrap();
        let sources = sources.collect();
        pool.install(|| verify(sources, checks, &options, &Arc::new(Progress::default()))).unwrap()
    }
}

/// Rows without a sequence are malformed.
fn batches(entries: &[Entry], rows: usize) -> Source {
    let schema = records_to_batch(&[]).schema();
    let fields = schema.fields().iter().map(|field| match field.name().as_str() {
        "sequence" => Arc::new(Field::new("sequence", DataType::UInt64, true)),
        _ => Arc::clone(field),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = |entries: &[Entry]| {
        let placeholder = &CHAINS[0][0];
        let records: Vec<AuditRecord> =
            entries.iter().map(|entry| entry.as_ref().unwrap_or(placeholder).clone()).collect();
        let mut columns = records_to_batch(&records).columns().to_vec();
        let sequences = entries.iter().map(|entry| entry.as_ref().map(|record| record.sequence));
        let at = schema.index_of("sequence").unwrap();
        columns[at] = Arc::new(UInt64Array::from_iter(sequences)) as Arc<dyn Array>;
        RecordBatch::try_new(Arc::clone(&schema), columns)
    };
    let batches: Vec<_> = entries.chunks(rows).map(batch).collect();
    Source::Batches { name: "rows".into(), batches: Box::new(RecordBatchIterator::new(batches, schema)) }
}

/// Verifies with one slice and one thread, and keeps every finding.
fn reference(entries: &[Entry], checks: &Checks<'_>) -> Report {
    let records = entries.iter().zip(0u64..).filter_map(|(entry, index)| Some((entry.as_ref()?, index)));
    let mut segments = checks.verify_indexed(records).unwrap();
    for (_, index) in entries.iter().zip(0u64..).filter(|(entry, _)| entry.is_none()) {
        segments.add(Finding::malformed(index, "", ""));
    }
    checks.report(segments)
}

/// Removes the places of malformed entries, which are lines or rows of their file.
fn plain(findings: &[Finding]) -> Vec<Finding> {
    let mut findings = findings.to_vec();
    for finding in &mut findings {
        finding.location = None;
        if finding.code == Code::RecordMalformed {
            finding.expected = Evidence::Text("".into());
            finding.actual = Evidence::Text("".into());
        }
    }
    findings
}

fn plain_hints(report: &Report) -> Vec<Hint> {
    let mut hints = report.hints.clone();
    for hint in &mut hints {
        if let Hint::NotInOrder { many_inputs, .. } = hint {
            *many_inputs = false;
        }
    }
    hints
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_report_depends_on_the_input_alone(
        entries in entries(),
        levels in (any::<bool>(), any::<bool>()),
        ways in proptest::collection::vec(way(), 4),
    ) {
        let heads = Heads::from([
            ("a".into(), Head { sequence: 3, hash: CHAINS[0][2].hash() }),
            ("b".into(), Head { sequence: 300, hash: Hash::ZERO }),
            ("e".into(), Head { sequence: 1, hash: Hash::ZERO }),
        ]);
        let (keys, heads) = (levels.0.then_some(&*KEYS), levels.1.then_some(&heads));
        let checks = Checks { keys, heads, ..Checks::default() };
        let expected = reference(&entries, &checks);
        let total: u64 = expected.counts.values().sum();
        prop_assert_eq!(total, expected.findings.len() as u64);
        for way in ways {
            let report = way.verify(&entries, &checks);
            prop_assert_eq!(report.verdict, expected.verdict, "{:?}", way);
            prop_assert_eq!(&report.counts, &expected.counts, "{:?}", way);
            prop_assert_eq!(&report.coverage, &expected.coverage, "{:?}", way);
            prop_assert_eq!(&report.chains, &expected.chains, "{:?}", way);
            prop_assert_eq!(&report.heads, &expected.heads, "{:?}", way);
            prop_assert_eq!(plain_hints(&report), plain_hints(&expected), "{:?}", way);
            let kept = way.cap.min(expected.findings.len());
            prop_assert_eq!(plain(&report.findings), plain(&expected.findings[..kept]), "{:?}", way);
            prop_assert_eq!(report.findings_omitted, total - kept as u64, "{:?}", way);
        }
    }
}

/// Returns an unsigned chain: these counts need no valid signature.
fn unsigned(sequences: impl Iterator<Item = u64>) -> Vec<AuditRecord> {
    let mut prev_record_hash = Hash::ZERO;
    sequences
        .map(|sequence| {
            let record = AuditRecord {
                device_id: "a".into(),
                sequence,
                timestamp_ms: sequence,
                payload_hash: Hash::ZERO,
                signature: [0; 64],
                prev_record_hash,
                object_ref: String::new(),
            };
            prev_record_hash = record.hash();
            record
        })
        .collect()
}

fn in_batches(records: &[AuditRecord], rows: usize) -> Source {
    let batches: Vec<_> = records.chunks(rows).map(|chunk| Ok(records_to_batch(chunk))).collect();
    let batches = RecordBatchIterator::new(batches, records_to_batch(&[]).schema());
    Source::Batches { name: "rows".into(), batches: Box::new(batches) }
}

fn counts(source: Source, cap: usize, keys: Option<&KeyRing>) -> Vec<(Code, u64)> {
    let checks = Checks { keys, ..Checks::default() };
    let options = Options { max_findings: cap, ..Options::default() };
    let report = verify(vec![source], &checks, &options, &Arc::new(Progress::default())).unwrap();
    assert!(report.findings.len() <= cap);
    report.counts.into_iter().collect()
}

#[test]
fn an_unknown_device_is_counted_once() {
    let (records, keys) = (unsigned(1..=200_000), KeyRing::new());
    for (cap, rows) in [(1000, 65_536), (1, 8192), (0, 5000), (0, 20_000), (0, 65_536)] {
        let counts = counts(in_batches(&records, rows), cap, Some(&keys));
        assert_eq!(counts, [(Code::UnknownDevice, 1)], "a cap of {cap}, batches of {rows}");
    }
}

#[test]
fn repetitions_are_named_under_every_limit() {
    let chain = unsigned(1..=50_000);
    let pairs: Vec<AuditRecord> = chain.chunks(2).flat_map(|pair| [pair, pair].concat()).collect();
    assert_eq!(pairs.len(), 100_000);
    for (cap, rows) in [(100_000, 65_536), (10, 8192), (10, 4096), (0, 1000)] {
        let counts = counts(in_batches(&pairs, rows), cap, None);
        assert_eq!(counts, [(Code::SequenceDuplicate, 25_000)], "a cap of {cap}, batches of {rows}");
    }
}

/// In a columnar file each record costs a few bytes, regardless of the length of their shared device id.
#[test]
fn a_long_device_id_is_kept_in_few_findings() {
    const ID_BYTES: usize = 1 << 20;
    let mut records = unsigned(1..=200);
    records.reverse();
    for record in &mut records {
        record.device_id = "x".repeat(ID_BYTES);
    }
    for rows in [200, 7] {
        let options = Options::default();
        let source = in_batches(&records, rows);
        let report =
            verify(vec![source], &Checks::default(), &options, &Arc::new(Progress::default())).unwrap();
        let counted: u64 = report.counts.values().sum();
        assert_eq!(counted, 200, "{:?}", report.counts);
        assert_eq!(report.findings.len(), MAX_KEPT_BYTES / ID_BYTES);
        assert_eq!(report.findings_omitted, counted - report.findings.len() as u64);
        // The first findings are kept, and the report has a writable size.
        let indices: Vec<u64> = report.findings.iter().filter_map(|finding| finding.index).collect();
        assert_eq!(indices, (0..report.findings.len() as u64).collect::<Vec<_>>());
        assert!(serde_json::to_string(&report).unwrap().len() < 2 * MAX_KEPT_BYTES);
    }
}
