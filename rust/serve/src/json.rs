//! JSON output of the service, escaped so that it is inert on a terminal or in the log of a pipeline.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use edgesentry_chain::escape;
use serde::Serialize;

/// A JSON response, see [`text`].
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], text(&self.0)).into_response()
    }
}

/// Returns a value as JSON in one line, see [`escape::json`].
pub(super) fn text(value: &impl Serialize) -> String {
    // Maps with keys of text and values of numbers and text always serialize.
    let text = serde_json::to_string(value).unwrap_or_default();
    match escape::json(&text) {
        std::borrow::Cow::Owned(escaped) => escaped,
        std::borrow::Cow::Borrowed(_) => text,
    }
}
