//! `eds push`: records from files, or an outbox, to a service on the network.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use edgesentry_chain::{Device, Scheme};
use edgesentry_formats::times::parse_seconds;
use edgesentry_rs::agent::{
    CheckpointConflict, DEFAULT_MAX_RECEIPT_AGE, Flushed, KeptRejection, Outbox, PendingReceipts,
    ReceiptRules, Receipts,
};
use edgesentry_rs::transport::{Client, ClientSettings};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::commands::device_id;
use crate::commands::sending::{Sending, conclude};
use crate::commands::verify_proof::policy;
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Showing};
use crate::keys::KeyArgs;
use crate::operations::{RECEIPTS_AGE, RECEIPTS_PENDING, Textfile};
use crate::output::{Answer, Output};
use crate::remarks::{remark, variable};
use crate::text::{count, number, shown};
use crate::threads;

/// Send records to a service on the network, from files or from an outbox
///
/// Sending again is always safe: a record that the service already holds is a duplicate, which is a success.
/// If the service is busy or unreachable, the command retries after the delay that the service asks for. Exit
/// code 0 if every record is accepted or a duplicate, 1 if any is not, 3 if the service failed or could not
/// be reached.
///
/// With --receipts required the outbox keeps each record until a proof shows that it is in the transparency log, as
/// the policy trusts it. A later run fetches the proofs: the log covers a record after its next checkpoint. Exit code 1
/// also if a proof does not hold, or a record waits for it longer than --receipt-max-age.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds push --url http://127.0.0.1:8080 day.ndjson --payloads payloads/
  eds push --url https://audit.example --outbox lift-01.outbox --device lift-01 --key lift-01.seed \\
      --cert lift-01.pem --cert-key lift-01.key --receipts required --policy policy.txt
  EDS_TOKEN=eds_... eds push --url https://audit.example \\
      day.parquet --payloads payloads/")]
pub(crate) struct Push {
    /// Files of records to send, in order; - is stdin
    #[arg(required_unless_present = "outbox", conflicts_with = "outbox", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Directory with the payloads, each at the path of its object reference, or the directory of a payload store
    #[arg(long, alias = "payloads-from", value_name = "DIR")]
    #[arg(required_unless_present = "outbox", conflicts_with = "outbox")]
    payloads: Option<PathBuf>,
    /// A device's outbox, instead of files
    #[arg(long, value_name = "FILE", requires = "device")]
    outbox: Option<PathBuf>,
    /// The device of the outbox
    #[arg(long, value_name = "ID", requires = "outbox", value_parser = device_id)]
    device: Option<String>,
    #[command(flatten)]
    key: KeyArgs,
    /// Keep records in the outbox until their receipts are verified; the outbox stores this setting, and `off` resets it
    #[arg(long, value_name = "WHEN", requires = "outbox")]
    receipts: Option<ReceiptMode>,
    /// Trusted keys of the log and of its witnesses, and the quorum, for the receipts
    #[arg(long, value_name = "FILE", requires = "receipts")]
    policy: Option<PathBuf>,
    /// Report records that wait longer for their receipts, such as 90s, 15m or 24h [default: 120s]
    #[arg(long, value_name = "TIME", requires = "receipts", value_parser = parse_seconds)]
    receipt_max_age: Option<u64>,
    /// File for the textfile collector of node_exporter, name.prom: records that wait for receipts
    #[arg(long, value_name = "FILE", requires = "outbox")]
    metrics_file: Option<PathBuf>,
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    showing: Showing,
}

/// Whether an outbox requires receipts.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum ReceiptMode {
    /// Each record stays in the outbox until its receipt holds
    Required,
    /// A record leaves the outbox when the service has acknowledged it
    Off,
}

/// The service on the network.
#[derive(Args, Debug)]
pub(crate) struct ServiceArgs {
    /// The service: http://HOST:PORT or https://HOST:PORT
    #[arg(long, value_name = "URL")]
    url: String,
    #[command(flatten)]
    reach: ReachArgs,
}

