//! A record with its checks and its proof; its payload.

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use edgesentry_chain::{AuditRecord, Hash, Signed, signed_message, verify_signature};
use edgesentry_formats::text::{name, number, shown};
use edgesentry_log::{Leaf, LogProof, TreeHash};
use edgesentry_rs::admission::DeviceKeys;
use edgesentry_rs::ledger::RecordRow;
use edgesentry_rs::log::ProveError;
use maud::{Markup, html};

use super::parts::{Page, Script, Standing, device_link, hash, record_link, record_path, stamp, standing};
use super::session::Session;
use super::snapshot::{log_trouble, trust};
use super::{Console, Parameters, Site, absent, session, unavailable, views, wrong};
use crate::app::{App, State};
use crate::identity::SenderKey;

const PLACE: &str = "/console/devices";

/// A check of a record.
struct Check {
    what: &'static str,
    standing: Standing,
    detail: String,
}

impl Check {
    fn new(what: &'static str, holds: bool, good: impl Into<String>, bad: impl Into<String>) -> Check {
        let (standing, detail) =
            if holds { (Standing::Holds, good.into()) } else { (Standing::Fails, bad.into()) };
        Check { what, standing, detail }
    }

    fn open(what: &'static str, detail: impl Into<String>) -> Check {
        Check { what, standing: Standing::Open, detail: detail.into() }
    }
}

/// A record, the records beside it, and its key.
struct Found {
    row: RecordRow,
    before: Option<RecordRow>,
    after: Option<RecordRow>,
    keys: Option<DeviceKeys>,
    /// The first sequence of the chain in the ledger.
    first: u64,
}

async fn find(app: &App, console: &Console, id: &str, sequence: u64) -> Result<Option<Found>, String> {
    let views = views(app)?;
    console
        .read(async {
            let query =
                edgesentry_rs::ledger::DeviceQuery { from: id.to_owned(), limit: 1, ..Default::default() };
            let device = views.device_part(&query).await?.found.pop().filter(|device| device.device_id == id);
            let rows = views.records_before(id, sequence.checked_add(2), 3).await?;
            let at = |sequence: Option<u64>| {
                rows.iter().find(|row| Some(row.record.sequence) == sequence).cloned()
            };
            let Some(row) = at(Some(sequence)) else { return Ok(None) };
            let mut keys = app.service().ledger().keys(&[id.into()]).await?;
            Ok(Some(Found {
                row,
                before: at(sequence.checked_sub(1)),
                after: at(sequence.checked_add(1)),
                keys: keys.remove(id),
                first: device.map_or(1, |device| device.start_sequence.saturating_add(1)),
            }))
        })
        .await
}

/// The page.
pub(super) async fn record(State(app): State, Site(console): Site, request: Request) -> Response {
    let parameters = Parameters::of(request.uri());
    let (id, sequence) = match parameters.record() {
        Ok((id, sequence)) => (id.to_owned(), sequence),
        Err(problem) => return wrong(PLACE, &problem).into_response(),
    };
    let found = match find(&app, &console, &id, sequence).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let problem = "The ledger has no such record. A rejected one is in the operation log only.";
            return absent(PLACE, problem).into_response();
        }
        Err(problem) => return unavailable(PLACE, &problem).into_response(),
    };
    let mut checks = chain_checks(&found);
    checks.push(payload_check(&app, &console, &found.row.record).await);
    let proof = prove(&app, session(&request), &id, sequence).await;
    checks.extend(log_checks(&console, &found.row.record, &proof));
    let script = Script::Payload;
    let content = html! {
        (facts(&found))
        section aria-labelledby="checks-title" {
            h2 #checks-title { "Checks of this service, now" }
            div .scroll role="group" aria-labelledby="checks-title" tabindex="0" {
                table .checks {
                    thead { tr { th scope="col" { "Check" } th scope="col" { "Result" } } }
                    tbody {
                        @for check in &checks {
                            tr {
                                td { (standing(check.standing, check.what)) }
                                td { (shown(&check.detail)) }
                            }
                        }
                    }
                }
            }
            @if let Some(Ok(_)) = &proof {
                p { a href=(record_path("/console/proof", &id, sequence)) download { "Proof for eds verify-proof" } }
            }
            p .always {
                "A service that lies could show anything here. eds verify-proof and eds verify-chain check the same on a \
                 machine of yours."
            }
        }
        (payload_section(&found.row.record))
    };
    Page { script, ..Page::new(format!("Record {} of {}", number(sequence), name(&id)), PLACE, content) }
        .into_response()
}

