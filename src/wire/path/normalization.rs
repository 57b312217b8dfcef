//! Paths as Istio's meshConfig has them normalised: istio.io/latest/docs/reference/config/security/normalization/
//!
//! What comes out is what is decided on and what is sent. Stricter than Istio where two readers of the same bytes could
//! still part: a broken percent sign, an encoded NUL, a dot segment hidden behind `;` are refused in every mode.

use super::{PathFault, canonical, hex, is_raw, octet};
use crate::config::limits::MAX_TARGET;

/// How paths are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Normalization {
    /// One spelling per path, and none of those that origins read in two ways: [`canonical`]. For declared ports.
    #[default]
    Strict,
    /// `NONE`: as it came.
    None,
    /// `BASE`, Istio's default: dot segments resolved, backslashes turned, unreserved characters decoded.
    Base,
    /// `MERGE_SLASHES`: `BASE`, and of several slashes one.
    MergeSlashes,
    /// `DECODE_AND_MERGE_SLASHES`: the same after `%2f` and `%5c` are decoded.
    DecodeAndMergeSlashes,
}

impl Normalization {
    /// By the name that meshConfig has for it; `DEFAULT` and nothing are `BASE`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "" | "DEFAULT" | "BASE" => Some(Self::Base),
            "NONE" => Some(Self::None),
            "MERGE_SLASHES" => Some(Self::MergeSlashes),
            "DECODE_AND_MERGE_SLASHES" => Some(Self::DecodeAndMergeSlashes),
            _ => None,
        }
    }

    /// Whether `path` is as it would be sent; `*`, which is no path, always is.
    pub fn keeps(self, path: &str) -> bool {
        path == "*" || self.apply(path).is_ok_and(|kept| kept == path)
    }

    /// The path that is decided on and sent.
    pub fn apply(self, raw: &str) -> Result<String, PathFault> {
        if self == Self::Strict {
            return canonical(raw);
        }
        if raw.len() > MAX_TARGET {
            return Err(PathFault::TooLong);
        }
        check(raw)?;
        if self == Self::None {
            return Ok(raw.to_owned());
        }
        let decodes = self == Self::DecodeAndMergeSlashes;
        let merges = matches!(self, Self::MergeSlashes | Self::DecodeAndMergeSlashes);
        let path = resolve(&spell(raw, decodes), merges)?;
        if path.len() > MAX_TARGET { Err(PathFault::TooLong) } else { Ok(path) }
    }
}

/// What a path may not hold, whatever becomes of the rest.
fn check(raw: &str) -> Result<(), PathFault> {
    if !raw.starts_with('/') {
        return Err(PathFault::NotAbsolute);
    }
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            0..=0x1f | 0x7f => return Err(PathFault::Control),
            b' ' | b'?' | b'#' => return Err(PathFault::Delimiter),
            0x80.. => return Err(PathFault::NotAscii),
            b'%' if octet(bytes.next(), bytes.next())? == 0 => return Err(PathFault::Control),
            _ => {}
        }
    }
    Ok(())
}

/// Every octet in one spelling: unreserved characters as they are, escapes in upper case, and what may not stand in a path
/// escaped. With `slashes`, encoded ones are decoded.
fn spell(text: &str, slashes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let encoded = (byte == b'%').then(|| octet(ahead.next(), ahead.next()).ok()).flatten();
        let Some(octet) = encoded else {
            match byte {
                b'\\' => out.push('/'),
                b'/' | b'%' => out.push(char::from(byte)),
                _ if is_raw(byte) => out.push(char::from(byte)),
                _ => escape(byte, &mut out),
            }
            continue;
        };
        bytes = ahead;
        match octet {
            b'/' | b'\\' if slashes => out.push('/'),
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(octet)),
            _ if octet.is_ascii_alphanumeric() => out.push(char::from(octet)),
            _ => escape(octet, &mut out),
        }
    }
    out
}

fn escape(octet: u8, out: &mut String) {
    out.extend(['%', hex(octet >> 4), hex(octet & 0x0f)]);
}

/// Dot segments resolved (RFC 3986 section 5.2.4), and slashes merged where asked.
fn resolve(path: &str, merges: bool) -> Result<String, PathFault> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // What it stood for ends in a slash.
                if last {
                    kept.push("");
                }
            }
            "" if merges && !last => {}
            _ if is_hidden_dots(segment) => return Err(PathFault::DotSegment),
            _ => kept.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    Ok(out)
}

/// Servlet containers cut `;parameters` off before they resolve dots.
fn is_hidden_dots(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or(segment);
    let name = name.split("%3B").next().unwrap_or(name);
    matches!(name, "." | "..") && name != segment
}

