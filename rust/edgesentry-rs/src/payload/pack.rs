//! Writing payloads into packs: one sync for a group of payloads.
//!
//! A writer has a pack of its own, and holds a lock on it; the next writer appends to a pack without a lock. A frame
//! never moves, so readers of other processes need no lock. Bytes of a write that failed are taken back; those of a
//! process that was killed are cut off when the pack has its next writer.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use edgesentry_chain::Hash;
use edgesentry_formats::DEVICES;
use edgesentry_formats::packs::{
    self, Extent, FRAME_HEADER_BYTES, FULL_PACK_BYTES, FULL_PACK_FRAMES, Found, Frame, MAX_FRAMES_IN_MEMORY,
    MAX_PACKS, Open, PACK_HEADER_BYTES, PACKS, Pack, PackFile, PackFolder, PackKey, Packs, Scan, key_of_name,
};
use tracing::warn;

use super::Put;
use crate::admission::MAX_PAYLOAD_BYTES;
use crate::files::unique_name;

/// Bytes of small payloads that one write has.
const WRITE_BYTES: usize = 1 << 20;
/// Packs without an index and without a writer that stay for the next writers.
const SPARE_PACKS: usize = 8;
/// Frames of these packs together: readers have their places in memory.
const SPARE_FRAMES: u64 = MAX_FRAMES_IN_MEMORY / 2;
/// A writer begins no pack in a directory with so many. Several may begin one at once, and readers accept a few more.
const MAX_PACKS_TO_WRITE: usize = MAX_PACKS - 256;
/// Packs of failed syncs without an index; a writer keeps them open.
const MAX_SET_ASIDE: usize = 16;
/// Frames of all packs without an index together, about: readers have their places in memory.
const GROWING_FRAMES: u64 = MAX_FRAMES_IN_MEMORY / 4;
/// A writer counts the packs without an index after so many frames.
const FRAMES_OF_A_COUNT: u64 = 4096;
/// A pack of a network file system without writes for this long has no writer.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// A pack or an index that was begun this long ago, and did not get its name, has no writer.
const UNFINISHED_AFTER: Duration = Duration::from_secs(3600);
/// The end of the stem of a pack whose writer could not lock it: a lock that another process gets proves nothing.
const UNLOCKED: &str = "-unlocked";

/// Appends payloads to packs.
#[derive(Debug)]
pub(super) struct PackWriter {
    root: PathBuf,
    packs: Arc<Packs>,
    writing: Mutex<Writing>,
}

#[derive(Default, Debug)]
struct Writing {
    current: Option<Current>,
    /// Packs whose last frames may not be on the disk: locked, so that no writer of this time continues them.
    set_aside: Vec<SetAside>,
}

/// A pack of a failed sync that could not get its index.
#[derive(Debug)]
struct SetAside {
    folder: PackFolder,
    pack: Arc<Pack>,
    file: PackFile,
}

/// The pack of this writer.
#[derive(Debug)]
struct Current {
    folder: PackFolder,
    pack: Arc<Pack>,
    file: PackFile,
    /// The end of the last frame that is on the disk.
    end: u64,
    frames: u64,
    /// The number of frames at which the writer counts packs again.
    next_count: u64,
    /// The earliest time of the next frame: later than that of frames that were taken back. Readers distinguish them by
    /// it.
    from_ms: u64,
    /// The frames that this writer has synced, by name.
    own: HashMap<[u8; 16], Own>,
}

/// A frame of this writer.
#[derive(Clone, Copy, Debug)]
struct Own {
    offset: u64,
    /// True if several records rely on it.
    is_shared: bool,
}

/// The holder of the lock on a pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lock {
    /// This process, as long as the file is open.
    Ours,
    /// Another writer.
    Theirs,
    /// The file system has no locks, or those of one machine only; or it had none when the pack was begun.
    Unknown,
}

/// The result of [`PackWriter::unpack`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Unpacked {
    /// The payloads that are files now.
    pub payloads: u64,
    /// The packs that were removed.
    pub packs: u64,
    /// The payloads that do not have the hash in their names, and one for each pack with other bytes that are not of any
    /// payload; their packs stay.
    pub damaged: u64,
}

impl PackWriter {
    pub(super) fn new(root: &Path, packs: &Arc<Packs>) -> PackWriter {
        PackWriter { root: root.to_owned(), packs: Arc::clone(packs), writing: Mutex::default() }
    }

