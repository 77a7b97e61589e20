//! Packs of payloads: reading, damage, and files of an attacker.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use common::some_records;
use edgesentry_chain::{AuditRecord, Hash, Payloads};
use edgesentry_formats::packs::{
    FRAME_HEADER_BYTES, Frame, Offsets, Open, PACK_HEADER_BYTES, PACKS, PackFile, PackFolder, PackKey, Packs,
    for_each, scanned,
};
use edgesentry_formats::{PayloadFolder, content_path};
use proptest::prelude::*;

const KEY: [u8; 32] = [7; 32];

/// A directory with one pack.
struct Packed {
    dir: tempfile::TempDir,
    frames: Vec<Frame>,
}

impl Packed {
    fn new(payloads: &[(String, Vec<u8>)]) -> Packed {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(PACKS)).unwrap();
        let mut frames = Vec::new();
        let folder = PackFolder::open(dir.path()).unwrap().unwrap();
        folder
            .create("1-a", |file| {
                let key = PackKey::new(KEY);
                let mut bytes = key.encode().to_vec();
                for (name, payload) in payloads {
                    let at = bytes.len() as u64;
                    frames.push(Frame::encode(&key, (at, 5), (name, payload), &mut bytes)?);
                }
                file.write_all_at(&bytes, 0)?;
                Ok("1-a".to_owned())
            })
            .unwrap();
        Packed { dir, frames }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn pack(&self) -> PathBuf {
        self.root().join(PACKS).join("1-a.pack")
    }

    fn index(&self) -> PathBuf {
        self.root().join(PACKS).join("1-a.index")
    }

    fn folder(&self) -> PackFolder {
        PackFolder::open(self.root()).unwrap().unwrap()
    }

    fn open(&self) -> PackFile {
        self.folder().pack("1-a", Open::Write).unwrap().unwrap()
    }

    fn seal(&self) {
        let (offsets, _) = scanned(&self.open(), &PackKey::new(KEY)).unwrap();
        self.folder().put_index("1-a", &offsets.encode(&PackKey::new(KEY))).unwrap();
    }
}

fn payload_of(name: &str, payload: &[u8]) -> (String, Vec<u8>) {
    (format!("devices/{name}-{}", Hash::of(payload)), payload.to_vec())
}

fn payloads(count: usize) -> Vec<(String, Vec<u8>)> {
    (0..count).map(|at| payload_of(&format!("lift-01/0/{at}"), format!("payload {at}").as_bytes())).collect()
}

fn read(packs: &Packs, name: &str) -> io::Result<Option<Vec<u8>>> {
    packs.find(name, |found| {
        let mut payload = Vec::new();
        found.payload().read_to_end(&mut payload)?;
        Ok(Some(payload))
    })
}

#[test]
fn payloads_are_found_by_name_and_by_hash_with_and_without_an_index() {
    for count in [0, 1, 2, 84, 85, 86, 170, 171, 5000] {
        let all = payloads(count);
        let packed = Packed::new(&all);
        for _ in 0..2 {
            let packs = Packs::new(packed.root());
            for (name, payload) in &all {
                assert_eq!(read(&packs, name).unwrap().as_ref(), Some(payload));
                let found = packs.find_hash(&Hash::of(payload), |found| Ok(Some(found.frame.clone())));
                assert_eq!(found.unwrap().unwrap().name, *name);
            }
            for absent in ["", "devices/lift-01/0/1", &format!("{}x", content_path(&some_records(1)[0]))] {
                assert_eq!(read(&packs, absent).unwrap(), None);
            }
            assert!(packs.find_hash(&Hash::of(b"absent"), |_| Ok(Some(()))).unwrap().is_none());
            packed.seal();
        }
    }
}

