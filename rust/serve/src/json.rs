//! JSON that leaves the service: whoever shows it on a terminal or in the log of a pipeline is not acted on.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use edgesentry_chain::escape;
use serde::Serialize;

/// An answer in JSON, see [`text`].
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], text(&self.0)).into_response()
    }
}

/// A value as JSON in one line, see [`escape::json`].
pub(super) fn text(value: &impl Serialize) -> String {
    // Maps with keys of text and values of numbers and text always become JSON.
    let text = serde_json::to_string(value).unwrap_or_default();
    match escape::json(&text) {
        std::borrow::Cow::Owned(escaped) => escaped,
        std::borrow::Cow::Borrowed(_) => text,
    }
}
