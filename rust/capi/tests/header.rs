//! include/edgesentry.h is the one of the sources.
#![allow(clippy::unwrap_used)]

use std::path::Path;

#[test]
fn the_header_is_that_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in [
        "codes.rs",
        "types.rs",
        "outbox_types.rs",
        "exports.rs",
        "signer_exports.rs",
        "outbox_exports.rs",
        "http_exports.rs",
        "token_exports.rs",
        "update_exports.rs",
    ] {
        builder = builder.with_src(root.join("src").join(source));
    }
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    let header = String::from_utf8(header).unwrap();
    let path = root.join("include/edgesentry.h");
    if std::env::var_os("EDGESENTRY_WRITE").is_some() {
        std::fs::write(&path, &header).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept, header, "{}: run EDGESENTRY_WRITE=1 cargo test --test header", path.display());
}
