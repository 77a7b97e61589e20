//! Exports and their manifests.

use std::sync::Arc;

use edgesentry_chain::{Checks, Report};
use edgesentry_formats::{Options, Progress, Source};
use edgesentry_rs::Error;
use edgesentry_rs::export::{Manifest, Target, export};
use edgesentry_rs::ledger::Filter;

use crate::common::{Place, chain, devices, records, registered_keys};
use crate::on_every_ledger;

on_every_ledger!(an_export_verifies, a_range_verifies_with_its_manifest, what_fails_leaves_no_file);

async fn filled(place: &Place) {
    let service = place.service().await;
    for mut lift in devices(&**service.ledger(), 3).await {
        assert!(service.ingest_many(chain(&mut lift, 3000)).await.iter().all(Result::is_ok));
    }
}

fn verified(path: &std::path::Path, checks: &Checks<'_>) -> Report {
    let sources = vec![Source::Path(path.to_owned())];
    edgesentry_formats::verify(sources, checks, &Options::default(), &Arc::new(Progress::default())).unwrap()
}

async fn an_export_verifies(place: Place) {
    filled(&place).await;
    let ledger = place.ledger().await;
    let keys = registered_keys(&*ledger).await;
    for name in ["all.json", "all.ndjson.zst", "all.parquet", "all.arrow"] {
        let path = place.path(name);
        let mut last = 0;
        let everything = Filter::default();
        let exported = export(&*ledger, &everything, Target::File(path.clone()), |records| {
            assert!(records > last);
            last = records;
            true
        });
        let manifest = exported.await.unwrap();
        assert_eq!((manifest.records, manifest.devices, last), (9000, 3, 9000));
        assert_eq!(Manifest::read(&Manifest::path_for(&path)).unwrap(), manifest);
        assert_eq!(manifest.heads, ledger.heads().await.unwrap());
        assert!(manifest.start_heads.is_empty());
        assert_eq!(manifest.difference(&path).unwrap(), None);
        let checks = Checks { keys: Some(&keys), heads: Some(&manifest.heads), ..Checks::default() };
        assert!(verified(&path, &checks).ok(), "{name}");
        let file = manifest.file.unwrap();
        assert_eq!((file.name.as_str(), file.size_bytes), (name, std::fs::metadata(&path).unwrap().len()));
    }
    let path = place.path("all.json");
    let manifest = Manifest::read(&Manifest::path_for(&path)).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("lift-01", "lift-99", 1)).unwrap();
    assert!(manifest.difference(&path).unwrap().is_some());
}

async fn a_range_verifies_with_its_manifest(place: Place) {
    filled(&place).await;
    let ledger = place.ledger().await;
    let range = Filter { from_sequence: Some(1000), to_sequence: Some(1999), ..Filter::default() };
    let from_ms = Some(crate::common::START_MS + 1000);
    let times = Filter { from_ms, before_ms: from_ms.map(|ms| ms + 1000), ..Filter::default() };
    for (name, filter) in [("range.parquet", range), ("times.parquet", times)] {
        let path = place.path(name);
        let manifest = export(&*ledger, &filter, Target::File(path.clone()), |_| true).await.unwrap();
        assert_eq!(manifest.records, 3000, "{name}");
        assert_eq!(manifest.filter, filter);
        let starts = &manifest.start_heads;
        let before = Filter { from_sequence: Some(999), to_sequence: Some(999), ..Filter::default() };
        let hashes: Vec<_> = records(&*ledger, &before).await.iter().map(|record| record.hash()).collect();
        assert!(starts.values().map(|head| head.hash).eq(hashes), "{name}");
        assert!(!verified(&path, &Checks::default()).ok(), "without the manifest it begins nowhere");
        let checks = Checks { heads: Some(&manifest.heads), start_heads: Some(starts), ..Checks::default() };
        let report = verified(&path, &checks);
        assert!(report.ok(), "{name} {report:?}");
    }
}

async fn what_fails_leaves_no_file(place: Place) {
    filled(&place).await;
    let ledger = place.ledger().await;
    let path = place.path("stopped.parquet");
    let stopped = export(&*ledger, &Filter::default(), Target::File(path.clone()), |_| false).await;
    assert!(matches!(stopped, Err(Error::Export(_))));
    let unknown = export(&*ledger, &Filter::default(), Target::File(place.path("x.docx")), |_| true).await;
    assert!(matches!(unknown, Err(Error::Export(_))));
    let left: Vec<_> =
        std::fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().contains("stopped")
                && !name.to_string_lossy().contains("x.docx")),
        "{left:?}"
    );
    let none = Filter { devices: vec!["nobody".into()], ..Filter::default() };
    let manifest = export(&*ledger, &none, Target::File(place.path("none.ndjson")), |_| true).await.unwrap();
    assert_eq!((manifest.records, manifest.heads.len()), (0, 0));
}
