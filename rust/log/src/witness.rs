//! Witnesses (C2SP tlog-witness): the request to cosign a checkpoint, the decision about it, and the response.

use std::collections::BTreeMap;
use std::fmt;

use edgesentry_chain::Hash;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::{MAX_SIZE, TreeHash};
use crate::key::{SignerKey, VerifierKey};
use crate::note::{Note, NoteError, NoteSignature};
use crate::policy::{Policy, PolicyError, PolicyWitness};
use crate::proof::{MAX_PATH, ProofError, shows_other_root, verify_consistency};
use crate::text::{parse_decimal, take_line};

/// The maximum size of a request to a witness.
pub const MAX_WITNESS_REQUEST_BYTES: usize = 16 << 10;
/// The maximum size of the response of a witness that is read.
pub const MAX_WITNESS_RESPONSE_BYTES: usize = 16 << 10;

/// The reason why the bytes are not a request to a witness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessRequestError {
    /// Larger than [`MAX_WITNESS_REQUEST_BYTES`].
    #[error("invalid input: the request has {0} bytes, the limit is {MAX_WITNESS_REQUEST_BYTES}")]
    TooLarge(usize),
    /// The first line is not `old SIZE`.
    #[error("invalid input: the first line of a request is `old SIZE`")]
    Old,
    /// A line before the empty line is not a hash, or there are more than 63.
    #[error(
        "invalid input: line {0} of the request is not a hash; a request has at most {MAX_PATH} hashes and then an empty line"
    )]
    Proof(usize),
    /// The rest is not a signed note.
    #[error("invalid input: {0}")]
    Note(#[from] NoteError),
    /// The text of the note is not a checkpoint.
    #[error("invalid checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// A request to cosign a checkpoint: the size of the last checkpoint that the witness is thought to have, a consistency
/// proof from it, and the note with the signature of the log.
///
/// ```
/// use edgesentry_log::{AddCheckpoint, Checkpoint, KeyType, SignerKey, TreeHash};
/// let key = SignerKey::from_seed("log.example/lifts", KeyType::Ed25519, [7; 32])?;
/// let note = Checkpoint::new("log.example/lifts", 1, TreeHash::of_leaf(b""))?.sign(&key)?;
/// let request = AddCheckpoint::new(0, Vec::new(), note)?;
/// assert_eq!(AddCheckpoint::parse(request.to_string().as_bytes())?, request);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddCheckpoint {
    old: u64,
    proof: Vec<TreeHash>,
    note: Note,
    origin: String,
    size: u64,
    root: TreeHash,
}

impl AddCheckpoint {
    /// Creates a request.
    ///
    /// # Errors
    /// The note is not a checkpoint, the proof has more than 63 hashes, or the request is too large.
    pub fn new(old: u64, proof: Vec<TreeHash>, note: Note) -> Result<AddCheckpoint, WitnessRequestError> {
        if old > MAX_SIZE {
            return Err(WitnessRequestError::Old);
        }
        if proof.len() > MAX_PATH {
            return Err(WitnessRequestError::Proof(MAX_PATH + 2));
        }
        let (origin, size, root) = Checkpoint::lines(note.text())?;
        // An empty tree with another root is inconsistent, not malformed.
        match Checkpoint::new(origin, size, root) {
            Ok(_) | Err(CheckpointError::EmptyRoot) => {}
            Err(error) => return Err(error.into()),
        }
        let origin = origin.to_owned();
        let request = AddCheckpoint { old, proof, note, origin, size, root };
        let bytes = request.to_string().len();
        if bytes > MAX_WITNESS_REQUEST_BYTES {
            return Err(WitnessRequestError::TooLarge(bytes));
        }
        Ok(request)
    }

    /// Parses a request of at most [`MAX_WITNESS_REQUEST_BYTES`].
    ///
    /// # Errors
    /// The bytes are not a request.
    pub fn parse(bytes: &[u8]) -> Result<AddCheckpoint, WitnessRequestError> {
        if bytes.len() > MAX_WITNESS_REQUEST_BYTES {
            return Err(WitnessRequestError::TooLarge(bytes.len()));
        }
        let mut text = std::str::from_utf8(bytes).map_err(|_| NoteError::Characters)?;
        let old = take_line(&mut text).and_then(|line| parse_decimal(line.strip_prefix("old ")?));
        let old = old.ok_or(WitnessRequestError::Old)?;
        let mut proof = Vec::new();
        loop {
            let wrong = WitnessRequestError::Proof(proof.len() + 2);
            match take_line(&mut text) {
                Some("") => break,
                Some(line) if proof.len() < MAX_PATH => proof.push(line.parse().map_err(|_| wrong)?),
                _ => return Err(wrong),
            }
        }
        AddCheckpoint::new(old, proof, Note::parse(text.as_bytes())?)
    }

