//! Drills: rehearsed failures, each with checks that must pass.

mod report;

pub use report::{DrillReport, Measure};
