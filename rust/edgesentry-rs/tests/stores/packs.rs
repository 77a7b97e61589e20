//! Payloads in packs: several writers, ends at any byte, erasure, and directories of earlier releases.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::Hash;
use edgesentry_formats::packs::{MAX_PACKS, PACKS};
use edgesentry_formats::{PayloadFolder, content_path};
use edgesentry_rs::FailureKind;
use edgesentry_rs::ingest::verify::Admitted;
use edgesentry_rs::payload::{Folder, Layout, PayloadStore, Put, Unpacked};
use tempfile::TempDir;

use crate::common::{Kind, Place, chain, devices, names, records};
use crate::payloads::{admitted, admitted_of};
use crate::worker;

fn open(root: &Path) -> Folder {
    Folder::open_as(root, Layout::Packs).unwrap()
}

/// Returns the files of the packs with an ending.
fn files(root: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join(PACKS)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    files.sort();
    files
}

/// Returns true if a file below a directory has these bytes.
fn is_anywhere(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return is_anywhere(&path, bytes);
        }
        std::fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}

fn some(count: usize) -> Vec<Admitted> {
    (0..count).map(|at| admitted("x", format!("the payload with number {at}").as_bytes())).collect()
}

async fn put(store: &Folder, payloads: &[Admitted]) -> Vec<Put> {
    store.put_many(payloads, 4).await.into_iter().map(Result::unwrap).collect()
}

async fn read(store: &Folder, admitted: &Admitted) -> Option<Bytes> {
    store.get(admitted.record()).await.unwrap()
}

async fn holds(store: &Folder, payloads: &[Admitted]) {
    for admitted in payloads {
        assert_eq!(read(store, admitted).await.as_ref(), Some(admitted.payload()));
    }
}

#[tokio::test]
async fn writers_have_packs_of_their_own_and_continue_those_without_one() {
    let place = TempDir::new().unwrap();
    let (all, root) = (some(90), place.path());
    let (one, other) = (open(root), open(root));
    put(&one, &all[..30]).await;
    put(&other, &all[30..60]).await;
    assert_eq!(files(root, "pack").len(), 2);
    for store in [&one, &other, &Folder::read(root).unwrap()] {
        holds(store, &all[..60]).await;
        assert_eq!(read(store, &all[60]).await, None);
    }
    drop((one, other));
    for at in 0..10 {
        let store = open(root);
        put(&store, &all[60 + at * 3..63 + at * 3]).await;
    }
    assert_eq!((files(root, "pack").len(), files(root, "index").len()), (2, 0));
    holds(&Folder::read(root).unwrap(), &all).await;
    let folder = PayloadFolder::open(root).unwrap();
    for admitted in &all {
        let found = folder.read(admitted.record(), 100).unwrap().unwrap();
        assert_eq!(found, *admitted.payload());
    }
}

/// A process is killed after any byte of its write: each acknowledged payload stays, and the rest can be stored.
#[tokio::test]
async fn a_pack_that_ends_anywhere_is_continued() {
    let place = TempDir::new().unwrap();
    let all = some(6);
    let store = open(place.path());
    put(&store, &all[..3]).await;
    let pack = files(place.path(), "pack").remove(0);
    let acknowledged = std::fs::metadata(&pack).unwrap().len() as usize;
    put(&store, &all[3..]).await;
    drop(store);
    let bytes = std::fs::read(&pack).unwrap();
    let end_of = |admitted: &Admitted| {
        let payload = admitted.payload();
        payload.len() + bytes.windows(payload.len()).position(|window| window == payload).unwrap()
    };
    for (at, length) in (acknowledged..=bytes.len()).step_by(7).enumerate() {
        let root = place.path().join(format!("copy-{at}"));
        std::fs::create_dir_all(root.join(PACKS)).unwrap();
        let copy = root.join(PACKS).join(pack.file_name().unwrap());
        // A machine that fails may leave zeros.
        let zeros = vec![0; if at % 2 == 0 { 0 } else { 300 }];
        std::fs::write(&copy, [&bytes[..length], &zeros].concat()).unwrap();
        holds(&Folder::read(&root).unwrap(), &all[..3]).await;
        let store = open(&root);
        // Zeros may complete a frame. It stays, like one with damage, and is of no harm.
        let kept = std::fs::metadata(&copy).unwrap().len() as usize;
        assert!(kept <= length || all.iter().any(|admitted| end_of(admitted) == kept), "{length} {kept}");
        put(&store, &all).await;
        holds(&store, &all).await;
        drop(store);
        holds(&Folder::read(&root).unwrap(), &all).await;
        assert_eq!(files(&root, "pack").len(), 1);
    }
}

