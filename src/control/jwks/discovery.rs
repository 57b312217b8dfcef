use serde::Deserialize;

use super::FetchFault;
use crate::policy::token::KeyUrl;

/// What is read of an issuer's description (OpenID Connect Discovery 1.0, section 3; RFC 8414, section 2).
#[derive(Debug, Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

/// Where the keys of `issuer` are, as its own description says.
///
/// # Errors
/// No description, that of another issuer (section 4.3: it must be this one exactly), or no URL in it.
pub(super) fn keys_of(issuer: &str, body: &[u8]) -> Result<KeyUrl, FetchFault> {
    let description: Description = serde_json::from_slice(body).map_err(|_other| FetchFault::Discovery)?;
    if description.issuer != issuer {
        return Err(FetchFault::Issuer);
    }
    KeyUrl::parse(&description.jwks_uri).map_err(|_no_url| FetchFault::Discovery)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_of_its_own_issuer_and_names_a_url() {
        let of = |text: &str| keys_of("https://idp", text.as_bytes());
        let good = r#"{"issuer": "https://idp", "jwks_uri": "https://idp/keys", "x": [1]}"#;
        assert_eq!(of(good).unwrap().to_string(), "https://idp/keys");
        for (text, reason) in [
            (r#"{"issuer": "https://idp/", "jwks_uri": "https://idp/keys"}"#, "jwks_issuer"),
            (r#"{"issuer": "https://idp"}"#, "jwks_discovery"),
            (r#"{"issuer": "https://idp", "jwks_uri": "/keys"}"#, "jwks_discovery"),
            (r#"{"issuer": "https://idp", "jwks_uri": "file:///etc/keys"}"#, "jwks_discovery"),
            ("[]", "jwks_discovery"),
            ("", "jwks_discovery"),
        ] {
            assert_eq!(of(text).unwrap_err().reason(), reason, "{text}");
        }
    }
}
