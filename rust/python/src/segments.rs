//! `Segments`, `verify_part`, `Verifier` and `merge`: the results of workers, and the report of all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::ArrayRef;
use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use edgesentry_chain::escape::quoted;
use edgesentry_chain::{Checks, Claims, Heads, Order, Payloads, Scheme, count};
use edgesentry_formats::{
    ColumnNames, Contested, ContestedRange, Ends, Options, Part, PartError, PartRow, PartVerifier,
    PayloadFolder, Places, Progress, RowDecoder, RowError, SampledPayloads, Source, decode_rows, encode_row,
    verify_contested, verify_part as verify_as_part,
};
use edgesentry_rs::settings::{Overrides, Settings};
use edgesentry_rs::verify::StorePayloads;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyType};
use serde::{Deserialize, Serialize};

use crate::arrow::{schema_capsule, stream_capsule};
use crate::columns::{Ignored, column_names};
use crate::coverage::Input;
use crate::errors::{UnreadableError, failure, sentence};
use crate::frames::Batches;
use crate::heads::heads_from_any;
use crate::keys::{GivenKeys, given_keys, scheme_of};
use crate::log_inputs::{LogInputs, SharedLog};
use crate::pickle::{Reduced, reduce, refuse};
use crate::progress::Bar;
use crate::report::{Call, Report};
use crate::service::service_failure;
use crate::source::{Input as AnyInput, named_inputs};
use crate::tables;
use crate::verify::payload_directory;
use crate::work::{Work, pool, wait};

/// Verified records of some inputs of a run, without the records: one small row for each input and device.
///
/// `verify_part` and `Verifier` make them, in any process. They pickle, and are Arrow tables. `merge` joins
/// those of a run, and `report` gives the report that one process over all inputs would give.
///
/// Segments are as trusted as the process that made them: it decides the verdict about its records. Damaged
/// segments, and those of other runs, are refused.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Segments(Part);

/// The rows of segments in a pickle.
#[derive(Serialize, Deserialize)]
pub(crate) struct SegmentsState(Vec<(Option<String>, Vec<u8>)>);

impl Segments {
    /// Restores the segments of a pickle.
    pub(crate) fn from_state(SegmentsState(rows): SegmentsState) -> Result<Segments, String> {
        let rows = rows.iter().map(|(device_id, state)| (device_id.as_deref(), state.as_slice()));
        decode_rows(rows).map(Segments).map_err(|error| sentence(&error))
    }

    fn encoded(&self) -> Result<SegmentsState, PartError> {
        let rows = self.0.rows();
        let rows = rows.iter().map(|row| Ok((row.device_id.as_deref().map(str::to_owned), encode_row(row)?)));
        rows.collect::<Result<_, _>>().map(SegmentsState)
    }

    /// Returns the rows of each share. A row is encoded before the next one is made, since there may be many.
    fn tables(&self, shares: u32) -> PyResult<Vec<Batches>> {
        self.0.share_rows(shares).into_iter().map(table_of).collect()
    }
}

fn table_of(rows: impl Iterator<Item = PartRow>) -> PyResult<Batches> {
    let (mut ids, mut states) = (StringBuilder::new(), BinaryBuilder::new());
    let mut numbers: [Vec<Option<u64>>; 4] = Default::default();
    for row in rows {
        ids.append_option(row.device_id.as_deref());
        states.append_value(encode_row(&row).map_err(unusable)?);
        let of_row = [row.first_sequence, row.last_sequence, Some(row.records), Some(row.findings)];
        numbers.iter_mut().zip(of_row).for_each(|(column, number)| column.push(number));
    }
    let [first, last, records, findings] = numbers.map(|numbers| tables::signed(numbers.into_iter()));
    let (ids, states): (ArrayRef, ArrayRef) = (Arc::new(ids.finish()), Arc::new(states.finish()));
    tables::batches(segments_schema(), vec![ids, first, last, records, findings, states])
}

/// Numbers are signed: engines on the JVM have no others.
fn segments_schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![
        Field::new("device_id", DataType::Utf8, true),
        number("first_sequence"),
        number("last_sequence"),
        number("records"),
        number("findings"),
        Field::new("state", DataType::Binary, false),
    ]))
}

