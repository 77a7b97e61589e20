//! The statement that a proof file proves.

use std::fmt;

use edgesentry_chain::AuditRecord;

use crate::checkpoint::Checkpoint;
use crate::consistency::{ConsistencyProof, ConsistencyProofError};
use crate::heads::HeadEntry;
use crate::heads_proof::{DeviceState, HeadsProof, HeadsProofError};
use crate::leaf::Leaf;
use crate::level::MaxAge;
use crate::log_proof::{LogProof, LogProofError};
use crate::note::Note;
use crate::policy::{Policy, PolicyError, TrustedCheckpoint};
use crate::proof::ProofError;
use crate::run_proof::{MAX_RUN_PROOF_BYTES, RunProof, RunProofError};

/// The reason why a file proves no statement, or another one than expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofFileError {
    /// Larger than [`MAX_RUN_PROOF_BYTES`].
    #[error("the proof has {0} bytes, the limit is {MAX_RUN_PROOF_BYTES}")]
    TooLarge(usize),
    /// The first line is not the header of a proof.
    #[error(
        "the first line is not that of a proof: expected c2sp.org/tlog-proof@v1, edgesentry-run-proof@v1, \
         edgesentry-heads-proof@v1 or edgesentry-consistency-proof@v1"
    )]
    Header,
    /// The proof of a leaf is malformed or does not hold.
    #[error(transparent)]
    Log(#[from] LogProofError),
    /// The proof of a run is malformed or does not hold.
    #[error(transparent)]
    Run(#[from] RunProofError),
    /// The proof of a head is malformed or does not hold.
    #[error(transparent)]
    Heads(#[from] HeadsProofError),
    /// The consistency proof is malformed or does not hold.
    #[error(transparent)]
    Consistency(#[from] ConsistencyProofError),
    /// A consistency proof without an older checkpoint.
    #[error(
        "a consistency proof is verified against the older checkpoint, which the verifier must have kept"
    )]
    NoPrevious,
    /// The proof holds, but for another statement.
    #[error("the proof holds, but not for the expected statement: expected {expected}, proven: {proven}")]
    Other {
        /// The expected statement.
        expected: String,
        /// The proven statement.
        proven: String,
    },
    /// The proof does not hold for the leaf of the caller.
    #[error("the proof does not hold for the given record: {0}")]
    OtherLeaf(ProofError),
    /// The checkpoint has fewer leaves than the verifier expects.
    #[error("the proof is of a checkpoint of size {size}, expected a size of at least {least}")]
    Small {
        /// The size of the checkpoint.
        size: u64,
        /// The expected size.
        least: u64,
    },
    /// A quorum signed the checkpoint too long ago.
    #[error("the proof is of an old checkpoint: expected {expected}, found: {actual}")]
    Stale {
        /// The expected age.
        expected: String,
        /// The actual age.
        actual: String,
    },
}

impl ProofFileError {
    /// Returns a stable name for programs.
    pub fn code(&self) -> &'static str {
        use ConsistencyProofError as Consistency;
        if let Some(error) = self.policy_error() {
            return error.code();
        }
        match self {
            _ if self.is_malformed() => "proof_malformed",
            ProofFileError::NoPrevious | ProofFileError::Log(LogProofError::NoLeaf) => "proof_incomplete",
            ProofFileError::Other { .. } | ProofFileError::OtherLeaf(_) => "proof_of_other",
            ProofFileError::Consistency(Consistency::OtherSize { .. } | Consistency::OtherLog { .. }) => {
                "proof_of_other"
            }
            ProofFileError::Consistency(_) => "checkpoint_inconsistent",
            ProofFileError::Small { .. } | ProofFileError::Stale { .. } => "checkpoint_stale",
            _ => "proof_invalid",
        }
    }

    /// Returns true if the bytes are not a proof.
    pub fn is_malformed(&self) -> bool {
        use ConsistencyProofError as Consistency;
        use HeadsProofError as Heads;
        let of_log = |error: &LogProofError| {
            use LogProofError::{Header, Line, Note, TooLarge};
            matches!(error, TooLarge(_) | Header | Line(_) | Note(_))
        };
        match self {
            ProofFileError::TooLarge(_) | ProofFileError::Header => true,
            ProofFileError::Log(error) | ProofFileError::Heads(Heads::Log(error)) => of_log(error),
            ProofFileError::Run(error) => {
                use RunProofError::{Header, Line, Note, TooLarge};
                matches!(error, TooLarge(_) | Header | Line(_) | Note(_))
            }
            ProofFileError::Heads(error) => {
                matches!(error, Heads::TooLarge(_) | Heads::Header | Heads::Line(_) | Heads::Entry(_))
            }
            ProofFileError::Consistency(error) => matches!(
                error,
                Consistency::TooLarge(_) | Consistency::Header | Consistency::Line(_) | Consistency::Note(_)
            ),
            _ => false,
        }
    }

    fn policy_error(&self) -> Option<&PolicyError> {
        use ConsistencyProofError as Consistency;
        match self {
            ProofFileError::Log(LogProofError::Policy(error))
            | ProofFileError::Run(RunProofError::Policy(error))
            | ProofFileError::Heads(HeadsProofError::Log(LogProofError::Policy(error)))
            | ProofFileError::Consistency(Consistency::Policy(error) | Consistency::Older(error)) => {
                Some(error)
            }
            _ => None,
        }
    }
}

