//! Server-sent events (WHATWG HTML, "Server-sent events"): bytes to events, events to one canonical form.
//!
//! Lines may end in CR, LF or CRLF; a byte order mark at the start is dropped; an event that the stream's end cuts off
//! is dropped. What clients read differently (bare CR, the mark, a dangling event) never leaves here.

mod parse;
mod write;

#[cfg(test)]
mod tests;

pub use parse::Parser;

use crate::fault::{Blame, Faulty, Retry, Stage};

/// One block of a stream. At least one part is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// `event`, where it is neither absent nor empty nor `message`.
    pub event: Option<Box<str>>,
    /// `id`, where the block has one.
    pub id: Option<Box<str>>,
    /// `data`, lines joined with LF; empty is not absent: a priming event has an id and empty data.
    pub data: Option<Box<str>>,
    /// `retry` in milliseconds.
    pub retry: Option<u64>,
}

impl Event {
    /// A message with `data`, under `id`.
    pub fn message(id: Option<&str>, data: &str) -> Self {
        Self { event: None, id: id.map(Into::into), data: Some(data.into()), retry: None }
    }

    /// The data of a message event, not of one with another name; `None` too where it is empty.
    pub fn as_message(&self) -> Option<&str> {
        self.data.as_deref().filter(|data| self.event.is_none() && !data.is_empty())
    }
}

/// What a stream is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A block.
    Event(Event),
    /// A comment, which servers send to keep a connection alive; its text is dropped.
    Comment,
}

/// A stream that cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SseFault {
    /// A block beyond the bound.
    #[error("event too large")]
    TooLarge,
    /// A line that is not UTF-8.
    #[error("event is not UTF-8")]
    NotUtf8,
}

impl Faulty for SseFault {
    fn blame(&self) -> Blame {
        Blame::Upstream
    }

    fn retry(&self) -> Retry {
        Retry::Unsafe
    }

    fn stage(&self) -> Stage {
        Stage::Forward
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge => "sse_too_large",
            Self::NotUtf8 => "sse_not_utf8",
        }
    }
}

/// Bytes before the first CR or LF, eight at a time.
fn before_line_end(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    /// The high bit of each byte that may be zero: of the lowest that is one it is set, below that none is.
    fn zero(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word & (ONES << 7)
    }
    let (words, tail) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let end = zero(word ^ (ONES * u64::from(b'\n'))) | zero(word ^ (ONES * u64::from(b'\r')));
        if end != 0 {
            return at * 8 + (end.trailing_zeros() / 8) as usize;
        }
    }
    words.len() * 8 + tail.iter().take_while(|b| !matches!(b, b'\n' | b'\r')).count()
}
