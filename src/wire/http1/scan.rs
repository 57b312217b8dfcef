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
        for byte in buffer.get(self.at..).unwrap_or_default() {
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
