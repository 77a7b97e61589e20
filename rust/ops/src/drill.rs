//! Drills: rehearsed failures, each with checks that must pass.

pub mod alert_fire;
pub mod archive;
mod dump;
mod error;
pub mod failover;
mod load;
pub mod objects;
pub mod quarter;
mod report;
pub mod restore;
pub mod rpo;
mod site;

use crate::servers::Program;

pub use error::DrillError;
pub(crate) use report::unix_ms;
pub use report::{DrillReport, Event, Listener, Measure};
pub use site::Tools;

/// What is known of a drill before it is held.
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
pub const PLANS: [Plan; 5] = [failover::PLAN, restore::PLAN, rpo::PLAN, objects::PLAN, alert_fire::PLAN];
