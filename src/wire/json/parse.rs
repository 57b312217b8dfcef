//! Bytes to [`Value`]: recursive descent, its depth bounded by `MAX_DEPTH`.

use std::collections::HashSet;

use super::{JsonFault, JsonFaultKind as Kind};
use crate::call::{Number, Object, Value};
use crate::config::limits::{MAX_DEPTH, MAX_NODES};

/// Objects up to this many keys are checked for duplicates pair by pair, larger ones by hashing.
const FEW_KEYS: usize = 16;
/// An integer of fewer digits is below 1e308, finite as a double without a look.
const SURELY_FINITE: usize = 300;

/// Reads exactly one JSON value, with white space around it.
///
/// # Errors
/// [`JsonFault`] with the offset for everything that RFC 8259 does not allow, and beyond it for duplicate keys, lone
/// surrogates, NUL in keys, numbers that are not finite as doubles, and more than `MAX_DEPTH` levels or `MAX_NODES`
/// values.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonFault> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonFault { kind: Kind::ByteOrderMark, at: 0 });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| JsonFault { kind: Kind::NotUtf8, at: e.valid_up_to() })?;
    let mut parser = Parser { text, at: 0, depth: 0, nodes: 0 };
    parser.skip_white();
    let value = parser.value()?;
    parser.skip_white();
    if parser.at < text.len() {
        return Err(parser.fault(Kind::Trailing));
    }
    Ok(value)
}

/// Where the reading stands.
pub(super) struct Parser<'a> {
    text: &'a str,
    pub(super) at: usize,
    depth: usize,
    nodes: usize,
}

impl<'a> Parser<'a> {
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
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub(super) fn take(&mut self, byte: u8) -> Result<(), JsonFault> {
        if self.peek() != Some(byte) {
            return Err(self.fault(Kind::Syntax));
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self) -> Result<Value, JsonFault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.fault(Kind::TooMany));
        }
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.fault(Kind::Syntax)),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonFault> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.fault(Kind::Syntax));
        }
        self.at += word.len();
        Ok(value)
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, JsonFault>) -> Result<Value, JsonFault> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(Kind::TooDeep));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Value, JsonFault> {
        self.take(b'[')?;
        let mut items = Vec::new();
        self.skip_white();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.skip_white();
            items.push(self.value()?);
            self.skip_white();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.fault(Kind::Syntax)),
            }
        }
        self.at += 1;
        Ok(Value::Array(items))
    }

    fn object(&mut self) -> Result<Value, JsonFault> {
        let start = self.at;
        self.take(b'{')?;
        let mut pairs = Vec::new();
        self.skip_white();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(Object::new()));
        }
        loop {
            self.skip_white();
            let key_at = self.at;
            let key = self.string()?;
            if key.as_bytes().contains(&0) {
                return Err(JsonFault { kind: Kind::Control, at: key_at });
            }
            self.skip_white();
            self.take(b':')?;
            self.skip_white();
            pairs.push((key, self.value()?));
            self.skip_white();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.fault(Kind::Syntax)),
            }
        }
        self.at += 1;
        if !all_unique(&pairs) {
            return Err(JsonFault { kind: Kind::DuplicateKey, at: start });
        }
        Ok(Value::Object(Object::from_unique(pairs)))
    }

    fn number(&mut self) -> Result<Value, JsonFault> {
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
        let text = self.since(start);
        if !surely_finite && !text.parse().is_ok_and(f64::is_finite) {
            return Err(JsonFault { kind: Kind::NotFinite, at: start });
        }
        Ok(Value::Number(Number::from_valid(text)))
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

fn all_unique(pairs: &[(Box<str>, Value)]) -> bool {
    if pairs.len() > FEW_KEYS {
        let mut seen = HashSet::with_capacity(pairs.len());
        return pairs.iter().all(|(key, _)| seen.insert(&**key));
    }
    let mut rest = pairs;
    while let Some(((key, _), others)) = rest.split_first() {
        if others.iter().any(|(other, _)| other == key) {
            return false;
        }
        rest = others;
    }
    true
}
