use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{TokenFault, claims};
use crate::call::{Object, Value};

/// A compact JWS (RFC 7515, 7.1) taken apart; nothing in it is believed yet.
pub(super) struct Parts<'a> {
    /// What was signed: header and payload as sent.
    pub(super) signed: &'a str,
    /// The payload as sent.
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
    pub(super) algorithm: Box<str>,
    pub(super) key_id: Option<Box<str>>,
    pub(super) claims: Object,
}

impl<'a> Parts<'a> {
    pub(super) fn of(token: &'a str) -> Result<Self, TokenFault> {
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
            payload,
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
