//! What a device remembers of updates: the protection against rollback. It survives a loss of power at any time.
//!
//! It has two slots. A write goes to the slot that is not in use, so that the other one stays valid until the write is
//! complete; a reader takes the valid slot with the highest generation.

use edgesentry_chain::Hash;
use edgesentry_chain::canonical::Reader;

use crate::image::{Image, Verified};
use crate::manifest::{Manifest, ManifestError, check_name};
use crate::refusal::Refusal;
use crate::trust::Trusted;

/// The size of one slot, in bytes: the sector of most media.
pub const SLOT_BYTES: usize = 512;
/// The size of both slots, in bytes.
pub const STATE_BYTES: usize = 2 * SLOT_BYTES;

const MAGIC: &[u8; 8] = b"edsupst1";
const CHECKSUM_CONTEXT: &str = "edgesentry 2026 update state v1";
/// Magic, generation, name, three versions and times, image, and the checksum.
const USED_BYTES: usize = 8 + 8 + 32 + 8 + 8 + 8 + 8 + 32 + 32;

/// What a device remembers of the updates that it has accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    generation: u64,
    /// The hash of the product's name: a state belongs to one product.
    name_hash: Hash,
    minimum_version: u64,
    version: u64,
    image_hash: Hash,
    /// The time of the last acceptance: the clock of the device counts from there, even if it is set back.
    accepted_ms: u64,
    expires_ms: u64,
}

/// Neither slot is valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither slot of the update state is valid; it is damaged or was never created, and a new one would accept old versions"
)]
#[non_exhaustive]
pub struct StateDamaged;

impl State {
    /// Creates the state of a device that has accepted no update. Only for a new device: it accepts every version.
    ///
    /// # Errors
    /// The name of the product cannot be used.
    pub fn new(name: &str) -> Result<State, ManifestError> {
        check_name(name).map_err(ManifestError::Name)?;
        Ok(State {
            generation: 1,
            name_hash: Hash::of(name.as_bytes()),
            minimum_version: 0,
            version: 0,
            image_hash: Hash::ZERO,
            accepted_ms: 0,
            expires_ms: 0,
        })
    }

    /// Returns the lowest version that the device accepts.
    pub fn minimum_version(&self) -> u64 {
        self.minimum_version
    }

    /// Returns the highest version that the device has accepted; 0 before the first.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns true if the last accepted manifest has expired: a newer one may exist and be withheld.
    pub fn is_stale(&self, now_ms: u64) -> bool {
        self.expires_ms <= now_ms.max(self.accepted_ms)
    }

    /// Checks a manifest against the state. A device without a clock passes 0: it then counts from its last acceptance.
    ///
    /// The highest version that the device has accepted is accepted again, so that an installation that was interrupted can
    /// be repeated.
    ///
    /// # Errors
    /// [`Refusal::OtherName`], [`Refusal::Expired`], [`Refusal::Rollback`], [`Refusal::Conflict`].
    pub fn admit(&self, trusted: Trusted, now_ms: u64) -> Result<Admitted, Refusal> {
        let manifest = trusted.manifest();
        let (version, expires_ms, actual) = (manifest.version, manifest.expires_ms, manifest.image_hash);
        if Hash::of(manifest.name.as_bytes()) != self.name_hash {
            let expected = "the product of the update state".to_owned();
            return Err(Refusal::OtherName { expected, actual: manifest.name.clone() });
        }
        let now_ms = now_ms.max(self.accepted_ms);
        if expires_ms <= now_ms {
            return Err(Refusal::Expired { expires_ms, now_ms });
        }
        if version < self.minimum_version {
            return Err(Refusal::Rollback { version, minimum_version: self.minimum_version });
        }
        if version == self.version && actual != self.image_hash {
            return Err(Refusal::Conflict { version, expected: self.image_hash, actual });
        }
        Ok(Admitted { trusted, now_ms })
    }

    /// Returns the state after an update. Write it durably before the image is started.
    #[must_use]
    pub fn after(&self, verified: &Verified) -> State {
        let (manifest, now_ms) = (verified.manifest(), verified.admitted().now_ms);
        // An accepted version below the highest one leaves that in place, with its image.
        let is_highest = manifest.version >= self.version;
        State {
            generation: self.generation.saturating_add(1),
            name_hash: self.name_hash,
            minimum_version: self.minimum_version.max(manifest.minimum_version),
            version: self.version.max(manifest.version),
            image_hash: if is_highest { manifest.image_hash } else { self.image_hash },
            accepted_ms: now_ms,
            expires_ms: self.expires_ms.max(manifest.expires_ms),
        }
    }

