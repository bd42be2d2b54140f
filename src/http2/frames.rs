//! Counting frames in what arrives, without decoding them.

/// The length of a frame's header (RFC 9113, 4.1). Its first three bytes are the length of the payload.
const HEADER: usize = 9;

/// Counts the frames in a sequence of bytes.
#[derive(Default)]
pub struct FrameCounter {
    /// Bytes of the current header that have arrived.
    header: usize,
    /// The length of the payload, as far as it is known.
    length: usize,
    /// Bytes of the current payload that are still to arrive.
    payload: usize,
}

impl FrameCounter {
    /// Returns how many headers are complete with these bytes.
    pub fn count(&mut self, mut bytes: &[u8]) -> u32 {
        let mut count = 0;
        loop {
            let of_payload = self.payload.min(bytes.len());
            self.payload -= of_payload;
            bytes = &bytes[of_payload..];
            if bytes.is_empty() {
                return count;
            }
            let of_header = (HEADER - self.header).min(bytes.len());
            for (index, &byte) in bytes[..of_header].iter().enumerate().take(3_usize.saturating_sub(self.header)) {
                let shift = 8 * (2 - self.header - index);
                self.length |= usize::from(byte) << shift;
            }
            self.header += of_header;
            bytes = &bytes[of_header..];
            if self.header == HEADER {
                count += 1;
                *self = Self { header: 0, length: 0, payload: self.length };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_wherever_their_bytes_are_cut() {
        let mut bytes = Vec::new();
        for length in [0, 8, 70_000, 0, 0, 300, 1] {
            let [.., high, middle, low] = u32::to_be_bytes(length);
            bytes.extend_from_slice(&[high, middle, low, 6, 0, 0xff, 0xff, 0xff, 0xff]);
            bytes.resize(bytes.len() + length as usize, 0xff);
        }
        for size in [1, 2, 3, 4, 8, 9, 10, 17, 1000, bytes.len()] {
            let mut frames = FrameCounter::default();
            assert_eq!(bytes.chunks(size).map(|part| frames.count(part)).sum::<u32>(), 7, "{size}");
        }
    }
}