#[tokio::test]
async fn a_damaged_pack_is_not_continued_and_its_other_payloads_stay() {
    let place = TempDir::new().unwrap();
    let (all, root) = (some(20), place.path());
    put(&open(root), &all[..10]).await;
    let pack = files(root, "pack").remove(0);
    let mut bytes = std::fs::read(&pack).unwrap();
    // The header of the first frame.
    bytes[70..90].fill(0xaa);
    std::fs::write(&pack, &bytes).unwrap();
    let store = open(root);
    put(&store, &all[10..]).await;
    assert_eq!((files(root, "pack").len(), files(root, "index").len()), (2, 1));
    holds(&store, &all[1..]).await;
    assert_eq!(read(&store, &all[0]).await, None);
    // A payload with other bytes is returned as it is, for verification, and can be stored again.
    let bytes = std::fs::read(&pack).unwrap();
    let payload = all[5].payload();
    let at = bytes.windows(payload.len()).position(|window| window == payload).unwrap();
    let forged = [&bytes[..at], b"forged", &bytes[at + 6..]].concat();
    std::fs::write(&pack, forged).unwrap();
    assert_eq!(&read(&store, &all[5]).await.unwrap()[..6], b"forged");
    put(&store, &all[5..6]).await;
    holds(&store, &all[5..6]).await;
    // A pack with bytes that are not of any payload stays.
    drop(store);
    let unpacked = Folder::open(root).unwrap().unpack().unwrap();
    assert!(unpacked.packs == 1 && unpacked.damaged > 0, "{unpacked:?}");
    assert_eq!(files(root, "pack"), [pack]);
}

/// A damaged last frame does not pass for an interrupted write: it is kept as evidence.
#[tokio::test]
async fn a_damaged_last_frame_is_not_cut_off() {
    let place = TempDir::new().unwrap();
    let (all, root) = (some(10), place.path());
    put(&open(root), &all[..5]).await;
    let pack = files(root, "pack").remove(0);
    let mut bytes = std::fs::read(&pack).unwrap();
    let payload = all[4].payload();
    let at = bytes.windows(payload.len()).position(|window| window == payload).unwrap();
    bytes[at - 1] ^= 1;
    std::fs::write(&pack, &bytes).unwrap();
    for part in all[5..].chunks(3) {
        let store = open(root);
        put(&store, part).await;
        holds(&store, &all[..4]).await;
        holds(&store, part).await;
        assert_eq!(read(&store, &all[4]).await, None);
        assert_eq!((files(root, "pack").len(), files(root, "index").len()), (2, 1));
        assert_eq!(std::fs::read(&pack).unwrap(), bytes);
    }
    let unpacked = Folder::open(root).unwrap().unpack().unwrap();
    assert_eq!((unpacked.packs, unpacked.damaged), (1, 1), "{unpacked:?}");
    assert_eq!(std::fs::read(&pack).unwrap(), bytes);
}

#[tokio::test]
async fn a_writer_begins_no_pack_if_there_are_too_many() {
    let place = TempDir::new().unwrap();
    let (all, root) = (some(2), place.path());
    put(&open(root), &all[..1]).await;
    let packs = root.join(PACKS);
    let fill = |numbers: std::ops::Range<usize>| {
        numbers
            .for_each(|number| drop(std::fs::File::create(packs.join(format!("z-{number}.pack"))).unwrap()));
    };
    fill(1..MAX_PACKS - 256);
    let (one, other) = (open(root), open(root));
    put(&one, &all[1..]).await;
    let error = other.put(&all[1]).await.unwrap_err();
    assert!(error.describe().contains("with eds unpack DIR"), "{}", error.describe());
    assert_eq!(error.kind, FailureKind::Setup);
    drop((one, other));
    // More than readers accept: the service starts, says it, and unpacks them.
    fill(MAX_PACKS - 256..MAX_PACKS + 10);
    let store = open(root);
    assert!(store.put(&all[1]).await.is_err());
    let unpacked = store.unpack().unwrap();
    assert_eq!((unpacked.payloads, unpacked.packs, unpacked.damaged), (2, 1, 0));
}