#[test]
fn equal_names_and_equal_payloads_are_all_found() {
    let (one, other) = (payload_of("lift-01/0/1", b"same"), payload_of("lift-02/0/1", b"same"));
    let packed = Packed::new(&[one.clone(), other.clone(), one.clone()]);
    for _ in 0..2 {
        let packs = Packs::new(packed.root());
        assert_eq!(packs.all(&one.0).unwrap().len(), 2);
        assert_eq!(packs.all(&other.0).unwrap().len(), 1);
        assert!(packs.find_hash(&Hash::of(b"same"), |_| Ok(Some(()))).unwrap().is_some());
        packed.seal();
    }
    // The copies of one name are erased, and that of the other is found by its hash.
    for frame in [&packed.frames[0], &packed.frames[2]] {
        frame.mark_erased(&packed.open()).unwrap();
    }
    let packs = Packs::new(packed.root());
    let found = packs.find_hash(&Hash::of(b"same"), |found| Ok(Some(found.frame.clone())));
    assert_eq!(found.unwrap().unwrap(), packed.frames[1]);
}

#[test]
fn a_pack_that_grows_is_read_on() {
    let all = payloads(20);
    let packed = Packed::new(&all[..10]);
    let packs = Packs::new(packed.root());
    assert_eq!(read(&packs, &all[10].0).unwrap(), None);
    let (key, file) = (PackKey::new(KEY), packed.open());
    let mut bytes = Vec::new();
    let start = file.length().unwrap();
    for (name, payload) in &all[10..] {
        let at = start + bytes.len() as u64;
        Frame::encode(&key, (at, 5), (name, payload), &mut bytes).unwrap();
    }
    // Another process is in the middle of its write.
    for end in [1, 50, 200, bytes.len()] {
        file.write_all_at(&bytes[..end], start).unwrap();
        assert_eq!(read(&packs, &all[10].0).unwrap().is_some(), end >= 200, "{end}");
    }
    assert!(all.iter().all(|(name, payload)| read(&packs, name).unwrap().as_ref() == Some(payload)));
    // It takes the frames back and writes others.
    file.file().set_len(start).unwrap();
    let (name, payload) = payload_of("lift-09/0/1", &[1; 3000]);
    bytes.clear();
    Frame::encode(&key, (start, 5), (&name, &payload), &mut bytes).unwrap();
    file.write_all_at(&bytes, start).unwrap();
    assert_eq!(read(&packs, &name).unwrap(), Some(payload));
    assert_eq!(read(&packs, &all[10].0).unwrap(), None);
    // Or others of the same sizes.
    let write = |from: u64, stored_at_ms| {
        file.file().set_len(start).unwrap();
        let mut bytes = Vec::new();
        let names: Vec<String> = (from..from + 3).map(|at| format!("devices/lift-09/0/{at}")).collect();
        for name in &names {
            let at = start + bytes.len() as u64;
            Frame::encode(&key, (at, stored_at_ms), (name, b"x"), &mut bytes).unwrap();
        }
        file.write_all_at(&bytes, start).unwrap();
        names
    };
    let before = write(10, 6);
    assert!(before.iter().all(|name| read(&packs, name).unwrap().is_some()));
    let after = write(20, 7);
    assert!(after.iter().all(|name| read(&packs, name).unwrap().is_some()));
    assert!(before.iter().all(|name| read(&packs, name).unwrap().is_none()));
    // And closes the pack.
    packed.seal();
    assert_eq!(read(&packs, &all[10].0).unwrap(), None);
    assert_eq!(read(&packs, &all[9].0).unwrap().as_ref(), Some(&all[9].1));
}

/// A reader of the writer's process has added frames of a write that failed.
#[test]
fn frames_that_were_taken_back_are_forgotten() {
    let all = payloads(3);
    let packed = Packed::new(&all);
    let packs = Packs::new(packed.root());
    let (key, file) = (PackKey::new(KEY), packed.open());
    let start = file.length().unwrap();
    let write = |(name, payload): &(String, Vec<u8>), stored_at_ms| {
        let mut bytes = Vec::new();
        let frame = Frame::encode(&key, (start, stored_at_ms), (name, payload), &mut bytes).unwrap();
        file.write_all_at(&bytes, start).unwrap();
        frame
    };
    let (failed, stored) = (payload_of("lift-09/0/1", &[1; 3000]), payload_of("lift-09/0/2", b"short"));
    write(&failed, 5);
    assert!(read(&packs, &failed.0).unwrap().is_some());
    file.file().set_len(start).unwrap();
    let pack = packs.known().1[0].clone();
    pack.forget();
    pack.add(&[write(&stored, 6)]);
    assert_eq!(read(&packs, &stored.0).unwrap(), Some(stored.1));
    assert_eq!(packs.all(&stored.0).unwrap().len(), 1);
    assert_eq!(read(&packs, &failed.0).unwrap(), None);
    assert!(all.iter().all(|(name, payload)| read(&packs, name).unwrap().as_ref() == Some(payload)));
    let index = pack.index(&file).unwrap();
    assert_eq!(index, scanned(&file, &key).unwrap().0.encode(&key));
    packed.folder().put_index("1-a", &index).unwrap();
    assert!(read(&Packs::new(packed.root()), &stored.0).unwrap().is_some());
}

