//! Parts of a verification: made by workers, and merged into the report of one process.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use edgesentry_chain::part::{self as chain, Restored, RowState, Verified};
pub use edgesentry_chain::part::{Contested, ContestedRange, Ends, PartError, Places};
use edgesentry_chain::{Checks, Hash, Heads, Input, KeyRing, Order, Report};
use edgesentry_log::{LogCheck, LogPart};

use crate::error::Error;
use crate::progress::Progress;
use crate::read::{self, Source};
use crate::verify::{Concluded, Fold, Folded, Options, Plan, fold_sources};

/// The most records that are verified again at a time, because they are sorted in memory.
pub(crate) const MAX_GATHERED: usize = 1 << 21;
/// The most passes over the inputs of one process, each for up to [`MAX_GATHERED`] contested records.
const MAX_PASSES: usize = 16;

/// Incremented with every change of the rows.
const ROW_VERSION: u8 = 3;
/// Size of the checksum after the version, in bytes.
const CHECKSUM_BYTES: usize = 8;

/// The kinds of rows.
const OF_CHAINS: u8 = 0;
const OF_LOG: u8 = 1;

/// Verified records of some inputs of a run, also compared with a log if the run has one.
#[derive(Clone, Debug)]
pub struct Part {
    chains: chain::Part,
    /// None if the run has no log, if the records were verified again, or in shares other than the first.
    log: Option<LogPart>,
}

/// A row of a part. Some rows have no device.
#[derive(Clone, Debug)]
pub struct PartRow {
    /// The device.
    pub device_id: Option<Arc<str>>,
    /// The lowest sequence.
    pub first_sequence: Option<u64>,
    /// The highest sequence.
    pub last_sequence: Option<u64>,
    /// The number of records.
    pub records: u64,
    /// The number of findings.
    pub findings: u64,
    state: State,
}

/// The content of a row.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Chains(RowState),
    Log(Vec<u8>),
}

impl From<chain::PartRow> for PartRow {
    fn from(row: chain::PartRow) -> PartRow {
        let chain::PartRow { device_id, first_sequence, last_sequence, records, findings, state } = row;
        PartRow { device_id, first_sequence, last_sequence, records, findings, state: State::Chains(state) }
    }
}

fn log_row(content: Vec<u8>) -> PartRow {
    let (device_id, first_sequence, last_sequence) = (None, None, None);
    PartRow { device_id, first_sequence, last_sequence, records: 0, findings: 0, state: State::Log(content) }
}

impl Part {
    /// Makes the part of consecutive inputs, the first of which has this number.
    pub(crate) fn of(number: u64, folded: Folded, plan: &Plan<'_>) -> Result<Part, PartError> {
        let Folded { segments, kept, replay, erased, inputs } = folded;
        let count = inputs.len() as u64;
        let (other, withheld) = erased.into_findings();
        let verified = Verified { segments, kept, is_logged: plan.log.is_some(), withheld };
        let log = plan.log.map(|log| log.part(replay, count, other));
        Ok(Part { chains: chain::Part::new(plan.checks, plan.options.order, number, inputs, verified)?, log })
    }

    /// Joins two parts of one run. Any order and grouping of the parts gives the same report.
    ///
    /// # Errors
    /// The parts do not belong to one run, or share an input.
    pub fn merge(self, other: Part) -> Result<Part, PartError> {
        let log = joined(self.log, other.log)?;
        Ok(Part { chains: self.chains.merge(other.chains)?, log })
    }

    /// Divides the part by device. A share has all inputs and the records of its devices, the first one also the log; the
    /// shares with the same index of all parts merge, and [`Part::united`] joins the merged shares.
    pub fn split(self, shares: u32) -> Vec<Part> {
        let mut log = self.log;
        self.chains.split(shares).into_iter().map(|chains| Part { chains, log: log.take() }).collect()
    }

    /// Joins all shares of [`Part::split`] of the same inputs.
    ///
    /// # Errors
    /// A share lacks an input, a device is in two shares, or they are not of one run.
    pub fn united(shares: Vec<Part>) -> Result<Part, PartError> {
        let (mut chains, mut log) = (Vec::new(), None);
        for share in shares {
            chains.push(share.chains);
            log = joined(log, share.log)?;
        }
        Ok(Part { chains: chain::Part::united(chains)?, log })
    }

    /// Returns the order of the records.
    pub fn order(&self) -> Order {
        self.chains.order()
    }

    /// Returns the inputs by their number.
    pub fn inputs(&self) -> &BTreeMap<u64, Input> {
        self.chains.inputs()
    }

    /// Returns the number of records, those verified again not counted twice.
    pub fn records(&self) -> u64 {
        self.chains.records()
    }

    /// Returns the devices with records.
    pub fn devices(&self) -> HashSet<&Arc<str>> {
        self.chains.devices()
    }

