use proptest::prelude::*;

use super::{JsonFaultKind as Kind, parse, parse_call, write};
use crate::call::{Number, Object, Value, View};
use crate::config::limits::{MAX_DEPTH, MAX_NODES};

fn text(value: &Value) -> String {
    let mut out = Vec::new();
    write(value, &mut out);
    String::from_utf8(out).unwrap()
}

/// Our value as serde_json has it.
fn foreign(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => serde_json::from_str(n.as_str()).unwrap(),
        Value::String(s) => (**s).into(),
        Value::Array(items) => items.iter().map(foreign).collect(),
        Value::Object(o) => serde_json::Value::Object(o.iter().map(|(k, v)| (k.to_owned(), foreign(v))).collect()),
    }
}

#[test]
fn canonical_form() {
    let rows = [
        (" { \"b\" : 1.50 , \"a\" : [ ] , \"c\" : { } } ", r#"{"b":1.50,"a":[],"c":{}}"#),
        ("[1,-0,0.0,1E+2,123456789012345678901234567890]", "[1,-0,0.0,1E+2,123456789012345678901234567890]"),
        (r#""\u0041\/\u00e9\ud83d\ude00\u2028""#, "\"A/é😀\u{2028}\""),
        (r#""\u0000\b\f\n\r\t\u001F\u007f\"\\""#, "\"\\u0000\\b\\f\\n\\r\\t\\u001f\u{7f}\\\"\\\\\""),
        ("true", "true"),
        ("\t\r\n false ", "false"),
        ("null", "null"),
        ("\"\"", "\"\""),
        (r#"{"":{"":[[]]}}"#, r#"{"":{"":[[]]}}"#),
        (r#"{"a":1,"A":2,"__proto__":3}"#, r#"{"a":1,"A":2,"__proto__":3}"#),
    ];
    for (input, output) in rows {
        let value = parse(input.as_bytes()).unwrap_or_else(|e| panic!("{input}: {e}"));
        assert_eq!(text(&value), output, "{input}");
        assert_eq!(parse(output.as_bytes()).unwrap(), value, "{input}");
        assert_eq!(foreign(&value), serde_json::from_str::<serde_json::Value>(input).unwrap(), "{input}");
    }
}

#[test]
fn refusals() {
    let rows: &[(&[u8], Kind, usize)] = &[
        (b"", Kind::Syntax, 0),
        (b"  ", Kind::Syntax, 2),
        (b"\xef\xbb\xbf{}", Kind::ByteOrderMark, 0),
        (b"\xff\xfe{\0}\0", Kind::NotUtf8, 0),
        (b"{\0}\0", Kind::Syntax, 1),
        (b"\0\0\0{\0\0\0}", Kind::Syntax, 0),
        (b"\"\xc0\xaf\"", Kind::NotUtf8, 1),
        (b"\"a\xff\"", Kind::NotUtf8, 2),
        (b"\"\xed\xa0\x80\"", Kind::NotUtf8, 1),
        (b"{}x", Kind::Trailing, 2),
        (b"{}\0", Kind::Trailing, 2),
        (b"{}{}", Kind::Trailing, 2),
        (b"{}\n{}", Kind::Trailing, 3),
        (b"01", Kind::Trailing, 1),
        (b"1 2", Kind::Trailing, 2),
        (b"[1,]", Kind::Syntax, 3),
        (b"{\"a\":1,}", Kind::Syntax, 7),
        (b"[1 2]", Kind::Syntax, 3),
        (b"{\"a\" 1}", Kind::Syntax, 5),
        (b"{a:1}", Kind::Syntax, 1),
        (b"{'a':1}", Kind::Syntax, 1),
        (b"/*c*/1", Kind::Syntax, 0),
        (b"NaN", Kind::Syntax, 0),
        (b"-Infinity", Kind::Syntax, 1),
        (b"+1", Kind::Syntax, 0),
        (b".5", Kind::Syntax, 0),
        (b"1.", Kind::Syntax, 2),
        (b"1e", Kind::Syntax, 2),
        (b"-", Kind::Syntax, 1),
        (b"nul", Kind::Syntax, 0),
        (b"True", Kind::Syntax, 0),
        (b"\x0c1", Kind::Syntax, 0),
        (b"\"abc", Kind::Syntax, 4),
        (b"\"abcdefgh\\", Kind::Syntax, 10),
        (b"\"\\x\"", Kind::Syntax, 2),
        (b"\"\\u00g0\"", Kind::Syntax, 5),
        (b"\"\\u+123\"", Kind::Syntax, 3),
        (b"\"a\nb\"", Kind::Control, 2),
        (b"\"12345678\x01\"", Kind::Control, 9),
        (b"{\"a\\u0000\":1}", Kind::Control, 1),
        (br#""\ud800""#, Kind::LoneSurrogate, 2),
        (br#""\udc00""#, Kind::LoneSurrogate, 2),
        (br#""\ud800\ud800""#, Kind::LoneSurrogate, 2),
        (br#""\ud800A""#, Kind::LoneSurrogate, 2),
        (b"1e999", Kind::NotFinite, 0),
        (b"[-1e999]", Kind::NotFinite, 1),
        (br#"{"a":1,"a":2}"#, Kind::DuplicateKey, 0),
        (br#"{"a":1,"\u0061":2}"#, Kind::DuplicateKey, 0),
        (br#"[{"x":{"a":1,"b":2,"a":1}}]"#, Kind::DuplicateKey, 6),
        (br#"{"":1,"":2}"#, Kind::DuplicateKey, 0),
    ];
    for (input, kind, at) in rows {
        let fault = parse(input).expect_err(&String::from_utf8_lossy(input));
        assert_eq!((fault.kind(), fault.at()), (*kind, *at), "{}", String::from_utf8_lossy(input));
    }
}

#[test]
fn depth_and_width_are_bounded() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(parse(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err().kind(), Kind::TooDeep);
    assert_eq!(parse("[{\"a\":".repeat(20_000).as_bytes()).unwrap_err().kind(), Kind::TooDeep);
    let wide = |n: usize| format!("[{}0]", "0,".repeat(n - 2));
    assert!(parse(wide(MAX_NODES).as_bytes()).is_ok());
    assert_eq!(parse(wide(MAX_NODES + 1).as_bytes()).unwrap_err().kind(), Kind::TooMany);
}

#[test]
fn numbers_beyond_a_double() {
    let digits = |n: usize| "9".repeat(n);
    assert!(parse(digits(308).as_bytes()).is_ok());
    assert_eq!(parse(digits(310).as_bytes()).unwrap_err().kind(), Kind::NotFinite);
    assert_eq!(parse(format!("{}.5", digits(310)).as_bytes()).unwrap_err().kind(), Kind::NotFinite);
    assert!(parse(format!("0.{}", digits(5_000)).as_bytes()).is_ok());
    assert!(parse(b"1e-999").is_ok());
}

#[test]
fn a_big_object_is_checked_in_time() {
    let keys = |n: usize| (0..n).map(|i| format!("\"k{i}\":0")).collect::<Vec<_>>().join(",");
    let began = std::time::Instant::now();
    assert!(parse(format!("{{{}}}", keys(100_000)).as_bytes()).is_ok());
    let twice = format!("{{{},\"k7\":1}}", keys(100_000));
    assert_eq!(parse(twice.as_bytes()).unwrap_err().kind(), Kind::DuplicateKey);
    // Pair by pair it would be 10^10 comparisons.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[test]
fn a_duplicate_is_found_at_every_size() {
    for size in 2..40 {
        for at in 0..size - 1 {
            let mut keys: Vec<String> = (0..size).map(|i| format!("\"k{i}\":0")).collect();
            keys[size - 1] = format!("\"\\u006b{at}\":0");
            let text = format!("{{{}}}", keys.join(","));
            assert_eq!(parse(text.as_bytes()).unwrap_err().kind(), Kind::DuplicateKey, "{text}");
        }
    }
}

/// The same with everything in it read, so that nothing is written as the text that it came as.
fn read_through(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(read_through).collect::<Vec<_>>().into(),
        Value::Object(object) => {
            let pairs = object.iter().map(|(key, value)| (key.into(), read_through(value)));
            Value::Object(Object::from_unique(pairs.collect()))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// What is seen of a value where it stands, by every way of looking.
fn seen(view: View<'_>) -> Value {
    match view {
        View::Null => Value::Null,
        View::Bool(b) => Value::Bool(b),
        View::Number(text) => Value::Number(Number::from_valid(text)),
        View::String(text) => Value::from(&*text),
        View::Array(items) => {
            let walked: Vec<Value> = items.iter().map(seen).collect();
            let named: Vec<Value> = (0..items.len()).map(|at| seen(items.get(at).unwrap())).collect();
            assert!(walked == named && items.get(items.len()).is_none());
            walked.into()
        }
        View::Object(members) => {
            let pairs: Vec<_> =
                members.keys().map(|key| (key.clone().into(), seen(members.get(&key).unwrap()))).collect();
            assert!(pairs.len() == members.len() && members.get("no such").is_none());
            Value::Object(Object::from_unique(pairs))
        }
    }
}

#[test]
fn every_item_of_a_long_array_is_where_it_is_looked_for() {
    for item in ["7", "[]", r#"{"a":[1,[2]]}"#, r#""\n""#] {
        let text = format!(r#"{{"z":[[{item}],{}{item}]}}"#, format!("{item},").repeat(5000));
        let value = parse_call(text.as_bytes()).unwrap();
        assert_eq!(seen((&value).into()), read_through(&value), "{item}");
    }
}

#[test]
fn a_name_is_found_by_what_it_says() {
    for parse in [parse, parse_call] {
        let value = parse(br#"{"a\"b":1,"a\\b":2,"\u0061b":3,"":4,"\n":5}"#).unwrap();
        let Value::Object(object) = &value else { panic!("no object") };
        for (key, there) in [
            ("a\"b", true),
            ("a\\b", true),
            ("ab", true),
            ("", true),
            ("\n", true),
            ("a\\\"b", false),
            ("a\\\\b", false),
            ("\\n", false),
            ("\\u0061b", false),
        ] {
            assert_eq!(object.view().get(key).is_some(), there, "{key}");
            assert_eq!(object.clone().get(key).is_some(), there, "{key}");
        }
    }
}

#[test]
fn what_was_changed_leaves_changed_and_nothing_else() {
    let sent =
        br#" { "id" : 1, "params" : { "name" : "a\u0062\/", "n" : [ 1.50 , { "x" : [ ] } ] , "e":"\"\u001F" } } "#;
    let first = parse(sent).unwrap();
    let whole = r#"{"id":1,"params":{"name":"ab/","n":[1.50,{"x":[]}],"e":"\"\u001f"}}"#;
    assert_eq!(text(&first), whole);
    let mut second = first.clone();
    let message = second.as_object_mut().unwrap();
    message.set("id", Value::from("seven"));
    let params = message.get_mut("params").and_then(Value::as_object_mut).unwrap();
    assert_eq!(params.remove("e").unwrap().as_str(), Some("\"\u{1f}"));
    assert_eq!(text(&second), r#"{"id":"seven","params":{"name":"ab/","n":[1.50,{"x":[]}]}}"#);
    let params = second.as_object_mut().unwrap().get_mut("params").and_then(Value::as_object_mut).unwrap();
    let Some(Value::Array(items)) = params.get_mut("n") else { panic!("no list") };
    assert_eq!(items.len(), 2);
    items.make_mut().remove(0);
    assert_eq!(text(&second), r#"{"id":"seven","params":{"name":"ab/","n":[{"x":[]}]}}"#);
    assert_eq!(text(&first), whole, "what shares its text stays as it was");
    assert_eq!(first, parse(whole.as_bytes()).unwrap());
}

#[test]
fn keys_are_found_wherever_they_are() {
    for (json, there) in [
        (r#"{"__proto__":1}"#, true),
        (r#"[[{"a":{"__proto__":{}}}]]"#, true),
        (r#"{"a":{"\u005f_proto__" : 1}}"#, true),
        (r#"{"a":"__proto__","b":["__proto__"]}"#, false),
        (r#"{"__proto_":1,"___proto__":{"a":"__proto__"}}"#, false),
        (r#""__proto__""#, false),
        ("{}", false),
    ] {
        let value = parse(json.as_bytes()).unwrap();
        assert_eq!((value.names("__proto__"), read_through(&value).names("__proto__")), (there, there), "{json}");
    }
    // Of a part only what is inside of it.
    let value = parse(br#"{"a":{"b":1},"__proto__":{"c":2}}"#).unwrap();
    assert!(value.names("__proto__") && !value.get("a").unwrap().names("__proto__"));
    assert!(!value.get("__proto__").unwrap().names("__proto__") && value.get("__proto__").unwrap().names("c"));
}

/// As other writers write: white space here and there, escapes where none need be.
fn written_otherwise(value: &Value, out: &mut String) {
    let string = |text: &str, out: &mut String| {
        out.push('"');
        for (at, unit) in text.encode_utf16().enumerate() {
            match char::from_u32(unit.into()) {
                Some(plain @ (' '..='!' | '#'..='[' | ']'..='~')) if at % 3 > 0 => out.push(plain),
                _ => out.push_str(&format!("\\u{unit:04X}")),
            }
        }
        out.push('"');
    };
    out.push_str(" \n");
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { " ," } else { "" });
                written_otherwise(item, out);
            }
            out.push_str("\t]");
        }
        Value::Object(object) => {
            out.push('{');
            for (at, (key, item)) in object.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "\r" });
                string(key, out);
                out.push_str(" :");
                written_otherwise(item, out);
            }
            out.push_str(" }");
        }
        Value::String(plain) => string(plain, out),
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&text(value)),
    }
    out.push(' ');
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?"
            .prop_map(|t| Value::Number(Number::from_valid(&t))),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number(),
        any::<String>().prop_map(|s| Value::from(s.as_str())),
        "[\\x00-\\x20\"\\\\a-c]{0,40}".prop_map(|s| Value::from(s.as_str())),
    ];
    let key = any::<String>().prop_map(|k| k.replace('\0', ""));
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..24)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Object>())),
        ]
    })
}

/// The values are equal, numbers up to the last bit that serde_json's quick reading may lose.
fn same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value as V;
    match (a, b) {
        (V::Number(a), V::Number(b)) => {
            let (x, y) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            a == b || (x - y).abs() <= x.abs() * 1e-15
        }
        (V::Array(a), V::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (V::Object(a), V::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        (a, b) => a == b,
    }
}

proptest! {
    /// Unread, read, and in other spelling: one form leaves.
    #[test]
    fn there_is_one_form_in_which_a_value_leaves(value in value()) {
        let written = text(&value);
        let unread = parse(written.as_bytes()).unwrap();
        prop_assert_eq!(&text(&unread), &written);
        prop_assert_eq!(&text(&read_through(&unread)), &written);
        let mut otherwise = String::new();
        written_otherwise(&value, &mut otherwise);
        let other = parse(otherwise.as_bytes()).unwrap();
        let called = parse_call(otherwise.as_bytes()).unwrap();
        prop_assert_eq!(&text(&called), &written);
        for unread in [&other, &called] {
            prop_assert_eq!(&seen(unread.into()), &value);
        }
        prop_assert_eq!(seen((&value).into()), value.clone());
        prop_assert_eq!(&text(&other), &written);
        prop_assert_eq!(&text(&read_through(&other)), &written);
        prop_assert_eq!(other, value);
    }

    #[test]
    fn what_is_written_is_read_again(value in value()) {
        let written = text(&value);
        prop_assert_eq!(&parse(written.as_bytes()).unwrap(), &value);
        let theirs: serde_json::Value = serde_json::from_str(&written).unwrap();
        prop_assert!(same(&theirs, &foreign(&value)));
    }

    #[test]
    fn what_we_accept_serde_json_accepts(input in r#"[\[\]{}:, "\\a-c0-2.eE+-]{0,24}"#) {
        if let Ok(value) = parse(input.as_bytes()) {
            let theirs: serde_json::Value = serde_json::from_str(&input).unwrap();
            prop_assert!(same(&theirs, &foreign(&value)), "{}", input);
        }
    }

    /// Damage one byte of a good text: whatever is still accepted means the same to both.
    #[test]
    fn damage_is_read_alike(value in value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = text(&value).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(ours) = parse(&bytes) {
            let theirs: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert!(same(&theirs, &foreign(&ours)));
        }
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(ours) = parse(&bytes) {
            prop_assert!(same(&serde_json::from_slice(&bytes).unwrap(), &foreign(&ours)));
        }
    }
}
