//! Finds the end of a head, each byte looked at once however the bytes arrive. Judges bytes and line ends, nothing else.

use super::fault::{HeadFault, LineFault};
use crate::config::limits::MAX_HEAD;

/// Where the search stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Scanner {
    at: usize,
    line: usize,
    after_cr: bool,
}

impl Scanner {
    /// Looks at what is new in `buffer`, which begins with the head: its length, with the empty line, once it is whole.
    pub(super) fn advance(&mut self, buffer: &[u8]) -> Result<Option<usize>, HeadFault> {
        while let Some(byte) = buffer.get(self.at) {
            if !self.after_cr {
                let run = printable(buffer.get(self.at..buffer.len().min(MAX_HEAD)).unwrap_or_default());
                if run > 0 {
                    self.at += run;
                    self.line += run;
                    continue;
                }
            }
            if self.at >= MAX_HEAD {
                return Err(HeadFault::TooLarge);
            }
            self.at += 1;
            match (self.after_cr, byte) {
                (true, b'\n') if self.line == 0 => return Ok(Some(self.at)),
                (true, b'\n') => {
                    self.after_cr = false;
                    self.line = 0;
                }
                (true, _) => return Err(LineFault::BareCr.into()),
                (false, b'\r') => self.after_cr = true,
                (false, b'\n') => return Err(LineFault::BareLf.into()),
                (false, b'\t' | b' '..=b'~') => self.line += 1,
                (false, _) => return Err(LineFault::Byte.into()),
            }
        }
        Ok(None)
    }
}

/// Bytes before the first that is not of `' '..='~'`, eight at a time; fewer than eight at the end are left to be looked
/// at.
fn printable(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let (words, _) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // What is borrowed or carried marks bytes above a marked one only, so the lowest mark is right.
        let below = word.wrapping_sub(ONES * 0x20) & !word;
        // 0x7f becomes 0x80.
        let above = word | word.wrapping_add(ONES);
        let marked = (below | above) & HIGHS;
        if marked != 0 {
            return at * 8 + (marked.trailing_zeros() / 8) as usize;
        }
    }
    words.len() * 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_at_a_time_is_as_one_by_one() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                let mut bytes = [b'a'; 16];
                bytes[at] = byte;
                let plain = matches!(byte, b' '..=b'~');
                assert_eq!(printable(&bytes), if plain { 16 } else { at }, "{byte} at {at}");
                bytes = [b'~'; 16];
                bytes[8 + at] = byte;
                assert_eq!(printable(&bytes), if plain { 16 } else { 8 + at }, "{byte} at {at}");
            }
        }
    }
}
