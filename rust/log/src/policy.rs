//! Trust policies (C2SP tlog-policy): the known logs and witnesses, and the quorum of signatures.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::key::{KeyType, NoteKeyError, VerifierKey};
use crate::note::{Note, NoteError, VerifiedSignature};
use crate::text::parse_decimal;

/// The maximum size of a policy.
pub const MAX_POLICY_BYTES: usize = 128 << 10;
/// The maximum number of logs, of witnesses, and of groups.
const MAX_ITEMS: usize = 256;

/// The reason why a policy cannot be read, or why it does not trust a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Larger than [`MAX_POLICY_BYTES`].
    #[error("the policy has {0} bytes, the limit is {MAX_POLICY_BYTES}")]
    TooLarge(usize),
    /// A line is not UTF-8 or has a control character other than tab.
    #[error("line {0} of the policy must be UTF-8 without control characters")]
    Characters(usize),
    /// A line is not one of the four forms.
    #[error(
        "line {0} of the policy is not `log VKEY [URL]`, `witness NAME VKEY [URL]`, `group NAME all|any|K MEMBER...` or \
         `quorum NAME|none`"
    )]
    Line(usize),
    /// A key cannot be read.
    #[error("line {line} of the policy: {source}")]
    Key {
        /// The line.
        line: usize,
        /// The cause.
        source: NoteKeyError,
    },
    /// The key of a witness in place of that of a log, or vice versa.
    #[error("line {0} of the policy: a log needs a key of type 0x01, a witness one of type 0x04")]
    KeyType(usize),
    /// A key is repeated, perhaps under another name.
    #[error("line {0} of the policy: this public key is already in the policy")]
    KeyTwice(usize),
    /// A name is defined twice, or is `none`.
    #[error("line {line} of the policy: the name {name} is taken")]
    NameTaken {
        /// The line.
        line: usize,
        /// The name.
        name: String,
    },
    /// A name is used before it is defined.
    #[error("line {line} of the policy: no witness or group {name} is defined above")]
    UnknownName {
        /// The line.
        line: usize,
        /// The name.
        name: String,
    },
    /// A witness or group is a member of two groups.
    #[error("line {line} of the policy: {name} is already a member of a group")]
    MemberTwice {
        /// The line.
        line: usize,
        /// The name.
        name: String,
    },
    /// A threshold of 0, or above the number of members.
    #[error("line {0} of the policy: the threshold of a group is between 1 and the number of its members")]
    Threshold(usize),
    /// No quorum line, or several.
    #[error("a policy has exactly one quorum line")]
    Quorum,
    /// More than 256 logs, witnesses or groups.
    #[error("a policy has at most {MAX_ITEMS} logs, witnesses and groups each")]
    TooMany,
    /// The text of the note is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A signature of a known key is not valid, or no signature belongs to a known key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The policy has no log with this origin, or none of its keys has signed.
    #[error("the checkpoint has no signature by a key of log {0} in the policy")]
    UnknownLog(String),
    /// Too few witnesses have signed.
    #[error("the checkpoint lacks cosignatures: those of {cosigned:?} do not satisfy the quorum {quorum}")]
    QuorumMissing {
        /// The witnesses whose cosignatures hold.
        cosigned: Vec<String>,
        /// The quorum of the policy.
        quorum: String,
    },
}

/// A log of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyLog {
    /// The key; its name is the origin of the log.
    pub key: VerifierKey,
    /// The URL of the log.
    pub url: Option<String>,
}

/// A witness of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyWitness {
    /// The name within the policy.
    pub name: String,
    /// Its key.
    pub key: VerifierKey,
    /// The URL that accepts checkpoints.
    pub url: Option<String>,
}

impl PolicyWitness {
    /// Returns the path, below the URL of a witness, of the last checkpoint of a log that it has signed.
    pub fn checkpoint_path(origin: &str) -> String {
        format!("{}/checkpoint", hex::encode(Sha256::digest(origin)))
    }
}

