//! Bytes to [`Value`]: recursive descent, its depth bounded by `MAX_DEPTH`.
//!
//! All of a text is checked in one pass, which notes where each value stands and what it leaves as. Values themselves are
//! read when they are asked for (`call`).

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::{JsonFault, JsonFaultKind as Kind};
use crate::call::{Decoded, Indexed, Node, Value};
use crate::config::limits::{MAX_DEPTH, MAX_NODES};

/// Objects up to this many keys are checked for duplicates pair by pair, larger ones by hashing.
const FEW_KEYS: usize = 16;
/// An integer of fewer digits is below 1e308, finite as a double without a look.
const SURELY_FINITE: usize = 300;
/// Bytes of text for each place that is made ready for a value: more than most messages need.
const BYTES_PER_NODE: usize = 12;

/// Reads exactly one JSON value, with white space around it.
///
/// # Errors
/// [`JsonFault`] with the offset for everything that RFC 8259 does not allow, and beyond it for duplicate keys, lone
/// surrogates, NUL in keys, numbers that are not finite as doubles, more than `MAX_DEPTH` levels or `MAX_NODES` values,
/// and texts of 4 GiB.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonFault> {
    parse_into(bytes, None)
}

/// The same of a message that rules look at: strings with escapes are decoded at once, so that to decide needs no memory.
///
/// # Errors
/// As [`parse`].
pub fn parse_call(bytes: &[u8]) -> Result<Value, JsonFault> {
    parse_into(bytes, Some(Decoded::default()))
}

fn parse_into(bytes: &[u8], decoded: Option<Decoded>) -> Result<Value, JsonFault> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonFault { kind: Kind::ByteOrderMark, at: 0 });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| JsonFault { kind: Kind::NotUtf8, at: e.valid_up_to() })?;
    if u32::try_from(text.len()).is_err() {
        return Err(JsonFault { kind: Kind::TooMany, at: 0 });
    }
    let mut parser = Parser::new(text, decoded);
    parser.skip_white();
    parser.value()?;
    parser.skip_white();
    if parser.at < text.len() {
        return Err(parser.fault(Kind::Trailing));
    }
    Ok(Arc::new(parser.finish()).root())
}

