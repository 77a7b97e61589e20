//! Evidence bundles: any bytes give a report, and the parts of a bundle are read in one encoding only.

#![no_main]

use std::io::Cursor;
use std::sync::Arc;

use edgesentry_formats::{BundleInputs, Error, Options, Progress, Source, verify_bundle};
use edgesentry_fuzz::{bounded, plant};
use edgesentry_log::{
    BundleManifest, LeafItem, LeafItems, PartialHeads, Policy, push_leaf_item, push_subtree_item,
    read_bundle_keys, write_bundle_keys,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant(edgesentry_fuzz::bundles()), |input: &[u8]| {
    let Some((&kind, bytes)) = input.split_first() else { return };
    bounded(|| judge(kind, bytes));
});

fn judge(kind: u8, bytes: &[u8]) {
    match kind % 5 {
        0 => whole(bytes),
        1 => {
            if let Ok(manifest) = BundleManifest::parse(bytes) {
                assert_eq!(manifest.to_string().as_bytes(), bytes);
            }
        }
        2 => items(bytes),
        3 => drop(PartialHeads::parse(bytes)),
        _ => {
            if let Ok(keys) = read_bundle_keys(bytes) {
                assert_eq!(write_bundle_keys(&keys).unwrap().as_bytes(), bytes);
            }
        }
    }
}

fn whole(bytes: &[u8]) {
    let policy = Policy::parse(edgesentry_fuzz::BUNDLE_POLICY.as_bytes()).unwrap();
    let inputs = BundleInputs { policy: Some(&policy), ..BundleInputs::default() };
    let source = Source::Reader { name: "case.tar".into(), reader: Box::new(Cursor::new(bytes.to_vec())) };
    let report = verify_bundle(source, &inputs, &Options::default(), &Arc::new(Progress::default()));
    // Another format is named; all else is a report.
    if let Err(error) = report {
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    }
}

fn items(bytes: &[u8]) {
    let (mut items, mut rest) = (LeafItems::new(40, Some(7), true), bytes);
    let mut written = Vec::new();
    while let Ok(Some(item)) = items.next(&mut rest) {
        match item {
            LeafItem::Leaf { leaf, .. } => push_leaf_item(&mut written, leaf).unwrap(),
            LeafItem::Subtree { level, hash, .. } => push_subtree_item(&mut written, level, &hash),
            _ => {}
        }
    }
    assert_eq!(&bytes[..bytes.len() - rest.len()], written);
}
