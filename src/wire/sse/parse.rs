//! Bytes, in whatever pieces they come, to frames.

use super::{Event, Frame, SseFault, before_line_end};
use crate::config::limits::MAX_EVENT;

const MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads one stream.
#[derive(Debug)]
pub struct Parser {
    limit: usize,
    /// The line that has begun.
    line: Vec<u8>,
    /// Bytes of the block so far, without `line` and line ends.
    held: usize,
    block: Event,
    data: Option<String>,
    /// The last byte was CR: an LF now belongs to it.
    after_cr: bool,
    first_line: bool,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new(MAX_EVENT)
    }
}

impl Parser {
    /// Reads blocks of up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let (line, block) = (Vec::new(), Event::default());
        Self { limit, line, held: 0, block, data: None, after_cr: false, first_line: true }
    }

    /// Bytes held of the block that has begun.
    pub fn held(&self) -> usize {
        self.held + self.line.len()
    }

    /// Reads on, and appends what is complete. What is left at the end of the stream is to be dropped.
    ///
    /// # Errors
    /// [`SseFault`], after which the stream must end.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Frame>) -> Result<(), SseFault> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                bytes = rest;
                continue;
            }
            let (part, rest) = bytes.split_at_checked(before_line_end(bytes)).unwrap_or((bytes, &[]));
            if self.held + self.line.len() + part.len() > self.limit {
                return Err(SseFault::TooLarge);
            }
            let Some((end, rest)) = rest.split_first() else {
                self.line.extend_from_slice(part);
                return Ok(());
            };
            self.after_cr = *end == b'\r';
            bytes = rest;
            if self.line.is_empty() {
                self.line(part, out)?;
            } else {
                self.line.extend_from_slice(part);
                let whole = std::mem::take(&mut self.line);
                self.line(&whole, out)?;
            }
        }
        Ok(())
    }

    /// A whole line, without its end.
    fn line(&mut self, mut line: &[u8], out: &mut Vec<Frame>) -> Result<(), SseFault> {
        if std::mem::take(&mut self.first_line) {
            line = line.strip_prefix(MARK).unwrap_or(line);
        }
        if line.is_empty() {
            self.end_of_block(out);
            return Ok(());
        }
        if line.starts_with(b":") {
            out.push(Frame::Comment);
            return Ok(());
        }
        self.held += line.len();
        let line = std::str::from_utf8(line).map_err(|_invalid| SseFault::NotUtf8)?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        self.field(field, value.strip_prefix(' ').unwrap_or(value));
        Ok(())
    }

    fn field(&mut self, field: &str, value: &str) {
        match field {
            "event" => self.block.event = Some(value).filter(|v| !matches!(*v, "" | "message")).map(Into::into),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.block.id = Some(value.into()),
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => {
                self.block.retry = value.parse().ok().or(self.block.retry);
            }
            _ => {}
        }
    }

    fn end_of_block(&mut self, out: &mut Vec<Frame>) {
        let mut event = std::mem::take(&mut self.block);
        event.data = self.data.take().map(Into::into);
        self.held = 0;
        if event.data.is_none() {
            // Without data a name has no meaning, not even to the next block.
            event.event = None;
        }
        if event != Event::default() {
            out.push(Frame::Event(event));
        }
    }
}