    /// Returns the chains whose records must be verified again before there is a report.
    pub fn contested(&self) -> Contested {
        self.chains.contested()
    }

    /// Returns the last link of each chain as found: the heads of the report.
    pub fn heads(&self) -> Heads {
        self.chains.heads()
    }

    /// Returns true if the records were compared with a log.
    pub fn is_logged(&self) -> bool {
        self.chains.is_logged()
    }

    /// Returns the report of all parts: that of one process over their inputs, in the order of their numbers. The log is
    /// that of the parts. With a log, keys that the auditor gave to the parts are compared with those of the log.
    ///
    /// # Errors
    /// Chains are contested, or the parts are not all parts of one run.
    pub fn report(self, ends: &Ends<'_>, log: Option<&LogCheck<'_>>) -> Result<Report, PartError> {
        if log.is_some() && ends.keys.is_none() && self.chains.has_keys_of_auditor() {
            return Err(PartError::KeysNeeded);
        }
        let keys = ends.keys.filter(|_| self.chains.has_keys_of_auditor());
        self.concluded(log, keys, |chains| chains.report(ends))
    }

    /// Like [`Part::report`], with the checks of the parts.
    pub(crate) fn conclude(
        self,
        checks: &Checks<'_>,
        log: Option<&LogCheck<'_>>,
    ) -> Result<Report, PartError> {
        self.concluded(log, checks.keys, |chains| chains.conclude(checks, None))
    }

    fn concluded(
        self,
        log: Option<&LogCheck<'_>>,
        keys: Option<&KeyRing>,
        report: impl FnOnce(chain::Part) -> Result<Report, PartError>,
    ) -> Result<Report, PartError> {
        let Part { mut chains, log: part } = self;
        if log.is_some() != chains.is_logged() {
            return Err(PartError::OtherRun("the levels, of which only some have a log,"));
        }
        let Some(log) = log else { return report(chains) };
        let lost = || PartError::Inconsistent("rows of its log are missing");
        let part = part.filter(|part| part.inputs() == chains.inputs().len() as u64).ok_or_else(lost)?;
        let (missing, other) = (chains.withheld(), part.erased_other());
        let concluded = Concluded { missing, other, found: log.conclude_part(part, keys)? };
        if !concluded.excuses() {
            chains.accuse();
        }
        let most = chains.most();
        let mut report = report(chains)?;
        concluded.add_to(&mut report);
        report.keep(most);
        Ok(report)
    }

    /// Returns the rows of the part.
    pub fn rows(&self) -> Vec<PartRow> {
        self.share_rows(1).into_iter().flatten().collect()
    }

    /// Returns the rows of each share of [`Part::split`]. Only one row of a chain is in memory at a time.
    pub fn share_rows(&self, shares: u32) -> Vec<impl Iterator<Item = PartRow>> {
        let mut log = self.log.as_ref();
        let shares = self.chains.share_rows(shares).into_iter();
        let with_log = shares.map(|rows| {
            let of_log = log.take().map(LogPart::rows).unwrap_or_default();
            rows.map(PartRow::from).chain(of_log.into_iter().map(log_row))
        });
        with_log.collect()
    }

    /// Restores the part of all given rows, which may be those of several parts of a run, in any order.
    pub(crate) fn from_rows(
        rows: impl IntoIterator<Item = (Option<Arc<str>>, State)>,
    ) -> Result<Part, PartError> {
        let mut decoder = RowDecoder::default();
        for (device_id, state) in rows {
            decoder.restore(device_id, state)?;
        }
        decoder.finished()
    }
}

fn joined(one: Option<LogPart>, other: Option<LogPart>) -> Result<Option<LogPart>, PartError> {
    match (one, other) {
        (Some(one), Some(other)) => one.merge(other).map(Some),
        (one, other) => Ok(one.or(other)),
    }
}

/// Verifies sources as a part of a run. `number` is the position of the first among the inputs of the run; the others
/// follow it. With a log, the records are compared with it in the same pass.
///
/// # Errors
/// As [`verify`](crate::verify), and positions that are too high.
pub fn verify_part(
    sources: Vec<Source>,
    checks: &Checks<'_>,
    number: u64,
    log: Option<&LogCheck<'_>>,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Part, Error> {
    let plan = Plan { log, ..Plan::new(checks, options, progress) };
    Ok(Part::of(number, fold_sources(sources, &plan)?, &plan)?)
}

/// Verifies the contested records of sources again, as a part of the same run. The sources have all such records of the
/// run, under the same numbers or positions. The ranges of a device may have any order.
///
/// # Errors
/// As [`verify_part`], and if there are more than two million contested records.
pub fn verify_contested(
    sources: Vec<Source>,
    checks: &Checks<'_>,
    places: Places<'_>,
    mut contested: Contested,
    log: Option<&LogCheck<'_>>,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Part, Error> {
    contested.values_mut().for_each(|ranges| ranges.sort_unstable());
    let plan = Plan { log, ..Plan::new(checks, options, progress) };
    verify_again(sources, &plan, places, contested)
}

