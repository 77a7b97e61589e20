//! The OpenAPI document, made from the handlers.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{admin, batch, export, health, ingest, reads};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "EdgeSentry",
        description = "Takes tamper-evident audit records in and gives them out again. Errors are problem documents \
                       (RFC 9457) with stable codes."
    ),
    paths(
        ingest::ingest, batch::batch, reads::devices, admin::register, admin::revoke, reads::heads, reads::records,
        reads::log, export::export, health::healthz, health::readyz
    ),
    modifiers(&Tokens)
)]
struct Document;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of serve.tokens, with scopes"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The OpenAPI document as JSON.
pub fn openapi() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi()).into_response()
}
