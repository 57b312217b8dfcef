//! `Mcp-Param-` headers: arguments of a tool, said again for whoever does not read bodies (MCP 2026-07-28).
//!
//! Which argument a header repeats stands in the tool's schema (`x-mcp-header`), which is not known here. What is sure: it
//! says what no argument says, or it does not.

use std::collections::HashSet;

use super::Mirror;
use crate::call::{Object, Value};

/// Whether every header is readable and says what some argument says.
pub(super) fn repeat(headers: &[Mirror], arguments: Option<&Object>) -> bool {
    let mut left: HashSet<&str> = HashSet::with_capacity(headers.len());
    for header in headers {
        let Mirror::Says(text) = header else { return false };
        left.insert(text);
    }
    if let Some(arguments) = arguments.filter(|_| !left.is_empty()) {
        arguments.iter().for_each(|(_, value)| take(value, &mut left));
    }
    left.is_empty()
}

/// Takes out what is said by `value` or anything in it. As deep as the parser let it be.
fn take(value: &Value, left: &mut HashSet<&str>) {
    let said = match value {
        Value::String(text) => text,
        Value::Number(number) => number.as_str(),
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Null => return,
        Value::Array(items) => return items.iter().for_each(|item| take(item, left)),
        Value::Object(object) => return object.iter().for_each(|(_, value)| take(value, left)),
    };
    left.remove(said);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json;

    #[test]
    fn a_header_says_what_some_argument_says() {
        let arguments = br#"{"region":"eu","n":1.50,"dry":true,"deep":{"list":["x"]},"none":null}"#;
        let arguments = json::parse(arguments).unwrap();
        let says = |texts: &[&str]| {
            let headers: Vec<_> = texts.iter().map(|text| Mirror::Says((*text).to_owned())).collect();
            repeat(&headers, arguments.as_object())
        };
        for good in [&[][..], &["eu"], &["1.50"], &["true"], &["x"], &["eu", "eu", "true"]] {
            assert!(says(good), "{good:?}");
        }
        for bad in [&["us"][..], &["eu", "us"], &["1.5"], &["false"], &["null"], &["region"], &[""]] {
            assert!(!says(bad), "{bad:?}");
        }
        assert!(!repeat(&[Mirror::Unclear], arguments.as_object()));
        assert!(repeat(&[], None) && !repeat(&[Mirror::Says("eu".into())], None));
    }
}