#[tokio::test]
async fn an_erased_payload_is_nowhere_any_more() {
    let place = TempDir::new().unwrap();
    let root = place.path().join("payloads");
    let large: Vec<u8> = (0..300_000).map(|at: u32| (at * 31 % 251) as u8).collect();
    let (large, small) = (admitted("x", &large), admitted("x", b"a small payload to erase"));
    let others = some(10);
    // Copies in a file of an earlier release, in a pack without a writer, whose last copy is cut off, in the pack of
    // another writer, and in our own.
    let files_of_old = Folder::open(&root).unwrap();
    for admitted in [&large, &small] {
        files_of_old.put(admitted).await.unwrap();
    }
    let old = |admitted: &Admitted| root.join(content_path(admitted.record()));
    let (hidden, hidden_small) = (root.join("hidden"), root.join("hidden-small"));
    std::fs::rename(old(&large), &hidden).unwrap();
    std::fs::rename(old(&small), &hidden_small).unwrap();
    let first = open(&root);
    put(&first, &[large.clone(), small.clone(), others[0].clone()]).await;
    let another = open(&root);
    put(&another, &[small.clone(), others[1].clone(), large.clone()]).await;
    drop(first);
    let pack = files(&root, "pack");
    let cut = pack.iter().find(|pack| std::fs::File::open(pack).unwrap().try_lock().is_ok()).unwrap();
    put(&open(&root), std::slice::from_ref(&large)).await;
    let cut = std::fs::OpenOptions::new().write(true).open(cut).unwrap();
    cut.set_len(cut.metadata().unwrap().len() - 50_000).unwrap();
    drop(cut);
    let store = open(&root);
    put(&store, &[others[2].clone(), small.clone(), large.clone()]).await;
    std::fs::rename(hidden, old(&large)).unwrap();
    std::fs::rename(hidden_small, old(&small)).unwrap();
    for admitted in [&large, &small] {
        let (record, name) = (admitted.record(), content_path(admitted.record()));
        assert_eq!(store.versions(record).await.unwrap().len(), 1);
        assert_eq!(read(&store, admitted).await.unwrap(), *admitted.payload());
        assert!(is_anywhere(&root, &admitted.payload()[..20]));
        // A second time, it has nothing to do.
        for _ in 0..2 {
            store.erase(record, &name).await.unwrap();
            assert!(!is_anywhere(&root, &admitted.payload()[..20]));
            for store in [&store, &another, &Folder::read(&root).unwrap()] {
                assert_eq!(read(store, admitted).await, None);
                assert_eq!(store.versions(record).await.unwrap(), []);
            }
        }
    }
    holds(&store, &others[..3]).await;
    // It can be stored again, as after a restore, also by the writer whose copy another process has erased.
    for store in [&another, &store] {
        assert_eq!(put(store, std::slice::from_ref(&small)).await, [Put::Stored]);
        holds(store, std::slice::from_ref(&small)).await;
    }
}

/// A part of a payload that a killed process has left is erased by a service that runs.
#[tokio::test]
async fn a_part_of_an_erased_payload_is_cut_off() {
    let place = TempDir::new().unwrap();
    let (all, root) = (some(3), place.path());
    let (service, killed) = (open(root), open(root));
    put(&service, &all[..1]).await;
    put(&killed, &all[1..2]).await;
    let (record, name) = (all[0].record(), content_path(all[0].record()));
    let other_pack = files(root, "pack").into_iter().find(|pack| is_in(pack, all[1].payload())).unwrap();
    let before = std::fs::read(&other_pack).unwrap();
    put(&killed, &all[..1]).await;
    drop(killed);
    let bytes = std::fs::read(&other_pack).unwrap();
    std::fs::write(&other_pack, &bytes[..bytes.len() - 1]).unwrap();
    service.erase(record, &name).await.unwrap();
    assert!(!is_anywhere(root, all[0].payload()));
    assert_eq!(std::fs::read(&other_pack).unwrap(), before);
    holds(&service, &all[1..2]).await;
}