/// The end of a pack is that of an interrupted write if it can be one, and damaged otherwise.
#[test]
fn an_interrupted_write_differs_from_a_damaged_end() {
    let all = payloads(2);
    let packed = Packed::new(&all);
    let bytes = fs::read(packed.pack()).unwrap();
    let last = usize::try_from(packed.frames[1].offset).unwrap();
    let header = FRAME_HEADER_BYTES + all[1].0.len();
    let scan = |bytes: &[u8]| {
        fs::write(packed.pack(), bytes).unwrap();
        scanned(&packed.open(), &PackKey::new(KEY)).unwrap()
    };
    for length in last..bytes.len() {
        let (offsets, found) = scan(&bytes[..length]);
        assert_eq!((found.has_damaged_end, offsets.frames, offsets.end), (false, 1, last as u64), "{length}");
    }
    for zeros in [1, 100, 100_000] {
        for length in [last, last + 1, last + 13, last + header - 1] {
            assert!(!scan(&[&bytes[..length], &vec![0; zeros]].concat()).1.has_damaged_end, "{length}");
        }
        let damaged = [&bytes[..last + 50], &vec![0; zeros], b"x"].concat();
        assert!(scan(&damaged).1.has_damaged_end || zeros == 1);
    }
    for at in (0..header).filter(|at| !(0..4).contains(at)) {
        let (offsets, found) = scan(&flipped(&bytes, last + at));
        assert!(found.has_damaged_end && offsets.frames == 1, "{at}");
        // An index covers it, so that no writer continues the pack.
        assert_eq!(offsets.end, bytes.len() as u64);
    }
    assert_eq!(scan(&bytes).1.end, bytes.len() as u64);
}

#[test]
fn erased_payloads_are_gone() {
    let all = payloads(3);
    let packed = Packed::new(&all);
    packed.seal();
    packed.frames[1].mark_erased(&packed.open()).unwrap();
    let packs = Packs::new(packed.root());
    let there = all.iter().map(|(name, _)| read(&packs, name).unwrap().is_some()).collect::<Vec<_>>();
    assert_eq!(there, [true, false, true]);
    assert!(packs.find_hash(&Hash::of(&all[1].1), |_| Ok(Some(()))).unwrap().is_none());
    let mut names = Vec::new();
    for_each(&packed.open(), &PackKey::new(KEY), |found| {
        names.push(found.frame.name.clone());
        Ok(())
    })
    .unwrap();
    assert_eq!(names, [all[0].0.clone(), all[2].0.clone()]);
}

/// Returns a record with a payload, whose reference leads to no file.
fn record(payload: &[u8]) -> AuditRecord {
    AuditRecord { payload_hash: Hash::of(payload), object_ref: "x".into(), ..some_records(1).remove(0) }
}

