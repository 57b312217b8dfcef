//! The chunked coding (RFC 9112 section 7.1), strictly: no blanks around sizes, CRLF only, extensions and trailers read
//! and dropped, and no more framing than data deserves.

use bytes::{Buf, BytesMut};

use super::body::{DecodeFault, Piece, take};
use crate::config::limits::MAX_CHUNK_OVERHEAD;

/// Framing that is free with each chunk, bytes: a size, a short extension, line ends.
const FREE_PER_CHUNK: usize = 24;
/// Hexadecimal digits of a size.
const MAX_DIGITS: u8 = 16;

/// Where in a chunked body the decoder stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunked {
    state: State,
    left: u64,
    digits: u8,
    overhead: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer line, or of the empty line that ends the body.
    Line,
    Name,
    Value,
    ValueLf,
    EndLf,
    Over,
}

impl Chunked {
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    pub(super) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Piece, DecodeFault> {
        loop {
            if self.state == State::Over {
                return Ok(Piece::End);
            }
            if self.state == State::Data {
                let piece = take(&mut self.left, buffer);
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                if let Piece::Data(data) = &piece {
                    self.overhead = self.overhead.saturating_sub(data.len());
                }
                return Ok(piece);
            }
            let Some(byte) = buffer.first().copied() else { return Ok(Piece::More) };
            buffer.advance(1);
            self.state = self.step(byte)?;
        }
    }

    /// One framing byte.
    fn step(&mut self, byte: u8) -> Result<State, DecodeFault> {
        self.overhead += 1;
        if self.overhead > MAX_CHUNK_OVERHEAD {
            return Err(DecodeFault::Overhead);
        }
        match (self.state, byte) {
            (State::Size, b'\r' | b';') if self.digits == 0 => Err(DecodeFault::Size),
            (State::Size, b'\r') => Ok(State::SizeLf),
            (State::Size, b';') => Ok(State::Extension),
            (State::Size, _) => self.digit(byte),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, b'\n') => Err(DecodeFault::LineEnd),
            (State::Extension, b'\t' | b' '..=b'~') => Ok(State::Extension),
            (State::Extension, _) => Err(DecodeFault::Extension),
            (State::SizeLf, b'\n') => Ok(self.sized()),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::Line, b'\r') => Ok(State::EndLf),
            (State::Line | State::Name, _) if is_token(byte) => Ok(State::Name),
            (State::Name, b':') => Ok(State::Value),
            (State::Value, b'\r') => Ok(State::ValueLf),
            (State::Value, b'\t' | b' '..=b'~') => Ok(State::Value),
            (State::ValueLf, b'\n') => Ok(State::Line),
            (State::EndLf, b'\n') => Ok(State::Over),
            (State::Line | State::Name | State::Value, _) => Err(DecodeFault::Trailer),
            _ => Err(DecodeFault::LineEnd),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, DecodeFault> {
        let digit = char::from(byte).to_digit(16).ok_or(DecodeFault::Size)?;
        self.digits += 1;
        if self.digits > MAX_DIGITS {
            return Err(DecodeFault::Size);
        }
        // Sixteen digits fill a u64 and do not overflow it.
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn sized(&mut self) -> State {
        self.digits = 0;
        self.overhead = self.overhead.saturating_sub(FREE_PER_CHUNK);
        if self.left == 0 { State::Line } else { State::Data }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
