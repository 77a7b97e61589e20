//! The inputs of the level `log`: policy, checkpoints and layout, read from files.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use edgesentry_chain::{Finding, FindingCode, Report, TimeStamp};
use edgesentry_log::{
    LogCheck, LogInputs, MAX_NOTE_BYTES, MAX_POLICY_BYTES, MaxAge, Note, NoteError, Places, PlacesError,
    Policy, PolicyError,
};
use serde::{Deserialize, Serialize};

use crate::bounded::read_start;
use crate::stamps::{CertificatesError, MAX_CERTIFICATES_BYTES, MAX_STAMP_BYTES, StampCheck, TrustedRoots};

/// A file of the level `log` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
#[non_exhaustive]
pub struct LogFileError {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub problem: LogFileProblem,
}

/// The reason why a file of the level `log` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogFileProblem {
    /// It cannot be read.
    #[error("cannot read: {0}")]
    Read(#[from] io::Error),
    /// It is not a checkpoint.
    #[error("not a checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    /// It is not a policy.
    #[error("not a policy: {0}")]
    Policy(#[from] PolicyError),
    /// It is not a layout.
    #[error("not a layout of a log: {0}")]
    Layout(#[from] PlacesError),
    /// It does not have the roots of time stamping authorities.
    #[error("not a file of trusted roots of time stamping authorities: {0}")]
    Roots(#[from] CertificatesError),
    /// A layout is a device, a FIFO or a directory.
    #[error("not a regular file, which a layout must be; copy it to a file")]
    NotAFile,
    /// A layout that was found beside the export is larger than 1 GiB.
    #[error("the layout beside the export has {0} bytes, more than 1 GiB; name it as the layout to read it")]
    LargeLayout(u64),
}

/// The largest layout that is read if only its name beside the export leads to it.
const MAX_FOUND_LAYOUT_BYTES: u64 = 1 << 30;

/// The files of the level `log`.
#[derive(Clone, Copy, Debug)]
pub struct LogPaths<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Path,
    /// The policy of the auditor.
    pub policy: &'a Path,
    /// The layout, beside the export: see [`layout_path`].
    pub layout: Option<&'a Path>,
    /// True if the layout was found beside the export, and not named.
    pub is_found: bool,
    /// An earlier checkpoint that the auditor kept.
    pub previous: Option<&'a Path>,
    /// Time stamps of the checkpoint.
    pub timestamps: &'a [PathBuf],
    /// The roots of time stamping authorities that the auditor trusts; without them, no stamp is read.
    pub tsa_roots: Option<&'a Path>,
}

/// The bytes of the files, which workers on other machines parse.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogBytes {
    policy: FileBytes,
    checkpoint: FileBytes,
    layout: Option<FileBytes>,
    previous: Option<FileBytes>,
    timestamps: Vec<FileBytes>,
    tsa_roots: Option<FileBytes>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct FileBytes {
    /// For messages.
    name: String,
    bytes: Vec<u8>,
}

impl LogBytes {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, or policy or checkpoint are not what they should be.
    pub fn read(paths: &LogPaths<'_>) -> Result<LogBytes, LogFileError> {
        let policy = FileBytes::read(paths.policy, MAX_POLICY_BYTES)?;
        let checkpoint = FileBytes::read(paths.checkpoint, MAX_NOTE_BYTES)?;
        let trusted = policy.parse(|bytes| Ok(Policy::parse(bytes)?))?;
        let note = checkpoint.parse(|bytes| Ok(Note::parse(bytes)?))?;
        let read = |path, most| FileBytes::read(path, most);
        let previous = paths.previous.map(|path| read(path, MAX_NOTE_BYTES)).transpose()?;
        // A layout costs memory, so one for a checkpoint that the log did not sign is not read.
        let is_signed = matches!(trusted.evaluate(&note), Ok(_) | Err(PolicyError::QuorumMissing { .. }));
        let layout = paths.layout.filter(|_| is_signed);
        let layout = layout.map(|path| layout_bytes(path, paths.is_found)).transpose()?;
        let tsa_roots = paths.tsa_roots.map(|path| read(path, MAX_CERTIFICATES_BYTES)).transpose()?;
        let timestamps = match tsa_roots {
            None => Vec::new(),
            Some(_) => {
                let stamps = paths.timestamps.iter().map(|path| read(path, MAX_STAMP_BYTES));
                stamps.collect::<Result<_, _>>()?
            }
        };
        Ok(LogBytes { policy, checkpoint, layout, previous, timestamps, tsa_roots })
    }

    /// Returns the path of the checkpoint, as text.
    pub fn checkpoint_name(&self) -> &str {
        &self.checkpoint.name
    }
}

impl FileBytes {
    /// Reads a file. More bytes than `most` are not read; the parser refuses the first one beyond.
    fn read(path: &Path, most: usize) -> Result<FileBytes, LogFileError> {
        let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        let read = || read_start(File::open(path)?, most);
        let bytes = read().map_err(|error| LogFileError { path: path.to_owned(), problem: error.into() })?;
        Ok(FileBytes { name: path.display().to_string(), bytes })
    }

    fn parse<T>(&self, parse: impl FnOnce(&[u8]) -> Result<T, LogFileProblem>) -> Result<T, LogFileError> {
        parse(&self.bytes).map_err(|problem| LogFileError { path: PathBuf::from(&self.name), problem })
    }
}

/// The contents of the files.
#[derive(Clone, Debug)]
pub struct LogFiles {
    checkpoint: Note,
    policy: Policy,
    places: Option<Places>,
    previous: Option<Note>,
    stamps: Vec<TimeStamp>,
    invalid_stamps: Vec<Finding>,
}

impl LogFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    pub fn read(paths: &LogPaths<'_>) -> Result<LogFiles, LogFileError> {
        LogFiles::parse(&LogBytes::read(paths)?)
    }

    /// Parses files that were read.
    ///
    /// # Errors
    /// A file is not what it should be.
    pub fn parse(bytes: &LogBytes) -> Result<LogFiles, LogFileError> {
        let LogBytes { policy, checkpoint, layout, previous, timestamps, tsa_roots } = bytes;
        let note = |file: &FileBytes| file.parse(|bytes| Ok(Note::parse(bytes)?));
        let (policy, checkpoint) = (policy.parse(|bytes| Ok(Policy::parse(bytes)?))?, note(checkpoint)?);
        let previous = previous.as_ref().map(note).transpose()?;
        let places = layout.as_ref().map(|file| file.parse(|bytes| Ok(Places::parse(bytes)?))).transpose()?;
        let mut judged = Default::default();
        if let Some(file) = tsa_roots {
            let roots = file.parse(|bytes| Ok(TrustedRoots::from_pem(bytes)?))?;
            let check = StampCheck::new(&checkpoint, &roots);
            for stamp in timestamps {
                check.judge(&stamp.name.as_str().into(), &stamp.bytes, &mut judged);
            }
        }
        let (stamps, invalid_stamps) = judged;
        Ok(LogFiles { checkpoint, policy, places, previous, stamps, invalid_stamps })
    }

    /// Verifies the signatures, and starts the comparison of records with the checkpoint. `max_age` limits the age of the
    /// checkpoint at a time.
    pub fn check(&self, max_age: Option<MaxAge>) -> LogCheck<'_> {
        LogCheck::new(&LogInputs {
            policy: &self.policy,
            checkpoint: &self.checkpoint,
            places: self.places.as_ref(),
            previous: self.previous.as_ref(),
            max_age,
        })
        .with_stamps(self.stamps.clone(), self.invalid_stamps.clone())
    }
}

