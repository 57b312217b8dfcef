use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::call::{Number, Object, Value};

/// Claims of a verified token. Made by [`super::Verifier::verify`]; and by [`Claims::assumed`], for `explain` alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    object: Object,
    issuer: Arc<str>,
    subject: Option<Arc<str>>,
    spaced: Arc<[String]>,
}

/// Claims that Istio takes for lists in one string whatever a RequestAuthentication says.
const SPACED: [&str; 2] = ["scope", "permission"];

impl Claims {
    /// None where `iss` is no string.
    pub(super) fn verified(object: Object, spaced: Arc<[String]>) -> Option<Self> {
        let issuer = object.get("iss")?.as_str()?.into();
        let subject = object.get("sub").and_then(Value::as_str).map(Arc::from);
        Some(Self { object, issuer, subject, spaced })
    }

    /// Claims that nobody verified, from JSON: what a decision *would* be, for `explain` and tests. Never for a call.
    pub fn assumed(json: &str) -> Option<Self> {
        let object = strict_object(json.as_bytes())?;
        let text = |name: &str| object.get(name).and_then(Value::as_str).map(Arc::from);
        let (issuer, subject) = (text("iss").unwrap_or_else(|| "".into()), text("sub"));
        Some(Self { object, issuer, subject, spaced: Arc::default() })
    }

    /// Whether the top-level claim `name` is a list in one string, parted by spaces (`spaceDelimitedClaims`).
    pub fn is_spaced(&self, name: &str) -> bool {
        SPACED.contains(&name) || self.spaced.iter().any(|spaced| spaced == name)
    }

    /// All claims.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// When the token is accepted no more; none where it has no end.
    pub fn ends(&self) -> Option<SystemTime> {
        let exp = self.object.get("exp")?.as_number()?.as_f64()?;
        let since = Duration::try_from_secs_f64(exp.max(0.0)).ok()?;
        UNIX_EPOCH.checked_add(since)?.checked_add(super::LEEWAY)
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

/// A JSON object; none where the text is another value, is not JSON, or repeats a key anywhere.
pub(super) fn strict_object(text: &[u8]) -> Option<Object> {
    match serde_json::from_slice::<Strict>(text) {
        Ok(Strict(Value::Object(object))) => Some(object),
        _ => None,
    }
}

/// A JSON value without repeated keys: two readers of a token must not see two subjects.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated keys")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(Number::from_valid(&value.to_string())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(Number::from_valid(&value.to_string())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = serde_json::Number::from_f64(value).ok_or_else(|| E::custom("a number is not finite"))?;
        Ok(Value::Number(Number::from_valid(&number.to_string())))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut keys = BTreeSet::new();
        let mut pairs: Vec<(Box<str>, Value)> = Vec::new();
        while let Some((key, Strict(value))) = access.next_entry::<Box<str>, Strict>()? {
            if !keys.insert(key.clone()) {
                return Err(de::Error::custom("a key is repeated"));
            }
            pairs.push((key, value));
        }
        Ok(Value::Object(Object::from_unique(pairs)))
    }
}