/// A witness or group, by its index in the policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Group {
    name: String,
    threshold: usize,
    /// Witnesses, and groups defined before this one.
    members: Vec<Member>,
}

/// Known logs, known witnesses, and the quorum. It is the trust root of all proofs by checkpoints, so the verifier must
/// bring its own.
///
/// ```
/// use edgesentry_log::{Checkpoint, KeyType, Policy, SignerKey, TreeHash};
/// let log = SignerKey::from_seed("log.example/lifts", KeyType::Ed25519, [1; 32])?;
/// let key = |n: u8| SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [n; 32]);
/// let (first, second) = (key(2)?, key(3)?);
/// let text = format!(
///     "log {}\nwitness one {}\nwitness two {}\ngroup both all one two\nquorum both\n",
///     log.verifier(), first.verifier(), second.verifier(),
/// );
/// let policy = Policy::parse(text.as_bytes())?;
///
/// let checkpoint = Checkpoint::new("log.example/lifts", 1, TreeHash::of_leaf(b""))?;
/// let mut note = checkpoint.sign(&log)?;
/// note.add(checkpoint.cosign(&first, 1_800_000_000)?)?;
/// assert!(policy.evaluate(&note).is_err());
/// note.add(checkpoint.cosign(&second, 1_800_000_007)?)?;
/// let trusted = policy.evaluate(&note)?;
/// assert_eq!(trusted.quorum_time(), Some(1_800_000_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
}

/// A witness that has signed a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosigned {
    /// Its name in the policy.
    pub witness: String,
    /// The time, Unix seconds by its clock.
    pub time: u64,
}

/// A checkpoint that satisfies a policy. Only [`Policy::evaluate`] creates one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrustedCheckpoint {
    checkpoint: Checkpoint,
    cosigned: Vec<Cosigned>,
    quorum_time: Option<u64>,
}

impl TrustedCheckpoint {
    /// Returns the checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Returns the witnesses of the policy that have signed it, in policy order.
    pub fn cosigned(&self) -> &[Cosigned] {
        &self.cosigned
    }

    /// Returns the latest time, in Unix seconds, at or after which a whole quorum has signed. A few witnesses with
    /// wrong clocks cannot move it as long as the quorum needs others. `None` if the policy has no quorum.
    pub fn quorum_time(&self) -> Option<u64> {
        self.quorum_time
    }
}

impl PolicyError {
    /// Returns the name of the finding about a checkpoint that a policy refuses.
    pub fn code(&self) -> &'static str {
        match self {
            PolicyError::QuorumMissing { .. } => "witness_quorum_missing",
            _ => "checkpoint_untrusted",
        }
    }
}

