//! Follows a log leaf by leaf: its root, the chains and keys of its devices, and every heads leaf.
//!
//! Unlike a verification of an export, a follower sees the leaves in the order of the log, and keeps no record. It can be
//! stored after any leaf and resumed.

mod devices;
mod heads;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use edgesentry_chain::canonical::{CanonicalError, Reader, write_varint};
use edgesentry_chain::{
    AuditRecord, FindingCode, Hash, Head, PublicKey, Scheme, Signed, signed_message, verify_signatures,
};

use self::devices::{Device, Replaced, SigningKey};
use self::heads::HeadsIndex;
use crate::hash::TreeHash;
use crate::leaf::{HeadsLeaf, KeyLeaf, Leaf, OpenedLeaf, RevokedLeaf};
use crate::level::shown_heads;
use crate::range::CompactRange;

/// The number of contradictions that a follower keeps; it counts the rest.
const MAX_CONTRADICTIONS: usize = 10_000;
/// Signatures that are verified at once.
const SIGNATURES_AT_ONCE: usize = 4096;
/// The limit of the memory for devices and keys.
const MAX_STATE_BYTES: usize = 1 << 30;
/// The number of keys that a follower keeps for a device. The stored state of a device has all of them.
const MAX_KEYS_OF_DEVICE: usize = 1000;
/// Keys of the operator between two calls of [`Follower::take_operator_keys`] that are named.
const MAX_OPERATOR_KEYS: usize = 1000;
/// Contradictions between two calls of [`Follower::take_contradictions`] that keep their leaf.
const MAX_LEAVES: usize = 32;
/// The version of the stored state.
const STATE_VERSION: u8 = 3;

/// The code of a leaf that cannot be read, because it is malformed or of an unknown kind.
pub const LEAF_UNREAD: &str = "leaf_unread";
/// The code of a key leaf that contradicts the keys or the records before it.
pub const KEY_CONTRADICTED: &str = "key_contradicted";
/// The code of contradictions that are only counted.
pub const FINDINGS_DROPPED: &str = "findings_dropped";

/// A leaf that contradicts the leaves before it, or cannot be checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// The name of a [`FindingCode`], [`LEAF_UNREAD`], [`KEY_CONTRADICTED`] or [`FINDINGS_DROPPED`].
    pub code: &'static str,
    /// The index of the leaf.
    pub index: u64,
    /// The bytes of the leaf, of the first contradictions only.
    pub leaf: Option<Vec<u8>>,
    /// The device.
    pub device_id: Option<String>,
    /// The sequence.
    pub sequence: Option<u64>,
    /// The expected content.
    pub expected: String,
    /// The actual content.
    pub actual: String,
    /// False if a leaf that could not be read may explain it.
    pub is_certain: bool,
    /// 1, or the number of contradictions that are only counted.
    pub count: u64,
}

/// The keys of a log that have replaced others and signed a record.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ReplacedKeys {
    /// Keys whose succession the old key has signed.
    pub by_device: u64,
    /// Keys that no record of the device states: the operator alone vouches for them.
    pub by_operator: u64,
}

impl ReplacedKeys {
    /// Returns the numbers in a stored state of a [`Follower`].
    ///
    /// # Errors
    /// [`FollowError::State`], [`FollowError::Version`].
    pub fn of_state(state: &[u8]) -> Result<ReplacedKeys, FollowError> {
        let mut reader = Reader::new(state);
        if reader.byte()? != STATE_VERSION {
            return Err(FollowError::Version);
        }
        reader.option()?;
        for _ in 0..3 {
            reader.varint()?;
        }
        Ok(ReplacedKeys { by_device: reader.varint()?, by_operator: reader.varint()? })
    }
}

/// The reason why a log cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The devices and keys need more memory than the limit.
    #[error("the devices and keys of the log need more than {MAX_STATE_BYTES} bytes of memory")]
    TooLarge,
    /// A stored state is damaged.
    #[error("the stored state of the log is damaged: {0}")]
    State(#[from] CanonicalError),
    /// A stored state is of another version, or its hashes do not fit its size.
    #[error("the stored state of the log is damaged or of another version")]
    Version,
}