fn is_in(file: &Path, bytes: &[u8]) -> bool {
    std::fs::read(file).unwrap().windows(bytes.len()).any(|window| window == bytes)
}

/// A directory that is restored, or removed, while a service runs.
#[tokio::test]
async fn a_directory_that_is_replaced_is_used() {
    let place = TempDir::new().unwrap();
    let (all, root) = (some(6), place.path().join("payloads"));
    let (service, reader) = (open(&root), Folder::read(place.path()).unwrap());
    put(&service, &all[..2]).await;
    let reads = Folder::read(&root).unwrap();
    holds(&reads, &all[..2]).await;
    std::fs::rename(root.join(PACKS), place.path().join("kept")).unwrap();
    put(&service, &all[2..4]).await;
    holds(&reads, &all[2..4]).await;
    std::fs::rename(root.join(PACKS), place.path().join("other")).unwrap();
    std::fs::rename(place.path().join("kept"), root.join(PACKS)).unwrap();
    for store in [&reads, &service] {
        holds(store, &all[..2]).await;
        assert_eq!(read(store, &all[2]).await, None);
    }
    // The pack alone is moved away.
    std::fs::rename(&files(&root, "pack")[0], place.path().join("moved")).unwrap();
    assert_eq!(put(&service, &all[4..]).await, [Put::Stored; 2]);
    holds(&service, &all[4..]).await;
    holds(&reads, &all[4..]).await;
    assert_eq!(read(&reads, &all[0]).await, None);
    assert_eq!(read(&reader, &all[0]).await, None);
}

#[tokio::test]
async fn unfinished_files_of_killed_writers_are_removed() {
    let place = TempDir::new().unwrap();
    put(&open(place.path()), &some(1)).await;
    let packs = place.path().join(PACKS);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 3600);
    for name in ["1-a.new", "1-b.partial", "1-a.other", "A.new"] {
        std::fs::File::create(packs.join(name)).unwrap().set_modified(old).unwrap();
    }
    std::fs::write(packs.join("1-c.new"), "").unwrap();
    holds(&open(place.path()), &some(1)).await;
    let kept =
        ["1-a.new", "1-b.partial", "1-a.other", "A.new", "1-c.new"].map(|name| packs.join(name).exists());
    assert_eq!(kept, [false, false, true, true, true]);
}

