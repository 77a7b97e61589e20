//! Verifies one slice of records into [`Segments`] (docs/reference/spec.md, steps 1 to 6).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::checks::{Checks, PayloadError};
use crate::finding::{Evidence, Finding, FindingCode};
use crate::hash::Hash;
use crate::hash_many::{Function, LANES, hash_records};
use crate::head::Head;
use crate::key::{RingKey, Scheme, key_at};
use crate::record_ref::RecordRef;
use crate::runs::Order;
use crate::segment::{Basis, Found, HeadSight, Link, Segment, Segments, at_link};
use crate::signature::{Signed, verify_signatures, verify_singly};
use crate::succession::{Succession, SuccessionError};

/// The maximum length of text from a record in evidence: a device may have chosen it.
const MAX_SHOWN_CHARS: usize = 1000;

/// The number of other keys and schemes of bad signatures that are tried together.
const TRIES: usize = 4096;

/// One slice under verification.
pub(crate) struct Slice<'c, 'r> {
    checks: &'c Checks<'c>,
    order: Order,
    chains: Vec<Chain<'c>>,
    by_device: HashMap<&'r str, usize>,
    latest: Option<(&'r str, usize)>,
    signers: Vec<Signer<'r>>,
    found: Found,
    /// Records whose hashes are computed together.
    waiting: Vec<(RecordRef<'r>, u64)>,
    scratch: Vec<u8>,
}

struct Chain<'c> {
    device_id: Arc<str>,
    segment: Segment,
    keys: Option<&'c [RingKey]>,
    heads: [Option<&'c Head>; 2],
}

#[derive(Clone, Copy)]
struct Signer<'r> {
    chain: usize,
    key: &'r RingKey,
    message: [u8; 32],
    record: RecordRef<'r>,
    hash: Hash,
    index: u64,
}

impl Signer<'_> {
    fn link(&self) -> Link {
        Link::of(&self.record, self.hash, self.index)
    }

    fn signed(&self) -> Signed<'_> {
        Signed { key: &self.key.key, message: &self.message, signature: &self.record.signature }
    }

    /// Returns the message that a key registered for `scheme` signs.
    fn message_under(&self, scheme: Scheme) -> [u8; 32] {
        if scheme == self.key.scheme { self.message } else { self.record.signed_message(scheme) }
    }
}

/// A key and a scheme that a bad signature may belong to.
struct Try<'r> {
    /// The place of the signer.
    at: usize,
    key: &'r RingKey,
    scheme: Scheme,
    message: [u8; 32],
}

