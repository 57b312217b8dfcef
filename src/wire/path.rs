//! One spelling per path: what policy matches is what goes upstream, and no origin can read another path out of it.
//!
//! Text in, canonical text out. No rule is known here. The query is not a matter of this room.

mod normalization;
mod parameters;

pub use normalization::{Normalization, spelling};
pub use parameters::{has_parameters, without_parameters};

use crate::config::limits::MAX_TARGET;

/// Why a path has no canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Empty or without a leading `/`.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// `%` without two hexadecimal digits.
    #[error("a percent sign without two hexadecimal digits")]
    Percent,
    /// `%2f`, `%5c`, or a raw backslash.
    #[error("an encoded slash or a backslash in the path")]
    Separator,
    /// A control character, raw or encoded, `%00` among them.
    #[error("a control character in the path")]
    Control,
    /// `.` or `..`, raw or encoded, also before a `;`.
    #[error("a dot segment in the path")]
    DotSegment,
    /// `//`, also before a `;`.
    #[error("an empty segment in the path")]
    EmptySegment,
    /// A raw character outside of ASCII, or encoded bytes that are no UTF-8.
    #[error("a character outside of ASCII that is not percent-encoded UTF-8")]
    NotAscii,
    /// A space, `?` or `#`.
    #[error("a character that ends a path")]
    Delimiter,
    /// Beyond `limits::MAX_TARGET`.
    #[error("the path is too long")]
    TooLong,
}

impl PathFault {
    /// A fixed word for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotAbsolute => "path_not_absolute",
            Self::Percent => "path_percent",
            Self::Separator => "path_separator",
            Self::Control => "path_control",
            Self::DotSegment => "path_dot_segment",
            Self::EmptySegment => "path_empty_segment",
            Self::NotAscii => "path_not_ascii",
            Self::Delimiter => "path_delimiter",
            Self::TooLong => "path_too_long",
        }
    }
}

/// The canonical form of an absolute path (RFC 3986 section 6.2.2, and stricter).
///
/// Every octet is decoded once and written in one way: characters that may stand in a segment raw, everything else as
/// `%XX` in upper case. `;` and `+` keep the spelling they came in, since to some origins `%3B` and `%2B` are data where
/// `;` and `+` are syntax. `;` parameters stay part of the value. One slash at the end is kept: `/a/` and `/a` are two
/// resources, and only in the middle is an empty segment something that origins merge.
pub fn canonical(raw: &str) -> Result<String, PathFault> {
    if raw.len() > MAX_TARGET {
        return Err(PathFault::TooLong);
    }
    let segments = raw.strip_prefix('/').ok_or(PathFault::NotAbsolute)?;
    let mut out = String::with_capacity(raw.len());
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = segments.split('/').peekable();
    while let Some(segment) = rest.next() {
        out.push('/');
        decoded.clear();
        decode(segment, &mut out, &mut decoded)?;
        check(&decoded, segment.is_empty() && rest.peek().is_none())?;
    }
    if out.len() > MAX_TARGET { Err(PathFault::TooLong) } else { Ok(out) }
}

/// Decodes one segment into `decoded`, and its canonical spelling to the end of `out`.
fn decode(segment: &str, out: &mut String, decoded: &mut Vec<u8>) -> Result<(), PathFault> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let encoded = byte == b'%';
        let octet = if encoded { octet(bytes.next(), bytes.next())? } else { byte };
        match octet {
            b'/' | b'\\' => return Err(PathFault::Separator),
            0..=0x1f | 0x7f => return Err(PathFault::Control),
            b' ' | b'?' | b'#' if !encoded => return Err(PathFault::Delimiter),
            0x80.. if !encoded => return Err(PathFault::NotAscii),
            _ => {}
        }
        decoded.push(octet);
        write(octet, encoded, out);
    }
    Ok(())
}

/// The spelling in which `text`, a path or a part of one in a rule, stands in a canonical path. What no canonical path
/// holds stays as it is.
pub fn canonical_spelling(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let encoded = (byte == b'%').then(|| octet(ahead.next(), ahead.next()).ok()).flatten();
        match encoded {
            Some(octet) => {
                bytes = ahead;
                write(octet, true, &mut out);
            }
            None if matches!(byte, b'/' | b'%') => out.push(char::from(byte)),
            None => write(byte, false, &mut out),
        }
    }
    out
}

/// One octet as it stands in a canonical path.
fn write(octet: u8, encoded: bool, out: &mut String) {
    let keeps_spelling = matches!(octet, b';' | b'+');
    if is_raw(octet) && !(encoded && keeps_spelling) {
        out.push(char::from(octet));
    } else {
        out.extend(['%', hex(octet >> 4), hex(octet & 0x0f)]);
    }
}

fn octet(high: Option<u8>, low: Option<u8>) -> Result<u8, PathFault> {
    let digit = |byte: Option<u8>| match byte? {
        b @ b'0'..=b'9' => Some(b - b'0'),
        b @ b'a'..=b'f' => Some(b - b'a' + 10),
        b @ b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    };
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Ok(high << 4 | low),
        _ => Err(PathFault::Percent),
    }
}

fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

/// `pchar` of RFC 3986 section 3.3 without percent-encoding.
fn is_raw(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&octet)
}

/// What a segment may not be. Servlet containers cut `;parameters` off before they resolve dots, so what stands before
/// the first `;` is judged as if it were the whole segment.
fn check(decoded: &[u8], may_be_empty: bool) -> Result<(), PathFault> {
    let name = decoded.split(|b| *b == b';').next().unwrap_or_default();
    if matches!(name, b"." | b"..") {
        return Err(PathFault::DotSegment);
    }
    if name.is_empty() && !may_be_empty {
        return Err(PathFault::EmptySegment);
    }
    std::str::from_utf8(decoded).map(drop).map_err(|_refused| PathFault::NotAscii)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_forms() {
        for (raw, expected) in [
            ("/", "/"),
            ("/mcp", "/mcp"),
            ("/mcp/", "/mcp/"),
            ("/%6dcp", "/mcp"),
            ("/%6Dcp", "/mcp"),
            ("/MCP", "/MCP"),
            ("/a/b.c/~d", "/a/b.c/~d"),
            ("/%7Ed", "/~d"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/v1/x:delete", "/v1/x:delete"),
            ("/v1/x%3adelete", "/v1/x:delete"),
            ("/a;b=c", "/a;b=c"),
            ("/a%3bb=c", "/a%3Bb=c"),
            ("/a+b", "/a+b"),
            ("/a%2bb", "/a%2Bb"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%20b", "/a%20b"),
            ("/%252f", "/%252f"),
            ("/%25%32%66", "/%252f"),
            ("/a%3fb", "/a%3Fb"),
            ("/a%23b", "/a%23b"),
            ("/{a}\"|^`<>[]", "/%7Ba%7D%22%7C%5E%60%3C%3E%5B%5D"),
        ] {
            assert_eq!(canonical(raw).as_deref(), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn refused() {
        use PathFault as F;
        for (raw, fault) in [
            ("", F::NotAbsolute),
            ("a", F::NotAbsolute),
            ("*", F::NotAbsolute),
            ("/%", F::Percent),
            ("/%2", F::Percent),
            ("/%zz", F::Percent),
            ("/%+1", F::Percent),
            ("/a%2fb", F::Separator),
            ("/a%2Fb", F::Separator),
            ("/a%5cb", F::Separator),
            ("/a\\b", F::Separator),
            ("/a%00", F::Control),
            ("/a%0d%0a", F::Control),
            ("/a\tb", F::Control),
            ("/a%7f", F::Control),
            ("/.", F::DotSegment),
            ("/..", F::DotSegment),
            ("/x/../mcp", F::DotSegment),
            ("/x/./mcp", F::DotSegment),
            ("/x/%2e%2E/mcp", F::DotSegment),
            ("/x/.%2e/mcp", F::DotSegment),
            ("/x/..;a=b/mcp", F::DotSegment),
            ("/x/..%3ba/mcp", F::DotSegment),
            ("//", F::EmptySegment),
            ("//mcp", F::EmptySegment),
            ("/a//b", F::EmptySegment),
            ("/a//", F::EmptySegment),
            ("/;a/b", F::EmptySegment),
            ("/a/;", F::EmptySegment),
            ("/caf\u{e9}", F::NotAscii),
            ("/%ff", F::NotAscii),
            ("/%c0%af", F::NotAscii),
            ("/a b", F::Delimiter),
            ("/a?b", F::Delimiter),
            ("/a#b", F::Delimiter),
        ] {
            assert_eq!(canonical(raw), Err(fault), "{raw:?}");
        }
        assert_eq!(canonical(&format!("/{}", "a".repeat(MAX_TARGET))), Err(F::TooLong));
        assert_eq!(canonical(&format!("/{}", "\"".repeat(MAX_TARGET / 2))), Err(F::TooLong));
    }

    proptest! {
        /// A rule that names a path in any spelling names it in the one that it has here.
        #[test]
        fn a_path_is_spelt_as_it_is_written(raw in "/\\PC{0,20}|/[a-z0-9%./;:@+{}\"2eEfF]{0,24}") {
            if let Ok(path) = canonical(&raw) {
                prop_assert_eq!(canonical_spelling(&raw), path);
            }
        }

        #[test]
        fn canonical_is_a_fixed_point_that_http_accepts(raw in "/\\PC{0,20}|/[a-z0-9%./;:@+{}\"2eEfF]{0,24}") {
            if let Ok(path) = canonical(&raw) {
                prop_assert_eq!(canonical(&path), Ok(path.clone()));
                prop_assert_eq!(path.parse::<http::uri::PathAndQuery>().map(|p| p.path().to_owned()).ok(), Some(path));
            }
        }
    }
}
