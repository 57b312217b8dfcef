//! A message from protobuf bytes, by the same table of fields.
//!
//! A singular field, or a second member of a oneof, that comes twice is legal protobuf: the last one wins, and messages
//! are merged. No encoder writes it so, and a reader that knows less than all of the schema sees something else. It is
//! refused.

use super::schema::{Field, Kind, Seen, Shape, ShapeFault};
use crate::call::{Number, Object, Value};
use crate::config::limits::{MAX_DEPTH, MAX_NODES};
use crate::wire::grpc::{Fields, Wire};

/// Reads `bytes` as `shape`.
pub(super) fn read(bytes: &[u8], shape: &Shape) -> Result<Object, ShapeFault> {
    Reader { nodes: 0, depth: 0, whole: false }.message(bytes, shape)
}

/// The same of what has to be known whole: where there is what the schema does not have, there is a member [`UNKNOWN`].
pub(super) fn read_whole(bytes: &[u8], shape: &Shape) -> Result<Object, ShapeFault> {
    Reader { nodes: 0, depth: 0, whole: true }.message(bytes, shape)
}

/// No field's name.
const UNKNOWN: &str = "?";

/// A member of an object.
type Pair = (Box<str>, Value);

struct Reader {
    nodes: usize,
    depth: usize,
    /// Whether it is told that there is what the schema does not have.
    whole: bool,
}

