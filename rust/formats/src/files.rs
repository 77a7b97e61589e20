//! The files that a name stands for: a file, a directory, a pattern, or a `file:` URL.

mod pattern;
mod table;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::pattern::{Pattern, has_pattern};
pub use self::table::{TableKind, Tables, is_hidden, table_of};
use crate::error::Error;

/// Maximum number of files that a name stands for, and of names that are looked at for them.
pub const MAX_FILES: usize = 100_000;
const MAX_NAMES: usize = 1_000_000;

/// Returns the files of a name, in the order of their paths. A file, or a name that does not exist, is returned as it is.
///
/// In a directory, and in all directories below it, files count whose names do not begin with `_` or `.`, as in Hive. A name
/// such as `_day=1` counts: it is the value of a partition whose column begins with `_`.
/// A pattern has `*`, `?` or `[abc]` in its names, and `**` for any number of directories.
///
/// # Errors
/// The directory is a table of Delta, Iceberg or Hudi, whose files are not all live; it has no files, or too many; or a
/// link leads out of it.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>, Error> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => files_in(path),
        Ok(_) => Ok(vec![path.to_owned()]),
        Err(_) => match path.to_str() {
            Some(text) if has_pattern(text) && !text.contains("://") => files_like(path, text),
            _ => Ok(vec![path.to_owned()]),
        },
    }
}

/// Returns the path in a `file:` URL; `None` for any other name.
///
/// # Errors
/// The URL names another machine, or has an escape that is not a byte.
pub fn path_of_url(name: &str) -> Option<Result<PathBuf, Error>> {
    let rest = name.strip_prefix("file:")?;
    let unreadable = |problem: &str| Error::Unreadable {
        name: name.chars().take(200).collect::<String>().into(),
        problem: problem.to_owned(),
    };
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(rest) => match rest.strip_prefix("localhost").unwrap_or(rest) {
            path if path.starts_with('/') => path,
            _ => return Some(Err(unreadable("a file URL with a host; copy the file to this machine"))),
        },
    };
    if !path.starts_with('/') {
        // `file:name` is the name of a file.
        return None;
    }
    if path.contains(['?', '#']) {
        let problem = "a file URL with ? or #; write them as %3F and %23 if they belong to the name";
        return Some(Err(unreadable(problem)));
    }
    let Some(bytes) = unescaped(path) else {
        let problem = "a file URL in which % does not begin the escape of a byte; write %25 for %";
        return Some(Err(unreadable(problem)));
    };
    Some(path_of_bytes(bytes).ok_or_else(|| unreadable("a file URL whose path is not UTF-8")))
}

/// Returns the bytes of a path with escapes, none of them zero.
fn unescaped(path: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        let mut byte = [*first];
        if *first == b'%' {
            let (digits, behind) = more.split_at_checked(2)?;
            hex::decode_to_slice(digits, &mut byte).ok()?;
            rest = behind;
        }
        bytes.extend((byte != [0]).then_some(byte)?);
    }
    Some(bytes)
}

#[cfg(unix)]
fn path_of_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    Some(std::ffi::OsString::from_vec(bytes).into())
}

#[cfg(not(unix))]
fn path_of_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    String::from_utf8(bytes).ok().map(PathBuf::from)
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut walk = Walk::new(folder)?;
    walk.walk(folder, &|_| true)?;
    walk.tables.refuse(&walk.name)?;
    walk.finish("the directory has no files; name one with exports")
}