    /// Returns the size from which the proof leads.
    pub fn old(&self) -> u64 {
        self.old
    }

    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the size of the checkpoint.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the root of the checkpoint.
    pub fn root(&self) -> TreeHash {
        self.root
    }

    /// Returns the consistency proof.
    pub fn proof(&self) -> &[TreeHash] {
        &self.proof
    }

    /// Returns the signed note.
    pub fn note(&self) -> &Note {
        &self.note
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}

/// The reason why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessRefusal {
    /// The request does not parse.
    #[error(transparent)]
    Malformed(#[from] WitnessRequestError),
    /// The witness does not know the log.
    #[error("unknown log: {0:?}")]
    UnknownLog(String),
    /// No signature is by a known key of the log, or such a signature does not hold.
    #[error("invalid signature: {0}")]
    Untrusted(NoteError),
    /// The proof leads from a larger tree.
    #[error("invalid input: the proof leads from size {old}, and the checkpoint has size {size}")]
    OldBeyond {
        /// The size in the request.
        old: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// The witness has cosigned another size than that from which the proof leads.
    #[error("the last cosigned checkpoint has size {size}; send a consistency proof from it")]
    Conflict {
        /// The size of the last cosigned checkpoint; 0 before the first.
        size: u64,
    },
    /// The empty tree has another root.
    #[error("the checkpoint of size 0 has another root than the empty tree")]
    EmptyRoot,
    /// The checkpoint is not shown to extend the last one.
    #[error("the consistency proof does not hold: {0}")]
    Inconsistent(ProofError),
}

impl WitnessRefusal {
    /// Returns the HTTP status of C2SP tlog-witness.
    pub fn status(&self) -> u16 {
        match self {
            WitnessRefusal::Malformed(_) | WitnessRefusal::OldBeyond { .. } => 400,
            WitnessRefusal::UnknownLog(_) => 404,
            WitnessRefusal::Untrusted(_) => 403,
            WitnessRefusal::Conflict { .. } => 409,
            WitnessRefusal::EmptyRoot | WitnessRefusal::Inconsistent(_) => 422,
        }
    }
}

/// The kind of evidence against a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum EvidenceKind {
    /// The log signed two trees with two roots for one size: either two checkpoints of this size, or a larger one whose
    /// consistency proof leads to another root at the size of the last cosigned one.
    TwoRoots,
}

impl EvidenceKind {
    /// Returns `two_roots`.
    pub fn name(self) -> &'static str {
        match self {
            EvidenceKind::TwoRoots => "two_roots",
        }
    }

    /// Parses the name.
    pub fn by_name(name: &str) -> Option<EvidenceKind> {
        [EvidenceKind::TwoRoots].into_iter().find(|kind| kind.name() == name)
    }
}

/// The decision of a witness about a request of a trusted log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessDecision {
    /// The checkpoint to cosign, encoded again from its parts; or the reason against it.
    pub outcome: Result<Checkpoint, WitnessRefusal>,
    /// The evidence that the request is, with the last cosigned checkpoint.
    pub evidence: Option<EvidenceKind>,
}

/// The logs whose checkpoints a witness cosigns, with their keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WitnessedLogs {
    keys: BTreeMap<String, Vec<VerifierKey>>,
}

impl WitnessedLogs {
    /// Reads the `log` lines of a policy. The quorum line may be missing.
    ///
    /// # Errors
    /// The policy is malformed.
    pub fn parse(bytes: &[u8]) -> Result<WitnessedLogs, PolicyError> {
        let policy = match Policy::parse(bytes) {
            Err(PolicyError::Quorum) => Policy::parse(&[bytes, b"\nquorum none\n"].concat())?,
            policy => policy?,
        };
        let mut keys: BTreeMap<String, Vec<VerifierKey>> = BTreeMap::new();
        for log in policy.logs() {
            keys.entry(log.key.name().to_owned()).or_default().push(log.key.clone());
        }
        Ok(WitnessedLogs { keys })
    }

    /// Returns the names of the logs in order.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Checks that a known key of the log has signed the checkpoint of a request, and that the size of its proof is not
    /// beyond the checkpoint. Returns the note without the lines of other keys.
    ///
    /// # Errors
    /// [`WitnessRefusal::UnknownLog`], [`WitnessRefusal::Untrusted`], [`WitnessRefusal::OldBeyond`], in this order.
    pub fn check(&self, request: &AddCheckpoint) -> Result<Note, WitnessRefusal> {
        let unknown = || WitnessRefusal::UnknownLog(request.origin.chars().take(80).collect());
        let keys = self.keys.get(&request.origin).ok_or_else(unknown)?;
        let verified = request.note.verify(keys).map_err(WitnessRefusal::Untrusted)?;
        let (old, size) = (request.old, request.size);
        if old > size {
            return Err(WitnessRefusal::OldBeyond { old, size });
        }
        let known: Vec<_> =
            verified.iter().map(|signature| (signature.key.name(), signature.key.id())).collect();
        Ok(request.note.retain(|line| known.contains(&(line.name(), line.id()))))
    }
}

