//! The same expressions in the crate's own interpreter: the same value, or an error in both.

use std::collections::HashMap;

use cel_interpreter::{Context, Program, Value as CrateValue};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::policy::fixture::{World, tool};
use crate::policy::scope::Lens;

fn arguments() -> Json {
    json!({
        "i": 7, "j": -3, "d": 2.5, "s": "héllo", "t": "he", "b": true, "n": null,
        "l": [1, 2, 3], "e": [], "m": {"a": 1, "b": {"c": "x"}}, "ss": ["a", "b", "a"],
    })
}

/// As the crate would have it, except that its own conversion makes every positive number a uint.
fn crate_value(json: &Json) -> CrateValue {
    match json {
        Json::Null => CrateValue::Null,
        Json::Bool(b) => (*b).into(),
        Json::Number(n) => n.as_i64().map_or_else(|| n.as_f64().unwrap().into(), CrateValue::from),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => items.iter().map(crate_value).collect::<Vec<_>>().into(),
        Json::Object(pairs) => {
            pairs.iter().map(|(key, value)| (key.clone(), crate_value(value))).collect::<HashMap<_, _>>().into()
        }
    }
}

/// Ours, over the arguments of a tool; the crate's, over the same value under `a`.
fn both(source: &str) -> (Result<bool, ()>, Result<bool, ()>) {
    let world = World::calling(tool("t", arguments()));
    let facts = world.facts();
    let condition = Condition::compile(&source.replace("a.", "mcp.tool.arguments."));
    let ours = match condition.map(|c| c.truth(&Scope::of(&facts, Lens::Call), &mut Meter::new(1_000_000))) {
        Ok(Truth::True) => Ok(true),
        Ok(Truth::False) => Ok(false),
        Ok(Truth::Failed | Truth::Unknown) | Err(_) => Err(()),
    };
    let mut context = Context::default();
    context.add_variable_from_value("a", crate_value(&arguments()));
    let theirs = match Program::compile(source).map(|program| program.execute(&context)) {
        Ok(Ok(CrateValue::Bool(b))) => Ok(b),
        Ok(_) | Err(_) => Err(()),
    };
    (ours, theirs)
}

const CORPUS: &[&str] = &[
    "a.i == 7",
    "a.i == 7.0",
    "a.i != 8",
    "a.j < 0",
    "a.d > 2.0",
    "a.i >= 7 && a.j <= -3",
    "a.s == 'héllo'",
    "a.s.startsWith(a.t)",
    "a.s.endsWith('lo')",
    "a.s.contains('ll')",
    "size(a.s) == 5",
    "a.s.size() == 5",
    "a.s.matches('^h.*o$')",
    "a.s.matches('x')",
    "a.b",
    "!a.b",
    "a.n == null",
    "a.b ? a.i == 7 : false",
    "a.i + 1 == 8",
    "a.i - 10 == a.j",
    "a.i * 2 == 14",
    "a.i / 2 == 3",
    "a.i % 2 == 1",
    "a.j / 2 == -1",
    "a.j % 2 == -1",
    "a.d + 0.5 == 3.0",
    "a.d * 2.0 == 5.0",
    "a.d / 0.5 == 5.0",
    "a.s + '!' == 'héllo!'",
    "a.i / 0 == 1",
    "a.i % 0 == 1",
    "a.l == [1, 2, 3]",
    "a.l[0] == 1",
    "a.l[3] == 1",
    "size(a.l) == 3",
    "2 in a.l",
    "9 in a.l",
    "a.e == []",
    "a.l.all(x, x > 0)",
    "a.l.exists(x, x == 2)",
    "a.l.exists_one(x, x == 2)",
    "a.ss.exists_one(x, x == 'a')",
    "a.l.filter(x, x > 1) == [2, 3]",
    "a.l.map(x, x * 2) == [2, 4, 6]",
    "a.l.map(x, x > 1, x * 2) == [4, 6]",
    "a.e.all(x, false)",
    "a.e.exists(x, true)",
    "a.l.all(x, x / 0 == 1)",
    "a.l.exists(x, x == 1 || x / 0 == 1)",
    "has(a.m.a)",
    "has(a.m.z)",
    "a.m.b.c == 'x'",
    "a.m['a'] == 1",
    "'a' in a.m",
    "'z' in a.m",
    "a.m.z == 1",
    "a.m == {'a': 1, 'b': {'c': 'x'}}",
    "a.m.all(k, size(k) == 1)",
    "a.m.z == 1 || true",
    "a.m.z == 1 && false",
    "false && a.m.z == 1",
    "true || a.m.z == 1",
    "int('12') == 12",
    "double('1.5') == 1.5",
    "string(12) == '12'",
    "string(a.b) == 'true'",
    "uint(3) == 3u",
    "int(2.7) == 2",
    "int(-2.7) == -2",
    "-a.i == -7",
    "!(a.i == 7)",
    "a.l + [4] == [1, 2, 3, 4]",
    "[1, 2] == [1.0, 2.0]",
    "[[1], [2]] == [[1], [2]]",
    "{'a': [1]} == {'a': [1]}",
    "9223372036854775807 + 1 > 0",
    "-9223372036854775807 - 2 < 0",
    "a.i == 'x'",
    "a.s < 'i'",
    "a.s < 3",
    "true > false",
    "'a' < 'b' && b'a' < b'b'",
    "a.ss.filter(x, x == 'a').size() == 2",
    "a.l.map(x, [x]).exists(l, l == [2])",
];

