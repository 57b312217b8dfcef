use serde_json::json;

use super::*;
use crate::policy::fixture::{World, base, resource, tool, tool_entry};
use crate::policy::scope::Lens;

fn compile(source: &str) -> Condition {
    Condition::compile(source).unwrap_or_else(|problem| panic!("{source}: {problem}"))
}

fn truth(source: &str, world: &World) -> Truth {
    let facts = world.facts();
    let list = matches!(&world.call, crate::call::Call::Mcp(call) if call.phase() == crate::call::Phase::List);
    let lens = if list { Lens::List } else { Lens::Call };
    compile(source).truth(&Scope::of(&facts, lens), &mut Meter::new(100_000))
}

fn world() -> World {
    let arguments = json!({
        "owner": "acme", "n": 3, "big": 9_223_372_036_854_775_807_i64, "bigger": 18_446_744_073_709_551_615_u64,
        "f": 1.5, "tags": ["a", "b"], "deep": {"x": {"y": true}}, "nothing": null, "empty": [],
    });
    let claims = json!({"iss": "https://iss", "sub": "alice", "groups": ["dev", "ops"], "https://x/y": 1});
    World::calling(tool("create_issue", arguments)).claiming(claims)
}

#[test]
fn conditions_that_hold() {
    for source in [
        "true",
        "mcp.tool.name == \"create_issue\"",
        "mcp.tool.name == 'create_issue' && jwt.sub == 'alice'",
        "mcp.tool.target == destination.service && destination.port == 8080",
        "mcp.methodName == 'tools/call' && mcp.phase == 'call'",
        "source.spiffeId == 'spiffe://cluster.local/ns/agents/sa/researcher'",
        "source.identity.namespace + '/' + source.identity.serviceAccount == 'agents/researcher'",
        "source.address == '10.1.2.3'",
        "request.method == 'POST' && request.path.startsWith('/m') && request.host.endsWith(':8080')",
        "has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == \"acme\"",
        "!has(mcp.tool.arguments.missing)",
        "has(mcp.tool) && !has(mcp.prompt) && !has(mcp.resource) && has(mcp.tool.name) && has(source.identity)",
        "has(jwt.sub) && !has(jwt.nobody) && has(mcp.tool.arguments.nothing)",
        "mcp.tool.arguments['owner'] in ['acme', 'other']",
        "'owner' in mcp.tool.arguments && !('x' in mcp.tool.arguments)",
        "mcp.tool.arguments.n == 3 && mcp.tool.arguments.n == 3.0 && mcp.tool.arguments.n == 3u",
        "mcp.tool.arguments.n < 3.5 && mcp.tool.arguments.n >= 3 && mcp.tool.arguments.f > 1",
        "mcp.tool.arguments.big + 0 == 9223372036854775807",
        "mcp.tool.arguments.bigger == 18446744073709551615u && mcp.tool.arguments.bigger > mcp.tool.arguments.big",
        "mcp.tool.arguments.nothing == null && mcp.tool.arguments.n != null",
        "mcp.tool.arguments.deep.x.y",
        "mcp.tool.arguments.deep == {'x': {'y': true}}",
        "mcp.tool.arguments.tags == ['a', 'b'] && mcp.tool.arguments.tags[1] == 'b'",
        "size(mcp.tool.arguments.tags) == 2 && mcp.tool.arguments.owner.size() == 4 && size('\u{e9}') == 1",
        "mcp.tool.arguments.tags.all(t, t in ['a', 'b']) && mcp.tool.arguments.tags.exists(t, t == 'b')",
        "mcp.tool.arguments.tags.exists_one(t, t == 'a') && mcp.tool.arguments.empty.all(t, false)",
        "mcp.tool.arguments.tags.map(t, t + '!') == ['a!', 'b!'] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "mcp.tool.arguments.tags.filter(t, t != 'a') == ['b']",
        "[[1, 2], [3]].all(l, l.all(x, x > 0 && size(l) > 0))",
        "mcp.tool.arguments.all(k, size(k) > 0)",
        "mcp.tool.arguments.owner.matches('^a.*e$') && matches('x1', '[0-9]')",
        "'ABC'.lowerAscii() == 'abc' && 'abc'.upperAscii() == 'ABC' && 'abc'.contains('b')",
        "jwt['https://x/y'] == 1 && jwt.groups.exists(g, g == 'ops')",
        "string(3) + string(true) + string(2u) == '3true2' && int('4') == 4 && double('1.5') == 1.5 && int(2.9) == 2",
        "1 + 2 * 3 - 4 / 2 == 5 && 7 % 3 == 1 && -7 / 2 == -3 && 1.0 / 2.0 == 0.5",
        "mcp.tool.arguments.n > 2 ? true : false",
        "dyn(1) == 1 && b'a' == b'a' && b'a' < b'b' && false < true",
        "jwt.missing == 1 || true",
        "!(jwt.missing == 1 && false)",
        "true || jwt.missing == 1",
        "[1, 'x'].exists(x, x == 'x') && [1, 2u, 3.0] == [1.0, 2, 3u]",
    ] {
        assert_eq!(truth(source, &world()), Truth::True, "{source}");
    }
}

