//! Drills: rehearsed failures, each with checks that must pass.

mod report;

use crate::servers::{ALERTMANAGER, PROMETHEUS, Program};

pub use report::{DrillReport, Event, Listener, Measure};

/// What is known of a drill before it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
pub const PLANS: [Plan; 1] = [ALERT_FIRE];

/// Whether an alert reaches those who must know.
pub const ALERT_FIRE: Plan = Plan {
    name: "alert-fire",
    about: "A service is attacked and its store fails, and Prometheus and Alertmanager tell a webhook of it.",
    criterion: "every alert reaches the webhook within 2 minutes",
    needs: &[PROMETHEUS, ALERTMANAGER],
};
