//! A receiver of Alertmanager's webhook, which records each alert with its arrival time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::error::ServerError;

/// The largest notification, in bytes.
const MAX_NOTIFICATION_BYTES: usize = 4 << 20;

/// A webhook that listens until it is dropped.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    arrived: UnboundedReceiver<Notice>,
    /// Keeps the listener alive as long as this value.
    _listening: JoinSet<()>,
}

/// One alert of a notification.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The arrival time.
    pub at: Instant,
    /// The receiver that it was routed to, by its name in the Alertmanager configuration.
    pub receiver: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// The labels, with `alertname`.
    pub labels: BTreeMap<String, String>,
    /// The annotations of the rule.
    pub annotations: BTreeMap<String, String>,
}

/// The used parts of <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>.
#[derive(Deserialize)]
struct Notification {
    receiver: String,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    status: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Webhook {
    /// Listens at `address`; port 0 selects a free one.
    pub async fn listen(address: SocketAddr) -> Result<Webhook, ServerError> {
        let cannot = |source| ServerError::Start { program: "the webhook receiver", source };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let (sender, arrived) = unbounded_channel();
        let mut listening = JoinSet::new();
        listening.spawn(accept(listener, sender));
        Ok(Webhook { address, arrived, _listening: listening })
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the next alert that arrives.
    pub async fn next(&mut self) -> Option<Notice> {
        self.arrived.recv().await
    }
}

async fn accept(listener: TcpListener, sender: UnboundedSender<Notice>) {
    // Dropped with the listener, which closes the connections.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Such as too many open files, which is temporary.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let sender = sender.clone();
        let serve = service_fn(move |request| {
            let sender = sender.clone();
            async move { Ok::<_, Infallible>(take(request, &sender).await) }
        });
        let serving =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
        // Alertmanager reconnects after a broken connection.
        connections.spawn(async move { drop(serving.await) });
        while connections.try_join_next().is_some() {}
    }
}

async fn take(request: Request<Incoming>, sender: &UnboundedSender<Notice>) -> Response<Empty<Bytes>> {
    let mut answer = Response::new(Empty::new());
    let body =
        Limited::new(request.into_body(), MAX_NOTIFICATION_BYTES).collect().await.map(|body| body.to_bytes());
    match body.map(|body| serde_json::from_slice::<Notification>(&body)) {
        Ok(Ok(Notification { receiver, alerts })) => {
            let at = Instant::now();
            for Alert { status, labels, annotations } in alerts {
                let receiver = receiver.clone();
                let _ = sender.send(Notice { at, receiver, status, labels, annotations });
            }
        }
        _ => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    answer
}