#[pymethods]
impl Segments {
    /// The order of the records of a chain: `position` or `sequence`.
    #[getter]
    fn order(&self) -> &'static str {
        match self.0.order() {
            Order::Position => "position",
            Order::Sequence => "sequence",
        }
    }

    /// The number of records.
    #[getter]
    fn records(&self) -> u64 {
        self.0.records()
    }

    /// The number of devices with records.
    #[getter]
    fn devices(&self) -> u64 {
        self.0.devices().len() as u64
    }

    /// The inputs, by their position.
    #[getter]
    fn inputs(&self) -> BTreeMap<u64, Input> {
        self.0.inputs().iter().map(|(number, input)| (*number, Input::from(input.clone()))).collect()
    }

    /// The records to verify again before there is a report, by device.
    ///
    /// Each item has the first sequence, the last sequence and the number of records. In the order of
    /// position, these are chains that run backwards and have records in several parts; in the order of
    /// sequence, chains with the same sequence in several places. Intact records are never among them.
    #[getter]
    fn contested(&self) -> BTreeMap<String, Vec<(u64, u64, u64)>> {
        let range = |range: &ContestedRange| (range.first, range.last, range.records);
        let contested = self.0.contested();
        let ranges =
            contested.iter().map(|(id, ranges)| (id.to_string(), ranges.iter().map(range).collect()));
        ranges.collect()
    }

    /// Returns the report of all inputs.
    ///
    /// Args:
    ///     heads: The same trusted heads as those of the parts; each part needs those of its devices alone.
    ///     start_heads: Heads after which the chains must begin.
    ///     inputs: The number of inputs of the run, to refuse a result that lacks some.
    ///     keys: The same keys as those of the parts, all of them. With `log`, they are compared with those
    ///         of the log.
    ///     log: The same log as that of the parts, if they have one.
    ///
    /// Raises:
    ///     ValueError: Records are contested, an input is missing, or heads, keys or log are not those of the
    ///         parts.
    #[pyo3(signature = (*, heads = None, start_heads = None, inputs = None, keys = None, log = None))]
    fn report(
        &self,
        py: Python<'_>,
        heads: Option<&Bound<'_, PyAny>>,
        start_heads: Option<&Bound<'_, PyAny>>,
        inputs: Option<u64>,
        keys: Option<&Bound<'_, PyAny>>,
        log: Option<&Bound<'_, LogInputs>>,
    ) -> PyResult<Report> {
        let heads = heads.map(heads_from_any).transpose()?;
        let start_heads = start_heads.map(heads_from_any).transpose()?;
        let keys = keys.map(|keys| given_keys(keys, None)).transpose()?;
        let log = log.map(|log| log.get().shared());
        let log = log.as_ref().map(SharedLog::check_now).transpose()?;
        let part = &self.0;
        let report = py.detach(|| {
            let keys = keys.as_ref().map(|keys| &*keys.ring);
            let ends = Ends { heads: heads.as_ref(), start_heads: start_heads.as_ref(), keys, inputs };
            part.clone().report(&ends, log.as_ref())
        });
        Ok(Report::new(report.map_err(unusable)?, Call::default()))
    }

    /// Returns the last link of each chain as a table, to be the heads of a later run.
    fn heads_table(&self) -> PyResult<Batches> {
        tables::heads_table(&self.0.heads())
    }

    /// Divides the segments by device, for workers that each merge one share of all parts.
    ///
    /// Every share has all inputs. The shares with the same index of all parts merge, and `unite` joins the
    /// results. A device is in the same share in every process.
    ///
    /// Args:
    ///     shares: The number of shares.
    fn split(&self, shares: u32) -> PyResult<Vec<Segments>> {
        check_shares(shares)?;
        Ok(self.0.clone().split(shares).into_iter().map(Segments).collect())
    }

    /// Returns the rows of each share of `split` as tables, in less memory than `split` takes.
    ///
    /// Args:
    ///     shares: The number of shares.
    fn share_tables(&self, shares: u32) -> PyResult<Vec<Batches>> {
        check_shares(shares)?;
        self.tables(shares)
    }

    /// Joins all shares of the same inputs.
    ///
    /// Args:
    ///     shares: One merged share of each index of `split`, in any order.
    ///
    /// Raises:
    ///     UnreadableError: A share lacks an input, or a device is in two shares.
    ///     ValueError: They are not of one run.
    #[staticmethod]
    fn unite(shares: &Bound<'_, PyAny>) -> PyResult<Segments> {
        let parts = shares.try_iter()?.enumerate().map(|(at, part)| part_of(at, &part?));
        Part::united(parts.collect::<PyResult<_>>()?).map(Segments).map_err(unusable)
    }

    /// Restores segments from the rows of one part or of several, in any order.
    ///
    /// Raises:
    ///     TypeError: The object exports no Arrow.
    ///     UnreadableError: A row is damaged, missing, there twice, or of another release.
    ///     ValueError: The rows are of different runs.
    #[classmethod]
    fn from_arrow(_class: &Bound<'_, PyType>, table: &Bound<'_, PyAny>) -> PyResult<Segments> {
        let fields =
            [Field::new("device_id", DataType::Utf8, true), Field::new("state", DataType::Binary, false)];
        let mut decoder = RowDecoder::default();
        for columns in tables::batches_of(table, "segments", &fields)? {
            let columns = columns?;
            for row in 0..columns.rows() {
                let (device_id, state) = (columns.text("device_id", row), columns.bytes("state", row));
                let added = decoder.add(device_id, state.unwrap_or_default());
                added.map_err(|error| unreadable_row(&error))?;
            }
        }
        decoder.finish().map(Segments).map_err(|error| unreadable_row(&error))
    }

    /// Exports the schema of the stream.
    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        schema_capsule(py, &segments_schema())
    }

    /// Exports the rows as an Arrow stream; one row has no device.
    ///
    /// Its columns are `device_id`, `first_sequence`, `last_sequence`, `records`, `findings` and `state`.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let Some(Batches { schema, batches }) = self.tables(1)?.pop() else {
            return Err(unusable(PartError::Inconsistent("it has no rows")));
        };
        stream_capsule(py, schema, batches.into_iter().map(Ok), requested_schema)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        let rows = |segments: &Segments| segments.encoded().map(|SegmentsState(rows)| rows).ok();
        other.cast::<Segments>().is_ok_and(|other| rows(other.get()) == rows(self))
    }

    fn __repr__(&self) -> String {
        let inputs = count(self.0.inputs().len() as u64, "input");
        let (records, devices) = (count(self.records(), "record"), count(self.devices(), "device"));
        format!("<Segments of {inputs}: {records} of {devices}, in the order of {}>", self.order())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        reduce(py, "Segments", &self.encoded().map_err(unusable)?)
    }
}

