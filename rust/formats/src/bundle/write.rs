//! Writes a bundle.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use edgesentry_log::{
    BLOCK_BYTES, BundleFile, BundleManifest, BundleScope, FileDigest, MANIFEST_NAME, MAX_LEAVES_BYTES,
    member_header, padding_bytes,
};

use crate::new_file::folder_of;

/// Writes the members of a bundle, in the order of their names.
///
/// The manifest comes first and has their digests. So the contents wait in an unnamed file beside the bundle, which
/// needs the same space again until the bundle is complete.
///
/// ```
/// use edgesentry_formats::BundleWriter;
/// use edgesentry_log::BundleScope;
/// let mut writer = BundleWriter::new(None)?;
/// writer.file("checkpoint", b"...")?;
/// writer.item(b"\0\x01\x06")?;
/// let mut bundle = Vec::new();
/// let manifest = writer.finish(BundleScope::Full, 1_800_000_000_000, None, false, &mut bundle)?;
/// assert_eq!(manifest.files[1].name, "leaves-000");
/// assert_eq!(bundle.len() % 512, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct BundleWriter {
    spool: BufWriter<File>,
    files: Vec<BundleFile>,
    open: Option<Open>,
    parts: usize,
}

/// The member under writing.
#[derive(Debug)]
struct Open {
    name: String,
    bytes: u64,
    digest: FileDigest,
    is_leaves: bool,
}

impl BundleWriter {
    /// Starts a bundle that will be at `place`, or go to a stream.
    ///
    /// # Errors
    /// The directory of the place, or of temporary files, is not writable.
    pub fn new(place: Option<&Path>) -> io::Result<BundleWriter> {
        let spool = match place {
            Some(place) => tempfile::tempfile_in(folder_of(place))?,
            None => tempfile::tempfile()?,
        };
        Ok(BundleWriter { spool: BufWriter::new(spool), files: Vec::new(), open: None, parts: 0 })
    }

    /// Writes a whole member.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.begin(name.to_owned(), false);
        self.append(content)
    }

    /// Writes an item of the leaves, and begins a new part when one is full.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub fn item(&mut self, item: &[u8]) -> io::Result<()> {
        let fits = |open: &Open| open.is_leaves && open.bytes + item.len() as u64 <= MAX_LEAVES_BYTES;
        if !self.open.as_ref().is_some_and(fits) {
            self.begin(format!("leaves-{:03}", self.parts), true);
            self.parts += 1;
        }
        self.append(item)
    }

    /// Writes the whole bundle to `out`.
    ///
    /// # Errors
    /// The members are not those of a bundle, or an output cannot be written.
    pub fn finish(
        mut self,
        scope: BundleScope,
        created_ms: u64,
        since: Option<u64>,
        payloads: bool,
        out: &mut dyn Write,
    ) -> io::Result<BundleManifest> {
        self.close();
        let files = std::mem::take(&mut self.files);
        let text = BundleManifest { scope, created_ms, since, payloads, files }.to_string();
        let manifest = BundleManifest::parse(text.as_bytes()).map_err(io::Error::other)?;
        let mut spool = self.spool.into_inner().map_err(io::IntoInnerError::into_error)?;
        spool.rewind()?;
        write_member(out, MANIFEST_NAME, text.len() as u64, &mut text.as_bytes())?;
        for file in &manifest.files {
            write_member(out, &file.name, file.bytes, &mut spool)?;
        }
        out.write_all(&[0; 2 * BLOCK_BYTES])?;
        Ok(manifest)
    }

    fn begin(&mut self, name: String, is_leaves: bool) {
        self.close();
        self.open = Some(Open { name, bytes: 0, digest: FileDigest::default(), is_leaves });
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            open.bytes += bytes.len() as u64;
            open.digest.update(bytes);
        }
        self.spool.write_all(bytes)
    }

    fn close(&mut self) {
        if let Some(Open { name, bytes, digest, .. }) = self.open.take() {
            self.files.push(BundleFile { name, bytes, sha256: digest.finish() });
        }
    }
}

fn write_member(out: &mut dyn Write, name: &str, bytes: u64, content: &mut dyn Read) -> io::Result<()> {
    out.write_all(&member_header(name, bytes))?;
    if io::copy(&mut content.take(bytes), out)? != bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let padding = usize::try_from(padding_bytes(bytes)).unwrap_or(0);
    out.write_all(&[0; BLOCK_BYTES][..padding])
}
