//! The state that the handlers of the API and the console share, with access control and limits for each caller.

// A problem is created once per request and becomes its response: a box would save nothing.
#![allow(clippy::result_large_err)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use edgesentry_rs::admission::{Outcome, Submission};
use edgesentry_rs::ingest::storage::IngestService;
use edgesentry_rs::log::LogReader;
use edgesentry_rs::telemetry::metrics::Resource;
use tokio::sync::Mutex;

use crate::failures::StoreFailures;
use crate::identity::{Peer, Sender, SenderKey};
use crate::problem::Problem;
use crate::rates::{Charge, Proofs, Rates, Rejections};
use crate::scope::Scope;
use crate::settings::{ServeLimits, ServeSettings};
use crate::shares::{Pool, Share};
use crate::tokens::Tokens;

/// How long a batch or an export waits for its turn.
pub(crate) const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// The state that all handlers share.
pub(crate) struct App {
    service: IngestService,
    pub(crate) limits: ServeLimits,
    tokens: Tokens,
    rates: Rates,
    rejections: Arc<Rejections>,
    pub(crate) bodies: Arc<Pool>,
    answers: Arc<Pool>,
    pub(crate) batches: Arc<Pool>,
    pub(crate) exports: Arc<Pool>,
    proof_places: Arc<Pool>,
    proofs: Proofs,
    /// True if senders must authenticate: a way to do so is configured.
    knows_senders: bool,
    pub(crate) stopping: AtomicBool,
    pub(crate) readiness: Readiness,
    failures: Arc<StoreFailures>,
    /// The transparency log of the ledger, if it is configured.
    log: Option<LogReader>,
}

impl App {
    pub(crate) fn new(service: IngestService, settings: &ServeSettings, log: Option<LogReader>) -> App {
        let tokens = Tokens::new(&settings.tokens);
        let certificates = settings.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let limits = settings.limits.clone();
        let pool = |resource, total| Pool::new(service.metrics(), resource, total);
        App {
            bodies: pool(Resource::BodyBytes, limits.memory_bytes),
            answers: pool(Resource::AnswerBytes, limits.answer_bytes),
            batches: pool(Resource::Batches, limits.batches),
            exports: pool(Resource::Exports, limits.exports),
            proof_places: pool(Resource::Proofs, limits.proofs),
            proofs: Proofs::new(&settings.rate),
            service,
            limits,
            knows_senders: certificates || tokens.has(Scope::Ingest),
            tokens,
            rates: Rates::new(&settings.rate),
            rejections: Arc::new(Rejections::new(&settings.rate)),
            stopping: AtomicBool::new(false),
            readiness: Readiness::default(),
            failures: Arc::default(),
            log,
        }
    }

    /// Reports not ready from now on.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Returns the observed failures of the stores.
    pub(crate) fn failures(&self) -> &Arc<StoreFailures> {
        &self.failures
    }

    /// Returns the limit of rejections.
    pub(crate) fn rejections(&self) -> &Arc<Rejections> {
        &self.rejections
    }

    /// Returns the limit of response bytes that are not taken yet.
    pub(crate) fn answers(&self) -> &Arc<Pool> {
        &self.answers
    }

    pub(crate) fn tidy(&self) {
        self.rates.tidy();
    }

    pub(crate) fn service(&self) -> &IngestService {
        &self.service
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Returns the transparency log of the ledger, if it is configured.
    pub(crate) fn log(&self) -> Option<&LogReader> {
        self.log.as_ref()
    }

    /// Returns the key of the holder of a token, which was checked before.
    pub(crate) fn holder(&self, headers: &HeaderMap) -> SenderKey {
        let token = bearer(headers).ok().flatten().and_then(|token| self.tokens.find(token));
        SenderKey::of_token(token.as_ref().map_or("", |token| &token.name))
    }

    /// Identifies the sender of records: by its token if it has one for that, otherwise by its certificate.
    pub(crate) fn sender(&self, peer: &Peer, headers: &HeaderMap) -> Result<Sender, Problem> {
        if let Some(token) = bearer(headers)? {
            let token = self.tokens.find(token).ok_or_else(Problem::unknown_token)?;
            if token.may(Scope::Ingest) {
                return Ok(Sender::Token(token));
            }
            if self.knows_senders && peer.devices.is_none() {
                return Err(Problem::scope(&token, Scope::Ingest));
            }
        }
        match (&peer.devices, self.knows_senders) {
            (Some(devices), _) => Ok(Sender::Certificate(Arc::clone(devices))),
            (None, false) => Ok(Sender::Anybody),
            (None, true) => Err(Problem::unauthenticated(
                "only known senders may send records: present a client certificate, or a token with the scope ingest",
            )),
        }
    }

    /// Requires a token with a scope.
    pub(crate) fn require(&self, headers: &HeaderMap, scope: Scope) -> Result<(), Problem> {
        let Some(token) = bearer(headers)? else {
            let name = scope.name();
            let detail =
                format!("a token with the scope {name} is required: send Authorization: Bearer TOKEN");
            return Err(Problem::unauthenticated(detail));
        };
        let token = self.tokens.find(token).ok_or_else(Problem::unknown_token)?;
        if token.may(scope) { Ok(()) } else { Err(Problem::scope(&token, scope)) }
    }

    /// Checks that the sender may send this record now.
    pub(crate) fn authorize(
        &self,
        peer: &Peer,
        sender: &Sender,
        key: SenderKey,
        submission: &Submission,
    ) -> Result<(), Problem> {
        let device_id = &submission.record.device_id;
        if !sender.may_send(device_id) {
            return Err(Problem::other_device(device_id));
        }
        let unknown_at = (!sender.is_known()).then_some(peer.address);
        self.rates.check(device_id, unknown_at).map_err(Problem::rate_limited)?;
        self.rejections.check(key, device_id, self.service.knows(device_id)).map_err(|wait| {
            self.service.metrics().count_limited_rejection();
            Problem::rejections_limited(wait)
        })
    }

    /// Observes the outcome of a record.
    pub(crate) fn note(
        &self,
        key: SenderKey,
        device_id: &str,
        outcome: &Result<Outcome, edgesentry_rs::Error>,
    ) {
        self.failures.observe(device_id, outcome);
        if let Ok(outcome) = outcome {
            self.rejections.count(key, outcome);
        }
    }

    /// Waits for a place for a proof, and charges the caller for the most bundles that it may read.
    pub(crate) async fn proving(&self, caller: SenderKey, bundles: u64) -> Result<Proving<'_>, Problem> {
        let check = || self.proofs.check(caller).map_err(Problem::rate_limited);
        check()?;
        let place = self.proof_places.take(caller, 1, QUEUE_TIMEOUT).await;
        let place = place.ok_or_else(|| Problem::busy("too many proofs at once"))?;
        // The proofs for which it has waited are charged by now.
        check()?;
        Ok(Proving { charge: self.proofs.charge(caller, bundles), _place: place })
    }

