//! `eds ingest`: records from files into a ledger, through the ingest service.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use edgesentry_chain::Scheme;
use edgesentry_rs::IngestService;
use edgesentry_rs::settings::Access;
use edgesentry_rs::telemetry::metrics::Metrics;

use crate::commands::scheme;
use crate::commands::sending::{Sending, conclude};
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Showing};
use crate::network::MetricsServer;
use crate::output::Output;
use crate::stores::StoreArgs;

/// Ingest records from files into a ledger: check each, store it with its payload, and report its outcome
///
/// Reads the formats that verify-chain reads. A record is accepted if its payload, key, signature and place
/// in the chain are valid. A record that the ledger already holds is a duplicate, which is a success, so
/// ingesting again is always safe. Exit code 0 if every record is accepted or a duplicate, 1 if any is not, 3
/// if a store failed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ingest export.json --payloads-from payloads/ --register keys.json
  eds ingest day.ndjson.gz --payloads-from payloads/ --ledger postgres://db/audit --payloads s3://audit
  eds log --outcome rejected                       rejected records, with the reasons")]
pub(crate) struct Ingest {
    /// Files of records to ingest, in order; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Directory of their payloads, under their object references
    #[arg(long, value_name = "DIR")]
    payloads_from: PathBuf,
    /// Key ring: register its devices and keys first; creates the ledger if it does not exist
    #[arg(long, value_name = "FILE")]
    register: Option<PathBuf>,
    /// Scheme of keys without one: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme(), hide_possible_values = true, requires = "register")]
    scheme: Option<Scheme>,
    /// Serve GET /metrics at this address during the ingest, such as 127.0.0.1:9464 [default: as configured]
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<String>,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    showing: Showing,
}

impl Ingest {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let sources = inputs::sources(&self.files)?;
        let folder = inputs::payloads(&self.payloads_from)?;
        let ring = self.register.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?;
        let access = if ring.is_some() { Access::Create } else { Access::Existing };
        let opened = self.stores.open(access)?;
        let payloads = opened.payloads()?;
        if let Some(ring) = &ring {
            opened.register(ring)?;
        }
        let service = opened.runtime.block_on(async {
            IngestService::start(Arc::clone(&opened.ledger), payloads, opened.settings.ingest.clone())
        });
        let listen = self.metrics_listen.as_ref().or(opened.settings.telemetry.metrics_listen.as_ref());
        let metrics = listen.map(|listen| opened.wait(MetricsServer::start(listen, Metrics::global())));
        let metrics = metrics.transpose()?;
        if metrics.is_some() {
            opened.runtime.block_on(service.observe_rejections());
        }
        let (tally, failure) = self.showing.show(|progress| {
            let sink = Arc::new(service);
            Sending::new(&opened.runtime, sink, (&folder, &self.payloads_from), progress).all(sources)
        });
        if let Some(metrics) = metrics {
            opened.runtime.block_on(metrics.stop());
        }
        conclude("ingest", &tally, failure, output)
    }
}
