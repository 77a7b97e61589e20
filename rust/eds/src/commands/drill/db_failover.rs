//! `eds drill db-failover`.

use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_ops::drill::cluster::{self, ClusterDrill, Commands};
use edgesentry_ops::drill::failover::{self, Failover, PLAN};

use super::consent::{Consent, settings_to_touch};
use super::outcome::Outcome;
use super::servers::PostgresArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Kill the primary under load, fence it, promote its standby: no acknowledged record may be lost
///
/// A primary and a synchronous standby are started on loopback. Devices send through the list of both hosts
/// while the primary and all its processes are killed with SIGKILL. The old primary is fenced, comes back,
/// and must refuse writes; the new one gets a synchronous standby again. With --cluster the drill uses two
/// existing servers instead: the records are in a temporary database, which is dropped at the end, and the
/// servers exchange their roles. After the primary is stopped, Ctrl-C ends the drill only when a
/// primary with a standby runs again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill db-failover
  eds drill db-failover --records 1000000 --report-dir drills
  eds drill db-failover --asynchronous             shows the loss without a synchronous standby
  eds drill db-failover --cluster staging.toml \\
      --stop-command 'ssh db-1 systemctl kill -s KILL postgresql' \\
      --fence-command 'ssh db-1 touch /srv/pg/standby.signal' \\
      --rejoin-command 'ssh db-1 rejoin-as-standby'")]
pub(super) struct DbFailover {
    /// Records in the ledger before the load begins
    #[arg(long, value_name = "COUNT", default_value_t = failover::RECORDS)]
    records: u64,
    /// Records that are sent before the crash and after each step
    #[arg(long, value_name = "COUNT", default_value_t = failover::LOAD, value_parser = clap::value_parser!(u64).range(1..))]
    load: u64,
    /// Use an asynchronous standby that lags by a second: records are lost, and the drill fails
    #[arg(long)]
    asynchronous: bool,
    /// Settings of an existing primary and standby, such as those of a staging site; the ledger names both
    /// hosts, with a role that may create databases
    #[arg(long, value_name = "CONFIG", requires_all = ["stop_command", "fence_command", "rejoin_command"], conflicts_with = "postgres_bin")]
    cluster: Option<PathBuf>,
    /// Stops the primary of --cluster as a crash would; run by sh, with DRILL_PRIMARY and DRILL_STANDBY as host:port
    #[arg(long, value_name = "COMMAND", requires = "cluster")]
    stop_command: Option<String>,
    /// Prevents the stopped primary from accepting writes when it comes back
    #[arg(long, value_name = "COMMAND", requires = "cluster")]
    fence_command: Option<String>,
    /// Promotes the standby [default: pg_promote, by SQL]
    #[arg(long, value_name = "COMMAND", requires = "cluster")]
    promote_command: Option<String>,
    /// Lets the old primary come back as a standby of the new one, with pg_rewind or as a new copy
    #[arg(long, value_name = "COMMAND", requires = "cluster")]
    rejoin_command: Option<String>,
    /// Starts the primary unchanged, if it cannot be fenced
    #[arg(long, value_name = "COMMAND", requires = "cluster")]
    start_command: Option<String>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    postgres: PostgresArgs,
    #[command(flatten)]
    outcome: Outcome,
}

impl DbFailover {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        if let Some(config) = &self.cluster {
            return self.on_cluster(config, output);
        }
        let drill = Failover {
            programs: self.postgres.find()?,
            records: self.records,
            load: self.load,
            asynchronous: self.asynchronous,
        };
        self.outcome.of(output, &PLAN, async |report| Ok(drill.run(report).await?))
    }
    fn on_cluster(&self, config: &Path, output: &Output) -> Result<Exit, Failure> {
        let given = |command: &Option<String>| command.clone().unwrap_or_default();
        let drill = ClusterDrill {
            settings: settings_to_touch(config)?,
            commands: Commands {
                stop: given(&self.stop_command),
                fence: given(&self.fence_command),
                promote: self.promote_command.clone(),
                rejoin: given(&self.rejoin_command),
                start: self.start_command.clone(),
            },
            records: self.records,
            load: self.load,
            asynchronous: self.asynchronous,
        };
        let prepared = drill.prepare()?;
        self.consent.obtain(output, &prepared.touches)?;
        self.outcome.of(output, &cluster::PLAN, async |report| Ok(prepared.run(report).await?))
    }
}
