//! A server that is lost in the middle of a response, without a close: every request has a timeout.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use edgesentry_rs::StoreError;
use edgesentry_rs::ledger::{Filter, Ledger, LogQuery, Postgres, PostgresSettings};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{database, server};

/// Far longer than any timeout.
const FOR_EVER: Duration = Duration::from_secs(120);

/// Relays connections to the server until a client sends `text`; from then on it relays nothing on open connections.
async fn relay(server: String, text: &'static str, is_silent: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(carry(from_client, to_server, Some(text), Arc::clone(&is_silent)));
            tokio::spawn(carry(from_server, to_client, None, Arc::clone(&is_silent)));
        }
    });
    port
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    text: Option<&'static str>,
    is_silent: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..length];
        if text.is_some_and(|text| bytes.windows(text.len()).any(|window| window == text.as_bytes())) {
            is_silent.store(true, SeqCst);
        }
        if is_silent.load(SeqCst) {
            // The connection stays open and silent.
            std::future::pending::<()>().await;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

type Question = fn(&Postgres) -> BoxFuture<'_, Result<(), StoreError>>;

const QUESTIONS: [(&str, Question); 8] = [
    ("h.keys_version", |ledger| ledger.check().boxed()),
    ("JOIN devices d", |ledger| async { ledger.devices().await.map(drop) }.boxed()),
    ("WHERE sequence > start_sequence", |ledger| async { ledger.heads().await.map(drop) }.boxed()),
    ("FROM operation_logs WHERE id >", |ledger| {
        async { ledger.operation_log(&LogQuery::default()).await.map(drop) }.boxed()
    }),
    ("FROM pruned_rejections", |ledger| async { ledger.pruned().await.map(drop) }.boxed()),
    ("FROM operation_logs WHERE outcome", |ledger| {
        async { ledger.count_rejections().await.map(drop) }.boxed()
    }),
    ("default_transaction_read_only", |ledger| async { ledger.takes_writes().await.map(drop) }.boxed()),
    ("COPY (SELECT", |ledger| {
        async { ledger.records(&Filter::default()).try_for_each(|_| async { Ok(()) }).await }.boxed()
    }),
];

async fn ask_a_silent_server(text: &'static str, question: Question) {
    let url = database(&server("EDGESENTRY_TEST_POSTGRES")).await;
    let (before, after) = url.rsplit_once('@').unwrap();
    let (host, name) = after.split_once('/').unwrap();
    let is_silent = Arc::new(AtomicBool::new(false));
    // The tables are created without the relay: their text would silence it.
    let settings = |url: String, timeout_seconds| PostgresSettings {
        url: url.into(),
        timeout_seconds,
        connections: 2,
        ..PostgresSettings::default()
    };
    Postgres::connect(&settings(url.clone(), 30)).await.unwrap();
    let port = relay(host.to_owned(), text, Arc::clone(&is_silent)).await;
    let relayed = settings(format!("{before}@127.0.0.1:{port}/{name}"), 2);
    let ledger = Postgres::connect(&relayed).await.unwrap();
    // More often than there are connections: none of them stays occupied by a request without a response.
    for _ in 0..3 {
        is_silent.store(false, SeqCst);
        let asked = tokio::time::timeout(FOR_EVER, question(&ledger)).await;
        let error = asked.unwrap_or_else(|_| panic!("{text:?} waits without end")).unwrap_err();
        assert!(error.is_retryable(), "{text:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_to_a_silent_server_has_an_end() {
    let all = QUESTIONS.map(|(text, question)| ask_a_silent_server(text, question));
    futures::future::join_all(all).await;
}
