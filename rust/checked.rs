//! Included in the tests of each crate: checks that the build has checks enabled, if the environment requires it.

/// `make test-rust` sets `EDGESENTRY_CHECKED` and builds with .config/checked.toml.
#[test]
fn the_build_is_checked() {
    let asked = std::env::var_os("EDGESENTRY_CHECKED").is_some();
    let overflow = std::panic::catch_unwind(|| std::hint::black_box(u8::MAX) + std::hint::black_box(1));
    let (assertions, overflows) = (cfg!(debug_assertions), overflow.is_err());
    let package = env!("CARGO_PKG_NAME");
    println!("{package}: debug assertions {assertions}, overflow checks {overflows}");
    assert!(!asked || (assertions && overflows), "{package} is not built with .config/checked.toml");
}