#[test]
fn the_corpus_agrees() {
    for source in CORPUS {
        let (ours, theirs) = both(source);
        assert_eq!(ours, theirs, "{source}");
    }
}

fn number() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a.i".to_owned()),
        Just("a.j".to_owned()),
        Just("a.l[1]".to_owned()),
        Just("size(a.ss)".to_owned()),
        (-3_i64..4).prop_map(|n| n.to_string()),
        Just("a.m.a".to_owned()),
        Just("a.l[5]".to_owned()),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        (inner.clone(), prop_oneof![Just("+"), Just("-"), Just("*"), Just("/"), Just("%")], inner)
            .prop_map(|(a, op, b)| format!("({a} {op} {b})"))
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just("a.s"), Just("a.t"), Just("'h'"), Just("a.m.b.c"), Just("(a.s + a.t)"), Just("a.m.zz")]
        .prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = String> {
    let compare = prop_oneof![Just("=="), Just("!="), Just("<"), Just("<="), Just(">"), Just(">=")];
    let atom = prop_oneof![
        (number(), compare.clone(), number()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (text(), compare, text()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (text(), prop_oneof![Just("startsWith"), Just("contains"), Just("endsWith")], text())
            .prop_map(|(a, f, b)| format!("{a}.{f}({b})")),
        (number(), Just("a.l")).prop_map(|(a, l)| format!("{a} in {l}")),
        number().prop_map(|n| format!("a.l.exists(x, x == {n})")),
        number().prop_map(|n| format!("a.l.all(x, x + {n} > 0)")),
        number().prop_map(|n| format!("a.l.map(x, x * {n}) == [2, 4, 6]")),
        number().prop_map(|n| format!("a.l.filter(x, x > {n}).size() == 1")),
        Just("a.b".to_owned()),
        Just("has(a.m.a)".to_owned()),
        Just("has(a.m.q)".to_owned()),
    ];
    atom.prop_recursive(3, 10, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn generated_conditions_agree(source in condition()) {
        let (ours, theirs) = both(&source);
        prop_assert_eq!(ours, theirs, "{}", source);
    }

    /// What is rendered for people means the same.
    #[test]
    fn rendered_conditions_mean_the_same(source in condition()) {
        let (ours, _) = both(&source);
        let condition = Condition::compile(&source.replace("a.", "mcp.tool.arguments.")).unwrap();
        let (again, _) = both(&condition.op.to_string().replace("mcp.tool.arguments.", "a."));
        prop_assert_eq!(ours, again, "{} -> {}", source, condition.op);
    }
}
