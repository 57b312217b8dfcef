//! Verification of JWTs, and the claims that come of it: the only maker of [`Claims`].

use std::sync::Arc;
use std::time::SystemTime;

use crate::call::{HttpHead, Object};
use crate::fault::{Blame, Faulty, Retry, Stage};

/// Claims of a verified token.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    object: Object,
    issuer: Arc<str>,
    subject: Option<Arc<str>>,
}

impl Claims {
    /// All claims.
    pub fn object(&self) -> &Object {
        &self.object
    }
    /// `iss`
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
    /// `sub`, where it is a string.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }
}

/// One entry of `RequestAuthentication` `jwtRules`, with inline keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRule {
    /// `iss` must equal this.
    pub issuer: String,
    /// `aud` must hold one of these; empty: any.
    pub audiences: Vec<String>,
    /// A JWK set, as JSON text.
    pub jwks: String,
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not a signed compact JWT, or not one claim set without duplicates.
    #[error("the token is malformed")]
    Malformed,
}

impl Faulty for TokenFault {
    fn blame(&self) -> Blame {
        Blame::Caller
    }
    fn retry(&self) -> Retry {
        Retry::Safe
    }
    fn stage(&self) -> Stage {
        Stage::Authenticate
    }
    fn reason(&self) -> &'static str {
        "token_malformed"
    }
}

/// Why a `JwtRule` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The JWK set does not parse.
    #[error("the JWK set is no JSON of RFC 7517: {0}")]
    Syntax(String),
}

/// Verifies tokens of the configured issuers.
#[derive(Debug, Default)]
pub struct Verifier {}

impl Verifier {
    /// A verifier of these rules.
    pub fn from_inline(_rules: &[JwtRule]) -> Result<Self, KeyFault> {
        Ok(Self {})
    }
    /// The claims of the request's token: none where it carries none, an error where it is not valid.
    pub fn verify(&self, _head: &HttpHead, _now: SystemTime) -> Result<Option<Claims>, TokenFault> {
        Err(TokenFault::Malformed)
    }
}