#[test]
fn conditions_that_fail_to_evaluate() {
    for source in [
        "jwt.missing == 1",
        "jwt.missing == 1 && true",
        "mcp.tool.arguments.missing.deeper",
        "has(mcp.tool.arguments.missing.deeper)",
        "has(mcp.tool.arguments.owner.x)",
        "mcp.tool.arguments.owner",
        "mcp.tool.arguments.owner < 3",
        "mcp.tool.arguments.tags[2] == 'c'",
        "mcp.tool.arguments.tags['a'] == 'c'",
        "mcp.tool.arguments.big + 1 > 0",
        "1 / 0 == 1 || false",
        "1 % 0 == 1",
        "-(-9223372036854775807 - 1) == 0",
        "mcp.tool.arguments.n + 1.0 == 4.0",
        "int('x') == 1",
        "int(1e30) == 1",
        "mcp.prompt.name == 'x'",
        "mcp.protocolVersion == '2025-11-25'",
        "[1, 2].all(x, x)",
        "{mcp.tool.arguments.n: 1, 3: 2}[3] == 1",
        "mcp.tool.arguments.tags.exists_one(t, t == 'a' || jwt.missing)",
    ] {
        assert_eq!(truth(source, &world()), Truth::Failed, "{source}");
    }
}

#[test]
fn a_list_does_not_know_arguments() {
    let world = World::calling(tool_entry("create_issue"));
    for (source, want) in [
        ("mcp.tool.arguments.owner == 'acme'", Truth::Unknown),
        ("has(mcp.tool.arguments.owner)", Truth::Unknown),
        ("has(mcp.tool.arguments)", Truth::True),
        ("'owner' in mcp.tool.arguments", Truth::Unknown),
        ("size(mcp.tool.arguments) == 0", Truth::Unknown),
        ("mcp.tool.arguments.all(k, k == 'a')", Truth::Unknown),
        ("[1, mcp.tool.arguments.n] == [1, 2]", Truth::Unknown),
        ("[1, 2].exists(x, x == mcp.tool.arguments.n)", Truth::Unknown),
        ("[1, 2].filter(x, x == mcp.tool.arguments.n) == []", Truth::Unknown),
        ("mcp.tool.arguments.owner == 'acme' && mcp.tool.name == 'x'", Truth::False),
        ("mcp.tool.arguments.owner == 'acme' || mcp.tool.name == 'create_issue'", Truth::True),
        ("!(mcp.tool.arguments.owner == 'acme')", Truth::Unknown),
        ("mcp.tool.arguments.on ? true : false", Truth::Unknown),
        ("mcp.phase == 'list' && mcp.methodName == 'tools/list'", Truth::True),
        ("mcp.tool.arguments.owner == jwt.sub", Truth::Failed),
        ("mcp.tool.arguments.owner == 'acme' && jwt.sub == 'x'", Truth::Unknown),
    ] {
        assert_eq!(truth(source, &world), want, "{source}");
    }
}

#[test]
fn names_are_absent_where_the_call_has_none() {
    let world = World::calling(base("initialize")).from("spiffe://td/spire/agent");
    for (source, want) in [
        ("source.identity.namespace == 'agents'", Truth::Failed),
        ("has(source.identity)", Truth::False),
        ("has(source.identity.namespace)", Truth::False),
        ("has(jwt.sub)", Truth::False),
        ("has(mcp.tool)", Truth::False),
        ("has(request.path)", Truth::True),
    ] {
        assert_eq!(truth(source, &world), want, "{source}");
    }
    let tcp = World::calling(crate::call::Call::Tcp);
    assert_eq!(truth("request.path == '/'", &tcp), Truth::Failed);
    assert_eq!(truth("has(request.path) || has(mcp.tool)", &tcp), Truth::False);
}

#[test]
fn resources_have_both_forms() {
    let world = World::calling(resource("FILE:///a", "file:///a"));
    assert_eq!(truth("mcp.resource.uri == 'file:///a' && mcp.resource.name == 'FILE:///a'", &world), Truth::True);
}

