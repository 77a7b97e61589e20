//! Writes, syncs and locks that fail, and processes that end between them.

use std::cell::{Cell, RefCell};
use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use edgesentry_chain::Hash;
use edgesentry_formats::packs::{PACKS, PackFile, Packs};
use rustix::io::Errno;
use tempfile::TempDir;

use super::{FRAMES_OF_A_COUNT, Files, GROWING_FRAMES, MAX_SET_ASIDE, PackWriter, Put, SPARE_FRAMES, calls};

/// What happens in place of the next calls of this thread.
#[derive(Clone, Copy, Default)]
struct Faults {
    /// Each write ends after a half of its bytes.
    write: Option<Errno>,
    sync: Option<Errno>,
    lock: Option<Errno>,
}

type Watch = Box<dyn FnMut()>;

thread_local! {
    static FAULTS: Cell<Faults> = Cell::default();
    /// Runs after each write, and before each sync.
    static WATCH: RefCell<Option<Watch>> = RefCell::default();
}

fn set(faults: Faults) {
    FAULTS.set(faults);
}

fn clear() {
    FAULTS.take();
    WATCH.take();
}

fn watch(seen: impl FnMut() + 'static) {
    WATCH.set(Some(Box::new(seen)));
}

fn look() {
    // Not borrowed meanwhile: it may write, too.
    if let Some(mut seen) = WATCH.take() {
        seen();
        WATCH.with_borrow_mut(|watch| _ = watch.get_or_insert(seen));
    }
}

pub(super) fn write(file: &PackFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let error = FAULTS.get().write;
    let part = if error.is_some() { bytes.len() / 2 } else { bytes.len() };
    calls::write(file, &bytes[..part], offset)?;
    look();
    error.map_or(Ok(()), |error| Err(error.into()))
}

pub(super) fn sync(file: &PackFile) -> io::Result<()> {
    look();
    FAULTS.get().sync.map_or_else(|| calls::sync(file), |error| Err(error.into()))
}

pub(super) fn try_lock(file: &PackFile) -> Result<(), TryLockError> {
    match FAULTS.get().lock {
        Some(error) => Err(TryLockError::Error(error.into())),
        None => calls::try_lock(file),
    }
}

/// The errors of `flock` on file systems without locks.
const NO_LOCKS: [Errno; 4] = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL];

fn without_locks(error: Errno) {
    set(Faults { lock: Some(error), ..Faults::default() });
}

type Payload = (String, Bytes);

fn some(numbers: std::ops::Range<usize>) -> Vec<Payload> {
    let payload = |number| {
        let payload = format!("the payload with number {number}");
        let name = format!("devices/lift-01/0/{number}-{}", Hash::of(payload.as_bytes()));
        (name, Bytes::from(payload))
    };
    numbers.map(payload).collect()
}

fn writer(root: &Path) -> PackWriter {
    let writer = PackWriter::new(root, &Arc::new(Packs::new(root)));
    writer.tidy().unwrap();
    writer
}

fn put(writer: &PackWriter, payloads: &[Payload]) -> io::Result<Vec<Put>> {
    let payloads: Vec<(&str, &Bytes)> = payloads.iter().map(|(name, payload)| (&**name, payload)).collect();
    writer.put_all(&payloads, 5)
}

fn read(packs: &Packs, (name, payload): &Payload) -> Option<Vec<u8>> {
    let by_name = packs.find(name, |found| found.read(1000).map(Some)).unwrap();
    let by_hash = packs.find_hash(&Hash::of(payload), |found| found.read(1000).map(Some)).unwrap();
    assert_eq!(by_name, by_hash);
    by_name
}

#[track_caller]
fn has(packs: &Packs, payloads: &[Payload]) {
    for payload in payloads {
        assert_eq!(read(packs, payload).as_deref(), Some(&*payload.1));
    }
}

#[track_caller]
fn lacks(packs: &Packs, payloads: &[Payload]) {
    for payload in payloads {
        assert_eq!(read(packs, payload), None);
    }
}

fn packs(root: &Path) -> Packs {
    Packs::new(root)
}

