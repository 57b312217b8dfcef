//! What messages are made of: tables of fields by which the same message is read from JSON and from protobuf.
//!
//! Which table holds is told by the binding and the version, never found out by trying.

use crate::wire::grpc::WireFault;

/// One message.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) fields: &'static [Field],
    /// JSON members of other versions or readers that would mean something here: refused.
    pub(super) foreign: &'static [&'static str],
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    /// Its number in protobuf; 0 where the message has no protobuf form.
    pub(super) number: u32,
    /// Its name in JSON.
    pub(super) name: &'static str,
    /// A name that ProtoJSON readers take for it beside the lowerCamelCase one and its snake_case form; empty: none.
    pub(super) also: &'static str,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
    /// One of the members that exclude each other.
    pub(super) oneof: bool,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// Bytes, base64 in JSON. Only their number is kept.
    Blob,
    Flag,
    Count,
    /// An enum: by name or number.
    Choice(&'static [&'static str]),
    /// One of these strings.
    Word(&'static [&'static str]),
    Nested(&'static Shape),
    /// A map from text to what this field holds, in protobuf; its number is the value's in an entry, 2.
    Map(&'static Field),
    /// `google.protobuf.Struct`
    Struct,
    /// `google.protobuf.Value`
    Any,
    /// `google.protobuf.Timestamp`, which no rule reads.
    Moment,
}

/// Why a message is not one of its shape, or could be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ShapeFault {
    /// A singular field came twice, in JSON also under its other spelling.
    #[error("`{0}` is there twice")]
    Twice(&'static str),
    /// Two members that exclude each other.
    #[error("`{0}` and another member exclude each other")]
    Exclusive(&'static str),
    /// A value of another type.
    #[error("`{0}` has the wrong type")]
    Type(&'static str),
    /// A JSON member that a lenient reader takes for this one.
    #[error("a member is easily taken for `{0}`")]
    Lookalike(&'static str),
    /// A JSON member of another version of the protocol.
    #[error("`{0}` belongs to another version of A2A")]
    Foreign(&'static str),
    /// Not UTF-8.
    #[error("`{0}` is not UTF-8")]
    NotUtf8(&'static str),
    /// Nested deeper than `MAX_DEPTH`, or of more values than `MAX_NODES`.
    #[error("`{0}` is nested too deep or holds too many values")]
    TooMuch(&'static str),
    /// No protobuf.
    #[error("no protobuf message: {0}")]
    Wire(WireFault),
    /// `__proto__` as a key.
    #[error("`__proto__` is a key")]
    Proto,
}

impl ShapeFault {
    /// A fixed word for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Twice(_) => "a2a_twice",
            Self::Exclusive(_) => "a2a_exclusive",
            Self::Type(_) => "a2a_type",
            Self::Lookalike(_) => "a2a_lookalike",
            Self::Foreign(_) => "a2a_foreign_member",
            Self::NotUtf8(_) => "a2a_not_utf8",
            Self::TooMuch(_) => "a2a_too_much",
            Self::Wire(_) => "a2a_not_protobuf",
            Self::Proto => "a2a_proto_key",
        }
    }
}

/// Which of the fields were there.
#[derive(Debug, Default)]
pub(super) struct Seen {
    bits: u64,
    exclusive: bool,
}

impl Seen {
    /// Notes the field at `at`; `holds` whether it has a value and so excludes others.
    pub(super) fn note(&mut self, at: usize, field: &Field, holds: bool) -> Result<(), ShapeFault> {
        let bit = 1_u64.checked_shl(u32::try_from(at).unwrap_or(u32::MAX)).unwrap_or(0);
        if self.bits & bit != 0 && !field.repeated {
            return Err(ShapeFault::Twice(field.name));
        }
        self.bits |= bit;
        if field.oneof && holds && std::mem::replace(&mut self.exclusive, true) {
            return Err(ShapeFault::Exclusive(field.name));
        }
        Ok(())
    }
}

pub(super) const fn field(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, also: "", kind, repeated: false, oneof: false }
}

pub(super) const fn text(number: u32, name: &'static str) -> Field {
    field(number, name, Kind::Text)
}

pub(super) const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { repeated: true, ..field(number, name, kind) }
}

/// A map; of `of` only the kind counts.
pub(super) const fn map(number: u32, name: &'static str, of: &'static Field) -> Field {
    field(number, name, Kind::Map(of))
}

pub(super) const fn one_of(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { oneof: true, ..field(number, name, kind) }
}

/// Under its JSON name and the proto's own.
pub(super) const fn renamed(number: u32, name: &'static str, also: &'static str, kind: Kind) -> Field {
    Field { also, ..field(number, name, kind) }
}

pub(super) const fn shape(fields: &'static [Field]) -> Shape {
    Shape { fields, foreign: &[] }
}
