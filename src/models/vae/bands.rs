//! How many output rows of a convolution are computed at a time.

/// Scratch memory that one lane may use where bands are chosen automatically.
const LANE_BYTES: usize = 64 << 20;

/// Bands of one picture where they are chosen automatically: enough for many threads.
const BANDS: usize = 64;

/// Fewer rows than these repeat too much of the work at their edges.
const LEAST_ROWS: usize = 8;

/// Rows of a band: `setting`, or if that is 0 a choice by the picture alone, never by the machine.
pub fn band_rows(setting: usize, output_rows: usize, bytes_a_row: usize) -> usize {
    if setting > 0 {
        return setting;
    }
    let fitting = LANE_BYTES / bytes_a_row.max(1);
    output_rows.div_ceil(BANDS).max(LEAST_ROWS).min(fitting).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_as_set_or_fit_into_a_lane() {
        assert_eq!(band_rows(3, 128, 1), 3);
        assert_eq!(band_rows(0, 128, 1 << 10), LEAST_ROWS);
        assert_eq!(band_rows(0, 1024, 1 << 10), 16);
        assert_eq!(band_rows(0, 4096, 32 << 20), 2);
        assert_eq!(band_rows(0, 4096, 1 << 30), 1);
    }
}