/// Replays the leaves of a log in order. Memory is proportional to the number of devices and keys, about 500 bytes for a
/// device with one key.
///
/// ```
/// use edgesentry_chain::{Device, Scheme};
/// use edgesentry_log::{Follower, KeyLeaf, Leaf, OpenedLeaf};
/// let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
/// let opened = OpenedLeaf { origin: "log.example/lifts".into(), records_before: 0, previous: None, at_ms: 1 };
/// let key = KeyLeaf {
///     device_id: "lift-01".into(), valid_from: 1, public_key: *device.public_key()?.as_bytes(),
///     scheme: Scheme::Record, start: None, at_ms: 1,
/// };
/// let mut record = device.sign(1_700_000_001_000, b"door", "1.bin")?;
/// record.timestamp_ms += 1;
///
/// let mut follower = Follower::new("log.example/lifts");
/// for leaf in [Leaf::Opened(opened), Leaf::Key(key), Leaf::Record(record)] {
///     follower.push(&leaf.to_bytes())?;
/// }
/// assert_eq!(follower.take_contradictions()[0].code, "signature_invalid");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Follower {
    origin: String,
    range: CompactRange,
    /// Leaves of kind 01.
    records: u64,
    /// Heads leaves, which end batches.
    batches: u64,
    /// True if the last leaf is a heads leaf.
    ends_with_heads: bool,
    replaced: ReplacedKeys,
    /// The first records under keys of the operator, by device and sequence.
    operator_keys: Vec<(String, u64)>,
    /// The first leaf that could not be read, and their number.
    unread: Option<u64>,
    unread_leaves: u64,
    devices: BTreeMap<String, Device>,
    /// The number of uses of each public key, by scheme.
    schemes: HashMap<[u8; 32], [u32; 2]>,
    /// The devices with a key leaf in this batch.
    keyed: BTreeSet<String>,
    heads: HeadsIndex,
    /// The devices whose stored state is out of date.
    changed: Vec<String>,
    state_bytes: usize,
    contradictions: Vec<Contradiction>,
    /// Contradictions that are only counted, and the last of them.
    dropped: u64,
    last_dropped: Option<Contradiction>,
    unverified: Vec<Unverified>,
}

/// A signature that waits for its batch.
#[derive(Clone, Debug)]
struct Unverified {
    index: u64,
    record: AuditRecord,
    key: SigningKey,
    is_certain: bool,
}

impl Follower {
    /// Creates a follower before the first leaf of a log.
    pub fn new(origin: &str) -> Follower {
        Follower {
            origin: origin.to_owned(),
            range: CompactRange::default(),
            records: 0,
            batches: 0,
            ends_with_heads: false,
            replaced: ReplacedKeys::default(),
            operator_keys: Vec::new(),
            unread: None,
            unread_leaves: 0,
            devices: BTreeMap::new(),
            schemes: HashMap::new(),
            keyed: BTreeSet::new(),
            heads: HeadsIndex::default(),
            changed: Vec::new(),
            state_bytes: 0,
            contradictions: Vec::new(),
            dropped: 0,
            last_dropped: None,
            unverified: Vec::new(),
        }
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.range.end()
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> TreeHash {
        // The range starts at leaf 0, so it has a root.
        self.range.root().unwrap_or(TreeHash::EMPTY)
    }

    /// Returns the number of records.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Returns the number of devices.
    pub fn devices(&self) -> u64 {
        self.devices.len() as u64
    }

    /// Returns the numbers of keys that have replaced others, by their origin.
    pub fn replaced_keys(&self) -> ReplacedKeys {
        self.replaced
    }

    /// Returns the beginning of the device and the sequence of the first records under keys of the operator since the last
    /// call, at most 1,000.
    pub fn take_operator_keys(&mut self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.operator_keys)
    }

