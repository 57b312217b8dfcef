//! Length-prefixed messages (gRPC over HTTP/2, "Length-Prefixed-Message"): one flag, four bytes of length, the message.

use bytes::{Buf as _, Bytes, BytesMut};

const PREFIX: usize = 5;

/// Why a body is not the messages that it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameFault {
    /// The compressed-flag is set. None is decompressed: what is decided on is what was sent.
    #[error("compressed messages are not taken here")]
    Compressed,
    /// A flag that is neither 0 nor 1.
    #[error("no such message flag")]
    Flag,
    /// No message, or one that is cut off.
    #[error("the message is not whole")]
    Truncated,
    /// A second message, where the call has one.
    #[error("more than one message")]
    Several,
    /// Longer than the limit.
    #[error("the message is too large")]
    TooLarge,
}

/// The one message of a unary request.
///
/// # Errors
/// [`FrameFault`] for none, several, a compressed or a truncated one.
pub fn only_message(body: &[u8]) -> Result<&[u8], FrameFault> {
    let (prefix, rest) = body.split_first_chunk::<PREFIX>().ok_or(FrameFault::Truncated)?;
    let [flag, length @ ..] = *prefix;
    check_flag(flag)?;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_too_long| FrameFault::TooLarge)?;
    match rest.len() {
        len if len < length => Err(FrameFault::Truncated),
        len if len > length => Err(FrameFault::Several),
        _ => Ok(rest),
    }
}

fn check_flag(flag: u8) -> Result<(), FrameFault> {
    match flag {
        0 => Ok(()),
        1 => Err(FrameFault::Compressed),
        _ => Err(FrameFault::Flag),
    }
}

/// The messages of a stream, in whatever pieces they come; each is given whole with its prefix, as it came.
#[derive(Debug)]
pub struct Frames {
    held: BytesMut,
    limit: usize,
}

impl Frames {
    /// For messages of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { held: BytesMut::new(), limit }
    }

    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Bytes held of messages that are not whole yet, or not taken yet.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The next whole message: with its prefix, and without.
    ///
    /// # Errors
    /// [`FrameFault`], after which the stream must end.
    pub fn next_frame(&mut self) -> Result<Option<(Bytes, Bytes)>, FrameFault> {
        let Some(prefix) = self.held.first_chunk::<PREFIX>() else { return Ok(None) };
        let [flag, length @ ..] = *prefix;
        check_flag(flag)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_too_long| FrameFault::TooLarge)?;
        if length > self.limit {
            return Err(FrameFault::TooLarge);
        }
        if self.held.len() < PREFIX + length {
            return Ok(None);
        }
        let whole = self.held.split_to(PREFIX + length).freeze();
        let mut message = whole.clone();
        message.advance(PREFIX);
        Ok(Some((whole, message)))
    }
}
