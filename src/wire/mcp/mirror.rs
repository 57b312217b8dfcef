//! `Mcp-Method` and `Mcp-Name`: headers that say again what the body says (MCP 2026-07-28).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::head::once;

/// A header that says again what the body says (`Mcp-Method`, `Mcp-Name`; since MCP 2026-07-28).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mirror {
    /// Not sent.
    #[default]
    Absent,
    /// Sent once and readable, decoded.
    Says(String),
    /// Repeated or not readable.
    Unclear,
}

impl Mirror {
    pub(super) fn says(&self, text: &str) -> bool {
        matches!(self, Self::Says(said) if said == text)
    }

    pub(super) fn contradicts(&self, text: &str) -> bool {
        *self != Self::Absent && !self.says(text)
    }

    pub(super) fn read(headers: &HeaderMap, name: &HeaderName) -> Self {
        match once(headers, name) {
            Ok(None) => Self::Absent,
            Ok(Some(value)) => value.to_str().ok().and_then(decode_mirror).map_or(Self::Unclear, Self::Says),
            Err(_) => Self::Unclear,
        }
    }
}

const BASE64_START: &str = "=?base64?";
const BASE64_END: &str = "?=";

fn wrapped(text: &str) -> Option<&str> {
    text.strip_prefix(BASE64_START)?.strip_suffix(BASE64_END)
}

fn decode_mirror(value: &str) -> Option<String> {
    let value = value.trim_matches([' ', '\t']);
    let Some(wrapped) = wrapped(value) else { return Some(value.to_owned()) };
    String::from_utf8(STANDARD.decode(wrapped).ok()?).ok()
}

/// `text` as the value of a mirroring header: itself where it can stand there, else in Base64.
pub fn encode_mirror(text: &str) -> Option<HeaderValue> {
    let printable = text.bytes().all(|b| matches!(b, 0x20..=0x7e));
    let edged = text.starts_with(' ') || text.ends_with(' ');
    if printable && !edged && wrapped(text).is_none() {
        return HeaderValue::from_str(text).ok();
    }
    HeaderValue::from_str(&format!("{BASE64_START}{}{BASE64_END}", STANDARD.encode(text))).ok()
}
