use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::value::{Number, Value};
use super::view::View;
use super::{List, Object};

/// Items of an array up to this one are walked to.
const NEAR: usize = 64;

/// One JSON text in the form in which values leave us, and where each of its values stands.
///
/// Made by `wire::json` alone, which has checked all of it: what is read here later cannot be wrong. Values are read when
/// somebody asks for them; what nobody asks for leaves as the text that it is.
#[derive(Debug)]
pub(crate) struct Indexed {
    text: Box<str>,
    nodes: Vec<Node>,
    decoded: Decoded,
    far: OnceLock<Far>,
}

/// Strings that are written with escapes as what they say, one behind the other. Of a message that is decided on all of
/// them, so that no rule has to make one; of others none.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    text: String,
    starts: Vec<u32>,
}

/// Where the items of every array stand. Found for all of them when somebody asks far into one: to walk there each time
/// would cost a rule that asks for every item the square of their number.
#[derive(Debug, Default)]
struct Far {
    /// By the number of a node, where in `items` its own begin.
    starts: Vec<u32>,
    items: Vec<u32>,
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
    /// Of an array its items, of an object its members; of a string its number in [`Decoded`] from 1, where it has one.
    pub(crate) len: u32,
}

impl Indexed {
    /// `text` is one value in canonical form; `nodes` say of all of it.
    pub(crate) fn new(text: Box<str>, nodes: Vec<Node>, decoded: Decoded) -> Self {
        Self { text, nodes, decoded, far: OnceLock::new() }
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
            Some(b'"') => Value::String(self.string(at).into()),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'-' | b'0'..=b'9') => Value::Number(Number::from_valid(text)),
            // `null`, as the parser has seen to.
            _ => Value::Null,
        }
    }

    /// What a string or name says.
    pub(super) fn string(&self, at: u32) -> Cow<'_, str> {
        let node = self.node(at);
        if let Some(decoded) = self.decoded.get(node.len) {
            return Cow::Borrowed(decoded);
        }
        match self.between_quotes(node) {
            Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
            // Checked before, so it can be read.
            _ => Cow::Owned(serde_json::from_str(self.text(at)).unwrap_or_default()),
        }
    }

    /// Whether a string or name says exactly `text`. What is written with escapes is longer than what it says.
    pub(super) fn is_string(&self, at: u32, text: &str) -> bool {
        let written = self.between_quotes(self.node(at)).unwrap_or_default();
        if written.len() <= text.len() {
            return written == text && !written.contains('\\');
        }
        written.contains('\\') && self.string(at) == text
    }

    /// A value where it stands.
    pub(super) fn view(&self, at: u32) -> View<'_> {
        let text = self.text(at);
        match text.as_bytes().first() {
            Some(b'{') => View::object_at(self, at),
            Some(b'[') => View::array_at(self, at),
            Some(b'"') => View::String(self.string(at)),
            Some(b't') => View::Bool(true),
            Some(b'f') => View::Bool(false),
            Some(b'-' | b'0'..=b'9') => View::Number(text),
            // `null`, as the parser has seen to.
            _ => View::Null,
        }
    }

    /// The nodes of an array's items.
    pub(super) fn item_nodes(&self, at: u32) -> impl Iterator<Item = u32> {
        self.parts(at, |item| item)
    }

    /// The nodes of an object's names, each right before its value's.
    pub(super) fn name_nodes(&self, at: u32) -> impl Iterator<Item = u32> {
        self.parts(at, |name| name + 1)
    }

    /// Where items or members begin; `last` says of which node the next one is behind.
    fn parts(&self, at: u32, last: fn(u32) -> u32) -> impl Iterator<Item = u32> {
        let mut next = at + 1;
        (0..self.len(at)).map(move |_| {
            let this = next;
            next = self.node(last(this)).next;
            this
        })
    }

    /// The node of one item of an array.
    pub(super) fn item(&self, array: u32, at: usize) -> Option<u32> {
        let node = self.node(array);
        let nth = u32::try_from(at).ok().filter(|nth| *nth < node.len)?;
        // Where nothing is inside of an item, they stand one behind the other.
        if node.next - array - 1 == node.len {
            return Some(array + 1 + nth);
        }
        if at < NEAR {
            return self.item_nodes(array).nth(at);
        }
        let far = self.far.get_or_init(|| self.find_far());
        let start = *far.starts.get(array as usize)? as usize;
        far.items.get(start + at).copied()
    }

    fn find_far(&self) -> Far {
        let mut far = Far::default();
        for at in (0..).take(self.nodes.len()) {
            // There are fewer items than nodes.
            far.starts.push(u32::try_from(far.items.len()).unwrap_or(u32::MAX));
            if self.text(at).starts_with('[') {
                far.items.extend(self.item_nodes(at));
            }
        }
        far
    }

    /// The items of an array.
    pub(super) fn items(self: &Arc<Self>, at: u32) -> Vec<Value> {
        self.item_nodes(at).map(|item| self.value(item)).collect()
    }

    /// The members of an object.
    pub(super) fn members(self: &Arc<Self>, at: u32) -> Vec<(Box<str>, Value)> {
        self.name_nodes(at).map(|name| (self.string(name).into(), self.value(name + 1))).collect()
    }
}

impl Decoded {
    /// Begins a string, and says its number.
    pub(crate) fn begin(&mut self) -> usize {
        // No longer than the text, which is shorter than 4 GiB.
        self.starts.push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
        self.starts.len()
    }

    /// What comes next of the string that was begun last.
    pub(crate) fn push(&mut self, part: &str) {
        self.text.push_str(part);
    }

    fn get(&self, number: u32) -> Option<&str> {
        let at = (number as usize).checked_sub(1)?;
        let start = *self.starts.get(at)? as usize;
        let end = self.starts.get(at + 1).map_or(self.text.len(), |end| *end as usize);
        self.text.get(start..end)
    }
}