#[test]
fn a_payload_directory_reads_packs_and_files() {
    let (right, other) = (record(b"right"), record(b"other"));
    let packed = Packed::new(&[
        (content_path(&right), b"wrong".to_vec()),
        (content_path(&right), b"right".to_vec()),
        (content_path(&other), b"bytes of an attacker".to_vec()),
    ]);
    let folder = PayloadFolder::open(packed.root()).unwrap();
    assert_eq!(folder.payload_hash(&right).unwrap(), Some(right.payload_hash));
    assert_eq!(folder.read(&right, 5).unwrap().unwrap(), b"right");
    assert_eq!(folder.read(&right, 3).unwrap().unwrap().len(), 3);
    // Other bytes are returned, so that verification reports them.
    assert_eq!(folder.payload_hash(&other).unwrap(), Some(Hash::of(b"bytes of an attacker")));
    fs::write(packed.root().join("x"), b"other").unwrap();
    assert_eq!(folder.payload_hash(&other).unwrap(), Some(other.payload_hash));
    let file = packed.root().join(content_path(&other));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::remove_file(packed.root().join("x")).unwrap();
    fs::write(file, b"other").unwrap();
    assert_eq!(folder.payload_hash(&other).unwrap(), Some(other.payload_hash));
    assert_eq!(folder.payload_hash(&record(b"absent")).unwrap(), None);
}

#[test]
fn a_payload_cannot_pass_for_a_frame() {
    let planted = payload_of("lift-02/0/1", b"planted");
    let mut payload = b"x".to_vec();
    // A device does not know the key of the pack.
    Frame::encode(&PackKey::new([8; 32]), (999, 5), (&planted.0, &planted.1), &mut payload).unwrap();
    let (name, payload) = payload_of("lift-01/0/1", &payload);
    let packed = Packed::new(&[(name.clone(), payload), payload_of("lift-01/0/2", b"next")]);
    // The frame around it is damaged, so a scan looks into its payload.
    let mut bytes = fs::read(packed.pack()).unwrap();
    bytes[PACK_HEADER_BYTES + 20] ^= 1;
    fs::write(packed.pack(), bytes).unwrap();
    let packs = Packs::new(packed.root());
    assert_eq!(read(&packs, &planted.0).unwrap(), None);
    assert_eq!(read(&packs, &name).unwrap(), None);
    assert!(read(&packs, &packed.frames[1].name).unwrap().is_some());
}

/// Damage to the index never hides a payload: it costs a scan.
#[test]
fn a_damaged_index_is_rebuilt() {
    let all = payloads(400);
    let packed = Packed::new(&all);
    packed.seal();
    let index = fs::read(packed.index()).unwrap();
    let other = Packed::new(&payloads(300));
    let (offsets, _) = scanned(&other.open(), &PackKey::new(KEY)).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..index.len()).step_by(97).map(|at| flipped(&index, at)).collect();
    damaged.extend([0, 1, 63, 64, 100, 4160, index.len() - 1].map(|length| index[..length].to_vec()));
    damaged.push([&index[..], &[0; 4096]].concat());
    // Pages in another order.
    damaged.push([&index[..64], &index[4160..8256], &index[64..4160], &index[8256..]].concat());
    damaged.push(offsets.encode(&PackKey::new([9; 32])));
    for bytes in damaged {
        fs::write(packed.index(), bytes).unwrap();
        let packs = Packs::new(packed.root());
        for (name, payload) in all.iter().step_by(23) {
            assert_eq!(read(&packs, name).unwrap().as_ref(), Some(payload));
        }
        assert_eq!(read(&packs, "devices/absent").unwrap(), None);
    }
}

/// An attacker who can write the files knows the key of a pack, and can make an index with right checks.
#[test]
fn an_index_of_an_attacker_leads_to_no_other_payload() {
    let all = payloads(3);
    let packed = Packed::new(&all);
    let (key, length) = (PackKey::new(KEY), packed.open().length().unwrap());
    let frame = |name: &str, offset| Frame { name: name.to_owned(), offset, ..packed.frames[0].clone() };
    let mut offsets = Offsets::default();
    // To the payload of another name, into the middle of a frame, and to places that no file has.
    offsets.add(&frame(&all[0].0, packed.frames[1].offset));
    for (name, offset) in [
        ("middle", packed.frames[2].offset + 3),
        ("end", length),
        ("far", i64::MAX as u64),
        ("farther", i64::MAX as u64 + 100_000),
        ("farthest", u64::MAX - 1),
    ] {
        offsets.end = offset;
        offsets.add(&frame(name, offset));
    }
    offsets.end = length;
    packed.folder().put_index("1-a", &offsets.encode(&key)).unwrap();
    let packs = Packs::new(packed.root());
    for name in [&*all[0].0, &*all[1].0, "middle", "end", "far", "farther", "farthest"] {
        assert_eq!(read(&packs, name).unwrap(), None, "{name}");
    }
    let found = packs.find_hash(&Hash::of(&all[0].1), |found| Ok(Some(found.frame.name.clone())));
    assert_eq!(found.unwrap(), None);
}

