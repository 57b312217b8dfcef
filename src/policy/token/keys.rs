use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::TokenFault;
use super::jws::Parts;
use crate::config::limits::{JWKS_MAX_KEYS, JWKS_SOURCES};

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
    /// More keys than a token without `kid` may be tried on.
    #[error("jwks holds more than {JWKS_MAX_KEYS} keys")]
    TooMany,
    /// Not a host that the waypoint may ask.
    #[error(
        "keys may not be fetched from {0} here: whoever runs the waypoint lists the hosts in --jwks-hosts (AGENT_WAYPOINT_JWKS_HOSTS)"
    )]
    Host(String),
    /// More sources than are fetched for one namespace.
    #[error("keys of more than {JWKS_SOURCES} places are not fetched for one namespace")]
    TooManySources,
    /// Nothing that could verify a token.
    #[error("jwks holds no key for RS, PS, ES or EdDSA signatures")]
    Empty,
}

/// Keys that verify (RFC 7517).
#[derive(Debug)]
pub struct KeySet(Vec<Key>);

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

impl KeySet {
    /// The keys of a document, which must all be fit: its author can mend it.
    ///
    /// # Errors
    /// [`KeyFault`]
    pub fn inline(text: &str) -> Result<Self, KeyFault> {
        let mut keys = Vec::new();
        for key in listed(text.as_bytes())? {
            keys.extend(read_key(&key)?);
        }
        Self::some(keys)
    }

    /// The keys that an issuer publishes. Those of another kind are passed over (RFC 7517 section 5), as are such as may not
    /// be used: the others are no worse for them.
    ///
    /// # Errors
    /// [`KeyFault`]: no JWK set, too many keys, or none that can verify.
    pub fn fetched(bytes: &[u8]) -> Result<Self, KeyFault> {
        let listed = listed(bytes)?;
        Self::some(listed.iter().filter_map(|key| read_key(key).ok().flatten()).collect())
    }

    fn some(keys: Vec<Key>) -> Result<Self, KeyFault> {
        if keys.is_empty() { Err(KeyFault::Empty) } else { Ok(Self(keys)) }
    }

    /// How many they are, never none.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty set")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether one of them has that id.
    pub(super) fn names(&self, id: Option<&str>) -> bool {
        self.0.iter().any(|key| key.id.is_some() && key.id.as_deref() == id)
    }

    /// The signature: by the keys of the token's `kid` where there are any, else by whichever.
    pub(super) fn verify(&self, parts: &Parts<'_>) -> Result<(), TokenFault> {
        let id = parts.key_id.as_deref();
        let any_named = self.names(id);
        let mut fault = TokenFault::Algorithm;
        for key in self.0.iter().filter(|key| !any_named || key.id.as_deref() == id) {
            let algorithm = key.algorithms.iter().find(|algorithm| spelling(**algorithm) == &*parts.algorithm);
            let Some(algorithm) = algorithm else { continue };
            let verified = jsonwebtoken::crypto::verify(parts.signature, parts.signed.as_bytes(), &key.key, *algorithm);
            if verified == Ok(true) {
                return Ok(());
            }
            fault = TokenFault::Signature;
        }
        Err(fault)
    }
}

fn listed(bytes: &[u8]) -> Result<Vec<serde_json::Value>, KeyFault> {
    let syntax = |error: serde_json::Error| KeyFault::Syntax(error.to_string());
    let mut set: serde_json::Value = serde_json::from_slice(bytes).map_err(syntax)?;
    let listed = set.get_mut("keys").map(serde_json::Value::take);
    match listed {
        Some(serde_json::Value::Array(keys)) if keys.len() > JWKS_MAX_KEYS => Err(KeyFault::TooMany),
        Some(serde_json::Value::Array(keys)) => Ok(keys),
        Some(_) | None => Err(KeyFault::Syntax("`keys` is missing".into())),
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
