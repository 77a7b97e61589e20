//! Parts of a verification: made by workers, and merged into the report of one process.

use std::sync::Arc;

use edgesentry_chain::part::RowState;
pub use edgesentry_chain::part::{Contested, ContestedRange, Ends, Part, PartError, PartRow, Places};
use edgesentry_chain::{Checks, Hash, Input};

use crate::error::Error;
use crate::progress::Progress;
use crate::read::{self, Source};
use crate::verify::{Fold, Folded, Options, Plan, fold_sources};

/// The most records that are verified again at a time, because they are sorted in memory.
pub(crate) const MAX_GATHERED: usize = 1 << 21;
/// The most passes over the inputs of one process, each for up to [`MAX_GATHERED`] contested records.
const MAX_PASSES: usize = 16;

/// Incremented with every change of the rows.
const ROW_VERSION: u8 = 2;
/// Size of the checksum after the version, in bytes.
const CHECKSUM_BYTES: usize = 8;

/// Verifies sources as a part of a run. `number` is the position of the first among the inputs of the run; the others
/// follow it.
///
/// # Errors
/// As [`verify`](crate::verify), and positions that are too high.
pub fn verify_part(
    sources: Vec<Source>,
    checks: &Checks<'_>,
    number: u64,
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Part, Error> {
    let Folded { segments, kept, inputs, .. } = fold_sources(sources, &Plan::new(checks, options, progress))?;
    Ok(Part::new(checks, options.order, number, inputs, segments, kept)?)
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
    options: &Options,
    progress: &Arc<Progress>,
) -> Result<Part, Error> {
    contested.values_mut().for_each(|ranges| ranges.sort_unstable());
    verify_again(sources, &Plan::new(checks, options, progress), places, contested, true)
}

/// Verifies records again. The first pass has counted the findings of the log, and its replay has these records.
fn verify_again(
    sources: Vec<Source>,
    plan: &Plan<'_>,
    places: Places<'_>,
    contested: Contested,
    excuses: bool,
) -> Result<Part, Error> {
    let Plan { checks, log, options, progress, .. } = *plan;
    let only = Plan { only: Some(&contested), log, ..Plan::new(checks, options, progress) };
    let Folded { mut segments, kept, erased, inputs, .. } = fold_sources(sources, &only)?;
    if !excuses {
        erased.missing.into_values().for_each(|finding| segments.add(finding));
    }
    Ok(Part::again(checks, options.order, places, &inputs, segments, kept, contested)?)
}

/// Verifies the contested records of one process again, from its files, and compares them with the log of the plan.
/// `excuses` states whether the log is that of a trusted checkpoint: missing payloads that it says were erased are then not
/// listed again.
pub(crate) fn settle(
    mut whole: Part,
    files: Option<&[Source]>,
    plan: &Plan<'_>,
    excuses: bool,
) -> Result<Part, Error> {
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
        let again = verify_again(sources, plan, Places::From(0), group, excuses)?;
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

    /// Verifies the next records. All calls have the same checks, except that a call may add the keys of devices that had
    /// no records before. After an error the part has an unknown part of the records, so it is of no use.
    ///
    /// # Errors
    /// The source or a payload cannot be read.
    pub fn push(
        &mut self,
        source: Source,
        checks: &Checks<'_>,
        progress: &Arc<Progress>,
    ) -> Result<(), Error> {
        let opened = read::open(source, progress)?;
        self.fold.input(opened, &Plan::new(checks, &self.options, progress)).map(drop)
    }

    /// Returns the part. The next one has the next number.
    ///
    /// # Errors
    /// The position of the part is too high, or keys came after records of their device.
    pub fn finish(&mut self, checks: &Checks<'_>, progress: &Arc<Progress>) -> Result<Part, Error> {
        let input = Input {
            name: Arc::clone(&self.name),
            format: "records".into(),
            entries: self.fold.entries(),
            bytes: None,
            modified: None,
            path: None,
        };
        let plan = Plan::new(checks, &self.options, progress);
        let Folded { segments, kept, inputs, .. } = self.fold.finish(vec![input], &plan)?;
        let part = Part::new(checks, self.options.order, self.number, inputs, segments, kept)?;
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
    let mut decoded = Vec::new();
    for (row, (device_id, bytes)) in (1..).zip(rows) {
        decoded.push((device_id.map(Arc::from), decode_row(row, device_id, bytes)?));
    }
    Ok(Part::from_rows(decoded)?)
}

fn decode_row(row: u64, device_id: Option<&str>, bytes: &[u8]) -> Result<RowState, RowError> {
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
    postcard::to_stdvec(&row.state).ok()
}

/// Decodes the state of a row. Memory is limited by the size of the bytes.
pub(crate) fn decode_state(content: &[u8]) -> Option<RowState> {
    match postcard::take_from_bytes(content) {
        Ok((state, [])) => Some(state),
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
