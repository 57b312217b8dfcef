//! What a token's verification makes of the head: who may see the token, and what its claims become.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::place::{self, Site};
use crate::call::{HttpHead, Object, Value};
use crate::wire::http1::fields::hyphened;

/// Fields that only a verified token may fill, in every spelling that a server may take for theirs: CGI and its heirs read
/// `_` and `-` alike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stripped(Arc<[String]>);

impl Stripped {
    pub(super) fn of(names: impl Iterator<Item = HeaderName>) -> Self {
        let mut names: Vec<String> = names.map(|name| hyphened(&name).into_owned()).collect();
        names.sort_unstable();
        names.dedup();
        Self(names.into())
    }

    /// Takes out the caller's own and puts in those of `vouched`.
    pub(super) fn replace(&self, headers: &mut HeaderMap, vouched: &HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        let own: Vec<HeaderName> = headers.keys().filter(|name| self.has(name)).cloned().collect();
        for name in own {
            headers.remove(name);
        }
        for (name, value) in vouched.iter().filter(|(name, _)| self.has(name)) {
            headers.append(name, value.clone());
        }
    }

    fn has(&self, name: &HeaderName) -> bool {
        !self.0.is_empty() && self.0.iter().any(|one| **one == *hyphened(name))
    }
}

/// What becomes of a request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edits {
    stripped: Stripped,
    /// Where the token is taken out.
    taken: Option<Site>,
    set: Vec<(HeaderName, HeaderValue)>,
}

impl Edits {
    /// For a request without a token: nobody has said what only a token may.
    pub(super) fn none(stripped: Stripped) -> Self {
        Self { stripped, taken: None, set: Vec::new() }
    }

    pub(super) fn new(stripped: Stripped, taken: Option<Site>, set: Vec<(HeaderName, HeaderValue)>) -> Self {
        Self { stripped, taken, set }
    }

    /// Whether they make another of `head`.
    pub fn change(&self, head: &HttpHead) -> bool {
        self.taken.is_some() || !self.set.is_empty() || head.headers.keys().any(|name| self.stripped.has(name))
    }

    /// Makes them: the caller's own copies go, the token goes unless it is sent on, and its claims come in.
    pub fn apply(&self, head: &mut HttpHead) {
        if let Some(Site::Param(name)) = &self.taken {
            place::clear_query(&mut head.query, name);
        }
        self.apply_to_fields(&mut head.headers);
    }

    /// Makes those of them that are about header fields.
    pub fn apply_to_fields(&self, headers: &mut HeaderMap) {
        let own: Vec<HeaderName> = headers.keys().filter(|name| self.stripped.has(name)).cloned().collect();
        for name in own {
            headers.remove(name);
        }
        match &self.taken {
            Some(Site::Header(name)) => drop(headers.remove(name)),
            Some(Site::Cookie(name)) => place::clear_cookie(headers, name),
            Some(Site::Param(_)) | None => {}
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// The claim at `path`, its names parted by dots (as in Istio), as a field's value: a string, an integer or a truth value.
/// None for any other, and for a string that would not arrive as it is.
pub(super) fn claim_value(claims: &Object, path: &str) -> Option<HeaderValue> {
    match nested(claims, path).or_else(|| claims.get(path))? {
        // A server would read it without the spaces around it.
        Value::String(text) if text.trim() == &**text => HeaderValue::from_bytes(text.as_bytes()).ok(),
        Value::Bool(truth) => Some(HeaderValue::from_static(if *truth { "true" } else { "false" })),
        Value::Number(number) if number.as_str().bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => {
            HeaderValue::from_str(number.as_str()).ok()
        }
        Value::String(_) | Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn nested<'c>(claims: &'c Object, path: &str) -> Option<&'c Value> {
    let mut names = path.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |value, name| value.as_object()?.get(name))
}