#[test]
fn headers_are_seen_whole() {
    let mut world = world();
    let headers = &mut world.request.as_mut().unwrap().headers;
    headers.append("x-role", "user".parse().unwrap());
    headers.append("x-role", "admin".parse().unwrap());
    headers.append("x-bad", http::HeaderValue::from_bytes(&[0xff]).unwrap());
    for (source, want) in [
        ("request.headers['x-role'] == 'user,admin'", Truth::True),
        ("request.headers['X-Role'] == 'user,admin'", Truth::True),
        ("request.headers['x-bad'] == 'a'", Truth::Failed),
        ("has(request.headers.host)", Truth::False),
        ("'x-none' in request.headers", Truth::False),
    ] {
        assert_eq!(truth(source, &world), want, "{source}");
    }
}

#[test]
fn a_path_with_parameters_is_not_known() {
    let mut world = world();
    for (path, want) in [("/admin", Truth::True), ("/admin;x", Truth::Failed), ("/a%3Bx", Truth::Failed)] {
        world.request.as_mut().unwrap().path = path.to_owned();
        assert_eq!(truth("request.path == '/admin'", &world), want, "{path}");
    }
    assert_eq!(truth("request.method == 'POST'", &world), Truth::True);
}

/// CGI and its heirs read `_` and `-` alike: a rule that looked at one of the two would decide on another request than the
/// server's.
#[test]
fn a_header_that_another_may_be_taken_for_is_not_known() {
    let mut world = world();
    let headers = &mut world.request.as_mut().unwrap().headers;
    headers.append("x-role", "user".parse().unwrap());
    headers.append("x_role", "admin".parse().unwrap());
    headers.append("x_debug", "1".parse().unwrap());
    headers.append("plain", "1".parse().unwrap());
    for (source, want) in [
        ("request.headers['x-role'] == 'user'", Truth::Failed),
        ("request.headers['X_Role'] == 'admin'", Truth::Failed),
        ("'x-debug' in request.headers", Truth::Failed),
        ("request.headers['x_debug'] == '1'", Truth::True),
        ("has(request.headers.plain)", Truth::True),
        ("'x-none' in request.headers", Truth::False),
    ] {
        assert_eq!(truth(source, &world), want, "{source}");
    }
}

#[test]
fn what_does_not_compile_says_where_and_why() {
    let rows = [
        ("", "is empty"),
        ("  ", "is empty"),
        ("mcp.tool.nmae == 'x'", "1:1: unknown name `mcp.tool.nmae`; did you mean `mcp.tool.name`?"),
        ("true &&\n  zzz.a == 1", "2:3: unknown name `zzz.a`"),
        ("'\u{e9}' == 'x' && foo", "1:15: unknown name `foo`"),
        ("mcp.resource.target == 'x'", "1:1: `mcp.resource.target` is a name of agentgateway"),
        ("llm.model == 'x'", "is a name of agentgateway that is not available here"),
        ("has(mcp.tol)", "did you mean `mcp.tool`"),
        ("has(nobody.x)", "unknown name `nobody.x`"),
        ("has(jwt)", "has() needs a field"),
        ("source == 'x'", "`source` has no value of its own"),
        ("mcp.tool", "`mcp.tool` has no value of its own"),
        ("mcp.tool.name", "must be true or false, and is a string"),
        ("1 + 1", "must be true or false, and is a int"),
        ("mcp.tool.name == 3", "`==` compares a string with a int"),
        ("mcp.tool.name.x == 3", "is a string and has no field `x`"),
        ("destination.port < 'x'", "`<` compares a int with a string"),
        ("[1] < [2]", "`<` does not apply to a list"),
        ("mcp.tool.name && true", "is a string where true or false is needed"),
        ("!1", "is a int where true or false is needed"),
        ("mcp.tool.name + 1 == 'x'", "`+` does not apply to a string and a int"),
        ("1.0 % 2.0 == 0.0", "`%` does not apply"),
        ("-'x' == 'x'", "`-` does not apply to a string"),
        ("'a' in 'abc'", "`in` needs a list or a map"),
        ("'abc'[0] == 'a'", "cannot be indexed"),
        ("size(1) == 1", "a int has no size"),
        ("mcp.tool.name.matches(jwt.x)", "literal pattern"),
        ("mcp.tool.name.matches('(')", "is no regular expression"),
        ("mcp.tool.name.matches('(a{1000}){1000}')", "is no regular expression"),
        ("mcp.tool.name.startsWith(1)", "a string is needed"),
        ("mcp.tool.name.frobnicate()", "`frobnicate` is no function here"),
        ("startsWith('a', 'b')", "`startsWith` is not called that way"),
        ("[1].all(x.y, true)", "must be a plain variable name"),
        ("'x'.all(c, true)", "a list or a map is needed"),
        ("[1].all(x, 1)", "where true or false is needed"),
        ("[1].all(x, y == 1)", "unknown name `y`"),
        ("1 ==", "does not parse"),
        ("a.b(", "does not parse"),
        ("'unclosed", "does not parse"),
        ("Foo{a: 1} == 1", "messages are not available"),
        ("mcp.?tool == 1", "does not parse"),
    ];
    for (source, want) in rows {
        let problem = Condition::compile(source).expect_err(source).to_string();
        assert!(problem.contains(want), "{source:?}\n got: {problem}\nwant: {want}");
    }
}

