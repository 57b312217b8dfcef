//! URIs of MCP resources, normalised after RFC 3986 section 6.2.2: case, percent encoding, dot segments.
//!
//! Nothing is refused here: what is no URI comes out as text that differs from what went in, and policy sees both.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use crate::call::ResourceUri;

/// A resource's URI as sent, with its normal form.
pub fn resource(raw: &str) -> ResourceUri {
    ResourceUri { raw: raw.into(), normal: normalise(raw).into() }
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Uri,
    Template,
}

/// A URI template (RFC 6570) with its normal form; expressions in braces stay as they are.
pub fn template(raw: &str) -> ResourceUri {
    // Braces may not stand in a URI, so these escapes come from braces alone or from a template that spells them out,
    // which then is not equal to its normal form.
    let normal = normalise_as(raw, Form::Template).replace("%7B", "{").replace("%7D", "}");
    ResourceUri { raw: raw.into(), normal: normal.into() }
}

/// The normal form of `raw`; normalising it again changes nothing.
pub fn normalise(raw: &str) -> String {
    normalise_as(raw, Form::Uri)
}

fn normalise_as(raw: &str, form: Form) -> String {
    let (scheme, rest) = split_scheme(raw);
    let (rest, fragment) = split_at_first(rest, '#');
    let (rest, query) = split_at_first(rest, '?');
    let (authority, path) = split_authority(rest);

    let mut out = String::with_capacity(raw.len());
    if let Some(scheme) = scheme {
        out.push_str(&scheme.to_ascii_lowercase());
        out.push(':');
    }
    if let Some(authority) = authority {
        out.push_str("//");
        out.push_str(&normal_authority(authority, form));
    }
    let path = remove_dot_segments(&percent(path));
    if authority.is_none() && path.starts_with("//") {
        // Without this the path would turn into an authority.
        out.push_str("/.");
    } else if scheme.is_none() && authority.is_none() && split_at_first(&path, '/').0.contains(':') {
        // And without this into a scheme.
        out.push_str("./");
    }
    out.push_str(&path);
    for (mark, part) in [('?', query), ('#', fragment)] {
        if let Some(part) = part {
            out.push(mark);
            out.push_str(&percent(part));
        }
    }
    out
}

fn split_scheme(raw: &str) -> (Option<&str>, &str) {
    match raw.split_once(':') {
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) =>
        {
            (Some(scheme), rest)
        }
        _ => (None, raw),
    }
}

fn split_at_first(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn split_authority(rest: &str) -> (Option<&str>, &str) {
    let Some(after) = rest.strip_prefix("//") else { return (None, rest) };
    after.find('/').and_then(|at| after.split_at_checked(at)).map_or((Some(after), ""), |(a, p)| (Some(a), p))
}

/// User information keeps its case, the host does not; nor do expressions of a template change.
fn normal_authority(authority: &str, form: Form) -> String {
    let decoded = percent(authority);
    let (user, host) = decoded.rsplit_once('@').map_or((None, &*decoded), |(u, h)| (Some(u), h));
    let mut out = user.map_or_else(String::new, |user| format!("{user}@"));
    let mut rest = host;
    while let Some(c) = rest.chars().next() {
        let kept = match (c, form) {
            ('%', Form::Template) if rest.starts_with("%7B") => rest.find("%7D").map_or(3, |end| end + 3),
            ('%', _) => 3,
            (_, _) => 0,
        };
        let (as_is, after) = rest.split_at_checked(kept).unwrap_or((rest, ""));
        out.push_str(as_is);
        let mut chars = after.chars();
        if kept == 0 {
            out.extend(chars.next().map(|c| c.to_ascii_lowercase()));
        }
        rest = chars.as_str();
    }
    out
}

/// Decodes escapes of unreserved characters, writes the others in capitals, and escapes what may not stand in a URI.
fn percent(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, escaped(after)) {
            (b'%', Some((value, tail))) => {
                rest = tail;
                if unreserved(value) { out.push(char::from(value)) } else { push_escape(value, &mut out) }
            }
            (b'%', None) => push_escape(b'%', &mut out),
            (_, _) if unreserved(byte) || b":/?#[]@!$&'()*+,;=".contains(&byte) => out.push(char::from(byte)),
            (_, _) => push_escape(byte, &mut out),
        }
    }
    out
}

fn escaped(after: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], tail) = after.split_first_chunk()?;
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some((digit(*high)? << 4 | digit(*low)?, tail))
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn push_escape(byte: u8, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

/// RFC 3986 section 5.2.4.
fn remove_dot_segments(path: &str) -> String {
    let mut input = path;
    let mut out = String::with_capacity(path.len());
    while !input.is_empty() {
        if let Some(rest) = input.strip_prefix("../").or_else(|| input.strip_prefix("./")) {
            input = rest;
        } else if input.starts_with("/./") || input.starts_with("/../") {
            if input.starts_with("/../") {
                out.truncate(out.rfind('/').unwrap_or(0));
            }
            input = input.trim_start_matches('/').trim_start_matches('.');
        } else if input == "/." {
            input = "/";
        } else if input == "/.." {
            out.truncate(out.rfind('/').unwrap_or(0));
            input = "/";
        } else if input == "." || input == ".." {
            input = "";
        } else {
            let start = usize::from(input.starts_with('/'));
            let end = input.bytes().skip(start).position(|b| b == b'/').map_or(input.len(), |at| at + start);
            let (segment, rest) = input.split_at_checked(end).unwrap_or((input, ""));
            out.push_str(segment);
            input = rest;
        }
    }
    out
}
