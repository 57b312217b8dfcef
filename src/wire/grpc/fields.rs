//! The fields of one protobuf message, in the order they were written (protobuf encoding, "Message structure").

/// The value of one field, as far as the encoding itself tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire<'a> {
    /// `VARINT`
    Varint(u64),
    /// `I64`, little endian.
    Fixed64(u64),
    /// `LEN`: a string, bytes, a message.
    Bytes(&'a [u8]),
    /// `I32`, little endian.
    Fixed32(u32),
}

/// Why bytes are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WireFault {
    /// The message ends inside of a field.
    #[error("a field is cut off")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("a number is too long")]
    Varint,
    /// Field number 0, or beyond 2^29-1.
    #[error("no such field number")]
    Number,
    /// A group, which proto3 does not have, or a wire type that does not exist.
    #[error("a wire type that proto3 does not have")]
    Type,
}

/// Walks over the fields of a message.
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The next field: its number and value; `None` at the end.
    ///
    /// # Errors
    /// [`WireFault`], after which nothing more can be read.
    pub fn next_field(&mut self) -> Result<Option<(u32, Wire<'a>)>, WireFault> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).ok().filter(|n| (1..1 << 29).contains(n)).ok_or(WireFault::Number)?;
        let value = match key & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_too_long| WireFault::Truncated)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(WireFault::Type),
        };
        Ok(Some((number, value)))
    }

    fn varint(&mut self) -> Result<u64, WireFault> {
        let mut value = 0_u64;
        for at in 0..10 {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte holds one bit.
            if at == 9 && byte > 1 {
                return Err(WireFault::Varint);
            }
            value |= bits << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireFault::Varint)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireFault> {
        let (array, rest) = self.0.split_first_chunk().ok_or(WireFault::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireFault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(WireFault::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}
