//! Packs: many payloads in one append-only file with an index, below the root of a payload directory.
//!
//! A frame of a pack is the truth about a payload, and an index only leads there: a frame counts if its check, its name
//! and, for the reader, its payload hash are right. A damaged index costs a scan of its pack. Anybody may have written
//! the files: sizes and counts have limits, and nothing leads out of the directory.

mod file;
mod frame;
mod index;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgesentry_chain::Hash;

use file::invalid;
pub use file::{MAX_PACKS, Open, PACKS, PackFile, PackFolder};
pub use frame::{FRAME_HEADER_BYTES, Frame, MAX_NAME_BYTES, PACK_HEADER_BYTES, PackKey, Scan};
use index::{EntryKey, IndexHeader};
pub use index::{Offsets, key_of_hash, key_of_name};

/// A writer begins another pack when one has this size.
pub const FULL_PACK_BYTES: u64 = 512 << 20;
/// A writer begins another pack when one has this many frames.
pub const FULL_PACK_FRAMES: u64 = 1 << 18;
/// A reader refuses a larger pack.
const MAX_PACK_BYTES: u64 = 1 << 30;
/// A reader refuses more frames in packs without an index: their places are in memory.
const MAX_FRAMES_IN_MEMORY: u64 = 8 * FULL_PACK_FRAMES;

/// The packs below a root.
#[derive(Debug)]
pub struct Packs {
    root: PathBuf,
    state: Mutex<State>,
    in_memory: Arc<AtomicU64>,
}

#[derive(Default, Debug)]
struct State {
    folder: Option<PackFolder>,
    /// The pack of the last hit is the first.
    packs: Vec<Arc<Pack>>,
}

/// A pack, and where its frames are.
#[derive(Debug)]
pub struct Pack {
    stem: String,
    key: PackKey,
    places: Mutex<Places>,
    /// The frames of all packs that are in memory.
    in_memory: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Places {
    /// In the index beside the pack.
    Indexed(IndexHeader),
    /// In memory: the pack grows.
    Growing(Offsets),
    /// In memory: the index is damaged or gone.
    Rebuilt(Offsets),
}

/// A payload in a pack.
#[derive(Debug)]
pub struct Found<'a> {
    /// The pack.
    pub file: &'a PackFile,
    /// The frame.
    pub frame: &'a Frame,
}

impl Found<'_> {
    /// Returns a reader of the payload.
    pub fn payload(&self) -> impl Read + '_ {
        self.file.part(self.frame.payload_at(), self.frame.payload_bytes.into())
    }
}

impl Packs {
    /// Makes the packs below a root; it reads them when a payload is looked up.
    pub fn new(root: &Path) -> Packs {
        Packs { root: root.to_owned(), state: Mutex::default(), in_memory: Arc::default() }
    }