impl<'c: 'r, 'r> Slice<'c, 'r> {
    pub(crate) fn new(checks: &'c Checks<'c>) -> Slice<'c, 'r> {
        Slice::in_order(checks, Order::Position)
    }

    pub(crate) fn in_order(checks: &'c Checks<'c>, order: Order) -> Slice<'c, 'r> {
        Slice {
            checks,
            order,
            chains: Vec::new(),
            by_device: HashMap::new(),
            latest: None,
            signers: Vec::new(),
            found: Found::default(),
            waiting: Vec::with_capacity(LANES),
            scratch: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, record: RecordRef<'r>, index: u64) -> Result<(), PayloadError> {
        self.waiting.push((record, index));
        if self.waiting.len() == LANES { self.check_waiting() } else { Ok(()) }
    }

    /// Step 1: the record hashes. Then checks the records in their order.
    fn check_waiting(&mut self) -> Result<(), PayloadError> {
        let records = self.waiting.iter().map(|(record, _)| record);
        let hashes = hash_records(Function::Hash, records, &mut self.scratch);
        let waiting = std::mem::take(&mut self.waiting);
        for ((record, index), hash) in waiting.iter().zip(hashes) {
            self.check(record, *index, Hash(hash))?;
        }
        self.waiting = waiting;
        self.waiting.clear();
        Ok(())
    }

    fn check(&mut self, record: &RecordRef<'r>, index: u64, hash: Hash) -> Result<(), PayloadError> {
        let link = Link::of(record, hash, index);
        // Step 4: the link.
        let at = self.link(record.device_id, link);
        let checks = self.checks;
        let chain = &mut self.chains[at];
        // Step 2.2: the key; `finish` verifies the signatures of a slice together.
        if checks.key_ring().is_some() {
            match chain.keys {
                // Unknown device: the report has one finding per chain.
                None => chain.segment.tally.unsigned += 1,
                Some(keys) => match key_at(keys, record.sequence) {
                    None => chain.no_key_yet(&link, keys, &mut self.found),
                    Some(key) => {
                        // Step 12: the ring decides, so that a verdict depends on no other record.
                        if let Some(succession) = Succession::stated(record.object_ref) {
                            let checked = succession.and_then(|succession| succession.check_ref(record, key));
                            chain.succession(&link, keys, checked, &mut self.found);
                        }
                        // That of scheme record follows in `finish`.
                        let message = record.payload_hash.0;
                        self.signers.push(Signer { chain: at, key, message, record: *record, hash, index });
                    }
                },
            }
        }
        // Step 5: the payload.
        if let Some(payloads) = checks.payload_source().filter(|payloads| payloads.is_checked(record)) {
            let payload_hash = payloads.payload_hash(&record.to_record())?;
            chain.payload(&link, record, payload_hash, &mut self.found);
        }
        // Step 6: the heads.
        for (which, head) in chain.heads.into_iter().enumerate() {
            if let Some(head) = head.filter(|head| head.sequence == link.sequence) {
                let matches = head.hash == link.hash;
                chain
                    .segment
                    .see(which, if matches { HeadSight::Matches } else { HeadSight::Differs(link.hash) });
            }
        }
        Ok(())
    }

    fn link(&mut self, device_id: &'r str, link: Link) -> usize {
        let known = match self.latest {
            Some((latest, at)) if latest == device_id => Some(at),
            _ => self.by_device.get(device_id).copied(),
        };
        let continues = |at: &usize| {
            let last = self.chains[*at].segment.last.sequence;
            let is_near = link.sequence == last || Some(link.sequence) == last.checked_add(1);
            self.order == Order::Position || is_near
        };
        let at = match known.filter(continues) {
            Some(at) => {
                let chain = &mut self.chains[at];
                chain.segment.push(&chain.device_id, link, &mut self.found);
                at
            }
            None => {
                let keys = self.checks.key_ring().and_then(|ring| ring.keys(device_id));
                let heads = self.checks.heads_of(device_id).map(|head| head.map(|(head, _)| head));
                let mut segment = Segment::new(link, self.order);
                segment.basis = Basis::of(self.checks.key_ring().is_some().then_some(keys), heads);
                let id = known.map(|at| Arc::clone(&self.chains[at].device_id));
                let id = id.unwrap_or_else(|| device_id.into());
                self.chains.push(Chain { device_id: id, segment, keys, heads });
                self.by_device.insert(device_id, self.chains.len() - 1);
                self.chains.len() - 1
            }
        };
        self.latest = Some((device_id, at));
        at
    }

    /// Step 3: the signatures of the slice, in one batch.
    ///
    /// # Errors
    /// As [`Slice::push`], for the last records.
    pub(crate) fn finish(mut self) -> Result<Segments, PayloadError> {
        self.check_waiting()?;
        self.compute_messages();
        let signed: Vec<Signed<'_>> = self.signers.iter().map(Signer::signed).collect();
        let bad = verify_signatures(&signed);
        self.bad_signatures(&bad);
        for signer in &self.signers {
            let tally = &mut self.chains[signer.chain].segment.tally;
            match signer.key.scheme {
                Scheme::PayloadHash => tally.payload_hash_signatures += 1,
                Scheme::Record => tally.record_signatures += 1,
            }
        }
        let mut segments = Segments { found: self.found, ..Segments::default() };
        for chain in self.chains {
            segments.put(chain.device_id, chain.segment, self.order);
        }
        Ok(segments)
    }

    /// Step 3.4: records invalid signatures. Tries the other keys of their devices, and their own under the other scheme,
    /// to name a likely cause, never to accept a signature.
    fn bad_signatures(&mut self, bad: &[usize]) {
        let (mut first, mut tries) = (0, Vec::new());
        for (place, &at) in bad.iter().enumerate() {
            let signer = self.signers[at];
            let others = self.chains[signer.chain].keys.unwrap_or_default().iter();
            let others = others.filter(|key| key.key != signer.key.key).map(|key| (key, key.scheme));
            for (key, scheme) in others.chain([(signer.key, signer.key.scheme.other())]) {
                tries.push(Try { at, key, scheme, message: signer.message_under(scheme) });
            }
            if tries.len() >= TRIES || place + 1 == bad.len() {
                self.settle(&bad[first..=place], &tries);
                first = place + 1;
                tries.clear();
            }
        }
    }

    /// Records the invalid signatures `bad`, each with the first of its `tries` that holds.
    fn settle(&mut self, bad: &[usize], tries: &[Try<'_>]) {
        let signed = tries.iter().map(|tried| Signed {
            key: &tried.key.key,
            message: &tried.message,
            signature: &self.signers[tried.at].record.signature,
        });
        let mut failed = verify_singly(&signed.collect::<Vec<_>>()).into_iter().peekable();
        let holding = (0..tries.len()).filter(|at| failed.next_if_eq(at).is_none());
        let mut holding = holding.map(|at| &tries[at]).peekable();
        for &at in bad {
            let signer = self.signers[at];
            let cause = holding.next_if(|tried| tried.at == at);
            while holding.next_if(|tried| tried.at == at).is_some() {}
            self.chains[signer.chain].bad_signature(&signer, cause, &mut self.found);
        }
    }

    /// Computes the messages that scheme record signs.
    fn compute_messages(&mut self) {
        let of_record = self.signers.iter_mut().filter(|signer| signer.key.scheme == Scheme::Record);
        let mut of_record: Vec<&mut Signer<'r>> = of_record.collect();
        for group in of_record.chunks_mut(LANES) {
            let records = group.iter().map(|signer| &signer.record);
            let messages = hash_records(Function::RecordSignature, records, &mut self.scratch);
            for (signer, message) in group.iter_mut().zip(messages) {
                signer.message = message;
            }
        }
    }
}

impl Chain<'_> {
    fn finding(&self, code: FindingCode, link: &Link, expected: Evidence, actual: Evidence) -> Finding {
        at_link(code, &self.device_id, link, expected, actual)
    }

    fn no_key_yet(&mut self, link: &Link, keys: &[RingKey], found: &mut Found) {
        self.segment.tally.unsigned += 1;
        let first = keys.first().map_or(0, |key| key.valid_from);
        let actual = Evidence::text(format!("the device's first key is valid from sequence {first}"));
        let expected = Evidence::text(format!("a key valid at sequence {}", link.sequence));
        let finding = self.finding(FindingCode::KeyNotValidAtSequence, link, expected, actual);
        self.segment.fault(finding, found);
    }

    /// Records an invalid signature, which holds under `cause`.
    fn bad_signature(&mut self, signer: &Signer<'_>, cause: Option<&Try<'_>>, found: &mut Found) {
        let due = Evidence::Key { key: *signer.key.key.as_bytes(), scheme: signer.key.scheme };
        let (code, actual) = match cause.map(|cause| (*cause.key.key.as_bytes(), cause.scheme)) {
            Some((key, scheme)) if key == *signer.key.key.as_bytes() => {
                self.segment.tally.other_scheme[scheme as usize] += 1;
                (FindingCode::SignatureInvalid, Evidence::OtherScheme { key, scheme })
            }
            Some((key, scheme)) => (FindingCode::KeyNotValidAtSequence, Evidence::Key { key, scheme }),
            None => (FindingCode::SignatureInvalid, Evidence::Signature(Box::new(signer.record.signature))),
        };
        let finding = self.finding(code, &signer.link(), due, actual);
        self.segment.fault(finding, found);
    }

    /// Step 12: the succession holds, and the ring has its key from the next sequence on.
    fn succession(
        &mut self,
        link: &Link,
        keys: &[RingKey],
        checked: Result<RingKey, SuccessionError>,
        found: &mut Found,
    ) {
        let (expected, actual) = match checked.map_err(|error| error.evidence()) {
            Err(evidence) => evidence,
            Ok(new) => match key_at(keys, new.valid_from) {
                Some(key) if *key == new => return,
                key => (
                    key.map_or_else(
                        || "no key".to_owned(),
                        |key| format!("the key ring with {}", described(key)),
                    ),
                    format!("a succession to {}", described(&new)),
                ),
            },
        };
        let (expected, actual) = (Evidence::text(expected), Evidence::text(actual));
        let finding = self.finding(FindingCode::SuccessionInvalid, link, expected, actual);
        self.segment.fault(finding, found);
    }

    fn payload(
        &mut self,
        link: &Link,
        record: &RecordRef<'_>,
        payload_hash: Option<Hash>,
        found: &mut Found,
    ) {
        self.segment.tally.payloads += 1;
        let (code, expected, actual) = match payload_hash {
            Some(hash) if hash == record.payload_hash => return,
            Some(hash) => {
                (FindingCode::PayloadHashMismatch, Evidence::Hash(record.payload_hash), Evidence::Hash(hash))
            }
            None => {
                let expected = Evidence::text(format!("a payload at {:?}", shown(record.object_ref)));
                (FindingCode::PayloadMissing, expected, Evidence::text("nothing"))
            }
        };
        let finding = self.finding(code, link, expected, actual);
        self.segment.fault(finding, found);
    }
}

fn described(RingKey { key, scheme, valid_from }: &RingKey) -> String {
    format!("key {key} ({scheme}) from sequence {valid_from} on")
}

/// Shortens text of a record to the maximum length.
fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
