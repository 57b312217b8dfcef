//! The URLs of an agent card that clients call. The card itself is never changed: its signatures stay valid.

use super::url::{read, read_authority};
use crate::call::{Object, UrlHost, Value};

/// A URL under which a card says that the agent is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardUrl {
    /// As written.
    pub url: Box<str>,
    /// Host and port; none where they cannot be told without doubt.
    pub place: Option<(UrlHost, u16)>,
}

/// Every interface of the card, of 1.0 and of 0.3 alike: clients of either take theirs.
pub fn card_urls(card: &Object) -> Vec<CardUrl> {
    let lists = ["supportedInterfaces", "additionalInterfaces"];
    let listed = lists.into_iter().flat_map(|key| card.get(key).and_then(Value::as_array).unwrap_or_default());
    let urls = card.get("url").into_iter().chain(listed.filter_map(|interface| interface.get("url")));
    urls.filter_map(Value::as_str).filter(|url| !url.is_empty()).map(place).collect()
}

fn place(url: &str) -> CardUrl {
    let place = match read(url) {
        Some(parts) => Some((parts.host, parts.port)),
        None => read_authority(url),
    };
    CardUrl { url: url.into(), place }
}