/// Joins the segments of one run; their order and grouping change nothing.
///
/// Raises:
///     TypeError: An item is not `Segments`.
///     ValueError: There are none, they are not of one run, or two have the same input.
#[pyfunction]
pub(crate) fn merge(parts: &Bound<'_, PyAny>) -> PyResult<Segments> {
    let mut whole: Option<Part> = None;
    for (at, part) in parts.try_iter()?.enumerate() {
        let part = part_of(at, &part?)?;
        whole = Some(match whole {
            Some(whole) => whole.merge(part).map_err(unusable)?,
            None => part,
        });
    }
    whole.map(Segments).ok_or_else(|| PyValueError::new_err("there are no parts to merge"))
}

fn check_shares(shares: u32) -> PyResult<()> {
    match shares {
        1..=0x10_0000 => Ok(()),
        _ => Err(PyValueError::new_err("shares must be a number from 1 to 2^20")),
    }
}

fn part_of(at: usize, part: &Bound<'_, PyAny>) -> PyResult<Part> {
    let Ok(part) = part.cast::<Segments>() else {
        let kind = part.get_type().name()?;
        return Err(PyTypeError::new_err(format!("item {at} of the parts is {kind}, not Segments")));
    };
    Ok(part.get().0.clone())
}

/// Verifies some inputs of a run, such as one file in a task of an engine.
///
/// Args:
///     source: The records, as `verify_chain` takes them.
///     position: The position of the source among the inputs of the run, from 0. Several paths have positions
///         from this one on. In the order of position it is the order of the inputs, without holes. With
///         `contested`, also a list with the position of each input.
///     columns: As for `verify_chain`.
///     ignore: As for `verify_chain`.
///     keys: Public keys, at least those of the devices in the source: see `KeyRing.subset`.
///     payloads: A directory of payloads, to hash them again, or `s3://BUCKET`.
///     payload_sample: The share of the payloads to check, from 0 to 1, and a seed: one of 64 bits that the
///         author of the records cannot know.
///     heads: Trusted heads, at least those of the devices in the source.
///     log: The log to compare the records with: the same in all parts, and in the report.
///     scheme: The scheme of keys that do not name one; by default as in `KeyRing`.
///     order: The order of the records of a chain, as in `verify_chain`.
///     contested: Records to verify again: `Segments.contested` of all merged parts, or some of its devices.
///         The source is then all inputs with such records, from `position` on; others are skipped.
///     places: With `contested`: the place of each record: its position times 2^40, plus its row.
///     byte_ranges: A range of bytes of each path, of which the row groups of Parquet that begin in it are
///         verified. A file in another format is wholly in the range that begins at 0.
///     threads: Number of threads; by default as in `verify_chain`.
///     max_findings: Findings to keep; all are counted. The same in all parts.
///
/// Raises:
///     FileNotFoundError: A file is missing.
///     OSError: A file cannot be read.
///     ConfigError: Keys or heads are unreadable, or a key is weak.
///     UnreadableError: An input is not in a format that holds records.
///     StoreError: A payload exists but cannot be read.
///     TypeError: An argument has the wrong type.
///     ValueError: An argument has a wrong value, or the rows are in random order and too many.
///     KeyboardInterrupt: Ctrl-C. The threads end by themselves soon after.
#[pyfunction]
#[pyo3(signature = (
    source, *, position, columns = None, ignore = None, keys = None, payloads = None, payload_sample = None,
    heads = None, log = None, scheme = None, order = "position", contested = None, places = None,
    byte_ranges = None, threads = None, max_findings = 100_000
))]
// The arguments of the Python function.
#[allow(clippy::too_many_arguments)]
pub(crate) fn verify_part(
    py: Python<'_>,
    source: &Bound<'_, PyAny>,
    position: Positions,
    columns: Option<BTreeMap<String, String>>,
    ignore: Option<Ignored>,
    keys: Option<&Bound<'_, PyAny>>,
    payloads: Option<&Bound<'_, PyAny>>,
    payload_sample: Option<(f64, u64)>,
    heads: Option<&Bound<'_, PyAny>>,
    log: Option<&Bound<'_, LogInputs>>,
    scheme: Option<&str>,
    order: &str,
    contested: Option<&Bound<'_, PyDict>>,
    places: Option<Vec<u64>>,
    byte_ranges: Option<Vec<(u64, u64)>>,
    threads: Option<i64>,
    max_findings: i64,
) -> PyResult<Segments> {
    let given = Given::from_any(py, keys, payloads, payload_sample, heads, log, scheme)?;
    let options = options_of(order, max_findings)?;
    let contested = contested.map(contested_from_any).transpose()?;
    if contested.is_none() && (places.is_some() || matches!(position, Positions::Each(_))) {
        return Err(PyValueError::new_err("places, and a list of positions, need contested"));
    }
    let pool = pool(threads)?;
    let inputs = named_inputs(source, &column_names(columns, ignore)?)?;
    let inputs = match byte_ranges {
        Some(ranges) => in_ranges(inputs, ranges)?,
        None => inputs,
    };
    let work = Work::start(inputs, move |sources, progress, results| {
        let (checks, log) = (given.checks(), given.log.as_ref().map(SharedLog::check));
        let log = log.as_ref();
        results.put(pool.install(|| match (contested, position) {
            (None, Positions::From(position)) => {
                verify_as_part(sources, &checks, position, log, &options, progress)
            }
            (contested, position) => {
                let places = match (&places, &position) {
                    (Some(places), _) => Places::Records(places),
                    (None, Positions::From(position)) => Places::From(*position),
                    (None, Positions::Each(positions)) => Places::Inputs(positions),
                };
                let contested = contested.unwrap_or_default();
                verify_contested(sources, &checks, places, contested, log, &options, progress)
            }
        })?)
    })?;
    wait(py, work, Bar::new(None)?).map(Segments)
}

