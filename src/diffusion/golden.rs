//! The golden tables of noise levels, for the tests of this room.

use safetensors::SafeTensors;

pub struct File(Vec<u8>);

pub fn read(name: &str) -> File {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/golden/schedules");
    File(std::fs::read(format!("{folder}/{name}")).unwrap())
}

impl File {
    pub fn f32(&self, name: &str) -> Vec<f64> {
        self.words::<4>(name).map(|word| f64::from(f32::from_le_bytes(word))).collect()
    }

    pub fn i64(&self, name: &str) -> Vec<i64> {
        self.words::<8>(name).map(i64::from_le_bytes).collect()
    }

    fn words<const N: usize>(&self, name: &str) -> impl Iterator<Item = [u8; N]> {
        let data = SafeTensors::deserialize(&self.0).unwrap().tensor(name).unwrap().data().to_vec();
        (0..data.len() / N).map(move |i| data[i * N..(i + 1) * N].try_into().unwrap())
    }
}

/// Relative L2 distance below `tolerance`.
pub fn close(ours: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), expected.len());
    let distance: f64 = ours.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum();
    let norm: f64 = expected.iter().map(|b| b * b).sum();
    assert!(distance.sqrt() <= tolerance * norm.sqrt(), "off by {}", (distance / norm).sqrt());
}
