//! Drills: rehearsed failures, each with checks that must pass.

pub mod alert_fire;
pub mod archive;
pub mod bucket;
pub mod cluster;
mod dump;
mod error;
mod facts;
pub mod failover;
mod load;
mod log;
pub mod objects;
pub mod quarter;
mod report;
pub mod restore;
pub mod rpo;
pub mod signed;
mod site;

use crate::servers::Program;

pub use error::DrillError;
pub use facts::{Extent, Host, Versions};
pub use report::{DrillReport, Event, Listener, Measure};
pub use site::Tools;

/// The description of a drill.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The name on the command line, in reports and in metrics.
    pub name: &'static str,
    /// The rehearsed failure, in one sentence.
    pub about: &'static str,
    /// The pass criterion.
    pub criterion: &'static str,
    /// The programs that it starts, unless it uses running servers.
    pub needs: &'static [Program],
}

/// Drills on the operator's own systems; which of them can run depends on the site.
pub const SITE_PLANS: [Plan; 3] = [cluster::PLAN, archive::PLAN, bucket::PLAN];
/// The drills on servers of their own.
pub const PLANS: [Plan; 5] = [failover::PLAN, restore::PLAN, rpo::PLAN, objects::PLAN, alert_fire::PLAN];
