//! The comparison with the witnesses of a policy: a log that shows a witness another tree has two histories.

use std::sync::Arc;

use edgesentry_chain::Hash;
use edgesentry_log::{KeyType, MAX_NOTE_BYTES, Note, Policy, PolicyWitness, TrustedCheckpoint, VerifierKey};
use futures::{StreamExt, stream};

use super::finding::{FailureKind, Found, WitnessView};
use super::source::{self, Access, Source};
use super::state::KnownWitness;
use super::{Failure, Monitor, Round, Shown, Signed, unverifiable};
use crate::error::Error;
use crate::log::WitnessState;
use crate::s3_settings::S3Settings;

/// How long a log may take to show a checkpoint that a witness has shown. A log publishes a checkpoint after a quorum has
/// signed it.
const MAX_AHEAD_MS: u64 = 10 * 60 * 1000;
/// Witnesses that are asked at once.
const WITNESSES_AT_ONCE: usize = 8;

/// A witness of the policy with a URL.
pub(super) struct WitnessSource {
    pub(super) name: String,
    key: VerifierKey,
    path: String,
    source: Arc<dyn Source>,
}

/// Opens the witnesses that have a URL.
pub(super) async fn open(
    policy: &Policy,
    origin: &str,
    access: Access,
    s3: &S3Settings,
) -> Result<Vec<WitnessSource>, Error> {
    let path = PolicyWitness::checkpoint_path(origin);
    let mut witnesses = Vec::new();
    for witness in policy.witnesses() {
        let Some(url) = &witness.url else { continue };
        witnesses.push(WitnessSource {
            name: witness.name.clone(),
            key: witness.key.clone(),
            path: path.clone(),
            source: source::open(url, access.clone(), s3).await?,
        });
    }
    Ok(witnesses)
}

/// The response of a witness.
pub(super) enum Asked {
    /// It cannot be read.
    Failed(Failure),
    /// It has signed no checkpoint of the log.
    Nothing,
    /// The signatures of the log and of the witness do not both hold.
    Untrusted(Found, Option<Signed>),
    /// Its last checkpoint of the log.
    Signed(Signed),
}

impl Asked {
    /// Returns the checkpoint, if the log has signed it.
    pub(super) fn signed(&self) -> Option<&Signed> {
        match self {
            Asked::Signed(signed) | Asked::Untrusted(_, Some(signed)) => Some(signed),
            _ => None,
        }
    }
}

impl WitnessSource {
    /// Returns the source of its checkpoints in the state: its verifier key.
    pub(super) fn id(&self) -> String {
        self.key.to_string()
    }

    /// Returns the last checkpoint that the witness shows; `None` if it has none.
    async fn note(&self) -> Result<Option<Note>, Failure> {
        let bytes = self.source.get(&self.path, MAX_NOTE_BYTES).await;
        let Some(bytes) = bytes.map_err(|failure| failure.of(FailureKind::Witness))? else { return Ok(None) };
        let note = Note::parse(&bytes).map_err(|error| {
            let problem = format!("not a signed note: {error}");
            Failure::new(self.source.place(), problem).of(FailureKind::Witness)
        })?;
        Ok(Some(note))
    }

    fn view(&self, state: WitnessState, size: Option<u64>) -> WitnessView {
        WitnessView { name: self.name.clone(), state, size }
    }

    /// Returns a finding about this witness.
    fn found(&self, code: &'static str, instance: String, message: String) -> Found {
        let mut found = unverifiable(code, &instance, message);
        found.subject = format!("{code} {}", self.key);
        found
    }

    /// Returns the finding of a witness that shows less than before.
    fn rolled_back(&self, size: Option<u64>, known: KnownWitness) -> Option<Found> {
        let before = match size {
            None if known.size == 0 && known.has_cosigned => {
                "a checkpoint, as it has cosigned one".to_owned()
            }
            None if known.size == 0 => return None,
            Some(size) if size >= known.size => return None,
            _ => format!("a checkpoint of size {} or more, which it has shown", known.size),
        };
        let now = size.map_or("none".to_owned(), |size| format!("size {size}"));
        let message = format!("witness {}: expected {before}, found {now}", self.name);
        Some(self.found("witness_rolled_back", now, message))
    }
}

impl Monitor {
    /// Asks each witness for its last checkpoint.
    pub(super) async fn witness_notes(&self) -> Vec<Asked> {
        let asked: Vec<_> = self.witnesses.iter().map(|witness| self.ask(witness)).collect();
        stream::iter(asked).buffered(WITNESSES_AT_ONCE).collect().await
    }

    async fn ask(&self, witness: &WitnessSource) -> Asked {
        let note = match witness.note().await {
            Ok(Some(note)) => note,
            Ok(None) => return Asked::Nothing,
            Err(failure) => return Asked::Failed(failure),
        };
        let signed = self.signed(&note);
        let verified = note.verify(self.log_keys().chain([&witness.key]));
        let is_cosigned = verified.is_ok_and(|signatures| {
            signatures.iter().any(|signature| signature.key.kind() == KeyType::CosignatureV1)
        });
        match signed {
            Some(signed) if is_cosigned => Asked::Signed(signed),
            signed => {
                let message = format!(
                    "witness {}: expected a checkpoint with the signatures of log {} and of the witness, found other \
                     or damaged signatures",
                    witness.name, self.origin
                );
                let instance = Hash::of(note.text().as_bytes()).to_string();
                Asked::Untrusted(witness.found("witness_not_compared", instance, message), signed)
            }
        }
    }

