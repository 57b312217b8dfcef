//! [`Value`] to bytes, in the one canonical form.

use super::scan::plain_run;
use crate::call::{List, Object, Value};

/// Room to begin with for a message, bytes: most are shorter, and growing from nothing is a copy for every doubling.
pub const FIRST: usize = 2 << 10;

/// Appends `value`: keys in their order, numbers as their text, no white space.
pub fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => out.extend_from_slice(number.as_str().as_bytes()),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => write_list(items, out),
        Value::Object(object) => write_object(object, out),
    }
}

fn write_list(items: &List, out: &mut Vec<u8>) {
    if let Some(text) = items.text() {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut before = b'[';
    for item in items {
        out.push(before);
        write(item, out);
        before = b',';
    }
    if items.is_empty() {
        out.push(b'[');
    }
    out.push(b']');
}

/// Appends `object`, in the same form: as the text that the parser made ready, where nothing of it was changed.
pub fn write_object(object: &Object, out: &mut Vec<u8>) {
    if let Some(text) = object.text() {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut before = b'{';
    for (key, item) in object.iter() {
        out.push(before);
        write_string(key, out);
        out.push(b':');
        write(item, out);
        before = b',';
    }
    if object.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
}

/// Appends `text` as a JSON string: only quote, backslash and U+0000 to U+001F are escaped.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at_checked(plain_run(rest)).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        rest = after;
        out.extend_from_slice(escape(char::from(byte), &mut [0; 6]).as_bytes());
    }
    out.push(b'"');
}

/// What `character` is inside of a string that leaves; `room` is for what has to be made.
pub fn escape(character: char, room: &mut [u8; 6]) -> &str {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match character {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\0'..'\u{20}' => {
            let byte = u32::from(character);
            let digit = |of: u32| HEX.get(of as usize & 0xf).copied().unwrap_or(b'0');
            *room = [b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)];
            // ASCII all of it.
            std::str::from_utf8(room).unwrap_or_default()
        }
        _ => character.encode_utf8(room),
    }
}
