//! Strings: plain runs, escapes, surrogate pairs.

use std::borrow::Cow;

use super::parse::Parser;
use super::scan::plain_run;
use super::write::escape;
use super::{JsonFault, JsonFaultKind as Kind};

impl<'a> Parser<'a> {
    /// A string of which only its place is noted; its number among those that are decoded, 0 where it is not.
    pub(super) fn string(&mut self) -> Result<usize, JsonFault> {
        self.take(b'"')?;
        let (mut run, mut number) = (self.at, 0);
        loop {
            self.at += plain_run(self.rest());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    let plain = self.since(run);
                    let character = self.escape()?;
                    run = self.at;
                    if let Some(decoded) = &mut self.decoded {
                        if number == 0 {
                            number = decoded.begin();
                        }
                        decoded.push(plain);
                        decoded.push(character.encode_utf8(&mut [0; 4]));
                    }
                }
                Some(_) => return Err(self.fault(Kind::Control)),
                None => return Err(self.fault(Kind::Syntax)),
            }
        }
        let last = self.since(run);
        if let Some(decoded) = self.decoded.as_mut().filter(|_| number > 0) {
            decoded.push(last);
        }
        self.at += 1;
        Ok(number)
    }

    /// A string, decoded.
    pub(super) fn text(&mut self) -> Result<Cow<'a, str>, JsonFault> {
        let start = self.at + 1;
        self.take(b'"')?;
        self.at += plain_run(self.rest());
        if self.peek() == Some(b'"') {
            let plain = self.since(start);
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
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
        Ok(Cow::Owned(out))
    }

    /// One escape sequence, `\` included; a surrogate pair is one. It leaves in the one form in which strings are written.
    fn escape(&mut self) -> Result<char, JsonFault> {
        let start = self.at;
        let character = self.escaped()?;
        let sent = self.since(start);
        let mut room = [0; 6];
        let written = escape(character, &mut room);
        if sent != written {
            self.replace(start, written);
        }
        Ok(character)
    }

    fn escaped(&mut self) -> Result<char, JsonFault> {
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