    /// Notes the witnesses that have cosigned a checkpoint of the log.
    pub(super) fn note_cosigned(&self, trusted: &TrustedCheckpoint, round: &mut Round) {
        for witness in &self.witnesses {
            if trusted.cosigned().iter().any(|cosigned| cosigned.witness == witness.name) {
                let known = KnownWitness { size: 0, has_cosigned: true };
                round.results.witnesses.push((witness.id(), known));
            }
        }
    }

    /// Compares the checkpoints of the witnesses with the log, after those up to the verified one were compared.
    pub(super) async fn compare_witnesses(
        &self,
        shown: Option<&Shown>,
        shown_size: u64,
        of_witnesses: Vec<Asked>,
        round: &mut Round,
    ) -> Result<(), Error> {
        let (known, verified) = (self.state.witnesses().await?, self.verified().await?);
        for (witness, asked) in self.witnesses.iter().zip(of_witnesses) {
            let known = known.get(&witness.id()).copied().unwrap_or_default();
            let size = asked.signed().map(Signed::size);
            let mut state = match asked {
                Asked::Failed(failure) => {
                    round.failures.push(failure);
                    WitnessState::Failed
                }
                Asked::Nothing => WitnessState::Never,
                Asked::Untrusted(found, signed) => {
                    round.find(found);
                    if let Some(signed) = signed {
                        self.compare_witness(witness, &signed, verified.as_ref(), shown, shown_size, round)
                            .await;
                    }
                    WitnessState::Failed
                }
                Asked::Signed(signed) => {
                    let known = KnownWitness { size: signed.size(), has_cosigned: true };
                    round.results.witnesses.push((witness.id(), known));
                    self.compare_witness(witness, &signed, verified.as_ref(), shown, shown_size, round).await
                }
            };
            if state != WitnessState::Failed
                && let Some(found) = witness.rolled_back(size, known)
            {
                round.find(found);
                state = if state == WitnessState::Contradicts { state } else { WitnessState::RolledBack };
            }
            round.witnesses.push(witness.view(state, size));
        }
        self.find_withheld(shown, shown_size, round).await
    }

    async fn compare_witness(
        &self,
        witness: &WitnessSource,
        theirs: &Signed,
        verified: Option<&Signed>,
        shown: Option<&Shown>,
        shown_size: u64,
        round: &mut Round,
    ) -> WitnessState {
        let id = witness.id();
        let shown = shown.map(|shown| &shown.signed);
        if verified.is_none_or(|verified| verified.size() < theirs.size()) {
            if let Some(verified) = verified {
                self.compare_by_tiles(&id, theirs, verified, round).await;
                if round.is_contradicted(&id, theirs) {
                    round.settle(&id, theirs);
                }
            }
            if let Some(shown) = shown.filter(|shown| shown.size() != theirs.size()) {
                self.compare_by_tiles(&id, theirs, shown, round).await;
            }
        }
        if round.is_contradicted(&id, theirs) {
            return WitnessState::Contradicts;
        }
        let is_same = |other: &Signed| other.id() == theirs.id();
        if verified.is_some_and(is_same) || shown.is_some_and(is_same) || round.is_settled(&id, theirs) {
            return WitnessState::Agrees;
        }
        if theirs.size() > shown_size {
            return WitnessState::Ahead;
        }
        let is_unfinished = round.failures.iter().any(|failure| failure.kind == FailureKind::Unfinished);
        if !is_unfinished {
            let size = theirs.size();
            let problem = format!("the checkpoint of size {size} waits for a verified checkpoint of the log");
            round.failures.push(Failure::new(witness.source.place(), problem).of(FailureKind::Witness));
        }
        WitnessState::Failed
    }

    /// Adds the findings of a log that has not shown the checkpoint of a witness for too long.
    async fn find_withheld(
        &self,
        shown: Option<&Shown>,
        shown_size: u64,
        round: &mut Round,
    ) -> Result<(), Error> {
        let (seen, now) = (self.state.seen().await?, (self.state.now_ms)());
        for witness in &self.witnesses {
            let id = witness.id();
            let withheld = seen.iter().find(|seen| {
                seen.source == id
                    && seen.signed.size() > shown_size
                    && !round.is_contradicted(&id, &seen.signed)
            });
            let Some(theirs) = withheld else { continue };
            let waited = now.saturating_sub(theirs.first_ms);
            if waited <= MAX_AHEAD_MS {
                continue;
            }
            let message = format!(
                "expected the tree of size {}, which witness {} has shown {} minutes ago, found a checkpoint of size \
                 {shown_size}",
                theirs.signed.size(),
                witness.name,
                waited / 60_000
            );
            let instance = theirs.signed.checkpoint.to_string();
            let mut found = witness.found("checkpoint_withheld", instance, message);
            found.evidence = vec![("witness.checkpoint", theirs.signed.note.to_string().into_bytes())];
            let log = shown.map(|shown| ("log.checkpoint", shown.signed.note.to_string().into_bytes()));
            found.evidence.extend(log);
            round.find(found);
        }
        Ok(())
    }
}
