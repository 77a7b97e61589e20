//! The name under which programs load the shared library.

fn main() {
    if std::env::var_os("CARGO_CFG_TARGET_OS").is_some_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libedgesentry.so.1");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
