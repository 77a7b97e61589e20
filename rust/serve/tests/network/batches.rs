//! `POST /api/v1/ingest/batch`: line by line, in every encoding, within limits.

use std::io::Write;

use edgesentry_rs::Submission;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::common::{Kind, Place, chain, devices, next, resigned};
use crate::serving::{Answer, Serving, ndjson, settings, wire};

const BATCH: &str = "/api/v1/ingest/batch";

fn outcomes(answer: &Answer) -> Vec<String> {
    let lines = answer.lines();
    let (last, lines) = lines.split_last().unwrap();
    assert_eq!(last["summary"]["lines"], lines.len());
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line["line"], at + 1);
    }
    let name = |line: &Value| line.get("reason").unwrap_or(&line["outcome"]).as_str().unwrap().to_owned();
    lines.iter().map(name).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_in_any_encoding_is_ingested_in_order() {
    let place = Place::new(Kind::Postgres).await;
    let serving = Serving::with(place.service().await, &settings("")).await;
    let mut lifts = devices(&*place.ledger().await, 2).await;
    for encoding in ["identity", "gzip", "zstd"] {
        let mut batch: Vec<Submission> = Vec::new();
        for _ in 0..550 {
            batch.extend([next(&mut lifts[0]), next(&mut lifts[1])]);
        }
        let text = ndjson(&batch);
        let body = match encoding {
            // Two members, as in concatenated files.
            "gzip" => [gzip(&text[..1000]), gzip(&text[1000..])].concat(),
            "zstd" => zstd::encode_all(text.as_bytes(), 1).unwrap(),
            _ => text.into_bytes(),
        };
        let headers = [("content-encoding", encoding), ("content-type", "application/x-ndjson")];
        let answer = serving.post(BATCH, &headers, body.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/x-ndjson"));
        assert_eq!(outcomes(&answer), vec!["accepted"; 1100], "{encoding}");
        let again = serving.post(BATCH, &headers, body).await;
        assert_eq!(outcomes(&again), vec!["duplicate"; 1100]);
        assert_eq!(again.lines().last().unwrap()["summary"]["duplicate"], 1100);
    }
    assert!(place.report().await.findings.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_costs_its_own_device_only() {
    let serving = Serving::start("").await;
    let mut lifts = devices(&**serving.service.ledger(), 2).await;
    let first = chain(&mut lifts[0], 3);
    let other = chain(&mut lifts[1], 2);
    let mut forged = resigned(&lifts[0], &first[1], |_| {});
    let mut record = (*forged.record).clone();
    record.signature[40] ^= 4;
    forged.record = record.into();
    let text = [
        wire(&first[0]).to_string(),
        "{\"record\": 1}".to_owned(),
        wire(&other[0]).to_string(),
        String::new(),
        wire(&forged).to_string(),
        wire(&first[2]).to_string(),
        wire(&other[1]).to_string(),
    ];
    let answer = serving.post(BATCH, &[], text.join("\n")).await;
    let expected = ["accepted", "malformed", "accepted", "signature_invalid", "sequence_gap", "accepted"];
    assert_eq!(outcomes(&answer), expected);
    let lines = answer.lines();
    assert_eq!(lines[3]["device_id"], "lift-01");
    assert_eq!(lines[4]["expected"], "2");
    let summary = &lines[6]["summary"];
    assert_eq!(summary, &json!({"lines": 6, "accepted": 3, "duplicate": 0, "rejected": 3, "error": 0}));
    let answer = serving.post(BATCH, &[], "").await;
    assert_eq!((answer.status.as_u16(), outcomes(&answer).len()), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_ends_the_batch_and_earlier_lines_have_outcomes() {
    let serving =
        Serving::start("[serve.limits]\nbody_bytes = 4096\nbatch_bytes = 65536\nbatch_records = 5").await;
    let mut lifts = devices(&**serving.service.ledger(), 1).await;
    let records = chain(&mut lifts[0], 7);
    let end = |answer: &Answer| {
        let lines = answer.lines();
        let summary = lines.last().unwrap()["summary"].clone();
        (summary["lines"].as_u64().unwrap(), summary["problem"]["code"].as_str().unwrap().to_owned())
    };
    let answer = serving.post(BATCH, &[], ndjson(&records)).await;
    assert_eq!(end(&answer), (5, "too_many_records".to_owned()));
    let long = format!("{}{}\n", ndjson(&records[..2]), "x".repeat(5000));
    assert_eq!(end(&serving.post(BATCH, &[], long).await), (2, "too_large".to_owned()));
    // 100 MB of line ends in one body.
    let bomb = gzip(&"\n".repeat(100 << 20));
    assert!(bomb.len() < 2_000_000, "{}", bomb.len());
    let headers = [("content-encoding", "gzip")];
    assert_eq!(end(&serving.post(BATCH, &headers, bomb).await), (0, "too_large".to_owned()));
    let mut cut = gzip(&ndjson(&records[..3]));
    cut.truncate(cut.len() - 20);
    let (_, code) = end(&serving.post(BATCH, &headers, cut).await);
    assert_eq!(code, "malformed");
    assert_eq!(end(&serving.post(BATCH, &headers, "no gzip").await), (0, "malformed".to_owned()));
    let answer = serving.post(BATCH, &[], ndjson(&records)).await;
    assert_eq!(outcomes(&answer), vec!["duplicate"; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_senders_get_outcomes_while_they_send() {
    let serving = Serving::start("").await;
    let mut lifts = devices(&**serving.service.ledger(), 1).await;
    let stream = TcpStream::connect(serving.address).await.unwrap();
    let (read, mut write) = stream.into_split();
    let head = format!("POST {BATCH} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    write.write_all(head.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(read).lines();
    for number in 1..=3 {
        let text = ndjson([&next(&mut lifts[0])]);
        write.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await.unwrap();
        loop {
            let line = lines.next_line().await.unwrap().unwrap();
            if line.starts_with('{') {
                let answer: Value = serde_json::from_str(&line).unwrap();
                assert_eq!((&answer["sequence"], &answer["outcome"]), (&json!(number), &json!("accepted")));
                break;
            }
        }
    }
    write.write_all(b"0\r\n\r\n").await.unwrap();
    let summary = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if line.starts_with("{\"summary") {
            break line;
        }
    };
    assert!(summary.contains("\"accepted\":3"), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_an_error_of_each_record() {
    let serving = Serving::start("").await;
    let mut lifts = devices(&**serving.service.ledger(), 1).await;
    let records = chain(&mut lifts[0], 3);
    serving.service.ledger().close().await;
    let lines = serving.post(BATCH, &[], ndjson(&records)).await.lines();
    for line in &lines[..3] {
        assert_eq!((&line["outcome"], &line["retryable"]), (&json!("error"), &json!(true)), "{line}");
    }
    assert_eq!(lines[3]["summary"]["error"], 3);
}