/// Another process has replaced the index, or continued the pack.
#[test]
fn an_index_that_changes_is_read_again() {
    let all = payloads(400);
    let packed = Packed::new(&all);
    packed.seal();
    let packs = Packs::new(packed.root());
    assert_eq!(read(&packs, &all[0].0).unwrap().as_ref(), Some(&all[0].1));
    for frame in &packed.frames[..300] {
        frame.mark_erased(&packed.open()).unwrap();
    }
    packed.seal();
    for (at, (name, payload)) in all.iter().enumerate() {
        assert_eq!(read(&packs, name).unwrap().as_ref(), Some(payload).filter(|_| at >= 300), "{at}");
    }
    let (key, file) = (PackKey::new(KEY), packed.open());
    let (name, payload) = payload_of("lift-02/0/1", b"late");
    let mut bytes = Vec::new();
    let end = file.length().unwrap();
    Frame::encode(&key, (end, 5), (&name, &payload), &mut bytes).unwrap();
    file.write_all_at(&bytes, end).unwrap();
    assert_eq!(read(&packs, &name).unwrap(), Some(payload.clone()));
    assert_eq!(read(&Packs::new(packed.root()), &name).unwrap(), Some(payload));
    // The index is lost, and a writer continues the pack.
    packed.seal();
    let packs = Packs::new(packed.root());
    assert!(read(&packs, &name).unwrap().is_some());
    fs::remove_file(packed.index()).unwrap();
    assert!(read(&packs, &name).unwrap().is_some());
    let (name, payload) = payload_of("lift-03/0/1", b"later");
    bytes.clear();
    let end = file.length().unwrap();
    Frame::encode(&key, (end, 5), (&name, &payload), &mut bytes).unwrap();
    file.write_all_at(&bytes, end).unwrap();
    assert_eq!(read(&packs, &name).unwrap(), Some(payload));
}

#[test]
fn a_pack_that_shrinks_while_it_is_read_gives_less() {
    let all = payloads(3);
    let packed = Packed::new(&all);
    packed.seal();
    let packs = Packs::new(packed.root());
    let cut = packed.frames[2].end() - 3;
    let found = packs.find(&all[2].0, |found| {
        packed.open().file().set_len(cut)?;
        found.read(1 << 20).map(Some)
    });
    assert_eq!(found.unwrap().unwrap(), all[2].1[..all[2].1.len() - 3]);
    assert_eq!(read(&packs, &all[2].0).unwrap(), None);
    assert_eq!(read(&packs, &all[1].0).unwrap().as_ref(), Some(&all[1].1));
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x40;
    bytes
}

#[test]
fn files_of_an_attacker_are_refused_or_ignored() {
    let all = payloads(2);
    let packed = Packed::new(&all);
    let packs = packed.root().join(PACKS);
    // Names that no writer makes.
    for name in
        ["x.PACK", "..pack", ".pack", "A.pack", "a b.pack", &format!("{}.pack", "a".repeat(101)), "b.index"]
    {
        fs::write(packs.join(name), b"junk").unwrap();
    }
    // The creation of a pack was interrupted.
    fs::write(packs.join("c.pack"), b"edspack").unwrap();
    fs::write(packs.join("d.new"), b"").unwrap();
    let read_all = || {
        let packs = Packs::new(packed.root());
        all.iter().map(|(name, _)| read(&packs, name)).collect::<io::Result<Vec<_>>>()
    };
    assert!(read_all().unwrap().iter().all(Option::is_some));
    let refused = |problem: &str| {
        let error = read(&Packs::new(packed.root()), "devices/absent").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        assert!(error.to_string().contains("e.pack") && error.to_string().contains(problem), "{error}");
    };
    let path = packs.join("e.pack");
    fs::write(&path, [0; 64]).unwrap();
    refused("is not a pack of payloads");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("is not a file of the store");
    fs::remove_dir(&path).unwrap();
    // A file without blocks, larger than any pack.
    fs::write(&path, PackKey::new(KEY).encode()).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 41).unwrap();
    refused("is larger than any pack");
    fs::remove_file(&path).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(packed.pack(), &path).unwrap();
        refused("is not a file of the store");
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        refused("is not a file of the store");
        fs::remove_file(&path).unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(&packs, outside.path().join(PACKS)).unwrap();
        let error = read(&Packs::new(outside.path()), &all[0].0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{error}");
    }
    assert!(read_all().unwrap().iter().all(Option::is_some));
}

