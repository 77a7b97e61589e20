//! Packs: many payloads in one append-only file with an index, below the root of a payload directory.
//!
//! A frame of a pack is the truth about a payload, and an index only leads there: a frame counts if its check, its name
//! and, for the reader, its payload hash are right. A damaged index costs a scan of its pack. An attacker may have
//! written the files: sizes and counts have limits, and nothing leads out of the directory.

mod directory;
mod file;
mod frame;
mod index;

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use edgesentry_chain::Hash;

use file::invalid;
pub use file::{MAX_PACKS, Open, PACKS, PackFile, PackFolder, is_packs};
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
pub const MAX_FRAMES_IN_MEMORY: u64 = 8 * FULL_PACK_FRAMES;

/// Numbers that the packs of a root share.
#[derive(Default, Debug)]
struct Counts {
    /// Frames whose places are in memory.
    in_memory: AtomicU64,
    /// Changes of the packs that are known, or of the places in them.
    changes: AtomicU64,
}

impl Counts {
    fn change(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

/// The packs below a root.
#[derive(Debug)]
pub struct Packs {
    root: PathBuf,
    state: Mutex<State>,
    counts: Arc<Counts>,
}

#[derive(Clone, Default, Debug)]
struct State {
    folder: Option<PackFolder>,
    /// The pack of the last hit is the first.
    packs: Arc<Vec<Arc<Pack>>>,
}

/// A pack, and where its frames are.
#[derive(Debug)]
pub struct Pack {
    stem: String,
    key: PackKey,
    places: Mutex<Places>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Places {
    /// In the index beside the pack.
    Indexed(IndexHeader),
    /// In memory: the pack grows.
    Growing(Held),
    /// In memory: the index is damaged or gone.
    Rebuilt(Held),
}

/// Places in memory. The frames of all packs that are in memory count.
#[derive(Debug)]
struct Held {
    offsets: Offsets,
    has_gaps: bool,
    has_damaged_end: bool,
    counts: Arc<Counts>,
}

/// Packs have too many payloads without an index.
#[derive(Debug)]
struct TooMany(PathBuf);

impl std::error::Error for TooMany {}

impl std::fmt::Display for TooMany {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TooMany(pack) = self;
        write!(
            f,
            "{} and others have too many payloads without a usable index; delete damaged indexes, and run eds config \
             check --create with this directory as the payload store, which indexes them",
            pack.display()
        )
    }
}

/// Returns true if the packs have too many payloads without an index.
pub fn is_too_many(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<TooMany>())
}

/// The extent of a pack that is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The end of the last frame.
    pub end: u64,
    /// The number of frames.
    pub frames: u64,
    /// True if bytes before the last frame are not of any frame.
    pub has_gaps: bool,
    /// True if bytes behind the last frame are not those of an interrupted write.
    pub has_damaged_end: bool,
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

    /// Reads the payload, or at most its first `most_bytes`.
    ///
    /// # Errors
    /// The pack cannot be read.
    pub fn read(&self, most_bytes: usize) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.frame.payload_bytes).unwrap_or(usize::MAX);
        let mut payload = vec![0; size.min(most_bytes)];
        let read = self.file.read_at(&mut payload, self.frame.payload_at())?;
        payload.truncate(read);
        Ok(payload)
    }
}

impl Packs {
    /// Makes the packs below a root; it reads them when a payload is looked up.
    pub fn new(root: &Path) -> Packs {
        Packs { root: root.to_owned(), state: Mutex::default(), counts: Arc::default() }
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

    /// Calls `visit` with the payloads that have a hash by their names, until it returns a result.
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
        let changes = || self.counts.changes.load(Ordering::SeqCst);
        let before = changes();
        if let Some(found) = self.search(&self.snapshot(), key, &is_wanted, &mut visit)? {
            return Ok(Some(found));
        }
        // Other processes may have added payloads; another thread may have read of them since the search.
        self.refresh()?;
        if changes() == before {
            return Ok(None);
        }
        self.search(&self.snapshot(), key, &is_wanted, &mut visit)
    }

