//! The commands, one file each.

#[cfg(not(all(feature = "ops", feature = "serve")))]
mod absent;
mod bundle;
mod checkpoint;
pub(crate) mod completions;
mod config;
mod demo;
mod device;
#[cfg(feature = "ops")]
mod drill;
mod erase;
mod explain;
mod export;
mod heads;
mod ingest;
#[cfg(feature = "serve")]
mod inject;
mod inspect_key;
mod keygen;
mod keys;
mod log;
#[cfg(feature = "serve")]
mod monitor;
#[cfg(feature = "ops")]
mod ops;
mod program;
mod prove;
#[cfg(feature = "serve")]
mod push;
mod report;
#[cfg(feature = "serve")]
mod rotate;
mod sending;
#[cfg(feature = "serve")]
mod serve;
mod sign_record;
#[cfg(feature = "serve")]
mod token;
mod unpack;
mod update;
mod verify_bundle;
mod verify_chain;
mod verify_proof;
mod verify_record;
mod witness;

use std::ffi::OsString;
use std::sync::Arc;

use anstream::ColorChoice;
use clap::builder::styling::AnsiColor;
use clap::builder::{PossibleValuesParser, Styles, TypedValueParser};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use edgesentry_chain::Scheme;

use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::stores::Opened;
#[cfg(feature = "serve")]
pub(crate) use push::token as token_of;

#[cfg(not(feature = "serve"))]
use absent::network::{inject, monitor, push, rotate, serve, token};
#[cfg(not(feature = "ops"))]
use absent::operations::{drill, ops};
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
  2  usage: bad arguments, settings or keys, a missing file, a required level not covered
  3  could not finish: unreadable input, a store that failed, or nothing to verify

Examples:
  eds demo                                        try it on real telemetry
  eds verify-chain export.json --keys keys.json   verify an export
  eds verify-chain --help                         more examples")]
pub(crate) struct Cli {
    /// Print one line of JSON on stdout, on success and on failure
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only errors to stderr, no warnings or notes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Log to stderr; -vv logs more
    #[arg(long, short, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When text has colours.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Also in files and pipes
    Always,
    /// Never
    Never,
}

impl Color {
    /// Applies the choice to all output of the process.
    pub(crate) fn apply(self) {
        match self {
            // The default of the library, which reads NO_COLOR.
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        }
        .write_global();
    }
}

/// One list of the commands, with their arguments.
macro_rules! commands {
    ($($name:literal $variant:ident($arguments:ty),)*) => {
        /// What to do.
        // A process has one value of it.
        #[allow(clippy::large_enum_variant)]
        #[derive(Subcommand, Debug)]
        pub(crate) enum Command {
            $(#[command(name = $name)] $variant($arguments),)*
        }

        impl Command {
            pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
                match self {
                    $(Command::$variant(command) => command.run(output),)*
                }
            }
        }
    };
}

commands! {
    "verify-chain" VerifyChain(verify_chain::VerifyChain),
    "report" Report(report::Report),
    "explain" Explain(explain::Explain),
    "heads" Heads(heads::WriteHeads),
    "keygen" Keygen(keygen::Keygen),
    "keys" Keys(keys::Keys),
    "inspect-key" InspectKey(inspect_key::InspectKey),
    "sign-record" SignRecord(sign_record::SignRecord),
    "verify-record" VerifyRecord(verify_record::VerifyRecord),
    "verify-proof" VerifyProof(verify_proof::VerifyProof),
    "verify-bundle" VerifyBundle(verify_bundle::VerifyBundle),
    "ingest" Ingest(ingest::Ingest),
    "export" Export(export::Export),
    "device" Device(device::Device),
    "log" Log(log::Log),
    "checkpoint" Checkpoint(checkpoint::Checkpoint),
    "monitor" Monitor(monitor::Monitor),
    "prove" Prove(prove::Prove),
    "witness" Witness(witness::Witness),
    "erase" Erase(erase::Erase),
    "bundle" Bundle(bundle::Bundle),
    "config" Config(config::Config),
    "unpack" Unpack(unpack::Unpack),
    "serve" Serve(serve::Serve),
    "push" Push(push::Push),
    "rotate" Rotate(rotate::Rotate),
    "inject" Inject(inject::Inject),
    "token" Token(token::Token),
    "update" Update(update::Update),
    "completions" Completions(completions::Completions),
    "drill" Drill(drill::Drill),
    "ops" Ops(ops::Ops),
    "demo" Demo(demo::Demo),
}

impl Command {
    /// Passes the arguments to a command that shows them.
    pub(crate) fn called_by(&mut self, arguments: &[OsString]) {
        if let Command::VerifyChain(command) = self {
            command.called_by(arguments);
        }
    }
}

/// Parses a signature scheme of the command line.
fn scheme() -> impl TypedValueParser<Value = Scheme> {
    let names = [Scheme::Record, Scheme::PayloadHash].map(Scheme::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Scheme>())
}

/// A sequence, or the first and the last one of several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sequences {
    pub(crate) first: u64,
    pub(crate) last: Option<u64>,
}

/// Parses `4711`, or `4711-4720`.
pub(crate) fn sequences(text: &str) -> Result<Sequences, String> {
    let number = |text: &str| text.parse().ok();
    let parsed = match text.split_once('-') {
        None => number(text).map(|first| Sequences { first, last: None }),
        Some((first, last)) => number(first)
            .zip(number(last))
            .filter(|(first, last)| first <= last)
            .map(|(first, last)| Sequences { first, last: Some(last) }),
    };
    parsed.ok_or_else(|| "expected a sequence, or a first and a last one, such as 4711-4720".to_owned())
}

/// Parses a device id of the command line: new records need one.
fn device_id(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("a device id cannot be empty") } else { Ok(text.to_owned()) }
}

/// Rejects devices that are not in the ledger: a misspelled id would only give an empty result.
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
