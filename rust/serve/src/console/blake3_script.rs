//! The script that checks the hash of a payload in the browser. Its BLAKE3 is that of the page in evidence bundles.

use std::sync::LazyLock;

use edgesentry_rs::log::BUNDLE_TEXTS;

/// The first line of BLAKE3 in that page, and the first one behind it.
const BEGIN: &str = "  // --- BLAKE3 ---";
const END: &str = "  const wordsOf =";

/// The script, with BLAKE3.
pub(super) static PAYLOAD_SCRIPT: LazyLock<String> =
    LazyLock::new(|| include_str!("payload.js").replace("  /* BLAKE3 */\n", blake3()));

fn blake3() -> &'static str {
    let page = BUNDLE_TEXTS.iter().find(|(name, _)| *name == "verify.html").map_or(&[][..], |(_, text)| text);
    let page = std::str::from_utf8(page).unwrap_or_default();
    let part = page.find(BEGIN).and_then(|begin| Some(&page[begin..begin + page[begin..].find(END)?]));
    // The unit test holds that the part is there.
    part.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_bundles_has_blake3() {
        let part = blake3();
        assert!(part.contains("class Blake3") && part.contains("const blake3 ="), "{part}");
        assert!(PAYLOAD_SCRIPT.contains(part) && !PAYLOAD_SCRIPT.contains("/* BLAKE3 */"));
    }
}
