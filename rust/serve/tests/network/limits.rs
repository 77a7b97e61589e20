//! The resources that one sender can hold: the service still serves others.

use std::io::Write;

use edgesentry_chain::Scheme;
use edgesentry_rs::Submission;
use edgesentry_rs::ingest::storage::Limits;
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_serve::Stopped;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::common::{Kind, Place, devices, next};
use crate::mqtt::series;
use crate::secure::Authority;
use crate::serving::{Serving, ndjson, settings, wire};
use crate::single::poll;

const HEAD: &str = "POST /api/v1/ingest HTTP/1.1\r\nhost: x\r\n";
const BATCH: &str = "POST /api/v1/ingest/batch HTTP/1.1\r\nhost: x\r\n";

/// Starts a service with metrics of its own.
async fn serve(toml: &str) -> (Place, Serving) {
    let place = Place::new(Kind::Sqlite).await;
    let service = place.service_with(Limits::default(), Metrics::new()).await;
    let serving = Serving::with(service, &settings(toml)).await;
    (place, serving)
}

/// Opens a connection from another address of this machine.
async fn hostile(serving: &Serving) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(serving.address).await.unwrap()
}

fn held(serving: &Serving, resource: &str) -> f64 {
    series(&serving.service, &format!("edgesentry_resource_held{{resource=\"{resource}\"}}"))
}

fn refused(serving: &Serving, resource: &str) -> f64 {
    series(&serving.service, &format!("edgesentry_resource_refused_total{{resource=\"{resource}\"}}"))
}

