//! `GET /api/v1/export`: records as a stream, in any format.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use edgesentry_formats::{Compression, Format, RecordWriter, by_name};
use futures::TryStreamExt;
use serde::Deserialize;
use tokio::sync::mpsc;
use tracing::warn;
use utoipa::IntoParams;

use super::device::check_device_id;
use super::reads::checked;
use crate::app::{QUEUE_TIMEOUT, Query, State};
use crate::problem::Problem;
use edgesentry_rs::error::describe;
use edgesentry_rs::export::{Target, export as export_into};
use edgesentry_rs::ledger::Filter;

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::transport::http::export";

/// Pieces that wait for the reader, and their size.
const PIECES: usize = 16;
const PIECE_BYTES: usize = 64 << 10;

/// Which records, in which form.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportQuery {
    /// `ndjson` (default), `json`, `arrow` or `parquet`; the first two also with the suffix `.gz` or `.zst`.
    #[param(example = "ndjson.zst")]
    format: Option<String>,
    /// Only this device.
    device_id: Option<String>,
    /// The lowest sequence.
    from_sequence: Option<u64>,
    /// The highest sequence.
    to_sequence: Option<u64>,
    /// The earliest timestamp_ms.
    from_ms: Option<u64>,
    /// Only records before this timestamp_ms.
    before_ms: Option<u64>,
}

/// Records as a file that `eds verify-chain` reads. A body that ends early is incomplete
#[utoipa::path(
    get, path = "/api/v1/export", tag = "read", params(ExportQuery),
    responses(
        (status = 200, description = "The records, in the requested format", content(
            (String = "application/x-ndjson"), (String = "application/json"), (String = "application/gzip"),
            (String = "application/zstd"), (String = "application/vnd.apache.arrow.file"),
            (String = "application/vnd.apache.parquet")
        )),
        (status = 400, description = "malformed"),
        (status = 401, description = "unauthenticated"),
        (status = 403, description = "scope_missing"),
        (status = 503, description = "store, busy"),
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn export(
    State(app): State,
    headers: HeaderMap,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let name = format!("export.{}", query.format.as_deref().unwrap_or("ndjson"));
    let known = by_name(name.as_ref()).filter(|_| !name.contains('/'));
    let (format, compression) = known.ok_or_else(|| {
        let asked: String = query.format.iter().flat_map(|format| format.chars()).take(100).collect();
        Problem::malformed(format!(
            "query: `format` must be ndjson, json, arrow or parquet, the first two also with .gz or .zst, not {asked:?}"
        ))
    })?;
    query.device_id.as_deref().map_or(Ok(()), check_device_id)?;
    let filter = checked(Filter {
        devices: query.device_id.into_iter().collect(),
        from_sequence: query.from_sequence,
        to_sequence: query.to_sequence,
        from_ms: query.from_ms,
        before_ms: query.before_ms,
    })?;
    let place = app.exports.take(app.holder(&headers), 1, QUEUE_TIMEOUT).await;
    let place = Arc::new(place.ok_or_else(|| Problem::busy("too many exports at once"))?);
    let working = Arc::clone(&place);
    app.service().ledger().check().await?;
    let (pieces, written) = mpsc::channel::<io::Result<Bytes>>(PIECES);
    let out = Box::new(Pieces(pieces.clone()));
    let writer = RecordWriter::to_writer("export".into(), out, format, compression)
        .map_err(|error| Problem::internal(describe(&error)))?;
    tokio::spawn(async move {
        let target = Target::Writer(Box::new(writer));
        let done = export_into(&**app.service().ledger(), &filter, target, |_| true).await;
        if let Err(error) = done {
            let text = describe(&error);
            warn!(target: TARGET, error = text, "an export was not finished");
            // The reader must not mistake a partial export for a complete one.
            let _ = pieces.send(Err(io::Error::other(text))).await;
        }
        drop(working);
    });
    // The export is in progress until its last piece is taken.
    let body = futures::stream::unfold((written, place), |(mut written, place)| async move {
        written.recv().await.map(|piece| (piece, (written, place)))
    });
    let attachment = format!("attachment; filename=\"{name}\"");
    let headers = [
        (header::CONTENT_TYPE, media_type(format, compression).to_owned()),
        (header::CONTENT_DISPOSITION, attachment),
    ];
    Ok((headers, Body::from_stream(body.into_stream())).into_response())
}

fn media_type(format: Format, compression: Compression) -> &'static str {
    match (format, compression) {
        (_, Compression::Gzip) => "application/gzip",
        (_, Compression::Zstd) => "application/zstd",
        (Format::Json, _) => "application/json",
        (Format::Ndjson, _) => "application/x-ndjson",
        (Format::Arrow, _) => "application/vnd.apache.arrow.file",
        (Format::Parquet, _) => "application/vnd.apache.parquet",
        _ => "application/octet-stream",
    }
}

/// Sends the written bytes to the reader; waits if it is slow, and fails if it has gone.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client closed the connection");
        let bytes = &bytes[..bytes.len().min(PIECE_BYTES)];
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
