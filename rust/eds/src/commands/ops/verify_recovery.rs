//! `eds ops verify-recovery`: the checklist after a restore.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use edgesentry_chain::Scheme;
use edgesentry_formats::times::parse_unix_ms;
use edgesentry_ops::recovery::{Recovery, RestoredLog, Silences, active_silences, verify};
use edgesentry_rs::settings::Access;

use super::checklist;
use crate::commands::scheme;
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Showing};
use crate::output::Output;
use crate::stores::{Opened, StoreArgs};
use crate::text::shell_word;

/// Run the checklist after a restore: each item passes, fails or is unknown, with evidence
///
/// Compares the ledger with the snapshot that eds heads wrote before the incident, verifies every chain,
/// signature and payload, reads the end of the operation log, compares the ledger with the signed checkpoints of
/// its transparency log, and asks for silenced alerts. Exit code 0 if every item passes, 1 if one fails, 3 if one
/// is unknown.
#[derive(Args, Debug)]
pub(super) struct VerifyRecovery {
    /// Snapshot from before the incident, as written by eds heads
    #[arg(long, value_name = "FILE")]
    heads: Option<PathBuf>,
    /// Key ring [default: the keys that the ledger itself has registered]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Start heads: for each chain that does not begin at sequence 1, the head before its first record, as written by eds heads
    #[arg(long, value_name = "FILE")]
    start_heads: Option<PathBuf>,
    /// Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme(), hide_possible_values = true, requires = "keys")]
    scheme: Option<Scheme>,
    /// Time of the restore: RFC 3339 with its zone
    #[arg(long, value_name = "TIME", value_parser = parse_unix_ms)]
    target_time: Option<u64>,
    /// Alertmanager to ask for silences that are to be lifted, by amtool
    #[arg(long, value_name = "URL")]
    alertmanager: Option<String>,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    showing: Showing,
}

impl VerifyRecovery {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let heads = self.heads.as_deref().map(inputs::heads).transpose()?;
        let keys = self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?;
        let start_heads = self.start_heads.as_deref().map(inputs::heads).transpose()?;
        let opened = self.stores.open(Access::Read)?;
        let checks = self.showing.show(|progress| {
            opened.runtime.block_on(async {
                let silences = match &self.alertmanager {
                    Some(url) => Silences::Asked(active_silences(url).await),
                    None => Silences::NotAsked,
                };
                let log = RestoredLog::open(&opened.settings, &*opened.ledger, self.recover(&opened)).await;
                let recovery = Recovery {
                    ledger: Arc::clone(&opened.ledger),
                    payloads: opened.payloads.clone(),
                    heads,
                    keys,
                    start_heads,
                    target_ms: self.target_time,
                    log,
                    silences,
                };
                verify(&recovery, progress).await
            })
        });
        checklist::answer(output, opened.ledger.place(), &checks)
    }

    /// Returns the command that puts the records of the log back into this ledger. The place has no password.
    fn recover(&self, opened: &Opened) -> String {
        let ledger = shell_word(opened.ledger.place());
        match self.stores.config() {
            Some(file) => {
                format!(
                    "eds checkpoint recover --ledger {ledger} --config {}",
                    shell_word(&file.display().to_string())
                )
            }
            None => format!("eds checkpoint recover --ledger {ledger}"),
        }
    }
}