/// Verifies records again. The first pass has counted the findings of the log, and its replay has these records.
fn verify_again(
    sources: Vec<Source>,
    plan: &Plan<'_>,
    places: Places<'_>,
    contested: Contested,
) -> Result<Part, Error> {
    let Plan { checks, log, options, progress, .. } = *plan;
    let only = Plan { only: Some(&contested), log, ..Plan::new(checks, options, progress) };
    let Folded { segments, kept, erased, inputs, .. } = fold_sources(sources, &only)?;
    let (_, withheld) = erased.into_findings();
    let verified = Verified { segments, kept, is_logged: log.is_some(), withheld };
    let chains = chain::Part::again(checks, options.order, places, &inputs, verified, contested)?;
    Ok(Part { chains, log: None })
}

/// Verifies the contested records of one process again, from its files, and compares them with the log of the plan.
pub(crate) fn settle(mut whole: Part, files: Option<&[Source]>, plan: &Plan<'_>) -> Result<Part, Error> {
    let contested = whole.contested();
    if contested.is_empty() {
        return Ok(whole);
    }
    let Some(files) = files else {
        return Err(Error::Unreadable {
            name: "records".into(),
            problem: "records repeat far from each other, so they must be read again, and only files can be; write the \
                      records to a file, or sort them by device_id and sequence"
                .into(),
        });
    };
    let groups = groups(contested);
    if groups.len() > MAX_PASSES {
        return Err(PartError::Scattered.into());
    }
    for group in groups {
        let sources = files.iter().filter_map(read::again).collect();
        let again = verify_again(sources, plan, Places::From(0), group)?;
        whole = whole.merge(again)?;
    }
    Ok(whole)
}

/// Returns contested chains in groups of at most [`MAX_GATHERED`] records, if no chain has more.
fn groups(contested: Contested) -> Vec<Contested> {
    let mut groups = Vec::new();
    let mut group = Contested::new();
    let mut records: u64 = 0;
    for (device_id, ranges) in contested {
        let more = ranges.iter().fold(0, |sum: u64, range| sum.saturating_add(range.records));
        if !group.is_empty() && records.saturating_add(more) > MAX_GATHERED as u64 {
            groups.push(std::mem::take(&mut group));
            records = 0;
        }
        records = records.saturating_add(more);
        group.insert(device_id, ranges);
    }
    groups.push(group);
    groups
}

/// A part of which the records are pushed, such as those of a stream.
pub struct PartVerifier {
    fold: Fold,
    options: Options,
    number: u64,
    name: Arc<str>,
}

impl PartVerifier {
    /// Starts a part that is the input of this number.
    pub fn new(name: Arc<str>, number: u64, options: Options) -> PartVerifier {
        PartVerifier { fold: Fold::new(&options), options, number, name }
    }

    /// Verifies the next records. All calls have the same checks and the same log, except that a call may add the keys and
    /// heads of devices that had no records before. After an error the part has an unknown part of the records, so it is
    /// of no use.
    ///
    /// # Errors
    /// The source or a payload cannot be read.
    pub fn push(
        &mut self,
        source: Source,
        checks: &Checks<'_>,
        log: Option<&LogCheck<'_>>,
        progress: &Arc<Progress>,
    ) -> Result<(), Error> {
        let opened = read::open(source, progress)?;
        let plan = Plan { log, ..Plan::new(checks, &self.options, progress) };
        self.fold.input(opened, &plan).map(drop)
    }

    /// Returns the part. The next one has the next number.
    ///
    /// # Errors
    /// The position of the part is too high, or keys or heads came after records of their device.
    pub fn finish(
        &mut self,
        checks: &Checks<'_>,
        log: Option<&LogCheck<'_>>,
        progress: &Arc<Progress>,
    ) -> Result<Part, Error> {
        let input = Input {
            name: Arc::clone(&self.name),
            format: "records".into(),
            entries: self.fold.entries(),
            bytes: None,
            modified: None,
            path: None,
        };
        let plan = Plan { log, ..Plan::new(checks, &self.options, progress) };
        let part = Part::of(self.number, self.fold.finish(vec![input], &plan)?, &plan)?;
        self.number += 1;
        Ok(part)
    }
}

/// The reason why a row of a part cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The bytes are not those that were written.
    #[error("row {0} of the segments is damaged; get an intact copy, or verify its part again")]
    Damaged(u64),
    /// Another release wrote the row.
    #[error(
        "row {row} of the segments has version {version}, this release reads {ROW_VERSION}; verify its part again"
    )]
    Version {
        /// The row.
        row: u64,
        /// Its version.
        version: u8,
    },
    /// The rows are not those of one run.
    #[error(transparent)]
    Part(#[from] PartError),
}

