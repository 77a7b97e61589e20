//! The heads file: round trip and rejections.
#![allow(clippy::unwrap_used)]

#[path = "../../checked.rs"]
mod checked;

mod common;

use common::sentence;
use edgesentry_chain::{Hash, Head, Heads};
use edgesentry_formats::{read_heads, write_heads};
use proptest::prelude::*;

proptest! {
    #[test]
    fn heads_are_read_back(
        heads in proptest::collection::btree_map(any::<String>(), (any::<u64>(), any::<[u8; 32]>()), 0..8),
    ) {
        let heads: Heads = heads
            .into_iter()
            .map(|(device, (sequence, hash))| (device.into(), Head { sequence, hash: Hash(hash) }))
            .collect();
        let text = write_heads(&heads);
        prop_assert_eq!(read_heads(text.as_bytes()).unwrap(), heads, "{}", text);
    }
}

#[test]
fn a_malformed_heads_file_is_refused_with_place_and_device() {
    let hash = "ab".repeat(32);
    let one = |head: &str| format!("{{\"version\": 1, \"heads\": {{\"lift-01\": {head}}}}}");
    let head = format!("{{\"sequence\": 7, \"hash\": \"{hash}\"}}");
    assert_eq!(read_heads(one(&head).as_bytes()).unwrap().len(), 1);
    let cases = [
        ("".to_owned(), "it is empty, not a heads snapshot"),
        ("[]".to_owned(), "line 1"),
        ("{}".to_owned(), "missing field `version`"),
        ("{\"version\": 1}".to_owned(), "missing field `heads`"),
        ("{\"version\": 2, \"chains\": {}}".to_owned(), "version 2 is not supported, only version 1"),
        ("{\"version\": 1, \"version\": 1, \"heads\": {}}".to_owned(), "duplicate field `version`"),
        (
            "{\"manifest\": 1, \"heads\": {}}".to_owned(),
            "it is the manifest of an export, not a heads snapshot",
        ),
        ("{\"version\": \"1\", \"heads\": {}}".to_owned(), "invalid type: string \"1\""),
        ("{\"version\": 1, \"heads\": {}, \"signed\": true}".to_owned(), "unknown field `signed`"),
        ("{\"version\": 1, \"heads\": []}".to_owned(), "an object of devices and their heads"),
        ("{\"version\": 1, \"heads\": {}} x".to_owned(), "trailing characters"),
        (format!("\u{feff}{}", one(&head)), "byte order mark"),
        (one(&format!("{head}, \"lift-01\": {head}")), "device \"lift-01\" appears twice"),
        (
            one(&format!("{{\"sequence\": 7, \"hash\": \"{}\"}}", &hash[1..])),
            "device \"lift-01\": a hash is 64",
        ),
        (one(&format!("{{\"sequence\": -7, \"hash\": \"{hash}\"}}")), "device \"lift-01\": invalid value"),
        (
            one(&format!("{{\"sequence\": 7, \"sequence\": 7, \"hash\": \"{hash}\"}}")),
            "duplicate field `sequence`",
        ),
        (one(&format!("{{\"sequence\": 7, \"hash\": \"{hash}\", \"at\": 1}}")), "unknown field `at`"),
        (one("7"), "device \"lift-01\": invalid type"),
        (one("null"), "at line 1 column"),
    ];
    for (json, expected) in cases {
        let sentence = sentence(&read_heads(json.as_bytes()).unwrap_err());
        assert!(
            sentence.contains(expected) && !sentence.contains('\n'),
            "{json}\n  {sentence}\n  {expected}"
        );
    }
    assert!(read_heads(b"{\"version\": 1, \"heads\": {\"\xff\": 1}}").is_err());
    assert!(read_heads("[".repeat(100_000).as_bytes()).is_err());
}