impl Policy {
    /// Parses a policy: UTF-8, one item per line. Blank lines, and text after a `#` at the start of a word, are
    /// ignored.
    ///
    /// # Errors
    /// The policy is malformed or contradicts itself.
    pub fn parse(bytes: &[u8]) -> Result<Policy, PolicyError> {
        if bytes.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLarge(bytes.len()));
        }
        let mut reader = PolicyReader::default();
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = std::str::from_utf8(line).map_err(|_| PolicyError::Characters(at + 1))?;
            if line.contains(|c: char| c.is_control() && c != '\t') {
                return Err(PolicyError::Characters(at + 1));
            }
            let words = line.split([' ', '\t']).filter(|word| !word.is_empty());
            let words: Vec<&str> = words.take_while(|word| !word.starts_with('#')).collect();
            reader.line(at + 1, &words)?;
        }
        let quorum = reader.quorum.ok_or(PolicyError::Quorum)?;
        Ok(Policy { logs: reader.logs, witnesses: reader.witnesses, groups: reader.groups, quorum })
    }

    /// Returns the logs in order.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// Returns the witnesses in order.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Returns true if the policy requires witnesses.
    pub fn has_quorum(&self) -> bool {
        self.quorum.is_some()
    }

    /// Returns true if the witnesses whose keys `has` accepts are a quorum.
    pub fn is_quorum(&self, has: impl Fn(&VerifierKey) -> bool) -> bool {
        let times: Vec<_> = self.witnesses.iter().map(|witness| has(&witness.key).then_some(0)).collect();
        self.latest_quorum(&times).is_some()
    }

    /// Decides whether a checkpoint is trusted: a key of its log and a quorum of witnesses have signed it, and no
    /// signature line that names a known key is damaged.
    ///
    /// # Errors
    /// [`PolicyError::Checkpoint`], [`PolicyError::Note`], [`PolicyError::UnknownLog`], [`PolicyError::QuorumMissing`].
    pub fn evaluate(&self, note: &Note) -> Result<TrustedCheckpoint, PolicyError> {
        let checkpoint = Checkpoint::parse(note.text())?;
        let logs = self.logs.iter().map(|log| &log.key).filter(|key| key.name() == checkpoint.origin());
        let keys = logs.chain(self.witnesses.iter().map(|witness| &witness.key));
        let verified = match note.verify(keys) {
            Err(NoteError::NotTrusted) => Vec::new(),
            verified => verified?,
        };
        if verified.iter().all(|signature| signature.key.kind() != KeyType::Ed25519) {
            return Err(PolicyError::UnknownLog(checkpoint.origin().to_owned()));
        }
        let times = self.times(&verified);
        let cosigned = |(witness, time): (&PolicyWitness, &Option<u64>)| {
            time.map(|time| Cosigned { witness: witness.name.clone(), time })
        };
        let cosigned: Vec<Cosigned> = self.witnesses.iter().zip(&times).filter_map(cosigned).collect();
        let quorum_time = self.latest_quorum(&times).ok_or_else(|| PolicyError::QuorumMissing {
            cosigned: cosigned.iter().map(|cosigned| cosigned.witness.clone()).collect(),
            quorum: self.quorum.map_or("none", |member| self.name(member)).to_owned(),
        })?;
        Ok(TrustedCheckpoint { checkpoint, cosigned, quorum_time })
    }

    /// Returns the signing time of each witness.
    fn times(&self, verified: &[VerifiedSignature<'_>]) -> Vec<Option<u64>> {
        let time = |witness: &PolicyWitness| {
            verified
                .iter()
                .find(|signature| signature.key == &witness.key)
                .and_then(|signature| signature.time)
        };
        self.witnesses.iter().map(time).collect()
    }

    /// Returns the latest time at or after which a quorum has signed; `Some(None)` if no quorum is required.
    fn latest_quorum(&self, times: &[Option<u64>]) -> Option<Option<u64>> {
        let Some(quorum) = self.quorum else { return Some(None) };
        // A group has signed once its threshold K is reached: at the K-th latest time of its members.
        let mut groups: Vec<Option<u64>> = Vec::with_capacity(self.groups.len());
        let time = |member: &Member, groups: &[Option<u64>]| match member {
            Member::Witness(at) => times.get(*at).copied().flatten(),
            Member::Group(at) => groups.get(*at).copied().flatten(),
        };
        for group in &self.groups {
            let mut members: Vec<u64> =
                group.members.iter().filter_map(|member| time(member, &groups)).collect();
            members.sort_unstable_by(|a, b| b.cmp(a));
            groups.push(members.get(group.threshold - 1).copied());
        }
        time(&quorum, &groups).map(Some)
    }

    fn name(&self, member: Member) -> &str {
        match member {
            Member::Witness(at) => self.witnesses.get(at).map_or("", |witness| &witness.name),
            Member::Group(at) => self.groups.get(at).map_or("", |group| &group.name),
        }
    }
}

/// Formats the policy in its shortest form: no comments, one space between words.
impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = |url: &Option<String>| url.as_ref().map_or(String::new(), |url| format!(" {url}"));
        for log in &self.logs {
            writeln!(f, "log {}{}", log.key, url(&log.url))?;
        }
        for witness in &self.witnesses {
            writeln!(f, "witness {} {}{}", witness.name, witness.key, url(&witness.url))?;
        }
        for group in &self.groups {
            write!(f, "group {} {}", group.name, group.threshold)?;
            group.members.iter().try_for_each(|member| write!(f, " {}", self.name(*member)))?;
            writeln!(f)?;
        }
        writeln!(f, "quorum {}", self.quorum.map_or("none", |member| self.name(member)))
    }
}

