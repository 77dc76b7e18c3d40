//! The random draws of one picture: they follow its content, so that they stay when pictures are added or
//! removed, and what was encoded of it stays in the cache.

use crate::random::{Purpose, Stream};

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PictureDraw {
    /// The run's seed.
    pub seed: u64,
    /// A number that the picture's content gives.
    pub picture: u32,
}

impl PictureDraw {
    /// The draws of the picture whose file has the hash `content`, in hexadecimal.
    pub fn new(seed: u64, content: &str) -> Self {
        let head = content.get(..8).unwrap_or_default();
        Self { seed, picture: u32::from_str_radix(head, 16).unwrap_or_default() }
    }

    /// The stream of one purpose and view.
    pub fn stream(self, purpose: Purpose, lane: u32, view: usize) -> Stream {
        Stream::new(self.seed, purpose, lane, view as u32, self.picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_content() {
        assert_eq!(PictureDraw::new(1, "00ff00ff77").picture, 0x00ff_00ff);
        let word =
            |content, view| PictureDraw::new(1, content).stream(Purpose::Augmentation, 0, view).word(0);
        assert_eq!(word("0123456789", 2), word("01234567", 2));
        assert_ne!(word("0123456789", 2), word("0123456789", 1));
        assert_ne!(word("0123456789", 2), word("1123456789", 2));
    }
}
