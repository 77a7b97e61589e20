//! Code shared by the fuzz targets: a memory limit, seeds, and reading of whole inputs.

mod bundle_seeds;
mod input;
mod log_seeds;
mod memory;
mod pack_checks;
mod seeds;

pub use bundle_seeds::{BUNDLE_POLICY, bundles};
pub use input::{Entries, read, read_back, written};
pub use log_seeds::{ProvenLog, WitnessedLog, log_binary, log_text, log_tree};
pub use memory::bounded;
pub use pack_checks::check_packs;
pub use seeds::{
    arrow, chain, fleet, heads, json, key_ring, packs, parquet, parts, plant, record, signatures, split_rows,
    timestamps,
};
