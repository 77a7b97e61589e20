//! Malicious clients: the service keeps serving.

use std::time::Duration;

use edgesentry_serve::Stopped;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{devices, next};
use crate::serving::Serving;

const HEAD: &str = "POST /api/v1/ingest HTTP/1.1\r\nhost: x\r\n";

async fn raw(serving: &Serving) -> TcpStream {
    TcpStream::connect(serving.address).await.unwrap()
}

/// Reads until the service closes the connection, which it must.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A reset is an end, too.
    let _ = tokio::time::timeout(Duration::from_secs(60), read).await.expect("the connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_let_go() {
    let serving =
        Serving::start("[serve.limits]\nheader_seconds = 1\nstall_seconds = 1\nhandshake_seconds = 1").await;
    // Nothing at all, half a line, endless headers, a body that never arrives.
    for text in ["", "POST /api", &format!("{HEAD}x-a: b\r\n"), &format!("{HEAD}content-length: 9\r\n\r\n{{")]
    {
        let mut stream = raw(&serving).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        let answer = until_closed(&mut stream).await;
        assert!(!answer.contains(" 202 "), "{text:?}: {answer}");
    }
    // A batch whose next line never arrives ends too, and reports why.
    let mut stream = raw(&serving).await;
    let head = "POST /api/v1/ingest/batch HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(answer.contains("\"too_slow\""), "{answer}");
    assert_eq!(serving.get("/healthz", None).await.status, 200);
    assert_eq!(serving.stop().await, Stopped::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused() {
    let serving = Serving::start("[serve.limits]\nheader_seconds = 1\nstall_seconds = 1").await;
    let mut lift = devices(&**serving.service.ledger(), 1).await.remove(0);
    let huge = format!("{HEAD}x-huge: {}\r\n\r\n", "h".repeat(1 << 20));
    let many: String = (0..5000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let chunked = |chunks: &str| format!("{HEAD}transfer-encoding: chunked\r\n\r\n{chunks}");
    let texts = [
        huge.into_bytes(),
        format!("{HEAD}{many}\r\n").into_bytes(),
        chunked("ffffffffffffffff\r\n{\r\n").into_bytes(),
        chunked("zz\r\n{}\r\n0\r\n\r\n").into_bytes(),
        chunked("2\r\n{}xx\r\n0\r\n\r\n").into_bytes(),
        chunked("-1\r\n{}\r\n").into_bytes(),
        format!("{HEAD}content-length: -5\r\n\r\n").into_bytes(),
        format!("{HEAD}content-length: 5\r\ncontent-length: 7\r\n\r\n{{}}").into_bytes(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
    ];
    for text in &texts {
        let mut stream = raw(&serving).await;
        // The service may close before it has read everything.
        let _ = stream.write_all(text).await;
        let answer = until_closed(&mut stream).await;
        let start = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{start}: {answer}");
    }
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        let mut bytes = Vec::new();
        for _ in 0..64 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes.extend_from_slice(&random.to_le_bytes());
        }
        let mut stream = raw(&serving).await;
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        until_closed(&mut stream).await;
    }
    assert_eq!(serving.ingest(&next(&mut lift)).await.status, 202);
    assert_eq!(serving.stop().await, Stopped::Finished);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_do_not_keep_others_out() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    // On a slow machine it takes long to open so many; none may be closed meanwhile.
    let serving =
        Serving::start("[serve.limits]\nconnections_per_address = 3000\nheader_seconds = 600").await;
    let mut lift = devices(&**serving.service.ledger(), 1).await.remove(0);
    let mut idle = Vec::new();
    for _ in 0..3000 {
        idle.push(raw(&serving).await);
    }
    // One more from this address is rejected; another address is not.
    let mut stream = raw(&serving).await;
    let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(until_closed(&mut stream).await, "");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.3:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(serving.address).await.unwrap();
    let body = crate::serving::wire(&next(&mut lift)).to_string();
    let text = format!("{HEAD}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    other.write_all(text.as_bytes()).await.unwrap();
    let answer = until_closed(&mut other).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    // Idle connections have nothing to finish, so stopping does not wait for them.
    assert_eq!(serving.stop().await, Stopped::Finished);
    drop(idle);
}