    /// Calls `visit` with the payloads that have a name, until it returns a result.
    ///
    /// # Errors
    /// The packs cannot be read, or have too many payloads without an index; or `visit` fails.
    pub fn find<T>(
        &self,
        name: &str,
        visit: impl FnMut(&Found<'_>) -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        self.look_up(&key_of_name(name), |frame| frame.name == name, visit)
    }

    /// Calls `visit` with payloads that have a hash by their names, at most one of a pack, until it returns a result.
    ///
    /// # Errors
    /// As for [`Packs::find`].
    pub fn find_hash<T>(
        &self,
        hash: &Hash,
        visit: impl FnMut(&Found<'_>) -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        self.look_up(&key_of_hash(hash), |frame| frame.payload_hash() == Some(*hash), visit)
    }

    fn look_up<T>(
        &self,
        key: &EntryKey,
        is_wanted: impl Fn(&Frame) -> bool,
        mut visit: impl FnMut(&Found<'_>) -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        let (folder, packs) = self.known();
        if let Some(folder) = folder
            && let Some(found) = self.search((&folder, &packs), key, &is_wanted, &mut visit)?
        {
            return Ok(Some(found));
        }
        // Other processes may have added payloads.
        self.refresh()?;
        match self.known() {
            (Some(folder), packs) => self.search((&folder, &packs), key, &is_wanted, &mut visit),
            (None, _) => Ok(None),
        }
    }

    fn search<T>(
        &self,
        (folder, packs): (&PackFolder, &[Arc<Pack>]),
        key: &EntryKey,
        is_wanted: &impl Fn(&Frame) -> bool,
        visit: &mut impl FnMut(&Found<'_>) -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        for (place, pack) in packs.iter().enumerate() {
            let offsets = pack.find(folder, key)?;
            if offsets.is_empty() {
                continue;
            }
            // Another process may have written its payloads into files.
            let Some(file) = folder.pack(&pack.stem, Open::Read)? else { continue };
            for offset in offsets {
                let Some(frame) = Frame::read(&file, &pack.key, offset)? else { continue };
                if frame.is_erased || !is_wanted(&frame) {
                    continue;
                }
                if let Some(found) = visit(&Found { file: &file, frame: &frame })? {
                    if place > 0 {
                        self.put_first(pack);
                    }
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Returns every payload that has a name, with its pack.
    ///
    /// # Errors
    /// As for [`Packs::find`], or a frame to which an index leads is damaged.
    pub fn all(&self, name: &str) -> io::Result<Vec<(Arc<Pack>, Frame)>> {
        self.refresh()?;
        let (Some(folder), packs) = self.known() else { return Ok(Vec::new()) };
        let key = key_of_name(name);
        let mut found = Vec::new();
        for pack in packs {
            let offsets = pack.find(&folder, &key)?;
            if offsets.is_empty() {
                continue;
            }
            let Some(file) = folder.pack(&pack.stem, Open::Read)? else { continue };
            for offset in offsets {
                match Frame::read(&file, &pack.key, offset)? {
                    None => {
                        let problem = format!("is damaged at byte {offset}; restore it from a backup");
                        return Err(invalid(&file, &problem));
                    }
                    Some(frame) if frame.name == name && !frame.is_erased => {
                        found.push((Arc::clone(&pack), frame));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(found)
    }

    fn put_first(&self, pack: &Arc<Pack>) {
        let packs = &mut self.state().packs;
        if let Some(at) = packs.iter().position(|other| Arc::ptr_eq(other, pack)) {
            packs[..=at].rotate_right(1);
        }
    }

    /// Reads which packs there are, and the frames that were added to those without an index.
    ///
    /// # Errors
    /// The packs cannot be read, or have too many payloads without an index.
    pub fn refresh(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.folder.is_none() {
            state.folder = PackFolder::open(&self.root)?;
        }
        let Some(folder) = state.folder.clone() else { return Ok(()) };
        let stems = folder.list()?;
        state.packs.retain(|pack| stems.binary_search(&pack.stem).is_ok());
        for stem in stems {
            if !state.packs.iter().any(|pack| pack.stem == stem)
                && let Some(pack) = Pack::open(&folder, &stem, &self.in_memory)?
            {
                state.packs.push(Arc::new(pack));
            }
        }
        state.packs.iter().try_for_each(|pack| pack.refresh(&folder))
    }

    /// Returns the directory of packs and the packs that are known.
    pub fn known(&self) -> (Option<PackFolder>, Vec<Arc<Pack>>) {
        let state = self.state();
        (state.folder.clone(), state.packs.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pack {
    /// Opens a pack; `None` if it has no header, or is gone.
    fn open(folder: &PackFolder, stem: &str, in_memory: &Arc<AtomicU64>) -> io::Result<Option<Pack>> {
        let Some(file) = folder.pack(stem, Open::Read)? else { return Ok(None) };
        let Some(key) = PackKey::read(&file)? else { return Ok(None) };
        let places = match indexed(folder, stem, &key, &file)? {
            Some(header) => Places::Indexed(header),
            None => Places::Growing(Offsets::default()),
        };
        let in_memory = Arc::clone(in_memory);
        Ok(Some(Pack { stem: stem.to_owned(), key, places: Mutex::new(places), in_memory }))
    }

    /// Returns its name without the ending.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// Returns its key.
    pub fn key(&self) -> &PackKey {
        &self.key
    }

    /// Returns the frame at a place; `None` if there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn frame(&self, file: &PackFile, offset: u64) -> io::Result<Option<Frame>> {
        Frame::read(file, &self.key, offset)
    }

    /// Returns true unless the pack has a usable index.
    pub fn is_in_memory(&self) -> bool {
        !matches!(*self.places(), Places::Indexed(_))
    }

    /// Reads the index again, after it was written.
    ///
    /// # Errors
    /// The pack cannot be read.
    pub fn read_index(&self, folder: &PackFolder) -> io::Result<()> {
        let mut places = self.places();
        let Some(file) = folder.pack(&self.stem, Open::Read)? else { return Ok(()) };
        if let Some(header) = indexed(folder, &self.stem, &self.key, &file)? {
            self.forget(&places);
            *places = Places::Indexed(header);
        }
        Ok(())
    }

    fn forget(&self, places: &Places) {
        if let Places::Growing(offsets) | Places::Rebuilt(offsets) = places {
            self.in_memory.fetch_sub(offsets.frames, Ordering::Relaxed);
        }
    }

    /// Adds frames that this process has written.
    pub fn add(&self, frames: &[Frame]) {
        if let Places::Growing(offsets) = &mut *self.places() {
            let before = offsets.frames;
            frames.iter().for_each(|frame| offsets.add(frame));
            self.in_memory.fetch_add(offsets.frames - before, Ordering::Relaxed);
        }
    }

    /// Returns the bytes of its index.
    ///
    /// # Errors
    /// The pack cannot be read.
    pub fn index(&self, file: &PackFile) -> io::Result<Vec<u8>> {
        if let Places::Growing(offsets) = &*self.places()
            && offsets.end == file.length()?
        {
            return Ok(offsets.encode(&self.key));
        }
        Ok(scanned(file, &self.key)?.0.encode(&self.key))
    }

    /// Returns the places of the frames with a key.
    fn find(&self, folder: &PackFolder, key: &EntryKey) -> io::Result<Vec<u64>> {
        let header = match &*self.places() {
            Places::Growing(offsets) | Places::Rebuilt(offsets) => return Ok(offsets.get(key)),
            Places::Indexed(header) => *header,
        };
        if let Some(index) = folder.index(&self.stem)?
            && let Ok(offsets) = header.find(&index, &self.key, key)?
        {
            return Ok(offsets);
        }
        // The index is damaged or gone.
        let Some(file) = folder.pack(&self.stem, Open::Read)? else { return Ok(Vec::new()) };
        let mut places = self.places();
        if matches!(*places, Places::Indexed(_)) {
            let mut offsets = Offsets::default();
            self.grow(&mut offsets, &file)?;
            *places = Places::Rebuilt(offsets);
        }
        drop(places);
        self.find(folder, key)
    }

    /// Adds the frames that were written since the last call.
    fn refresh(&self, folder: &PackFolder) -> io::Result<()> {
        if !matches!(*self.places(), Places::Growing(_)) {
            return Ok(());
        }
        self.read_index(folder)?;
        let mut places = self.places();
        let Places::Growing(offsets) = &mut *places else { return Ok(()) };
        let Some(file) = folder.pack(&self.stem, Open::Read)? else { return Ok(()) };
        // A writer took back frames of a write that failed.
        if !offsets.is_in(&file, &self.key)? {
            self.in_memory.fetch_sub(offsets.frames, Ordering::Relaxed);
            *offsets = Offsets::default();
        }
        self.grow(offsets, &file)
    }

    /// Adds the frames of the file that are not in memory.
    fn grow(&self, offsets: &mut Offsets, file: &PackFile) -> io::Result<()> {
        grow(offsets, file, &self.key, |_| {
            if self.in_memory.fetch_add(1, Ordering::Relaxed) >= MAX_FRAMES_IN_MEMORY {
                let problem = "and others have too many payloads without an index; run eds config check --create with                                this directory as the payload store, which indexes them";
                return Err(invalid(file, problem));
            }
            Ok(())
        })
        .map(|_| ())
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pack {
    fn drop(&mut self) {
        self.forget(&self.places());
    }
}

/// Returns the header of the index of a pack if it has a usable one.
fn indexed(
    folder: &PackFolder,
    stem: &str,
    key: &PackKey,
    pack: &PackFile,
) -> io::Result<Option<IndexHeader>> {
    let Some(index) = folder.index(stem)? else { return Ok(None) };
    let length = pack.length()?;
    let header = IndexHeader::read(&index, key)?.ok();
    // A pack that was copied earlier than its index lacks frames.
    Ok(header.filter(|header| header.covered <= length))
}

/// Returns the places of all frames of a pack, and whether it has gaps.
///
/// # Errors
/// The pack cannot be read, or is larger than any that a writer makes.
pub fn scanned(file: &PackFile, key: &PackKey) -> io::Result<(Offsets, bool)> {
    let mut offsets = Offsets::default();
    let has_gaps = grow(&mut offsets, file, key, |frames| {
        let problem = "has more payloads than any pack; move it away";
        if frames > MAX_FRAMES_IN_MEMORY { Err(invalid(file, problem)) } else { Ok(()) }
    })?;
    Ok((offsets, has_gaps))
}

fn grow(
    offsets: &mut Offsets,
    file: &PackFile,
    key: &PackKey,
    mut count: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<bool> {
    if file.length()? > MAX_PACK_BYTES {
        return Err(invalid(file, "is larger than any pack; move it away"));
    }
    let scan = frame::scan(file, key, offsets.end, |frame| {
        count(offsets.frames)?;
        offsets.add(frame);
        Ok(())
    })?;
    Ok(scan.has_gaps)
}

/// Calls `visit` with every payload of a pack that is not erased. Returns whether the pack has gaps.
///
/// # Errors
/// The pack cannot be read, or `visit` fails.
pub fn for_each(
    file: &PackFile,
    key: &PackKey,
    mut visit: impl FnMut(&Found<'_>) -> io::Result<()>,
) -> io::Result<bool> {
    let scan = frame::scan(file, key, PACK_HEADER_BYTES as u64, |frame| {
        if frame.is_erased { Ok(()) } else { visit(&Found { file, frame }) }
    })?;
    Ok(scan.has_gaps)
}

/// Reads the key of a pack; `None` if the file is too short to have one.
///
/// # Errors
/// The file cannot be read, or is not a pack.
pub fn read_key(file: &PackFile) -> io::Result<Option<PackKey>> {
    PackKey::read(file)
}
