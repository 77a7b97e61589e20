//! The client: outboxes flush through it, and it sends failed records again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use edgesentry_rs::agent::Outbox;
use edgesentry_rs::transport::{Client, ClientSettings};
use edgesentry_rs::wire::ProblemCode;
use edgesentry_rs::{Error, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Kind, Place, START_MS, all, chain, device, devices, names, registration};
use crate::serving::{Serving, settings};

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_flushes_over_the_network() {
    let place = Place::new(Kind::Postgres).await;
    let serving = Serving::with(place.service().await, &settings("")).await;
    let lift = device(1);
    place.ledger().await.register(&registration(&lift)).await.unwrap();
    let agent = Outbox::open(&place.path("outbox.db"), lift).await.unwrap();
    let items =
        (1..=3000_u64).map(|n| (START_MS + n, Bytes::from(format!("{n}")), format!("lift-01/{n}.bin")));
    agent.sign_many(items).await.unwrap();
    let flushed = agent.flush(&serving.client()).await.unwrap();
    assert_eq!((flushed.accepted, flushed.waiting, flushed.rejection), (3000, 0, None));
    assert_eq!(agent.waiting().await.unwrap(), 0);
    // The response had the time of the service.
    let told = agent.service_time().await.unwrap().unwrap();
    assert!(START_MS < told.service_ms && told.service_ms <= told.device_ms, "{told:?}");
    agent.sign_clock(told.device_ms + 5, Some(3), None).await.unwrap();
    assert_eq!(agent.flush(&serving.client()).await.unwrap().accepted, 1);
    assert!(place.report().await.findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_over_many_requests_keeps_its_order() {
    let serving = Serving::start("").await;
    let mut lifts = devices(&**serving.service.ledger(), 2).await;
    let settings = ClientSettings { batch_records: 7, ..ClientSettings::new(serving.url()) };
    let client = Client::new(settings).unwrap();
    let mut sent = chain(&mut lifts[0], 50);
    sent.extend(chain(&mut lifts[1], 50));
    assert_eq!(names(&client.ingest_many(sent.clone()).await), all("accepted", 100));
    assert_eq!(names(&client.ingest_many(sent).await), all("duplicate", 100));
}

/// Forwards connections, and cuts each of the first `cuts` off after `after` bytes of responses.
async fn cutting(to: std::net::SocketAddr, cuts: usize, after: usize) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        loop {
            let Ok((client, _)) = listener.accept().await else { return };
            let server = TcpStream::connect(to).await.unwrap();
            let cut = made.fetch_add(1, Ordering::Relaxed) < cuts;
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut left = if cut { after } else { usize::MAX };
                let mut buffer = [0; 512];
                while left > 0 {
                    let Ok(read @ 1..) = from_server.read(&mut buffer).await else { break };
                    let read = read.min(left);
                    left -= read;
                    if to_client.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
                up.abort();
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_cost_nothing_but_resending() {
    let serving = Serving::start("").await;
    let mut lifts = devices(&**serving.service.ledger(), 1).await;
    for after in [0, 40, 400, 4000] {
        let address = cutting(serving.address, 3, after).await;
        let client = Client::new(ClientSettings::new(format!("http://{address}"))).unwrap();
        let sent = chain(&mut lifts[0], 200);
        let answers = client.ingest_many(sent.clone()).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|outcome| outcome.is_success())));
        assert_eq!(names(&client.ingest_many(sent).await), all("duplicate", 200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_is_retryable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = ClientSettings { attempts: 2, ..ClientSettings::new(format!("http://{address}")) };
    let client = Client::new(settings).unwrap();
    let mut lift = device(1);
    let sent = chain(&mut lift, 2);
    let error = client.ingest(sent[0].clone()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Service { code: ProblemCode::Unreachable, retryable: true, .. }),
        "{error}"
    );
    assert!(client.ingest_many(sent).await.iter().all(Result::is_err));
    for url in ["", "ftp://x", "localhost:80", "http://me:secret@host"] {
        let error = Client::new(ClientSettings::new(url)).err().unwrap();
        assert!(matches!(&error, Error::Config(problem) if !problem.contains("secret")), "{error}");
    }
    assert!(Settings::load(None, &Default::default()).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_to_be_sent_again_behind_a_permanent_error() {
    let token = "tokens.lift.hash = \"0000000000000000000000000000000000000000000000000000000000000000\"\n\
                 tokens.lift.scopes = [\"ingest\"]";
    let serving = Serving::start(token).await;
    let mut lifts = devices(&**serving.service.ledger(), 1).await;
    let settings = ClientSettings {
        batch_records: 1,
        token: Some("unknown".to_owned().into()),
        ..ClientSettings::new(serving.url())
    };
    let answers = Client::new(settings).unwrap().ingest_many(chain(&mut lifts[0], 3)).await;
    assert_eq!(answers.len(), 3);
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(!error.is_retryable() && !error.to_string().contains("again"), "{error}");
    }
}
