//! Whether a JPEG file is whole: decoders paint what is missing grey and say nothing.

/// End of image.
const END_OF_IMAGE: u8 = 0xD9;

/// Whether the markers of a JPEG stream lead to an end-of-image marker (ITU-T T.81, annex B).
///
/// Segments are stepped over by their length, so the end of a thumbnail inside one does not count, and
/// bytes after the end are allowed.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some((marker, after)) = next_marker(rest) {
        match marker {
            END_OF_IMAGE => return true,
            // Temporary marker and restarts stand alone.
            0x01 | 0xD0..=0xD8 => rest = after,
            _ => {
                let length = after.get(..2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
                let Some(next) = length.and_then(|length| after.get(length.max(2)..)) else { return false };
                rest = next;
            }
        }
    }
    false
}

/// The next marker's code and the bytes after it. Entropy-coded data before it is passed over: in it 0xFF is
/// followed by a zero, or by 0xFF as fill.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let is_marker = |pair: &[u8]| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF);
    let at = bytes.windows(2).position(is_marker)?;
    Some((bytes[at + 1], &bytes[at + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SOI, an application segment that holds a whole thumbnail, a scan with stuffing and a restart, EOI.
    const WHOLE: &[u8] = &[
        0xFF, 0xD8, 0xFF, 0xE1, 0x00, 0x06, 0xFF, 0xD8, 0xFF, 0xD9, 0xFF, 0xFF, 0xDA, 0x00, 0x04, 1, 2, 7,
        0xFF, 0x00, 8, 0xFF, 0xD3, 9, 0xFF, 0xD9,
    ];

    #[test]
    fn only_a_stream_with_its_own_end_is_whole() {
        assert!(is_whole(WHOLE));
        for length in 0..WHOLE.len() {
            assert!(!is_whole(&WHOLE[..length]), "cut to {length} bytes");
        }
    }

    #[test]
    fn bytes_after_the_end_are_allowed() {
        assert!(is_whole(&[WHOLE, &[0, 0, 1, 2, 3][..]].concat()));
    }
}
