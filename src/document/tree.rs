//! YAML (and so JSON) text to a tree that remembers lines. Nothing is typed here.
//!
//! Aliases, depth and size are bounded; a key that stands twice is kept twice, so that whoever types the document can
//! refuse that document alone.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use super::nearest::within;
use crate::config::limits;

/// A value and the line (from 1) that it stands on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What YAML's core schema knows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Field>),
}

/// One entry of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) key: String,
    /// Line of the key, which is where a reader looks; the value may begin on the next.
    pub(super) line: usize,
    pub(super) node: Node,
}

/// Text that is no YAML. The line is 0 where the parser cannot say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoYaml {
    pub(super) line: usize,
    pub(super) reason: String,
}

/// The non-empty documents of `text`.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, NoYaml> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: limits::MAX_DOCUMENT_DEPTH,
            max_documents: limits::MAX_DOCUMENTS,
            max_events: limits::MAX_DOCUMENT_NODES * 2,
            max_nodes: limits::MAX_DOCUMENT_NODES,
            max_anchors: limits::MAX_ANCHORS,
            max_aliases: limits::MAX_ANCHORS,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: limits::MAX_ALIAS_EVENTS },
    };
    serde_saphyr::from_multiple_with_options::<Node>(text, options).map_err(|error| {
        let line = error.location().and_then(|at| usize::try_from(at.line()).ok()).unwrap_or(0);
        NoYaml { line, reason: error.without_snippet().to_string() }
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { line: usize::try_from(spanned.referenced.line()).unwrap_or(0), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Signed(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Node>()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            let line = usize::try_from(key.referenced.line()).unwrap_or(0);
            fields.push(Field { key: key.value, line, node: access.next_value()? });
        }
        Ok(Value::Map(fields))
    }
}

impl Node {
    /// The value of `key` in a mapping; nulls count as absent, as Kubernetes drops them.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let field = self.fields().iter().find(|field| field.key == key)?;
        (field.node.value != Value::Null).then_some(&field.node)
    }

    /// Entries of a mapping, none for anything else.
    pub(super) fn fields(&self) -> &[Field] {
        match &self.value {
            Value::Map(fields) => fields,
            Value::Null
            | Value::Bool(_)
            | Value::Signed(_)
            | Value::Unsigned(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_) => &[],
        }
    }

    /// Items of a list, `None` for anything else.
    pub(super) fn items(&self) -> Option<&[Self]> {
        if let Value::List(items) = &self.value { Some(items) } else { None }
    }

    /// Takes the list at `key` out of a mapping.
    pub(super) fn take_items(&mut self, key: &str) -> Option<Vec<Self>> {
        let Value::Map(fields) = &mut self.value else { return None };
        let field = fields.iter_mut().find(|field| field.key == key)?;
        let Value::List(items) = &mut field.node.value else { return None };
        Some(std::mem::take(items))
    }

    /// The text, `None` for anything else.
    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// Text or whole number as text, as in names that some write without quotes.
    pub(super) fn word(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Unsigned(number) => Some(number.to_string()),
            Value::Signed(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether this is a `List` of documents: by its kind, or, as its kind may be misspelt, by what its items are.
    pub(super) fn is_list(&self) -> bool {
        let Some(items) = self.get("items").and_then(Self::items) else { return false };
        let is_document = |item: &Self| item.get("apiVersion").is_some() && item.get("kind").is_some();
        let named = self.get("kind").and_then(Self::text).is_some_and(|kind| kind.ends_with("List"));
        named || items.iter().any(is_document)
    }

    /// What is wrong with a `List` whose documents cannot all be found.
    pub(super) fn odd_list(&self) -> Option<&'static str> {
        let several = self.fields().iter().filter(|field| field.key == "items").count() > 1;
        if several && self.get("kind").and_then(Self::text).is_some_and(|kind| within(kind, "List", 2)) {
            return Some("stands twice in one mapping; keep one");
        }
        let plain = self.get("kind").and_then(Self::text).is_some_and(|kind| kind.eq_ignore_ascii_case("list"));
        let none = self.get("items").and_then(Self::items).is_none();
        (plain && none).then_some("is required and must be a list: the documents of a List stand there")
    }

    /// Line of the field at `path` (`spec.allow[0].when`), or of the nearest field above it that exists.
    pub(crate) fn line_of(&self, path: &str) -> usize {
        self.walk(path).map_or(self.line, |(line, _)| line)
    }

    /// Line and rest-free node at `path` as far as it exists.
    fn walk(&self, path: &str) -> Option<(usize, &Self)> {
        let path = path.trim_start_matches('.');
        if let Some(rest) = path.strip_prefix('[') {
            let (index, rest) = rest.split_once(']')?;
            let node = self.items()?.get(index.parse::<usize>().ok()?)?;
            return Some(node.walk(rest).unwrap_or((node.line, node)));
        }
        let starts = |key: &str| {
            path.strip_prefix(key)
                .filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                .filter(|_| !key.is_empty())
        };
        let fields = self.fields().iter().filter_map(|field| Some((field, starts(&field.key)?)));
        let (field, rest) = fields.max_by_key(|(field, _)| field.key.len())?;
        Some(field.node.walk(rest).unwrap_or((field.line, &field.node)))
    }

    /// Path of the first field or item below that `test` finds, depth first.
    pub(super) fn find(&self, test: &impl Fn(&str, &Value) -> bool) -> Option<String> {
        let below = |key: String, name: &str, node: &Self| {
            if test(name, &node.value) { Some(key) } else { node.find(test).map(|path| join(&key, &path)) }
        };
        match &self.value {
            Value::List(items) => {
                items.iter().enumerate().find_map(|(index, item)| below(format!("[{index}]"), "", item))
            }
            Value::Map(fields) => fields.iter().find_map(|field| below(field.key.clone(), &field.key, &field.node)),
            Value::Null | Value::Bool(_) | Value::Signed(_) | Value::Unsigned(_) | Value::Float(_) | Value::Text(_) => {
                None
            }
        }
    }

    /// The first key that stands twice in one mapping: its path and line.
    pub(super) fn twice(&self) -> Option<(String, usize)> {
        match &self.value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .find_map(|(index, item)| item.twice().map(|(path, line)| (join(&format!("[{index}]"), &path), line))),
            Value::Map(fields) => {
                let mut seen = std::collections::HashSet::new();
                fields.iter().find_map(|field| {
                    if !seen.insert(field.key.as_str()) {
                        return Some((field.key.clone(), field.line));
                    }
                    field.node.twice().map(|(path, line)| (join(&field.key, &path), line))
                })
            }
            Value::Null | Value::Bool(_) | Value::Signed(_) | Value::Unsigned(_) | Value::Float(_) | Value::Text(_) => {
                None
            }
        }
    }
}

