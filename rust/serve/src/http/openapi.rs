//! The OpenAPI document, generated from the handlers.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use edgesentry_rs::wire;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr};
use utoipa::{Modify, OpenApi};

use super::{admin, batch, export, health, ingest, reads, receipts, tlog};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "EdgeSentry",
        description = "Ingests and serves tamper-evident audit records. Errors are problem documents \
                       (RFC 9457) with stable codes."
    ),
    paths(
        ingest::ingest, batch::batch, reads::devices, admin::register, admin::revoke, admin::erase, reads::heads, reads::records,
    reads::log, tlog::checkpoint, tlog::tile, tlog::status, tlog::proof, tlog::heads_proof, tlog::consistency, receipts::receipt, tlog::timestamps,
        export::export, health::healthz, health::readyz
    ),
    components(schemas(wire::Problem)),
    modifiers(&Problems, &Tokens)
)]
struct Document;

/// Adds the body of every error: handlers name the statuses and codes, not the bodies.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let operations = document.paths.paths.values_mut().flat_map(|path| [&mut path.get, &mut path.post]);
        for operation in operations.flatten() {
            for (status, response) in &mut operation.responses.responses {
                let RefOr::T(response) = response else { continue };
                if status.starts_with(['4', '5']) {
                    let body = Content::new(Some(Ref::from_schema_name("Problem")));
                    response.content.insert("application/problem+json".to_owned(), body.into());
                }
            }
        }
    }
}

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

/// Returns the OpenAPI document as JSON.
pub fn openapi() -> String {
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi()).into_response()
}