/// The spelling in which `text`, a path or a part of one in a rule, stands in a normalised path.
pub fn spelling(text: &str) -> String {
    spell(text, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// raw, NONE, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES
    #[test]
    fn modes() {
        let rows = [
            ("/", "/", "/", "/", "/"),
            ("/a", "/a", "/a", "/a", "/a"),
            ("/a/", "/a/", "/a/", "/a/", "/a/"),
            ("/a/../b", "/a/../b", "/b", "/b", "/b"),
            ("/a/./b", "/a/./b", "/a/b", "/a/b", "/a/b"),
            ("/../../a", "/../../a", "/a", "/a", "/a"),
            ("/a/..", "/a/..", "/", "/", "/"),
            ("/a/b/..", "/a/b/..", "/a/", "/a/", "/a/"),
            ("/a/.", "/a/.", "/a/", "/a/", "/a/"),
            ("/a\\b", "/a\\b", "/a/b", "/a/b", "/a/b"),
            ("/a\\..\\b", "/a\\..\\b", "/b", "/b", "/b"),
            ("/a/%2e%2e/b", "/a/%2e%2e/b", "/b", "/b", "/b"),
            ("/a/%2E/b", "/a/%2E/b", "/a/b", "/a/b", "/a/b"),
            ("/%61%64min", "/%61%64min", "/admin", "/admin", "/admin"),
            ("//a", "//a", "//a", "/a", "/a"),
            ("/a//b", "/a//b", "/a//b", "/a/b", "/a/b"),
            ("/a///b//", "/a///b//", "/a///b//", "/a/b/", "/a/b/"),
            ("/a//../b", "/a//../b", "/a/b", "/b", "/b"),
            ("/a%2fb", "/a%2fb", "/a%2Fb", "/a%2Fb", "/a/b"),
            ("/a%2F%2fb", "/a%2F%2fb", "/a%2F%2Fb", "/a%2F%2Fb", "/a/b"),
            ("/a%5cb", "/a%5cb", "/a%5Cb", "/a%5Cb", "/a/b"),
            ("/a/..%2f..%2fb", "/a/..%2f..%2fb", "/a/..%2F..%2Fb", "/a/..%2F..%2Fb", "/b"),
            ("/x%3ay", "/x%3ay", "/x%3Ay", "/x%3Ay", "/x%3Ay"),
            ("/%252f", "/%252f", "/%252f", "/%252f", "/%252f"),
            ("/a;b=c", "/a;b=c", "/a;b=c", "/a;b=c", "/a;b=c"),
            ("/caf%c3%a9", "/caf%c3%a9", "/caf%C3%A9", "/caf%C3%A9", "/caf%C3%A9"),
            ("/%ff", "/%ff", "/%FF", "/%FF", "/%FF"),
            ("/%0a", "/%0a", "/%0A", "/%0A", "/%0A"),
            ("/a|b", "/a|b", "/a%7Cb", "/a%7Cb", "/a%7Cb"),
            ("/xyz%30..//abc", "/xyz%30..//abc", "/xyz0..//abc", "/xyz0../abc", "/xyz0../abc"),
        ];
        for (raw, none, base, merge, decode) in rows {
            let of = |mode: &str| Normalization::named(mode).unwrap().apply(raw).unwrap();
            assert_eq!(of("NONE"), none, "NONE {raw}");
            assert_eq!(of("BASE"), base, "BASE {raw}");
            assert_eq!(of("DEFAULT"), base, "DEFAULT {raw}");
            assert_eq!(of("MERGE_SLASHES"), merge, "MERGE_SLASHES {raw}");
            assert_eq!(of("DECODE_AND_MERGE_SLASHES"), decode, "DECODE_AND_MERGE_SLASHES {raw}");
        }
        assert_eq!(Normalization::named("BASIC"), None);
    }

    #[test]
    fn refused_in_every_mode() {
        for mode in ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] {
            for raw in
                ["", "a", "*", "/a b", "/a#b", "/a?b", "/a\tb", "/a%00", "/%", "/%2", "/%zz", "/%%361", "/\u{e9}"]
            {
                assert!(Normalization::named(mode).unwrap().apply(raw).is_err(), "{mode} {raw:?}");
            }
        }
        for raw in ["/x/..;/admin", "/x/..;a=b/admin", "/.;/a", "/x/..%3b/admin", "/x/%2e.;/admin"] {
            assert_eq!(Normalization::Base.apply(raw), Err(PathFault::DotSegment), "{raw}");
        }
    }

    fn modes_of_base() -> impl Strategy<Value = Normalization> {
        use Normalization::{Base, DecodeAndMergeSlashes, MergeSlashes};
        prop_oneof![Just(Base), Just(MergeSlashes), Just(DecodeAndMergeSlashes)]
    }

    proptest! {
        #[test]
        fn what_comes_out_stays_as_it_is(
            mode in modes_of_base(), raw in "/[a-zA-Z0-9%./;:@+{}\\\\\"2eEfF]{0,24}|/(%2[eEfF5]|%5[cC]|\\.|/|a){0,12}",
        ) {
            if let Ok(path) = mode.apply(&raw) {
                prop_assert!(path.starts_with('/'));
                prop_assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{}", path);
                prop_assert_eq!(path.parse::<http::uri::PathAndQuery>().map(|p| p.path().to_owned()).ok(), Some(path.clone()));
                // Decoding slashes may bring out what only a second pass would decode: nothing else may change.
                prop_assert_eq!(mode.apply(&path), Ok(path));
            }
        }
    }
}