/// A reader of another process never misses a payload that was stored before, and never reads other bytes.
#[tokio::test(flavor = "multi_thread")]
async fn readers_see_each_payload_once_it_is_stored() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let place = TempDir::new().unwrap();
    let (all, stored) = (Arc::new(some(400)), Arc::new(AtomicUsize::new(0)));
    let store = open(place.path());
    let readers: Vec<_> = (0..2)
        .map(|seed| {
            let (all, stored, root) = (Arc::clone(&all), Arc::clone(&stored), place.path().to_owned());
            std::thread::spawn(move || {
                let (folder, mut state) = (PayloadFolder::open(&root).unwrap(), seed);
                loop {
                    let there = stored.load(Ordering::SeqCst);
                    for _ in 0..there.min(50) {
                        state = (state * 31 + 7) % there;
                        let found = folder.read(all[state].record(), 100).unwrap();
                        assert_eq!(found.as_deref(), Some(&all[state].payload()[..]), "{state} of {there}");
                    }
                    if there == all.len() {
                        return;
                    }
                }
            })
        })
        .collect();
    for group in all.chunks(5) {
        put(&store, group).await;
        stored.fetch_add(group.len(), Ordering::SeqCst);
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[tokio::test]
async fn the_payload_of_a_rejected_record_goes_unless_others_rely_on_it() {
    let place = TempDir::new().unwrap();
    let (all, root) = (some(4), place.path());
    put(&open(root), &all[..1]).await;
    let store = open(root);
    // One is also in an earlier pack, one is shared, one is of this record alone, and one stays.
    assert_eq!(put(&store, &all).await, [Put::Stored; 4]);
    assert_eq!(put(&store, &all[1..2]).await, [Put::AlreadyThere]);
    for admitted in &all[..3] {
        store.discard(admitted.record()).await.unwrap();
        store.discard(admitted.record()).await.unwrap();
    }
    holds(&store, &[all[0].clone(), all[1].clone(), all[3].clone()]).await;
    assert_eq!(read(&store, &all[2]).await, None);
    assert!(!is_anywhere(root, all[2].payload()));
    assert_eq!(put(&store, &all[2..3]).await, [Put::Stored]);
    holds(&store, &all).await;
}

/// A fork that lost a race has left its payload.
#[tokio::test(flavor = "multi_thread")]
async fn the_service_discards_the_payload_of_a_record_that_the_ledger_rejects() {
    let place = Place::new(Kind::Postgres).await;
    let (one, other) = (place.service().await, place.service().await);
    let lift = devices(&**one.ledger(), 1).await.remove(0);
    let mut rejected = 0;
    let mut lift = lift;
    for round in 0..20 {
        let mut twin =
            crate::common::device(1).resume(one.ledger().heads().await.unwrap().get("lift-01").copied());
        let first = chain(&mut lift, 1).remove(0);
        let payload = format!("the other payload of round {round}");
        let record = twin.sign(first.record.timestamp_ms + 7, payload.as_bytes(), "x").unwrap();
        let second = edgesentry_rs::ingest::verify::Submission {
            record: Arc::new(record),
            payload: Bytes::from(payload.clone()),
        };
        let answers = tokio::join!(one.ingest_many(vec![first]), other.ingest_many(vec![second]));
        let accepted = [&answers.0, &answers.1].map(|answers| names(answers) == ["accepted"]);
        assert!(accepted[0] != accepted[1], "{answers:?}");
        rejected += usize::from(!accepted[1]);
        assert_eq!(is_anywhere(&place.path("payloads"), payload.as_bytes()), accepted[1]);
        lift = lift.resume(one.ledger().heads().await.unwrap().get("lift-01").copied());
    }
    assert!(place.report().await.ok());
    let held = records(&**one.ledger(), &edgesentry_rs::ledger::Filter::default()).await;
    assert_eq!(held.len(), 20, "{rejected}");
}

#[tokio::test]
async fn packs_are_written_into_files_and_back() {
    let place = TempDir::new().unwrap();
    let (all, root) = (some(30), place.path());
    let devices = ["a", "a/b", "..", "海", &"l".repeat(1024)].map(|id| admitted_of(id, "x", b"the same"));
    let everything = [&all[..], &devices].concat();
    put(&Folder::open(root).unwrap(), &all[..10]).await;
    put(&open(root), &everything[5..20]).await;
    let one = open(root);
    put(&one, &everything[15..]).await;
    one.erase(all[19].record(), &content_path(all[19].record())).await.unwrap();
    holds(&one, &all[..19]).await;
    let error = Folder::open(root).unwrap().unpack().unwrap_err();
    assert!(error.describe().contains("another process writes to it"), "{}", error.describe());
    assert_eq!(error.kind, FailureKind::Setup);
    drop(one);
    let unpacked = Folder::open(root).unwrap().unpack().unwrap();
    assert_eq!((unpacked.packs, unpacked.damaged), (1, 0), "{unpacked:?}");
    assert!(files(root, "pack").is_empty());
    let (erased, kept): (Vec<_>, Vec<_>) =
        everything.iter().cloned().partition(|one| one.record() == all[19].record());
    for admitted in &kept {
        let file = root.join(content_path(admitted.record()));
        assert_eq!(std::fs::read(file).unwrap(), *admitted.payload());
    }
    assert_eq!(read(&Folder::open(root).unwrap(), &erased[0]).await, None);
    assert_eq!(Folder::open(root).unwrap().unpack().unwrap(), Unpacked::default());
    // And new payloads may be in packs again.
    let store = open(root);
    assert_eq!(put(&store, &kept).await, vec![Put::AlreadyThere; kept.len()]);
    put(&store, &erased).await;
    holds(&store, &everything).await;
    // A payload with other bytes stays in its pack.
    let pack = files(root, "pack").remove(0);
    let mut bytes = std::fs::read(&pack).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    drop(store);
    let unpacked = Folder::open(root).unwrap().unpack().unwrap();
    assert_eq!((unpacked.packs, unpacked.payloads, unpacked.damaged), (0, 0, 1));
    assert_eq!(files(root, "pack"), [pack]);
}

/// Many packs without a writer get an index, so that readers need no memory for them.
#[tokio::test]
async fn packs_without_a_writer_are_indexed_if_there_are_many() {
    let place = TempDir::new().unwrap();
    let (all, root) = (some(12), place.path());
    let stores: Vec<Folder> = all.iter().map(|_| open(root)).collect();
    for (store, admitted) in stores.iter().zip(&all) {
        put(store, std::slice::from_ref(admitted)).await;
    }
    assert_eq!((files(root, "pack").len(), files(root, "index").len()), (12, 0));
    drop(stores);
    let store = open(root);
    assert_eq!((files(root, "pack").len(), files(root, "index").len()), (12, 4));
    holds(&store, &all).await;
    // A lost or damaged index is made again by the next writer.
    let index = files(root, "index");
    std::fs::remove_file(&index[0]).unwrap();
    std::fs::write(&index[1], b"junk").unwrap();
    holds(&store, &all).await;
    holds(&open(root), &all).await;
    assert_ne!(std::fs::read(&index[1]).unwrap(), b"junk");
}

/// No file of the worker may exceed 100 blocks of 1,024 bytes.
#[tokio::test]
async fn a_limit_on_the_size_of_files_begins_other_packs() {
    let place = Place::new(Kind::Sqlite).await;
    let worker = worker::command("packs", &place);
    let mut limited = std::process::Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 500; exec \"$@\"", "bash"]).arg(worker.get_program());
    limited.args(worker.get_args());
    for (name, value) in worker.get_envs() {
        limited.env(name, value.unwrap());
    }
    let output = limited.output().unwrap();
    let lines = worker::lines(&output);
    assert!(lines.contains(&"stored 100, refused 1".to_owned()), "{lines:?} {output:?}");
    let store = Folder::read(&place.path("limited")).unwrap();
    holds(&store, &limited_payloads()).await;
    assert!(files(&place.path("limited"), "pack").len() > 1);
}

