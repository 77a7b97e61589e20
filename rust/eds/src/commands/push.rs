//! `eds push`: records from files, or an outbox, to a service on the network.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use edgesentry_chain::{Device, Scheme};
use edgesentry_rs::agent::{Flushed, Outbox};
use edgesentry_rs::transport::{Client, ClientSettings};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::commands::device_id;
use crate::commands::sending::{Sending, conclude};
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Showing};
use crate::output::{Answer, Output, complain};
use crate::text::{number, shown};

/// Send records to a service on the network, from files or from an outbox
///
/// Sending again is always safe: a record that the service already holds is a duplicate, which is a success.
/// If the service is busy or unreachable, the command retries after the delay that the service asks for. Exit
/// code 0 if every record is accepted or a duplicate, 1 if any is not, 3 if the service failed or could not
/// be reached.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds push --url http://127.0.0.1:8080 day.ndjson --payloads-from payloads/
  eds push --url https://audit.example --outbox lift-01.outbox --device lift-01 --key lift-01.seed \\
      --cert lift-01.pem --cert-key lift-01.key
  EDGESENTRY_TOKEN=eds_... eds push --url https://audit.example day.parquet --payloads-from payloads/")]
pub(crate) struct Push {
    /// Files of records to send, in order; - is stdin
    #[arg(required_unless_present = "outbox", conflicts_with = "outbox", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Directory of their payloads, under their object references
    #[arg(long, value_name = "DIR", required_unless_present = "outbox", conflicts_with = "outbox")]
    payloads_from: Option<PathBuf>,
    /// A device's outbox, instead of files
    #[arg(long, value_name = "FILE", requires_all = ["device", "key"])]
    outbox: Option<PathBuf>,
    /// The device of the outbox
    #[arg(long, value_name = "ID", requires = "outbox", value_parser = device_id)]
    device: Option<String>,
    /// Its seed file
    #[arg(long, value_name = "SEEDFILE", requires = "outbox")]
    key: Option<PathBuf>,
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    showing: Showing,
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
    /// File with a token, if the service requires one; or set the variable EDGESENTRY_TOKEN
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
        let token = match &self.token_file {
            Some(path) => {
                let bytes = inputs::bytes(path, "token_unreadable")?;
                let text = String::from_utf8(bytes).map_err(|_| {
                    Failure::usage("token_unreadable", format!("{}: no token", path.display()))
                })?;
                Some(text.trim().to_owned())
            }
            None => std::env::var("EDGESENTRY_TOKEN").ok(),
        };
        let settings = ClientSettings {
            token: token.map(Into::into),
            ca: self.ca.clone(),
            identity: self.cert.clone().zip(self.cert_key.clone()),
            timeout: Duration::from_secs(self.timeout),
            attempts: self.attempts,
            ..ClientSettings::new(url)
        };
        if let Some(problem) = settings.exposure() {
            complain(&format!("warning: {problem}"));
        }
        Ok(Client::new(settings)?)
    }
}

impl Push {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let client = self.service.client()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| Failure::unfinished("threads", format!("cannot start threads: {error}")))?;
        match (&self.outbox, &self.payloads_from) {
            (Some(outbox), _) => self.outbox(outbox, &client, &runtime, output),
            (None, Some(payloads_from)) => {
                let sources = inputs::sources(&self.files)?;
                let folder = inputs::payloads(payloads_from)?;
                let (tally, failure) = self.showing.show(|progress| {
                    let sink = Arc::new(client);
                    Sending::new(&runtime, sink, (&folder, payloads_from), progress).all(sources)
                });
                conclude("push", &tally, failure, output)
            }
            (None, None) => Err(Failure::usage("usage", "name files and --payloads-from, or an --outbox")),
        }
    }

    fn outbox(
        &self,
        outbox: &std::path::Path,
        client: &Client,
        runtime: &Runtime,
        output: &Output,
    ) -> Result<Exit, Failure> {
        let (Some(device), Some(key)) = (&self.device, &self.key) else {
            return Err(Failure::usage("usage", "an outbox needs --device and --key"));
        };
        if !outbox.exists() {
            let message = format!("{}: there is no outbox", outbox.display());
            return Err(Failure::usage("outbox_unreadable", message));
        }
        let seed = edgesentry_formats::read_seed_file(key)?;
        // Nothing is signed, so the scheme does not matter.
        let device = Device::from_seed(device.as_str(), *seed, Scheme::Record);
        let (flushed, waiting) = runtime.block_on(async {
            let agent = Outbox::open(outbox, device).await?;
            let flushed = agent.flush(client).await;
            let waiting = agent.waiting().await;
            agent.close().await;
            Ok::<_, edgesentry_rs::Error>((flushed, waiting?))
        })?;
        let (flushed, failure) = match flushed {
            Ok(flushed) => (flushed, None),
            Err(error) => (Flushed::default(), Some(Failure::from(error))),
        };
        let Flushed { accepted, duplicates, rejection, .. } = &flushed;
        let rejection = rejection.as_ref();
        let content = json!({
            "accepted": accepted,
            "duplicate": duplicates,
            "waiting": waiting,
            "rejection": rejection.map(|kept| json!({
                "sequence": kept.sequence, "reason": kept.code, "expected": kept.expected, "actual": kept.actual,
            })),
        });
        let mut text = format!(
            "{} accepted, {} duplicate, {} waiting\n",
            number(*accepted),
            number(*duplicates),
            number(waiting)
        );
        if let Some(kept) = rejection {
            text.push_str(&format!(
                "sequence {} is rejected: {}: expected {}, found {}\n",
                kept.sequence,
                shown(&kept.code),
                shown(&kept.expected),
                shown(&kept.actual)
            ));
        }
        let exit = match (&failure, rejection) {
            (Some(failure), _) => failure.exit,
            (None, Some(_)) => Exit::Findings,
            (None, None) => Exit::Holds,
        };
        output.answer(&Answer { ok: exit == Exit::Holds, name: "push", content: &content, text, failure })?;
        Ok(exit)
    }
}