/// The position of the first input, or of each.
#[derive(FromPyObject)]
pub(crate) enum Positions {
    From(u64),
    Each(Vec<u64>),
}

pub(crate) fn in_ranges(inputs: Vec<AnyInput>, ranges: Vec<(u64, u64)>) -> PyResult<Vec<AnyInput>> {
    if inputs.len() != ranges.len() || ranges.iter().any(|(start, end)| start > end) {
        let message = "byte_ranges has the start and the end of a range for each file of the source";
        return Err(PyValueError::new_err(message));
    }
    let ranged = inputs.into_iter().zip(ranges).map(|(input, (start, end))| match input {
        AnyInput::Ready(source) => {
            Ok(AnyInput::Ready(Source::Share { source: Box::new(source), bytes: start..end }))
        }
        _ => Err(PyValueError::new_err("byte_ranges needs a source of paths")),
    });
    ranged.collect()
}

fn contested_from_any(value: &Bound<'_, PyDict>) -> PyResult<Contested> {
    let ranges: BTreeMap<String, Vec<(u64, u64, u64)>> = value.extract()?;
    let range = |(first, last, records)| ContestedRange { first, last, records };
    let ranges =
        ranges.into_iter().map(|(id, ranges)| (Arc::from(id), ranges.into_iter().map(range).collect()));
    Ok(ranges.collect())
}

