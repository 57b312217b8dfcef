//! JSON text to the same tree: for documents that a program wrote down, of which the text is nobody's own. What YAML takes
//! for a character that cannot be printed, or for a key that is too long, is text like any other there.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::tree::{Field, NoYaml, Node, Value};

/// The one document of `text`. Nesting is bounded by the parser; a key that stands twice is kept twice.
pub(super) fn parse(text: &str) -> Result<Node, NoYaml> {
    let parsed: Result<Plain, serde_json::Error> = serde_json::from_str(text);
    parsed.map(|Plain(value)| node(value)).map_err(|error| NoYaml { line: error.line(), reason: error.to_string() })
}

/// Whoever wrote it counts no lines: it all stands on the first.
fn node(value: Value) -> Node {
    Node { line: 1, value }
}

struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain(Value::Null))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain(Value::Bool(value)))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain(Value::Signed(value)))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
        Ok(Plain(Value::Unsigned(value)))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Plain, E> {
        Ok(Plain(Value::Float(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Plain, E> {
        Ok(Plain(Value::Text(value.to_owned())))
    }
    fn visit_string<E>(self, value: String) -> Result<Plain, E> {
        Ok(Plain(Value::Text(value)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Plain, A::Error> {
        let mut items = Vec::new();
        while let Some(Plain(item)) = access.next_element()? {
            items.push(node(item));
        }
        Ok(Plain(Value::List(items)))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Plain, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, Plain(value))) = access.next_entry()? {
            fields.push(Field { key, line: 1, node: node(value) });
        }
        Ok(Plain(Value::Map(fields)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    #[test]
    fn the_tree_is_the_one_that_yaml_makes_of_the_same_text() {
        let text = r#"{"a":[1,-2,1.5,true,null,"x"],"b":{"c":"d\n\"\\","e":{}},"b":"twice","f":[]}"#;
        let read = parse(text).unwrap();
        assert_eq!(read, tree::parse(text).unwrap().remove(0));
        assert_eq!(read.twice(), Some(("b".to_owned(), 1)));
    }

    #[test]
    fn every_text_is_text() {
        for odd in ["\u{7f}", "\u{85}", "\u{9b}", "\u{feff}", "\u{fffe}", "\u{2028}", "<<", &"k".repeat(2_000)] {
            let object = serde_json::json!({odd: odd});
            let read = parse(&object.to_string()).unwrap();
            assert_eq!(read.get(odd).and_then(Node::text), Some(odd), "{odd:?}");
        }
    }

    #[test]
    fn what_is_no_json_is_none() {
        for bad in ["", "a: 1", "{", "{} {}", r#"{"a":1,}"#, &"[".repeat(100_000)] {
            assert!(parse(bad).is_err(), "{bad:.20}");
        }
    }
}
