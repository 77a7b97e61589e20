//! The requests in progress on a connection, until the last byte of each response is taken.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Instant, sleep, sleep_until};
use tower::Service;

use super::identity::{Peer, SenderKey};
use super::shares::{Pool, Share};

/// The bytes handed to a connection at a time: it takes more only after these have reached the caller, except for its
/// buffers.
const PIECE_BYTES: usize = 64 << 10;
/// Responses up to this size are not counted, only their requests.
const SMALL_BYTES: u64 = 256;

/// The limits that the connections of a service share.
pub(super) struct Bounds {
    /// Requests in progress.
    pub(super) requests: Arc<Pool>,
    /// Bytes of responses that are not taken yet.
    pub(super) answers: Arc<Pool>,
}

/// The requests in progress on one connection.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

struct State {
    under_way: usize,
    quiet_since: Instant,
    /// Responses of which a piece was handed out, and when: the caller has to take it.
    taking: HashMap<u64, Instant>,
    answers: u64,
}

impl Default for Activity {
    fn default() -> Activity {
        let quiet_since = Instant::now();
        let state = State { under_way: 0, quiet_since, taking: HashMap::new(), answers: 0 };
        Activity(Arc::new(Mutex::new(state)))
    }
}

impl Activity {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> UnderWay {
        let mut state = self.state();
        state.under_way += 1;
        state.answers += 1;
        UnderWay { activity: self.clone(), number: state.answers }
    }

    /// Waits until the connection has had no request for the given time.
    pub(super) async fn idle_for(&self, patience: Duration) {
        loop {
            let until = {
                let state = self.state();
                let since = if state.under_way == 0 { state.quiet_since } else { Instant::now() };
                since + patience
            };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// Waits until the caller has taken nothing of a response for the given time.
    pub(super) async fn stalled_for(&self, patience: Duration) {
        loop {
            let since = self.state().taking.values().min().copied();
            match since {
                Some(since) if since.elapsed() >= patience => return,
                Some(since) => sleep_until(since + patience).await,
                None => sleep(patience / 2).await,
            }
        }
    }
}

/// A request in progress.
struct UnderWay {
    activity: Activity,
    number: u64,
}

impl UnderWay {
    /// Sets whether the request waits for its caller.
    fn waits_for_caller(&self, waits: bool) {
        let taking = &mut self.activity.state().taking;
        if waits {
            taking.insert(self.number, Instant::now());
        } else {
            taking.remove(&self.number);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.under_way -= 1;
        state.quiet_since = Instant::now();
        state.taking.remove(&self.number);
    }
}

/// The routes, for one connection.
#[derive(Clone)]
pub(super) struct Watched {
    router: Router,
    peer: Peer,
    activity: Activity,
    bounds: Arc<Bounds>,
}

impl Watched {
    pub(super) fn new(router: Router, peer: Peer, activity: Activity, bounds: Arc<Bounds>) -> Watched {
        Watched { router, peer, activity, bounds }
    }
}

impl Service<Request<Incoming>> for Watched {
    type Response = Response<Answering>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        <Router as Service<Request<Incoming>>>::poll_ready(&mut self.router, cx)
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        let under_way = self.activity.begin();
        let (bounds, caller) = (Arc::clone(&self.bounds), SenderKey::at(self.peer.address));
        let Some(share) = bounds.requests.try_take(caller, 1) else {
            return Box::pin(async move { Ok(busy().map(|body| Answering::new(body, under_way, None))) });
        };
        request.extensions_mut().insert(self.peer.clone());
        let answer = self.router.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            let mut shares = (share, None);
            // Streams count their own memory.
            if let Some(bytes) = response.body().size_hint().exact().filter(|bytes| *bytes > SMALL_BYTES) {
                shares.1 = bounds.answers.try_take(caller, usize::try_from(bytes).unwrap_or(usize::MAX));
                if shares.1.is_none() {
                    response = busy();
                }
            }
            Ok(response.map(|body| Answering::new(body, under_way, Some(shares))))
        })
    }
}

/// Returns the response for a caller that may hold nothing more, not even a text about it.
fn busy() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The body of a response; its request is in progress until it is dropped.
pub(super) struct Answering {
    body: Body,
    /// The rest of the last piece of the body.
    rest: Bytes,
    under_way: UnderWay,
    _shares: Option<(Share, Option<Share>)>,
}

impl Answering {
    fn new(body: Body, under_way: UnderWay, shares: Option<(Share, Option<Share>)>) -> Answering {
        Answering { body, rest: Bytes::new(), under_way, _shares: shares }
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            // The caller now waits for the service.
            this.under_way.waits_for_caller(false);
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                ended => return Poll::Ready(ended),
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        // HTTP/2 takes a frame, and drops the body behind its last, as soon as the caller's window has room for one
        // byte. So the last byte is sent alone, after all others.
        let last = this.rest.len() <= PIECE_BYTES && this.body.is_end_stream();
        let bytes = if last && this.rest.len() > 1 { this.rest.len() - 1 } else { this.rest.len() };
        let piece = this.rest.split_to(bytes.min(PIECE_BYTES));
        this.under_way.waits_for_caller(true);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}