/// The items read so far.
#[derive(Default)]
struct PolicyReader {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Option<Option<Member>>,
    names: BTreeMap<String, Member>,
    grouped: BTreeSet<String>,
    keys: BTreeSet<[u8; 32]>,
}

impl PolicyReader {
    fn line(&mut self, at: usize, words: &[&str]) -> Result<(), PolicyError> {
        let full = |items: usize| if items < MAX_ITEMS { Ok(()) } else { Err(PolicyError::TooMany) };
        match *words {
            [] => Ok(()),
            ["log", key, ref url @ ..] => {
                full(self.logs.len())?;
                let key = self.key(at, key, KeyType::Ed25519)?;
                self.logs.push(PolicyLog { key, url: optional(at, url)? });
                Ok(())
            }
            ["witness", name, key, ref url @ ..] => {
                full(self.witnesses.len())?;
                let key = self.key(at, key, KeyType::CosignatureV1)?;
                self.define(at, name, Member::Witness(self.witnesses.len()))?;
                self.witnesses.push(PolicyWitness { name: name.to_owned(), key, url: optional(at, url)? });
                Ok(())
            }
            ["group", name, threshold, ref members @ ..] => {
                full(self.groups.len())?;
                self.group(at, name, threshold, members)
            }
            ["quorum", name] => {
                let member = if name == "none" { None } else { Some(self.member(at, name)?) };
                if self.quorum.replace(member).is_some() { Err(PolicyError::Quorum) } else { Ok(()) }
            }
            _ => Err(PolicyError::Line(at)),
        }
    }

    fn key(&mut self, at: usize, text: &str, kind: KeyType) -> Result<VerifierKey, PolicyError> {
        let key: VerifierKey = text.parse().map_err(|source| PolicyError::Key { line: at, source })?;
        if key.kind() != kind {
            return Err(PolicyError::KeyType(at));
        }
        // One key under two names would count twice; with the key of a log as witness, the log would vouch for itself.
        if self.keys.insert(*key.key().as_bytes()) { Ok(key) } else { Err(PolicyError::KeyTwice(at)) }
    }

    fn group(&mut self, at: usize, name: &str, threshold: &str, members: &[&str]) -> Result<(), PolicyError> {
        let threshold = match threshold {
            "all" => Some(members.len()),
            "any" => Some(1),
            number => parse_decimal(number).and_then(|number| usize::try_from(number).ok()),
        };
        let threshold = threshold.ok_or(PolicyError::Line(at))?;
        if threshold == 0 || threshold > members.len() {
            return Err(PolicyError::Threshold(at));
        }
        let mut found = Vec::with_capacity(members.len());
        for member in members {
            found.push(self.member(at, member)?);
            if !self.grouped.insert((*member).to_owned()) {
                return Err(PolicyError::MemberTwice { line: at, name: (*member).to_owned() });
            }
        }
        self.define(at, name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { name: name.to_owned(), threshold, members: found });
        Ok(())
    }

    fn member(&self, line: usize, name: &str) -> Result<Member, PolicyError> {
        self.names.get(name).copied().ok_or_else(|| PolicyError::UnknownName { line, name: name.to_owned() })
    }

    fn define(&mut self, line: usize, name: &str, member: Member) -> Result<(), PolicyError> {
        if name == "none" || self.names.insert(name.to_owned(), member).is_some() {
            return Err(PolicyError::NameTaken { line, name: name.to_owned() });
        }
        Ok(())
    }
}

fn optional(line: usize, words: &[&str]) -> Result<Option<String>, PolicyError> {
    match *words {
        [] => Ok(None),
        [url] => Ok(Some(url.to_owned())),
        _ => Err(PolicyError::Line(line)),
    }
}
