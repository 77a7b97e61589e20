//! `eds witness serve`: a witness over HTTP.

use std::net::SocketAddr;

use clap::Args;
use edgesentry_rs::Settings;
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::telemetry::subscriber::LISTENING;
use edgesentry_serve::metrics::MetricsServer;
use edgesentry_serve::{ServeSettings, Server, Stopped};
use futures::FutureExt;
use serde_json::json;
use tracing::info;

use super::WitnessArgs;
use crate::commands::serve::{LogArgs, address, raise_file_limit, serve_until};
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::{Answer, Output};
use crate::stores::Asked;
use crate::threads;

/// The options of `eds witness serve`; networks, TLS and limits are settings in the section [serve].
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Address to listen on; may be given several times [default: as configured, or 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    listen: Vec<SocketAddr>,
    #[command(flatten)]
    witness: WitnessArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl Serve {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        raise_file_limit();
        let mut asked = interrupt::asked().boxed();
        let settings = self.witness.settings()?;
        self.log.start(&settings.telemetry)?;
        let runtime = threads::runtime()?;
        let stopped = runtime.block_on(self.serve(&settings, &mut asked))?;
        let (stopped, text, failure) = match stopped {
            None => ("before_listening", "stopped before it listened\n", None),
            Some(Stopped::Finished) => ("finished", "stopped; requests in progress were finished\n", None),
            Some(Stopped::CutOff) => {
                let message =
                    "some requests did not finish in serve.limits.shutdown_seconds and were cut off";
                ("cut_off", "", Some(Failure::unfinished("cut_off", message)))
            }
        };
        let (ok, content) = (failure.is_none(), json!({"stopped": stopped}));
        output.answer(&Answer { ok, name: "witness", content: &content, text: text.to_owned(), failure })?;
        Ok(if ok { Exit::Holds } else { Exit::Unfinished })
    }

    /// Serves until it is asked to stop; `None` if that was before it listened.
    async fn serve(&self, settings: &Settings, asked: &mut Asked) -> Result<Option<Stopped>, Failure> {
        let listening = tokio::select! {
            listening = self.listen(settings) => listening?,
            () = &mut *asked => return Ok(None),
        };
        let Listening { server, metrics, scheme, place } = listening;
        let announce = |address| {
            info!(target: LISTENING, url = %format!("{scheme}://{address}"), state = place, "listening");
        };
        let stopped = serve_until(server, asked, announce).await;
        if let Some(metrics) = metrics {
            metrics.stop().await;
        }
        Ok(Some(stopped))
    }

    async fn listen(&self, settings: &Settings) -> Result<Listening, Failure> {
        let mut serve = ServeSettings::of(settings)?;
        if !self.listen.is_empty() {
            serve.listen.clone_from(&self.listen);
        }
        let witness = settings.witness.start(&settings.postgres, Metrics::global()).await?;
        witness.observe().await.map_err(edgesentry_rs::Error::from)?;
        let place = witness.place().to_owned();
        let server = Server::bind_witness(witness, &serve).await?;
        let metrics = match &settings.telemetry.metrics_listen {
            Some(listen) => Some(MetricsServer::start(listen, Metrics::global()).await?),
            None => None,
        };
        let scheme = if serve.tls.is_some() { "https" } else { "http" };
        Ok(Listening { server, metrics, scheme, place })
    }
}

/// The parts of a witness that is not serving yet.
struct Listening {
    server: Server,
    metrics: Option<MetricsServer>,
    scheme: &'static str,
    place: String,
}
