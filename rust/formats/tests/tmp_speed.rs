#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use std::time::Instant;
use edgesentry_formats::*;
fn peak() -> String { std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmHWM")).unwrap().to_owned() }
#[test]
fn speed() {
    let sample = some_records(100_000);
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    println!("start {}", peak());
    for name in ["a.parquet", "a.arrow", "a.ndjson", "a.json.zst", "a.json.gz"] {
        let n = if name.ends_with("gz") { 3 } else { 20 };
        let path = dir.path().join(name);
        let t = Instant::now();
        let mut w = RecordWriter::create(&path).unwrap();
        for _ in 0..n { for s in sample.chunks(5000) { w.write(s).unwrap(); } }
        w.finish().unwrap();
        let tw = t.elapsed().as_secs_f64();
        let t = Instant::now();
        let mut c = 0; for r in records(Source::Path(path.clone())).unwrap() { r.unwrap().unwrap(); c += 1; }
        let tr = t.elapsed().as_secs_f64();
        println!("{name}: {c} write {:.2} M/s read {:.2} M/s size {} {}", c as f64/tw/1e6, c as f64/tr/1e6, path.metadata().unwrap().len(), peak());
    }
}