    /// Returns the slot to write, 0 or 1, and its bytes. The other slot must not change.
    pub fn encode(&self) -> (usize, [u8; SLOT_BYTES]) {
        let mut slot = [0; SLOT_BYTES];
        let mut end = 0;
        let mut put = |bytes: &[u8]| {
            slot[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        };
        put(MAGIC);
        put(&self.generation.to_le_bytes());
        put(self.name_hash.as_bytes());
        for number in [self.minimum_version, self.version, self.accepted_ms, self.expires_ms] {
            put(&number.to_le_bytes());
        }
        put(self.image_hash.as_bytes());
        let checksum = checksum(&slot[..USED_BYTES - 32]);
        slot[USED_BYTES - 32..USED_BYTES].copy_from_slice(&checksum);
        ((self.generation % 2) as usize, slot)
    }

    /// Returns the state that has accepted what both have: the higher versions and later times. It completes a write that
    /// an interruption has prevented; a state that has all of `other` comes back unchanged.
    #[must_use]
    pub fn joined(&self, other: &State) -> State {
        let mut joined = self.clone();
        if other.version > self.version {
            (joined.version, joined.image_hash) = (other.version, other.image_hash);
        }
        joined.minimum_version = self.minimum_version.max(other.minimum_version);
        joined.accepted_ms = self.accepted_ms.max(other.accepted_ms);
        joined.expires_ms = self.expires_ms.max(other.expires_ms);
        if joined != *self {
            // The generation chooses the slot of the write, which must not be the one in use.
            let next = self.generation.saturating_add(1);
            let later = other.generation.max(next);
            joined.generation = if later % 2 == next % 2 { later } else { later.saturating_add(1) };
        }
        joined
    }

    /// Returns true if both states are of the same product.
    pub fn is_of_product_of(&self, other: &State) -> bool {
        self.name_hash == other.name_hash
    }

    /// Returns both slots of a new state file or partition.
    pub fn encode_both(&self) -> [u8; STATE_BYTES] {
        let mut both = [0; STATE_BYTES];
        let (slot, bytes) = self.encode();
        both[slot * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(&bytes);
        both
    }

    /// Reads the state from both slots, in succession.
    ///
    /// # Errors
    /// Neither slot is valid. A device must then refuse updates, not begin a new state.
    pub fn decode(both: &[u8; STATE_BYTES]) -> Result<State, StateDamaged> {
        let (slots, _) = both.as_chunks::<SLOT_BYTES>();
        let read = slots
            .iter()
            .enumerate()
            .filter_map(|(at, slot)| decode_slot(slot).filter(|state| (state.generation % 2) as usize == at));
        read.max_by_key(|state| state.generation).ok_or(StateDamaged)
    }
}

fn decode_slot(slot: &[u8; SLOT_BYTES]) -> Option<State> {
    let (used, rest) = slot.split_at(USED_BYTES);
    let (content, sum) = used.split_at(USED_BYTES - 32);
    if checksum(content) != *sum || rest.iter().any(|byte| *byte != 0) {
        return None;
    }
    let mut reader = Reader::new(content.strip_prefix(MAGIC)?);
    Some(State {
        generation: number(&mut reader)?,
        name_hash: Hash(reader.array().ok()?),
        minimum_version: number(&mut reader)?,
        version: number(&mut reader)?,
        accepted_ms: number(&mut reader)?,
        expires_ms: number(&mut reader)?,
        image_hash: Hash(reader.array().ok()?),
    })
}

fn checksum(content: &[u8]) -> [u8; 32] {
    blake3::derive_key(CHECKSUM_CONTEXT, content)
}

fn number(reader: &mut Reader<'_>) -> Option<u64> {
    reader.array().ok().map(u64::from_le_bytes)
}

/// A manifest that the state of the device accepts. Only [`State::admit`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admitted {
    trusted: Trusted,
    now_ms: u64,
}

impl Admitted {
    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        self.trusted.manifest()
    }

    pub(crate) fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// Begins the check of the image.
    pub fn image(self) -> Image {
        Image::new(self)
    }
}
