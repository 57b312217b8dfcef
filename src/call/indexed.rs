use std::sync::Arc;

use super::value::{Number, Value};
use super::{List, Object};

/// One JSON text in the form in which values leave us, and where each of its values stands.
///
/// Made by `wire::json` alone, which has checked all of it: what is read here later cannot be wrong. Values are read when
/// somebody asks for them; what nobody asks for leaves as the text that it is.
#[derive(Debug)]
pub(crate) struct Indexed {
    text: Box<str>,
    nodes: Vec<Node>,
}

/// Where one value or name stands. Those inside of it follow it: of an object each name, then its value.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Node {
    /// Its first byte.
    pub(crate) start: u32,
    /// The byte after its last.
    pub(crate) end: u32,
    /// The number of the next node that is not inside of it.
    pub(crate) next: u32,
    /// Of an array its items, of an object its members.
    pub(crate) len: u32,
}

impl Indexed {
    /// `text` is one value in canonical form; `nodes` say of all of it.
    pub(crate) fn new(text: Box<str>, nodes: Vec<Node>) -> Self {
        Self { text, nodes }
    }

    /// The whole.
    pub(crate) fn root(self: &Arc<Self>) -> Value {
        self.value(0)
    }

    fn node(&self, at: u32) -> Node {
        self.nodes.get(at as usize).copied().unwrap_or_default()
    }

    /// Items or members.
    pub(super) fn len(&self, at: u32) -> usize {
        self.node(at).len as usize
    }

    /// As it leaves.
    pub(super) fn text(&self, at: u32) -> &str {
        let node = self.node(at);
        self.text.get(node.start as usize..node.end as usize).unwrap_or_default()
    }

    /// Whether a name inside of the node, however deep, is exactly `name`, which needs no escape.
    pub(super) fn names(&self, at: u32, name: &str) -> bool {
        let inside = self.nodes.get(at as usize + 1..self.node(at).next as usize).unwrap_or_default();
        let long = name.len() + 2;
        // No string but a name has a colon behind it.
        let named = |node: &Node| self.text.as_bytes().get(node.end as usize) == Some(&b':');
        inside.iter().any(|node| {
            (node.end - node.start) as usize == long && named(node) && self.between_quotes(*node) == Some(name)
        })
    }

    fn between_quotes(&self, node: Node) -> Option<&str> {
        self.text.get(node.start as usize..node.end as usize)?.strip_prefix('"')?.strip_suffix('"')
    }

    fn value(self: &Arc<Self>, at: u32) -> Value {
        let text = self.text(at);
        match text.as_bytes().first() {
            Some(b'{') => Value::Object(Object::unread(self, at)),
            Some(b'[') => Value::Array(List::unread(self, at)),
            Some(b'"') => Value::String(self.string(at)),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'-' | b'0'..=b'9') => Value::Number(Number::from_valid(text)),
            // `null`, as the parser has seen to.
            _ => Value::Null,
        }
    }

    fn string(&self, at: u32) -> Box<str> {
        match self.between_quotes(self.node(at)) {
            Some(plain) if !plain.contains('\\') => plain.into(),
            // Checked before, so it can be read.
            _ => serde_json::from_str(self.text(at)).unwrap_or_default(),
        }
    }

    /// The items of an array.
    pub(super) fn items(self: &Arc<Self>, at: u32) -> Vec<Value> {
        let mut items = Vec::with_capacity(self.len(at));
        let mut item = at + 1;
        for _ in 0..self.len(at) {
            items.push(self.value(item));
            item = self.node(item).next;
        }
        items
    }

    /// The members of an object.
    pub(super) fn members(self: &Arc<Self>, at: u32) -> Vec<(Box<str>, Value)> {
        let mut members = Vec::with_capacity(self.len(at));
        let mut name = at + 1;
        for _ in 0..self.len(at) {
            members.push((self.string(name), self.value(name + 1)));
            name = self.node(name + 1).next;
        }
        members
    }
}
