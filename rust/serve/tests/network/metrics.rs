//! Metrics over HTTP.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use edgesentry_rs::telemetry::metrics::{Metrics, Queue};
use edgesentry_serve::metrics::MetricsServer;

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_the_metrics_without_a_complaint() {
    let metrics = Metrics::new();
    let server = MetricsServer::start("127.0.0.1:0", metrics.clone()).await.unwrap();
    let address = server.address();
    let get = move |path: &str| {
        let mut connection = std::net::TcpStream::connect(address).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    };
    let (answer, missing) = tokio::task::spawn_blocking(move || (get("/metrics"), get("/"))).await.unwrap();
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert_eq!(body, metrics.text());
    server.stop().await;
    assert!(std::net::TcpStream::connect(address).is_err());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    assert!(MetricsServer::start(&taken, metrics.clone()).await.is_err());
    for queue in Queue::ALL {
        assert!(body.contains(queue.name()));
    }

    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers/prometheus");
    assert!(Command::new(script).arg("install").status().unwrap().success(), "promtool is missing");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
