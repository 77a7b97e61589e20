//! The comparison of checkpoints that the log has signed: with each other, and with the verified tree.

use super::finding::{FindingClass, Found};
use super::state::Results;
use super::tiles::TileTree;
use super::witness::Asked;
use super::{Monitor, Round, Shown, Signed, unverifiable};
use crate::error::Error;

impl Monitor {
    /// Forgets checkpoints that no log key of the policy has signed, after a change of the policy.
    pub(super) async fn forget_unsigned(&self) -> Result<(), Error> {
        let mut round = Round::default();
        for seen in self.state.seen().await? {
            if self.signed(&seen.signed.note).is_none() {
                round.settle(&seen.source, &seen.signed);
            }
        }
        let Results { settled, .. } = round.results;
        if settled.is_empty() {
            return Ok(());
        }
        self.state.keep(Results { settled, ..Results::default() }).await
    }

    /// Keeps the checkpoints of this round until they are compared, and compares those of one size.
    pub(super) async fn hold(
        &self,
        shown: Option<&Shown>,
        of_witnesses: &[Asked],
        round: &mut Round,
    ) -> Result<(), Error> {
        let of_log = shown.map(|shown| (String::new(), shown.signed.clone()));
        let of_witnesses = self.witnesses.iter().zip(of_witnesses);
        let of_witnesses =
            of_witnesses.filter_map(|(witness, asked)| Some((witness.id(), asked.signed()?.clone())));
        let verified = self.verified().await?;
        let mut known: Vec<Signed> = verified.clone().into_iter().collect();
        known.extend(self.state.seen().await?.into_iter().map(|seen| seen.signed));
        let mut held = Vec::new();
        for (source, signed) in of_log.into_iter().chain(of_witnesses) {
            let is_other = |other: &&Signed| other.size() == signed.size() && other.id() != signed.id();
            if let Some(other) = known.iter().find(is_other) {
                self.contradict(&source, &signed, other, round).await;
            }
            // The verified tree has decided about its size.
            if verified.as_ref().is_none_or(|verified| verified.size() != signed.size()) {
                known.push(signed.clone());
                held.push((source, signed));
            }
        }
        if held.is_empty() { Ok(()) } else { self.state.hold(held).await }
    }

    /// Returns the largest size that the log shows; if it shows none, the largest one that it has shown.
    pub(super) async fn shown_size(&self, shown: Option<&Shown>) -> Result<u64, Error> {
        if let Some(shown) = shown {
            return Ok(shown.signed.size());
        }
        let seen = self.state.seen().await?;
        let seen = seen.iter().filter(|seen| seen.source.is_empty()).map(|seen| seen.signed.size()).max();
        let verified = self.verified().await?.map(|verified| verified.size());
        Ok(seen.max(verified).unwrap_or(0))
    }

    /// Compares the checkpoints that wait with the verified tree, as far as it reaches.
    pub(super) async fn settle(&self, shown: Option<&Shown>, round: &mut Round) -> Result<(), Error> {
        let seen = self.state.seen().await?;
        let verified = self.verified().await?;
        if let Some(shown) = shown {
            let largest = seen.iter().filter(|seen| seen.source.is_empty()).map(|seen| &seen.signed);
            let largest = largest.chain(&verified).max_by_key(|signed| signed.size());
            let rolled_back = largest.filter(|largest| largest.size() > shown.signed.size());
            if let Some(largest) = rolled_back {
                self.settle_rollback(&shown.signed, largest, round).await;
            }
        }
        let Some(verified) = verified else { return Ok(()) };
        // The replay compares a trusted one.
        let untrusted = shown.filter(|shown| !shown.is_trusted && shown.signed.size() > verified.size());
        if let Some(shown) = untrusted {
            self.compare_by_tiles("", &shown.signed, &verified, round).await;
        }
        let mut tree = TileTree::new(&*self.source, &verified.checkpoint);
        let mut has_failed = false;
        for seen in seen {
            if seen.signed.size() > verified.size() {
                continue;
            }
            let root = match seen.replayed_root {
                Some(root) => Ok(root),
                None if seen.signed.size() == verified.size() => Ok(verified.checkpoint.root()),
                // The other tiles cannot be read either.
                None if has_failed => continue,
                None => tree.root_at(seen.signed.size()).await,
            };
            match root {
                Ok(root) if root == seen.signed.checkpoint.root() => {}
                Ok(_) => {
                    self.contradict(&seen.source, &seen.signed, &verified, round).await;
                }
                Err(failure) => {
                    has_failed = true;
                    round.failures.push(failure);
                    continue;
                }
            }
            round.settle(&seen.source, &seen.signed);
        }
        Ok(())
    }

