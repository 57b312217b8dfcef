//! Strings: plain runs, escapes, surrogate pairs.

use super::parse::Parser;
use super::scan::plain_run;
use super::{JsonFault, JsonFaultKind as Kind};

impl Parser<'_> {
    pub(super) fn string(&mut self) -> Result<Box<str>, JsonFault> {
        self.take(b'"')?;
        let start = self.at;
        self.at += plain_run(self.rest());
        if self.peek() == Some(b'"') {
            let plain = self.since(start);
            self.at += 1;
            return Ok(plain.into());
        }
        let mut out = String::from(self.since(start));
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => out.push(self.escape()?),
                Some(0..0x20) => return Err(self.fault(Kind::Control)),
                Some(_) => {
                    let run = self.at;
                    self.at += plain_run(self.rest());
                    out.push_str(self.since(run));
                }
                None => return Err(self.fault(Kind::Syntax)),
            }
        }
        self.at += 1;
        Ok(out.into())
    }

    /// One escape sequence, `\` included; a surrogate pair is one.
    fn escape(&mut self) -> Result<char, JsonFault> {
        self.take(b'\\')?;
        let plain = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.fault(Kind::Syntax)),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, JsonFault> {
        let start = self.at;
        let lone = JsonFault { kind: Kind::LoneSurrogate, at: start };
        let first = self.hex4()?;
        let code = match first {
            0xd800..0xdc00 => {
                if !self.rest().starts_with(b"\\u") {
                    return Err(lone);
                }
                self.at += 1;
                let second = self.hex4()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return Err(lone);
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            _ => first,
        };
        char::from_u32(code).ok_or(lone)
    }

    /// `u` and exactly four hex digits.
    fn hex4(&mut self) -> Result<u32, JsonFault> {
        self.take(b'u')?;
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.fault(Kind::Syntax))?;
            self.at += 1;
        }
        Ok(code)
    }
}
