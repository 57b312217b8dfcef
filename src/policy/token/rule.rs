//! One `jwtRules` entry as its author wrote it, read once.

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderName;

use super::hosts::KeyUrl;
use super::issuer::Issuer;
use super::keys::KeyFault;
use super::place::Place;
use super::remote::{KeySource, Keyring, Lease};
use crate::config::limits::{JWKS_MAX_TIMEOUT, JWKS_TIMEOUT};
use crate::document::request_authentication::JwtRuleSpec;

/// One entry of `RequestAuthentication` `jwtRules`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JwtRule {
    /// `iss` must equal this.
    pub issuer: String,
    /// `aud` must hold one of these; empty: any.
    pub audiences: Vec<String>,
    /// What verifies.
    pub keys: Keys,
    /// Claims that are lists in one string, besides `scope` and `permission` (`spaceDelimitedClaims`).
    pub space_delimited: Vec<String>,
    /// Where the token stands; empty: [`Place::defaults`].
    pub places: Vec<Place>,
    /// Whether the token goes on to the server (`forwardOriginalToken`).
    pub forward: bool,
    /// The field that the server finds the token's payload in (`outputPayloadToHeader`).
    pub payload_to: Option<HeaderName>,
    /// The fields that the server finds single claims in, and the claims (`outputClaimToHeaders`).
    pub claims_to: Vec<(HeaderName, String)>,
}

/// The keys of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Keys {
    /// A JWK set (RFC 7517), as JSON text.
    Inline(String),
    /// Fetched.
    Remote(Arc<Lease>),
}

/// What of a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct RuleFault {
    /// Its field, `jwksUri`.
    pub field: &'static str,
    /// Why, and what to write instead.
    pub reason: String,
}

impl JwtRule {
    /// Reads a rule of `namespace`; its keys, where they are fetched, are those of `ring`.
    ///
    /// # Errors
    /// [`RuleFault`]
    pub fn read(spec: &JwtRuleSpec, namespace: &str, ring: &Keyring) -> Result<Self, RuleFault> {
        let name = |text: &str, field| {
            let fault = || RuleFault { field, reason: format!("{text:?} is no name of a header field") };
            HeaderName::from_bytes(text.as_bytes()).map_err(|_no_name| fault())
        };
        let mut places = Vec::new();
        for header in &spec.from_headers {
            places.push(Place::header(name(&header.name, "fromHeaders")?, header.prefix.as_str()));
        }
        places.extend(spec.from_params.iter().map(Place::param));
        places.extend(spec.from_cookies.iter().map(Place::cookie));
        let payload = spec.output_payload_to_header.as_deref().filter(|name| !name.is_empty());
        let mut claims_to = Vec::new();
        for output in &spec.output_claim_to_headers {
            claims_to.push((name(&output.header, "outputClaimToHeaders")?, output.claim.clone()));
        }
        let rule = Self {
            issuer: spec.issuer.clone(),
            audiences: spec.audiences.clone(),
            keys: keys(spec, namespace, ring)?,
            space_delimited: spec.space_delimited_claims.clone(),
            places,
            forward: spec.forward_original_token,
            payload_to: payload.map(|payload| name(payload, "outputPayloadToHeader")).transpose()?,
            claims_to,
        };
        match Issuer::new(&rule) {
            Ok(_) => Ok(rule),
            Err(fault) => Err(RuleFault { field: fault.field(), reason: fault.to_string() }),
        }
    }

    /// The fields that its tokens fill.
    pub(super) fn outputs(&self) -> impl Iterator<Item = &HeaderName> {
        self.payload_to.iter().chain(self.claims_to.iter().map(|(name, _)| name))
    }
}

fn keys(spec: &JwtRuleSpec, namespace: &str, ring: &Keyring) -> Result<Keys, RuleFault> {
    if !spec.jwks.is_empty() {
        return Ok(Keys::Inline(spec.jwks.clone()));
    }
    let fault = |field, reason: String| RuleFault { field, reason };
    let timeout = match spec.timeout.as_deref() {
        None => JWKS_TIMEOUT,
        Some(text) => duration(text).ok_or_else(|| fault("timeout", format!("{text:?} is no duration; write 5s")))?,
    };
    let (field, source) = match spec.jwks_uri.as_deref() {
        Some(text) => {
            let url = KeyUrl::parse(text).map_err(|no_url| fault("jwksUri", no_url.to_string()))?;
            ("jwksUri", KeySource::Set(url))
        }
        None => {
            let reason = "is no URL at which its keys could be found; write jwks or jwksUri beside it";
            let source = KeySource::of_issuer(&spec.issuer).ok_or_else(|| fault("issuer", reason.to_owned()))?;
            ("issuer", source)
        }
    };
    let keys = ring.keys(namespace, source, timeout.min(JWKS_MAX_TIMEOUT));
    keys.map(Keys::Remote).map_err(|cause| fault(field, cause.to_string()))
}

/// As Go and the API server write durations: `5s`, `1m30s`, `1.5s`, `500ms`. At least a millisecond.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut whole = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end)?;
        let seconds = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "\u{b5}s" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        whole = whole.checked_add(part)?;
        rest = next;
    }
    (whole >= Duration::from_millis(1)).then_some(whole)
}

impl KeyFault {
    /// The field of a rule that it is about.
    fn field(&self) -> &'static str {
        if *self == Self::Issuer { "issuer" } else { "jwks" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_the_api_server_takes_them() {
        let rows = [
            ("5s", Some(5_000)),
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1_500)),
            ("500ms", Some(500)),
            ("1ms", Some(1)),
            ("1us", None),
            ("0s", None),
            ("", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5 s", None),
            ("apple", None),
        ];
        for (text, want) in rows {
            assert_eq!(duration(text), want.map(Duration::from_millis), "{text}");
        }
    }
}
