//! What the fuzz targets share: bounded memory, seeds, and reading whole inputs.

mod input;
mod memory;
mod seeds;

pub use input::{Entries, read, read_back, written};
pub use memory::bounded;
pub use seeds::{arrow, chain, fleet, heads, json, key_ring, parquet, plant, record};
