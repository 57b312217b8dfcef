//! Fields in a row, each with its length: what is sealed, and what that is bound to. Of two rows of fields no two are
//! written alike.

/// Fields as they are written.
#[derive(Debug, Clone, Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// A small number.
    pub fn byte(&mut self, byte: u8) -> &mut Self {
        self.0.push(byte);
        self
    }

    /// A number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// A text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        // Lengths are short more often than not: seven bits in each byte, as in LEB128.
        let mut rest = text.len();
        loop {
            let [low, ..] = rest.to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                self.0.push(low & 0x7f);
                break;
            }
            self.0.push(low | 0x80);
        }
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// A text that may not be there.
    pub fn maybe(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            None => self.byte(0),
            Some(text) => self.byte(1).text(text),
        }
    }

    /// All of them.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Fields as they are read: none where there is no such field.
#[derive(Debug)]
pub struct Reading<'a>(&'a [u8]);

impl<'a> Reading<'a> {
    /// From the first one.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// See [`Fields::byte`].
    pub fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// See [`Fields::number`].
    pub fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    /// See [`Fields::text`].
    pub fn text(&mut self) -> Option<&'a str> {
        let (mut length, mut shift) = (0_usize, 0_u32);
        loop {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 28 {
                return None;
            }
        }
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// See [`Fields::maybe`].
    pub fn maybe(&mut self) -> Option<Option<&'a str>> {
        match self.byte()? {
            0 => Some(None),
            1 => Some(Some(self.text()?)),
            _ => None,
        }
    }

    /// Whether that was all.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}
