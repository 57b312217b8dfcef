//! What is accepted is what a plain reader with our limits accepts; it leaves as that reader would spell it, token by token;
//! every value, read, changed or left alone, is the one that serde_json has.
#![no_main]

use std::fmt;

use agent_waypoint::call::Value;
use agent_waypoint::config::limits::{MAX_DEPTH, MAX_NODES};
use agent_waypoint::wire::json::{parse, write};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Theirs;

/// How deep and how many a text's values are, read by serde_json, names judged by us.
struct Shape {
    depth: usize,
    values: usize,
}

const LEAF: Shape = Shape { depth: 0, values: 1 };

impl Shape {
    fn around(self, inner: &Self) -> Self {
        Self { depth: self.depth.max(inner.depth + 1), values: self.values + inner.values }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(LEAF)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut shape = Shape { depth: 1, ..LEAF };
        while let Some(item) = items.next_element()? {
            shape = shape.around(&item);
        }
        Ok(shape)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Shape, A::Error> {
        let (mut shape, mut names) = (Shape { depth: 1, ..LEAF }, Vec::<String>::new());
        while let Some((name, value)) = members.next_entry::<String, Shape>()? {
            if name.contains('\0') || names.contains(&name) {
                return Err(A::Error::custom("a name"));
            }
            names.push(name);
            shape = shape.around(&value);
        }
        Ok(shape)
    }
}

fn accepted(bytes: &[u8]) -> bool {
    let read = serde_json::from_slice::<Shape>(bytes);
    read.is_ok_and(|shape| shape.depth <= MAX_DEPTH && shape.values <= MAX_NODES)
}

/// Strings as serde_json spells them, no white space between tokens, all else as it stands.
fn respelt(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let mut end = first.len_utf8();
        if first == '"' {
            let mut escaped = false;
            let closes = |c: char| {
                let plain = !escaped;
                escaped = plain && c == '\\';
                plain && c == '"'
            };
            end += 1 + rest[1..].find(closes).expect("an end");
            let decoded: String = serde_json::from_str(&rest[..end]).expect("a string");
            out.push_str(&serde_json::to_string(&decoded).expect("a string"));
        } else if !matches!(first, ' ' | '\t' | '\n' | '\r') {
            out.push(first);
        }
        rest = &rest[end..];
    }
    out
}

fn has_name(theirs: &Theirs, name: &str) -> bool {
    match theirs {
        Theirs::Array(items) => items.iter().any(|item| has_name(item, name)),
        Theirs::Object(members) => members.iter().any(|(key, value)| key == name || has_name(value, name)),
        _ => false,
    }
}

/// The two are one.
fn same(ours: &Value, theirs: &Theirs) {
    assert_eq!(ours.names("a"), has_name(theirs, "a"));
    match (ours, theirs) {
        (Value::Null, Theirs::Null) => {}
        (Value::Bool(ours), Theirs::Bool(theirs)) => assert_eq!(ours, theirs),
        (Value::String(ours), Theirs::String(theirs)) => assert_eq!(**ours, **theirs),
        (Value::Number(ours), Theirs::Number(theirs)) => {
            assert_eq!(&serde_json::from_str::<serde_json::Number>(ours.as_str()).expect("a number"), theirs);
            if let (Some(ours), Some(theirs)) = (ours.as_i64(), theirs.as_i64()) {
                assert_eq!(ours, theirs);
            }
        }
        (Value::Array(ours), Theirs::Array(theirs)) => {
            assert_eq!((ours.len(), ours.is_empty()), (theirs.len(), theirs.is_empty()));
            assert_eq!(ours.iter().count(), theirs.len());
            ours.iter().zip(theirs).for_each(|(ours, theirs)| same(ours, theirs));
        }
        (Value::Object(ours), Theirs::Object(theirs)) => {
            assert_eq!((ours.len(), ours.is_empty()), (theirs.len(), theirs.is_empty()));
            assert!(ours.iter().map(|(name, _)| name).eq(theirs.keys()));
            for (name, theirs) in theirs {
                let plain = name.bytes().all(|b| b >= b' ' && !matches!(b, b'"' | b'\\'));
                assert!(!plain || ours.names(name));
                same(ours.get(name).expect("a member"), theirs);
            }
        }
        _ => panic!("{ours:?} {theirs:?}"),
    }
}

/// Choices that depend on the text alone.
struct Dice(u64);

impl Dice {
    fn of(bytes: &[u8]) -> Self {
        Self(
            bytes
                .iter()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound.max(1)
    }
}

/// The same change in both.
fn change(ours: &mut Value, theirs: &mut Theirs, dice: &mut Dice) {
    match (ours, theirs) {
        (Value::Array(ours), Theirs::Array(theirs)) if !theirs.is_empty() => {
            let at = dice.below(theirs.len());
            if dice.below(4) == 0 {
                ours.make_mut().remove(at);
                theirs.remove(at);
            } else {
                change(&mut ours.make_mut()[at], &mut theirs[at], dice);
            }
        }
        (Value::Object(ours), Theirs::Object(theirs)) if !theirs.is_empty() => {
            let name = theirs.keys().nth(dice.below(theirs.len())).expect("a name").clone();
            match dice.below(6) {
                0 => {
                    assert!(ours.remove(&name).is_some() && theirs.shift_remove(&name).is_some());
                    assert!(ours.remove(&name).is_none() && ours.get(&name).is_none());
                }
                1 => {
                    ours.set(&name, Value::from("\u{1}\"\\\u{7f}é"));
                    theirs.insert(name, "\u{1}\"\\\u{7f}é".into());
                }
                2 => {
                    ours.set("a", Value::from(7));
                    theirs.insert("a".into(), 7.into());
                }
                _ => change(ours.get_mut(&name).expect("a member"), &mut theirs[&name], dice),
            }
        }
        (ours, theirs) => {
            *ours = Value::Null;
            *theirs = Theirs::Null;
        }
    }
}

fn written(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fuzz_target!(|bytes: &[u8]| {
    let parsed = parse(bytes);
    assert_eq!(parsed.is_ok(), accepted(bytes), "{:?}", parsed.as_ref().err());
    let Ok(mut value) = parsed else { return };
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let forwarded = written(&value);
    assert_eq!(String::from_utf8(forwarded.clone()).expect("UTF-8"), respelt(text));
    let theirs: Theirs = serde_json::from_str(text).expect("serde_json accepts it too");
    assert_eq!(theirs, serde_json::from_slice::<Theirs>(&forwarded).expect("serde_json accepts our output"));

    let mut dice = Dice::of(bytes);
    let before = value.clone();
    // Sometimes nothing of it is read before it is changed.
    if dice.below(2) == 0 {
        same(&value, &theirs);
        assert_eq!(written(&value), forwarded);
    }
    let mut changed = theirs.clone();
    for _ in 0..=dice.below(3) {
        change(&mut value, &mut changed, &mut dice);
    }
    same(&value, &changed);
    let out = written(&value);
    assert_eq!(serde_json::from_slice::<Theirs>(&out).expect("JSON"), changed);
    assert_eq!(parse(&out).expect("own output"), value);
    // What somebody else holds stays as it was.
    same(&before, &theirs);
    assert_eq!(written(&before), forwarded);
});