fn facts(found: &Found) -> Markup {
    let RecordRow { record, hash: stored, received_at_ms } = &found.row;
    let neighbour = |row: &Option<RecordRow>, text: &str| {
        html! { @if let Some(row) = row { (text) (record_link(&record.device_id, row.record.sequence)) } }
    };
    html! {
        section aria-labelledby="record-title" {
            h2 #record-title { "Record" }
            dl .facts {
                dt { "Device" } dd { (device_link(&record.device_id)) }
                dt { "Sequence" }
                dd {
                    (number(record.sequence)) " "
                    span .minor { (neighbour(&found.before, "before: ")) " " (neighbour(&found.after, "after: ")) }
                }
                dt { "Time of the device" } dd { (stamp(record.timestamp_ms)) }
                dt { "Received" } dd { (stamp(*received_at_ms)) }
                dt { "Object reference" } dd { (shown(&record.object_ref)) }
                dt { "Record hash" } dd { (hash(*stored)) }
                dt { "Previous record hash" } dd { (hash(record.prev_record_hash)) }
                dt { "Payload hash" } dd { (hash(record.payload_hash)) }
                dt { "Signature" } dd { code { (hex::encode(record.signature)) } }
            }
        }
    }
}

fn chain_checks(found: &Found) -> Vec<Check> {
    let Found { row, before, after, keys, first } = found;
    let RecordRow { record, hash: stored, .. } = row;
    let computed = record.hash();
    let mut checks = vec![Check::new(
        "Record hash",
        computed == *stored,
        "The content of the record hashes to its record hash.",
        format!("The content hashes to {computed}: the ledger was changed without the service."),
    )];
    let link = |what, holds: bool, other: u64| {
        let (other, verb) = (number(other), if holds { "continue" } else { "do not continue" });
        Check::new(
            what,
            holds,
            format!("The hashes {verb} with sequence {other}."),
            format!("The hashes {verb} with sequence {other}."),
        )
    };
    checks.push(match before {
        Some(before) => link(
            "Link to the record before",
            before.record.hash() == record.prev_record_hash,
            before.record.sequence,
        ),
        None if record.sequence == 1 => Check::new(
            "Link to the record before",
            record.prev_record_hash == Hash::ZERO,
            "The chain begins here.",
            "The first record of a chain has a previous hash of zeros.",
        ),
        None if record.sequence <= *first => Check::open(
            "Link to the record before",
            "The chain begins elsewhere; this ledger does not have the record before.",
        ),
        None => {
            Check::new("Link to the record before", false, "", "The record before is missing in the ledger.")
        }
    });
    checks.push(match after {
        Some(after) => link(
            "Link from the record after",
            after.record.prev_record_hash == computed,
            after.record.sequence,
        ),
        None => match keys {
            Some(keys) if keys.head.sequence == record.sequence => Check::new(
                "Head of the chain",
                keys.head.hash == computed,
                "The record is the head of its chain.",
                "The head of the chain has another hash.",
            ),
            Some(keys) if keys.head.sequence > record.sequence => Check::new(
                "Link from the record after",
                false,
                "",
                "The record after it is missing in the ledger.",
            ),
            _ => Check::open("Head of the chain", "The ledger has no head of this chain."),
        },
    });
    checks.push(signature_check(record, keys.as_ref()));
    checks
}

fn signature_check(record: &AuditRecord, keys: Option<&DeviceKeys>) -> Check {
    const WHAT: &str = "Signature";
    let keys = keys.map_or(&[][..], |keys| &keys.keys);
    // Keys are in the order of their first sequence: the last one that has begun signs.
    let Some(key) = keys.iter().rev().find(|key| key.key.valid_from <= record.sequence) else {
        return Check::new(WHAT, false, "", "The device has no key for this sequence.");
    };
    if key.revoked_from.is_some_and(|from| record.sequence >= from) {
        return Check::new(WHAT, false, "", "The key of this sequence was revoked before it.");
    }
    let message = signed_message(record, key.key.scheme);
    let signed = Signed { key: &key.key.key, message: &message, signature: &record.signature };
    let key = key.key.key.short();
    Check::new(
        WHAT,
        verify_signature(&signed),
        format!("The key {key} of the device signs this record."),
        format!("The signature does not hold under the key {key} of the device."),
    )
}

async fn payload_check(app: &App, console: &Console, record: &AuditRecord) -> Check {
    const WHAT: &str = "Payload";
    match console.read(app.service().payloads().get(record)).await {
        Ok(Some(payload)) => {
            let actual = Hash::of(&payload);
            let bytes = number(payload.len() as u64);
            Check::new(
                WHAT,
                actual == record.payload_hash,
                format!("The store has it: {bytes} bytes that hash to the payload hash."),
                format!("The store has {bytes} other bytes, which hash to {actual}."),
            )
        }
        Ok(None) => {
            Check::open(WHAT, "The payload store does not have it: it was erased, or never stored here.")
        }
        Err(problem) => Check::open(WHAT, problem),
    }
}

