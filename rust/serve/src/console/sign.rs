//! Signing in and out.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::Site;
use super::parts::{Page, Script};
use crate::app::State;
use crate::identity::{Peer, SenderKey};
use crate::scope::Scope;

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::transport::console";
/// The largest form, and how long it may take to arrive.
const MAX_FORM_BYTES: usize = 4096;
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

fn page(status: StatusCode, problem: Option<&str>) -> Page {
    let content: Markup = html! {
        section aria-labelledby="sign-title" {
            h2 #sign-title { "Sign in" }
            @if let Some(problem) = problem {
                p .notes #problem role="alert" { (problem) }
            }
            form .sign method="post" action="/console/login" {
                label {
                    "Token with the scope read"
                    input type="password" name="token" autocomplete="current-password" required maxlength="1024" autofocus
                        aria-describedby=[problem.map(|_| "problem")];
                }
                button { "Sign in" }
            }
            p .more {
                "eds token creates a token. The session is in a cookie of this browser; the token itself is not kept."
            }
        }
    };
    Page { status, title: "Sign in".to_owned(), place: None, script: Script::None, content }
}

/// The form.
pub(super) async fn form(Site(console): Site, headers: HeaderMap) -> Response {
    if console.sessions.of(&headers).is_some() {
        Redirect::to("/console").into_response()
    } else {
        page(StatusCode::OK, None).into_response()
    }
}

/// Begins a session for the holder of a token.
pub(super) async fn sign_in(
    State(app): State,
    Site(console): Site,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let caller = SenderKey::at(peer.address);
    if let Err(wait) = console.logins.check(caller) {
        let seconds = wait.as_secs() + 1;
        let problem = format!("Too many tokens from this address were wrong. Try again in {seconds} s.");
        let mut response = page(StatusCode::TOO_MANY_REQUESTS, Some(&problem)).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        return response;
    }
    let read = tokio::time::timeout(FORM_TIMEOUT, axum::body::to_bytes(body, MAX_FORM_BYTES)).await;
    let Ok(Ok(form)) = read else {
        return page(StatusCode::BAD_REQUEST, Some("The form did not arrive in full.")).into_response();
    };
    let token = url::form_urlencoded::parse(&form).find(|(name, _)| name == "token");
    let token = token.map(|(_, token)| token.trim().to_owned()).unwrap_or_default();
    let Some(token) = app.tokens().find(&token) else {
        console.logins.count(caller);
        tracing::warn!(target: TARGET, address = %peer.address, "a wrong token at the console");
        return page(StatusCode::UNAUTHORIZED, Some("The service does not know this token.")).into_response();
    };
    if !token.may(Scope::Read) {
        console.logins.count(caller);
        let problem = format!("The token {} lacks the scope read.", token.name);
        return page(StatusCode::FORBIDDEN, Some(&problem)).into_response();
    }
    // The session of another user of this browser ends.
    console.sessions.end(&headers);
    match console.sessions.begin(&token) {
        Ok(cookie) => {
            tracing::info!(target: TARGET, token = token.name, address = %peer.address, "signed in at the console");
            ([(header::SET_COOKIE, cookie)], Redirect::to("/console")).into_response()
        }
        Err(_) => {
            let problem = "The system has no random bytes for a session.";
            page(StatusCode::INTERNAL_SERVER_ERROR, Some(problem)).into_response()
        }
    }
}

/// Ends the session.
pub(super) async fn sign_out(Site(console): Site, headers: HeaderMap) -> Response {
    let cookie = console.sessions.end(&headers);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/console/login")).into_response()
}