/// Decides about a request that [`WitnessedLogs::check`] accepted. `last` is the last cosigned checkpoint of the log.
///
/// Any sender can attach a wrong proof to a good checkpoint, so a proof that does not hold is evidence only if it leads to
/// the root of the checkpoint: then it shows another root at the size of the last one.
pub fn decide_witness(request: &AddCheckpoint, last: Option<&Checkpoint>) -> WitnessDecision {
    let AddCheckpoint { old, ref proof, ref origin, size, root, .. } = *request;
    let (last_size, last_root) = last.map_or((0, TreeHash::EMPTY), |last| (last.size(), last.root()));
    let refuse = |refusal, evidence| WitnessDecision { outcome: Err(refusal), evidence };
    // A contradiction counts even if the response is the size.
    let differs = last.is_some_and(|last| size == last.size() && root != last.root());
    let two_roots = differs.then_some(EvidenceKind::TwoRoots);
    if old != last_size {
        return refuse(WitnessRefusal::Conflict { size: last_size }, two_roots);
    }
    let Ok(checkpoint) = Checkpoint::new(origin, size, root) else {
        return refuse(WitnessRefusal::EmptyRoot, two_roots);
    };
    match verify_consistency(last_size, last_root, size, root, proof) {
        Ok(()) => WitnessDecision { outcome: Ok(checkpoint), evidence: None },
        Err(error) => {
            let is_other = shows_other_root(last_size, last_root, size, root, proof);
            let two_roots = two_roots.or(is_other.then_some(EvidenceKind::TwoRoots));
            refuse(WitnessRefusal::Inconsistent(error), two_roots)
        }
    }
}

/// Returns the note of a witness: the text encoded again, the lines of the log, and the cosignature.
///
/// # Errors
/// [`NoteError`] if the key makes no cosignatures, or `signed` has too many lines.
pub fn cosigned_note(
    checkpoint: &Checkpoint,
    signed: &Note,
    key: &SignerKey,
    time: u64,
) -> Result<(Note, NoteSignature), NoteError> {
    let line = checkpoint.cosign(key, time)?;
    let lines = signed.signatures().iter().cloned().chain([line.clone()]);
    Ok((Note::assemble(&checkpoint.to_string(), lines)?, line))
}

/// Returns the path of the last cosigned checkpoint of a log below the URL of a witness.
pub fn witness_path(origin: &str) -> String {
    PolicyWitness::checkpoint_path(origin)
}

/// Returns the hash by which a witness recognises evidence that it already has.
pub fn evidence_digest(request: &AddCheckpoint) -> Hash {
    Hash::of(request.note.text().as_bytes())
}

/// The reason why the response of a witness is not the cosignature of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CosignatureError {
    /// The response is too large, not UTF-8, or a line is not a signature.
    #[error("the response is not signature lines of a note: {0}")]
    Lines(NoteError),
    /// No line is by the witness, or its line does not hold.
    #[error("the response has no valid cosignature of {witness}: {source}")]
    Invalid {
        /// The name of the key.
        witness: String,
        /// The cause.
        source: NoteError,
    },
}

/// Returns the verified cosignature of a witness from its response, and its time. Lines of other keys are ignored.
///
/// # Errors
/// See [`CosignatureError`].
pub fn read_cosignature(
    response: &[u8],
    text: &str,
    key: &VerifierKey,
) -> Result<(NoteSignature, u64), CosignatureError> {
    let lines = signature_lines(response).map_err(CosignatureError::Lines)?;
    let own = lines.into_iter().filter(|line| (line.name(), line.id()) == (key.name(), key.id()));
    let invalid = |source| CosignatureError::Invalid { witness: key.name().to_owned(), source };
    let own: Vec<NoteSignature> = own.collect();
    let line = own.first().cloned().ok_or_else(|| invalid(NoteError::NotTrusted))?;
    let note = Note::assemble(text, own).map_err(invalid)?;
    let verified = note.verify([key]).map_err(invalid)?;
    let time = verified.first().and_then(|signature| signature.time);
    time.map(|time| (line, time)).ok_or_else(|| invalid(NoteError::NotTrusted))
}

fn signature_lines(response: &[u8]) -> Result<Vec<NoteSignature>, NoteError> {
    if response.len() > MAX_WITNESS_RESPONSE_BYTES {
        return Err(NoteError::TooLarge(response.len()));
    }
    let text = std::str::from_utf8(response).map_err(|_| NoteError::Characters)?;
    text.lines().map(NoteSignature::parse).collect()
}

/// Returns the size in a response with status 409.
pub fn read_witness_size(response: &[u8]) -> Option<u64> {
    parse_decimal(std::str::from_utf8(response).ok()?.strip_suffix('\n')?)
}