/// Makes the proof of a record; none without a log.
async fn prove(
    app: &App,
    session: Option<Session>,
    id: &str,
    sequence: u64,
) -> Option<Result<(LogProof, edgesentry_rs::log::Published), String>> {
    let log = app.log()?;
    let name = session.map(|session| session.token.name.clone()).unwrap_or_default();
    let proving = match app.proving(SenderKey::of_token(&name), 1).await {
        Ok(proving) => proving,
        Err(problem) => return Some(Err(problem.detail().to_owned())),
    };
    let made = async {
        let published = log.published().await?;
        let proof = log.prove_record(&published, id, sequence).await?;
        Ok::<_, ProveError>((proof, published))
    };
    let made = tokio::time::timeout(super::READ_TIMEOUT, made).await;
    proving.done(1);
    Some(match made {
        Ok(made) => made.map_err(|error| log_trouble(&error)),
        Err(_) => Err("The transparency log does not respond in time.".to_owned()),
    })
}

fn log_checks(
    console: &Console,
    record: &AuditRecord,
    proof: &Option<Result<(LogProof, edgesentry_rs::log::Published), String>>,
) -> Vec<Check> {
    const INCLUDED: &str = "In the transparency log";
    const SIGNED: &str = "Signatures of the checkpoint";
    let (proof, published) = match proof {
        None => return vec![Check::open(INCLUDED, "The ledger of this service has no transparency log.")],
        Some(Err(problem)) => return vec![Check::open(INCLUDED, problem.clone())],
        Some(Ok(made)) => (&made.0, &made.1),
    };
    let leaf = proof.extra.as_deref().unwrap_or_default();
    let is_it = matches!(Leaf::parse(leaf), Ok(Leaf::Record(of)) if of.hash() == record.hash());
    let (size, root) = (published.checkpoint.size(), published.checkpoint.root());
    let holds =
        edgesentry_log::verify_inclusion(TreeHash::of_leaf(leaf), proof.index, size, &proof.path, root);
    let included = Check::new(
        INCLUDED,
        is_it && holds.is_ok(),
        format!("It is leaf {} of the checkpoint of size {}.", number(proof.index), number(size)),
        format!("Leaf {} of the checkpoint of size {} is another record.", number(proof.index), number(size)),
    );
    let signed = match console.sources.policy() {
        None => Check::open(SIGNED, "They are not checked: serve.console.policy is not set."),
        Some(policy) => match trust(policy, published) {
            Ok(()) => Check::new(SIGNED, true, "The policy trusts the checkpoint.", ""),
            Err(problem) => Check::new(SIGNED, false, "", problem),
        },
    };
    vec![included, signed]
}

fn payload_section(record: &AuditRecord) -> Markup {
    let path = record_path("/console/payload", &record.device_id, record.sequence);
    html! {
        section aria-labelledby="payload-title" {
            h2 #payload-title { "Payload" }
            p { a href=(path) download { "Download the payload" } }
            p {
                button #check-payload type="button" hidden data-payload=(path) data-hash=(record.payload_hash.to_string()) {
                    "Check its hash in this browser"
                }
                noscript { "With scripts, this page checks the hash of the payload in the browser." }
            }
            p { span #payload-result .standing .none role="status" {} }
        }
    }
}

/// The payload of a record, as an attachment that no browser runs.
pub(super) async fn payload(State(app): State, Site(console): Site, uri: Uri) -> Response {
    let parameters = Parameters::of(&uri);
    let (id, sequence) = match parameters.record() {
        Ok(record) => record,
        Err(problem) => return wrong(PLACE, &problem).into_response(),
    };
    let row = match views(&app) {
        Ok(views) => console.read(async { views.records_before(id, sequence.checked_add(1), 1).await }).await,
        Err(problem) => Err(problem),
    };
    let row = match row {
        Ok(rows) => rows.into_iter().find(|row| row.record.sequence == sequence),
        Err(problem) => return unavailable(PLACE, &problem).into_response(),
    };
    let Some(row) = row else { return absent(PLACE, "The ledger has no such record.").into_response() };
    match console.read(app.service().payloads().get(&row.record)).await {
        Ok(Some(payload)) => attachment(&format!("payload-{sequence}.bin"), payload),
        Ok(None) => {
            let problem = "The payload store does not have the payload: it was erased, or never stored here.";
            absent(PLACE, problem).into_response()
        }
        Err(problem) => unavailable(PLACE, &problem).into_response(),
    }
}

/// The proof of a record, as `eds verify-proof` reads it.
pub(super) async fn proof(State(app): State, request: Request) -> Response {
    let parameters = Parameters::of(request.uri());
    let (id, sequence) = match parameters.record() {
        Ok(record) => record,
        Err(problem) => return wrong(PLACE, &problem).into_response(),
    };
    match prove(&app, session(&request), id, sequence).await {
        Some(Ok((proof, _))) => {
            let body = proof.to_string().into_bytes();
            attachment(&format!("proof-{sequence}.txt"), body.into())
        }
        Some(Err(problem)) => absent(PLACE, &problem).into_response(),
        None => absent(PLACE, "The ledger of this service has no transparency log.").into_response(),
    }
}

fn attachment(file: &str, body: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{file}\"")),
    ];
    (StatusCode::OK, headers, body).into_response()
}
