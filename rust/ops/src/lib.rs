//! What operators of EdgeSentry do, as programs: back up, restore, fail over, and rehearse all of it.
//!
//! A [`check::Check`] is one item of a checklist; a [`drill`] is a rehearsed failure with checks that must pass, run
//! against real [`servers`].

pub mod check;
pub mod drill;
pub mod error;
pub mod postgres;
pub mod program;
pub mod servers;

pub use error::Error;
