//! The write-ahead log: into the archive, back out of it, and whether all of it is there.

mod archive;
mod fetch;
mod gaps;
mod name;
mod packed;
mod receive;
mod segment;

pub use archive::{Archived, archive_wal};
pub use fetch::{Fetched, Prefetch, fetch_wal};
pub use gaps::{Coverage, Gap, History, Inventory, coverage};
pub use name::{Lsn, Segment, WalName};
pub use receive::{Received, Receiver};
pub use segment::identity_of;
