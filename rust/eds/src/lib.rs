//! The command `eds`: argument parsing, rendering and exit codes around the verification core.
//!
//! [`run`] is the whole command; the binary and the console script of the Python package both call it.

// A small build leaves out the users of some helpers. The full build has all users and warns of helpers without any.
#![cfg_attr(not(feature = "ops"), allow(dead_code))]

pub mod attacks;
mod commands;
mod envelope;
mod exit;
mod explanations;
pub mod fleet;
mod inputs;
mod interrupt;
mod keys;
mod levels;
#[cfg(feature = "serve")]
mod network;
#[cfg(not(feature = "serve"))]
#[path = "network_absent.rs"]
mod network;
#[cfg(feature = "ops")]
mod operations;
#[cfg(not(feature = "ops"))]
#[path = "operations_absent.rs"]
mod operations;
mod output;
mod outputs;
pub mod page;
mod pipeline;
mod progress;
mod random;
mod record_json;
pub mod reference;
mod remarks;
#[cfg(feature = "serve")]
mod remote;
#[cfg(not(feature = "serve"))]
#[path = "remote_absent.rs"]
mod remote;
mod render;
mod stores;
pub mod tamper;
mod text;
mod threads;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};
use edgesentry_rs::secret::without_password;

pub use crate::explanations::explanation;

use crate::commands::Cli;
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};

/// Runs the command and returns its exit code: 0 everything requested was checked and holds, 1 findings, 2 usage, 3
/// could not finish. The first argument is the name of the program.
///
/// Writes to stdout and stderr of the process, and ends the process with code 130 at Ctrl-C.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    interrupt::answer();
    let args: Vec<OsString> = args.into_iter().collect();
    let exit = match parse(&args) {
        Ok(Parsed { mut cli, names, former }) => {
            cli.command.called_by(&args);
            cli.color.apply();
            remarks::set(cli.quiet, cli.verbose);
            for (old, new) in former {
                remarks::remark(&format!(
                    "warning: --{old} is now --{new}; the next release removes the old name"
                ));
            }
            let output = Output { json: cli.json, command: Some(names.join(" ")) };
            exit::guarded(|| cli.command.run(&output)).unwrap_or_else(|failure| output.fail(&failure))
        }
        Err(error) => refuse(&args, &error),
    };
    // The last spans, if any are sent.
    edgesentry_rs::telemetry::subscriber::shutdown();
    exit.code()
}

/// Arguments that parse.
struct Parsed {
    cli: Cli,
    /// The names of the command and its subcommand.
    names: Vec<String>,
    /// Options that were given by a former name, each with its name.
    former: Vec<(String, String)>,
}

fn parse(args: &[OsString]) -> Result<Parsed, clap::Error> {
    let mut parser = Cli::command();
    let matches = parser.try_get_matches_from_mut(args)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut parser))?;
    let (mut names, mut former) = (Vec::new(), former_names(&parser, args));
    let (mut command, mut matches) = (&parser, &matches);
    while let Some((name, below)) = matches.subcommand() {
        names.push(name.to_owned());
        matches = below;
        let Some(found) = command.find_subcommand(name) else { break };
        command = found;
        former.extend(former_names(command, args));
    }
    Ok(Parsed { cli, names, former })
}

/// Returns the options of a command that were given by a former name, each with its name. A hidden alias is a former name.
fn former_names(command: &clap::Command, args: &[OsString]) -> Vec<(String, String)> {
    let given = |name: &str| {
        let mut options = args.iter().take_while(|arg| *arg != "--").map(|arg| arg.to_string_lossy());
        options.any(|arg| arg.strip_prefix("--").is_some_and(|arg| arg.split('=').next() == Some(name)))
    };
    let former = |arg: &clap::Arg| {
        let names = arg.get_aliases().unwrap_or_default().into_iter().filter(|name| given(name));
        let new = arg.get_long().unwrap_or_default();
        names.map(|name| (name.to_owned(), new.to_owned())).collect::<Vec<_>>()
    };
    command.get_arguments().flat_map(former).collect()
}

/// Returns the names of the command and its subcommand in arguments that do not parse.
fn names(args: &[OsString]) -> Option<String> {
    let parser = Cli::command();
    let (mut command, mut names) = (&parser, Vec::new());
    for arg in args.iter().skip(1) {
        if let Some(found) = arg.to_str().and_then(|arg| command.find_subcommand(arg)) {
            names.push(found.get_name());
            command = found;
        }
    }
    (!names.is_empty()).then(|| names.join(" "))
}

/// Whether the command accepts arguments, for the test of the timers that run it; the first is the name of the program.
/// Nothing is done.
#[doc(hidden)]
pub fn parses(args: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    Cli::try_parse_from(args).map(|_| ()).map_err(|error| error.to_string())
}

/// Returns the report as `eds verify-chain` prints it, without colours.
pub fn summary(report: &edgesentry_chain::Report) -> String {
    let text = anstream::adapter::strip_str(&render::report(report)).to_string();
    edgesentry_chain::escape::lines(&text).into_owned()
}

/// Removes the passwords of URLs from a message that quotes arguments.
fn without_passwords(text: &str) -> String {
    let line = |line: &str| line.split(' ').map(without_password).collect::<Vec<_>>().join(" ");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Responds to arguments that do not parse, or to --help and --version.
fn refuse(args: &[OsString], error: &clap::Error) -> Exit {
    let is_request = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let options = args.iter().take_while(|arg| *arg != "--");
    if !is_request && options.clone().any(|arg| arg == "--json") {
        let command = names(args);
        let text = without_passwords(&error.to_string());
        let sentence = text.split("\n\n").next().unwrap_or(&text).trim_start_matches("error: ");
        let message = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut failure = Failure::usage("usage", message);
        if options.clone().any(|arg| arg == commands::FETCH_WAL) {
            failure.exit = Exit::StopRecovery;
        }
        return Output { json: true, command }.fail(&failure);
    }
    if error.kind() == ErrorKind::DisplayVersion && options.clone().any(|arg| arg == "--json") {
        let answer = Answer {
            ok: true,
            name: "version",
            content: &env!("CARGO_PKG_VERSION"),
            text: String::new(),
            failure: None,
        };
        let output = Output { json: true, command: None };
        return output.answer(&answer).map_or_else(|failure| output.fail(&failure), |()| Exit::Holds);
    }
    if is_request {
        // A closed pipe is not an error.
        let _ = error.print();
    } else {
        // It quotes arguments, which may be names of files, or URLs with passwords.
        for line in without_passwords(&error.to_string()).trim_end().split('\n') {
            output::complain(&text::sentence(line));
        }
    }
    match is_request {
        true => Exit::Holds,
        // PostgreSQL takes every small code as the end of the log.
        false if options.clone().any(|arg| arg == commands::FETCH_WAL) => Exit::StopRecovery,
        false => Exit::Usage,
    }
}