/// `a` + `b` as a path: `spec` + `allow`, `allow` + `[0]`.
pub(super) fn join(head: &str, tail: &str) -> String {
    if head.is_empty() || tail.is_empty() || tail.starts_with('[') {
        format!("{head}{tail}")
    } else {
        format!("{head}.{tail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# comment
spec:
  allow:
  - name: a
    when: |
      true
  - name: b
    when: x
metadata: {labels: {istio.io/use-waypoint: none, istio.io: y}}
---
second: 1
";

    #[test]
    fn lines_are_those_of_the_keys() {
        let nodes = parse(TEXT).unwrap();
        assert_eq!(nodes.len(), 2);
        let rows = [
            ("spec", 2),
            ("spec.allow", 3),
            ("spec.allow[0].name", 4),
            ("spec.allow[0].when", 5),
            ("spec.allow[1].when", 8),
            ("spec.allow[1].missing", 7),
            ("spec.allow[9]", 3),
            ("metadata.labels.istio.io/use-waypoint", 9),
        ];
        for (path, line) in rows {
            assert_eq!(nodes[0].line_of(path), line, "{path}");
        }
        assert_eq!(nodes[1].line_of("second"), 11);
    }

    #[test]
    fn a_key_twice_is_found_with_its_path() {
        let node = parse("a:\n- b: 1\n  c: 2\n  b: 3\n").unwrap().remove(0);
        assert_eq!(node.twice(), Some(("a[0].b".to_owned(), 4)));
        assert_eq!(parse("a: 1\nb: {a: 1}\n").unwrap().remove(0).twice(), None);
    }

    #[test]
    fn broken_text_says_its_line() {
        let fault = parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(fault.line >= 2, "{fault:?}");
        assert!(parse("a: *nowhere\n").is_err());
    }

    #[test]
    fn aliases_cannot_grow_without_bound() {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for (from, to) in ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"].iter().map(|s| s.split_at(1)) {
            let row = std::iter::repeat_n(format!("*{from}"), 10).collect::<Vec<_>>().join(", ");
            text.push_str(&format!("{to}: &{to} [{row}]\n"));
        }
        assert!(parse(&text).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn aliases_and_merges_within_bounds_are_expanded() {
        let node = parse("base: &b {x: 1}\nuse: {<<: *b, y: 2}\nagain: *b\n").unwrap().remove(0);
        assert_eq!(node.get("use").unwrap().get("x").unwrap().value, node.get("base").unwrap().get("x").unwrap().value);
        assert_eq!(node.twice(), None);
        assert!(node.get("again").unwrap().get("x").is_some());
    }
}