    /// Stores payloads under their names; all are durable when it returns. After an error none counts as stored.
    pub(super) fn put_all(&self, payloads: &[(&str, &Bytes)], now_ms: u64) -> io::Result<Vec<Put>> {
        let mut writing = self.writing();
        let mut puts = Vec::with_capacity(payloads.len());
        while puts.len() < payloads.len() {
            let current = self.current(&mut writing)?;
            let rest = &payloads[puts.len()..];
            match current.append(rest, now_ms) {
                Ok(done) if current.is_kept()? => puts.extend(done),
                Ok(_) => {
                    writing.current = None;
                    return Err(io::Error::other("the pack was removed while it was written"));
                }
                Err(Failed::Write(error)) if is_too_large(&error) && current.frames > 0 => {
                    // A limit on the size of files: another pack may have room.
                    self.retire(&mut writing)?;
                }
                Err(Failed::Write(error)) => return Err(error),
                Err(Failed::Unsure(error)) => {
                    self.set_aside(&mut writing);
                    return Err(error);
                }
            }
            if writing.current.as_mut().is_some_and(Current::is_to_close) {
                self.retire(&mut writing)?;
            }
        }
        Ok(puts)
    }

    /// Removes a payload that this writer stored for one record only, which was rejected. Other copies stay.
    pub(super) fn discard(&self, name: &str) -> io::Result<()> {
        let mut writing = self.writing();
        let Some(current) = &mut writing.current else { return Ok(()) };
        let key = key_of_name(name);
        if current.own.get(&key).is_none_or(|own| own.is_shared) {
            return Ok(());
        }
        let Some(own) = current.own.remove(&key) else { return Ok(()) };
        match current.pack.frame(&current.file, own.offset)? {
            Some(frame) if frame.name == name => {
                if !punch(&current.file, &frame) {
                    overwrite(&current.file, &frame)?;
                }
                frame.mark_erased(&current.file)
            }
            _ => Ok(()),
        }
    }

    /// Erases every copy of a payload; durable when it returns.
    pub(super) fn erase(&self, name: &str) -> io::Result<()> {
        let mut writing = self.writing();
        if let Some(current) = &mut writing.current {
            current.own.remove(&key_of_name(name));
        }
        let found = self.packs.all(name)?;
        let (Some(folder), packs) = self.packs.known() else { return Ok(()) };
        let mut others = packs.iter().filter(|pack| !writing.is_current(pack));
        others.try_for_each(|pack| cut(&folder, pack))?;
        for (pack, frame) in found {
            let Some(file) = folder.pack(pack.stem(), Open::Write)? else { continue };
            overwrite(&file, &frame)?;
            file.file().sync_data()?;
            if !is_overwritten(&file, &frame)? {
                let problem =
                    format!("{}: the payload is still there after it was overwritten", file.path().display());
                return Err(io::Error::other(problem));
            }
            // The blocks go after the bytes in them, if the file system can give them back.
            punch(&file, &frame);
            frame.mark_erased(&file)?;
            file.file().sync_data()?;
        }
        Ok(())
    }

    /// Gives every payload to `files`, which stores it elsewhere, durably, and removes the packs.
    pub(super) fn unpack(&self, files: &impl Files) -> io::Result<Unpacked> {
        let mut writing = self.writing();
        writing.current = None;
        let mut unpacked = Unpacked::default();
        let Some(folder) = PackFolder::open(&self.root)? else { return Ok(unpacked) };
        // Also of a directory with more packs, or more places of payloads, than a reader accepts.
        let stems = folder.list_all()?;
        // Before the first pack goes.
        for stem in &stems {
            without_writer(&folder, stem)?;
        }
        for stem in &stems {
            let Some((pack, file)) = without_writer(&folder, stem)? else { continue };
            let mut others = 0_u64;
            let scan = packs::for_each(&file, pack.key(), |found| {
                let Some(payload) = whole(found)? else {
                    others += 1;
                    return Ok(());
                };
                let name = &found.frame.name;
                unpacked.payloads += 1;
                files.add_file(name, &payload)?;
                // Another process has erased it meanwhile, and perhaps before it was in a file.
                match pack.frame(&file, found.frame.offset)? {
                    Some(frame) if frame.is_erased => files.remove_file(name),
                    _ => Ok(()),
                }
            })?;
            let mut damaged = 0;
            if others > 0 {
                packs::for_each(&file, pack.key(), |found| {
                    // A machine that failed leaves frames of which only the header is on the disk; the payload was sent
                    // again.
                    if whole(found)?.is_none() && !is_elsewhere(files, found.frame)? {
                        damaged += 1;
                    }
                    Ok(())
                })?;
            }
            damaged += u64::from(scan.has_gaps || scan.has_damaged_end);
            if damaged == 0 {
                if file.length()? != scan.length {
                    return Err(in_use(&file, WRITTEN));
                }
                folder.remove(stem)?;
                unpacked.packs += 1;
            }
            unpacked.damaged += damaged;
        }
        Ok(unpacked)
    }