/// A proof of any kind.
///
/// ```
/// use edgesentry_log::{Checkpoint, Expected, KeyType, LogProof, Policy, ProofFile, SignerKey, TreeHash};
/// use edgesentry_chain::{Device, Scheme};
/// use edgesentry_log::Leaf;
/// let record = Device::from_seed("lift-01", [7; 32], Scheme::Record).sign(1_700_000_001_000, b"door", "1.bin")?;
/// let leaf = Leaf::Record(record.clone());
/// let key = SignerKey::from_seed("log.example/lifts", KeyType::Ed25519, [7; 32])?;
/// let checkpoint = Checkpoint::new("log.example/lifts", 1, leaf.hash())?.sign(&key)?;
/// let proof = LogProof { extra: Some(leaf.to_bytes()), index: 0, path: Vec::new(), checkpoint };
///
/// let policy = Policy::parse(format!("log {}\nquorum none\n", key.verifier()).as_bytes())?;
/// let proof = ProofFile::parse(proof.to_string().as_bytes())?;
/// let proven = proof.verify(&policy, &Expected { record: Some(&record), ..Expected::default() })?;
/// assert_eq!(
///     proven.to_string(),
///     "the record of device \"lift-01\" with sequence 1 is leaf 0 of log \"log.example/lifts\" at size 1",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProofFile {
    /// A leaf is in the log.
    Leaf(LogProof),
    /// Consecutive records of a device are in the log.
    Run(RunProof),
    /// A device has this head, or is absent.
    Heads(HeadsProof),
    /// The log only grew.
    Consistency(ConsistencyProof),
}

/// The kinds of statements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StatementKind {
    /// A record is in the log.
    Record,
    /// Consecutive records of a device are in the log.
    Run,
    /// A leaf other than a record is in the log.
    Leaf,
    /// The last record of a device.
    Head,
    /// The log has no key of a device.
    Absence,
    /// A log extends an older checkpoint.
    Consistency,
}

impl StatementKind {
    /// All kinds.
    pub const ALL: [StatementKind; 6] = [
        StatementKind::Record,
        StatementKind::Run,
        StatementKind::Leaf,
        StatementKind::Head,
        StatementKind::Absence,
        StatementKind::Consistency,
    ];

    /// Returns the name: `record`, `run`, `leaf`, `head`, `absence` or `consistency`.
    pub fn name(self) -> &'static str {
        match self {
            StatementKind::Record => "record",
            StatementKind::Run => "run",
            StatementKind::Leaf => "leaf",
            StatementKind::Head => "head",
            StatementKind::Absence => "absence",
            StatementKind::Consistency => "consistency",
        }
    }
}