    /// Returns the number of leaves that could not be read.
    pub fn unread_leaves(&self) -> u64 {
        self.unread_leaves
    }

    /// Appends the next leaf.
    ///
    /// # Errors
    /// [`FollowError::TooLarge`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FollowError> {
        let index = self.size();
        self.range.push(TreeHash::of_leaf(bytes));
        self.ends_with_heads = false;
        let known = self.contradictions.len();
        let leaf = Leaf::parse(bytes);
        if index == 0 && !matches!(leaf, Ok(Leaf::Opened(_))) {
            self.not_opened(index, "another leaf");
        }
        match leaf {
            Ok(Leaf::Record(record)) => self.record(index, record),
            Ok(Leaf::Heads(leaf)) => self.heads(index, &leaf),
            Ok(Leaf::Key(leaf)) => self.key(index, leaf),
            Ok(Leaf::Revoked(leaf)) => self.revoked(&leaf),
            Ok(Leaf::Opened(leaf)) => self.opened(index, &leaf),
            Ok(Leaf::Erased(_)) => {}
            Ok(Leaf::Unknown { kind, .. }) => {
                self.unread(index, format!("a leaf of the unknown kind {kind:#04x}"))
            }
            Err(error) => self.unread(index, error.to_string()),
        }
        for found in self.contradictions.iter_mut().take(MAX_LEAVES).skip(known) {
            if found.index == index {
                found.leaf = Some(bytes.to_owned());
            }
        }
        if self.unverified.len() >= SIGNATURES_AT_ONCE {
            self.verify_signatures();
        }
        if self.state_bytes > MAX_STATE_BYTES { Err(FollowError::TooLarge) } else { Ok(()) }
    }

    /// Checks the last leaf of a checkpoint, which must be a heads leaf.
    pub fn end_checkpoint(&mut self) {
        let Some(last) = self.size().checked_sub(1).filter(|_| !self.ends_with_heads) else { return };
        let expected = "a heads leaf as the last one of the checkpoint".to_owned();
        let code = FindingCode::HeadsMismatch.name();
        self.contradict(code, last, None, expected, "another leaf".to_owned());
    }

    /// Verifies the remaining signatures and returns the contradictions since the last call, in the order of the log.
    pub fn take_contradictions(&mut self) -> Vec<Contradiction> {
        self.verify_signatures();
        let mut found = std::mem::take(&mut self.contradictions);
        found.sort_by_key(|found| found.index);
        let count = std::mem::take(&mut self.dropped);
        found.extend(self.last_dropped.take().map(|last| {
            let actual = format!("{count} further contradictions");
            let expected = format!("at most {MAX_CONTRADICTIONS} contradictions");
            let code = FINDINGS_DROPPED;
            Contradiction { code, count, device_id: None, sequence: None, expected, actual, ..last }
        }));
        found
    }

    fn opened(&mut self, index: u64, leaf: &OpenedLeaf) {
        if index != 0 || leaf.origin != self.origin {
            self.not_opened(index, &format!("leaf {index} opens log {:?}", cut(&leaf.origin)));
        }
    }

    fn not_opened(&mut self, index: u64, actual: &str) {
        let expected = format!("leaf 0 opens log {}, and no other leaf opens one", self.origin);
        let code = FindingCode::CheckpointMismatch.name();
        self.contradict(code, index, None, expected, actual.to_owned());
    }

    fn unread(&mut self, index: u64, actual: String) {
        self.unread.get_or_insert(index);
        self.unread_leaves += 1;
        self.keep(Contradiction {
            code: LEAF_UNREAD,
            index,
            leaf: None,
            device_id: None,
            sequence: None,
            expected: "a leaf that this release can read".to_owned(),
            actual,
            is_certain: false,
            count: 1,
        });
    }

    fn key(&mut self, index: u64, leaf: KeyLeaf) {
        let KeyLeaf { device_id, valid_from, public_key, scheme, start, .. } = leaf;
        let key = PublicKey::from_bytes(public_key).ok();
        if key.is_none() {
            let actual = format!("key {} of device {:?}", hex::encode(public_key), cut(&device_id));
            self.unread(index, actual);
        }
        let key = SigningKey::new(valid_from, public_key, key, scheme, self.batches, index);
        let device = self.device(&device_id);
        let is_new = device.keys.is_empty();
        if device.keys.len() >= MAX_KEYS_OF_DEVICE && !device.has_key_from(valid_from) {
            let shown = cut(&device_id);
            self.unread(index, format!("more than {MAX_KEYS_OF_DEVICE} keys of device {shown:?}"));
            return;
        }
        match device.add_key(key, start) {
            Ok(None) => self.state_bytes += SigningKey::BYTES,
            Ok(Some(replaced)) => self.count_key(replaced.public_key, replaced.scheme, false),
            Err((expected, actual)) => {
                let about = Some((device_id.as_str(), valid_from));
                self.contradict(KEY_CONTRADICTED, index, about, expected, actual);
                return;
            }
        }
        self.count_key(public_key, scheme, true);
        if is_new {
            self.heads.grow();
        }
        self.touch(&device_id);
        self.keyed.insert(device_id);
    }

    fn count_key(&mut self, public_key: [u8; 32], scheme: Scheme, is_added: bool) {
        let uses = &mut self.schemes.entry(public_key).or_default()[usize::from(scheme == Scheme::Record)];
        *uses = if is_added { uses.saturating_add(1) } else { uses.saturating_sub(1) };
    }

    /// Compares the keys of the batch with those of all devices: a key belongs to one scheme (docs/reference/spec.md,
    /// step 2.3). Not before the end of the batch, as its leaves may replace each other's keys in any order.
    fn compare_schemes(&mut self) {
        for device_id in std::mem::take(&mut self.keyed) {
            let Some(device) = self.devices.get(&device_id) else { continue };
            let is_under_both = |key: &&SigningKey| {
                let uses = self.schemes.get(&key.public_key);
                key.batch == self.batches && uses.is_some_and(|uses| uses.iter().all(|uses| *uses > 0))
            };
            let wrong: Vec<SigningKey> = device.keys.iter().filter(is_under_both).cloned().collect();
            for key in wrong {
                let actual =
                    format!("key {} under the {} scheme as well", hex::encode(key.public_key), key.scheme);
                let expected = format!("a key under the {} scheme alone", key.scheme.other());
                let about = Some((device_id.as_str(), key.valid_from));
                self.contradict(KEY_CONTRADICTED, key.index, about, expected, actual);
            }
        }
    }

    fn revoked(&mut self, leaf: &RevokedLeaf) {
        let batch = self.batches;
        self.device(&leaf.device_id).revoke(leaf.revoked_from, batch);
        self.touch(&leaf.device_id);
    }

    fn record(&mut self, index: u64, record: AuditRecord) {
        self.records += 1;
        let hash = record.hash();
        let device = self.device(&record.device_id);
        let contradiction = device.link(&record, hash);
        let key = device.key_at(record.sequence);
        let (replaced, stated) = match &key {
            Ok(key) if contradiction.is_none() => {
                (device.replaced(record.sequence, key), device.state(&record, key))
            }
            _ => (Ok(None), Ok(())),
        };
        let about = Some((record.device_id.as_str(), record.sequence));
        if let Some((code, expected, actual)) = contradiction {
            self.contradict(code.name(), index, about, expected, actual);
        }
        match replaced {
            Ok(Some(Replaced::ByDevice)) => self.replaced.by_device += 1,
            Ok(Some(Replaced::ByOperator)) => {
                self.replaced.by_operator += 1;
                if self.operator_keys.len() < MAX_OPERATOR_KEYS {
                    self.operator_keys.push((cut(&record.device_id), record.sequence));
                }
            }
            Ok(None) => {}
            Err((code, expected, actual)) => self.contradict(code.name(), index, about, expected, actual),
        }
        if let Err((code, expected, actual)) = stated {
            self.contradict(code.name(), index, about, expected, actual);
        }
        self.touch(&record.device_id);
        match key {
            Ok(key) => {
                let is_certain = self.unread.is_none() && key.key.is_some();
                self.unverified.push(Unverified { index, record, key, is_certain });
            }
            Err((code, expected, actual)) => {
                self.contradict(code.name(), index, about, expected, actual);
            }
        }
    }

    fn heads(&mut self, index: u64, leaf: &HeadsLeaf) {
        self.ends_with_heads = true;
        self.compare_schemes();
        self.batches += 1;
        let (root, devices) = self.heads.root(&mut self.devices);
        let records = self.records;
        if (leaf.heads_root, leaf.devices, leaf.records) != (root, devices, records) {
            let expected = shown_heads(root, devices, records);
            let actual = shown_heads(leaf.heads_root, leaf.devices, leaf.records);
            self.contradict(FindingCode::HeadsMismatch.name(), index, None, expected, actual);
        }
    }

    /// Returns a device, a new one if the log has not named it yet.
    fn device(&mut self, device_id: &str) -> &mut Device {
        if !self.devices.contains_key(device_id) {
            self.state_bytes += Device::BYTES + 2 * device_id.len();
        }
        self.devices.entry(device_id.to_owned()).or_default()
    }

    fn touch(&mut self, device_id: &str) {
        let Some(device) = self.devices.get_mut(device_id) else { return };
        if !std::mem::replace(&mut device.is_changed, true) {
            self.changed.push(device_id.to_owned());
        }
        self.heads.touch(device_id, device);
    }

    fn contradict(
        &mut self,
        code: &'static str,
        index: u64,
        about: Option<(&str, u64)>,
        expected: String,
        actual: String,
    ) {
        let mut found = Contradiction {
            code,
            index,
            leaf: None,
            device_id: about.map(|(device_id, _)| device_id.to_owned()),
            sequence: about.map(|(_, sequence)| sequence),
            expected,
            actual,
            is_certain: self.unread.is_none(),
            count: 1,
        };
        if let Some(unread) = self.unread {
            found.actual.push_str(&format!("; leaf {unread}, which cannot be read, may explain it"));
        }
        self.keep(found);
    }

    fn keep(&mut self, found: Contradiction) {
        if self.contradictions.len() < MAX_CONTRADICTIONS {
            self.contradictions.push(found);
            return;
        }
        self.dropped += 1;
        // A certain one counts more than later ones that are not.
        let is_certain =
            found.is_certain || self.last_dropped.as_ref().is_some_and(|dropped| dropped.is_certain);
        self.last_dropped = Some(Contradiction { leaf: None, is_certain, ..found });
    }

    fn verify_signatures(&mut self) {
        let waiting = std::mem::take(&mut self.unverified);
        for at in invalid(&waiting) {
            let Unverified { index, record, key, is_certain } = &waiting[at];
            let expected =
                format!("a signature of the {} scheme by key {}", key.scheme, hex::encode(key.public_key));
            let has_leaf = self.contradictions.len() < MAX_LEAVES;
            self.keep(Contradiction {
                code: FindingCode::SignatureInvalid.name(),
                index: *index,
                leaf: has_leaf.then(|| Leaf::Record(record.clone()).to_bytes()),
                device_id: Some(record.device_id.clone()),
                sequence: Some(record.sequence),
                expected,
                actual: format!("signature {}", hex::encode(record.signature)),
                is_certain: *is_certain,
                count: 1,
            });
        }
    }
}

