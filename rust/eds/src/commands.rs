//! The commands, one file each.

#[cfg(not(feature = "ops"))]
mod absent_ops;
#[cfg(not(feature = "serve"))]
mod absent_serve;
pub(crate) mod completions;
mod config;
mod demo;
mod device;
#[cfg(feature = "ops")]
mod drill;
mod export;
mod heads;
mod ingest;
#[cfg(feature = "serve")]
mod inject;
mod inspect_key;
mod keygen;
mod log;
#[cfg(feature = "ops")]
mod ops;
mod program;
#[cfg(feature = "serve")]
mod push;
mod sending;
#[cfg(feature = "serve")]
mod serve;
mod sign_record;
#[cfg(feature = "serve")]
mod token;
mod verify_chain;
mod verify_record;

use std::ffi::OsString;
use std::sync::Arc;

use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
use clap::{Parser, Subcommand};
use edgesentry_chain::Scheme;

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::stores::Opened;

#[cfg(not(feature = "ops"))]
use absent_ops::{drill, ops};
#[cfg(not(feature = "serve"))]
use absent_serve::{inject, push, serve, token};
pub(crate) use ops::FETCH_WAL;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .error(AnsiColor::Red.on_default().bold());

/// Tamper-evident audit records: sign, ingest, export, verify.
#[derive(Parser, Debug)]
#[command(name = "eds", bin_name = "eds", version, styles = STYLES, max_term_width = 100, after_help = "\
Exit codes:
  0  everything you asked for was checked and holds
  1  findings
  2  usage: bad arguments or settings, unreadable or weak keys, a required level that was not covered
  3  could not finish: unreadable input, a store that failed, or nothing to verify

Examples:
  eds demo                                        try it on real telemetry
  eds verify-chain export.json --keys keys.json   verify an export
  eds verify-chain --help                         more examples")]
pub(crate) struct Cli {
    /// Print one line of JSON on stdout, on success and on failure
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    VerifyChain(verify_chain::VerifyChain),
    Heads(heads::WriteHeads),
    Keygen(keygen::Keygen),
    InspectKey(inspect_key::InspectKey),
    SignRecord(sign_record::SignRecord),
    VerifyRecord(verify_record::VerifyRecord),
    Ingest(ingest::Ingest),
    Export(export::Export),
    Device(device::Device),
    Log(log::Log),
    Config(config::Config),
    Serve(serve::Serve),
    Push(push::Push),
    Inject(inject::Inject),
    Token(token::Token),
    Completions(completions::Completions),
    Drill(drill::Drill),
    Ops(ops::Ops),
    Demo(demo::Demo),
}

/// The names of the commands.
pub(crate) const NAMES: [&str; 19] = [
    "verify-chain",
    "heads",
    "keygen",
    "inspect-key",
    "sign-record",
    "verify-record",
    "ingest",
    "export",
    "device",
    "log",
    "config",
    "serve",
    "push",
    "inject",
    "token",
    "completions",
    "drill",
    "ops",
    "demo",
];

impl Command {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::VerifyChain(_) => "verify-chain",
            Command::Heads(_) => "heads",
            Command::Keygen(_) => "keygen",
            Command::InspectKey(_) => "inspect-key",
            Command::SignRecord(_) => "sign-record",
            Command::VerifyRecord(_) => "verify-record",
            Command::Ingest(_) => "ingest",
            Command::Export(_) => "export",
            Command::Device(_) => "device",
            Command::Log(_) => "log",
            Command::Config(_) => "config",
            Command::Serve(_) => "serve",
            Command::Push(_) => "push",
            Command::Inject(_) => "inject",
            Command::Token(_) => "token",
            Command::Completions(_) => "completions",
            Command::Drill(_) => "drill",
            Command::Ops(_) => "ops",
            Command::Demo(_) => "demo",
        }
    }

    /// Tells a command that shows how it was called.
    pub(crate) fn called_by(&mut self, arguments: &[OsString]) {
        if let Command::VerifyChain(command) = self {
            command.called_by(arguments);
        }
    }

    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        match self {
            Command::VerifyChain(command) => command.run(output),
            Command::Heads(command) => command.run(output),
            Command::Keygen(command) => command.run(output),
            Command::InspectKey(command) => command.run(output),
            Command::SignRecord(command) => command.run(output),
            Command::VerifyRecord(command) => command.run(output),
            Command::Ingest(command) => command.run(output),
            Command::Export(command) => command.run(output),
            Command::Device(command) => command.run(output),
            Command::Log(command) => command.run(output),
            Command::Config(command) => command.run(output),
            Command::Serve(command) => command.run(output),
            Command::Push(command) => command.run(output),
            Command::Inject(command) => command.run(output),
            Command::Token(command) => command.run(output),
            Command::Completions(command) => command.run(),
            Command::Drill(command) => command.run(output),
            Command::Ops(command) => command.run(output),
            Command::Demo(command) => command.run(output),
        }
    }
}

/// A signature scheme on the command line.
fn scheme(text: &str) -> Result<Scheme, String> {
    text.parse().map_err(|error: edgesentry_chain::KeyError| error.to_string())
}

/// A device id on the command line: new records need one.
fn device_id(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("a device id cannot be empty") } else { Ok(text.to_owned()) }
}

/// Refuses devices that the ledger does not know: a misspelt one would only give nothing.
fn known_devices(opened: &Opened, device_ids: &[String]) -> Result<(), Failure> {
    if device_ids.is_empty() {
        return Ok(());
    }
    let wanted: Vec<Arc<str>> = device_ids.iter().map(|id| id.as_str().into()).collect();
    let known = opened.wait(opened.ledger.keys(&wanted))?;
    match wanted.iter().find(|id| !known.contains_key(*id)) {
        None => Ok(()),
        Some(unknown) => {
            let place = opened.ledger.place();
            let message = format!("device {unknown:?} is not registered in {place}; see eds device list");
            Err(Failure::usage("device_not_found", message))
        }
    }
}
