//! Randomness as a function of (seed, purpose, step, sample, element): Philox 4x32-10
//! (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//!
//! Nothing here has state, so a run repeats and resumes bit for bit and every device sees the same draws.

/// What a draw is for. Two purposes never share a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// Initial adapter weights; the step is 0 and the sample is the adapter's index.
    AdapterInit = 1,
    /// Order of samples in an epoch; the step is the epoch.
    EpochOrder = 2,
    /// Which caption variant a sample gets.
    Caption = 3,
    /// Whether a caption is dropped.
    CaptionDropout = 4,
    /// The noise level sigma of a sample.
    Sigma = 5,
    /// Flow-matching noise.
    Noise = 6,
    /// The draw from the latent distribution (mean, log-variance).
    Latent = 7,
    /// LoRA dropout; the lane is the adapter's index.
    LoraDropout = 8,
    /// Rounding of what the optimizer keeps in bf16; the lane tells parameters (0) and moments (1, 2) apart, the
    /// element is that of the flat buffer.
    StochasticRounding = 9,
    /// Order of a caption's parts; the lane tells variants of one sample apart.
    CaptionShuffle = 10,
    /// Which of a caption's parts are dropped.
    TagDropout = 11,
    /// How a view of a picture is changed before it is encoded (lane 0; the step is the view, the sample follows
    /// from the picture's content), and which view an appearance shows (lane 1).
    Augmentation = 12,
    /// Where a picture is cropped at random (lane 0), and to which shape (lane 1); step and sample as above.
    CropPlace = 13,
    /// Which pictures are held out of training.
    HeldOut = 14,
    /// Noise and noise levels of held-out samples.
    Evaluation = 15,
    /// Which pictures of a data set are taken where not all are.
    SampleChoice = 16,
    /// Which of a caption's alternatives is taken; the lane tells variants of one sample apart.
    CaptionWildcard = 17,
}

/// One stream of draws: fixed seed, purpose, lane, step and sample; the element is the argument.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    key: [u32; 2],
    purpose: u32,
    step: u32,
    sample: u32,
}

impl Stream {
    /// The stream of `(seed, purpose, lane, step, sample)`; `lane` below 2^24 tells uses of one purpose apart.
    pub fn new(seed: u64, purpose: Purpose, lane: u32, step: u32, sample: u32) -> Self {
        let key = [seed as u32, (seed >> 32) as u32];
        Self { key, purpose: (purpose as u32) | (lane << 8), step, sample }
    }

    /// Four uniform 32-bit words of block `block`; element `e` is word `e % 4` of block `e / 4`.
    pub fn block(&self, block: u32) -> [u32; 4] {
        philox([block, self.purpose, self.step, self.sample], self.key)
    }

    /// A uniform 32-bit word.
    pub fn word(&self, element: usize) -> u32 {
        self.block((element / 4) as u32)[element % 4]
    }

    /// Sixteen uniform bits; elements 2i and 2i+1 are the low and the high half of word i.
    pub fn half_word(&self, element: usize) -> u16 {
        (self.word(element / 2) >> (16 * (element % 2))) as u16
    }

    /// Uniform in (0, 1), never 0 or 1.
    pub fn uniform(&self, element: usize) -> f32 {
        unit(self.word(element)) as f32
    }

    /// Standard normal; elements 2i and 2i+1 are the cosine and sine of one Box-Muller pair.
    pub fn normal(&self, element: usize) -> f32 {
        normals(self.block((element / 4) as u32))[element % 4]
    }

    /// Fills `out` with normals of elements 0.. in order.
    pub fn fill_normal(&self, out: &mut [f32]) {
        for (block, four) in out.chunks_mut(4).enumerate() {
            let draws = normals(self.block(block as u32));
            four.copy_from_slice(&draws[..four.len()]);
        }
    }

    /// A whole number below `bound`, without bias for any bound that a dataset has (multiply-shift on 64 bits).
    pub fn below(&self, element: usize, bound: usize) -> usize {
        let words = self.block(element as u32);
        let wide = (u64::from(words[0]) << 32) | u64::from(words[1]);
        ((u128::from(wide) * bound as u128) >> 64) as usize
    }

    /// Shuffles `items` in place (Fisher-Yates).
    pub fn shuffle<T>(&self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last, last + 1));
        }
    }
}

/// Ten rounds of Philox 4x32.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for _ in 0..10 {
        let wide0 = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let wide1 = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (wide1 >> 32) as u32 ^ counter[1] ^ key[0],
            wide1 as u32,
            (wide0 >> 32) as u32 ^ counter[3] ^ key[1],
            wide0 as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// The midpoint of the word's cell in (0, 1); 24 bits, so that it is exact in f32 and never 1.
fn unit(word: u32) -> f64 {
    (f64::from(word >> 8) + 0.5) / f64::from(1u32 << 24)
}

/// Box-Muller on two pairs of words, in f64 so that the f32 result does not depend on a device's sine.
fn normals(words: [u32; 4]) -> [f32; 4] {
    let pair = |radius: u32, angle: u32| {
        let r = (-2.0 * unit(radius).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * unit(angle)).sin_cos();
        [(r * cos) as f32, (r * sin) as f32]
    };
    let [a, b] = pair(words[0], words[1]);
    let [c, d] = pair(words[2], words[3]);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the authors' Random123 distribution (kat_vectors, philox4x32 10).
    #[test]
    fn philox_matches_its_authors_vectors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let mut draws = vec![0.0f32; 100_000];
        Stream::new(7, Purpose::Noise, 0, 3, 1).fill_normal(&mut draws);
        let mean = draws.iter().map(|&x| f64::from(x)).sum::<f64>() / 1e5;
        let variance = draws.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 3.0 / 1e5f64.sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 3.0 * (2.0f64 / 1e5).sqrt(), "variance {variance}");
    }

    #[test]
    fn one_element_equals_the_same_element_of_a_fill() {
        let stream = Stream::new(u64::MAX, Purpose::Latent, 5, 9, 2);
        let mut draws = vec![0.0f32; 11];
        stream.fill_normal(&mut draws);
        for (i, &draw) in draws.iter().enumerate() {
            assert_eq!(draw, stream.normal(i));
        }
    }

    #[test]
    fn a_shuffle_is_a_permutation_that_depends_on_the_epoch() {
        let order = |epoch| {
            let mut items: Vec<usize> = (0..50).collect();
            Stream::new(1, Purpose::EpochOrder, 0, epoch, 0).shuffle(&mut items);
            items
        };
        let mut sorted = order(0);
        assert_ne!(order(0), order(1));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }
}
