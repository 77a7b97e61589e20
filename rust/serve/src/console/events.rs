//! Server-sent events: the figures of the fleet, every two seconds. All connections share one text.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;

use super::kept::Kept;
use super::session::SessionId;
use super::snapshot::READ_INTERVAL;
use super::{Console, Site, fleet, session};

/// Connections at once, and those of one session.
const MAX_CONNECTIONS: usize = 64;
const MAX_CONNECTIONS_PER_SESSION: usize = 8;
/// How long a connection lasts. The browser then connects again.
const MAX_CONNECTION_TIME: Duration = Duration::from_secs(600);
/// How long a connection waits for the shared text.
const TEXT_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections that wait for events.
pub(super) struct Events {
    open: Arc<Mutex<HashMap<SessionId, usize>>>,
    text: Kept<String>,
}

impl Events {
    pub(super) fn new() -> Events {
        Events { open: Arc::default(), text: Kept::new(0) }
    }

    fn take(&self, session: SessionId) -> Option<Open> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = open.get(&session).copied().unwrap_or(0);
        if mine >= MAX_CONNECTIONS_PER_SESSION || open.values().sum::<usize>() >= MAX_CONNECTIONS {
            return None;
        }
        open.insert(session, mine + 1);
        Some(Open { all: Arc::clone(&self.open), session })
    }
}

/// The place of a connection.
struct Open {
    all: Arc<Mutex<HashMap<SessionId, usize>>>,
    session: SessionId,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = open.get_mut(&self.session) {
            *mine -= 1;
            if *mine == 0 {
                open.remove(&self.session);
            }
        }
    }
}

struct Stream {
    console: Arc<Console>,
    place: Open,
    until: Instant,
    begun: bool,
    ended: bool,
}

/// The figures as a stream. A caller that does not read it is cut off like one of any response.
pub(super) async fn events(Site(console): Site, request: Request) -> Response {
    let place = session(&request).and_then(|session| console.events.take(session.id));
    let Some(place) = place else {
        let busy = "too many pages are live at once; close some\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")], busy).into_response();
    };
    let stream =
        Stream { console, place, until: Instant::now() + MAX_CONNECTION_TIME, begun: false, ended: false };
    let body = futures::stream::unfold(stream, next).map(Ok::<Bytes, std::convert::Infallible>);
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

async fn next(mut stream: Stream) -> Option<(Bytes, Stream)> {
    if stream.ended || Instant::now() >= stream.until {
        return None;
    }
    let console = Arc::clone(&stream.console);
    if std::mem::replace(&mut stream.begun, true) {
        tokio::select! {
            () = tokio::time::sleep(READ_INTERVAL) => {}
            () = console.stop.cancelled() => return None,
        }
    }
    if !console.sessions.holds(stream.place.session) {
        stream.ended = true;
        return Some((Bytes::from_static(b"event: ended\ndata: {}\n\n"), stream));
    }
    let sources = Arc::clone(&console.sources);
    let text = console.events.text.get(READ_INTERVAL / 2, TEXT_TIMEOUT, || async move {
        format!("event: figures\ndata: {}\n\n", crate::json::text(&fleet::figures(&sources.snapshot().await)))
    });
    let text = tokio::select! {
        text = text => text,
        () = console.stop.cancelled() => return None,
    };
    // Without a text, a comment keeps the connection.
    let text = text.map_or_else(|| Bytes::from_static(b":\n\n"), |text| Bytes::from(text.value.clone()));
    Some((text, stream))
}
