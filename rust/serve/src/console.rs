//! The console at `/console`: pages for people, made on the server and readable without scripts. They change nothing.
//!
//! A browser signs in with a token that has the scope `read`, and gets a session ([`session`]). [`snapshot`] reads the
//! state of the fleet once for all pages and connections. No page reads a number of rows that grows with the ledger.

mod alerts;
mod blake3_script;
mod device;
mod devices;
mod entries;
mod events;
mod exposition;
mod fleet;
mod kept;
mod operations;
mod parts;
mod picture;
mod record;
mod search;
mod session;
mod sign;
mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use edgesentry_formats::read_file;
use edgesentry_log::{MAX_POLICY_BYTES, Policy};
use edgesentry_rs::error::{Error, StoreError};
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::ledger::LedgerViews;
use edgesentry_rs::log::LogReader;
use maud::html;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::alerts::Alertmanager;
use self::events::Events;
use self::parts::{Page, note, protect};
use self::session::{Session, Sessions};
use self::snapshot::{SAMPLE_INTERVAL, Sources};
use crate::app::App;
use crate::problem::Problem;
use crate::rates::Logins;
use crate::scope::Scope;
use crate::settings::ServeSettings;

pub use operations::{AGES, FAILURES};

/// Reads of the ledger for pages at once; ingest needs the other connections.
const READS: usize = 3;
/// How long a page waits for its turn, and how long a read may take.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(2);
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest text of a search or a filter, in bytes: a device id of any allowed length.
const MAX_TEXT_BYTES: usize = 1024;

/// The path of the live figures.
const EVENTS: &str = "/console/events";

/// The console of a service.
pub(crate) struct Console {
    sessions: Sessions,
    logins: Logins,
    sources: Arc<Sources>,
    events: Events,
    reads: Semaphore,
    stop: CancellationToken,
}

impl Console {
    /// Prepares the console, if it is enabled.
    ///
    /// # Errors
    /// No token can read, or a setting cannot be used.
    pub(crate) fn new(
        service: &IngestService,
        settings: &ServeSettings,
        log: Option<&LogReader>,
    ) -> Result<Option<Console>, Error> {
        let console = &settings.console;
        if !console.enabled {
            return Ok(None);
        }
        if !settings.tokens.values().any(|token| token.scopes.contains(&Scope::Read)) {
            return Err(Error::Config(
                "serve.console: no token has the scope read, so no user could sign in; create one with eds token".to_owned(),
            ));
        }
        let policy = console.policy.as_ref().map(|path| {
            let place = format!("serve.console.policy: {}", path.display());
            let text = read_file(path, MAX_POLICY_BYTES as u64);
            let policy = Policy::parse(&text.map_err(|error| Error::unusable(&place, error))?);
            policy.map(Arc::new).map_err(|error| Error::unusable(&place, error))
        });
        let (alertmanager, operations) = (Alertmanager::new(console)?, console.operations.clone());
        let sources =
            Sources::new(service.clone(), log.cloned(), policy.transpose()?, alertmanager, operations);
        let (sources, stop) = (Arc::new(sources), CancellationToken::new());
        let loopback = settings.listen.iter().all(|address| address.ip().to_canonical().is_loopback());
        let secure = console.secure_cookie.unwrap_or(settings.tls.is_some() || !loopback);
        let seconds = |seconds: u64| Duration::from_secs(seconds.max(1));
        Ok(Some(Console {
            sessions: Sessions::new(seconds(console.idle_seconds), seconds(console.session_seconds), secure),
            logins: Logins::default(),
            events: Events::new(),
            sources,
            reads: Semaphore::new(READS),
            stop,
        }))
    }

    /// Begins to measure the rate of accepted records, until the console stops.
    fn start(&self) {
        let (sources, stop) = (Arc::clone(&self.sources), self.stop.clone());
        tokio::spawn(async move {
            loop {
                sources.sample();
                tokio::select! {
                    () = tokio::time::sleep(SAMPLE_INTERVAL) => {}
                    () = stop.cancelled() => return,
                }
            }
        });
    }

