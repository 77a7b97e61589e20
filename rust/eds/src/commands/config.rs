//! `eds config`: the settings, and whether they work.

use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::{Args, Subcommand};
use edgesentry_formats::describe;
use edgesentry_rs::StoreError;
use edgesentry_rs::settings::{self, Access, FILE_VARIABLE, Location};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::network;
use crate::output::{Answer, Output};
use crate::stores::{Opened, StoreArgs};
use crate::text::{count, name, sentence};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const CARE: Style = AnsiColor::Yellow.on_default().bold();

/// Check the settings
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds config check
  eds config check --config /etc/eds/eds.toml --json
  EDS_LEDGER=postgres://db/audit eds config check

A variable names a key in capitals, with two underscores for the dot: EDS_S3__ENDPOINT.
Flags override variables, and variables override the file.")]
pub(crate) struct Config {
    #[command(subcommand)]
    action: Action,
}

/// What to do with the settings.
#[derive(Subcommand, Debug)]
enum Action {
    /// Load the settings, open the stores and check that they respond; shows no secrets
    ///
    /// Exit code 0 if all stores respond, 2 if the settings are wrong or a store does not exist, 3 if one
    /// does not respond.
    Check {
        /// Create a missing ledger file or payload directory, and index packs of payloads
        #[arg(long)]
        create: bool,
        #[command(flatten)]
        stores: StoreArgs,
    },
}

/// A store and whether it responds.
struct Checked {
    kind: &'static str,
    place: String,
    error: Option<StoreError>,
}

impl Config {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let Action::Check { create, stores } = &self.action;
        let opened = stores.open(if *create { Access::Create } else { Access::Read })?;
        let (ledger, payloads) = (check_ledger(&opened), check_payloads(&opened));
        let file = stores.config().cloned().or_else(|| std::env::var_os(FILE_VARIABLE).map(PathBuf::from));
        let file = file.map(|file| file.display().to_string());
        let variables = variables();
        let console = network::console(&opened.settings)?;

        let content = json!({
            "file": file,
            "variables": variables,
            "ledger": ledger.content(),
            "payloads": payloads.as_ref().map(Checked::content),
            "ingest": {
                "batch_records": opened.settings.ingest.batch_records,
                "payload_puts": opened.settings.ingest.payload_puts,
                "attempts": opened.settings.ingest.attempts,
            },
            "console": console,
        });
        let mut text = format!("settings  {}\n", file.as_deref().map_or_else(|| "no file".into(), name));
        if !variables.is_empty() {
            text.push_str(&format!("          {}\n", sentence(&variables.join(", "))));
        }
        text.push_str(&ledger.line("ledger"));
        match &payloads {
            Some(payloads) => text.push_str(&payloads.line("payloads")),
            None => text.push_str(&format!("payloads  {CARE}none set{CARE:#}: nothing can be ingested\n")),
        }
        let limits = &opened.settings.ingest;
        text.push_str(&format!(
            "ingest    batches of {}, {} at once, {}\n",
            count(limits.batch_records as u64, "record"),
            count(limits.payload_puts as u64, "payload write"),
            count(limits.attempts as u64, "attempt")
        ));
        if let Some(console) = &console {
            let parts = ["alertmanager", "operations", "policy"].map(|key| match console[key].as_str() {
                Some(value) => format!("{key} {}", name(value)),
                None => format!("no {key}"),
            });
            text.push_str(&format!("console   on, {}\n", parts.join(", ")));
        }
        let error = ledger.error.or(payloads.and_then(|payloads| payloads.error));
        let failure = error.map(Failure::from);
        let exit = failure.as_ref().map_or(Exit::Holds, |failure| failure.exit);
        output.answer(&Answer {
            ok: exit == Exit::Holds,
            name: "config",
            content: &content,
            text,
            failure,
        })?;
        Ok(exit)
    }
}

fn check_ledger(opened: &Opened) -> Checked {
    let is_postgres = matches!(opened.settings.location(), Ok(Location::Postgres));
    Checked {
        kind: if is_postgres { "postgres" } else { "sqlite" },
        place: opened.ledger.place().to_owned(),
        error: opened.runtime.block_on(opened.ledger.check()).err(),
    }
}

fn check_payloads(opened: &Opened) -> Option<Checked> {
    let store = opened.payloads.as_ref()?;
    let kind = match opened.settings.payloads.as_deref() {
        None | Some("ledger") => "ledger",
        Some(name) if name.starts_with("s3://") => "s3",
        Some(name) if name.starts_with("packs:") => "packs",
        Some(_) => "folder",
    };
    let error = opened.runtime.block_on(store.examine()).err();
    Some(Checked { kind, place: store.place().to_owned(), error })
}

/// Returns the names of the variables in effect; their values may be secret.
fn variables() -> Vec<String> {
    let names = settings::variables().into_iter().map(|(name, _)| name);
    names.filter(|name| name != FILE_VARIABLE).collect()
}

impl Checked {
    fn content(&self) -> Value {
        let problem = self.error.as_ref().map(|error| describe(error));
        json!({
            "kind": self.kind,
            "place": self.place,
            "answers": self.error.is_none(),
            "problem": problem,
        })
    }

    fn line(&self, label: &str) -> String {
        let (style, verdict) =
            if self.error.is_none() { (GOOD, "responds") } else { (BAD, "does not respond") };
        format!("{label:<8}  {style}{verdict}{style:#}  {}, {}\n", self.kind, name(&self.place))
    }
}