/// Reads the roots of time stamping authorities that the auditor trusts.
///
/// # Errors
/// The file cannot be read, or has no root, or a certificate that cannot be used.
pub fn read_tsa_roots(path: &Path) -> Result<TrustedRoots, LogFileError> {
    FileBytes::read(path, MAX_CERTIFICATES_BYTES)?.parse(|bytes| Ok(TrustedRoots::from_pem(bytes)?))
}

/// Returns the path of the layout of an export: `export.parquet.log`.
pub fn layout_path(export: &Path) -> PathBuf {
    let mut name = export.as_os_str().to_owned();
    name.push(".log");
    PathBuf::from(name)
}

/// Adds a hint to a report if the layout that was found beside an export lists erasures of payloads that are missing. A
/// layout that cannot be read gives no hint.
pub fn hint_erasures(report: &mut Report, layout: &Path) {
    if report.counts.contains_key(&FindingCode::PayloadMissing)
        && layout.is_file()
        && let Ok(places) = layout_of(layout, true)
    {
        report.hint_erased(|device_id, sequence| places.lists_erasure(device_id, sequence));
    }
}

fn layout_of(path: &Path, is_found: bool) -> Result<Places, LogFileError> {
    layout_bytes(path, is_found)?.parse(|bytes| Ok(Places::parse(bytes)?))
}

fn layout_bytes(path: &Path, is_found: bool) -> Result<FileBytes, LogFileError> {
    let problem = match std::fs::metadata(path) {
        Err(error) => Some(error.into()),
        // It has no limit of its own, so it must not be endless.
        Ok(metadata) if !metadata.is_file() => Some(LogFileProblem::NotAFile),
        Ok(metadata) if is_found && metadata.len() > MAX_FOUND_LAYOUT_BYTES => {
            Some(LogFileProblem::LargeLayout(metadata.len()))
        }
        Ok(_) => None,
    };
    match problem {
        Some(problem) => Err(LogFileError { path: path.to_owned(), problem }),
        None => FileBytes::read(path, usize::MAX),
    }
}