    /// Ends the connections that wait for events.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(crate) fn tidy(&self) {
        self.sessions.tidy();
    }

    /// Reads from the ledger for a page.
    async fn read<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, String> {
        let turn = tokio::time::timeout(QUEUE_TIMEOUT, self.reads.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err("Too many pages read the ledger at this moment; load the page again.".to_owned());
        };
        match tokio::time::timeout(READ_TIMEOUT, read).await {
            Ok(read) => read.map_err(|error| snapshot::trouble(&error)),
            Err(_) => Err("The ledger does not respond in time.".to_owned()),
        }
    }
}

/// The console, as an extractor.
struct Site(Arc<Console>);

impl<S: Sync> FromRequestParts<S> for Site {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Site, Problem> {
        let console = parts.extensions.get::<Arc<Console>>().cloned();
        console.map(Site).ok_or_else(|| Problem::internal("the console is not attached to the request"))
    }
}

/// Returns the views of the ledger.
fn views(app: &App) -> Result<Arc<dyn LedgerViews>, String> {
    app.service().ledger().views().ok_or_else(snapshot::no_views)
}

/// Starts a console, and returns its routes.
pub(crate) fn router(console: Arc<Console>) -> Router {
    console.start();
    let inside = Router::new()
        .route("/console", get(fleet::fleet))
        .route("/console/devices", get(devices::devices))
        .route("/console/device", get(device::device))
        .route("/console/record", get(record::record))
        .route("/console/payload", get(record::payload))
        .route("/console/proof", get(record::proof))
        .route("/console/log", get(entries::log))
        .route("/console/search", get(search::search))
        .route("/console/alerts", get(fleet::alerts))
        .route(EVENTS, get(events::events))
        .route_layer(axum::middleware::from_fn(inside));
    Router::new()
        .route("/console/login", get(sign::form).post(sign::sign_in))
        .route("/console/logout", post(sign::sign_out))
        .merge(inside)
        .route_layer(axum::middleware::from_fn(outside))
        .layer(Extension(console))
}

/// Refuses requests that another site makes, and sets the headers of every response.
async fn outside(request: Request, next: Next) -> Response {
    let response = match origin(request.method(), request.uri(), request.headers()) {
        Origin::Own => next.run(request).await,
        Origin::Other => {
            let path = request.uri().path_and_query().map_or("/console", |path| path.as_str());
            let content = html! {
                p { "Another site asked for this page, so it is not shown." }
                @if request.method() == Method::GET {
                    p { a href=(path) { "Open it from here" } "." }
                }
            };
            Page::trouble(StatusCode::FORBIDDEN, None, content).into_response()
        }
    };
    protect(response)
}

#[derive(PartialEq, Eq, Debug)]
enum Origin {
    Own,
    Other,
}

/// Decides who made a request: the console itself or its user, or another site. A browser reports it in `Sec-Fetch-Site`;
/// over plain HTTP to another host it sends only `Origin`, and that not with every GET. A request that changes something
/// must have one of both.
fn origin(method: &Method, uri: &Uri, headers: &HeaderMap) -> Origin {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text(header::HeaderName::from_static("sec-fetch-site")) {
        // "none" is an address that the user has typed.
        let own = site == "same-origin" || reads && site == "none";
        return if own { Origin::Own } else { Origin::Other };
    }
    let Some(origin) = text(header::ORIGIN) else {
        return if reads { Origin::Own } else { Origin::Other };
    };
    let host = uri.authority().map(|host| host.as_str()).or_else(|| text(header::HOST));
    let named = origin.split_once("://").map(|(_, host)| host);
    if named.is_some() && named == host { Origin::Own } else { Origin::Other }
}

/// Requires a session.
async fn inside(Site(console): Site, mut request: Request, next: Next) -> Response {
    let (sessions, headers) = (&console.sessions, request.headers());
    let session = match request.uri().path() {
        // The browser connects by itself, again and again.
        EVENTS => sessions.of_open_page(headers),
        _ => sessions.of(headers),
    };
    // A token that lost its scope is another token, as the settings are read at the start of the process.
    if let Some(session) = session {
        request.extensions_mut().insert(session);
        return next.run(request).await;
    }
    let accepts =
        request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") || accepts.is_empty() && request.uri().path() == "/console" {
        Redirect::to("/console/login").into_response()
    } else {
        (StatusCode::UNAUTHORIZED, "sign in at /console/login\n").into_response()
    }
}