/// Returns the positions of invalid signatures. No signature holds under a key that cannot be used.
fn invalid(waiting: &[Unverified]) -> Vec<usize> {
    let usable = |(at, waiting): (usize, &Unverified)| Some((at, waiting.key.key.clone()?));
    let keys: Vec<_> = waiting.iter().enumerate().filter_map(usable).collect();
    let messages: Vec<[u8; 32]> =
        keys.iter().map(|(at, _)| signed_message(&waiting[*at].record, waiting[*at].key.scheme)).collect();
    let batch: Vec<Signed<'_>> = keys
        .iter()
        .zip(&messages)
        .map(|((at, key), message)| Signed { key, message, signature: &waiting[*at].record.signature })
        .collect();
    let mut bad: Vec<usize> = verify_signatures(&batch).into_iter().map(|at| keys[at].0).collect();
    bad.extend((0..waiting.len()).filter(|at| waiting[*at].key.key.is_none()));
    bad
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The stored state of a follower, without its devices.
impl Follower {
    /// Returns the state to store, without the devices.
    pub fn state(&self) -> Vec<u8> {
        let mut out = vec![STATE_VERSION, self.ends_with_heads.into()];
        let ReplacedKeys { by_device, by_operator } = self.replaced;
        for number in [self.size(), self.records, self.batches, by_device, by_operator, self.unread_leaves] {
            write_varint(&mut out, number);
        }
        out.push(self.unread.is_some().into());
        if let Some(unread) = self.unread {
            write_varint(&mut out, unread);
        }
        for hash in self.range.hashes() {
            out.extend_from_slice(&hash.0);
        }
        out
    }

    /// Returns the devices that changed since the last call, each with its state to store.
    pub fn take_changed(&mut self) -> Vec<(String, Vec<u8>)> {
        let changed = std::mem::take(&mut self.changed);
        let state = |device_id: String| {
            let device = self.devices.get_mut(&device_id)?;
            device.is_changed = false;
            let state = device.to_bytes();
            Some((device_id, state))
        };
        changed.into_iter().filter_map(state).collect()
    }

    /// Resumes a follower from its stored state and the states of all its devices.
    ///
    /// # Errors
    /// [`FollowError::State`], [`FollowError::Version`], [`FollowError::TooLarge`].
    pub fn resume(
        origin: &str,
        state: &[u8],
        devices: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<Follower, FollowError> {
        let mut reader = Reader::new(state);
        if reader.byte()? != STATE_VERSION {
            return Err(FollowError::Version);
        }
        let ends_with_heads = reader.option()?;
        let (size, records, batches) = (reader.varint()?, reader.varint()?, reader.varint()?);
        let replaced = ReplacedKeys { by_device: reader.varint()?, by_operator: reader.varint()? };
        let unread_leaves = reader.varint()?;
        let unread = if reader.option()? { Some(reader.varint()?) } else { None };
        let (hashes, rest) = reader.rest().as_chunks::<32>();
        let hashes: Vec<TreeHash> = hashes.iter().map(|hash| TreeHash(*hash)).collect();
        let range = CompactRange::from_hashes(0, size, &hashes).map_err(|_| FollowError::Version)?;
        if !rest.is_empty() {
            return Err(FollowError::Version);
        }
        let mut follower = Follower {
            range,
            records,
            batches,
            ends_with_heads,
            replaced,
            unread,
            unread_leaves,
            ..Follower::new(origin)
        };
        for (device_id, state) in devices {
            let device = Device::parse(&state)?;
            follower.state_bytes +=
                Device::BYTES + 2 * device_id.len() + device.keys.len() * SigningKey::BYTES;
            for key in &device.keys {
                follower.count_key(key.public_key, key.scheme, true);
            }
            if device.keys.iter().any(|key| key.batch == batches) {
                follower.keyed.insert(device_id.clone());
            }
            follower.devices.insert(device_id, device);
            if follower.state_bytes > MAX_STATE_BYTES {
                return Err(FollowError::TooLarge);
            }
        }
        follower.heads.grow();
        Ok(follower)
    }
}

/// The head of a chain in the log, or its start.
pub(crate) fn entry_head(head: Option<Head>, start: Option<Head>) -> (Head, Head) {
    let start = start.unwrap_or(Head { sequence: 0, hash: Hash::ZERO });
    (head.unwrap_or(Head { sequence: 0, hash: start.hash }), start)
}