/// How a service is reached.
#[derive(Args, Debug)]
pub(crate) struct ReachArgs {
    /// File with a token, if the service requires one; or set the variable EDS_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the certificate authorities to trust [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file of a client certificate
    #[arg(long, value_name = "FILE", requires = "cert_key")]
    cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    cert_key: Option<PathBuf>,
    /// Attempts to send a record before giving up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
    /// Seconds without progress after which an attempt fails
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

impl ServiceArgs {
    /// Returns a client of the service.
    fn client(&self) -> Result<Client, Failure> {
        self.reach.client(&self.url)
    }
}

impl ReachArgs {
    /// Returns a client of the service at `url`.
    pub(crate) fn client(&self, url: &str) -> Result<Client, Failure> {
        let settings = ClientSettings {
            token: token(self.token_file.as_deref())?.map(Into::into),
            ca: self.ca.clone(),
            identity: self.cert.clone().zip(self.cert_key.clone()),
            timeout: Duration::from_secs(self.timeout),
            attempts: self.attempts,
            ..ClientSettings::new(url)
        };
        if let Some(problem) = settings.exposure() {
            remark(&format!("warning: {problem}"));
        }
        Ok(Client::new(settings)?)
    }
}

impl Push {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let client = self.service.client()?;
        let runtime = threads::runtime()?;
        match (&self.outbox, &self.payloads) {
            (Some(outbox), _) => self.outbox(outbox, &client, &runtime, output),
            (None, Some(_)) if self.key.is_given() => {
                Err(Failure::usage("usage", "--key and --signer are for the device of an --outbox"))
            }
            (None, Some(payloads)) => {
                let sources = inputs::sources(&self.files)?;
                let folder = inputs::payloads(payloads)?;
                let (tally, failure) = self.showing.show(|progress| {
                    let sink = Arc::new(client);
                    Sending::new(&runtime, sink, (&folder, payloads), progress).all(sources)
                });
                conclude("push", &tally, failure, output)
            }
            (None, None) => Err(Failure::usage("usage", "name files and --payloads, or an --outbox")),
        }
    }

    fn outbox(
        &self,
        outbox: &std::path::Path,
        client: &Client,
        runtime: &Runtime,
        output: &Output,
    ) -> Result<Exit, Failure> {
        let Some(device) = &self.device else {
            return Err(Failure::usage("usage", "an outbox needs --device"));
        };
        if !outbox.exists() {
            let message = format!("{}: there is no outbox", outbox.display());
            return Err(Failure::usage("outbox_unreadable", message));
        }
        // Nothing is signed, so the scheme does not matter.
        let device = Device::from_signer(device.as_str(), self.key.open()?, Scheme::Record);
        let rules = self.rules()?;
        let textfile = self.metrics_file.as_deref().map(Textfile::open).transpose()?;
        let device_id = device.device_id().to_owned();
        let state = runtime.block_on(async {
            let mut outbox = Outbox::open(outbox, device).await?;
            outbox = match (self.receipts, rules) {
                (_, Some(rules)) => outbox.require_receipts(rules).await?,
                (Some(ReceiptMode::Off), None) => outbox.stop_receipts().await?,
                _ => outbox,
            };
            let state = flush(&outbox, client).await;
            outbox.close().await;
            state
        })?;
        if let Some(textfile) = textfile {
            let PendingReceipts { records, age, .. } = state.pending;
            textfile.set(&[
                RECEIPTS_PENDING.sample(&device_id, records as f64),
                RECEIPTS_AGE.sample(&device_id, age.as_secs_f64()),
            ])?;
        }
        let (content, text) = (state.content(), state.text());
        let exit = match (&state.failure, &state.flushed.rejection) {
            (Some(failure), _) => failure.exit,
            (None, Some(_)) => Exit::Findings,
            (None, None) => Exit::Holds,
        };
        let failure = state.failure;
        output.answer(&Answer { ok: exit == Exit::Holds, name: "push", content: &content, text, failure })?;
        Ok(exit)
    }