    /// Takes a pack without a writer, and gives an index to others, except those that the next writers continue.
    pub(super) fn tidy(&self) -> io::Result<()> {
        if let Some(folder) = PackFolder::open(&self.root)? {
            folder.remove_unfinished(UNFINISHED_AFTER)?;
        }
        let mut writing = self.writing();
        if writing.current.is_none() {
            self.acquire(&mut writing)?;
        }
        Ok(())
    }

    fn current<'a>(&self, writing: &'a mut Writing) -> io::Result<&'a mut Current> {
        if let Some(current) = &writing.current
            && !current.is_usable()?
        {
            writing.current = None;
        }
        if writing.current.is_none() {
            close_set_aside(&mut writing.set_aside)?;
            self.acquire(writing)?;
        }
        if writing.current.is_none() {
            writing.current = Some(self.create()?);
        }
        writing.current.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Takes a pack that has no writer, if there is one.
    fn acquire(&self, writing: &mut Writing) -> io::Result<()> {
        // First, because the places of their frames would be in memory.
        let theirs = index_abandoned(&self.root)?;
        self.packs.refresh().map_err(|error| match packs::is_too_many(&error) {
            true if theirs > 0 => {
                let problem =
                    format!("{error}; first stop the processes that write into {theirs} of these packs");
                io::Error::new(error.kind(), problem)
            }
            _ => error,
        })?;
        let (Some(folder), packs) = self.packs.known() else { return Ok(()) };
        for pack in packs.iter().filter(|pack| pack.is_in_memory()) {
            let Some(file) = folder.pack(pack.stem(), Open::Write)? else { continue };
            match lock(&file) {
                Lock::Theirs => continue,
                Lock::Unknown => {
                    // Its index does not cover it, or it became old meanwhile.
                    if is_abandoned(&file) {
                        close(&folder, pack.stem(), (&file, Lock::Unknown), pack.key())?;
                    }
                    continue;
                }
                // Another process may have unpacked it before the lock.
                Lock::Ours if !file.is_in_place()? => continue,
                Lock::Ours => {}
            }
            // Now that it has no other writer.
            pack.refresh(&folder)?;
            let Some(extent) = pack.extent() else { continue };
            let Extent { end, frames, .. } = extent;
            let is_damaged = extent.has_gaps || extent.has_damaged_end;
            if is_damaged {
                warn_of_damage(&file);
            }
            // A killed process may have written the frames without a sync.
            if extent.has_damaged_end {
                file.file().sync_data()?;
            } else {
                cut_and_sync(&file, end)?;
            }
            // With an index, another process has closed the pack meanwhile, or its index is damaged.
            if folder.has_index(pack.stem())? || is_damaged || is_full(end, frames) {
                folder.put_index(pack.stem(), &pack.index(&file)?)?;
                pack.read_index(&folder)?;
                continue;
            }
            if writing.current.is_none() {
                // Its creator may have been killed before the name was on the disk.
                folder.sync()?;
                let (folder, pack) = (folder.clone(), Arc::clone(pack));
                writing.current = Some(Current::new(folder, pack, file, (end, frames)));
            }
        }
        self.packs.refresh()
    }

    fn create(&self) -> io::Result<Current> {
        let path = self.root.join(PACKS);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::File::open(&self.root)?.sync_all()?,
        }
        let folder = PackFolder::open(&self.root)?.ok_or(io::ErrorKind::NotFound)?;
        if folder.list_all()?.len() >= MAX_PACKS_TO_WRITE {
            let problem = format!(
                "{} has {MAX_PACKS_TO_WRITE} packs of payloads or more; write the payloads into files with eds unpack DIR",
                folder.path().display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let name = unique_name();
        let (stem, file) = folder.create(&name, |file| {
            file.write_all_at(&PackKey::new(random).encode(), 0)?;
            match lock(file) {
                Lock::Ours => Ok(name.clone()),
                // No other writer continues it, even if a lock works then.
                Lock::Unknown => Ok(format!("{name}{UNLOCKED}")),
                Lock::Theirs => Err(io::ErrorKind::WouldBlock.into()),
            }
        })?;
        self.packs.refresh()?;
        let (_, packs) = self.packs.known();
        let pack = packs.iter().find(|pack| pack.stem() == stem).ok_or(io::ErrorKind::NotFound)?;
        Ok(Current::new(folder, Arc::clone(pack), file, (PACK_HEADER_BYTES as u64, 0)))
    }

    /// Closes the pack: it gets its index, and no writer continues it.
    fn retire(&self, writing: &mut Writing) -> io::Result<()> {
        let Some(current) = writing.current.take() else { return Ok(()) };
        current.folder.put_index(current.pack.stem(), &current.pack.index(&current.file)?)?;
        self.packs.refresh()
    }

    /// Leaves a pack whose last frames may be in memory only.
    fn set_aside(&self, writing: &mut Writing) {
        let Some(Current { folder, pack, file, .. }) = writing.current.take() else { return };
        let set_aside = SetAside { folder, pack, file };
        if set_aside.close().is_err() {
            writing.set_aside.push(set_aside);
        }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    fn is_current(&self, pack: &Arc<Pack>) -> bool {
        self.current.as_ref().is_some_and(|current| current.pack.stem() == pack.stem())
    }
}

impl SetAside {
    fn close(&self) -> io::Result<()> {
        self.folder.put_index(self.pack.stem(), &self.pack.index(&self.file)?)
    }
}

/// Closes packs that were set aside if they are many, and refuses to write if that fails: each is an open file.
fn close_set_aside(set_aside: &mut Vec<SetAside>) -> io::Result<()> {
    if set_aside.len() < MAX_SET_ASIDE {
        return Ok(());
    }
    let mut failed = None;
    set_aside.retain(|one| match one.close() {
        Ok(()) => false,
        Err(error) => {
            failed = Some(error);
            true
        }
    });
    match failed {
        Some(error) if set_aside.len() >= MAX_SET_ASIDE => {
            let problem = format!("{MAX_SET_ASIDE} packs could not be synced; check the disk: {error}");
            Err(io::Error::new(error.kind(), problem))
        }
        _ => Ok(()),
    }
}

/// The place to which [`PackWriter::unpack`] writes payloads.
pub(super) trait Files {
    /// Stores a payload, durably.
    fn add_file(&self, name: &str, payload: &[u8]) -> io::Result<()>;

    /// Removes it again, durably.
    fn remove_file(&self, name: &str) -> io::Result<()>;

    /// Returns true if it is stored.
    fn has_file(&self, name: &str, hash: &Hash) -> io::Result<bool>;
}

/// Returns a payload that has the hash in its name; `None` for any other.
fn whole(found: &Found<'_>) -> io::Result<Option<Vec<u8>>> {
    let Some(hash) = found.frame.payload_hash().filter(|_| is_name(&found.frame.name)) else {
        return Ok(None);
    };
    let payload = found.read(MAX_PAYLOAD_BYTES)?;
    Ok((Hash::of(&payload) == hash).then_some(payload))
}

const WRITTEN: &str = "another process writes to it; stop that process";

fn in_use(file: &PackFile, problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {problem}", file.path().display()))
}

/// Opens a pack that has no writer, and locks it; `None` if it is gone, or has no header.
fn without_writer(folder: &PackFolder, stem: &str) -> io::Result<Option<(Pack, PackFile)>> {
    let Some(pack) = Pack::read(folder, stem)? else { return Ok(None) };
    let Some(file) = folder.pack(stem, Open::Write)? else { return Ok(None) };
    // Also a copy of one without locks.
    match lock_any(&file) {
        Lock::Theirs => Err(in_use(&file, WRITTEN)),
        Lock::Unknown if pack.is_in_memory() && !is_abandoned(&file) => Err(in_use(
            &file,
            "its file system has no locks, and it was written in the last 24 hours; stop all writers and wait, or \
             unpack a copy of the directory on a local disk",
        )),
        // Another process may have unpacked it before the lock.
        Lock::Ours | Lock::Unknown => Ok(file.is_in_place()?.then_some((pack, file))),
    }
}

fn is_elsewhere(files: &impl Files, frame: &Frame) -> io::Result<bool> {
    match frame.payload_hash().filter(|_| is_name(&frame.name)) {
        Some(hash) => files.has_file(&frame.name, &hash),
        None => Ok(false),
    }
}

/// A failed append.
enum Failed {
    /// The pack is as before.
    Write(io::Error),
    /// The pack must not be continued.
    Unsure(io::Error),
}

impl Current {
    fn new(folder: PackFolder, pack: Arc<Pack>, file: PackFile, (end, frames): (u64, u64)) -> Current {
        let own = HashMap::new();
        Current { folder, pack, file, end, frames, next_count: FRAMES_OF_A_COUNT, from_ms: 0, own }
    }

    /// Returns true for a pack that is full, or large for one of many packs whose places readers have in memory.
    fn is_to_close(&mut self) -> bool {
        if is_full(self.end, self.frames) || self.frames < self.next_count {
            return is_full(self.end, self.frames);
        }
        self.next_count = self.frames + FRAMES_OF_A_COUNT;
        let growing = self.folder.count_without_index();
        growing.is_ok_and(|growing| self.frames.saturating_mul(growing) >= GROWING_FRAMES)
    }

    /// Returns false if the pack was moved away, such as for a restore, or another process has closed it, because it was
    /// idle on a network file system.
    fn is_usable(&self) -> io::Result<bool> {
        Ok(self.file.is_in_place()? && !self.folder.has_index(self.pack.stem())?)
    }

    /// Returns false if another process has removed the pack while it was written, which a lock prevents.
    fn is_kept(&self) -> io::Result<bool> {
        if self.pack.stem().ends_with(UNLOCKED) { self.file.is_in_place() } else { Ok(true) }
    }

    /// Appends payloads until the pack is full, and syncs it once.
    fn append(&mut self, payloads: &[(&str, &Bytes)], now_ms: u64) -> Result<Vec<Put>, Failed> {
        let now_ms = now_ms.max(self.from_ms);
        let mut group = Group { end: self.end, ..Group::default() };
        let written = self.write(payloads, now_ms, &mut group);
        let result = match written {
            Ok(()) if group.frames.is_empty() => Ok(()),
            Ok(()) => sync(&self.file).map_err(|error| (error, false)),
            Err(error) => Err((error, true)),
        };
        if let Err((error, was_written)) = result {
            self.from_ms = now_ms.saturating_add(1);
            // Drops the pages of the failed write, too.
            let is_back = self.file.file().set_len(self.end).and_then(|()| self.file.file().sync_data());
            // A reader of this process may have added frames of the failed write.
            self.pack.forget();
            return Err(if was_written && is_back.is_ok() {
                Failed::Write(error)
            } else {
                Failed::Unsure(error)
            });
        }
        for frame in &group.frames {
            let own = Own { offset: frame.offset, is_shared: false };
            self.own.insert(key_of_name(&frame.name), own);
        }
        for key in group.shared {
            if let Some(own) = self.own.get_mut(&key) {
                own.is_shared = true;
            }
        }
        self.pack.add(&group.frames);
        (self.end, self.frames) = (group.end, self.frames + group.frames.len() as u64);
        Ok(group.puts)
    }

    /// Returns true if this writer has stored a payload, and no other process has erased or changed it.
    fn has(&self, name: &str, key: &[u8; 16], payload: &[u8]) -> io::Result<bool> {
        let Some(own) = self.own.get(key) else { return Ok(false) };
        let Some(frame) = self.pack.frame(&self.file, own.offset)? else { return Ok(false) };
        let found = Found { file: &self.file, frame: &frame };
        let is_live = frame.name == name && !frame.is_erased;
        Ok(is_live && found.read(MAX_PAYLOAD_BYTES)? == payload)
    }

    fn write(&self, payloads: &[(&str, &Bytes)], now_ms: u64, group: &mut Group) -> io::Result<()> {
        let mut names = HashSet::new();
        let sizes = payloads.iter().map(|(name, payload)| FRAME_HEADER_BYTES + name.len() + payload.len());
        let mut buffer = Vec::with_capacity(sizes.sum::<usize>().min(WRITE_BYTES));
        let mut at = self.end;
        for (name, payload) in payloads {
            let key = key_of_name(name);
            if self.has(name, &key, payload)? || !names.insert(key) {
                group.shared.push(key);
                group.puts.push(Put::AlreadyThere);
                continue;
            }
            if is_full(group.end, self.frames + group.frames.len() as u64) {
                break;
            }
            let frame = Frame::encode(self.pack.key(), (group.end, now_ms), (name, payload), &mut buffer)?;
            group.end = frame.end();
            group.frames.push(frame);
            group.puts.push(Put::Stored);
            if buffer.len() >= WRITE_BYTES {
                write(&self.file, &buffer, at)?;
                at = group.end;
                buffer.clear();
            }
        }
        write(&self.file, &buffer, at)
    }
}

/// Gives an index to the packs without a writer if there are many of them, or if theirs is damaged, and to those without
/// locks that were not written for long: no writer continues these. Returns the number of packs that other processes
/// write.
fn index_abandoned(root: &Path) -> io::Result<u64> {
    let Some(folder) = PackFolder::open(root)? else { return Ok(0) };
    let (mut spare, mut spare_frames, mut theirs) = (0, 0, 0);
    for stem in folder.list()? {
        let is_open = |stem: &str| Ok::<_, io::Error>(Pack::read(&folder, stem)?.filter(Pack::is_in_memory));
        if is_open(&stem)?.is_none() {
            continue;
        }
        let Some(file) = folder.pack(&stem, Open::Write)? else { continue };
        let held = lock(&file);
        match held {
            Lock::Theirs => {
                theirs += 1;
                continue;
            }
            Lock::Unknown if !is_abandoned(&file) => continue,
            Lock::Unknown | Lock::Ours => {}
        }
        // Another process may have closed or unpacked it before the lock.
        let Some(pack) = is_open(&stem)?.filter(|_| file.is_in_place().unwrap_or(false)) else { continue };
        if held == Lock::Ours && spare < SPARE_PACKS && !folder.has_index(&stem)? {
            let mut frames = 0;
            packs::for_each(&file, pack.key(), |_| {
                frames += 1;
                Ok(())
            })?;
            if spare_frames + frames <= SPARE_FRAMES {
                (spare, spare_frames) = (spare + 1, spare_frames + frames);
                continue;
            }
        }
        close(&folder, &stem, (&file, held), pack.key())?;
    }
    Ok(theirs)
}

/// Cuts off the bytes behind the last frame, of a write that was interrupted, and syncs the pack.
fn cut_and_sync(file: &PackFile, end: u64) -> io::Result<()> {
    if file.length()? > end {
        file.file().set_len(end)?;
    }
    file.file().sync_data()
}

/// Gives a pack its index: no writer continues it. Without a lock, nothing is cut off, and the index must cover the
/// whole pack.
fn close(folder: &PackFolder, stem: &str, (file, held): (&PackFile, Lock), key: &PackKey) -> io::Result<()> {
    let (offsets, Scan { has_gaps, has_damaged_end, .. }) = packs::scanned(file, key)?;
    if has_gaps || has_damaged_end {
        warn_of_damage(file);
    }
    if held == Lock::Ours {
        cut_and_sync(file, offsets.end)?;
    } else {
        file.file().sync_data()?;
    }
    if file.length()? == offsets.end { folder.put_index(stem, &offsets.encode(key)) } else { Ok(()) }
}

fn warn_of_damage(file: &PackFile) {
    warn!(
        pack = %file.path().display(),
        "a pack of payloads has bytes outside of its payloads; it is damaged, or the machine failed while they were \
         written"
    );
}

/// Cuts off bytes behind the last frame of a pack without a writer: they may be a part of a payload.
fn cut(folder: &PackFolder, pack: &Pack) -> io::Result<()> {
    let Some(known) = pack.extent() else { return Ok(()) };
    let Some(file) = folder.pack(pack.stem(), Open::Write)? else { return Ok(()) };
    if file.length()? <= known.end || lock(&file) != Lock::Ours {
        return Ok(());
    }
    pack.refresh(folder)?;
    let extent = pack.extent().filter(|extent| !extent.has_damaged_end);
    extent.map_or(Ok(()), |extent| cut_and_sync(&file, extent.end))
}

/// Payloads on their way into a pack.
#[derive(Default)]
struct Group {
    frames: Vec<Frame>,
    puts: Vec<Put>,
    shared: Vec<[u8; 16]>,
    end: u64,
}

fn is_full(end: u64, frames: u64) -> bool {
    end >= FULL_PACK_BYTES || frames >= FULL_PACK_FRAMES
}

fn is_too_large(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge
}

/// Returns true for the name of a payload, see [`edgesentry_formats::content_path`].
fn is_name(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\0', '\\']);
    let mut parts = name.split('/');
    parts.next() == Some(DEVICES) && parts.clone().count() == 3 && parts.all(plain)
}

/// Overwrites a payload with zeros.
fn overwrite(file: &PackFile, frame: &Frame) -> io::Result<()> {
    let (mut at, end) = (frame.payload_at(), frame.end());
    let zeros = [0; 64 << 10];
    while at < end {
        let part = usize::try_from(end - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(&zeros[..part], at)?;
        at += part as u64;
    }
    Ok(())
}

fn is_overwritten(file: &PackFile, frame: &Frame) -> io::Result<bool> {
    let mut bytes = vec![0; 64 << 10];
    let (mut at, end) = (frame.payload_at(), frame.end());
    while at < end {
        let part = usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len());
        let read = file.read_at(&mut bytes[..part], at)?;
        if read < part || bytes[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(true)
}

/// Replaces a payload by zeros without blocks; returns false if the file system cannot.
#[cfg(target_os = "linux")]
fn punch(file: &PackFile, frame: &Frame) -> bool {
    use rustix::fs::{FallocateFlags, fallocate};
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let length = u64::from(frame.payload_bytes);
    length == 0 || fallocate(file.file(), flags, frame.payload_at(), length).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn punch(_file: &PackFile, _frame: &Frame) -> bool {
    false
}

/// Takes the lock on a pack.
fn lock(file: &PackFile) -> Lock {
    if is_unlocked(file) { Lock::Unknown } else { lock_any(file) }
}

/// Returns true for a pack whose writer has no lock.
fn is_unlocked(file: &PackFile) -> bool {
    file.path().file_stem().and_then(OsStr::to_str).is_some_and(|stem| stem.ends_with(UNLOCKED))
}

/// Takes the lock on a pack, also on one that was begun without locks.
fn lock_any(file: &PackFile) -> Lock {
    if is_on_network(file) {
        return Lock::Unknown;
    }
    match try_lock(file) {
        Ok(()) => Lock::Ours,
        Err(TryLockError::WouldBlock) => Lock::Theirs,
        Err(TryLockError::Error(_)) => Lock::Unknown,
    }
}

/// Returns true on a file system where a lock may hold on one machine only.
#[cfg(target_os = "linux")]
fn is_on_network(file: &PackFile) -> bool {
    // NFS, SMB in three versions, FUSE, 9P, Ceph, Lustre, AFS, OCFS2, GPFS: see statfs(2).
    const NETWORK: [u32; 11] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x6573_5546,
        0x0102_1997,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x5346_414f,
        0x7461_636f,
        0x4750_4653,
    ];
    let status = rustix::fs::fstatfs(file.file());
    status.is_ok_and(|status| NETWORK.iter().any(|network| i128::from(*network) == i128::from(status.f_type)))
}

#[cfg(not(target_os = "linux"))]
fn is_on_network(_file: &PackFile) -> bool {
    false
}

fn is_abandoned(file: &PackFile) -> bool {
    let modified = file.file().metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED_AFTER))
}

#[cfg(not(test))]
use calls::{sync, try_lock, write};
#[cfg(test)]
use tests::{sync, try_lock, write};

/// The calls that the tests let fail.
mod calls {
    use std::fs::TryLockError;
    use std::io;

    use super::PackFile;

    /// Writes a part of a group.
    pub(super) fn write(file: &PackFile, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    /// Makes a group durable.
    pub(super) fn sync(file: &PackFile) -> io::Result<()> {
        file.file().sync_data()
    }

    pub(super) fn try_lock(file: &PackFile) -> Result<(), TryLockError> {
        file.file().try_lock()
    }
}

#[cfg(test)]
mod tests;
