//! Other ways to verify an export of audit records, measured on the same file.

mod audit;
mod export;
mod generate;
mod outcome;
mod signatures;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use crate::outcome::Outcome;

/// Make an export of audit records, or verify one the way another library does.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write an export and its keys; the same arguments give the same bytes.
    Generate {
        out: PathBuf,
        keys: PathBuf,
        #[arg(long, default_value_t = 100_000)]
        records: u64,
        #[arg(long, default_value_t = 10)]
        devices: u64,
        /// Make every signature a well-formed one of another message; the links hold.
        #[arg(long)]
        bad_signatures: bool,
    },
    /// Verify an export with a published library.
    Verify {
        peer: Peer,
        #[command(flatten)]
        input: Input,
    },
    /// Verify only the signatures, as one merged batch per 4096 records.
    Bare {
        #[command(flatten)]
        input: Input,
    },
}

#[derive(clap::Args)]
struct Input {
    file: PathBuf,
    keys: PathBuf,
    /// Threads to verify with.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Peer {
    /// edgesentry-audit: the hash chain of each device.
    AuditLinks,
    /// edgesentry-audit: the hash chain of each device and every record's signature.
    AuditSignatures,
    /// ed25519-dalek: `verify_strict` on each record.
    DalekStrict,
    /// ed25519-dalek: `verify_batch`, 1024 records at a time.
    DalekBatch,
    /// ed25519-zebra: batch verifier, 1024 records at a time.
    ZebraBatch,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::from(3)
        }
    }
}

/// Returns true if every check passed.
fn run(command: Command) -> Result<bool> {
    match command {
        Command::Generate { out, keys, records, devices, bad_signatures } => {
            generate::generate(&out, &keys, generate::Shape { records, devices, bad_signatures })?;
            Ok(true)
        }
        Command::Verify { peer, input } => measure(Some(peer), &input)?.print(),
        Command::Bare { input } => measure(None, &input)?.print(),
    }
}

fn measure(peer: Option<Peer>, input: &Input) -> Result<Outcome> {
    ensure!(input.threads > 0, "--threads must be at least 1");
    let audit = matches!(peer, Some(Peer::AuditLinks | Peer::AuditSignatures));
    ensure!(!audit || input.threads == 1, "edgesentry-audit verifies on one thread: leave --threads at 1");
    rayon::ThreadPoolBuilder::new().num_threads(input.threads).build_global().context("no thread pool")?;
    let (file, keys) = (&input.file, &input.keys);
    match peer {
        Some(Peer::AuditLinks) => audit::links(file),
        Some(Peer::AuditSignatures) => audit::links_and_signatures(file, keys),
        Some(Peer::DalekStrict) => signatures::measure("dalek-strict", file, keys, signatures::dalek_strict),
        Some(Peer::DalekBatch) => signatures::measure("dalek-batch", file, keys, signatures::dalek_batch),
        Some(Peer::ZebraBatch) => signatures::measure("zebra-batch", file, keys, signatures::zebra_batch),
        None => signatures::measure("bare", file, keys, signatures::bare),
    }
}
