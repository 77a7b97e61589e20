//! What operators of EdgeSentry do, as programs: back up, restore, fail over, and rehearse all of it.
//!
//! A [`check::Check`] is one item of a checklist; a [`drill`] is a rehearsed failure with checks that must pass, run
//! against real [`servers`]. What runs now and then leaves its metrics in a [`textfile`].

pub mod check;
pub mod drill;
pub mod error;
pub mod failover;
pub mod postgres;
pub mod program;
pub mod s3;
pub mod servers;
pub mod textfile;

pub use error::Error;