/// Encodes the state of a row: a version, a checksum over device and state, and the state.
///
/// # Errors
/// The state has a path or a time that cannot be encoded.
pub fn encode_row(row: &PartRow) -> Result<Vec<u8>, PartError> {
    const UNFIT: PartError = PartError::Inconsistent("a path or a time in it cannot be encoded");
    let content = encode_state(row).ok_or(UNFIT)?;
    let mut bytes = Vec::with_capacity(1 + CHECKSUM_BYTES + content.len());
    bytes.push(ROW_VERSION);
    bytes.extend(checksum(row.device_id.as_deref(), &content));
    bytes.extend(content);
    Ok(bytes)
}

/// Restores the part of encoded rows, each with its device: those of one part or of several, in any order.
///
/// # Errors
/// A row is damaged, of another release, missing or of another run.
pub fn decode_rows<'b>(
    rows: impl IntoIterator<Item = (Option<&'b str>, &'b [u8])>,
) -> Result<Part, RowError> {
    let mut decoder = RowDecoder::default();
    for (device_id, state) in rows {
        decoder.add(device_id, state)?;
    }
    decoder.finish()
}

/// Like [`decode_rows`], for rows that are not all in memory.
#[derive(Default)]
pub struct RowDecoder {
    chains: Restored,
    of_log: Vec<Vec<u8>>,
    rows: u64,
}

impl RowDecoder {
    /// Adds a row.
    ///
    /// # Errors
    /// The row is damaged, of another release or of another run.
    pub fn add(&mut self, device_id: Option<&str>, state: &[u8]) -> Result<(), RowError> {
        self.rows += 1;
        let state = decode_row(self.rows, device_id, state)?;
        Ok(self.restore(device_id.map(Arc::from), state)?)
    }

    /// Returns the part of all rows.
    ///
    /// # Errors
    /// A row is missing, repeated, or of another run.
    pub fn finish(self) -> Result<Part, RowError> {
        Ok(self.finished()?)
    }

    fn restore(&mut self, device_id: Option<Arc<str>>, state: State) -> Result<(), PartError> {
        match (device_id, state) {
            (device_id, State::Chains(state)) => self.chains.add(device_id, state),
            (None, State::Log(content)) => {
                self.of_log.push(content);
                Ok(())
            }
            (Some(_), State::Log(_)) => Err(PartError::Inconsistent("a row of its log has a device")),
        }
    }

    fn finished(self) -> Result<Part, PartError> {
        let log = match self.of_log.is_empty() {
            true => None,
            false => Some(LogPart::from_rows(self.of_log.iter().map(Vec::as_slice))?),
        };
        let chains = self.chains.finish()?;
        if log.is_some() && !chains.is_logged() {
            return Err(PartError::Inconsistent("it has rows of a log"));
        }
        Ok(Part { chains, log })
    }
}

fn decode_row(row: u64, device_id: Option<&str>, bytes: &[u8]) -> Result<State, RowError> {
    let damaged = RowError::Damaged(row);
    let [version, rest @ ..] = bytes else { return Err(damaged) };
    if *version != ROW_VERSION {
        return Err(RowError::Version { row, version: *version });
    }
    let Some((sum, content)) = rest.split_at_checked(CHECKSUM_BYTES) else { return Err(damaged) };
    if sum != checksum(device_id, content) {
        return Err(damaged);
    }
    decode_state(content).ok_or(damaged)
}

pub(crate) fn encode_state(row: &PartRow) -> Option<Vec<u8>> {
    match &row.state {
        State::Chains(state) => postcard::to_extend(state, vec![OF_CHAINS]).ok(),
        State::Log(content) => Some([&[OF_LOG], &content[..]].concat()),
    }
}

/// Decodes the state of a row. Memory is limited by the size of the bytes.
pub(crate) fn decode_state(content: &[u8]) -> Option<State> {
    match content.split_first()? {
        (&OF_CHAINS, content) => match postcard::take_from_bytes(content) {
            Ok((state, [])) => Some(State::Chains(state)),
            _ => None,
        },
        (&OF_LOG, content) => Some(State::Log(content.to_vec())),
        _ => None,
    }
}

fn checksum(device_id: Option<&str>, content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let device_id = device_id.unwrap_or_default();
    let mut all = Vec::with_capacity(8 + device_id.len() + content.len());
    all.extend((device_id.len() as u64).to_le_bytes());
    all.extend(device_id.as_bytes());
    all.extend(content);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&Hash::of(&all).as_bytes()[..CHECKSUM_BYTES]);
    sum
}
