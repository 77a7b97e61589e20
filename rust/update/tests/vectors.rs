//! The vectors in tests/vectors/update, which every implementation has to accept.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use edgesentry_chain::Hash;
use edgesentry_update::{Manifest, PublisherKey, SignedManifest, State, Trust};

fn kept(name: &str, bytes: &[u8]) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/update");
    let path = folder.join(name);
    if std::env::var_os("EDGESENTRY_WRITE").is_some() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(std::fs::read(&path).unwrap() == bytes, "{}: the format never changes", path.display());
}

#[test]
fn the_vectors_equal_the_manifests_of_publishers() {
    let publishers = [1, 2].map(|number| PublisherKey::from_seed([number; 32]));
    let keys = publishers.each_ref().map(|publisher| publisher.public_key().unwrap());
    let image = b"version 6";
    let mut signed = SignedManifest::new(Manifest {
        name: "door-controller".to_owned(),
        version: 6,
        image_hash: Hash::of(image),
        image_size_bytes: image.len() as u64,
        minimum_version: 5,
        expires_ms: 4_000_000_000_000,
    })
    .unwrap();
    for publisher in &publishers {
        signed.sign(publisher).unwrap();
    }
    kept("version-6.manifest", &signed.to_bytes());
    kept("publishers.keys", &keys.map(|key| *key.as_bytes()).concat());

    let state = State::new("door-controller").unwrap();
    kept("new.state", &state.encode_both());
    let trust = Trust::new("door-controller", 2, keys).unwrap();
    let mut check = state.admit(trust.check(&signed).unwrap(), 1_790_000_000_000).unwrap().image();
    check.write(image).unwrap();
    let (slot, bytes) = state.after(&check.finish().unwrap()).encode();
    assert_eq!(slot, 0);
    kept("version-6.slot", &bytes);
}
