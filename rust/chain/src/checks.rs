//! The inputs of a verification: those of the auditor, and the claims of the side under test.

use std::collections::BTreeMap;
use std::fmt;

use crate::hash::Hash;
use crate::head::{Head, Heads};
use crate::key::KeyRing;
use crate::level::{InputKind, ProvidedBy, Providers};
use crate::record::AuditRecord;
use crate::record_ref::RecordRef;

/// A source of payloads.
pub trait Payloads: Sync {
    /// Returns the BLAKE3 hash of the payload of `record`, or `None` if the store proves that it has no such payload.
    /// An error ends the verification.
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError>;

    /// Returns false if the payload of a record is not checked, as it is not in the sample.
    fn is_checked(&self, _record: &RecordRef<'_>) -> bool {
        true
    }

    /// Reads the payloads of the records that are verified next, if several reads at a time are faster.
    fn prepare(&self, _records: &mut dyn Iterator<Item = &AuditRecord>) -> Result<(), PayloadError> {
        Ok(())
    }
}

/// A payload could not be read. This is a failure of the verifier, not a verdict.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the payload of device {device_id:?} sequence {sequence} at {object_ref:?}")]
pub struct PayloadError {
    /// The device of the record.
    pub device_id: String,
    /// The sequence of the record.
    pub sequence: u64,
    /// The object reference of the record.
    pub object_ref: String,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The inputs of a verification. Links are always checked; each further level is checked if its input is present.
///
/// The auditor provides all fields but the last. Inputs from the side under test belong in `claims`: they are checked
/// as well, and the report marks them as claims.
#[derive(Clone, Copy, Default)]
pub struct Checks<'a> {
    /// Public keys, to check signatures.
    pub keys: Option<&'a KeyRing>,
    /// Payloads, to be hashed again.
    pub payloads: Option<&'a dyn Payloads>,
    /// Trusted heads that the chains must contain.
    pub heads: Option<&'a Heads>,
    /// Heads that the chains must continue, for an export that starts mid-chain.
    pub start_heads: Option<&'a Heads>,
    /// Inputs from the side under test.
    pub claims: Claims<'a>,
}

/// Inputs from the side under test.
#[derive(Clone, Copy, Default)]
pub struct Claims<'a> {
    /// Keys, used if the auditor provides none.
    pub keys: Option<Claim<'a, KeyRing>>,
    /// Payloads, used if the auditor provides none. They are evidence: their hash decides, not their provider.
    pub payloads: Option<Claim<'a, dyn Payloads + 'a>>,
    /// Heads that the chains must contain, in addition to those of the auditor.
    pub heads: Option<Claim<'a, Heads>>,
    /// Start heads, used for chains for which the auditor provides none.
    pub start_heads: Option<Claim<'a, Heads>>,
}

/// An input from the side under test.
pub struct Claim<'a, T: ?Sized> {
    /// The provider.
    pub by: ProvidedBy,
    /// The claimed input.
    pub what: &'a T,
}

impl<T: ?Sized> fmt::Debug for Claim<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("by", &self.by).finish_non_exhaustive()
    }
}

impl<T: ?Sized> Clone for Claim<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Claim<'_, T> {}

impl<'a> Checks<'a> {
    /// Returns the keys that decide: those of the auditor, or else the claimed ones.
    pub fn key_ring(&self) -> Option<&'a KeyRing> {
        self.keys.or(self.claims.keys.map(|claim| claim.what))
    }

    /// Returns the providers of each input.
    pub fn providers(&self) -> Providers {
        let mut providers: Providers = BTreeMap::new();
        let mut add = |kind, by: Option<ProvidedBy>| {
            if let Some(by) = by {
                providers.entry(kind).or_default().insert(by);
            }
        };
        let auditor = |is_given: bool| is_given.then_some(ProvidedBy::Auditor);
        let Claims { keys, payloads, heads, start_heads } = self.claims;
        let claimed_keys = keys.map(|claim| claim.by);
        add(InputKind::Keys, auditor(self.keys.is_some()).or(claimed_keys));
        let claimed_payloads = payloads.map(|claim| claim.by);
        add(InputKind::Payloads, auditor(self.payloads.is_some()).or(claimed_payloads));
        add(InputKind::Heads, auditor(self.heads.is_some()));
        add(InputKind::Heads, heads.map(|claim| claim.by));
        add(InputKind::StartHeads, auditor(self.start_heads.is_some()));
        add(InputKind::StartHeads, start_heads.filter(|claim| !claim.what.is_empty()).map(|claim| claim.by));
        providers
    }

    /// Returns the source of payloads, if they are checked.
    pub fn payload_source(&self) -> Option<&'a dyn Payloads> {
        match self.payloads {
            Some(payloads) => Some(payloads),
            None => self.claims.payloads.map(|claim| claim.what as &'a dyn Payloads),
        }
    }

    /// Returns the link that a chain must continue, and its provider.
    pub(crate) fn start_of(&self, device_id: &str) -> Option<(&'a Head, ProvidedBy)> {
        let brought = self.start_heads.and_then(|heads| heads.get(device_id));
        let brought = brought.map(|head| (head, ProvidedBy::Auditor));
        let claim = self.claims.start_heads;
        brought.or_else(|| claim.and_then(|claim| Some((claim.what.get(device_id)?, claim.by))))
    }

    /// Returns the heads that a chain must contain, the auditor's first. A claim equal to the auditor's head is left
    /// out.
    pub(crate) fn heads_of(&self, device_id: &str) -> [Option<(&'a Head, ProvidedBy)>; 2] {
        let brought = self.heads.and_then(|heads| heads.get(device_id));
        let claim = self.claims.heads.and_then(|claim| Some((claim.what.get(device_id)?, claim.by)));
        let claim = claim.filter(|(head, _)| Some(*head) != brought);
        [brought.map(|head| (head, ProvidedBy::Auditor)), claim]
    }
}
