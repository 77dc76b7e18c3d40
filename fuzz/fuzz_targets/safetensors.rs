//! Whatever the bytes of a model file are, opening it and reading every tensor gives values or errors.
//!
//! `cargo +nightly fuzz run safetensors`

#![no_main]

use libfuzzer_sys::fuzz_target;
use sargent::weights::TensorFile;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = TensorFile::from_bytes(Path::new("fuzzed.safetensors"), bytes.to_vec()) else { return };
    for name in file.names() {
        if let Ok(view) = file.view(name) {
            let elements: usize = view.shape.iter().product();
            assert_eq!(view.bytes.len(), elements * view.dtype.size());
        }
        let _ = (file.read_f32(name), file.read_i64(name));
    }
});
