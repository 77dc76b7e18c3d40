//! A kernel launch as data: symbol, shape, parameter bytes.

use bytemuck::{Pod, Zeroable};

/// Alignment of parameters: that of a tensor map.
const LINE: usize = 64;

/// One kernel launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The kernel's symbol, as it stands in its `KERNEL(symbol, ..)`.
    pub kernel: &'static str,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub shared_bytes: u32,
    /// The one argument.
    pub parameters: Parameters,
}

/// The bytes of a kernel's parameter struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    lines: Vec<Line>,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

impl Parameters {
    /// The bytes of `parameters`.
    pub fn new<P: Pod>(parameters: &P) -> Self {
        let from = bytemuck::bytes_of(parameters);
        let mut lines = vec![Line([0; LINE]); from.len().div_ceil(LINE)];
        bytemuck::cast_slice_mut(&mut lines)[..from.len()].copy_from_slice(from);
        Self { lines, bytes: from.len() }
    }

    /// The bytes, aligned to 64.
    pub fn as_bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_kept_byte_for_byte_and_aligned() {
        let words: [u32; 37] = std::array::from_fn(|i| i as u32);
        let parameters = Parameters::new(&words);
        assert_eq!(parameters.as_bytes(), bytemuck::bytes_of(&words));
        assert_eq!(parameters.as_bytes().as_ptr() as usize % LINE, 0);
    }
}
