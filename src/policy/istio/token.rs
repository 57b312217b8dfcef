//! Claims of a verified token, as Istio's `requestPrincipals` and `request.auth.*` see them.

use crate::call::Value;
use crate::policy::pattern::Pattern;
use crate::policy::token::Claims;

/// `ISSUER/SUBJECT`, each with a pattern of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Subject {
    issuer: Pattern,
    subject: Pattern,
}

impl Subject {
    /// Issuers can be URLs, so the last slash is what parts the two. A star in front is the issuer's, one at the end the
    /// subject's; where there is no slash the other half may be anything.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let exact = |text: &str| Pattern::Exact(text.into());
        let halves = text.rsplit_once('/');
        let (issuer, subject) = match (halves, text.strip_prefix('*'), text.strip_suffix('*')) {
            _ if text.is_empty() => return Err("is empty: write `ISSUER/SUBJECT` or `*`".into()),
            _ if text == "*" => (Pattern::Present, Pattern::Present),
            (Some((issuer, subject)), Some(_), _) => {
                let end = issuer.strip_prefix('*').unwrap_or_default();
                (if end.is_empty() { Pattern::Present } else { Pattern::Suffix(end.into()) }, exact(subject))
            }
            (None, Some(end), _) => (Pattern::Present, Pattern::Suffix(end.into())),
            (Some((issuer, subject)), None, Some(_)) => {
                let start = subject.strip_suffix('*').unwrap_or_default();
                (exact(issuer), if start.is_empty() { Pattern::Present } else { Pattern::Prefix(start.into()) })
            }
            (None, None, Some(start)) => (Pattern::Prefix(start.into()), Pattern::Present),
            (Some((issuer, subject)), None, None) => (exact(issuer), exact(subject)),
            (None, None, None) => (exact(text), exact("")),
        };
        Ok(Self { issuer, subject })
    }

    /// Whether it can match a token that has a subject worth the name.
    pub(super) fn is_whole(&self) -> bool {
        self.subject != Pattern::Exact("".into())
    }

    /// Whether the token is of that issuer and subject; no token is nobody's.
    pub(super) fn is(&self, claims: Option<&Claims>) -> bool {
        let both = claims.and_then(|claims| Some((claims.issuer(), claims.subject()?)));
        both.is_some_and(|(issuer, subject)| is_text(&self.issuer, issuer) && is_text(&self.subject, subject))
    }
}

/// Whether the claim at `path` is a string that matches, or a list with such a string.
pub(super) fn claim(claims: Option<&Claims>, path: &[Box<str>], pattern: &Pattern) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    let value = claims.and_then(|claims| Some((claims, claims.object().get(first)?)));
    let Some((claims, value)) = value else { return false };
    let found = rest.iter().try_fold(value, |value, name| value.as_object()?.get(name));
    match found {
        // A list in one string (RFC 8693 section 4.2 for `scope`).
        Some(Value::String(text)) if rest.is_empty() && claims.is_spaced(first) => {
            text.split(' ').filter(|word| !word.is_empty()).any(|word| pattern.matches(word))
        }
        Some(Value::String(text)) => is_text(pattern, text),
        Some(Value::Array(items)) => {
            items.iter().any(|item| matches!(item, Value::String(text) if is_text(pattern, text)))
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => false,
    }
}

/// Istio's presence is that of a text which is not empty.
fn is_text(pattern: &Pattern, text: &str) -> bool {
    pattern.matches(text) && (*pattern != Pattern::Present || !text.is_empty())
}
