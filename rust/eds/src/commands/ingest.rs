//! `eds ingest`: records from files into a ledger, through the ingest service.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use edgesentry_chain::Scheme;
use edgesentry_rs::IngestService;
use edgesentry_rs::settings::Access;
use edgesentry_rs::telemetry::metrics::Metrics;

use crate::commands::scheme;
use crate::commands::sending::{Sending, conclude};
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Showing, is_payload_store};
use crate::network::MetricsServer;
use crate::output::Output;
use crate::remarks::remark;
use crate::stores::LedgerArgs;

/// Ingest records from files into a ledger: check each, store it with its payload, and report its outcome
///
/// Reads the formats that verify-chain reads. A record is accepted if its payload, key, signature and place
/// in the chain are valid. A record that the ledger already holds is a duplicate, which is a success, so
/// ingesting again is always safe. Exit code 0 if every record is accepted or a duplicate, 1 if any is not, 3
/// if a store failed.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ingest export.json --payloads payloads/ --register keys.json
  eds ingest day.ndjson.gz --payloads payloads/ \\
      --ledger postgres://db/audit --payload-store s3://audit
  eds log --outcome rejected                       rejected records, with the reasons")]
pub(crate) struct Ingest {
    /// Files of records to ingest, in order; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Directory with the payloads, each at the path of its object reference, or the directory of a payload store
    // Twice only with its former name, beside which --payloads was the name of --payload-store.
    #[arg(long, alias = "payloads-from", value_name = "DIR", required = true)]
    payloads: Vec<PathBuf>,
    /// Key ring: register its devices and keys first; creates the ledger if it does not exist
    #[arg(long, value_name = "FILE")]
    register: Option<PathBuf>,
    /// Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme(), hide_possible_values = true, requires = "register")]
    scheme: Option<Scheme>,
    /// Serve GET /metrics at this address during the ingest, such as 127.0.0.1:9464 [default: as configured]
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<String>,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// Payload store: ledger, folder:PATH, packs:PATH or s3://BUCKET [default: as configured, or ledger with SQLite]
    #[arg(long, value_name = "STORE")]
    payload_store: Option<String>,
    #[command(flatten)]
    showing: Showing,
}

/// The sources of payloads: a directory to read, and a store to write.
struct Places<'a> {
    payloads: &'a Path,
    store: Option<&'a str>,
}

impl Ingest {
    /// Returns the places of payloads, also if the store has its former name.
    fn places(&self) -> Result<Places<'_>, Failure> {
        let store = self.payload_store.as_deref();
        match self.payloads.as_slice() {
            [payloads] => Ok(Places { payloads, store }),
            [payloads, former] | [former, payloads] if store.is_none() && is_payload_store(former) => {
                remark(
                    "warning: --payloads of a store is now --payload-store; the next release removes the old name",
                );
                Ok(Places { payloads, store: former.to_str() })
            }
            _ => Err(Failure::usage("usage", "--payloads: name one directory")),
        }
    }

    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let sources = inputs::sources(&self.files)?;
        let Places { payloads, store } = self.places()?;
        let folder = inputs::payloads(payloads)?;
        let ring = self.register.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?;
        let access = if ring.is_some() { Access::Create } else { Access::Existing };
        let opened = self.ledger.open_with_payloads(store, access)?;
        let stored = opened.payloads()?;
        if let Some(ring) = &ring {
            opened.register(ring)?;
        }
        let service = opened.runtime.block_on(async {
            IngestService::start(Arc::clone(&opened.ledger), stored, opened.settings.ingest.clone())
        });
        let listen = self.metrics_listen.as_ref().or(opened.settings.telemetry.metrics_listen.as_ref());
        let metrics = listen.map(|listen| opened.wait(MetricsServer::start(listen, Metrics::global())));
        let metrics = metrics.transpose()?;
        if metrics.is_some() {
            opened.runtime.block_on(service.observe_rejections());
        }
        let (tally, failure) = self.showing.show(|progress| {
            let sink = Arc::new(service);
            Sending::new(&opened.runtime, sink, (&folder, payloads), progress).all(sources)
        });
        if let Some(metrics) = metrics {
            opened.runtime.block_on(metrics.stop());
        }
        conclude("ingest", &tally, failure, output)
    }
}
