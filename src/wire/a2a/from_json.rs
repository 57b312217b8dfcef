//! A message from a JSON tree: ProtoJSON, or the JSON of A2A 0.3, by the same table of fields.
//!
//! The result has one spelling for each member. The tree itself is not changed: it is not what goes out, its bytes are.

use super::schema::{Field, Kind, Seen, Shape, ShapeFault};
use crate::call::{Number, Object, Value};

/// Reads `object` as `shape`.
pub(super) fn read(object: &Object, shape: &Shape) -> Result<Object, ShapeFault> {
    let mut seen = Seen::default();
    let mut out = Vec::with_capacity(object.len());
    for (key, value) in object.iter() {
        let Some((at, field)) = find(shape, key) else {
            check_unknown(shape, key)?;
            continue;
        };
        let empty = *value == Value::Null && !matches!(field.kind, Kind::Any);
        // A member under two spellings is two, also where one is null: readers differ in which they take.
        seen.note(at, &Field { repeated: false, ..*field }, !empty)?;
        if empty {
            continue;
        }
        let read = if field.repeated { items(value, field)? } else { item(value, field)? };
        out.push((Box::from(field.name), read));
    }
    Ok(Object::from_unique(out))
}

fn find(shape: &Shape, key: &str) -> Option<(usize, &'static Field)> {
    let spelled =
        |field: &Field| field.name == key || (!field.also.is_empty() && field.also == key) || is_snake(key, field.name);
    shape.fields.iter().enumerate().find(|(_, field)| spelled(field))
}

/// Whether `key` is the snake_case form of the lowerCamelCase `name`.
fn is_snake(key: &str, name: &str) -> bool {
    let mut key = key.chars();
    for expected in name.chars() {
        if expected.is_ascii_uppercase() {
            if key.next() != Some('_') || key.next() != Some(expected.to_ascii_lowercase()) {
                return false;
            }
        } else if key.next() != Some(expected) {
            return false;
        }
    }
    key.next().is_none()
}

/// What no field has: let through, unless some reader takes it for one.
fn check_unknown(shape: &Shape, key: &str) -> Result<(), ShapeFault> {
    if alike(key, "__proto__") {
        return Err(ShapeFault::Proto);
    }
    for field in shape.fields {
        if alike(key, field.name) || (!field.also.is_empty() && alike(key, field.also)) {
            return Err(ShapeFault::Lookalike(field.name));
        }
    }
    match shape.foreign.iter().find(|foreign| alike(key, foreign)) {
        Some(foreign) => Err(ShapeFault::Foreign(foreign)),
        None => Ok(()),
    }
}

/// Whether a lenient reader takes one key for the other: without underscores and hyphens, in whatever case, the long s
/// and the Kelvin sign counted as s and k, ProtoJSON's brackets left out.
pub(super) fn alike(one: &str, other: &str) -> bool {
    fn fold(text: &str) -> impl Iterator<Item = char> {
        let kept = text.chars().filter(|c| !matches!(c, '_' | '-' | '[' | ']' | ' '));
        kept.map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
    }
    fold(one).eq(fold(other))
}

fn items(value: &Value, field: &Field) -> Result<Value, ShapeFault> {
    let items = value.as_array().ok_or(ShapeFault::Type(field.name))?;
    Ok(Value::Array(items.iter().map(|value| item(value, field)).collect::<Result<_, _>>()?))
}

fn item(value: &Value, field: &Field) -> Result<Value, ShapeFault> {
    let wrong = ShapeFault::Type(field.name);
    match (field.kind, value) {
        (Kind::Text | Kind::Moment, Value::String(_)) | (Kind::Flag, Value::Bool(_)) => Ok(value.clone()),
        (Kind::Blob, Value::String(text)) => base64_length(text).map(Value::from).ok_or(wrong),
        (Kind::Count, Value::Number(number)) => Ok(Value::Number(number.clone())),
        // ProtoJSON takes numbers in quotes.
        (Kind::Count, Value::String(text)) => {
            text.parse::<i64>().map(|n| Value::Number(Number::from(n))).map_err(|_no_number| wrong)
        }
        (Kind::Choice(names), Value::String(text)) => {
            names.iter().find(|name| ***name == **text).map(|name| Value::from(*name)).ok_or(wrong)
        }
        (Kind::Choice(names), Value::Number(number)) => {
            let at = number.as_i64().and_then(|n| usize::try_from(n).ok());
            at.and_then(|at| names.get(at)).map(|name| Value::from(*name)).ok_or(wrong)
        }
        (Kind::Word(words), Value::String(text)) if words.contains(&&**text) => Ok(value.clone()),
        (Kind::Nested(shape), Value::Object(object)) => read(object, shape).map(Value::Object),
        (Kind::Struct, Value::Object(_)) | (Kind::Any, _) => {
            // Some readers take it out, or act on it.
            if value.names("__proto__") { Err(ShapeFault::Proto) } else { Ok(value.clone()) }
        }
        _ => Err(wrong),
    }
}

/// How many bytes a text stands for, in either alphabet of RFC 4648, with its padding or without.
fn base64_length(text: &str) -> Option<i64> {
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_');
    let whole = padding == 0 || (padding <= 2 && text.len().is_multiple_of(4));
    if !bare.bytes().all(plain) || !whole || bare.len() % 4 == 1 {
        return None;
    }
    i64::try_from(bare.len() / 4 * 3 + (bare.len() % 4).saturating_sub(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        assert!(is_snake("task_push_notification_config", "taskPushNotificationConfig"));
        assert!(is_snake("id", "id"));
        for other in ["taskId", "task__id", "task_Id", "task_id_", "taskid", "task-id"] {
            assert!(!is_snake(other, "taskId"), "{other}");
            assert!(alike(other, "taskId"), "{other}");
        }
        assert!(alike("ta\u{17f}\u{212a}Id", "taskId"));
        assert!(!alike("taskIds", "taskId"));
    }

    #[test]
    fn lengths_of_base64() {
        let rows =
            [("", Some(0)), ("QQ==", Some(1)), ("QQ", Some(1)), ("QUI=", Some(2)), ("QUJD", Some(3)), ("_-8", Some(2))];
        for (text, length) in rows {
            assert_eq!(base64_length(text), length, "{text}");
        }
        for text in ["Q", "QQ=", "Q===", "QQ==QQ==", "Q Q=", "é"] {
            assert_eq!(base64_length(text), None, "{text}");
        }
    }
}