fn files(root: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(PACKS)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    files.sort();
    files
}

/// Copies the packs, as they are when a process is killed.
fn copy(root: &Path, to: &Path) {
    fs::create_dir_all(to.join(PACKS)).unwrap();
    for entry in fs::read_dir(root.join(PACKS)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(PACKS).join(entry.file_name())).unwrap();
    }
}

fn make_old(file: &Path) {
    let old = SystemTime::now() - Duration::from_secs(25 * 3600);
    fs::File::options().write(true).open(file).unwrap().set_modified(old).unwrap();
}

/// Where packs are written into files.
struct Nowhere;

impl Files for Nowhere {
    fn add_file(&self, _name: &str, _payload: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn remove_file(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn has_file(&self, _name: &str, _hash: &Hash) -> io::Result<bool> {
        Ok(false)
    }
}

#[test]
fn without_locks_each_writer_has_packs_that_no_other_continues() {
    for error in NO_LOCKS {
        let (place, all) = (TempDir::new().unwrap(), some(0..40));
        let root = place.path();
        without_locks(error);
        let (one, other) = (writer(root), writer(root));
        for at in 0..10 {
            put(&one, &all[at..=at]).unwrap();
            put(&other, &all[10 + at..=10 + at]).unwrap();
        }
        assert_eq!(files(root, "pack").len(), 2);
        has(&packs(root), &all[..20]);
        // Locks work again, while both still write: their packs stay as they are, even with a part of a frame.
        clear();
        let pack = files(root, "pack").remove(0);
        let bytes = fs::read(&pack).unwrap();
        fs::write(&pack, [&bytes[..], &bytes[64..90]].concat()).unwrap();
        let with_locks = writer(root);
        put(&with_locks, &all[20..30]).unwrap();
        assert_eq!((files(root, "pack").len(), files(root, "index").len()), (3, 0));
        assert_eq!(fs::read(&pack).unwrap().len(), bytes.len() + 26);
        without_locks(error);
        put(&one, &all[30..35]).unwrap();
        put(&other, &all[35..]).unwrap();
        has(&packs(root), &all);
        // A payload is erased in the pack of another writer.
        with_locks.erase(&all[0].0).unwrap();
        lacks(&packs(root), &all[..1]);
        has(&packs(root), &all[1..]);
        drop((one, other, with_locks));
        let refused = writer(root).unpack(&Nowhere).unwrap_err();
        assert!(refused.to_string().contains("its file system has no locks"), "{refused}");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        clear();
    }
}

/// A writer that was idle for a day finds its pack closed, and uses another.
#[test]
fn idle_packs_without_locks_are_closed() {
    let (place, all) = (TempDir::new().unwrap(), some(0..4));
    let root = place.path();
    without_locks(Errno::NOLCK);
    let idle = writer(root);
    put(&idle, &all[..2]).unwrap();
    writer(root);
    assert_eq!(files(root, "index").len(), 0);
    make_old(&files(root, "pack")[0]);
    let other = writer(root);
    assert_eq!(files(root, "index").len(), 1);
    put(&other, &all[2..3]).unwrap();
    put(&idle, &all[3..]).unwrap();
    assert_eq!((files(root, "pack").len(), files(root, "index").len()), (3, 1));
    has(&packs(root), &all);
    // One ends in an interrupted write: without a lock nothing is cut off, and the pack stays without an index.
    let pack = files(root, "pack").into_iter().find(|pack| !pack.with_extension("index").exists()).unwrap();
    let bytes = fs::read(&pack).unwrap();
    fs::write(&pack, &bytes[..bytes.len() - 1]).unwrap();
    make_old(&pack);
    writer(root);
    assert_eq!(fs::read(&pack).unwrap().len(), bytes.len() - 1);
    assert!(!pack.with_extension("index").exists());
    clear();
}

/// A pack without locks is removed during a write, such as by `eds unpack` a day later.
#[test]
fn a_payload_in_a_removed_pack_does_not_count_as_stored() {
    let (place, all) = (TempDir::new().unwrap(), some(0..2));
    let root = place.path();
    without_locks(Errno::NOLCK);
    let store = writer(root);
    put(&store, &all[..1]).unwrap();
    let pack = files(root, "pack").remove(0);
    watch(move || _ = fs::remove_file(&pack));
    let error = put(&store, &all[1..]).unwrap_err();
    assert!(error.to_string().contains("was removed while it was written"), "{error}");
    WATCH.take();
    assert_eq!(put(&store, &all[1..]).unwrap(), [Put::Stored]);
    has(&packs(root), &all[1..]);
    clear();
}

/// The index of a pack after a failed sync cannot be written either: the writer keeps a bounded number of such packs.
#[test]
fn packs_that_are_set_aside_are_bounded() {
    let (place, all) = (TempDir::new().unwrap(), some(0..2 * MAX_SET_ASIDE + 3));
    let root = place.path();
    let store = writer(root);
    for at in 0..MAX_SET_ASIDE {
        put(&store, &all[2 * at..=2 * at]).unwrap();
        let packs = files(root, "pack");
        assert_eq!(packs.len(), at + 1, "a pack after a failed sync is not continued");
        // A directory has the name of the unfinished index.
        packs.iter().for_each(|pack| _ = fs::create_dir_all(pack.with_extension("partial")));
        set(Faults { sync: Some(Errno::IO), ..Faults::default() });
        assert!(put(&store, &all[2 * at + 1..2 * at + 2]).is_err());
        clear();
    }
    assert_eq!(store.writing().set_aside.len(), MAX_SET_ASIDE);
    let last = 2 * MAX_SET_ASIDE;
    for _ in 0..3 {
        let error = put(&store, &all[last..]).unwrap_err();
        assert!(error.to_string().contains("16 packs could not be synced; check the disk"), "{error}");
    }
    assert_eq!(store.writing().set_aside.len(), MAX_SET_ASIDE);
    assert_eq!((files(root, "pack").len(), files(root, "index").len()), (MAX_SET_ASIDE, 0));
    // Acknowledged payloads are there, refused ones are not.
    let (acknowledged, refused): (Vec<_>, Vec<_>) =
        all[..last].iter().cloned().enumerate().partition(|(at, _)| at % 2 == 0);
    let payloads =
        |some: Vec<(usize, Payload)>| some.into_iter().map(|(_, payload)| payload).collect::<Vec<_>>();
    let (acknowledged, refused) = (payloads(acknowledged), payloads(refused));
    has(&packs(root), &acknowledged);
    lacks(&packs(root), &refused);
    // Another process does not continue them: they are locked.
    let other = writer(root);
    put(&other, &all[last..=last]).unwrap();
    assert_eq!((files(root, "pack").len(), files(root, "index").len()), (MAX_SET_ASIDE + 1, 0));
    files(root, "partial").iter().for_each(|path| fs::remove_dir(path).unwrap());
    put(&store, &all[last + 1..]).unwrap();
    assert!(store.writing().set_aside.is_empty());
    assert_eq!(files(root, "index").len(), MAX_SET_ASIDE);
    has(&packs(root), &acknowledged);
    has(&packs(root), &all[last..]);
}

/// Readers of the same and of another process look in the middle of a write that then fails.
#[test]
fn a_failed_write_beside_readers_leaves_nothing() {
    for is_sync in [false, true] {
        let (place, all) = (TempDir::new().unwrap(), some(0..12));
        let root = place.path();
        let own = Arc::new(packs(root));
        let store = PackWriter::new(root, &own);
        put(&store, &all[..4]).unwrap();
        let length = || fs::metadata(&files(root, "pack")[0]).unwrap().len();
        let before = length();
        let another = Arc::new(packs(root));
        for round in 0..5 {
            let (own, another, seen) = (Arc::clone(&own), Arc::clone(&another), all.clone());
            watch(move || {
                for packs in [&own, &another] {
                    has(packs, &seen[..4]);
                    // Those that are there have their bytes, at least a part of them.
                    for payload in &seen[4..8] {
                        let read = read(packs, payload).unwrap_or_default();
                        assert!(payload.1.starts_with(&read));
                    }
                    lacks(packs, &seen[8..]);
                }
            });
            let error = Some(if round % 2 == 0 { Errno::NOSPC } else { Errno::IO });
            set(match is_sync {
                true => Faults { sync: error, ..Faults::default() },
                false => Faults { write: error, ..Faults::default() },
            });
            assert!(put(&store, &all[4..8]).is_err());
            clear();
            let packs = files(root, "pack").len();
            assert_eq!((packs, files(root, "index").len()), (1, usize::from(is_sync)));
            assert_eq!(length(), before);
            if is_sync {
                break;
            }
        }
        for packs in [&own, &another] {
            has(packs, &all[..4]);
            lacks(packs, &all[4..]);
        }
        // Others come into their place, first with the same length.
        put(&store, &all[8..]).unwrap();
        for packs in [&own, &another] {
            has(packs, &all[8..]);
            lacks(packs, &all[4..8]);
        }
        put(&store, &all[4..8]).unwrap();
        for packs in [&own, &another, &packs(root).into()] {
            has(packs, &all);
        }
    }
}

/// A process is killed in the middle of a write, or between the write and the sync: its last group was not acknowledged.
#[test]
fn a_group_that_was_never_synced_harms_nothing() {
    for is_cut in [true, false] {
        let (place, all) = (TempDir::new().unwrap(), some(0..12));
        let (root, image) = (place.path().join("payloads"), place.path().join("image"));
        fs::create_dir(&root).unwrap();
        let store = writer(&root);
        put(&store, &all[..4]).unwrap();
        let (from, to) = (root.clone(), image.clone());
        watch(move || {
            if !to.exists() {
                copy(&from, &to);
            }
        });
        let write = is_cut.then_some(Errno::IO);
        set(Faults { write, ..Faults::default() });
        assert_eq!(put(&store, &all[4..8]).is_ok(), !is_cut);
        clear();
        has(&packs(&image), &all[..4]);
        let reader = packs(&image);
        let was_there: Vec<_> = all[4..8].iter().filter(|payload| read(&reader, payload).is_some()).collect();
        assert_eq!(was_there.len() == 4, !is_cut);
        for _ in 0..2 {
            let next = writer(&image);
            put(&next, &all[4..]).unwrap();
            has(&reader, &all);
        }
        assert_eq!(files(&image, "pack").len(), 1);
        let length = fs::metadata(&files(&image, "pack")[0]).unwrap().len();
        let unpacked = writer(&image).unpack(&Nowhere).unwrap();
        assert_eq!((unpacked.packs, unpacked.damaged), (1, 0), "{length} bytes");
    }
}

/// A writer that is dropped gives its pack free at once, also with packs set aside, and after a failed write.
#[test]
fn a_dropped_writer_frees_its_pack() {
    let (place, all) = (TempDir::new().unwrap(), some(0..8));
    let root = place.path();
    for at in 0..8 {
        let store = writer(root);
        if at % 2 == 1 {
            set(Faults { write: Some(Errno::NOSPC), ..Faults::default() });
            assert!(put(&store, &all[at..=at]).is_err());
            clear();
        }
        put(&store, &all[at..=at]).unwrap();
    }
    assert_eq!((files(root, "pack").len(), files(root, "index").len()), (1, 0));
    has(&packs(root), &all);
}

/// Readers have the places of packs without an index in memory: of many, each is closed early.
#[test]
fn a_pack_is_closed_early_if_there_are_many_without_an_index() {
    let (place, all) = (TempDir::new().unwrap(), some(0..2 * FRAMES_OF_A_COUNT as usize));
    let root = place.path();
    let many = GROWING_FRAMES / FRAMES_OF_A_COUNT;
    let (store, half) = (writer(root), FRAMES_OF_A_COUNT as usize);
    put(&store, &all[..half]).unwrap();
    assert_eq!(files(root, "index").len(), 0);
    // Indexes alone, and files with other names, do not count.
    for number in 1..many / 2 {
        fs::write(root.join(PACKS).join(format!("z-{number}.pack")), "").unwrap();
        fs::write(root.join(PACKS).join(format!("y-{number}.index")), "").unwrap();
        fs::write(root.join(PACKS).join(format!("Z-{number}.pack")), "").unwrap();
    }
    put(&store, &all[half..]).unwrap();
    let closed =
        |root: &Path| files(root, "index").iter().filter(|path| path.with_extension("pack").exists()).count();
    assert_eq!(closed(root), 1, "twice as many frames in half as many packs");
    let packs = packs(root);
    for payload in all.iter().step_by(500) {
        has(&packs, std::slice::from_ref(payload));
    }
    assert_eq!(put(&store, &some(9000..9001)).unwrap(), [Put::Stored]);
}

/// Indexes that are lost or damaged are made again, also if readers could not hold the places of their packs in memory.
#[test]
fn damaged_indexes_of_many_payloads_are_made_again() {
    let place = TempDir::new().unwrap();
    let root = place.path();
    let store = writer(root);
    put(&store, &some(0..1)).unwrap();
    let pack = files(root, "pack").remove(0);
    drop(store);
    // Frames without payloads are small; the name is that of one payload.
    let (name, key) = {
        let folder = super::PackFolder::open(root).unwrap().unwrap();
        let stem = pack.file_stem().unwrap().to_str().unwrap();
        (
            format!("devices/a/0/1-{}", Hash::of(b"")),
            *super::Pack::read(&folder, stem).unwrap().unwrap().key(),
        )
    };
    let mut bytes = key.encode().to_vec();
    let frames = SPARE_FRAMES / 4 + 1;
    for _ in 0..frames {
        let at = bytes.len() as u64;
        super::Frame::encode(&key, (at, 5), (&name, b""), &mut bytes).unwrap();
    }
    for number in 0..9 {
        let copy = root.join(PACKS).join(format!("full-{number}.pack"));
        match number {
            0 => fs::write(&copy, &bytes).unwrap(),
            _ => fs::hard_link(root.join(PACKS).join("full-0.pack"), &copy).unwrap(),
        }
        if number > 4 {
            fs::write(copy.with_extension("index"), "junk").unwrap();
        }
    }
    let error = packs(root).refresh().unwrap_err();
    assert!(error.to_string().contains("too many payloads without a usable index"), "{error}");
    writer(root);
    packs(root).refresh().unwrap();
    assert!(files(root, "index").iter().all(|index| fs::metadata(index).unwrap().len() > 1000));
    // Other processes hold the locks.
    files(root, "index").iter().for_each(|index| fs::remove_file(index).unwrap());
    let locked: Vec<fs::File> =
        files(root, "pack").iter().map(|pack| fs::File::open(pack).unwrap()).collect();
    locked.iter().for_each(|file| _ = file.try_lock());
    let error = PackWriter::new(root, &Arc::new(packs(root))).tidy().unwrap_err();
    assert!(error.to_string().contains("first stop the processes that write into"), "{error}");
    drop(locked);
    writer(root);
}

/// A retry of a payload whose bytes were changed on the disk stores it again.
#[test]
fn a_changed_payload_is_stored_again() {
    let (place, all) = (TempDir::new().unwrap(), some(0..3));
    let root = place.path();
    let store = writer(root);
    put(&store, &all).unwrap();
    let pack = files(root, "pack").remove(0);
    let mut bytes = fs::read(&pack).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    fs::write(&pack, bytes).unwrap();
    assert_eq!(put(&store, &all).unwrap(), [Put::AlreadyThere, Put::AlreadyThere, Put::Stored]);
    assert_eq!(put(&store, &all).unwrap(), [Put::AlreadyThere; 3]);
}

/// Files of other programs in the directory.
#[test]
fn other_names_are_ignored() {
    let place = TempDir::new().unwrap();
    let store = writer(place.path());
    put(&store, &some(0..1)).unwrap();
    for name in ["A.pack", ".pack", "a b.pack", "ü.pack", &format!("{}.pack", "a".repeat(101))] {
        fs::write(place.path().join(PACKS).join(name), "junk").unwrap();
    }
    has(&packs(place.path()), &some(0..1));
    assert_eq!(super::PackFolder::open(place.path()).unwrap().unwrap().count_without_index().unwrap(), 1);
}