    fn search<T>(
        &self,
        State { folder, packs }: &State,
        key: &EntryKey,
        is_wanted: &impl Fn(&Frame) -> bool,
        visit: &mut impl FnMut(&Found<'_>) -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        let Some(folder) = folder else { return Ok(None) };
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
        let State { folder: Some(folder), packs } = self.snapshot() else { return Ok(Vec::new()) };
        let key = key_of_name(name);
        let mut found = Vec::new();
        for pack in packs.iter() {
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
                        found.push((Arc::clone(pack), frame));
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
            Arc::make_mut(packs)[..=at].rotate_right(1);
        }
    }

    /// Reads which packs there are, and the frames that were added to those without an index.
    ///
    /// # Errors
    /// The packs cannot be read, or have too many payloads without an index.
    pub fn refresh(&self) -> io::Result<()> {
        let mut state = self.state();
        let is_in_place = state.folder.as_ref().map(PackFolder::is_in_place).transpose()?;
        if is_in_place != Some(true) {
            let folder = PackFolder::open(&self.root)?;
            if folder.is_some() || state.folder.is_some() {
                self.counts.change();
            }
            *state = State { folder, ..State::default() };
        }
        let Some(folder) = state.folder.clone() else { return Ok(()) };
        let stems = folder.list()?;
        let known: HashSet<&str> = state.packs.iter().map(|pack| &*pack.stem).collect();
        let is_gone = |pack: &Arc<Pack>| stems.binary_search(&pack.stem).is_err();
        let new: Vec<&String> = stems.iter().filter(|stem| !known.contains(&***stem)).collect();
        if !new.is_empty() || state.packs.iter().any(is_gone) {
            let mut packs = state.packs.to_vec();
            packs.retain(|pack| !is_gone(pack));
            for stem in new {
                packs.extend(Pack::open(&folder, stem, &self.counts)?.map(Arc::new));
            }
            // A file without a header is new each time.
            if packs.len() != state.packs.len() || state.packs.iter().any(is_gone) {
                self.counts.change();
            }
            state.packs = Arc::new(packs);
        }
        state.packs.iter().try_for_each(|pack| pack.refresh(&folder))
    }

    /// Returns the directory of packs and the packs that are known.
    pub fn known(&self) -> (Option<PackFolder>, Arc<Vec<Arc<Pack>>>) {
        let State { folder, packs } = self.snapshot();
        (folder, packs)
    }

    /// Returns true if the root has a directory of packs, as far as is known.
    pub fn has_folder(&self) -> bool {
        self.state().folder.is_some()
    }

    fn snapshot(&self) -> State {
        self.state().clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pack {
    /// Opens a pack; `None` if it has no header, or is gone.
    fn open(folder: &PackFolder, stem: &str, counts: &Arc<Counts>) -> io::Result<Option<Pack>> {
        let Some(file) = folder.pack(stem, Open::Read)? else { return Ok(None) };
        let Some(key) = PackKey::read(&file)? else { return Ok(None) };
        let places = match indexed(folder, stem, &key, &file)? {
            Some(header) => Places::Indexed(header),
            None => Places::Growing(Held::new(counts)),
        };
        let counts = Arc::clone(counts);
        Ok(Some(Pack { stem: stem.to_owned(), key, places: Mutex::new(places), counts }))
    }

    /// Opens a pack alone; `None` if it has no header, or is gone. No frame of it is in memory.
    ///
    /// # Errors
    /// It cannot be read, or is not a pack.
    pub fn read(folder: &PackFolder, stem: &str) -> io::Result<Option<Pack>> {
        Pack::open(folder, stem, &Arc::default())
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

    /// Returns the extent of a pack that is in memory, as far as it is read.
    pub fn extent(&self) -> Option<Extent> {
        match &*self.places() {
            Places::Indexed(_) => None,
            Places::Growing(held) | Places::Rebuilt(held) => {
                let Held { offsets: Offsets { end, frames, .. }, has_gaps, has_damaged_end, .. } = held;
                let (has_gaps, has_damaged_end) = (*has_gaps, *has_damaged_end);
                Some(Extent { end: *end, frames: *frames, has_gaps, has_damaged_end })
            }
        }
    }

    /// Reads the index again, after it was written.
    ///
    /// # Errors
    /// The pack cannot be read.
    pub fn read_index(&self, folder: &PackFolder) -> io::Result<()> {
        let mut places = self.places();
        let Some(file) = folder.pack(&self.stem, Open::Read)? else { return Ok(()) };
        if let Some(header) = indexed(folder, &self.stem, &self.key, &file)? {
            *places = Places::Indexed(header);
            self.counts.change();
        }
        Ok(())
    }

    /// Forgets the places in memory, after frames were taken back that a reader may have added meanwhile.
    pub fn forget(&self) {
        let mut places = self.places();
        if !matches!(*places, Places::Indexed(_)) {
            *places = Places::Growing(Held::new(&self.counts));
            self.counts.change();
        }
    }

    /// Adds frames that this process has written, unless the pack is to be read again from an earlier place.
    pub fn add(&self, frames: &[Frame]) {
        if let Places::Growing(held) | Places::Rebuilt(held) = &mut *self.places() {
            let Held { offsets, counts, .. } = held;
            let before = offsets.frames;
            for frame in frames {
                if frame.offset > offsets.end {
                    break;
                }
                offsets.add(frame);
            }
            counts.in_memory.fetch_add(offsets.frames - before, Ordering::Relaxed);
            counts.change();
        }
    }

    /// Returns the bytes of its index, after a scan of the whole pack.
    ///
    /// # Errors
    /// The pack cannot be read.
    pub fn index(&self, file: &PackFile) -> io::Result<Vec<u8>> {
        Ok(scanned(file, &self.key)?.0.encode(&self.key))
    }

    /// Returns the places of the frames with a key.
    fn find(&self, folder: &PackFolder, key: &EntryKey) -> io::Result<Vec<u64>> {
        let mut is_first = true;
        loop {
            let header = match &*self.places() {
                Places::Growing(held) | Places::Rebuilt(held) => return Ok(held.offsets.get(key)),
                Places::Indexed(header) => *header,
            };
            if let Some(index) = folder.index(&self.stem)?
                && let Ok(offsets) = header.find(&index, &self.key, key)?
            {
                return Ok(offsets);
            }
            // Another process has replaced the index, or it is damaged or gone.
            let Some(file) = folder.pack(&self.stem, Open::Read)? else { return Ok(Vec::new()) };
            let mut places = self.places();
            let replaced = indexed(folder, &self.stem, &self.key, &file)?;
            if let Some(replaced) = replaced.filter(|replaced| is_first && *replaced != header) {
                *places = Places::Indexed(replaced);
            } else if matches!(*places, Places::Indexed(_)) {
                let mut held = Held::new(&self.counts);
                held.grow(&file, &self.key)?;
                self.counts.change();
                *places = Places::Rebuilt(held);
            }
            is_first = false;
        }
    }

    /// Adds the frames that were written since the last call.
    ///
    /// # Errors
    /// The pack cannot be read, or packs have too many payloads without an index.
    pub fn refresh(&self, folder: &PackFolder) -> io::Result<()> {
        let mut places = self.places();
        let has_no_index = match &*places {
            // That index is damaged.
            Places::Rebuilt(_) => true,
            Places::Indexed(header) if folder.pack_bytes(&self.stem)? == Some(header.covered) => {
                return Ok(());
            }
            // Its writer, on another machine, did not see the index in time.
            Places::Indexed(_) => {
                *places = Places::Growing(Held::new(&self.counts));
                self.counts.change();
                false
            }
            Places::Growing(_) => false,
        };
        drop(places);
        if !has_no_index {
            self.read_index(folder)?;
        }
        let mut places = self.places();
        let (Places::Growing(held) | Places::Rebuilt(held)) = &mut *places else { return Ok(()) };
        let Some(file) = folder.pack(&self.stem, Open::Read)? else { return Ok(()) };
        // A writer took back frames of a write that failed.
        if !held.offsets.is_in(&file, &self.key)? {
            *held = Held::new(&self.counts);
            self.counts.change();
        }
        held.grow(&file, &self.key)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn new(counts: &Arc<Counts>) -> Held {
        let offsets = Offsets::default();
        Held { offsets, has_gaps: false, has_damaged_end: false, counts: Arc::clone(counts) }
    }

    /// Adds the frames of the file that are not in memory.
    fn grow(&mut self, file: &PackFile, key: &PackKey) -> io::Result<()> {
        let Held { offsets, has_gaps, has_damaged_end, counts } = self;
        let in_memory = &counts.in_memory;
        let scan = grow(offsets, file, key, |_| {
            counts.change();
            if in_memory.fetch_add(1, Ordering::Relaxed) >= MAX_FRAMES_IN_MEMORY {
                in_memory.fetch_sub(1, Ordering::Relaxed);
                return Err(io::Error::new(io::ErrorKind::InvalidData, TooMany(file.path().to_owned())));
            }
            Ok(())
        })?;
        *has_gaps |= scan.has_gaps;
        *has_damaged_end = scan.has_damaged_end;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counts.in_memory.fetch_sub(self.offsets.frames, Ordering::Relaxed);
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
    // A pack that was copied earlier than its index lacks frames, and one that a writer has continued has further ones.
    Ok(header.filter(|header| header.covered == length))
}

/// Returns the places of all frames of a pack, and the result of the scan. Damaged bytes at the end count as covered.
///
/// # Errors
/// The pack cannot be read, or is larger than any that a writer makes.
pub fn scanned(file: &PackFile, key: &PackKey) -> io::Result<(Offsets, Scan)> {
    let mut offsets = Offsets::default();
    let scan = grow(&mut offsets, file, key, |frames| {
        let problem = "has more payloads than any pack; move it away";
        if frames > MAX_FRAMES_IN_MEMORY { Err(invalid(file, problem)) } else { Ok(()) }
    })?;
    if scan.has_damaged_end {
        offsets.end = scan.length;
    }
    Ok((offsets, scan))
}

fn grow(
    offsets: &mut Offsets,
    file: &PackFile,
    key: &PackKey,
    mut count: impl FnMut(u64) -> io::Result<()>,
) -> io::Result<Scan> {
    check_size(file)?;
    frame::scan(file, key, offsets.end, |frame| {
        count(offsets.frames)?;
        offsets.add(frame);
        Ok(())
    })
}

fn check_size(file: &PackFile) -> io::Result<()> {
    if file.length()? > MAX_PACK_BYTES {
        return Err(invalid(file, "is larger than any pack; move it away"));
    }
    Ok(())
}

/// Calls `visit` with every payload of a pack that is not erased.
///
/// # Errors
/// The pack cannot be read, or `visit` fails.
pub fn for_each(
    file: &PackFile,
    key: &PackKey,
    mut visit: impl FnMut(&Found<'_>) -> io::Result<()>,
) -> io::Result<Scan> {
    check_size(file)?;
    frame::scan(file, key, PACK_HEADER_BYTES as u64, |frame| {
        if frame.is_erased { Ok(()) } else { visit(&Found { file, frame }) }
    })
}