fn limited_payloads() -> Vec<Admitted> {
    (0..100u8).map(|at| admitted("x", &[at; 20_000])).collect()
}

/// Stores payloads, one of which is too large for the limit.
pub async fn limited(folder: &Path) {
    let store = open(&folder.join("limited"));
    let large = admitted("x", &vec![1; 600_000]);
    let all = [&limited_payloads()[..], &[large]].concat();
    let puts = store.put_many(&all, 4).await;
    let refused = puts.iter().filter(|put| put.as_ref().is_err_and(|error| error.kind == FailureKind::Item));
    let (refused, stored) = (refused.count(), puts.iter().filter(|put| put.is_ok()).count());
    println!("stored {stored}, refused {refused}");
}

/// The hash of a name is not a secret: names lead nowhere but into the directory.
#[tokio::test]
async fn a_pack_of_an_attacker_leads_to_no_other_file() {
    use edgesentry_formats::packs::{Frame, PackKey};
    let place = TempDir::new().unwrap();
    let root = place.path().join("payloads");
    std::fs::create_dir_all(root.join(PACKS)).unwrap();
    let key = PackKey::new([7; 32]);
    let mut bytes = key.encode().to_vec();
    let hash = Hash::of(b"x");
    let names = [
        format!("../outside-{hash}"),
        format!("/tmp/outside-{hash}"),
        format!("devices/../../outside-{hash}"),
        format!("devices/a/../x-{hash}"),
        format!("devices/a/0/.-{hash}"),
        format!("devices/a/0/1/2-{hash}"),
        format!("devices//0/1-{hash}"),
        format!(".packs/a/0/1-{hash}"),
    ];
    for name in &names {
        let at = bytes.len() as u64;
        Frame::encode(&key, (at, 5), (name, b"x"), &mut bytes).unwrap();
    }
    std::fs::write(root.join(PACKS).join("a.pack"), bytes).unwrap();
    let unpacked = Folder::open(&root).unwrap().unpack().unwrap();
    assert_eq!(unpacked, Unpacked { damaged: names.len() as u64, ..Unpacked::default() });
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    assert!(!root.join("devices").exists());
}
