//! An issuer of tokens: an ES256 key that is made at start, its JWK set, and tokens signed with it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

/// `iss` of every token.
pub(super) const ISSUER: &str = "https://idp.example";
/// How long a token is valid: as long as somebody may play with `--serve`.
const LIFE: Duration = Duration::from_secs(12 * 3600);
const KEY_ID: &str = "demo";

pub(super) struct Issuer {
    key: EncodingKey,
    jwks: String,
}

impl Issuer {
    pub(super) fn new() -> anyhow::Result<Self> {
        // P-256 with SHA-256 is rcgen's default, and JOSE's ES256.
        let pair = rcgen::KeyPair::generate().context("cannot make a key for tokens")?;
        // An uncompressed point (SEC 1, 2.3.3): 4, then x and y of 32 bytes each.
        let point = pair.public_key_raw();
        let (x, y) = (point.get(1..33).context("no x in the public key")?, point.get(33..65).context("no y")?);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        Ok(Self { key, jwks: json!({ "keys": [jwk] }).to_string() })
    }

    /// The JWK set, as one line of JSON.
    pub(super) fn jwks(&self) -> &str {
        &self.jwks
    }

    /// A token for `subject`, valid from now on.
    pub(super) fn token(&self, subject: &str) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::ES256) };
        let claims = json!({
            "iss": ISSUER, "sub": subject, "iat": now.as_secs(), "exp": (now + LIFE).as_secs(),
        });
        jsonwebtoken::encode(&header, &claims, &self.key).context("cannot sign a token")
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("jwks", &self.jwks).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation, decode};

    #[test]
    fn tokens_verify_with_the_published_keys_and_no_others() {
        let (issuer, other) = (Issuer::new().unwrap(), Issuer::new().unwrap());
        let token = issuer.token("alice").unwrap();
        let verify = |issuer: &Issuer| {
            let keys: JwkSet = serde_json::from_str(issuer.jwks()).unwrap();
            let key = DecodingKey::from_jwk(keys.find(KEY_ID).unwrap()).unwrap();
            decode::<serde_json::Value>(&token, &key, &Validation::new(Algorithm::ES256))
        };
        assert_eq!(verify(&issuer).unwrap().claims["sub"], "alice");
        assert!(verify(&other).is_err());
    }
}
