//! Request ids.

use std::sync::Arc;

use crate::call::Value;
use crate::config::limits::{MAX_NAME, MAX_SEALED};
use crate::wire::json;

/// Largest integer that every JSON reader keeps exactly: 2^53-1.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// The id of a request: a string of at most `MAX_NAME` bytes, as ids are remembered, or an integer within +-(2^53-1).
///
/// `1` and `"1"` are different ids but collide in most clients, which keep them in one map keyed by text; see
/// [`Id::collides`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id {
    /// JSON text, to be echoed as it is.
    text: Arc<str>,
    /// Without quotes and escapes.
    plain: Arc<str>,
}

impl Id {
    /// Reads an id; `None` for every other kind of value, for `1.0`, `1e3`, `-0`, for integers beyond 2^53-1 and for longer
    /// strings.
    pub fn read(value: &Value) -> Option<Self> {
        Self::read_within(MAX_NAME, value)
    }

    /// Reads the id of an answer, which may be one of ours: a sealed text of up to `MAX_SEALED` bytes.
    pub fn read_of_answer(value: &Value) -> Option<Self> {
        Self::read_within(MAX_SEALED, value)
    }

    /// The string `text` as an id, of whatever length: one of ours.
    pub fn of_text(text: &str) -> Self {
        let mut out = Vec::with_capacity(text.len() + 2);
        json::write_string(text, &mut out);
        Self { text: String::from_utf8_lossy(&out).into(), plain: text.into() }
    }

    fn read_within(limit: usize, value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => (text.len() <= limit).then(|| Self::of_text(text)),
            Value::Number(number) => {
                let exact = number.as_i64().is_some_and(|n| n.unsigned_abs() <= MAX_EXACT);
                let text: Arc<str> = number.as_str().into();
                (exact && &*text != "-0").then(|| Self { text: Arc::clone(&text), plain: text })
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The JSON text: `1`, `"a"`.
    pub fn as_json(&self) -> &str {
        &self.text
    }

    /// Without quotes: the key under which `1` and `"1"` are one. For maps of requests in flight.
    pub fn plain(&self) -> &str {
        &self.plain
    }

    /// Whether a peer that keys ids by text would take one for the other.
    pub fn collides(&self, other: &Self) -> bool {
        self.plain == other.plain
    }

    /// The id as a JSON value again.
    pub fn to_value(&self) -> Value {
        if self.text.starts_with('"') {
            Value::from(&*self.plain)
        } else {
            self.text.parse().map_or(Value::Null, |n: i64| Value::from(n))
        }
    }
}
