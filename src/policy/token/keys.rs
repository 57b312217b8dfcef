use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{Parts, TokenFault};
use crate::call::Value;

/// One entry of `RequestAuthentication` `jwtRules`, with inline keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRule {
    /// `iss` must equal this.
    pub issuer: String,
    /// `aud` must hold one of these; empty: any.
    pub audiences: Vec<String>,
    /// A JWK set (RFC 7517), as JSON text.
    pub jwks: String,
    /// Claims that are lists in one string, besides `scope` and `permission` (`spaceDelimitedClaims`).
    pub space_delimited: Vec<String>,
}

/// Why a `JwtRule` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// No issuer: every token would have it or none.
    #[error("issuer is empty")]
    Issuer,
    /// Not a JSON object with `keys`.
    #[error("jwks is no JWK set: {0}")]
    Syntax(String),
    /// A symmetric key: whoever can verify could sign.
    #[error("jwks holds a symmetric key (kty oct): only public keys are accepted")]
    Symmetric,
    /// A private key has no place in a policy.
    #[error("jwks holds a private key: publish the public part alone")]
    Private,
    /// A key that says it is of a kind, and is not.
    #[error("jwks holds a key that does not parse")]
    Key,
    /// Nothing that could verify a token.
    #[error("jwks holds no key for RS, PS, ES or EdDSA signatures")]
    Empty,
}

/// What verifies tokens of one issuer.
#[derive(Debug)]
pub(super) struct Issuer {
    name: Box<str>,
    audiences: Vec<String>,
    space_delimited: Arc<[String]>,
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    key: DecodingKey,
    algorithms: &'static [Algorithm],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

impl Issuer {
    pub(super) fn new(rule: &JwtRule) -> Result<Self, KeyFault> {
        if rule.issuer.is_empty() {
            return Err(KeyFault::Issuer);
        }
        let syntax = |error: serde_json::Error| KeyFault::Syntax(error.to_string());
        let set: serde_json::Value = serde_json::from_str(&rule.jwks).map_err(syntax)?;
        let listed = set.get("keys").and_then(serde_json::Value::as_array);
        let listed = listed.ok_or_else(|| KeyFault::Syntax("`keys` is missing".into()))?;
        let mut keys = Vec::with_capacity(listed.len());
        for key in listed {
            keys.extend(read_key(key)?);
        }
        if keys.is_empty() {
            return Err(KeyFault::Empty);
        }
        let space_delimited = rule.space_delimited.as_slice().into();
        Ok(Self { name: rule.issuer.as_str().into(), audiences: rule.audiences.clone(), space_delimited, keys })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Claims that are lists in one string.
    pub(super) fn space_delimited(&self) -> Arc<[String]> {
        Arc::clone(&self.space_delimited)
    }

    /// Signature and audience.
    pub(super) fn verify(&self, parts: &Parts<'_>) -> Result<(), TokenFault> {
        let named = |key: &&Key| key.id.is_some() && key.id.as_deref() == parts.key_id.as_deref();
        let any_named = self.keys.iter().any(|key| named(&key));
        let mut fault = TokenFault::Algorithm;
        for key in self.keys.iter().filter(|key| !any_named || named(key)) {
            let algorithm = key.algorithms.iter().find(|algorithm| spelling(**algorithm) == &*parts.algorithm);
            let Some(algorithm) = algorithm else { continue };
            let verified = jsonwebtoken::crypto::verify(parts.signature, parts.signed.as_bytes(), &key.key, *algorithm);
            if verified == Ok(true) {
                return self.check_audience(parts);
            }
            fault = TokenFault::Signature;
        }
        Err(fault)
    }

    fn check_audience(&self, parts: &Parts<'_>) -> Result<(), TokenFault> {
        if self.audiences.is_empty() {
            return Ok(());
        }
        let accepted = |value: &Value| value.as_str().is_some_and(|text| self.audiences.iter().any(|aud| aud == text));
        let found = match parts.claims.get("aud") {
            Some(Value::Array(several)) => several.iter().any(accepted),
            Some(one) => accepted(one),
            None => false,
        };
        if found { Ok(()) } else { Err(TokenFault::Audience) }
    }
}

/// A key that can verify; none for one of another use or kind, which RFC 7517 (section 5) says to ignore.
fn read_key(json: &serde_json::Value) -> Result<Option<Key>, KeyFault> {
    let kind = json.get("kty").and_then(serde_json::Value::as_str).unwrap_or_default();
    if kind == "oct" {
        return Err(KeyFault::Symmetric);
    }
    if !matches!(kind, "RSA" | "EC" | "OKP") {
        return Ok(None);
    }
    if json.get("d").is_some() {
        return Err(KeyFault::Private);
    }
    let jwk: Jwk = serde_json::from_value(json.clone()).map_err(|_unreadable| KeyFault::Key)?;
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return Ok(None);
    }
    let algorithms = algorithms(&jwk);
    if algorithms.is_empty() {
        return Ok(None);
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|_unreadable| KeyFault::Key)?;
    Ok(Some(Key { id: jwk.common.key_id, key, algorithms }))
}

/// What the key may verify: its `alg` where it says one, else what its type is for. Never HMAC, never `none`.
#[expect(clippy::wildcard_enum_match_arm, reason = "any other kind or curve verifies nothing here")]
fn algorithms(jwk: &Jwk) -> &'static [Algorithm] {
    use Algorithm as A;
    let of_type: &'static [Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[A::RS256, A::RS384, A::RS512, A::PS256, A::PS384, A::PS512],
        AlgorithmParameters::EllipticCurve(params) if params.curve == EllipticCurve::P256 => &[A::ES256],
        AlgorithmParameters::EllipticCurve(params) if params.curve == EllipticCurve::P384 => &[A::ES384],
        AlgorithmParameters::OctetKeyPair(params) if params.curve == EllipticCurve::Ed25519 => &[A::EdDSA],
        _ => &[],
    };
    let Some(said) = jwk.common.key_algorithm else { return of_type };
    let at = of_type.iter().position(|algorithm| KeyAlgorithm::from(*algorithm) == said);
    at.and_then(|at| of_type.get(at..=at)).unwrap_or_default()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "any other algorithm is never a key's")]
fn spelling(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::RS384 => "RS384",
        Algorithm::RS512 => "RS512",
        Algorithm::PS256 => "PS256",
        Algorithm::PS384 => "PS384",
        Algorithm::PS512 => "PS512",
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        Algorithm::EdDSA => "EdDSA",
        // Never among a key's algorithms, and no token says this.
        _ => "",
    }
}
