use std::borrow::Cow;

use super::indexed::Indexed;
use super::value::Value;

/// A JSON value where it stands: looking at one reads nothing, and so needs no memory of its own.
#[derive(Debug, Clone)]
pub(crate) enum View<'a> {
    Null,
    Bool(bool),
    /// Its text.
    Number(&'a str),
    /// Decoded.
    String(Cow<'a, str>),
    Array(Items<'a>),
    Object(Members<'a>),
}

/// The items of an array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Items<'a>(Place<'a, Value>);

/// The members of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Members<'a>(Place<'a, (Box<str>, Value)>);

/// Where they are: read before, or a node of a text.
#[derive(Debug)]
pub(super) enum Place<'a, T> {
    Read(&'a [T]),
    Text(&'a Indexed, u32),
}

impl<T> Clone for Place<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Place<'_, T> {}

impl<T> Place<'_, T> {
    fn len(&self) -> usize {
        match self {
            Self::Read(parts) => parts.len(),
            Self::Text(of, at) => of.len(*at),
        }
    }
}

impl<'a> From<&'a Value> for View<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(*b),
            Value::Number(number) => Self::Number(number.as_str()),
            Value::String(text) => Self::String(Cow::Borrowed(text)),
            Value::Array(items) => Self::Array(items.view()),
            Value::Object(object) => Self::Object(object.view()),
        }
    }
}

impl<'a> View<'a> {
    pub(super) fn array_at(of: &'a Indexed, at: u32) -> Self {
        Self::Array(Items(Place::Text(of, at)))
    }

    pub(super) fn object_at(of: &'a Indexed, at: u32) -> Self {
        Self::Object(Members(Place::Text(of, at)))
    }
}

impl<'a> Items<'a> {
    pub(super) fn new(place: Place<'a, Value>) -> Self {
        Self(place)
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The one at `at`, from 0.
    pub(crate) fn get(&self, at: usize) -> Option<View<'a>> {
        match self.0 {
            Place::Read(items) => items.get(at).map(View::from),
            Place::Text(of, array) => of.item(array, at).map(|node| of.view(node)),
        }
    }

    /// In order.
    pub(crate) fn iter(self) -> impl Iterator<Item = View<'a>> {
        let (read, text) = match self.0 {
            Place::Read(items) => (items, None),
            Place::Text(of, at) => (&[][..], Some((of, at))),
        };
        let standing = text.into_iter().flat_map(|(of, at)| of.item_nodes(at).map(|node| of.view(node)));
        read.iter().map(View::from).chain(standing)
    }
}

impl<'a> Members<'a> {
    pub(super) fn new(place: Place<'a, (Box<str>, Value)>) -> Self {
        Self(place)
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value under exactly `key`.
    pub(crate) fn get(&self, key: &str) -> Option<View<'a>> {
        match self.0 {
            Place::Read(pairs) => pairs.iter().find(|(name, _)| &**name == key).map(|(_, value)| value.into()),
            Place::Text(of, at) => {
                of.name_nodes(at).find(|name| of.is_string(*name, key)).map(|name| of.view(name + 1))
            }
        }
    }

    /// The names in order.
    pub(crate) fn keys(self) -> impl Iterator<Item = Cow<'a, str>> {
        let (read, text) = match self.0 {
            Place::Read(pairs) => (pairs, None),
            Place::Text(of, at) => (&[][..], Some((of, at))),
        };
        let standing = text.into_iter().flat_map(|(of, at)| of.name_nodes(at).map(|name| of.string(name)));
        read.iter().map(|(name, _)| Cow::Borrowed(&**name)).chain(standing)
    }
}
