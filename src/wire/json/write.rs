//! [`Value`] to bytes, in the one canonical form.

use super::scan::plain_run;
use crate::call::{Object, Value};

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
        Value::Array(items) => {
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
        Value::Object(object) => write_object(object, out),
    }
}

/// Appends `object`, in the same form.
pub fn write_object(object: &Object, out: &mut Vec<u8>) {
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
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at_checked(plain_run(rest)).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        rest = after;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x8 => out.extend_from_slice(b"\\b"),
            0xc => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let low = HEX.get(usize::from(byte & 0xf)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), low]);
            }
        }
    }
    out.push(b'"');
}
