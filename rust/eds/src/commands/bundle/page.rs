//! The page that verifies bundles, with a bundle in it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use edgesentry_formats::{Destination, Readers};
use edgesentry_rs::log::BUNDLE_TEXTS;

use crate::exit::Failure;
use crate::outputs::cannot_write;

/// The maximum size of a bundle in a page, bytes.
const MAX_BUNDLE_BYTES: u64 = 16 << 20;
/// The element of the page that has the bundle in base64.
const CARRIED: &str = "<script type=\"application/octet-stream\" id=\"carried\">";

/// Writes the page with a complete bundle.
pub(in crate::commands) fn write(bundle: &Path, page: &Destination, path: &Path) -> Result<(), Failure> {
    let mut content = Vec::new();
    let read = File::open(bundle).and_then(|file| file.take(MAX_BUNDLE_BYTES + 1).read_to_end(&mut content));
    read.map_err(|error| Failure::unfinished("io", format!("{}: cannot read: {error}", bundle.display())))?;
    if content.len() as u64 > MAX_BUNDLE_BYTES {
        let message = format!(
            "{}: the bundle is written and has more than {} MiB, so {} was not; leave out --page, or make a smaller \
             bundle",
            bundle.display(),
            MAX_BUNDLE_BYTES >> 20,
            path.display()
        );
        return Err(Failure::usage("bundle_too_large", message));
    }
    let written = with_bundle(&content).and_then(|text| page.write(Readers::Umask, text.as_bytes()));
    written.map_err(|error| cannot_write(path, &error))
}

fn with_bundle(bundle: &[u8]) -> io::Result<String> {
    let page = BUNDLE_TEXTS.iter().find(|(name, _)| *name == "verify.html");
    let page = page.and_then(|(_, text)| std::str::from_utf8(text).ok());
    let parts = page.and_then(|page| page.split_once(CARRIED));
    let (before, after) = parts.ok_or_else(|| io::Error::other("the page has no place for a bundle"))?;
    Ok([before, CARRIED, &STANDARD.encode(bundle), after].concat())
}