/// Returns the session that [`inside`] has found.
fn session(request: &Request) -> Option<Session> {
    request.extensions().get::<Session>().cloned()
}

/// The parameters of a page; an empty one counts as absent, as forms send all their fields.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(uri: &Uri) -> Parameters {
        let query = uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes()).take(16);
        Parameters(pairs.map(|(name, value)| (name.into_owned(), value.trim().to_owned())).collect())
    }

    /// Returns a text.
    ///
    /// # Errors
    /// A sentence: it is too long, or has a character that no database can look up.
    fn text(&self, name: &str) -> Result<Option<&str>, String> {
        let found = self.0.iter().find(|(each, value)| each == name && !value.is_empty());
        let Some((_, value)) = found else { return Ok(None) };
        if value.len() > MAX_TEXT_BYTES || value.contains('\0') {
            return Err(format!("The field {name} takes at most {MAX_TEXT_BYTES} bytes, without U+0000."));
        }
        Ok(Some(value))
    }

    /// Returns a number.
    ///
    /// # Errors
    /// A sentence: it is not a number that a ledger can have.
    fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let number = text.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok());
        number.map(Some).ok_or_else(|| format!("The field {name} takes a whole number below 2^63."))
    }

    /// Returns the device and the sequence of a record.
    ///
    /// # Errors
    /// A sentence: one of both is missing.
    fn record(&self) -> Result<(&str, u64), String> {
        match (self.text("id")?, self.number("sequence")?) {
            (Some(id), Some(sequence)) => Ok((id, sequence)),
            _ => Err("The address of a record has the fields id and sequence.".to_owned()),
        }
    }
}

/// Returns a page about a malformed request.
fn wrong(place: &'static str, problem: &str) -> Page {
    Page::trouble(StatusCode::BAD_REQUEST, Some(place), note(problem))
}

/// Returns a page about a missing object.
fn absent(place: &'static str, problem: &str) -> Page {
    Page::trouble(StatusCode::NOT_FOUND, Some(place), note(problem))
}

/// Returns a page that says which store does not respond.
fn unavailable(place: &'static str, problem: &str) -> Page {
    Page::trouble(StatusCode::SERVICE_UNAVAILABLE, Some(place), note(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &Method, headers: &[(&str, &str)]) -> Origin {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<header::HeaderName>().unwrap(), value.parse::<header::HeaderValue>().unwrap())
        });
        origin(method, &Uri::from_static("/console"), &headers.collect())
    }

    #[test]
    fn another_site_makes_no_request() {
        use Origin::{Other, Own};
        let (get, post) = (Method::GET, Method::POST);
        for (method, headers, expected) in [
            (&get, &[][..], Own),
            (&post, &[], Other),
            (&get, &[("sec-fetch-site", "none")], Own),
            (&post, &[("sec-fetch-site", "none")], Other),
            (&post, &[("sec-fetch-site", "same-origin")], Own),
            (&get, &[("sec-fetch-site", "same-site")], Other),
            (&get, &[("sec-fetch-site", "cross-site")], Other),
            (&post, &[("sec-fetch-site", "cross-site"), ("origin", "http://a"), ("host", "a")], Other),
            (&post, &[("origin", "http://a:1"), ("host", "a:1")], Own),
            (&post, &[("origin", "http://b:1"), ("host", "a:1")], Other),
            (&get, &[("origin", "http://b:1"), ("host", "a:1")], Other),
            (&post, &[("origin", "null"), ("host", "null")], Other),
            (&post, &[("host", "a:1")], Other),
        ] {
            assert_eq!(of(method, headers), expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn parameters_are_bounded() {
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        let parameters = |query: &str| Parameters::of(&format!("/console?{query}").parse().unwrap());
        assert_eq!(parameters("id=a%20b&x=").text("id"), Ok(Some("a b")));
        assert_eq!(parameters("id=&x=").text("id"), Ok(None));
        assert!(parameters(&format!("id={long}")).text("id").is_err());
        assert!(parameters("id=%00").text("id").is_err());
        for wrong in ["-1", "1.5", "9223372036854775808", "x"] {
            assert!(parameters(&format!("n={wrong}")).number("n").is_err(), "{wrong}");
        }
        assert!(parameters("id=a").record().is_err());
    }
}