#[test]
fn hostile_sources_are_refused_without_harm() {
    let long = |text: &str| text.repeat(4_000 / text.len());
    for source in [
        "x".repeat(5_000),
        format!("{}true{}", "(".repeat(1_500), ")".repeat(1_500)),
        format!("{}1{}", "[".repeat(1_500), "]".repeat(1_500)),
        long("("),
        long("a."),
        format!("jwt{} == 1", long(".a")),
        format!("1{} == 1", long("+1")),
        format!("{}true", long("!-")),
        long("{"),
        long("a?b:"),
        long("a["),
        long("f("),
        long("[1].all(x,"),
        format!("true{}", "? true : true".repeat(300)),
    ] {
        let problem = Condition::compile(&source);
        let head: String = source.chars().take(20).collect();
        assert!(problem.is_err(), "{head}");
    }
    // Wide is not deep.
    assert!(Condition::compile(&format!("true{}", " && true".repeat(400))).is_ok());
}

#[test]
fn evaluation_is_bounded() {
    let items: Vec<u32> = (0..500).collect();
    let world = World::calling(tool("x", json!({ "l": items, "s": "a".repeat(100_000) })));
    for source in [
        "mcp.tool.arguments.l.all(a, mcp.tool.arguments.l.all(b, a + b >= 0))",
        "mcp.tool.arguments.l.map(x, mcp.tool.arguments.s).all(s, s.contains('b') || true)",
        "mcp.tool.arguments.l.exists(x, mcp.tool.arguments.s.matches('^(a+)+b$'))",
        "mcp.tool.arguments.l.map(x, mcp.tool.arguments.l) == mcp.tool.arguments.l.map(x, mcp.tool.arguments.l)",
    ] {
        assert_eq!(truth(source, &world), Truth::Failed, "{source}");
    }
}

#[test]
fn explaining_names_what_decided() {
    let facts = world();
    let facts = facts.facts();
    let scope = Scope::of(&facts, Lens::Call);
    let because = |source: &str| compile(source).because(&scope, &mut Meter::new(10_000));
    assert_eq!(
        because("mcp.tool.name == 'create_issue' && mcp.tool.arguments.owner == 'evil'"),
        "`mcp.tool.arguments.owner == \"evil\"` is false, where `mcp.tool.arguments.owner` is \"acme\""
    );
    assert_eq!(because("jwt.sub == 'bob' || has(jwt.groups)"), "`has(jwt.groups)` is true");
    assert!(because("jwt.nobody == 1").contains("fails: no such key"));
    assert!(because("!(mcp.tool.arguments.n > 2)").starts_with("`mcp.tool.arguments.n > 2` is true"));
}

#[test]
fn rendering_parses_again_to_the_same() {
    for source in [
        "(1 + 2) * 3 == 9 && !(has(jwt.a) || 'x' in ['x'])",
        "[1].map(x, x > 0, x + 1) == [2] ? true : -(1) == -1",
        "mcp.tool.arguments['a b'].c.matches(\"a\\\\.b\") && {'a': 1u}['a'] == 1u && b'x' == b'x'",
        "size('a'.upperAscii()) == 1 && 1.0 == 1.0",
    ] {
        let once = compile(source).op.to_string();
        assert_eq!(compile(&once).op.to_string(), once, "{source}");
    }
}

#[test]
fn reads_are_known() {
    let condition = compile("mcp.tool.arguments.a == 1 && has(jwt.sub)");
    assert!(condition.reads(Name::Jwt) && condition.reads(Name::ToolArguments) && !condition.reads(Name::Tool));
}

#[test]
fn the_meter_stays_empty() {
    let mut meter = Meter::new(3);
    assert!(meter.spend(2).is_ok());
    assert_eq!(meter.spend(2), Err(Stop::Error(Fault::Budget)));
    assert_eq!(meter.left(), 0);
    assert!(meter.spend(1).is_err());
}
