//! The URLs of an agent card that clients call. The card itself is never changed: its signatures stay valid.

use super::from_json::alike;
use super::url::{read, read_authority};
use crate::call::{A2aBinding, Object, UrlHost, Value};

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
