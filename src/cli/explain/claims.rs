//! The claims of a file: a token (whose signature nobody asks for here) or the claims themselves as JSON.

use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::policy::Claims;

/// Reads the claims that a verified token of this content would give.
pub(super) fn read(path: &Path) -> anyhow::Result<Claims> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(text.trim()).with_context(|| format!("{} holds neither a JWT nor claims as JSON", path.display()))
}

fn parse(text: &str) -> anyhow::Result<Claims> {
    let decoded;
    let json = if text.starts_with('{') {
        text
    } else {
        decoded = String::from_utf8(payload(text)?).context("the token's payload is not UTF-8")?;
        &decoded
    };
    Claims::assumed(json).context("claims are one JSON object, without a key twice")
}

/// The middle of `header.payload.signature` (RFC 7515, 7.1).
fn payload(token: &str) -> anyhow::Result<Vec<u8>> {
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(payload), Some(_), None) => {
            URL_SAFE_NO_PAD.decode(payload).context("the token's payload is not base64url")
        }
        _ => bail!("a token has three parts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_and_its_claims_give_the_same() {
        let text = r#"{"iss":"https://idp.example","sub":"alice"}"#;
        let claims = parse(text).unwrap();
        assert_eq!((claims.issuer(), claims.subject()), ("https://idp.example", Some("alice")));
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(text));
        assert_eq!(parse(&token).unwrap(), claims);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["", "{", "[]", "a.b", "e30.!.x", "e30.W10.x", r#"{"sub":1,"sub":2}"#] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
