//! Durable records per second, this ingest service and edgesentry-audit side by side on one PostgreSQL; SQLite; S3;
//! and the export of a million records. One line of JSON a measurement.
//!
//!     scripts/servers/with cargo run --release --manifest-path benches/ingest/Cargo.toml

mod load;
mod ours;
mod peer;

use anyhow::{Context, Result};
use clap::Parser;

/// The measurements and their sizes.
#[derive(Parser)]
struct Args {
    /// Only these parts: peer, postgres, sqlite, s3, export
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Records of a measurement of batches
    #[arg(long, default_value_t = 100_000)]
    records: usize,
    /// Records of the ledger that is exported
    #[arg(long, default_value_t = 1_000_000)]
    export_records: usize,
    /// Payload size
    #[arg(long, default_value_t = 1024)]
    payload_bytes: usize,
    /// Number of runs of each part; the parts take turns
    #[arg(long, default_value_t = 2)]
    repeat: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let postgres = std::env::var("EDGESENTRY_TEST_POSTGRES").context("run under scripts/servers/with")?;
    let s3 = std::env::var("EDGESENTRY_TEST_S3").context("run under scripts/servers/with")?;
    let wanted = |part: &str| args.only.is_empty() || args.only.iter().any(|only| only == part);
    let runtime = tokio::runtime::Runtime::new()?;
    for _ in 0..args.repeat {
        if wanted("peer") {
            for threads in [1, 16] {
                let records = if threads == 1 { 2_000 } else { 8_000 };
                peer::run(&postgres, threads, records, args.payload_bytes)?;
            }
        }
        if wanted("postgres") {
            runtime.block_on(ours::postgres(&postgres, args.records, args.payload_bytes))?;
        }
        if wanted("sqlite") {
            runtime.block_on(ours::sqlite(args.records, args.payload_bytes))?;
        }
        if wanted("s3") {
            runtime.block_on(ours::s3(&s3, args.payload_bytes))?;
        }
    }
    if wanted("export") {
        runtime.block_on(ours::export(&postgres, args.export_records))?;
    }
    Ok(())
}
