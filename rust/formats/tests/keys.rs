//! The key ring file: its forms and rejections.
#![allow(clippy::unwrap_used)]

mod common;

use common::sentence;
use edgesentry_chain::{KeyError, Scheme};
use edgesentry_formats::{KeysError, read_key_ring, write_key_ring};

const A: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const B: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
const C: &str = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";

fn refusal(json: &str) -> String {
    sentence(&read_key_ring(json.as_bytes(), Scheme::PayloadHash).unwrap_err())
}

#[test]
fn every_form_is_read() {
    let json = format!(
        r#"{{"bare": "{A}", "rich": {{"key": "{C}", "scheme": "record", "valid_from": 5}},
            "plain object": {{"key": "{B}"}}, "list": [{{"key": "{B}", "valid_from": 9}}, "{A}"], "": ["{A}"]}}"#
    );
    let ring = read_key_ring(json.as_bytes(), Scheme::PayloadHash).unwrap();
    assert_eq!(ring.len(), 5);
    let key = |device: &str, sequence| {
        ring.key_at(device, sequence).map(|key| (key.key.to_string(), key.scheme, key.valid_from))
    };
    assert_eq!(key("bare", 1), Some((A.into(), Scheme::PayloadHash, 1)));
    assert_eq!(key("rich", 4), None);
    assert_eq!(key("rich", 5), Some((C.into(), Scheme::Record, 5)));
    assert_eq!(key("plain object", 5), Some((B.into(), Scheme::PayloadHash, 1)));
    assert_eq!(key("list", 8), Some((A.into(), Scheme::PayloadHash, 1)));
    assert_eq!(key("list", 9), Some((B.into(), Scheme::PayloadHash, 9)));

    let text = write_key_ring(&ring);
    assert_eq!(read_key_ring(text.as_bytes(), Scheme::Record).unwrap(), ring, "{text}");
    let other = read_key_ring(json.as_bytes(), Scheme::Record).unwrap();
    assert_eq!(other.key_at("bare", 1).unwrap().scheme, Scheme::Record);
}

#[test]
fn one_key_under_both_schemes_is_refused() {
    let json = format!(r#"{{"a": {{"key": "{A}", "scheme": "record"}}, "b": "{B}", "c": "{A}"}}"#);
    assert_eq!(
        refusal(&json),
        "key ring: key d75a980182b10ab7… is given to device \"c\" with scheme payload-hash and to device \"a\" with \
         scheme record: a key belongs to one scheme, so correct the scheme or make another key"
    );
    // Two devices may share a key under one scheme.
    let ring = read_key_ring(json.as_bytes(), Scheme::Record).unwrap();
    assert_eq!(ring.len(), 3);
}

#[test]
fn an_empty_ring_is_a_ring() {
    let ring = read_key_ring(b" {} ", Scheme::Record).unwrap();
    assert!(ring.is_empty());
    assert_eq!(write_key_ring(&ring), "{}\n");
}

#[test]
fn devices_with_names_that_need_escapes_are_read_back() {
    let json = serde_json::json!({"\"\\\n\u{1}é": A}).to_string();
    let ring = read_key_ring(json.as_bytes(), Scheme::Record).unwrap();
    assert_eq!(read_key_ring(write_key_ring(&ring).as_bytes(), Scheme::Record).unwrap(), ring);
}

#[test]
fn a_malformed_key_ring_is_refused_with_place_and_device() {
    let a = format!("\"{A}\"");
    let cases = [
        ("", "it is empty, not a key ring"),
        ("[]", "an object of devices and their keys"),
        ("{\"x\": ", "line 1 column 6"),
        (&format!("{{\"x\": {a}}} {{}}"), "trailing characters at line 1"),
        (&format!("{{\"x\": {a}, \"x\": {a}}}"), "device \"x\" appears twice"),
        (&format!("{{\"x\": {{\"key\": {a}, \"key\": {a}}}}}"), "device \"x\": duplicate field `key`"),
        (&format!("{{\"x\": {{\"key\": {a}, \"name\": 1}}}}"), "device \"x\": unknown field `name`"),
        (&format!("{{\n\"x\": {{\"key\": {a},\n \"valid_from\": -1}}}}"), "device \"x\": invalid value"),
        (&format!("{{\n\"x\": {{\"key\": {a},\n \"valid_from\": -1}}}}"), "at line 3 column"),
        (&format!("{{\"x\": {{\"key\": {a}, \"valid_from\": 0}}}}"), "device \"x\": valid_from is 0"),
        (&format!("{{\"x\": {{\"key\": {a}, \"valid_from\": 1.5}}}}"), "device \"x\": invalid type"),
        (&format!("{{\"x\": {{\"key\": {a}, \"scheme\": null}}}}"), "device \"x\": invalid type: null"),
        ("{\"x\": {}}", "device \"x\": missing field `key`"),
        ("{\"x\": []}", "device \"x\": it has no key"),
        ("{\"x\": 7}", "device \"x\": invalid type: integer `7`"),
        ("{\"x\": null}", "device \"x\": invalid type: null"),
        (&format!("{{\"x\": [[{a}]]}}"), "device \"x\": a list of keys within a list"),
        (&format!("\u{feff}{{\"x\": {a}}}"), "byte order mark"),
        ("{\"x\": \"zz\"}", "device \"x\": register a valid key: a public key is 64 hex digits"),
        (&format!("{{\"x\": {{\"key\": {a}, \"scheme\": \"rsa\"}}}}"), "unknown signature scheme \"rsa\""),
        (&format!("{{\"x\": [{a}, {a}]}}"), "two keys valid from sequence 1"),
    ];
    for (json, expected) in cases {
        let sentence = refusal(json);
        assert!(
            sentence.contains(expected) && !sentence.contains('\n'),
            "{json}\n  {sentence}\n  {expected}"
        );
    }
    assert!(read_key_ring(b"{\"\xff\": 1}", Scheme::Record).is_err());
    assert!(refusal(&"[".repeat(100_000)).contains("key ring"));
    assert!(refusal(&format!("{{\"x\": {}", "[".repeat(100_000))).contains("device \"x\""));
}

#[test]
fn weak_keys_are_refused_by_name() {
    let zero = "0".repeat(64);
    let error = read_key_ring(format!("{{\"lift-01\": \"{zero}\"}}").as_bytes(), Scheme::Record).unwrap_err();
    match &error {
        KeysError::Key { device, source: KeyError::SmallOrder(_) } => assert_eq!(device, "lift-01"),
        other => panic!("{other:?}"),
    }
    assert!(sentence(&error).starts_with("key ring: device \"lift-01\""), "{}", sentence(&error));
}
