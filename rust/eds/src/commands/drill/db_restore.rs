//! `eds drill db-restore`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use edgesentry_chain::Scheme;
use edgesentry_ops::Settings;
use edgesentry_ops::drill::archive::{self, ArchiveDrill};
use edgesentry_ops::drill::restore::{self, PLAN, RestoreDrill};
use edgesentry_rs::settings::Overrides;

use super::consent::{Consent, say, settings_to_touch};
use super::outcome::Outcome;
use super::servers::ToolArgs;
use crate::commands::scheme;
use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::output::Output;
use crate::stores;

/// Back up, archive, destroy records, and restore to the moment before: every chain must verify
///
/// A primary archives into a temporary S3 server. Half of the records are in the base backup, half in the
/// write-ahead log after it. Records are then deleted in the database, and a new server is restored to the
/// moment before. With --archive the drill restores the archive of the settings instead, to one hour ago, onto
/// a temporary server: it only reads the archive, and does not contact the server of the archive without
/// --commit. The payloads of the settings are verified, too; without a payload store or --heads the drill
/// cannot pass.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill db-restore
  eds drill db-restore --records 1000000           how long it takes at this size
  eds drill db-restore --archive /etc/eds/ops.toml --heads heads.json --keys keys.json")]
pub(super) struct DbRestore {
    /// Records before the moment of the restore
    #[arg(long, value_name = "COUNT", default_value_t = restore::RECORDS, value_parser = clap::value_parser!(u64).range(100..))]
    records: u64,
    /// Restore the archive that these settings name
    #[arg(long, value_name = "CONFIG", conflicts_with = "records")]
    archive: Option<PathBuf>,
    /// Seconds before now to restore to
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, requires = "archive")]
    back: u64,
    /// Snapshot of that time, as written by eds heads
    #[arg(long, value_name = "FILE", requires = "archive")]
    heads: Option<PathBuf>,
    /// Key ring [default: the keys that the ledger itself has registered]
    #[arg(long, value_name = "FILE", requires = "archive")]
    keys: Option<PathBuf>,
    /// Start heads: for each chain that does not begin at sequence 1, the head before its first record, as written by eds heads
    #[arg(long, value_name = "FILE", requires = "archive")]
    start_heads: Option<PathBuf>,
    /// Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme(), hide_possible_values = true, requires = "keys")]
    scheme: Option<Scheme>,
    /// First commit a transaction without changes on the server of the archive, so that recovery stops at the
    /// moment even on an idle server; without it the archive is restored to its end if no transaction was
    /// committed since
    #[arg(long, requires = "archive")]
    commit: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    tools: ToolArgs,
    #[command(flatten)]
    outcome: Outcome,
}

impl DbRestore {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let Some(config) = &self.archive else {
            let drill = RestoreDrill { tools: self.tools.find()?, records: self.records };
            return self.outcome.of(output, &PLAN, async |report| Ok(drill.run(report).await?));
        };
        let settings = if self.commit {
            settings_to_touch(config)?
        } else {
            Settings::of(stores::load(Some(config), &Overrides::default())?)?
        };
        let drill = ArchiveDrill {
            settings,
            config: Some(config.clone()),
            eds: self.tools.eds.find()?,
            commit: self.commit,
            back: Duration::from_secs(self.back),
            heads: self.heads.as_deref().map(inputs::heads).transpose()?,
            start_heads: self.start_heads.as_deref().map(inputs::heads).transpose()?,
            keys: self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?,
        };
        if self.commit {
            self.consent.obtain(output, &drill.touches())?;
        } else {
            say(output, &drill.touches());
        }
        self.outcome.of(output, &archive::PLAN, async |report| Ok(drill.run(report).await?))
    }
}