/// Parses the name of an order.
fn order_of(name: &str) -> PyResult<Order> {
    match name {
        "position" => Ok(Order::Position),
        "sequence" => Ok(Order::Sequence),
        other => {
            let other: String = other.chars().take(40).collect();
            Err(PyValueError::new_err(format!("unknown order {other:?}: use \"position\" or \"sequence\"")))
        }
    }
}

/// Returns the options of a verification.
pub(crate) fn options_of(order: &str, max_findings: i64) -> PyResult<Options> {
    let Ok(max_findings) = usize::try_from(max_findings) else {
        return Err(PyValueError::new_err("max_findings must be a number from 0"));
    };
    Ok(Options { max_findings, order: order_of(order)? })
}

/// The inputs of the verification of a part.
struct Given {
    keys: Option<GivenKeys>,
    payloads: Option<Box<dyn Payloads + Send>>,
    heads: Option<Heads>,
    log: Option<SharedLog>,
}

impl Given {
    fn from_any(
        py: Python<'_>,
        keys: Option<&Bound<'_, PyAny>>,
        payloads: Option<&Bound<'_, PyAny>>,
        sample: Option<(f64, u64)>,
        heads: Option<&Bound<'_, PyAny>>,
        log: Option<&Bound<'_, LogInputs>>,
        scheme: Option<&str>,
    ) -> PyResult<Given> {
        let scheme = scheme.map(scheme_of).transpose()?;
        let payloads = payloads.map(|payloads| opened_payloads(py, payloads)).transpose()?;
        let payloads = match (payloads, sample) {
            (Some(payloads), Some((share, seed))) if (0.0..=1.0).contains(&share) => {
                Some(Box::new(SampledPayloads::new(payloads, share, seed)) as Box<dyn Payloads + Send>)
            }
            (payloads, None) => payloads,
            (None, Some(_)) => return Err(PyValueError::new_err("payload_sample needs payloads")),
            (Some(_), Some(_)) => {
                return Err(PyValueError::new_err("the share of payload_sample must be from 0 to 1"));
            }
        };
        Ok(Given {
            keys: keys.map(|keys| given_keys(keys, scheme)).transpose()?,
            payloads,
            heads: heads.map(heads_from_any).transpose()?,
            log: log.map(|log| log.get().shared()),
        })
    }

    fn checks(&self) -> Checks<'_> {
        self.checks_with(self.keys.as_ref(), self.heads.as_ref())
    }

    fn checks_with<'c>(&'c self, keys: Option<&'c GivenKeys>, heads: Option<&'c Heads>) -> Checks<'c> {
        Checks {
            keys: keys.and_then(GivenKeys::brought),
            payloads: self.payloads.as_deref().map(|payloads| payloads as &dyn Payloads),
            heads,
            claims: Claims { keys: keys.and_then(GivenKeys::claimed), ..Claims::default() },
            ..Checks::default()
        }
    }
}

