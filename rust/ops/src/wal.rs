//! The write-ahead log: into the archive, back out of it, and whether all of it is there.

mod archive;
mod fetch;
mod gaps;
mod name;
pub(crate) mod packed;
mod receive;
mod segment;
mod timelines;

pub use archive::{Archived, archive_wal};
pub use fetch::{Fetched, Prefetch, fetch_wal};
pub(crate) use gaps::read_history;
pub use gaps::{Coverage, Gap, History, Inventory, coverage};
pub(crate) use name::receiving_key;
pub use name::{Lsn, Segment, WalName};
pub use receive::{Received, Receiver};
pub use segment::identity_of;
pub use timelines::{Branch, Line, Span};