    /// Requires a token with the scope `read`, or the certificate or token of a device: of this device, if one is given.
    /// Returns the key of the caller.
    pub(crate) fn require_reader_or(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
        device_id: Option<&str>,
    ) -> Result<SenderKey, Problem> {
        if let Some(token) = bearer(headers)?.and_then(|token| self.tokens.find(token)) {
            if token.may(Scope::Read) {
                return Ok(SenderKey::of_token(&token.name));
            }
            if !token.may(Scope::Ingest) && peer.devices.is_none() {
                return Err(Problem::scope(&token, Scope::Read));
            }
        }
        let sender = self.sender(peer, headers)?;
        if let Some(device_id) = device_id {
            match &sender {
                Sender::Token(token) if !token.is_limited() => {
                    return Err(Problem::scope(token, Scope::Read));
                }
                sender if !sender.may_send(device_id) => return Err(Problem::other_device(device_id)),
                _ => {}
            }
        }
        sender_is_known(&sender)?;
        Ok(sender.key(peer))
    }
}

fn sender_is_known(sender: &Sender) -> Result<(), Problem> {
    let detail = "receipts and consistency proofs are read with the certificate or token of a device, or with a token with \
                  the scope read";
    if sender.is_known() { Ok(()) } else { Err(Problem::unauthenticated(detail)) }
}

/// Returns the bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| value.split_once(' '));
    match token {
        Some((kind, token)) if kind.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim()))
        }
        _ => {
            let detail = "Authorization: expected Bearer TOKEN, got another scheme or no token";
            Err(Problem::unauthenticated(detail))
        }
    }
}

/// The shared state, as an extractor.
pub(crate) struct State(pub(crate) Arc<App>);

impl<S: Sync> FromRequestParts<S> for State {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<State, Problem> {
        let app = parts.extensions.get::<Arc<App>>().cloned();
        app.map(State).ok_or_else(|| Problem::internal("the service is not attached to the request"))
    }
}

/// The parameters of a query; an unknown or malformed one is an error.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: serde::de::DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Problem> {
        let parsed = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        parsed.map(|query| Query(query.0)).map_err(|error| {
            use std::error::Error;
            let detail = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Problem::malformed(format!(
                "query: {}",
                with_value(&detail, parts.uri.query().unwrap_or_default())
            ))
        })
    }
}

/// Returns the fault of a parameter with its value, in our words for a value that does not parse.
fn with_value(detail: &str, query: &str) -> String {
    let wanted = [
        ("invalid digit found in string", "expected a natural number"),
        ("cannot parse integer from empty string", "expected a natural number"),
        ("number too large to fit in target type", "expected a smaller number"),
        ("provided string was not `true` or `false`", "expected true or false"),
    ];
    let found = wanted.iter().find_map(|(theirs, ours)| {
        let name = detail.strip_suffix(theirs)?.trim_end_matches([':', ' ']);
        let (_, value) = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name)?;
        Some(format!("{name}: {ours}, not {:?}", shown(&value)))
    });
    found.unwrap_or_else(|| detail.to_owned())
}

/// The last result of the stores.
#[derive(Default)]
pub(crate) struct Readiness(pub(crate) Mutex<Option<(Instant, Result<(), &'static str>)>>);

/// A place for the making of a proof, and the charge for it.
pub(crate) struct Proving<'a> {
    charge: Charge<'a>,
    _place: Share,
}

impl Proving<'_> {
    /// Ends the making of a proof that has read so many bundles.
    pub(crate) fn done(self, bundles: u64) {
        self.charge.settle(bundles.max(1));
    }
}

/// Returns the beginning of a text of the caller.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}