/// Opens a directory of payloads, or a bucket with the settings of the environment.
fn opened_payloads(py: Python<'_>, payloads: &Bound<'_, PyAny>) -> PyResult<Box<dyn Payloads + Send>> {
    let path = payload_directory(payloads)?;
    match path.to_str().filter(|text| text.starts_with("s3://")) {
        Some(url) => {
            let settings = Settings::load(None, &Overrides::default());
            let opened = settings.and_then(|settings| py.detach(|| StorePayloads::open(url, &settings.s3)));
            Ok(Box::new(opened.map_err(|error| service_failure(py, error))?))
        }
        None => Ok(Box::new(PayloadFolder::open(&path).map_err(|error| failure(py, error))?)),
    }
}

/// Verifies a part whose records are pushed, such as in a table function or an actor.
///
/// Args:
///     position: The position of the records among the inputs of the run, as in `verify_part`.
///     columns: As for `verify_chain`.
///     ignore: As for `verify_chain`.
///     keys: Public keys, at least those of the devices in the records.
///     payloads: A directory of payloads, to hash them again, or `s3://BUCKET`.
///     payload_sample: As for `verify_part`.
///     heads: Trusted heads, at least those of the devices in the records.
///     log: As for `verify_part`.
///     scheme: The scheme of keys that do not name one; by default as in `KeyRing`.
///     order: The order of the records of a chain, as in `verify_chain`.
///     name: The name of the input in findings.
///     threads: Number of threads; by default as in `verify_chain`.
///     max_findings: Findings to keep; all are counted. The same in all parts.
#[pyclass(frozen, module = "edgesentry")]
pub(crate) struct Verifier {
    /// Without the keys and the heads.
    given: Arc<Given>,
    keys: Mutex<Option<GivenKeys>>,
    heads: Mutex<Option<Arc<Heads>>>,
    scheme: Option<Scheme>,
    names: Arc<ColumnNames>,
    pool: Arc<rayon::ThreadPool>,
    /// None after the end, and after an error: the records of the failed call may be verified in part.
    verifier: Arc<Mutex<Option<PartVerifier>>>,
}

