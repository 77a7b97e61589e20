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

/// Drills on systems of the operator's own; which of them can be held depends on what there is.
pub const SITE_PLANS: [Plan; 3] = [cluster::PLAN, archive::PLAN, bucket::PLAN];
/// Every drill on servers of its own.
pub const PLANS: [Plan; 5] = [failover::PLAN, restore::PLAN, rpo::PLAN, objects::PLAN, alert_fire::PLAN];
