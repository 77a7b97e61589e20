//! The drill `db-failover` on a running primary and standby, such as those of a staging site.
//!
//! The records of the drill are in a database of their own, which is dropped at the end. Once the primary is stopped,
//! an interrupted drill goes forward, not back: it fences the old primary, promotes the standby and lets the old
//! primary come back as its standby, so that there is a cluster again.

mod course;

use std::time::{Duration, Instant};

use edgesentry_chain::count;
use edgesentry_formats::times::now_ms;
use edgesentry_rs::ledger::PostgresSettings;

use self::course::{Course, Pair, shown};
use super::failover::{LIMIT_SECONDS, LOAD, RECORDS, RESUME_TIMEOUT, Rehearsal, stalled};
use super::{DrillReport, Plan};
use crate::blocking::in_place;
use crate::check::Check;
use crate::error::Error;
use crate::failover::{self, Detection};
use crate::settings::Settings;

pub use self::course::Commands;

/// The prefix of the drill's device names.
const DEVICES_PREFIX: &str = "edgesentry-drill";
/// How long ingest may wait for the old primary to come back, if commits wait for it.
const OLD_PRIMARY_TIMEOUT: Duration = Duration::from_secs(15);

/// The plan of the drill.
pub const PLAN: Plan = Plan {
    name: "db-failover-cluster",
    about: "The primary of a cluster of the site is stopped under load and fenced, its standby promoted.",
    criterion: "no acknowledged record is lost, the old primary comes back as a standby, and ingest continues within \
         30 minutes",
    needs: &[],
};

/// The settings of the drill.
#[derive(Clone, Debug)]
pub struct ClusterDrill {
    /// The settings whose ledger names both hosts, with a role that may create databases.
    pub settings: Settings,
    /// The commands that stop, fence and bring back the current primary.
    pub commands: Commands,
    /// Records in the ledger of the drill before the load begins.
    pub records: u64,
    /// Records that the load must have written before the stop, and again after each later step.
    pub load: u64,
    /// Run it although no standby is synchronous.
    pub asynchronous: bool,
}

/// A drill that can run, and its effects.
#[derive(Debug)]
pub struct Prepared {
    drill: ClusterDrill,
    pair: Pair,
    /// The effects of the drill, a sentence each.
    pub touches: Vec<String>,
}

impl ClusterDrill {
    /// Inspects the cluster without changing it.
    ///
    /// # Errors
    /// The settings do not name a primary with a standby, or a server cannot be queried.
    pub fn prepare(self) -> Result<Prepared, Error> {
        let pair = Pair::find(&self.settings)?;
        pair.check(&self.commands, self.asynchronous)?;
        let (primary, standby) = (pair.primary.place(), pair.standby.place());
        let [stop, fence, rejoin] =
            [&self.commands.stop, &self.commands.fence, &self.commands.rejoin].map(|command| shown(command));
        let touches = vec![
            format!("the primary {primary} is stopped by: {stop}"),
            format!("it is fenced by: {fence}"),
            match &self.commands.promote {
                Some(promote) => format!("the standby {standby} is promoted by: {}", shown(promote)),
                None => format!("the standby {standby} is promoted by pg_promote"),
            },
            format!("the old primary comes back as the standby of the new one by: {rejoin}"),
            "the two servers exchange their roles, and their clients are interrupted meanwhile".to_owned(),
            format!("the database {} is made, and dropped at the end", pair.database),
        ];
        Ok(Prepared { drill: self, pair, touches })
    }
}

impl Prepared {
    /// Runs the drill. There is a cluster again when it returns or is dropped, and the database of the drill is gone.
    ///
    /// # Errors
    /// The drill could not finish; `report` has the results so far.
    pub async fn run(&self, report: &mut DrillReport) -> Result<(), Error> {
        let ClusterDrill { commands, records, load, asynchronous, .. } = &self.drill;
        report.place = format!("{} and {}", self.pair.primary.place(), self.pair.standby.place());
        report.version("PostgreSQL", &*self.pair.version);
        report.at_least("records", *records, RECORDS);
        report.at_least("load", *load, LOAD);
        report.option("asynchronous", asynchronous);
        report.full_if(!asynchronous);
        report.option("stop_command", shown(&commands.stop));
        report.option("fence_command", shown(&commands.fence));
        report.option("promote_command", shown(commands.promote.as_deref().unwrap_or("pg_promote")));
        report.option("rejoin_command", shown(&commands.rejoin));

        let mut course = Course::begin(&self.pair, commands, report.listener.clone())?;
        let held = self.hold(&mut course, report).await;
        let ended = in_place(|| course.end());
        if ended.is_ok() {
            report.step("the database of the drill is dropped");
        }
        held.and(ended)
    }

    async fn hold(&self, course: &mut Course<'_>, report: &mut DrillReport) -> Result<(), Error> {
        let Prepared { drill, pair, .. } = self;
        let ledger = |url: String| PostgresSettings {
            url: url.into(),
            timeout_seconds: 10,
            ..drill.settings.stores.postgres.clone()
        };
        in_place(|| course.make_database())?;
        report.step(format!("the database {} is made", pair.database));
        let url = ledger(pair.url_of_both());
        let rehearsal = Rehearsal::begin(url, DEVICES_PREFIX, drill.records, drill.load, report).await?;
        let load = &rehearsal.load;

        let (crash_ms, begin) = (now_ms(), Instant::now());
        in_place(|| course.stop())?;
        report
            .step(format!("the primary is stopped, {} into the load", count(load.acknowledged(), "record")));
        if !in_place(|| failover::wait_until_gone(&pair.primary, Detection::default(), RESUME_TIMEOUT)) {
            return Err(stalled("the stopped primary still responds"));
        }
        report.measure("detection_seconds", begin.elapsed().as_secs_f64(), None);
        in_place(|| course.fence())?;
        report.step("the old primary is fenced");
        let promoting = Instant::now();
        in_place(|| course.promote())?;
        report.measure("promotion_seconds", promoting.elapsed().as_secs_f64(), None);
        report.step("the standby is promoted and accepts writes");
        let mut resumed = load.wait_for_more(1, OLD_PRIMARY_TIMEOUT).await;
        let mut recovered = begin.elapsed();
        if !resumed {
            report.step("no record is acknowledged yet: commits wait for a standby");
        }
        in_place(|| course.rejoin())?;
        report.step("the old primary is back, as a standby of the new one");
        if !resumed {
            resumed = load.wait_for_more(1, RESUME_TIMEOUT).await;
            recovered = begin.elapsed();
        }
        let evidence = if resumed {
            format!("the first record was acknowledged {:.2} s after the stop", recovered.as_secs_f64())
        } else {
            "no further record was acknowledged".to_owned()
        };
        report.check(Check::new("ingest continues by itself, through the list of hosts", resumed, evidence));
        if resumed {
            report.measure("recovery_seconds", recovered.as_secs_f64(), Some(LIMIT_SECONDS));
        }
        let old = pair.of_drill(&pair.primary)?;
        report.check(in_place(|| failover::refuses_writes(&old)));
        report.check(in_place(|| course.is_synchronous_again())?);
        let goes_on = load.wait_for_more(drill.load, RESUME_TIMEOUT).await;
        report.check(Check::new(
            "ingest continues with the new standby",
            goes_on,
            if goes_on { "records are acknowledged" } else { "no record is acknowledged any more" },
        ));
        rehearsal.conclude(ledger(pair.url_of(&pair.standby_url)), crash_ms, report).await
    }
}
