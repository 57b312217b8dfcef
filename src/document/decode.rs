//! A tree to a typed value by serde, strictly, and every mismatch as a field path with a remedy.
//!
//! Nulls count as absent, as Kubernetes drops them. Nothing is converted: a number where text is wanted is an error
//! that says to quote it.

use std::fmt;

use serde::de::{self, DeserializeOwned, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess, SeqAccess};
use serde::de::{DeserializeSeed, Unexpected, VariantAccess, Visitor};

use super::nearest::nearest;
use super::tree::{Field, Node, Value, join};

/// What does not fit, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mismatch {
    path: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    UnknownField { name: String, known: &'static [&'static str] },
    MissingField(&'static str),
    Other(String),
}

/// How many unknown fields of one document are told at once.
const MANY: usize = 16;

/// Types `node`; on failure every unknown field, and the first of any other mismatch. `at` is the path of `node`.
pub(super) fn decode<T: DeserializeOwned>(node: &Node, at: &str) -> Result<T, Vec<(String, String)>> {
    let first = match T::deserialize(node) {
        Ok(value) => return Ok(value),
        Err(mismatch) => mismatch,
    };
    let mut rest = node.clone();
    let mut found = Vec::new();
    let mut next = Some(first);
    while let Some(mismatch) = next.take().filter(|_| found.len() < MANY) {
        let unknown = matches!(mismatch.what, What::UnknownField { .. });
        let again = unknown && remove(&mut rest, &mismatch.path);
        found.push((join(at, &mismatch.field()), mismatch.reason()));
        if again {
            next = T::deserialize(&rest).err();
        }
    }
    Err(found)
}

/// Takes the field at `path` out of `node`; false if it is not there.
fn remove(node: &mut Node, path: &str) -> bool {
    if let Some(rest) = path.strip_prefix('[') {
        let Some((index, rest)) = rest.split_once(']') else { return false };
        let Value::List(items) = &mut node.value else { return false };
        let item = index.parse::<usize>().ok().and_then(|index| items.get_mut(index));
        return item.is_some_and(|item| remove(item, rest.trim_start_matches('.')));
    }
    let Value::Map(fields) = &mut node.value else { return false };
    let before = fields.len();
    fields.retain(|field| field.key != path);
    if fields.len() < before {
        return true;
    }
    fields.iter_mut().any(|Field { key, node, .. }| {
        let rest = path.strip_prefix(key.as_str()).filter(|rest| rest.starts_with(['.', '[']));
        rest.is_some_and(|rest| remove(node, rest.trim_start_matches('.')))
    })
}

impl Mismatch {
    fn other(reason: impl Into<String>) -> Self {
        Self { path: String::new(), what: What::Other(reason.into()) }
    }

    fn under(mut self, head: &str) -> Self {
        self.path = join(head, &self.path);
        self
    }

    fn field(&self) -> String {
        match self.what {
            What::MissingField(name) => join(&self.path, name),
            What::UnknownField { .. } | What::Other(_) => self.path.clone(),
        }
    }

    fn reason(&self) -> String {
        match &self.what {
            What::MissingField(_) => "is required and missing".to_owned(),
            What::Other(reason) => reason.clone(),
            What::UnknownField { name, known } => match nearest(name, known.iter().copied()) {
                Some(near) => format!("unknown field; did you mean `{near}`?"),
                None if known.is_empty() => "unknown field".to_owned(),
                None => format!("unknown field; known here: {}", known.join(", ")),
            },
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field(), self.reason())
    }
}

impl std::error::Error for Mismatch {}

/// Rust's words for types, in the words of whoever writes YAML.
fn wanted(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "a string" | "string" | "identifier" => "text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "a nonzero u16" | "u16" => "a port number from 1 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "i64" => "a whole number".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other => other.to_owned(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "serde's own words do for what YAML has not")]
fn found(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value}"),
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::other(message.to_string())
    }
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let scalar = matches!(
            unexpected,
            Unexpected::Bool(_) | Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_)
        );
        let wanted = wanted(expected);
        let remedy = match (wanted == "text", matches!(unexpected, Unexpected::Bool(_))) {
            (true, true) => "; put it in quotes (y, n, yes, no, on, off mean true or false)",
            (true, false) if scalar => "; put it in quotes",
            (true | false, _) => "",
        };
        Self::other(format!("must be {wanted}, not {}{remedy}", found(unexpected)))
    }
    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::other(format!("must be {}, not {}", wanted(expected), found(unexpected)))
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let known = expected.join(", ");
        match nearest(variant, expected.iter().copied()) {
            Some(near) => Self::other(format!("{variant:?} is not one of {known}; did you mean `{near}`?")),
            None => Self::other(format!("{variant:?} is not one of {known}")),
        }
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self { path: String::new(), what: What::UnknownField { name: field.to_owned(), known: expected } }
    }
    fn missing_field(field: &'static str) -> Self {
        Self { path: String::new(), what: What::MissingField(field) }
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter(), index: 0 }),
            Value::Map(fields) => visitor.visit_map(Fields { fields: fields.iter(), current: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.value == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match &self.value {
            Value::Text(text) => visitor.visit_enum(Word(text)),
            Value::Null => Err(Mismatch::other("must be text, not nothing")),
            Value::Bool(_) | Value::Signed(_) | Value::Unsigned(_) | Value::Float(_) => {
                Err(Mismatch::other("must be text; put it in quotes"))
            }
            Value::List(_) => Err(Mismatch::other("must be text, not a list")),
            Value::Map(_) => Err(Mismatch::other("must be text, not a mapping")),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Mismatch;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mismatch> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(item).map(Some).map_err(|fault| fault.under(&format!("[{index}]")))
    }
}

struct Fields<'de> {
    fields: std::slice::Iter<'de, Field>,
    current: Option<&'de Field>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Mismatch;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        let Some(field) = self.fields.find(|field| field.node.value != Value::Null) else { return Ok(None) };
        self.current = Some(field);
        let key: de::value::BorrowedStrDeserializer<'de, Mismatch> =
            de::value::BorrowedStrDeserializer::new(&field.key);
        seed.deserialize(key).map(Some).map_err(|fault| fault.under(&field.key))
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let field = self.current.take().ok_or_else(|| Mismatch::other("value before key"))?;
        seed.deserialize(&field.node).map_err(|fault| fault.under(&field.key))
    }
}

