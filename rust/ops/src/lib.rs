//! The operations of EdgeSentry as programs: backup, restore, failover, and rehearsals of all of them.
//!
//! A PostgreSQL ledger is kept in an [`archive::Archive`]: base [`backup`]s, [`dump`]s and its write-ahead log
//! ([`wal`]); [`restore`] recovers it to any time, [`recovery`] proves that nothing is missing, [`retention`] deletes
//! objects that no kept backup needs.
//!
//! A [`check::Check`] is one item of a checklist; a [`drill`] is a rehearsed failure with checks that must pass, run
//! against real [`servers`]. Periodic commands write their metrics to a [`textfile`].

pub mod adopt;
pub mod archive;
pub mod backup;
mod blocking;
pub mod check;
pub mod configure;
mod data_folder;
pub mod drill;
pub mod dump;
mod encryption;
pub mod error;
mod extract;
pub mod failover;
mod files;
mod guard;
pub mod marks;
pub mod observe;
pub mod postgres;
mod process;
pub mod program;
mod random;
pub mod recovery;
pub mod restore;
pub mod restore_object;
pub mod retention;
pub mod s3;
pub mod servers;
pub mod settings;
pub mod signature;
pub mod source;
pub mod temporary;
pub mod textfile;
pub mod wal;
pub mod watch;

pub use error::Error;
pub use settings::{OpsSettings, Settings};