/// Expands a pattern from its first directory without one.
fn files_like(path: &Path, text: &str) -> Result<Vec<PathBuf>, Error> {
    let mut folder = PathBuf::new();
    for part in path.components() {
        if part.as_os_str().to_str().is_none_or(has_pattern) {
            break;
        }
        folder.push(part);
    }
    let named = if folder.as_os_str().is_empty() { Path::new(".") } else { &*folder };
    let unreadable = |problem: String| Error::Unreadable { name: text.into(), problem };
    let rest = path.strip_prefix(&folder).ok().and_then(Path::to_str).unwrap_or_default();
    let pattern = Pattern::new(rest).map_err(unreadable)?;
    if !named.is_dir() {
        return Err(unreadable("no file has a name of this pattern".to_owned()));
    }
    let mut walk = Walk::new(named)?;
    let matches = |path: &Path| {
        let below = path.strip_prefix(named).unwrap_or(path);
        below.to_str().is_some_and(|below| pattern.matches(below))
    };
    walk.depth = pattern.depth();
    walk.walk(named, &matches)?;
    walk.tables.refuse(&walk.name)?;
    walk.name = text.into();
    let files = walk.finish("no file has a name of this pattern")?;
    // Without the `.` that stands for the current directory.
    Ok(files.into_iter().map(|file| file.strip_prefix("./").map(Path::to_owned).unwrap_or(file)).collect())
}

/// A walk through a directory.
struct Walk {
    name: Arc<str>,
    root: PathBuf,
    files: Vec<PathBuf>,
    tables: Tables,
    names: usize,
    /// Number of directories below the first one; any number by default.
    depth: Option<usize>,
}

impl Walk {
    fn new(folder: &Path) -> Result<Walk, Error> {
        let name: Arc<str> = folder.display().to_string().into();
        let failed = |source| Error::Io { name: name.clone(), action: "open", source };
        let root = folder.canonicalize().map_err(failed)?;
        // A directory of a table has its old files too.
        for folder in root.ancestors().skip(1) {
            if let Some(kind) = table_of(folder) {
                Tables::of(folder, kind).refuse(&name)?;
            }
        }
        Ok(Walk { name, root, files: Vec::new(), tables: Tables::default(), names: 0, depth: None })
    }

    /// Collects the files that match, without recursion: directories may be nested to any depth.
    fn walk(&mut self, folder: &Path, matches: &dyn Fn(&Path) -> bool) -> Result<(), Error> {
        let mut folders = vec![(folder.to_owned(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let failed = |source| Error::Io {
                name: folder.display().to_string().into(),
                action: "read the directory",
                source,
            };
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                self.names += 1;
                if self.names > MAX_NAMES {
                    return Err(self.unreadable(format!(
                        "there are more than {MAX_NAMES} names in it; pass the directories below it one by one"
                    )));
                }
                let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
                let is_folder = kind.is_dir() || kind.is_symlink() && path.is_dir();
                self.tables.see(&folder, &entry.file_name(), is_folder);
                if entry.file_name().to_str().is_some_and(is_hidden) {
                    continue;
                }
                if is_folder {
                    if kind.is_symlink() {
                        return Err(self.unreadable(format!(
                            "{} is a link to a directory; pass that directory by its own name",
                            path.display()
                        )));
                    }
                    if self.depth.is_none_or(|most| depth < most) {
                        folders.push((path, depth + 1));
                    }
                } else if matches(&path) {
                    self.add(path, kind)?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, kind: fs::FileType) -> Result<(), Error> {
        let failed = |source| Error::Io { name: path.display().to_string().into(), action: "open", source };
        let mut is_file = kind.is_file();
        if kind.is_symlink() {
            if !path.canonicalize().map_err(failed)?.starts_with(&self.root) {
                return Err(self.unreadable(format!(
                    "the link {} leads out of the directory; pass its file by its own name",
                    path.display()
                )));
            }
            is_file = path.is_file();
        }
        if !is_file {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
            return Err(failed(source));
        }
        if self.files.len() == MAX_FILES {
            return Err(self.unreadable(format!("more than {MAX_FILES} files; pass fewer at a time")));
        }
        self.files.push(path);
        Ok(())
    }

    fn unreadable(&self, problem: String) -> Error {
        Error::Unreadable { name: Arc::clone(&self.name), problem }
    }

    fn finish(mut self, empty: &str) -> Result<Vec<PathBuf>, Error> {
        if self.files.is_empty() {
            return Err(self.unreadable(empty.to_owned()));
        }
        self.files.sort();
        Ok(self.files)
    }
}
