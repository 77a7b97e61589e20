//! Packs of payloads and their indexes, with right checks, which a fuzzer cannot make: no panic, bounded memory, and each
//! frame that a scan finds is found by its name without the index.

#![no_main]

use std::fs;

use edgesentry_formats::packs::{Found, Open, PACKS, PackFolder, PackKey, Packs, for_each, scanned};
use edgesentry_fuzz::{bounded, check_packs, plant};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant(edgesentry_fuzz::packs()), |input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let mut rest = rest.to_vec();
    let length = rest.len().min(u16::from_le_bytes(*length).into());
    let (pack, index) = rest.split_at_mut(length);
    check_packs(pack, index);
    bounded(|| judge(pack, index));
});

fn judge(pack: &[u8], index: &[u8]) {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join(PACKS);
    fs::create_dir(&place).unwrap();
    fs::write(place.join("a.pack"), pack).unwrap();
    let names = frames(root.path());
    for is_indexed in [false, true] {
        if is_indexed {
            fs::write(place.join("a.index"), index).unwrap();
        }
        let packs = Packs::new(root.path());
        for name in names.iter().map(String::as_str).chain(["absent"]) {
            let read = |found: &Found<'_>| {
                assert_eq!(found.frame.name, name);
                found.read(1 << 20).map(|payload| Some(payload.len()))
            };
            // An index with right checks may lead nowhere, and a pack may have another version.
            let found = packs.find(name, read);
            assert!(is_indexed || name == "absent" || found.unwrap().is_some());
            let _ = packs.all(name);
        }
        let _ = packs.find_hash(&edgesentry_chain::Hash([7; 32]), |found| found.read(10).map(Some));
    }
}

/// Returns the names of the frames that are not erased.
fn frames(root: &std::path::Path) -> Vec<String> {
    let folder = PackFolder::open(root).unwrap().unwrap();
    let file = folder.pack("a", Open::Read).unwrap().unwrap();
    let Ok(Some(key)) = PackKey::read(&file) else { return Vec::new() };
    let mut names = Vec::new();
    let scan = for_each(&file, &key, |found| {
        names.push(found.frame.name.clone());
        Ok(())
    });
    let (offsets, also) = scanned(&file, &key).unwrap();
    assert_eq!(scan.unwrap(), also);
    assert!(offsets.frames >= names.len() as u64);
    let _ = offsets.encode(&key);
    names
}
