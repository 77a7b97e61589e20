//! Drills: rehearsed failures, each with checks that must pass.

pub mod failover;
mod load;
pub mod objects;
pub mod quarter;
mod report;

use crate::servers::{ALERTMANAGER, POSTGRESQL, PROMETHEUS, Program, SEAWEEDFS};

pub use report::{DrillReport, Event, Listener, Measure};

/// What is known of a drill before it runs.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Its name on the command line, in reports and in metrics.
    pub name: &'static str,
    /// What is rehearsed, in one sentence.
    pub about: &'static str,
    /// When it has passed.
    pub criterion: &'static str,
    /// What it starts, unless it is pointed at what runs already.
    pub needs: &'static [Program],
}

/// Every drill.
pub const PLANS: [Plan; 3] = [ALERT_FIRE, DB_FAILOVER, S3_OBJECT_RECOVERY];

/// Whether the ledger outlives its primary.
pub const DB_FAILOVER: Plan = Plan {
    name: "db-failover",
    about: "The primary is killed under load, fenced, and its standby promoted.",
    criterion: "no acknowledged record is lost, the old primary takes no writes, and ingest goes on within 30 minutes",
    needs: &[POSTGRESQL],
};

/// Whether a payload comes back.
pub const S3_OBJECT_RECOVERY: Plan = Plan {
    name: "s3-object-recovery",
    about: "Payloads are deleted and overwritten, and brought back from their versions.",
    criterion: "every payload is byte-identical again, and no version of it could be deleted",
    needs: &[SEAWEEDFS],
};

/// Whether an alert reaches those who must know.
pub const ALERT_FIRE: Plan = Plan {
    name: "alert-fire",
    about: "A service is attacked and its store fails, and Prometheus and Alertmanager tell a webhook of it.",
    criterion: "every alert reaches the webhook within 2 minutes",
    needs: &[PROMETHEUS, ALERTMANAGER],
};