/// A batch whose response is a hundred times as large as itself.
fn nonsense(lines: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all("{}\n".repeat(lines).as_bytes()).unwrap();
    let body = encoder.finish().unwrap();
    let head = format!("{BATCH}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_occupies_a_slot_until_its_outcomes_are_read() {
    let (place, serving) =
        serve("[serve.limits]\nbatches = 4\nanswer_bytes = 33554432\nstall_seconds = 600").await;
    let mut lift = devices(&*place.ledger().await, 1).await.remove(0);
    let mut connections = Vec::new();
    for _ in 0..8 {
        let mut stream = hostile(&serving).await;
        stream.write_all(&nonsense(60_000)).await.unwrap();
        connections.push(stream);
    }
    // Two of four places; further batches of this sender are refused. The responses that it holds are limited.
    assert!(poll(|| async { refused(&serving, "batches") >= 6.0 }).await);
    assert_eq!(held(&serving, "batches"), 2.0);
    let answers = held(&serving, "answer_bytes");
    assert!(answers > 1e6 && answers <= 16.0 * 1024.0 * 1024.0, "{answers}");
    let batch: Vec<Submission> = (0..10).map(|_| next(&mut lift)).collect();
    let answer = serving.post("/api/v1/ingest/batch", &[], ndjson(&batch)).await;
    assert_eq!(answer.lines().last().unwrap()["summary"]["accepted"], 10);
    drop(connections);
    assert!(
        poll(|| async { held(&serving, "batches") == 0.0 && held(&serving, "answer_bytes") == 0.0 }).await
    );
    assert_eq!(serving.stop().await, Stopped::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_does_not_read_its_response_is_disconnected() {
    let (_place, serving) = serve("[serve.limits]\nstall_seconds = 1").await;
    let mut stream = hostile(&serving).await;
    stream.write_all(&nonsense(90_000)).await.unwrap();
    assert!(poll(|| async { held(&serving, "batches") == 1.0 }).await);
    assert!(
        poll(|| async { held(&serving, "batches") == 0.0 && held(&serving, "connections") == 0.0 }).await
    );
    assert_eq!(held(&serving, "answer_bytes"), 0.0);
    assert_eq!(serving.stop().await, Stopped::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_holders_leave_room_for_others() {
    let limits =
        "[serve.limits]\nbody_bytes = 1048576\nmemory_bytes = 4194304\nbatches = 4\nstall_seconds = 600";
    let (place, serving) = serve(limits).await;
    let mut lift = devices(&*place.ledger().await, 1).await.remove(0);
    // Batches first: one that found no memory would give its place to the next.
    let mut batches = Vec::new();
    for _ in 0..8 {
        let mut stream = hostile(&serving).await;
        stream.write_all(format!("{BATCH}content-length: 99999\r\n\r\n{{\"").as_bytes()).await.unwrap();
        batches.push(stream);
    }
    assert!(poll(|| async { refused(&serving, "batches") >= 6.0 && held(&serving, "batches") == 2.0 }).await);
    let mut connections = Vec::new();
    let body = vec![b' '; (1 << 20) - 10];
    for _ in 0..8 {
        let mut stream = hostile(&serving).await;
        stream.write_all(format!("{HEAD}content-length: {}\r\n\r\n", 1 << 20).as_bytes()).await.unwrap();
        let body = body.clone();
        connections.push(tokio::spawn(async move {
            // Those that find no room get their response before they have sent all.
            let _ = stream.write_all(&body).await;
            stream
        }));
    }
    assert!(poll(|| async { refused(&serving, "body_bytes") >= 4.0 }).await);
    assert!(held(&serving, "body_bytes") <= 2.0 * 1024.0 * 1024.0);
    assert_eq!(serving.ingest(&next(&mut lift)).await.status, 202);
    let batch: Vec<Submission> = (0..10).map(|_| next(&mut lift)).collect();
    let answer = serving.post("/api/v1/ingest/batch", &[], ndjson(&batch)).await;
    assert_eq!(answer.lines().last().unwrap()["summary"]["accepted"], 10);
    drop(batches);
    for connection in connections {
        drop(connection.await.unwrap());
    }
    assert!(
        poll(|| async { held(&serving, "body_bytes") == 0.0 && held(&serving, "requests") == 0.0 }).await
    );
    assert_eq!(serving.stop().await, Stopped::Finished);
}

/// The first flight of a TLS client.
fn hello() -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client =
        rustls::ClientConnection::new(config.into(), "localhost".to_owned().try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// A frame of zstd that is not finished: a window of 8 MiB, and blocks that stand for 128 KiB of line ends in 4 bytes.
fn unfinished_zstd(blocks: usize) -> Vec<u8> {
    let block = (128_u32 << 10) << 3 | 1 << 1;
    let block = [&block.to_le_bytes()[..3], b"\n"].concat();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3][..], &block.repeat(blocks)].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_decoder_counts_for_its_sender() {
    let (_place, serving) =
        serve("[serve.limits]\nmemory_bytes = 67108864\nstall_seconds = 600\nbatches = 4").await;
    let send = async |head: &str, encoding: &str, body: &[u8]| {
        let mut stream = hostile(&serving).await;
        let head = format!("{head}content-encoding: {encoding}\r\ncontent-length: 100000\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        stream
    };
    // Small single records that stall: each holds its decoder.
    let mut connections = Vec::new();
    for _ in 0..10 {
        connections.push(send(HEAD, "zstd", &unfinished_zstd(0)).await);
        connections.push(send(HEAD, "gzip", &[0x1f, 0x8b]).await);
    }
    let decoders = f64::from(10 * ((512 + 128) << 10));
    assert!(poll(|| async { held(&serving, "body_bytes") >= decoders }).await);
    // A batch of empty lines holds the window, though none of its lines.
    connections.push(send(BATCH, "zstd", &unfinished_zstd(66)).await);
    let window = decoders + f64::from(8 << 20);
    assert!(poll(|| async { held(&serving, "body_bytes") >= window }).await);
    assert!(held(&serving, "body_bytes") < window + f64::from(2 << 20));
    drop(connections);
    assert_eq!(serving.stop().await, Stopped::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_stop_halfway_leave_room_for_others() {
    let authority = Authority::new();
    let toml = format!("{}[serve.limits]\nhandshakes = 8\nhandshake_seconds = 600\n", authority.serve(""));
    let (_place, serving) = serve(&toml).await;
    let mut connections = Vec::new();
    for _ in 0..40 {
        let mut stream = hostile(&serving).await;
        stream.write_all(&hello()).await.unwrap();
        connections.push(stream);
    }
    assert!(
        poll(|| async { held(&serving, "connections") == 40.0 && held(&serving, "handshakes") == 4.0 }).await
    );
    // A TLS alert would be a response, too: the handshake must go on.
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    stream.write_all(&hello()).await.unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(first, [0x16]);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_fill_the_operation_log() {
    let (place, serving) = serve("[serve.rate]\nrejections_per_second = 1\nrejection_burst = 10").await;
    let mut lift = devices(&*place.ledger().await, 1).await.remove(0);
    let first = next(&mut lift);
    assert_eq!(serving.ingest(&first).await.status, 202);
    for number in 0..3 {
        let strangers: Vec<Submission> = (0..5000)
            .map(|at| {
                let name = format!("stranger-{number}-{at}");
                next(&mut edgesentry_chain::Device::from_seed(name, [9; 32], Scheme::Record))
            })
            .collect();
        let answer = serving.post("/api/v1/ingest/batch", &[], ndjson(&strangers)).await;
        let lines = answer.lines();
        assert_eq!(lines[4999]["reason"], "rate_limited");
        assert_eq!(lines[4999]["retryable"], true);
    }
    let rejected = series(&serving.service, "edgesentry_ingest_rejected_total{reason=\"unknown_device\"}");
    // The burst, and the records in progress when it was used up.
    assert!(rejected <= 5.0 * 1024.0, "{rejected}");
    assert!(series(&serving.service, "edgesentry_ingest_rejections_limited_total") > 9000.0);
    let stranger = next(&mut edgesentry_chain::Device::from_seed("stranger", [9; 32], Scheme::Record));
    let answer = serving.post("/api/v1/ingest", &[], wire(&stranger).to_string()).await;
    assert_eq!(answer.problem(), (429, "rate_limited".to_owned()));
    // A registered device is not affected, even at the same address.
    assert_eq!(serving.ingest(&next(&mut lift)).await.status, 202);
    assert_eq!(serving.stop().await, Stopped::Finished);
}
