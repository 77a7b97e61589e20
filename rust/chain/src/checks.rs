//! What records are checked against: the inputs that the auditor brings, and what the side under test claims.

use std::collections::BTreeMap;

use crate::hash::Hash;
use crate::head::{Head, Heads};
use crate::key::KeyRing;
use crate::level::{InputKind, ProvidedBy, Providers};
use crate::record::AuditRecord;

/// Where payloads come from.
pub trait Payloads: Sync {
    /// BLAKE3 of the payload of `record`; `None` where the store proves that it has none. An error means that
    /// the question could not be answered, and ends the verification.
    fn payload_hash(&self, record: &AuditRecord) -> Result<Option<Hash>, PayloadError>;
}

/// A payload could not be read; this is a failure of ours, never a verdict.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the payload of device {device_id:?} sequence {sequence} at {object_ref:?}")]
pub struct PayloadError {
    /// The record's device.
    pub device_id: String,
    /// The record's sequence.
    pub sequence: u64,
    /// Where the payload should be.
    pub object_ref: String,
    /// What went wrong.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What records are checked against. Links are always checked; each further level if its input is given.
///
/// The fields but the last are what the auditor brings. What the side under test provides goes into `claims`: it is
/// checked as well, and the report says that it is a claim.
#[derive(Clone, Copy, Default)]
pub struct Checks<'a> {
    /// Public keys: signatures are checked.
    pub keys: Option<&'a KeyRing>,
    /// Payloads: they are hashed again.
    pub payloads: Option<&'a dyn Payloads>,
    /// Trusted heads, which the chains must contain.
    pub heads: Option<&'a Heads>,
    /// Heads after which the chains must begin, for an export that starts mid-chain.
    pub start_heads: Option<&'a Heads>,
    /// What the side under test provides.
    pub claims: Claims<'a>,
}

/// What the side under test provides.
#[derive(Clone, Copy, Default)]
pub struct Claims<'a> {
    /// Keys, used if the auditor brings none.
    pub keys: Option<Claim<'a, KeyRing>>,
    /// Payloads, used if the auditor brings none. They are evidence: their hash decides, whoever provides them.
    pub payloads: Option<Claim<'a, dyn Payloads + 'a>>,
    /// Heads, which the chains must contain as well as those of the auditor.
    pub heads: Option<Claim<'a, Heads>>,
    /// Heads after which chains begin of which the auditor brings no start head.
    pub start_heads: Option<Claim<'a, Heads>>,
}

/// Something that the side under test provides.
pub struct Claim<'a, T: ?Sized> {
    /// Who provides it.
    pub by: ProvidedBy,
    /// What is claimed.
    pub what: &'a T,
}

impl<T: ?Sized> Clone for Claim<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Claim<'_, T> {}

impl<'a> Checks<'a> {
    /// The keys that decide: those of the auditor, or else the claimed ones.
    pub fn key_ring(&self) -> Option<&'a KeyRing> {
        self.keys.or(self.claims.keys.map(|claim| claim.what))
    }

    /// By whom each input was provided.
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

    pub(crate) fn payload_source(&self) -> Option<&'a dyn Payloads> {
        match self.payloads {
            Some(payloads) => Some(payloads),
            None => self.claims.payloads.map(|claim| claim.what as &'a dyn Payloads),
        }
    }

    /// The link after which a chain must begin, and who says so.
    pub(crate) fn start_of(&self, device_id: &str) -> Option<(&'a Head, ProvidedBy)> {
        let brought = self.start_heads.and_then(|heads| heads.get(device_id));
        let brought = brought.map(|head| (head, ProvidedBy::Auditor));
        let claim = self.claims.start_heads;
        brought.or_else(|| claim.and_then(|claim| Some((claim.what.get(device_id)?, claim.by))))
    }

    /// The heads that a chain must contain, that of the auditor first. A claim that says the same is left out.
    pub(crate) fn heads_of(&self, device_id: &str) -> [Option<(&'a Head, ProvidedBy)>; 2] {
        let brought = self.heads.and_then(|heads| heads.get(device_id));
        let claim = self.claims.heads.and_then(|claim| Some((claim.what.get(device_id)?, claim.by)));
        let claim = claim.filter(|(head, _)| Some(*head) != brought);
        [brought.map(|head| (head, ProvidedBy::Auditor)), claim]
    }
}