/// The statement and the checkpoint that the verifier expects. Without an expectation, a proof of any statement is
/// accepted.
#[derive(Clone, Copy, Default, Debug)]
pub struct Expected<'a> {
    /// The kind of the statement.
    pub kind: Option<StatementKind>,
    /// The record in the log; for a run, one of its records; for a heads proof, the head.
    pub record: Option<&'a AuditRecord>,
    /// The device.
    pub device_id: Option<&'a str>,
    /// The sequence of the record or head, or of the first record of a run.
    pub sequence: Option<u64>,
    /// The sequence of the last record of a run; by default, `sequence`.
    pub last_sequence: Option<u64>,
    /// The older checkpoint of a consistency proof.
    pub previous: Option<&'a Note>,
    /// The minimum size of the checkpoint, leaves.
    pub min_size: Option<u64>,
    /// The maximum age of the cosignatures of a quorum.
    pub max_age: Option<MaxAge>,
}

/// A proven statement. Exhaustive, so that every report handles each statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Statement {
    /// A record is in the log.
    Record {
        /// The index of its leaf.
        index: u64,
        /// The record.
        record: AuditRecord,
    },
    /// Consecutive records of a device are in the log, each linked to the one before it.
    Run {
        /// The indexes of their leaves.
        indexes: Vec<u64>,
        /// The records, at least one.
        records: Vec<AuditRecord>,
    },
    /// A leaf other than a record is in the log.
    Leaf {
        /// The index.
        index: u64,
        /// The bytes of the leaf; [`Leaf::parse`] reads them unless the kind is unknown.
        leaf: Vec<u8>,
    },
    /// The last record of a device.
    Head(HeadEntry),
    /// The log has no key of the device.
    Absent(String),
    /// The log extends this checkpoint.
    Extends(Checkpoint),
}

/// A statement with the checkpoint for which it holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// The statement.
    pub statement: Statement,
    /// The checkpoint.
    pub checkpoint: TrustedCheckpoint,
}

impl ProofFile {
    /// Parses a proof of any kind.
    ///
    /// # Errors
    /// The bytes are not a proof.
    pub fn parse(bytes: &[u8]) -> Result<ProofFile, ProofFileError> {
        if bytes.len() > MAX_RUN_PROOF_BYTES {
            return Err(ProofFileError::TooLarge(bytes.len()));
        }
        match bytes.split(|byte| *byte == b'\n').next() {
            Some(b"c2sp.org/tlog-proof@v1") => Ok(ProofFile::Leaf(LogProof::parse(bytes)?)),
            Some(b"edgesentry-run-proof@v1") => Ok(ProofFile::Run(RunProof::parse(bytes)?)),
            Some(b"edgesentry-heads-proof@v1") => Ok(ProofFile::Heads(HeadsProof::parse(bytes)?)),
            Some(b"edgesentry-consistency-proof@v1") => {
                Ok(ProofFile::Consistency(ConsistencyProof::parse(bytes)?))
            }
            _ => Err(ProofFileError::Header),
        }
    }

    /// Returns the signed checkpoint of the proof.
    pub fn checkpoint(&self) -> &Note {
        match self {
            ProofFile::Leaf(proof) => &proof.checkpoint,
            ProofFile::Run(proof) => &proof.checkpoint,
            ProofFile::Heads(proof) => proof.checkpoint(),
            ProofFile::Consistency(proof) => &proof.checkpoint,
        }
    }

