//! Common parts of the pages. Every text from outside passes through [`name`] or [`shown`], and every value through maud,
//! which escapes it.

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use edgesentry_chain::plural;
use edgesentry_formats::text::{REPORT_STYLE, name, number, shown};
use edgesentry_formats::times::{now_ms, to_rfc3339};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::blake3_script::PAYLOAD_SCRIPT;

/// The colours and forms of the report page, and those of the console.
static STYLE: LazyLock<String> = LazyLock::new(|| format!("{REPORT_STYLE}{}", include_str!("style.css")));
const LIVE_SCRIPT: &str = include_str!("live.js");

/// Permits the style and the scripts of the pages, and requests to this service.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}' 'sha256-{}'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(&STYLE),
        hash(LIVE_SCRIPT),
        hash(&PAYLOAD_SCRIPT)
    );
    HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

/// A script of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    None,
    /// Keeps the figures of the fleet current.
    Live,
    /// Checks the hash of a payload.
    Payload,
}

/// A page of the console.
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) title: String,
    /// The path in the navigation; none for a page without a session.
    pub(super) place: Option<&'static str>,
    pub(super) script: Script,
    pub(super) content: Markup,
}

impl Page {
    pub(super) fn new(title: impl Into<String>, place: &'static str, content: Markup) -> Page {
        Page {
            status: StatusCode::OK,
            title: title.into(),
            place: Some(place),
            script: Script::None,
            content,
        }
    }

    /// A page that says why there is nothing else.
    pub(super) fn trouble(status: StatusCode, place: Option<&'static str>, content: Markup) -> Page {
        let title = status.canonical_reason().unwrap_or("Problem").to_owned();
        Page { status, title, place, script: Script::None, content }
    }
}

const PLACES: [(&str, &str); 5] = [
    ("/console", "Fleet"),
    ("/console/devices", "Devices"),
    ("/console/log", "Operation log"),
    ("/console/search", "Search"),
    ("/console/alerts", "Alerts"),
];

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let Page { status, title, place, script, content } = self;
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) " – EdgeSentry console" }
                    style { (PreEscaped(&*STYLE)) }
                }
                body .console {
                    a .skip href="#main" { "Skip to the content" }
                    header {
                        p .product { "EdgeSentry console" }
                        h1 { (title) }
                        @if script == Script::Live {
                            p #live .minor role="status" { "As of " (stamp(now_ms())) "." }
                        }
                    }
                    @if let Some(place) = place {
                        (navigation(place))
                    }
                    main #main tabindex="-1" { (content) }
                    footer {
                        p { "EdgeSentry " (env!("CARGO_PKG_VERSION")) " · all times in UTC · this page changes nothing" }
                    }
                    @match script {
                        Script::None => {}
                        Script::Live => script { (PreEscaped(LIVE_SCRIPT)) },
                        Script::Payload => script { (PreEscaped(&*PAYLOAD_SCRIPT)) },
                    }
                }
            }
        };
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        let mut response = (status, [(header::CONTENT_TYPE, html)], page.into_string()).into_response();
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
        response
    }
}

fn navigation(place: &str) -> Markup {
    html! {
        nav aria-label="Console" {
            ul {
                @for (path, text) in PLACES {
                    li {
                        @if path == place {
                            a href=(path) aria-current="page" { (text) }
                        } @else {
                            a href=(path) { (text) }
                        }
                    }
                }
                li .out {
                    form .plain method="post" action="/console/logout" { button { "Sign out" } }
                }
            }
        }
    }
}

/// Sets the headers that every response of the console has.
pub(super) fn protect(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"));
    response
}

/// Returns a path with a query.
pub(super) fn link(path: &str, query: &[(&str, &str)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in query {
        text.append_pair(name, value);
    }
    format!("{path}?{}", text.finish())
}

pub(super) fn device_link(device_id: &str) -> Markup {
    html! { a .device href=(link("/console/device", &[("id", device_id)])) { (name(device_id)) } }
}

pub(super) fn record_path(path: &str, device_id: &str, sequence: u64) -> String {
    link(path, &[("id", device_id), ("sequence", &sequence.to_string())])
}

/// Renders a sequence as a link to its record.
pub(super) fn record_link(device_id: &str, sequence: u64) -> Markup {
    html! { a href=(record_path("/console/record", device_id, sequence)) { (number(sequence)) } }
}

/// Renders a time: `2022-03-20 10:00:00Z`.
pub(super) fn stamp(unix_ms: u64) -> Markup {
    let exact = to_rfc3339(unix_ms / 1000 * 1000);
    html! {
        @if exact.ends_with('Z') { time datetime=(exact) { (exact.replace('T', " ")) } }
        // Beyond the calendar the time is a bare number.
        @else { (exact) " ms" }
    }
}

/// Writes a length of time in its largest unit that is not below 1.
pub(super) fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let (value, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{} {}", number(value), plural(value, unit))
}

/// Writes the time since a moment.
pub(super) fn ago(unix_ms: u64) -> String {
    let now = now_ms();
    match now.checked_sub(unix_ms) {
        Some(since) => format!("{} ago", length(Duration::from_millis(since))),
        None => format!("{} ahead of this clock", length(Duration::from_millis(unix_ms - now))),
    }
}

/// Renders a sentence about something that is missing or does not respond.
pub(super) fn note(text: &str) -> Markup {
    html! { p .notes { (shown(text)) } }
}

/// The result of a check.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Holds,
    Fails,
    Open,
}

/// Renders a result as a mark and a word, so that it does not depend on colour.
pub(super) fn standing(standing: Standing, word: &str) -> Markup {
    let (class, mark) = match standing {
        Standing::Holds => ("good", "✓"),
        Standing::Fails => ("bad", "✗"),
        Standing::Open => ("none", "–"),
    };
    html! { span .standing .(class) { span .mark aria-hidden="true" { (mark) } " " (word) } }
}

/// Renders the link to the next part of a list.
pub(super) fn onward(path: &str, text: &str) -> Markup {
    html! { p .more { a href=(path) rel="next" { (text) } } }
}

/// Renders a hash.
pub(super) fn hash(hash: edgesentry_chain::Hash) -> Markup {
    html! { code { (hash.to_string()) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_unit() {
        for (seconds, text) in
            [(0, "0 seconds"), (1, "1 second"), (119, "1 minute"), (7200, "2 hours"), (172_800, "2 days")]
        {
            assert_eq!(length(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_link_escapes_any_text() {
        assert_eq!(
            link("/console/device", &[("id", "a&b=\"<\u{202e}\n")]),
            "/console/device?id=a%26b%3D%22%3C%E2%80%AE%0A"
        );
    }

    #[test]
    fn no_script_or_style_ends_itself() {
        assert!(!STYLE.contains("</") && !LIVE_SCRIPT.contains("</") && !PAYLOAD_SCRIPT.contains("</"));
    }
}