#[test]
fn memory_for_packs_without_an_index_is_limited() {
    let packed = Packed::new(&[]);
    let (packs, key) = (packed.root().join(PACKS), PackKey::new(KEY));
    let mut bytes = key.encode().to_vec();
    for number in 0..(1 << 19) {
        let at = bytes.len() as u64;
        Frame::encode(&key, (at, 5), (&format!("{number}"), b""), &mut bytes).unwrap();
    }
    for number in 0..5 {
        fs::write(packs.join(format!("{number}.pack")), &bytes).unwrap();
    }
    let packs = Packs::new(packed.root());
    let error = read(&packs, "1").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("without a usable index; delete damaged indexes, and run eds config check"),
        "{error}"
    );
    // With an index they take none.
    let (offsets, _) = scanned(&packed.folder().pack("0", Open::Read).unwrap().unwrap(), &key).unwrap();
    let index = Offsets::encode(&offsets, &key);
    for number in 0..4 {
        packed.folder().put_index(&number.to_string(), &index).unwrap();
    }
    assert_eq!(read(&packs, "1").unwrap(), Some(Vec::new()));
    assert_eq!(read(&packs, "absent").unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Any bytes in place of a part of the pack and of its index: no panic, never other bytes under a hash, and frames
    /// before the damage are found.
    #[test]
    fn a_damaged_pack_loses_nothing_but_the_damaged_frames(
        sizes in prop::collection::vec(0usize..400, 1..30),
        from in 0usize..6000,
        junk in prop::collection::vec(any::<u8>(), 1..200),
        cut in prop::option::of(0usize..8000),
        is_indexed in any::<bool>(),
        of_index in prop::option::of(0usize..8000),
    ) {
        let all: Vec<_> = sizes.iter().enumerate()
            .map(|(at, size)| payload_of(&format!("lift-01/0/{at}"), &vec![at as u8; *size])).collect();
        let packed = Packed::new(&all);
        if is_indexed {
            packed.seal();
            if let Some(at) = of_index {
                let index = fs::read(packed.index()).unwrap();
                fs::write(packed.index(), flipped(&index, at % index.len())).unwrap();
            }
        }
        let mut bytes = fs::read(packed.pack()).unwrap();
        let from = PACK_HEADER_BYTES + from % (bytes.len() - PACK_HEADER_BYTES);
        let to = bytes.len().min(from + junk.len());
        bytes[from..to].copy_from_slice(&junk[..to - from]);
        if let Some(cut) = cut {
            bytes.truncate(cut.max(PACK_HEADER_BYTES));
        }
        fs::write(packed.pack(), &bytes).unwrap();
        let packs = Packs::new(packed.root());
        for (frame, (name, payload)) in packed.frames.iter().zip(&all) {
            let found = packs.find(name, |found| {
                let mut read = Vec::new();
                found.payload().read_to_end(&mut read)?;
                Ok((Hash::of(&read) == Hash::of(payload)).then_some(read))
            }).unwrap();
            let is_whole = frame.end() <= from as u64 || frame.offset >= to as u64;
            let is_there = frame.end() <= bytes.len() as u64;
            if is_whole && is_there {
                prop_assert_eq!(found, Some(payload.clone()));
            } else if let Some(found) = found {
                prop_assert_eq!(&found, payload);
            }
        }
    }
}
