//! Whatever the bytes of a settings file are, reading them gives settings or an error that says why not.
//!
//! `cargo +nightly fuzz run settings`

#![no_main]

use libfuzzer_sys::fuzz_target;
use sargent::settings::parse_settings_bytes;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = parse_settings_bytes(bytes) {
        assert!(!error.cause.is_empty());
    }
});
