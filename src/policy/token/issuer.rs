use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};

use super::edits::{Edits, Stripped, claim_value};
use super::jws::Parts;
use super::keys::{KeyFault, KeySet};
use super::place::{Place, Site};
use super::remote::Lease;
use super::rule::{JwtRule, Keys};
use super::{TokenFault, Unverified};
use crate::call::{Object, Value};

/// One rule, ready to verify tokens of its issuer.
#[derive(Debug)]
pub(super) struct Issuer {
    name: Box<str>,
    audiences: Vec<String>,
    space_delimited: Arc<[String]>,
    places: Vec<Place>,
    forward: bool,
    payload_to: Option<HeaderName>,
    claims_to: Vec<(HeaderName, String)>,
    keys: Held,
}

#[derive(Debug)]
enum Held {
    Inline(KeySet),
    Remote(Arc<Lease>),
}

impl Issuer {
    pub(super) fn new(rule: &JwtRule) -> Result<Self, KeyFault> {
        if rule.issuer.is_empty() {
            return Err(KeyFault::Issuer);
        }
        let keys = match &rule.keys {
            Keys::Inline(text) => Held::Inline(KeySet::inline(text)?),
            Keys::Remote(keys) => Held::Remote(Arc::clone(keys)),
        };
        let places = if rule.places.is_empty() { Place::defaults().to_vec() } else { rule.places.clone() };
        Ok(Self {
            name: rule.issuer.as_str().into(),
            audiences: rule.audiences.clone(),
            space_delimited: rule.space_delimited.as_slice().into(),
            places,
            forward: rule.forward,
            payload_to: rule.payload_to.clone(),
            claims_to: rule.claims_to.clone(),
            keys,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Whether it is about tokens of `issuer` that stand at `site`.
    pub(super) fn takes(&self, issuer: &str, site: &Site) -> bool {
        *self.name == *issuer && self.places.iter().any(|place| place.site() == site)
    }

    /// Claims that are lists in one string.
    pub(super) fn space_delimited(&self) -> Arc<[String]> {
        Arc::clone(&self.space_delimited)
    }

    /// Signature and audience.
    pub(super) fn verify(&self, parts: &Parts<'_>) -> Result<(), Unverified> {
        match &self.keys {
            Held::Inline(keys) => keys.verify(parts)?,
            Held::Remote(lease) => {
                let remote = lease.keys();
                let newer = |fault| Unverified { fault, keys: Some(Arc::clone(remote)) };
                let keys = remote.keys().ok_or_else(|| newer(TokenFault::NoKeys))?;
                // A key that is known by name did not make the signature: no other one will have.
                let known = parts.key_id.is_some() && keys.names(parts.key_id.as_deref());
                keys.verify(parts).map_err(|fault| if known { fault.into() } else { newer(fault) })?;
            }
        }
        self.check_audience(&parts.claims).map_err(Into::into)
    }

    pub(super) fn check_audience(&self, claims: &Object) -> Result<(), TokenFault> {
        if self.audiences.is_empty() {
            return Ok(());
        }
        let accepted = |value: &Value| value.as_str().is_some_and(|text| self.audiences.iter().any(|aud| aud == text));
        let found = match claims.get("aud") {
            Some(Value::Array(several)) => several.iter().any(accepted),
            Some(one) => accepted(one),
            None => false,
        };
        if found { Ok(()) } else { Err(TokenFault::Audience) }
    }

    /// What a token of this issuer that stands at `site` makes of the head.
    pub(super) fn edits(&self, stripped: Stripped, site: &Site, parts: &Parts<'_>) -> Edits {
        let mut set = self.claims(&parts.claims);
        let payload = self.payload_to.clone().zip(HeaderValue::from_str(parts.payload).ok());
        set.extend(payload);
        Edits::new(stripped, (!self.forward).then(|| site.clone()), set)
    }

    /// The same without a token, of its claims alone.
    pub(super) fn output(&self, stripped: Stripped, claims: &Object) -> Edits {
        Edits::new(stripped, None, self.claims(claims))
    }

    fn claims(&self, claims: &Object) -> Vec<(HeaderName, HeaderValue)> {
        let value = |(name, path): &(HeaderName, String)| Some((name.clone(), claim_value(claims, path)?));
        self.claims_to.iter().filter_map(value).collect()
    }
}
