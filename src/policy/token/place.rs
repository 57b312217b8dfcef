//! Where a token stands in a request, and how it is taken out of there.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};

use super::TokenFault;
use crate::call::HttpHead;
use crate::wire::http1::fields::hyphened;

/// What holds a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Site {
    /// A header field.
    Header(HeaderName),
    /// A parameter of the query, by its decoded name.
    Param(String),
    /// A cookie.
    Cookie(String),
}

/// Where a token is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    site: Site,
    /// What stands before the token in a header field.
    prefix: String,
}

impl Place {
    /// A header field whose value begins with `prefix`, in any case: as a scheme is written (RFC 9110 section 11.1).
    pub fn header(name: HeaderName, prefix: impl Into<String>) -> Self {
        Self { site: Site::Header(name), prefix: prefix.into() }
    }

    /// A parameter of the query.
    pub fn param(name: impl Into<String>) -> Self {
        Self { site: Site::Param(name.into()), prefix: String::new() }
    }

    /// A cookie.
    pub fn cookie(name: impl Into<String>) -> Self {
        Self { site: Site::Cookie(name.into()), prefix: String::new() }
    }

    /// Where tokens stand unless a rule says otherwise (RFC 6750 sections 2.1 and 2.3; Istio's default).
    pub fn defaults() -> [Self; 2] {
        [Self::header(AUTHORIZATION, "Bearer "), Self::param("access_token")]
    }

    /// What holds it.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The token of `head`, if it has one here. A field of another scheme holds none (as in Envoy).
    ///
    /// # Errors
    /// It stands here twice, or is no text: the upstream might read another than we.
    pub(super) fn token<'h>(&self, head: &'h HttpHead) -> Result<Option<Cow<'h, str>>, TokenFault> {
        match &self.site {
            Site::Header(name) => self.in_field(head, name),
            Site::Param(name) => {
                let named = pairs(head.query.as_deref()).filter(|(key, _)| decoded(key) == *name);
                one(named.map(|(_, value)| decoded(value)))
            }
            Site::Cookie(name) => {
                let mut found = Vec::new();
                for field in head.headers.get_all(COOKIE) {
                    let Ok(field) = std::str::from_utf8(field.as_bytes()) else { return Err(TokenFault::Malformed) };
                    let cookies = field.split(';').filter_map(|cookie| cookie.split_once('='));
                    found.extend(cookies.filter(|(key, _)| key.trim() == name).map(|(_, value)| unquoted(value)));
                }
                one(found.into_iter().map(Cow::Borrowed))
            }
        }
    }

    fn in_field<'h>(&self, head: &'h HttpHead, name: &HeaderName) -> Result<Option<Cow<'h, str>>, TokenFault> {
        let mut token = None;
        let mut fields = 0;
        // CGI and its heirs read `_` and `-` alike, and might take that one for the token that was verified.
        let other = |other: &HeaderName| other != name && hyphened(other) == hyphened(name);
        if name.as_str().contains(['-', '_']) && head.headers.keys().any(other) {
            return Err(TokenFault::Malformed);
        }
        for value in head.headers.get_all(name) {
            fields += 1;
            if let Some(rest) = after(value.as_bytes(), self.prefix.as_bytes()) {
                token = Some(
                    std::str::from_utf8(rest).map_err(|_not_text| TokenFault::Malformed)?.trim_matches([' ', '\t']),
                );
            }
        }
        match token {
            // Two fields, one of them ours: the upstream may read the other.
            Some(_) if fields > 1 => Err(TokenFault::Malformed),
            other => Ok(other.map(Cow::Borrowed)),
        }
    }
}

/// Takes the parameter out of the query.
pub(super) fn clear_query(query: &mut Option<String>, name: &str) {
    let pairs = query.as_deref().unwrap_or_default().split('&');
    let left: Vec<&str> = pairs.filter(|pair| decoded(key_of(pair)) != *name).collect();
    let left = (!left.is_empty()).then(|| left.join("&"));
    *query = left;
}

/// Takes the cookie out of the fields that hold some.
pub(super) fn clear_cookie(headers: &mut HeaderMap, name: &str) {
    let fields: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for field in fields.iter().filter_map(|field| without_cookie(field, name)) {
        headers.append(COOKIE, field);
    }
}

/// The field without the cookie; none where nothing is left.
fn without_cookie(field: &HeaderValue, name: &str) -> Option<HeaderValue> {
    let text = std::str::from_utf8(field.as_bytes()).ok()?;
    let kept: Vec<&str> = text.split(';').map(str::trim).filter(|cookie| key_of(cookie).trim() != name).collect();
    HeaderValue::from_bytes(kept.join("; ").as_bytes()).ok().filter(|field| !field.is_empty())
}

/// What follows `prefix`; for one that ends in a space, also nothing at all: a scheme without its token. A tab is as good
/// as the space: many servers part a scheme from its token at any blank.
fn after<'v>(value: &'v [u8], prefix: &[u8]) -> Option<&'v [u8]> {
    if let Some((start, rest)) = value.split_at_checked(prefix.len())
        && start.eq_ignore_ascii_case(prefix)
    {
        return Some(rest);
    }
    let bare = prefix.strip_suffix(b" ")?;
    let (start, rest) = value.split_at_checked(bare.len())?;
    (start.eq_ignore_ascii_case(bare) && matches!(rest.first(), None | Some(b'\t'))).then_some(rest)
}

/// The one of several; none of none.
fn one<'h>(mut values: impl Iterator<Item = Cow<'h, str>>) -> Result<Option<Cow<'h, str>>, TokenFault> {
    match (values.next(), values.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(TokenFault::Malformed),
    }
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    query.into_iter().flat_map(|query| query.split('&')).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn key_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(key, _)| key)
}

fn unquoted(value: &str) -> &str {
    let value = value.trim();
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// As servers read forms: `+` is a space, and what is no escape stands for itself.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let escaped = || {
            let mut two = rest.clone();
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            Some(((digit(two.next()?)? << 4) | digit(two.next()?)?, two))
        };
        match byte {
            b'+' => out.push(b' '),
            b'%' => match escaped() {
                Some((byte, after)) => {
                    out.push(byte);
                    rest = after;
                }
                None => out.push(b'%'),
            },
            other => out.push(other),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}
