//! `Mcp-Param-` headers: arguments of a tool, said again for whoever does not read bodies (MCP 2026-07-28).
//!
//! Which argument a header repeats stands in the tool's schema (`x-mcp-header`). Where that was not seen, this much is sure: a
//! header says what some argument says, or it does not.

use std::collections::HashSet;

use super::Mirror;
use crate::call::{Object, Value};

/// Declarations of one tool that are read, and the depth to which they are looked for.
const MAX_DECLARED: usize = 64;
const MAX_DEPTH: usize = 16;
const DECLARED: &str = "x-mcp-header";

/// One `Mcp-Param-` header: what follows that in its name, in lower case, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub(super) name: Box<str>,
    pub(super) says: Mirror,
}

/// Whether every header is readable and says what some argument says.
pub(super) fn repeat(headers: &[Parameter], arguments: Option<&Object>) -> bool {
    let mut left: HashSet<&str> = HashSet::with_capacity(headers.len());
    for header in headers {
        let Mirror::Says(text) = &header.says else { return false };
        left.insert(text);
    }
    if let Some(arguments) = arguments.filter(|_| !left.is_empty()) {
        arguments.iter().for_each(|(_, value)| take(value, &mut left));
    }
    left.is_empty()
}

/// Takes out what is said by `value` or any member of it. As deep as the parser let it be; no header repeats an item of a list.
fn take(value: &Value, left: &mut HashSet<&str>) {
    match (plain(value), value) {
        (Some(said), _) => {
            left.remove(said);
        }
        (None, Value::Object(object)) => object.iter().for_each(|(_, value)| take(value, left)),
        (None, _) => {}
    }
}

/// As a header says it.
fn plain(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.as_str()),
        Value::Bool(true) => Some("true"),
        Value::Bool(false) => Some("false"),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Which argument of one tool each header repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared(Vec<(Box<str>, Vec<Box<str>>)>);

impl Declared {
    /// As an entry of `tools/list` says; none where it says nothing, or more than is read.
    pub fn of(entry: &Value) -> Option<Self> {
        if !entry.names(DECLARED) {
            return None;
        }
        let (mut found, mut path) = (Vec::new(), Vec::new());
        let within = read(entry.get("inputSchema")?, &mut path, &mut found);
        (within && !found.is_empty()).then_some(Self(found))
    }

    /// Whether every header of these that the tool declares says what its own argument says.
    pub fn agree(&self, headers: &[Parameter], arguments: Option<&Object>) -> bool {
        headers.iter().all(|header| {
            let mut declared = self.0.iter().filter(|(name, _)| *name == header.name);
            declared.all(|(_, path)| matches!((&header.says, at(arguments, path)), (Mirror::Says(said), Some(is)) if *said == is))
        })
    }
}

/// What the argument at `path` says.
fn at<'a>(arguments: Option<&'a Object>, path: &[Box<str>]) -> Option<&'a str> {
    let (last, above) = path.split_last()?;
    let within = above.iter().try_fold(arguments?, |object, name| object.get(name)?.as_object())?;
    plain(within.get(last)?)
}

/// Reads what is reached by `properties` alone: declared elsewhere a header counts for no client.
fn read(schema: &Value, path: &mut Vec<Box<str>>, found: &mut Vec<(Box<str>, Vec<Box<str>>)>) -> bool {
    if let Some(name) = schema.get(DECLARED).and_then(Value::as_str) {
        found.push((name.to_ascii_lowercase().into(), path.clone()));
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return true };
    if path.len() >= MAX_DEPTH {
        return false;
    }
    for (name, below) in properties.iter() {
        path.push(name.into());
        let within = read(below, path, found) && found.len() <= MAX_DECLARED;
        path.pop();
        if !within {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json;

    fn header(name: &str, says: &str) -> Parameter {
        Parameter { name: name.into(), says: Mirror::Says(says.into()) }
    }

    #[test]
    fn a_header_says_what_some_argument_says() {
        let arguments = br#"{"region":"eu","n":1.50,"dry":true,"deep":{"list":["x"],"in":"y"},"none":null}"#;
        let arguments = json::parse(arguments).unwrap();
        let says = |texts: &[&str]| {
            let headers: Vec<_> = texts.iter().map(|text| header("x", text)).collect();
            repeat(&headers, arguments.as_object())
        };
        for good in [&[][..], &["eu"], &["1.50"], &["true"], &["y"], &["eu", "eu", "true"]] {
            assert!(says(good), "{good:?}");
        }
        for bad in [&["us"][..], &["eu", "us"], &["1.5"], &["false"], &["null"], &["region"], &["x"], &[""]] {
            assert!(!says(bad), "{bad:?}");
        }
        assert!(!repeat(&[Parameter { name: "x".into(), says: Mirror::Unclear }], arguments.as_object()));
        assert!(repeat(&[], None) && !repeat(&[header("x", "eu")], None));
    }

    #[test]
    fn a_declared_header_says_what_its_own_argument_says() {
        let entry = br#"{"name":"t","inputSchema":{"properties":{
            "region":{"type":"string","x-mcp-header":"Region"},
            "other":{"type":"string"},
            "deep":{"properties":{"tenant":{"x-mcp-header":"TENANT"}}},
            "list":{"items":{"x-mcp-header":"Item"}}}}}"#;
        let declared = Declared::of(&json::parse(entry).unwrap()).unwrap();
        let arguments = json::parse(br#"{"region":"eu","other":"us","deep":{"tenant":"a"},"list":["i"]}"#).unwrap();
        let agree = |name: &str, says: &str| declared.agree(&[header(name, says)], arguments.as_object());
        assert!(agree("region", "eu") && agree("tenant", "a"));
        assert!(!agree("region", "us") && !agree("region", "a") && !agree("tenant", "eu") && !agree("region", ""));
        assert!(agree("other", "us"), "what is not declared is asked of `repeat` alone");
        assert!(!declared.agree(&[header("region", "eu")], None));
        for none in [r#"{"name":"t"}"#, r#"{"inputSchema":{"properties":{"a":{"type":"string"}}}}"#, "5"] {
            assert_eq!(Declared::of(&json::parse(none.as_bytes()).unwrap()), None, "{none}");
        }
    }
}
