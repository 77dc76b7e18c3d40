//! Numbers for tests: normal draws that depend on a name alone.

use sargent::random::{Purpose, Stream};

/// `count` normal draws, others for every name.
pub fn normals(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(17u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut values = vec![0.0; count];
    Stream::new(seed, Purpose::Noise, 0, 0, 0).fill_normal(&mut values);
    values
}