    /// Verifies the proof, and that it proves the expected statement.
    ///
    /// # Errors
    /// The proof does not hold, or proves another statement.
    pub fn verify(&self, policy: &Policy, expected: &Expected<'_>) -> Result<Proven, ProofFileError> {
        let proven = match self {
            ProofFile::Leaf(proof) => leaf(proof, policy, expected)?,
            ProofFile::Run(proof) => {
                let proven = proof.verify(policy)?;
                let statement = Statement::Run { indexes: proven.indexes, records: proven.records };
                Proven { statement, checkpoint: proven.checkpoint }
            }
            ProofFile::Heads(proof) => {
                let proven = proof.verify(policy)?;
                let statement = match proven.state {
                    DeviceState::Present(entry) => Statement::Head(entry),
                    DeviceState::Absent => Statement::Absent(proof.device_id().to_owned()),
                };
                Proven { statement, checkpoint: proven.checkpoint }
            }
            ProofFile::Consistency(proof) => {
                let previous = expected.previous.ok_or(ProofFileError::NoPrevious)?;
                let (older, checkpoint) = proof.verify(previous, policy)?;
                Proven { statement: Statement::Extends(older.checkpoint().clone()), checkpoint }
            }
        };
        if let Some(expected) = expected.missed_by(&proven.statement) {
            return Err(ProofFileError::Other { expected, proven: proven.to_string() });
        }
        expected.check_age(&proven.checkpoint)?;
        Ok(proven)
    }
}

/// Formats the bytes that [`ProofFile::parse`] reads.
impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProofFile::Leaf(proof) => proof.fmt(f),
            ProofFile::Run(proof) => proof.fmt(f),
            ProofFile::Heads(proof) => proof.fmt(f),
            ProofFile::Consistency(proof) => proof.fmt(f),
        }
    }
}

fn leaf(proof: &LogProof, policy: &Policy, expected: &Expected<'_>) -> Result<Proven, ProofFileError> {
    // A proof from another tool may have another text in `extra`, or none.
    let given = expected.record.map(|record| Leaf::Record(record.clone()).to_bytes());
    let (leaf, checkpoint) = match &given {
        Some(leaf) => (leaf.as_slice(), verify_given(proof, leaf, policy)?),
        None => proof.verify_extra(policy)?,
    };
    let statement = match Leaf::parse(leaf) {
        Ok(Leaf::Record(record)) => Statement::Record { index: proof.index, record },
        _ => Statement::Leaf { index: proof.index, leaf: leaf.to_vec() },
    };
    Ok(Proven { statement, checkpoint })
}

fn verify_given(proof: &LogProof, leaf: &[u8], policy: &Policy) -> Result<TrustedCheckpoint, ProofFileError> {
    proof.verify(leaf, policy).map_err(|error| match error {
        LogProofError::Path(error) => ProofFileError::OtherLeaf(error),
        other => other.into(),
    })
}

impl Expected<'_> {
    /// Returns the first expectation that a statement misses.
    fn missed_by(&self, statement: &Statement) -> Option<String> {
        let missed = |missed: bool, text: &dyn Fn() -> String| missed.then(text);
        let kind = self.kind.filter(|kind| *kind != statement.kind());
        kind.map(|kind| format!("a statement of the kind {}", kind.name()))
            .or_else(|| {
                let device_id = self.device_id?;
                missed(statement.device_id() != Some(device_id), &|| format!("device {device_id:?}"))
            })
            .or_else(|| {
                let sequence = self.sequence?;
                missed(statement.sequence() != Some(sequence), &|| format!("sequence {sequence}"))
            })
            .or_else(|| {
                let last = self.last_sequence.or(self.sequence)?;
                missed(statement.last_sequence() != Some(last), &|| format!("{last} as the last sequence"))
            })
            .or_else(|| {
                let record = self.record?;
                let proven = match statement {
                    Statement::Record { record: proven, .. } => proven == record,
                    Statement::Run { records, .. } => records.contains(record),
                    Statement::Head(entry) => {
                        entry.device_id == record.device_id
                            && entry.sequence == record.sequence
                            && entry.record_hash == record.hash()
                    }
                    _ => false,
                };
                missed(!proven, &|| format!("the given record, {:?} {}", record.device_id, record.sequence))
            })
            .or_else(|| {
                let extends = matches!(statement, Statement::Extends(_));
                missed(self.previous.is_some() && !extends, &|| {
                    "that the log extends the older checkpoint".to_owned()
                })
            })
    }

    fn check_age(&self, checkpoint: &TrustedCheckpoint) -> Result<(), ProofFileError> {
        let size = checkpoint.checkpoint().size();
        if let Some(least) = self.min_size.filter(|least| size < *least) {
            return Err(ProofFileError::Small { size, least });
        }
        match self.max_age.and_then(|limit| limit.exceeded(checkpoint.quorum_time())) {
            Some((expected, actual)) => Err(ProofFileError::Stale { expected, actual }),
            None => Ok(()),
        }
    }
}

