//! Verification of JWTs (RFC 7519) against inline keys, and the claims that come of it: the only maker of [`Claims`].
//!
//! As in Istio's `RequestAuthentication`: no token is no claims, an invalid one is an error; `exp` and `nbf` are checked
//! where present. Which algorithms may be used is said by the key, never by the token. The clock is the caller's.

mod claims;
mod detached;
mod keys;
#[cfg(test)]
pub(super) mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;

pub use claims::Claims;
pub(super) use detached::Detached;
pub use keys::{JwtRule, KeyFault};

use self::keys::Issuer;
use crate::call::{HttpHead, Object, Value};
use crate::fault::{Blame, Faulty, Retry, Stage};

/// How far clocks may differ when `exp` and `nbf` are checked.
const LEEWAY: Duration = Duration::from_secs(60);

/// Why a token was refused. Never holds anything of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not one signed compact JWT whose header and claims are objects without repeated keys.
    #[error("the token is malformed")]
    Malformed,
    /// Signed by an algorithm that no key of the issuer has: `none` and HMAC ever so.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// `iss` is missing, or none of the configured ones.
    #[error("the token's issuer is not accepted")]
    Issuer,
    /// No key of the issuer made the signature.
    #[error("the token's signature is not valid")]
    Signature,
    /// `exp` lies in the past.
    #[error("the token is expired")]
    Expired,
    /// `nbf` lies in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `aud` names none of the configured audiences.
    #[error("the token is for another audience")]
    Audience,
}

impl Faulty for TokenFault {
    fn blame(&self) -> Blame {
        Blame::Caller
    }

    fn retry(&self) -> Retry {
        Retry::Safe
    }

    fn stage(&self) -> Stage {
        Stage::Authorize
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::Issuer => "token_issuer",
            Self::Signature => "token_signature",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Audience => "token_audience",
        }
    }
}

/// Verifies tokens of the configured issuers.
#[derive(Debug)]
pub struct Verifier {
    issuers: Vec<Issuer>,
}

impl Verifier {
    /// A verifier of these rules.
    ///
    /// # Errors
    /// A JWK set that does not parse, holds a symmetric or private key, or no key that can verify.
    pub fn from_inline(rules: &[JwtRule]) -> Result<Self, KeyFault> {
        let issuers = rules.iter().map(Issuer::new).collect::<Result<_, _>>()?;
        Ok(Self { issuers })
    }

    /// The claims of the request's token (`Authorization: Bearer`): none where it carries none.
    ///
    /// # Errors
    /// Where there is a token and it is not valid at `now`.
    pub fn verify(&self, head: &HttpHead, now: SystemTime) -> Result<Option<Claims>, TokenFault> {
        let Some(token) = bearer(head)? else { return Ok(None) };
        let parts = Parts::of(token)?;
        let issuer = parts.claims.get("iss").and_then(Value::as_str).ok_or(TokenFault::Issuer)?;
        let mut fault = TokenFault::Issuer;
        for candidate in self.issuers.iter().filter(|candidate| candidate.name() == issuer) {
            match candidate.verify(&parts) {
                Ok(()) => {
                    check_time(&parts.claims, now)?;
                    return Ok(Some(
                        Claims::verified(parts.claims, candidate.space_delimited()).ok_or(TokenFault::Malformed)?,
                    ));
                }
                Err(cause) => fault = cause,
            }
        }
        Err(fault)
    }
}

/// The token of the one `Authorization` field; another scheme is no token (as in Envoy).
fn bearer(head: &HttpHead) -> Result<Option<&str>, TokenFault> {
    let mut token = None;
    let mut fields = 0;
    for value in head.headers.get_all(AUTHORIZATION) {
        fields += 1;
        let value = value.as_bytes();
        let Some((scheme, rest)) = value.split_at_checked(6) else { continue };
        if scheme.eq_ignore_ascii_case(b"bearer") && rest.first().is_none_or(|b| *b == b' ') {
            token = Some(std::str::from_utf8(rest).map_err(|_not_text| TokenFault::Malformed)?.trim_matches(' '));
        }
    }
    match token {
        // Two fields, one of them ours: the upstream may read the other.
        Some(_) if fields > 1 => Err(TokenFault::Malformed),
        other => Ok(other),
    }
}

/// A compact JWS (RFC 7515, 7.1) taken apart; nothing in it is believed yet.
struct Parts<'a> {
    /// What was signed: header and payload as sent.
    signed: &'a str,
    signature: &'a str,
    algorithm: Box<str>,
    key_id: Option<Box<str>>,
    claims: Object,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, TokenFault> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenFault::Malformed)?;
        let header = section(header)?;
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(TokenFault::Malformed),
        };
        // RFC 7515, 4.1.11: extensions that must be understood are not; RFC 7797: nor is an unencoded payload.
        if header.get("crit").is_some() || header.get("b64").is_some() {
            return Err(TokenFault::Malformed);
        }
        Ok(Self {
            signed,
            signature,
            algorithm: text("alg")?.ok_or(TokenFault::Malformed)?,
            key_id: text("kid")?,
            claims: section(payload)?,
        })
    }
}

fn section(text: &str) -> Result<Object, TokenFault> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_not_base64| TokenFault::Malformed)?;
    claims::strict_object(&bytes).ok_or(TokenFault::Malformed)
}

fn check_time(claims: &Object, now: SystemTime) -> Result<(), TokenFault> {
    let seconds = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => number.as_f64().map(Some).ok_or(TokenFault::Malformed),
        Some(_) => Err(TokenFault::Malformed),
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let leeway = LEEWAY.as_secs_f64();
    if seconds("exp")?.is_some_and(|exp| now >= exp + leeway) {
        return Err(TokenFault::Expired);
    }
    if seconds("nbf")?.is_some_and(|nbf| now + leeway < nbf) {
        return Err(TokenFault::NotYetValid);
    }
    Ok(())
}