/// Where the reading stands.
pub(super) struct Parser<'a> {
    text: &'a str,
    pub(super) at: usize,
    depth: usize,
    values: usize,
    nodes: Vec<Node>,
    /// Keys of the objects that are open, decoded.
    keys: Vec<Cow<'a, str>>,
    /// What was read so far as it leaves, up to `kept_to`; from there on the text itself is.
    written: String,
    kept_to: usize,
    /// Strings with escapes, where they are wanted.
    pub(super) decoded: Option<Decoded>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, decoded: Option<Decoded>) -> Self {
        let nodes = Vec::with_capacity(text.len() / BYTES_PER_NODE + 8);
        let (keys, written) = (Vec::new(), String::new());
        Self { text, at: 0, depth: 0, values: 0, nodes, keys, written, kept_to: 0, decoded }
    }

    fn finish(mut self) -> Indexed {
        let rest = self.text.get(self.kept_to..).unwrap_or_default();
        let decoded = self.decoded.unwrap_or_default();
        if self.written.is_empty() {
            return Indexed::new(rest.into(), self.nodes, decoded);
        }
        self.written.push_str(rest);
        Indexed::new(self.written.into(), self.nodes, decoded)
    }

    /// The text from `from` to here leaves as `instead`.
    pub(super) fn replace(&mut self, from: usize, instead: &str) {
        if self.written.capacity() == 0 {
            self.written.reserve(self.text.len());
        }
        self.written.push_str(self.text.get(self.kept_to..from).unwrap_or_default());
        self.written.push_str(instead);
        self.kept_to = self.at;
    }

    /// Where in what leaves this place is. Never more than in the text, which is shorter than 4 GiB.
    fn place(&self) -> u32 {
        u32::try_from(self.written.len() + self.at - self.kept_to).unwrap_or(u32::MAX)
    }

    pub(super) fn fault(&self, kind: Kind) -> JsonFault {
        JsonFault { kind, at: self.at }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The text from `start` to here; both stand beside ASCII, so on character boundaries.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn skip_white(&mut self) {
        let from = self.at;
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
        if self.at > from {
            self.replace(from, "");
        }
    }

    pub(super) fn take(&mut self, byte: u8) -> Result<(), JsonFault> {
        if self.peek() != Some(byte) {
            return Err(self.fault(Kind::Syntax));
        }
        self.at += 1;
        Ok(())
    }

    /// Notes that a value or key begins here.
    fn open(&mut self) -> usize {
        let start = self.place();
        self.nodes.push(Node { start, end: start, next: 0, len: 0 });
        self.nodes.len() - 1
    }

    /// Notes that it ends here.
    fn close(&mut self, opened: usize, len: usize) {
        let (end, next) = (self.place(), self.nodes.len());
        if let Some(node) = self.nodes.get_mut(opened) {
            node.end = end;
            // There are at most twice `MAX_NODES`.
            node.next = u32::try_from(next).unwrap_or(u32::MAX);
            node.len = u32::try_from(len).unwrap_or(u32::MAX);
        }
    }

    fn value(&mut self) -> Result<(), JsonFault> {
        self.values += 1;
        if self.values > MAX_NODES {
            return Err(self.fault(Kind::TooMany));
        }
        let opened = self.open();
        let len = match self.peek() {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return Err(self.fault(Kind::Syntax)),
        };
        self.close(opened, len);
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<usize, JsonFault> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.fault(Kind::Syntax));
        }
        self.at += word.len();
        Ok(0)
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<usize, JsonFault>) -> Result<usize, JsonFault> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(Kind::TooDeep));
        }
        self.depth += 1;
        let len = read(self)?;
        self.depth -= 1;
        Ok(len)
    }

    fn array(&mut self) -> Result<usize, JsonFault> {
        self.take(b'[')?;
        self.skip_white();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(0);
        }
        let mut len = 0;
        loop {
            self.skip_white();
            self.value()?;
            len += 1;
            self.skip_white();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.fault(Kind::Syntax)),
            }
        }
        self.at += 1;
        Ok(len)
    }

    fn object(&mut self) -> Result<usize, JsonFault> {
        let start = self.at;
        let outer = self.keys.len();
        self.take(b'{')?;
        self.skip_white();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(0);
        }
        loop {
            self.skip_white();
            self.key()?;
            self.skip_white();
            self.take(b':')?;
            self.skip_white();
            self.value()?;
            self.skip_white();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.fault(Kind::Syntax)),
            }
        }
        self.at += 1;
        let keys = self.keys.get(outer..).unwrap_or_default();
        if !all_unique(keys) {
            return Err(JsonFault { kind: Kind::DuplicateKey, at: start });
        }
        let len = keys.len();
        self.keys.truncate(outer);
        Ok(len)
    }

    fn key(&mut self) -> Result<(), JsonFault> {
        let key_at = self.at;
        let opened = self.open();
        let key = self.text()?;
        if key.as_bytes().contains(&0) {
            return Err(JsonFault { kind: Kind::Control, at: key_at });
        }
        let number = match (&key, &mut self.decoded) {
            (Cow::Owned(key), Some(decoded)) => {
                let number = decoded.begin();
                decoded.push(key);
                number
            }
            _ => 0,
        };
        self.keys.push(key);
        self.close(opened, number);
        Ok(())
    }

    fn number(&mut self) -> Result<usize, JsonFault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.at;
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        let mut surely_finite = self.at - whole < SURELY_FINITE;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
            surely_finite = false;
        }
        if !surely_finite && !self.since(start).parse().is_ok_and(f64::is_finite) {
            return Err(JsonFault { kind: Kind::NotFinite, at: start });
        }
        Ok(0)
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonFault> {
        let run = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        if run == 0 {
            return Err(self.fault(Kind::Syntax));
        }
        self.at += run;
        Ok(())
    }
}

fn all_unique(keys: &[Cow<'_, str>]) -> bool {
    if keys.len() > FEW_KEYS {
        let mut seen = HashSet::with_capacity(keys.len());
        return keys.iter().all(|key| seen.insert(&**key));
    }
    let mut rest = keys;
    while let Some((key, others)) = rest.split_first() {
        if others.contains(key) {
            return false;
        }
        rest = others;
    }
    true
}
