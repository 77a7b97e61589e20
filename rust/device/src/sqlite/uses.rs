//! Files that this process has open. SQLite has one handle of a log's index for the whole process: if a reader opened
//! it read-only, a writer in the same process cannot write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum How {
    /// The index is open read-only.
    Reading,
    Writing,
}

static USES: Mutex<BTreeMap<(PathBuf, How), usize>> = Mutex::new(BTreeMap::new());

fn uses() -> MutexGuard<'static, BTreeMap<(PathBuf, How), usize>> {
    USES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An open file; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Use((PathBuf, How));

impl Use {
    /// Returns `None` if a writer of this process already has the index open: then it is not read-only.
    pub(super) fn reading(path: &Path) -> Option<Use> {
        let mut uses = uses();
        let is_written = uses.contains_key(&(path.to_owned(), How::Writing));
        (!is_written).then(|| Use::count(&mut uses, path, How::Reading))
    }

    /// Fails if a reader of this process has the index open.
    pub(super) fn writing(path: &Path) -> Result<Use, sqlx::Error> {
        let mut uses = uses();
        if uses.contains_key(&(path.to_owned(), How::Reading)) {
            let problem = "this process has it open read-only; close it first";
            return Err(sqlx::Error::Configuration(problem.into()));
        }
        Ok(Use::count(&mut uses, path, How::Writing))
    }

    fn count(uses: &mut BTreeMap<(PathBuf, How), usize>, path: &Path, how: How) -> Use {
        *uses.entry((path.to_owned(), how)).or_default() += 1;
        Use((path.to_owned(), how))
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut uses = uses();
        match uses.get_mut(&self.0) {
            Some(1) | None => drop(uses.remove(&self.0)),
            Some(times) => *times -= 1,
        }
    }
}
