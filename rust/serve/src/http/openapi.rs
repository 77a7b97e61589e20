//! The OpenAPI document, generated from the handlers, with the examples of `examples.json`.

use std::collections::BTreeMap;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use edgesentry_rs::wire::{self, ProblemCode};
use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{admin, batch, export, health, ingest, reads, receipts, tlog};

/// The texts of the examples. The records in them are signed, and follow one another.
const EXAMPLES: &str = include_str!("examples.json");

#[derive(Deserialize, Default)]
struct Texts {
    /// Bodies of requests and of successful responses: by method and path, then `request` or the status,
    /// perhaps with the media type.
    bodies: BTreeMap<String, BTreeMap<String, Value>>,
    /// The detail of a problem by its code.
    problems: BTreeMap<String, String>,
}

impl Texts {
    fn read() -> Texts {
        serde_json::from_str(EXAMPLES).unwrap_or_default()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "EdgeSentry",
        description = "Ingests and serves tamper-evident audit records. Errors are problem documents \
                       (RFC 9457) with stable codes. A token is in the header Authorization: Bearer TOKEN; the security of \
                       each operation names the scope that it needs."
    ),
    servers((url = "/", description = "The service that sends this document")),
    paths(
        ingest::ingest, batch::batch, reads::devices, admin::register, admin::revoke, admin::erase, reads::heads, reads::records,
    reads::log, tlog::checkpoint, tlog::tile, tlog::status, tlog::proof, tlog::heads_proof, tlog::consistency, receipts::receipt, tlog::timestamps,
        export::export, health::healthz, health::readyz, health::metrics
    ),
    components(schemas(wire::Problem)),
    modifiers(&Problems, &Examples, &Credentials)
)]
struct Document;

/// Adds the body of every error: handlers name the statuses and codes, not the bodies.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let texts = Texts::read();
        for (_, operation) in operations(document) {
            let responses = &mut operation.responses.responses;
            // A store that only its operator can repair.
            if responses.contains_key("401") && responses.contains_key("503") {
                let store = || ResponseBuilder::new().description("store").build().into();
                responses.entry("500".to_owned()).or_insert_with(store);
            }
            for (status, response) in responses {
                let RefOr::T(response) = response else { continue };
                if status.starts_with(['4', '5']) {
                    let examples = problems(&texts, status, &response.description);
                    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
                    let body =
                        body.examples_from_iter(examples.into_iter().map(|(code, problem)| {
                            (code, ExampleBuilder::new().value(Some(problem)).build())
                        }));
                    response.content.insert("application/problem+json".to_owned(), body.build().into());
                }
            }
        }
    }
}

/// Returns a problem for each code that the description of a response names.
fn problems(texts: &Texts, status: &str, description: &str) -> BTreeMap<String, Value> {
    let number = status.parse().unwrap_or_default();
    let title = StatusCode::from_u16(number).ok().and_then(|status| status.canonical_reason());
    let words = description.split(|character: char| !character.is_ascii_lowercase() && character != '_');
    let codes = words.map(ProblemCode::from).filter(|code| !matches!(code, ProblemCode::Other(_)));
    let problem = |code: ProblemCode| {
        let is_rejection = matches!(code, ProblemCode::Rejected(_));
        let given = |value: &str| is_rejection.then(|| value.to_owned());
        let document = wire::Problem {
            kind: format!("urn:edgesentry:problem:{code}"),
            title: title.unwrap_or("Problem").into(),
            status: number,
            detail: texts
                .problems
                .get(code.as_str())
                .cloned()
                .unwrap_or_else(|| "expected 8, found 9".to_owned()),
            device_id: given("lift-01"),
            sequence: is_rejection.then_some(9),
            expected: given("8"),
            actual: given("9"),
            code,
        };
        (document.code.to_string(), serde_json::to_value(document).unwrap_or_default())
    };
    codes.map(problem).collect()
}

/// Adds the examples of bodies.
struct Examples;

impl Modify for Examples {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let texts = Texts::read();
        for (name, operation) in operations(document) {
            let Some(bodies) = texts.bodies.get(&name) else { continue };
            if let (Some(RefOr::T(body)), Some(example)) =
                (&mut operation.request_body, bodies.get("request"))
            {
                body.content.values_mut().for_each(|content| give(content, Some(example)));
            }
            for (status, response) in &mut operation.responses.responses {
                let RefOr::T(response) = response else { continue };
                for (kind, content) in &mut response.content {
                    give(content, bodies.get(&format!("{status} {kind}")).or_else(|| bodies.get(status)));
                }
            }
        }
    }
}

fn give(content: &mut RefOr<Content>, example: Option<&Value>) {
    if let (RefOr::T(content), Some(example)) = (content, example) {
        content.example = Some(example.clone());
    }
}

/// Returns every operation by its method and path.
fn operations(document: &mut utoipa::openapi::OpenApi) -> impl Iterator<Item = (String, &mut Operation)> {
    document.paths.paths.iter_mut().flat_map(|(path, item)| {
        let methods = [("GET", &mut item.get), ("POST", &mut item.post)];
        methods
            .into_iter()
            .filter_map(move |(method, operation)| Some((format!("{method} {path}"), operation.as_mut()?)))
    })
}

/// Adds the credentials.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of serve.tokens, with scopes"))
            .build();
        let certificate = SecurityScheme::MutualTls {
            description: Some("A certificate of a device, if serve.tls.client_ca is set".to_owned()),
            deprecated: None,
            extensions: None,
        };
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        components.add_security_scheme("certificate", certificate);
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
