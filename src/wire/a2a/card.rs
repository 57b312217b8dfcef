//! Of an agent card: the URLs that clients call, its skills, and what was signed of it. The card itself is never changed: its
//! signatures stay valid.

use super::from_json::alike;
use super::url::{read, read_authority};
use crate::call::{A2aBinding, Object, UrlHost, Value};
use crate::wire::json::write_canonical;

/// Signatures of one card that are looked at.
const MAX_SIGNATURES: usize = 16;

/// A URL under which a card says that the agent is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardUrl {
    /// As written.
    pub url: Box<str>,
    /// Host and port; none where they cannot be told without doubt.
    pub place: Option<(UrlHost, u16)>,
}

/// The cards in the answer to a request for one: in JSON-RPC what stands in `result`.
///
/// Here and in [`card_urls`] a member counts under every spelling that lenient clients take for it: an agent could else
/// name a place that is seen by its clients and not here.
pub fn cards(binding: A2aBinding, answer: &Value) -> impl Iterator<Item = &Object> {
    let enveloped = binding == A2aBinding::JsonRpc;
    let object = answer.as_object();
    let results = object.filter(|_| enveloped).into_iter().flat_map(|object| members(object, "result"));
    results.filter_map(Value::as_object).chain(object.filter(|_| !enveloped))
}

/// Every interface of the card, of 1.0 and of 0.3 alike: clients of either take theirs.
pub fn card_urls(card: &Object) -> Vec<CardUrl> {
    let lists = members(card, "supportedInterfaces").chain(members(card, "additionalInterfaces"));
    let listed = lists.flat_map(|list| list.as_array().unwrap_or_default()).filter_map(Value::as_object);
    let urls = std::iter::once(card).chain(listed).flat_map(|holder| members(holder, "url"));
    urls.filter_map(Value::as_str).filter(|url| !url.is_empty()).map(place).collect()
}

/// One signature of a card: a JWS in the JSON serialization whose payload is the card (specification section 8.4). Its
/// unprotected `header` says nothing that counts, and `jku` is never fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardSignature<'a> {
    /// The protected header, base64url.
    pub protected: &'a str,
    /// The signature, base64url.
    pub signature: &'a str,
}

/// The signatures of a card; of many, the first few.
pub fn card_signatures(card: &Object) -> impl Iterator<Item = CardSignature<'_>> {
    let listed = card.get("signatures").and_then(Value::as_array).unwrap_or_default();
    listed.iter().take(MAX_SIGNATURES).filter_map(|signature| {
        let text = |key: &str| signature.get(key).and_then(Value::as_str);
        Some(CardSignature { protected: text("protected")?, signature: text("signature")? })
    })
}

/// The card in canonical form without its signatures, as it was sent.
pub fn card_text(card: &Object) -> Vec<u8> {
    canonical(&unsigned(card))
}

/// What a signature is over (specification section 8.4.1): [`card_text`] without what is empty, which protobuf does not tell
/// from absent. Everything else that a client could read is in it.
pub fn signed_text(card: &Object) -> Vec<u8> {
    canonical(&filled(&unsigned(card).into()).and_then(|card| card.as_object().cloned()).unwrap_or_default())
}

fn unsigned(card: &Object) -> Object {
    let mut card = card.clone();
    card.remove("signatures");
    card
}

fn canonical(card: &Object) -> Vec<u8> {
    let mut out = Vec::new();
    write_canonical(&Value::Object(card.clone()), &mut out);
    out
}

/// `value` without empty strings, lists and objects in it; none where it is one.
fn filled(value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| value.clone()),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().filter_map(filled).collect();
            (!items.is_empty()).then_some(items.into())
        }
        Value::Object(object) => {
            let pairs: Object = object.iter().filter_map(|(key, value)| Some((key, filled(value)?))).collect();
            (!pairs.is_empty()).then_some(Value::Object(pairs))
        }
        Value::Bool(_) | Value::Number(_) => Some(value.clone()),
    }
}

/// Ids of the skills that a card names.
pub fn card_skills(card: &Object) -> impl Iterator<Item = &str> {
    let listed = card.get("skills").and_then(Value::as_array).unwrap_or_default();
    listed.iter().filter_map(|skill| skill.get("id")?.as_str())
}

fn members<'a>(object: &'a Object, name: &'static str) -> impl Iterator<Item = &'a Value> {
    object.iter().filter(move |(key, _)| alike(key, name)).map(|(_, value)| value)
}

fn place(url: &str) -> CardUrl {
    let place = match read(url) {
        Some(parts) => Some((parts.host, parts.port)),
        None => read_authority(url),
    };
    CardUrl { url: url.into(), place }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json;

    fn card(text: &str) -> Object {
        json::parse(text.as_bytes()).unwrap().as_object().cloned().unwrap()
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_signed_is_all_but_signatures_and_what_is_empty() {
        let card = card(
            r#"{"name":"a","x":"","list":[],"nested":{"y":{"z":[""]}},"streaming":false,"none":null,"n":1.50,"signatures":[{"protected":"p","signature":"s","header":{}},{"protected":1},7],"b":[{},"k"]}"#,
        );
        assert_eq!(text(signed_text(&card)), r#"{"b":["k"],"n":1.5,"name":"a","streaming":false}"#);
        assert!(text(card_text(&card)).contains(r#""nested":{"y":{"z":[""]}}"#));
        assert!(!text(card_text(&card)).contains("signatures"));
        let signatures: Vec<_> = card_signatures(&card).collect();
        assert_eq!(signatures, [CardSignature { protected: "p", signature: "s" }]);
        assert_eq!(text(signed_text(&Object::new())), "{}");
    }

    #[test]
    fn members_beside_what_was_signed_are_part_of_it() {
        let (signed, more) = (card(r#"{"name":"a"}"#), card(r#"{"name":"a","url":"https://elsewhere/"}"#));
        assert_ne!(signed_text(&signed), signed_text(&more));
    }

    #[test]
    fn skills() {
        let card = card(r#"{"skills":[{"id":"a"},{"id":7},{},"b",{"id":"c"}]}"#);
        assert_eq!(card_skills(&card).collect::<Vec<_>>(), ["a", "c"]);
    }
}