impl Statement {
    /// Returns the kind.
    pub fn kind(&self) -> StatementKind {
        match self {
            Statement::Record { .. } => StatementKind::Record,
            Statement::Run { .. } => StatementKind::Run,
            Statement::Leaf { .. } => StatementKind::Leaf,
            Statement::Head(_) => StatementKind::Head,
            Statement::Absent(_) => StatementKind::Absence,
            Statement::Extends(_) => StatementKind::Consistency,
        }
    }

    /// Returns the device, if the statement is about one.
    pub fn device_id(&self) -> Option<&str> {
        match self {
            Statement::Record { record, .. } => Some(&record.device_id),
            Statement::Run { records, .. } => records.first().map(|record| record.device_id.as_str()),
            Statement::Head(entry) => Some(&entry.device_id),
            Statement::Absent(device_id) => Some(device_id),
            Statement::Leaf { .. } | Statement::Extends(_) => None,
        }
    }

    /// Returns the sequence of the record or head, or of the first record of a run; 0 for a device without a record.
    pub fn sequence(&self) -> Option<u64> {
        match self {
            Statement::Record { record, .. } => Some(record.sequence),
            Statement::Run { records, .. } => records.first().map(|record| record.sequence),
            Statement::Head(entry) => Some(entry.sequence),
            Statement::Absent(_) | Statement::Leaf { .. } | Statement::Extends(_) => None,
        }
    }

    /// Returns the sequence of the last record of a run; of other statements, their sequence.
    pub fn last_sequence(&self) -> Option<u64> {
        match self {
            Statement::Run { records, .. } => records.last().map(|record| record.sequence),
            other => other.sequence(),
        }
    }
}

/// Formats the statement as one sentence without a full stop.
impl fmt::Display for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checkpoint = self.checkpoint.checkpoint();
        let (origin, size) = (checkpoint.origin(), checkpoint.size());
        match &self.statement {
            Statement::Record { index, record } => {
                let (device_id, sequence) = (&record.device_id, record.sequence);
                write!(f, "the record of device {device_id:?} with sequence {sequence} is leaf {index}")?;
            }
            Statement::Run { indexes, records } => {
                if let ([first, ..], [.., last], [from, ..], [.., to]) =
                    (&**records, &**records, &**indexes, &**indexes)
                {
                    let (device_id, first, last) = (&first.device_id, first.sequence, last.sequence);
                    write!(
                        f,
                        "the records of device {device_id:?} with sequences {first} to {last} are among "
                    )?;
                    write!(f, "leaves {from} to {to}")?;
                }
            }
            Statement::Leaf { index, leaf } => match leaf.first() {
                Some(kind) => {
                    write!(f, "a leaf of kind {kind:#04x} with {} bytes is leaf {index}", leaf.len())?
                }
                None => write!(f, "an empty leaf is leaf {index}")?,
            },
            Statement::Head(HeadEntry { device_id, sequence: 0, .. }) => {
                return write!(f, "device {device_id:?} has no record in log {origin:?} at size {size}");
            }
            Statement::Head(entry) => {
                let HeadEntry { device_id, sequence, record_hash, .. } = entry;
                return write!(
                    f,
                    "the last record of device {device_id:?} in log {origin:?} at size {size} has sequence {sequence} and \
                     hash {record_hash}"
                );
            }
            Statement::Absent(device_id) => {
                return write!(
                    f,
                    "log {origin:?} at size {size} has no key and no record of device {device_id:?}"
                );
            }
            Statement::Extends(older) => {
                let old = older.size();
                return write!(f, "log {origin:?} at size {size} extends the older checkpoint of size {old}");
            }
        }
        write!(f, " of log {origin:?} at size {size}")
    }
}