/// A text as the name of a variant without content.
struct Word<'de>(&'de str);

impl<'de> EnumAccess<'de> for Word<'de> {
    type Error = Mismatch;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Mismatch> {
        let name: de::value::StrDeserializer<'_, Mismatch> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Word<'de> {
    type Error = Mismatch;
    fn unit_variant(self) -> Result<(), Mismatch> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Mismatch> {
        Err(Mismatch::other("takes no content"))
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Mismatch> {
        Err(Mismatch::other("takes no content"))
    }
    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Mismatch> {
        Err(Mismatch::other("takes no content"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::agent_policy::{AgentPolicySpec, Mode, Protocol};
    use crate::document::tree::parse;

    fn spec(text: &str) -> Result<AgentPolicySpec, Vec<(String, String)>> {
        decode(&parse(text).unwrap().remove(0), "spec")
    }

    #[test]
    fn a_whole_policy_is_typed() {
        let text = "
targetRefs: [{kind: Service, name: a, sectionName: mcp}]
protocol: MCP
mode: DryRun
deny: null
allow:
- {name: x, from: [{serviceAccounts: [x]}], to: [{tools: ['get_*'], http: {methods: [GET]}}], when: 'true'}
";
        let spec = spec(text).unwrap();
        assert_eq!((spec.protocol, spec.mode), (Some(Protocol::Mcp), Mode::DryRun));
        assert!(spec.deny.is_empty());
        assert_eq!(spec.allow[0].to.as_ref().unwrap()[0].http.as_ref().unwrap().methods, ["GET"]);
    }

    #[test]
    fn mismatches_say_field_and_remedy() {
        let refs = "targetRefs: [{kind: Service, name: a}]\n";
        let rows = [
            ("allow: []\n".to_owned(), "spec.targetRefs", "is required and missing"),
            (format!("{refs}allows: []"), "spec.allows", "unknown field; did you mean `allow`?"),
            (
                format!("{refs}allow: [{{}}, {{to: [{{tool: [x]}}]}}]"),
                "spec.allow[1].to[0].tool",
                "unknown field; did you mean `tools`?",
            ),
            (
                format!("{refs}zzzzzz: 1"),
                "spec.zzzzzz",
                "unknown field; known here: targetRefs, protocol, mode, denial, deny, require, allow, a2a, results, limits, pins, external",
            ),
            (format!("{refs}protocol: mcp"), "spec.protocol", "\"mcp\" is not one of MCP, A2A; did you mean `MCP`?"),
            (format!("{refs}mode: Off"), "spec.mode", "must be text; put it in quotes"),
            (
                "targetRefs: [{kind: Service, name: a, sectionName: 8080}]".to_owned(),
                "spec.targetRefs[0].sectionName",
                "must be text, not the number 8080; put it in quotes",
            ),
            (format!("{refs}allow: {{name: x}}"), "spec.allow", "must be a list, not a mapping"),
            (format!("{refs}allow: [x]"), "spec.allow[0]", "must be a mapping, not the text \"x\""),
            (format!("{refs}require: [{{name: x}}]"), "spec.require[0].that", "is required and missing"),
            (
                format!("{refs}allow: [{{from: [{{namespaces: [yes]}}]}}]"),
                "spec.allow[0].from[0].namespaces[0]",
                "must be text, not `true`; put it in quotes (y, n, yes, no, on, off mean true or false)",
            ),
        ];
        for (text, field, reason) in rows {
            assert_eq!(spec(&text).unwrap_err(), [(field.to_owned(), reason.to_owned())], "{text}");
        }
    }

    #[test]
    fn every_unknown_field_is_told_at_once() {
        let found = spec("targetRefs: []\nalow: []\nallow: [{form: []}, {whem: x, name: 1}]").unwrap_err();
        let fields: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["spec.alow", "spec.allow[0].form", "spec.allow[1].whem", "spec.allow[1].name"]);
    }
}