impl Reader {
    fn message(&mut self, bytes: &[u8], shape: &Shape) -> Result<Object, ShapeFault> {
        let mut fields = Fields::new(bytes);
        let mut seen = Seen::default();
        let mut lists: Vec<(&'static Field, Vec<Value>)> = Vec::new();
        let mut maps: Vec<(&'static Field, Vec<Pair>)> = Vec::new();
        let (mut out, mut unknown) = (Vec::new(), false);
        while let Some((number, wire)) = fields.next_field().map_err(ShapeFault::Wire)? {
            let known = shape.fields.iter().enumerate().find(|(_, field)| field.number == number);
            // What the schema does not have, no reader of this version acts on.
            let Some((at, field)) = known else {
                unknown = self.whole;
                continue;
            };
            if let Kind::Map(of) = field.kind {
                let entry = self.entry_of(wire, of, field.name)?;
                match maps.iter_mut().find(|(of, _)| of.number == number) {
                    Some((_, pairs)) if pairs.iter().any(|(key, _)| *key == entry.0) => {
                        return Err(ShapeFault::Twice(field.name));
                    }
                    Some((_, pairs)) => pairs.push(entry),
                    None => maps.push((field, vec![entry])),
                }
                continue;
            }
            seen.note(at, field, true)?;
            let value = self.value(wire, field)?;
            if !field.repeated {
                out.push((Box::from(field.name), value));
                continue;
            }
            match lists.iter_mut().find(|(of, _)| of.number == number) {
                Some((_, items)) => items.push(value),
                None => lists.push((field, vec![value])),
            }
        }
        out.extend(lists.into_iter().map(|(field, items)| (Box::from(field.name), Value::from(items))));
        out.extend(unknown.then(|| (Box::from(UNKNOWN), Value::Bool(true))));
        let maps = maps.into_iter();
        out.extend(maps.map(|(field, pairs)| (Box::from(field.name), Value::Object(Object::from_unique(pairs)))));
        Ok(Object::from_unique(out))
    }

    /// An entry of a map: `key = 1`, `value = 2`, each left out where it is empty.
    fn entry_of(&mut self, wire: Wire<'_>, of: &Field, name: &'static str) -> Result<Pair, ShapeFault> {
        let Wire::Bytes(bytes) = wire else { return Err(ShapeFault::Type(name)) };
        self.count(name)?;
        let (mut key, mut value) = (None, None);
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next_field().map_err(ShapeFault::Wire)? {
            let twice = match field {
                (1, Wire::Bytes(bytes)) => key.replace(utf8(bytes, name)?).is_some(),
                (2, wire) => value.replace(self.value(wire, of)?).is_some(),
                _ => return Err(ShapeFault::Type(name)),
            };
            if twice {
                return Err(ShapeFault::Twice(name));
            }
        }
        let empty = || if matches!(of.kind, Kind::Nested(_)) { Object::new().into() } else { Value::from("") };
        Ok((key.unwrap_or_default().into(), value.unwrap_or_else(empty)))
    }

    fn count(&mut self, name: &'static str) -> Result<(), ShapeFault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES { Err(ShapeFault::TooMuch(name)) } else { Ok(()) }
    }

    fn deeper<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, ShapeFault>,
    ) -> Result<T, ShapeFault> {
        if self.depth == MAX_DEPTH {
            return Err(ShapeFault::TooMuch(name));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn value(&mut self, wire: Wire<'_>, field: &Field) -> Result<Value, ShapeFault> {
        let name = field.name;
        self.count(name)?;
        match (field.kind, wire) {
            (Kind::Text | Kind::Word(_), Wire::Bytes(bytes)) => text(bytes, name),
            (Kind::Blob, Wire::Bytes(bytes)) => Ok(Value::from(i64::try_from(bytes.len()).unwrap_or(i64::MAX))),
            (Kind::Flag, Wire::Varint(n)) => Ok(Value::Bool(n != 0)),
            // An int32, negative ones sign-extended to 64 bits.
            (Kind::Count, Wire::Varint(n)) => Ok(Value::from(i64::from(truncated(n)))),
            (Kind::Choice(names), Wire::Varint(n)) => {
                let at = usize::try_from(truncated(n)).ok();
                at.and_then(|at| names.get(at)).map(|name| Value::from(*name)).ok_or(ShapeFault::Type(name))
            }
            (Kind::Nested(shape), Wire::Bytes(bytes)) => {
                self.deeper(name, |reader| reader.message(bytes, shape)).map(Value::Object)
            }
            (Kind::Struct, Wire::Bytes(bytes)) => self.deeper(name, |reader| reader.structure(bytes, name)),
            (Kind::Any, Wire::Bytes(bytes)) => self.deeper(name, |reader| reader.any(bytes, name)),
            (Kind::Moment, Wire::Bytes(_)) => Ok(Value::Null),
            _ => Err(ShapeFault::Type(name)),
        }
    }

    /// `google.protobuf.Struct`: `map<string, Value> fields = 1`.
    fn structure(&mut self, bytes: &[u8], name: &'static str) -> Result<Value, ShapeFault> {
        let mut pairs: Vec<(Box<str>, Value)> = Vec::new();
        let mut keys = std::collections::HashSet::new();
        let mut fields = Fields::new(bytes);
        while let Some((number, wire)) = fields.next_field().map_err(ShapeFault::Wire)? {
            let (1, Wire::Bytes(entry)) = (number, wire) else { return Err(ShapeFault::Type(name)) };
            let (key, value) = self.entry(entry, name)?;
            if &*key == "__proto__" {
                return Err(ShapeFault::Proto);
            }
            if !keys.insert(key.clone()) {
                return Err(ShapeFault::Twice(name));
            }
            pairs.push((key, value));
        }
        Ok(Value::Object(Object::from_unique(pairs)))
    }

    fn entry(&mut self, bytes: &[u8], name: &'static str) -> Result<(Box<str>, Value), ShapeFault> {
        let (mut key, mut value) = (None, None);
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next_field().map_err(ShapeFault::Wire)? {
            let twice = match field {
                (1, Wire::Bytes(bytes)) => key.replace(utf8(bytes, name)?).is_some(),
                (2, Wire::Bytes(bytes)) => {
                    value.replace(self.deeper(name, |reader| reader.any(bytes, name))?).is_some()
                }
                _ => return Err(ShapeFault::Type(name)),
            };
            if twice {
                return Err(ShapeFault::Twice(name));
            }
        }
        Ok((key.unwrap_or_default().into(), value.unwrap_or(Value::Null)))
    }

    /// `google.protobuf.Value`: one of null, number, string, bool, struct, list.
    fn any(&mut self, bytes: &[u8], name: &'static str) -> Result<Value, ShapeFault> {
        self.count(name)?;
        let mut fields = Fields::new(bytes);
        let Some(first) = fields.next_field().map_err(ShapeFault::Wire)? else { return Ok(Value::Null) };
        if fields.next_field().map_err(ShapeFault::Wire)?.is_some() {
            return Err(ShapeFault::Exclusive(name));
        }
        match first {
            (1, Wire::Varint(_)) => Ok(Value::Null),
            (2, Wire::Fixed64(bits)) => {
                let number = serde_json::Number::from_f64(f64::from_bits(bits)).ok_or(ShapeFault::Type(name))?;
                Ok(Value::Number(Number::from_valid(&number.to_string())))
            }
            (3, Wire::Bytes(bytes)) => text(bytes, name),
            (4, Wire::Varint(n)) => Ok(Value::Bool(n != 0)),
            (5, Wire::Bytes(bytes)) => self.deeper(name, |reader| reader.structure(bytes, name)),
            (6, Wire::Bytes(bytes)) => self.deeper(name, |reader| reader.list(bytes, name)),
            _ => Err(ShapeFault::Type(name)),
        }
    }

    /// `google.protobuf.ListValue`: `repeated Value values = 1`.
    fn list(&mut self, bytes: &[u8], name: &'static str) -> Result<Value, ShapeFault> {
        let mut items = Vec::new();
        let mut fields = Fields::new(bytes);
        while let Some((number, wire)) = fields.next_field().map_err(ShapeFault::Wire)? {
            let (1, Wire::Bytes(item)) = (number, wire) else { return Err(ShapeFault::Type(name)) };
            items.push(self.deeper(name, |reader| reader.any(item, name))?);
        }
        Ok(items.into())
    }
}

fn utf8<'a>(bytes: &'a [u8], name: &'static str) -> Result<&'a str, ShapeFault> {
    std::str::from_utf8(bytes).map_err(|_invalid| ShapeFault::NotUtf8(name))
}

fn text(bytes: &[u8], name: &'static str) -> Result<Value, ShapeFault> {
    utf8(bytes, name).map(Value::from)
}

/// The low 32 bits, as protobuf reads an int32 or an enum.
fn truncated(n: u64) -> i32 {
    let [a, b, c, d, ..] = n.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}
