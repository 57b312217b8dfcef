use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::indexed::Indexed;
use super::value::Value;
use super::view::{Items, Members, Place};

type Member = (Box<str>, Value);

/// A JSON object: unique keys in the order they were sent.
///
/// A clone shares the pairs until one of the two is changed, so that what policy decides on and what is forwarded can
/// be the same memory.
#[derive(Clone)]
pub struct Object(Kept<Member>);

/// A JSON array. A clone shares its items as that of an [`Object`] does its pairs.
#[derive(Clone)]
pub struct List(Kept<Value>);

/// What an object or array holds: read, or text of which nothing was asked yet.
#[derive(Clone)]
enum Kept<T> {
    Read(Arc<Vec<T>>),
    Text(Arc<Unread<T>>),
}

struct Unread<T> {
    of: Arc<Indexed>,
    at: u32,
    read: OnceLock<Vec<T>>,
}

trait Part: Clone {
    fn read(of: &Arc<Indexed>, at: u32) -> Vec<Self>;
}

impl Part for Value {
    fn read(of: &Arc<Indexed>, at: u32) -> Vec<Self> {
        of.items(at)
    }
}

impl Part for Member {
    fn read(of: &Arc<Indexed>, at: u32) -> Vec<Self> {
        of.members(at)
    }
}

impl<T: Part> Kept<T> {
    fn unread(of: &Arc<Indexed>, at: u32) -> Self {
        Self::Text(Arc::new(Unread { of: Arc::clone(of), at, read: OnceLock::new() }))
    }

    fn parts(&self) -> &[T] {
        match self {
            Self::Read(parts) => parts,
            Self::Text(text) => text.read.get_or_init(|| T::read(&text.of, text.at)),
        }
    }

    /// Where they are; nothing is read for that.
    fn place(&self) -> Place<'_, T> {
        match self {
            Self::Read(parts) => Place::Read(parts),
            Self::Text(text) => text.read.get().map_or(Place::Text(&text.of, text.at), |parts| Place::Read(parts)),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Read(parts) => parts.len(),
            Self::Text(text) => text.of.len(text.at),
        }
    }

    /// To change: from here on it is no text.
    fn make_mut(&mut self) -> &mut Vec<T> {
        loop {
            match self {
                Self::Read(parts) => return Arc::make_mut(parts),
                Self::Text(text) => {
                    let taken = Arc::get_mut(text).and_then(|text| text.read.take());
                    let parts = taken.or_else(|| text.read.get().cloned());
                    *self = Self::Read(Arc::new(parts.unwrap_or_else(|| T::read(&text.of, text.at))));
                }
            }
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Read(_) => None,
            Self::Text(text) => Some(text.of.text(text.at)),
        }
    }
}

impl Object {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn unread(of: &Arc<Indexed>, at: u32) -> Self {
        Self(Kept::unread(of, at))
    }

    /// The value under exactly `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.parts().iter().find(|(k, _)| &**k == key).map(|(_, v)| v)
    }

    /// The value under exactly `key`, to change in place.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.0.make_mut().iter_mut().find(|(k, _)| &**k == key).map(|(_, v)| v)
    }

    /// Sets `key`, in its old place if it is there, else at the end.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.get_mut(key) {
            Some(slot) => *slot = value,
            None => self.0.make_mut().push((key.into(), value)),
        }
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let parts = self.0.make_mut();
        let at = parts.iter().position(|(k, _)| &**k == key)?;
        Some(parts.remove(at).1)
    }

    /// Pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.parts().iter().map(|(k, v)| (&**k, v))
    }

    /// Pairs in order, their values to change in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Value)> {
        self.0.make_mut().iter_mut().map(|(k, v)| (&**k, v))
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `name` is a key here or anywhere inside. `name` is one that is written without escapes.
    pub fn names(&self, name: &str) -> bool {
        match &self.0 {
            Kept::Text(text) => text.of.names(text.at, name),
            Kept::Read(parts) => parts.iter().any(|(key, value)| &**key == name || value.names(name)),
        }
    }

    /// To look at, without reading it.
    pub(crate) fn view(&self) -> Members<'_> {
        Members::new(self.0.place())
    }

    /// As it leaves, where it is as it came.
    pub(crate) fn text(&self) -> Option<&str> {
        self.0.text()
    }

    /// For `wire::json`, which has already refused duplicates.
    pub(crate) fn from_unique(pairs: Vec<(Box<str>, Value)>) -> Self {
        Self(Kept::Read(Arc::new(pairs)))
    }
}

impl List {
    pub(super) fn unread(of: &Arc<Indexed>, at: u32) -> Self {
        Self(Kept::unread(of, at))
    }

    /// How many items; they are not read for that.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items, to change in place.
    pub fn make_mut(&mut self) -> &mut Vec<Value> {
        self.0.make_mut()
    }

    /// Whether `name` is a key anywhere inside. `name` is one that is written without escapes.
    pub fn names(&self, name: &str) -> bool {
        match &self.0 {
            Kept::Text(text) => text.of.names(text.at, name),
            Kept::Read(items) => items.iter().any(|item| item.names(name)),
        }
    }

    /// To look at, without reading it.
    pub(crate) fn view(&self) -> Items<'_> {
        Items::new(self.0.place())
    }

    /// As it leaves, where it is as it came.
    pub(crate) fn text(&self) -> Option<&str> {
        self.0.text()
    }
}

impl Default for Object {
    fn default() -> Self {
        Self::from_unique(Vec::new())
    }
}

impl Deref for List {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        self.0.parts()
    }
}

impl<'a> IntoIterator for &'a List {
    type Item = &'a Value;
    type IntoIter = std::slice::Iter<'a, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Vec<Value>> for List {
    fn from(items: Vec<Value>) -> Self {
        Self(Kept::Read(Arc::new(items)))
    }
}

impl FromIterator<Value> for List {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self::from(items.into_iter().collect::<Vec<_>>())
    }
}

/// Pairs in order; of a key that comes twice the last value is kept, in the first one's place.
impl<K: AsRef<str>> FromIterator<(K, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(pairs: I) -> Self {
        let mut object = Self::new();
        for (key, value) in pairs {
            object.set(key.as_ref(), value);
        }
        object
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.0.parts() == other.0.parts()
    }
}

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.0.parts() == other.0.parts()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