    /// Returns the rules for receipts, if they are required.
    fn rules(&self) -> Result<Option<ReceiptRules>, Failure> {
        match (self.receipts, &self.policy) {
            (Some(ReceiptMode::Required), Some(path)) => {
                let max_age = self.receipt_max_age.map_or(DEFAULT_MAX_RECEIPT_AGE, Duration::from_secs);
                Ok(Some(ReceiptRules { policy: policy(path)?, max_age }))
            }
            (Some(ReceiptMode::Required), None) => {
                Err(Failure::usage("usage", "--receipts required needs --policy"))
            }
            (Some(ReceiptMode::Off), Some(_)) => {
                Err(Failure::usage("usage", "--policy is for --receipts required"))
            }
            _ => Ok(None),
        }
    }
}

/// The outbox after a flush.
struct OutboxState {
    flushed: Flushed,
    failure: Option<Failure>,
    waiting: u64,
    pending: PendingReceipts,
    conflicts: Vec<CheckpointConflict>,
}

async fn flush(outbox: &Outbox, client: &Client) -> Result<OutboxState, edgesentry_rs::Error> {
    let (flushed, failure) = match outbox.flush(client).await {
        Ok(flushed) => (flushed, None),
        Err(error) => (Flushed::default(), Some(Failure::from(error))),
    };
    let pending = outbox.pending().await?;
    Ok(OutboxState {
        flushed,
        failure: failure.or_else(|| overdue(&pending)),
        waiting: outbox.waiting().await?,
        pending,
        conflicts: outbox.conflicts().await?,
    })
}

/// Returns the failure if records wait too long for their receipts.
fn overdue(pending: &PendingReceipts) -> Option<Failure> {
    let message = format!(
        "{} acknowledged, and the log of the service does not cover them after {} s; they stay in the outbox",
        count(pending.records, "record"),
        pending.age.as_secs()
    );
    let failure = Failure { code: "receipts_overdue", message, exit: Exit::Findings };
    pending.is_overdue.then_some(failure)
}

impl OutboxState {
    fn content(&self) -> Value {
        let Flushed { accepted, duplicates, rejection, receipts, .. } = &self.flushed;
        let rejection = rejection.as_ref().map(|kept| {
            json!({
                "sequence": kept.sequence, "reason": kept.code, "expected": kept.expected, "actual": kept.actual,
            })
        });
        let Receipts { verified, sent_again, .. } = receipts.unwrap_or_default();
        let conflicts: Vec<Value> = self
            .conflicts
            .iter()
            .map(|conflict| json!({"at_ms": conflict.at_ms, "kept": conflict.kept, "shown": conflict.shown}))
            .collect();
        json!({
            "accepted": accepted,
            "duplicate": duplicates,
            "waiting": self.waiting,
            "rejection": rejection,
            "receipts": {
                "verified": verified,
                "sent_again": sent_again,
                "pending": self.pending.records,
                "age_seconds": self.pending.age.as_secs(),
                "overdue": self.pending.is_overdue,
                "conflicts": conflicts,
            },
        })
    }

    fn text(&self) -> String {
        let Flushed { accepted, duplicates, rejection, receipts, .. } = &self.flushed;
        let mut text = format!(
            "{} accepted, {} duplicate, {} waiting\n",
            number(*accepted),
            number(*duplicates),
            number(self.waiting)
        );
        if let Some(KeptRejection { sequence, code, expected, actual }) = rejection {
            text.push_str(&format!(
                "sequence {sequence} is rejected: {}: expected {}, found {}\n",
                shown(code),
                shown(expected),
                shown(actual)
            ));
        }
        if let Some(Receipts { verified, sent_again, .. }) = receipts {
            text.push_str(&format!(
                "{} verified, {} sent again, {} pending\n",
                count(*verified, "receipt"),
                number(*sent_again),
                number(self.pending.records)
            ));
        }
        text
    }
}

/// Returns the token of a file, or else of the environment.
pub(crate) fn token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    let Some(path) = file else { return Ok(variable("EDS_TOKEN", "EDGESENTRY_TOKEN")) };
    let bytes = inputs::bytes(path, "token_unreadable")?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::usage("token_unreadable", format!("{}: no token", path.display())))?;
    Ok(Some(text.trim().to_owned()))
}
