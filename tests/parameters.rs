//! The parameter structs of kernels are the same in C and in Rust.

// A test that cannot go on has failed.
#![allow(clippy::unwrap_used)]

#[path = "parameters/generate.rs"]
mod generate;

use generate::{BINDINGS, HEADER};
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn every_header_is_included() {
    let all = text(HEADER);
    for path in generate::headers(root()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let included = all.contains(&format!("#include \"{name}\""));
        assert!(included || HEADER.ends_with(&name), "{HEADER} lacks `{name}`");
    }
}

/// One test, because it sets the environment: bindings are regenerated where libclang is present, and belong to the
/// headers by their digest everywhere.
#[test]
fn bindings_are_those_of_the_headers() {
    let there = generate::libclang(root());
    if there && std::env::var_os("SARGENT_BLESS").is_some() {
        std::fs::write(root().join(BINDINGS), generate::generate(root())).unwrap();
    }
    let found = text(BINDINGS);
    let bless = "SARGENT_BLESS=1 cargo test --release --test parameters";
    assert!(found.starts_with(&generate::preamble(root())), "the headers have changed: {bless}");
    assert!(!there || found == generate::generate(root()), "the bindings differ from the headers: {bless}");
}
