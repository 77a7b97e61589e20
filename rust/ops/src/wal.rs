//! The write-ahead log: archiving it, fetching it, and checking that it is complete.

pub(crate) mod ahead;
mod archive;
mod contents;
mod fetch;
mod gaps;
mod name;
pub(crate) mod packed;
mod pages;
mod receive;
mod segment;
mod timelines;

pub use ahead::fetch_ahead;
pub use archive::{Archived, archive_wal, try_archiving};
pub use contents::check_contents;
pub use fetch::{Fetched, Prefetch, fetch_wal};
pub(crate) use gaps::read_history;
pub use gaps::{Coverage, Gap, History, Inventory, coverage};
pub use name::{Lsn, Segment, WalName};
pub(crate) use name::{receiving_key, receiving_subject};
pub use receive::{Received, Receiver};
pub use segment::identity_of;
pub use timelines::{Branch, Line, Span};