#[pymethods]
impl Verifier {
    #[new]
    #[pyo3(signature = (
        *, position, columns = None, ignore = None, keys = None, payloads = None, payload_sample = None,
        heads = None, log = None, scheme = None, order = "position", name = "records", threads = None,
        max_findings = 100_000
    ))]
    // The arguments of the Python class.
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        position: u64,
        columns: Option<BTreeMap<String, String>>,
        ignore: Option<Ignored>,
        keys: Option<&Bound<'_, PyAny>>,
        payloads: Option<&Bound<'_, PyAny>>,
        payload_sample: Option<(f64, u64)>,
        heads: Option<&Bound<'_, PyAny>>,
        log: Option<&Bound<'_, LogInputs>>,
        scheme: Option<&str>,
        order: &str,
        name: &str,
        threads: Option<i64>,
        max_findings: i64,
    ) -> PyResult<Verifier> {
        let options = options_of(order, max_findings)?;
        let verifier = PartVerifier::new(name.into(), position, options);
        let mut given = Given::from_any(py, keys, payloads, payload_sample, heads, log, scheme)?;
        Ok(Verifier {
            keys: Mutex::new(given.keys.take()),
            heads: Mutex::new(given.heads.take().map(Arc::new)),
            scheme: scheme.map(scheme_of).transpose()?,
            given: Arc::new(given),
            names: column_names(columns, ignore)?,
            pool: Arc::new(pool(threads)?),
            verifier: Arc::new(Mutex::new(Some(verifier))),
        })
    }

    /// Verifies the next records, as `verify_chain` takes them. After an error the verifier is of no use.
    ///
    /// Args:
    ///     batch: The records.
    ///     keys: Public keys of devices without records in earlier batches.
    ///     heads: Trusted heads of devices without records in earlier batches.
    ///
    /// Raises:
    ///     UnreadableError: The batch is not in a format that holds records.
    ///     StoreError: A payload exists but cannot be read.
    ///     ValueError: The verifier has ended or failed, or keys or heads differ from earlier ones.
    #[pyo3(signature = (batch, *, keys = None, heads = None))]
    fn push(
        &self,
        py: Python<'_>,
        batch: &Bound<'_, PyAny>,
        keys: Option<&Bound<'_, PyAny>>,
        heads: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let mut verifier = self.take()?;
        let (keys, heads) = (self.known_keys(keys)?, self.known_heads(heads)?);
        let (given, pool) = (Arc::clone(&self.given), Arc::clone(&self.pool));
        let work = Work::start(named_inputs(batch, &self.names)?, move |sources, progress, results| {
            let checks = given.checks_with(keys.as_ref(), heads.as_deref());
            let log = given.log.as_ref().map(SharedLog::check);
            pool.install(|| {
                let mut sources = sources.into_iter();
                sources.try_for_each(|source| verifier.push(source, &checks, log.as_ref(), progress))
            })?;
            drop(log);
            // The next call adds keys and heads in place.
            drop((keys, heads));
            results.put(verifier)
        })?;
        let verifier = wait(py, work, Bar::new(None)?)?;
        *self.verifier.lock().unwrap_or_else(PoisonError::into_inner) = Some(verifier);
        Ok(())
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse("Verifier", "send the segments of its finish(), or make a verifier in each process")
    }

    /// Returns the segments of all records, and ends the verifier.
    ///
    /// Raises:
    ///     ValueError: The verifier has ended, or a call has failed.
    fn finish(&self, py: Python<'_>) -> PyResult<Segments> {
        let mut verifier = self.take()?;
        let (given, pool) = (&self.given, &self.pool);
        let (keys, heads) = (self.known_keys(None)?, self.known_heads(None)?);
        let part = py.detach(|| {
            let checks = given.checks_with(keys.as_ref(), heads.as_deref());
            let log = given.log.as_ref().map(SharedLog::check);
            pool.install(|| verifier.finish(&checks, log.as_ref(), &Arc::new(Progress::default())))
        });
        part.map(Segments).map_err(|error| failure(py, error))
    }
}

impl Verifier {
    /// Returns the keys so far, with those of the next batch.
    fn known_keys(&self, more: Option<&Bound<'_, PyAny>>) -> PyResult<Option<GivenKeys>> {
        let more = more.map(|more| given_keys(more, self.scheme)).transpose()?;
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(more) = more {
            let Some(known) = known.as_mut() else {
                let message = "keys of a batch need keys= of the verifier, such as KeyRing()";
                return Err(PyValueError::new_err(message));
            };
            known.extend(&more)?;
        }
        Ok(known.clone())
    }

    /// Returns the heads so far, with those of the next batch.
    fn known_heads(&self, more: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Arc<Heads>>> {
        let more = more.map(heads_from_any).transpose()?;
        let mut known = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        for (device_id, head) in more.into_iter().flatten() {
            let Some(known) = known.as_mut() else {
                let message = "heads of a batch need heads= of the verifier, such as {}";
                return Err(PyValueError::new_err(message));
            };
            let before = Arc::make_mut(known).insert(Arc::clone(&device_id), head);
            if before.is_some_and(|before| before != head) {
                return Err(PyValueError::new_err(format!(
                    "device {}: its head differs from that of an earlier batch; use the same for all",
                    quoted(&device_id)
                )));
            }
        }
        Ok(known.clone())
    }

    fn take(&self) -> PyResult<PartVerifier> {
        let verifier = self.verifier.lock().unwrap_or_else(PoisonError::into_inner).take();
        let message =
            "the verifier has ended, failed, or is used by another thread; make another for this part";
        verifier.ok_or_else(|| PyValueError::new_err(message))
    }
}

/// Returns the exception for parts that do not make a whole.
pub(crate) fn unusable(error: PartError) -> PyErr {
    match error {
        PartError::Inconsistent(_) => UnreadableError::new_err(sentence(&error)),
        _ => PyValueError::new_err(sentence(&error)),
    }
}

fn unreadable_row(error: &RowError) -> PyErr {
    match error {
        RowError::Part(error) => unusable(error.clone()),
        _ => UnreadableError::new_err(sentence(error)),
    }
}