    /// Reports a log that shows an older checkpoint than before. If its tree is another one, the comparison with the
    /// verified tree reports that.
    async fn settle_rollback(&self, shown: &Signed, largest: &Signed, round: &mut Round) {
        if round.is_contradicted("", shown) {
            return;
        }
        let mut tree = TileTree::new(&*self.source, &largest.checkpoint);
        let root = tree.root_at(shown.size()).await;
        if root.as_ref().is_ok_and(|root| *root != shown.checkpoint.root()) {
            self.contradict("", shown, largest, round).await;
            return;
        }
        let message = format!(
            "expected a checkpoint of at least the size that the log has shown, {}, found size {}",
            largest.size(),
            shown.size()
        );
        let mut found = unverifiable("checkpoint_rolled_back", &shown.checkpoint.to_string(), message);
        found.evidence = self.pair(shown, largest).await;
        round.find(found);
    }

    /// Compares two checkpoints of different sizes by the tiles of the larger one, if the log shows them.
    pub(super) async fn compare_by_tiles(
        &self,
        source: &str,
        signed: &Signed,
        base: &Signed,
        round: &mut Round,
    ) {
        if round.is_contradicted(source, signed) {
            return;
        }
        let (older, newer) = if signed.size() < base.size() { (signed, base) } else { (base, signed) };
        let mut tree = TileTree::new(&*self.source, &newer.checkpoint);
        let root = tree.root_at(older.size()).await;
        if root.is_ok_and(|root| root != older.checkpoint.root()) {
            self.contradict(source, signed, base, round).await;
        }
    }

    /// Adds the finding of a checkpoint that cannot be of the same log as `base`, if this log only grows.
    pub(super) async fn contradict(&self, source: &str, signed: &Signed, base: &Signed, round: &mut Round) {
        let (size, root) = signed.id();
        if !round.contradicted.insert((source.to_owned(), size, root)) {
            return;
        }
        let show = |signed: &Signed| format!("root {} at size {}", signed.checkpoint.root(), signed.size());
        let by = match self.witnesses.iter().find(|witness| witness.id() == source) {
            Some(witness) => format!(", shown by witness {}", witness.name),
            None => String::new(),
        };
        let message = format!(
            "expected a checkpoint of the tree with {}, found another tree with {}{by}",
            show(base),
            show(signed)
        );
        let code = "checkpoint_inconsistent";
        let mut found = Found::new(FindingClass::Tamper, code, signed.checkpoint.to_string(), message);
        found.subject = format!("{code} {source}");
        found.evidence = self.pair(signed, base).await;
        round.find(found);
    }

    /// Returns the files of evidence about two checkpoints, for `eds verify-proof`: the smaller one as the previous one, and
    /// the proof from it to the other, if the log serves its hashes.
    async fn pair(&self, signed: &Signed, base: &Signed) -> Vec<(&'static str, Vec<u8>)> {
        let (previous, other) = if signed.size() < base.size() { (signed, base) } else { (base, signed) };
        let mut tree = TileTree::new(&*self.source, &other.checkpoint);
        let proof = tree.proof(previous.size(), &other.note).await;
        let mut files = vec![
            ("previous.checkpoint", previous.note.to_string().into_bytes()),
            ("other.checkpoint", other.note.to_string().into_bytes()),
        ];
        files.extend(proof.map(|proof| ("consistency.proof", proof.to_string().into_bytes())));
        files
    }
}
