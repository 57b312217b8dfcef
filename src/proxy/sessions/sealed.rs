//! What a sealed session id says.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::call::{Object, Value};
use crate::config::limits::{MAX_SESSION_ID, SESSION_LIFE};
use crate::seal::{Fields, Reading};
use crate::wire::mcp::{UnknownName, Version};

/// A session as its `initialize` left it: all that later requests need of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proxy) struct Sealed {
    /// The endpoint that issued the id.
    pub(in crate::proxy) endpoint: Arc<str>,
    /// The server's own id.
    pub(in crate::proxy) id: Arc<str>,
    /// The version that the server chose, where it is one that we know.
    pub(in crate::proxy) version: Option<Version>,
    /// What the server calls itself, where servers of that name are known to answer an unknown name in the same words.
    pub(in crate::proxy) server: Option<Arc<str>>,
    /// Which changes of lists the server tells of.
    pub(in crate::proxy) announced: Announced,
}

/// Of which of its lists a server tells when they change (`listChanged` of its capabilities).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::proxy) struct Announced(u8);

/// Lists by their capability, each with its bit.
const LISTS: [(&str, u8); 3] = [("tools", 1), ("prompts", 2), ("resources", 4)];

impl Announced {
    /// As the result of an `initialize` says.
    pub(in crate::proxy) fn read(result: &Value) -> Self {
        let tells = |list: &str| result.get("capabilities")?.get(list)?.get("listChanged")?.as_bool();
        let bits = LISTS.iter().filter(|(list, _)| tells(list) == Some(true)).map(|(_, bit)| bit);
        Self(bits.fold(0, |all, bit| all | bit))
    }

    /// As a server agreed to tell of them by a subscription (2026-07-28): `toolsListChanged` and so on.
    pub(in crate::proxy) fn agreed(wanted: &Value) -> Self {
        let tells = |list: &str| wanted.get(&format!("{list}ListChanged"))?.as_bool();
        let bits = LISTS.iter().filter(|(list, _)| tells(list) == Some(true)).map(|(_, bit)| bit);
        Self(bits.fold(0, |all, bit| all | bit))
    }

    /// The names of those lists.
    pub(in crate::proxy) fn lists(self) -> impl Iterator<Item = &'static str> {
        LISTS.into_iter().filter(move |(_, bit)| self.0 & bit != 0).map(|(list, _)| list)
    }
}

impl Sealed {
    /// From the answer to an `initialize`; none where the id is longer than what is sealed.
    pub(in crate::proxy) fn of(endpoint: &Arc<str>, id: &str, result: &Value) -> Option<Self> {
        let server = result.get("serverInfo").filter(|info| UnknownName::of_server(info).is_some());
        let server = server.and_then(|info| info.get("name")).and_then(Value::as_str);
        (id.len() <= MAX_SESSION_ID).then(|| Self {
            endpoint: Arc::clone(endpoint),
            id: id.into(),
            version: result.get("protocolVersion").and_then(Value::as_str).and_then(Version::parse),
            server: server.map(Into::into),
            announced: Announced::read(result),
        })
    }

    /// How such a server answers an unknown name.
    pub(in crate::proxy) fn wording(&self) -> Option<UnknownName> {
        let info: Object = [("name", Value::from(&**self.server.as_ref()?))].into_iter().collect();
        UnknownName::of_server(&Value::Object(info))
    }

    /// To be sealed, by a session that begins `now`.
    pub(super) fn write(&self, now: SystemTime) -> Vec<u8> {
        let mut fields = Fields::default();
        fields.number(seconds(now + SESSION_LIFE)).byte(self.announced.0);
        fields.maybe(self.version.map(Version::as_str)).maybe(self.server.as_deref());
        fields.text(&self.endpoint).text(&self.id);
        fields.into_bytes()
    }

    /// As it was sealed; none once it has expired.
    pub(super) fn read(bytes: &[u8], now: SystemTime) -> Option<Self> {
        let mut reading = Reading::new(bytes);
        if reading.number()? <= seconds(now) {
            return None;
        }
        let announced = Announced(reading.byte()?);
        let version = match reading.maybe()? {
            None => None,
            // A version that this replica does not know was never agreed on here.
            Some(version) => Some(Version::parse(version)?),
        };
        let server = reading.maybe()?.map(Into::into);
        let (endpoint, id) = (reading.text()?.into(), reading.text()?.into());
        Some(Self { endpoint, id, version, server, announced }).filter(|_| reading.is_over())
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
