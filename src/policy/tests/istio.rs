//! AuthorizationPolicy, field by field, as Istio's reference says: each row in a rule that denies and in one that allows.

use serde_json::json;

use super::{FOREIGN, SPIRE, WRITER};
use crate::call::Call;
use crate::document::Meta;
use crate::document::authorization_policy::AuthorizationPolicySpec;
use crate::policy::fixture::{World, head, istio_spec, meta, verdict};
use crate::policy::{RuleSet, Rules, compile};

/// GET /x?q=1 of `agents/researcher` from 10.1.2.3 to repo-mcp.tools:8080 at 10.96.0.7.
fn get() -> World {
    let mut world = World::calling(Call::Http);
    world.request.as_mut().unwrap().query = Some("q=1".into());
    world
}

fn at(path: &str) -> World {
    World { request: Some(head("GET", path)), ..get() }
}

fn to_host(host: &str) -> World {
    let mut world = get();
    world.request.as_mut().unwrap().host = host.into();
    world
}

/// With these lines of headers.
fn with(lines: &[(&'static str, &str)]) -> World {
    let mut world = get();
    for (name, value) in lines {
        world.request.as_mut().unwrap().headers.append(*name, value.parse().unwrap());
    }
    world
}

fn claiming(claims: serde_json::Value) -> World {
    let mut all = json!({"iss": "https://iss", "sub": "alice"});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    get().claiming(all)
}

fn compiled(yaml: &str, trust_domains: &[&str]) -> Rules {
    let (meta, spec) = (meta("p"), istio_spec(yaml));
    let trust_domains: Vec<String> = trust_domains.iter().map(|&domain| domain.to_owned()).collect();
    let set = RuleSet { istio: vec![(&meta, &spec)], trust_domains: &trust_domains, ..RuleSet::default() };
    compile(&set).unwrap_or_else(|problems| panic!("{yaml}: {problems:?}"))
}

/// Whether the rule matches the call, by DENY, ALLOW and AUDIT alike.
fn matches(rule: &str, world: &World) -> bool {
    let of = |action: &str| verdict(&compiled(&format!("action: {action}\nrules: [{rule}]"), &[]), world);
    let allowed = of("ALLOW") == "allow";
    assert_eq!(of("DENY") == "denied_by_rule", allowed, "{rule}: DENY and ALLOW see the same");
    assert_eq!(of("AUDIT"), "allow", "{rule}: AUDIT decides nothing");
    allowed
}

fn check(rows: &[(&str, World, bool)]) {
    for (rule, world, want) in rows {
        assert_eq!(matches(rule, world), *want, "{rule}\n{world:?}");
    }
}

fn from(source: &str) -> String {
    format!("{{from: [{{source: {{{source}}}}}]}}")
}

fn to(operation: &str) -> String {
    format!("{{to: [{{operation: {{{operation}}}}}]}}")
}

fn when(key: &str, rest: &str) -> String {
    format!("{{when: [{{key: '{key}', {rest}}}]}}")
}

#[test]
fn sources() {
    let rows: &[(&str, World, bool)] = &[
        ("principals: ['cluster.local/ns/agents/sa/researcher']", get(), true),
        ("principals: ['cluster.local/ns/agents/sa/*']", get(), true),
        ("principals: ['*/sa/researcher']", get(), true),
        ("principals: ['*']", get(), true),
        ("principals: ['cluster.local/ns/agents/sa/research']", get(), false),
        ("principals: ['a', 'cluster.local/ns/agents/sa/researcher']", get(), true),
        ("notPrincipals: ['cluster.local/ns/agents/sa/writer']", get(), true),
        ("notPrincipals: ['cluster.local/ns/agents/sa/writer']", get().from(WRITER), false),
        ("notPrincipals: ['*']", get(), false),
        ("principals: ['*/sa/*']", get(), false),
        ("namespaces: ['agents']", get(), true),
        ("namespaces: ['agent*']", get(), true),
        ("namespaces: ['*ents']", get(), true),
        ("namespaces: ['a*s']", get(), true),
        ("namespaces: ['agent']", get(), false),
        ("namespaces: ['*']", get().from(SPIRE), false),
        ("notNamespaces: ['x']", get().from(SPIRE), true),
        ("notNamespaces: ['agents']", get(), false),
        ("serviceAccounts: ['agents/researcher']", get(), true),
        ("serviceAccounts: ['researcher']", get(), false),
        ("serviceAccounts: ['researcher']", get().from("spiffe://x/ns/tools/sa/researcher"), true),
        ("notServiceAccounts: ['agents/writer']", get(), true),
        ("notServiceAccounts: ['agents/writer']", get().from(WRITER), false),
        ("trustDomains: ['cluster.local']", get(), true),
        ("trustDomains: ['cluster.local']", get().from(FOREIGN), false),
        ("trustDomains: ['*.example']", get().from(FOREIGN), true),
        ("notTrustDomains: ['cluster.local']", get().from(FOREIGN), true),
        ("notTrustDomains: ['cluster.local']", get(), false),
        ("ipBlocks: ['10.1.2.3']", get(), true),
        ("ipBlocks: ['10.1.0.0/16']", get(), true),
        ("ipBlocks: ['10.1.2.9/16']", get(), true),
        ("ipBlocks: ['10.2.0.0/16', '::/0']", get(), false),
        ("notIpBlocks: ['10.1.2.0/24']", get(), false),
        ("notIpBlocks: ['10.2.0.0/16']", get(), true),
        ("remoteIpBlocks: ['10.1.2.3']", get(), true),
        ("remoteIpBlocks: ['192.0.2.1']", with(&[("x-forwarded-for", "10.1.2.3, 192.0.2.1")]), true),
        ("remoteIpBlocks: ['192.0.2.1']", with(&[("x-forwarded-for", "192.0.2.1, 10.9.9.9")]), false),
        ("remoteIpBlocks: ['192.0.2.1']", with(&[("x-forwarded-for", "x"), ("x-forwarded-for", "192.0.2.1")]), true),
        ("remoteIpBlocks: ['10.1.2.3']", with(&[("x-forwarded-for", "192.0.2.1, nobody")]), true),
        ("notRemoteIpBlocks: ['192.0.2.0/24']", with(&[("x-forwarded-for", "192.0.2.1")]), false),
        ("notRemoteIpBlocks: ['192.0.2.0/24']", get(), true),
        ("ipBlocks: ['192.0.2.1']", with(&[("x-forwarded-for", "192.0.2.1")]), false),
        ("principals: ['*'], namespaces: ['agents'], notIpBlocks: ['10.1.2.3']", get(), false),
    ];
    for (source, world, want) in rows {
        assert_eq!(matches(&from(source), world), *want, "{source}\n{world:?}");
    }
    check(&[
        ("{from: [{source: {namespaces: [x]}}, {source: {namespaces: [agents]}}]}", get(), true),
        ("{from: [{source: {namespaces: [x]}}, {source: {namespaces: [y]}}]}", get(), false),
        ("{}", get(), true),
    ]);
}

#[test]
fn request_principals_and_claims() {
    let alice = || claiming(json!({}));
    let rows: Vec<(String, World, bool)> = vec![
        (from("requestPrincipals: ['https://iss/alice']"), alice(), true),
        (from("requestPrincipals: ['https://iss/bob']"), alice(), false),
        (from("requestPrincipals: ['https://iss/*']"), alice(), true),
        (from("requestPrincipals: ['https://iss/al*']"), alice(), true),
        (from("requestPrincipals: ['https://is*']"), alice(), false),
        (from("requestPrincipals: ['*/alice']"), alice(), true),
        (from("requestPrincipals: ['*iss/alice']"), alice(), true),
        (from("requestPrincipals: ['*ice']"), alice(), true),
        (from("requestPrincipals: ['*']"), alice(), true),
        (from("requestPrincipals: ['*']"), get(), false),
        (from("requestPrincipals: ['https://iss']"), alice(), false),
        (from("notRequestPrincipals: ['*']"), get(), true),
        (from("notRequestPrincipals: ['*']"), alice(), false),
        (from("notRequestPrincipals: ['https://iss/bob']"), alice(), true),
        (when("request.auth.principal", "values: ['https://iss/alice']"), alice(), true),
        (when("request.auth.principal", "notValues: ['https://iss/alice']"), alice(), false),
        (when("request.auth.audiences", "values: [me]"), claiming(json!({"aud": "me"})), true),
        (when("request.auth.audiences", "values: [me]"), claiming(json!({"aud": ["you", "me"]})), true),
        (when("request.auth.audiences", "values: [me]"), claiming(json!({"aud": ["you"]})), false),
        (when("request.auth.audiences", "values: [me]"), alice(), false),
        (when("request.auth.audiences", "notValues: [me]"), alice(), true),
        (when("request.auth.presenter", "values: ['app-*']"), claiming(json!({"azp": "app-1"})), true),
        (when("request.auth.claims[groups]", "values: [a]"), claiming(json!({"groups": ["b", "a"]})), true),
        (when("request.auth.claims[groups]", "values: [a]"), claiming(json!({"groups": "a"})), true),
        (when("request.auth.claims[groups]", "values: [a]"), claiming(json!({"groups": "a b"})), false),
        (when("request.auth.claims[groups]", "values: ['a*']"), claiming(json!({"groups": ["ab"]})), true),
        (when("request.auth.claims[groups]", "notValues: [a]"), claiming(json!({"groups": ["b", "a"]})), false),
        (when("request.auth.claims[scope]", "values: [read]"), claiming(json!({"scope": "write read"})), true),
        (when("request.auth.claims[scope]", "values: ['write read']"), claiming(json!({"scope": "write read"})), false),
        (when("request.auth.claims[permission]", "values: [b]"), claiming(json!({"permission": "a b"})), true),
        (when("request.auth.claims[a][b]", "values: [v]"), claiming(json!({"a": {"b": "v"}})), true),
        (when("request.auth.claims[a][b]", "values: [v]"), claiming(json!({"a": {"b": ["u", "v"]}})), true),
        (when("request.auth.claims[a][b]", "values: [v]"), claiming(json!({"a": "v"})), false),
        (when("request.auth.claims[a]", "values: ['*']"), claiming(json!({"a": ""})), false),
        (when("request.auth.claims[a]", "values: ['*']"), claiming(json!({"a": "x"})), true),
        (when("request.auth.claims[a]", "values: ['1']"), claiming(json!({"a": 1})), false),
        (when("request.auth.claims[a]", "values: ['true']"), claiming(json!({"a": true})), false),
        (when("request.auth.claims[https://x/y]", "values: [z]"), claiming(json!({"https://x/y": "z"})), true),
    ];
    for (rule, world, want) in rows {
        assert_eq!(matches(&rule, &world), want, "{rule}\n{:?}", world.claims);
    }
}

#[test]
fn operations() {
    let rows: Vec<(&str, World, bool)> = vec![
        ("hosts: ['repo-mcp.tools:8080']", get(), true),
        ("hosts: ['REPO-mcp.TOOLS:8080']", get(), true),
        ("hosts: ['repo-mcp.tools']", get(), false),
        ("hosts: ['repo-mcp.tools', 'repo-mcp.tools:*']", get(), true),
        ("hosts: ['repo-mcp.tools']", to_host("repo-mcp.tools"), true),
        ("hosts: ['*.tools:8080']", get(), true),
        ("hosts: ['*']", get(), true),
        ("notHosts: ['Repo-Mcp.tools:*']", get(), false),
        ("notHosts: ['other']", get(), true),
        ("ports: ['8080']", get(), true),
        ("ports: ['80', '08080']", get(), true),
        ("ports: ['80']", get(), false),
        ("notPorts: ['8080']", get(), false),
        ("notPorts: ['80']", get(), true),
        ("methods: ['GET']", get(), true),
        ("methods: ['get']", get(), false),
        ("methods: ['G*', 'POST']", get(), true),
        ("methods: ['*']", get(), true),
        ("notMethods: ['GET', 'HEAD']", get(), false),
        ("notMethods: ['POST']", get(), true),
        ("paths: ['/x']", get(), true),
        ("paths: ['/x?q=1']", get(), false),
        ("paths: ['/X']", get(), false),
        ("paths: ['/a/*']", at("/a/b"), true),
        ("paths: ['/a/*']", at("/a"), false),
        ("paths: ['*/b']", at("/a/b"), true),
        ("paths: ['*']", get(), true),
        ("notPaths: ['/a*']", at("/a/b"), false),
        ("notPaths: ['/a*']", get(), true),
        ("paths: ['/a/{*}/c']", at("/a/b/c"), true),
        ("paths: ['/a/{*}/c']", at("/a/b/b/c"), false),
        ("paths: ['/a/{**}']", at("/a/b/b/c"), true),
        ("notPaths: ['/a/{**}']", at("/a/b/b/c"), false),
        ("paths: ['/deny*'], notPaths: ['/deny/allow']", at("/deny/allow"), false),
        ("paths: ['/deny*'], notPaths: ['/deny/allow']", at("/deny/x"), true),
        ("methods: ['GET'], paths: ['/x'], ports: ['80']", get(), false),
    ];
    for (operation, world, want) in rows {
        assert_eq!(matches(&to(operation), &world), want, "{operation}\n{world:?}");
    }
    check(&[
        ("{to: [{operation: {methods: [PUT]}}, {operation: {paths: ['/x']}}]}", get(), true),
        ("{from: [{source: {namespaces: [agents]}}], to: [{operation: {methods: [PUT]}}]}", get(), false),
    ]);
}

#[test]
fn conditions() {
    let rows: Vec<(&str, &str, World, bool)> = vec![
        ("source.ip", "values: ['10.1.0.0/16']", get(), true),
        ("source.ip", "notValues: ['10.1.0.0/16']", get(), false),
        ("remote.ip", "values: ['192.0.2.1']", with(&[("x-forwarded-for", "192.0.2.1")]), true),
        ("source.namespace", "values: [agents]", get(), true),
        ("source.namespace", "notValues: [agents]", get(), false),
        ("source.serviceAccount", "values: ['agents/researcher']", get(), true),
        ("source.trustDomain", "values: ['cluster.local']", get(), true),
        ("source.trustDomain", "notValues: ['cluster.local']", get(), false),
        ("source.principal", "values: ['cluster.local/ns/agents/*']", get(), true),
        ("source.principal", "notValues: ['*/sa/researcher']", get(), false),
        ("destination.ip", "values: ['10.96.0.0/12']", get(), true),
        ("destination.ip", "notValues: ['10.96.0.7']", get(), false),
        ("destination.port", "values: ['8080']", get(), true),
        ("destination.port", "notValues: ['8080']", get(), false),
        ("connection.sni", "values: ['*']", get(), false),
        ("connection.sni", "notValues: ['x']", get(), true),
        ("request.headers[X-Role]", "values: [admin]", with(&[("x-role", "admin")]), true),
        ("request.headers[X-Role]", "values: ['ad*']", with(&[("x-role", "admin")]), true),
        ("request.headers[X-Role]", "values: [admin]", with(&[("x-role", "Admin")]), false),
        ("request.headers[X-Role]", "values: ['*']", with(&[("x-role", "")]), true),
        ("request.headers[X-Role]", "values: ['*']", get(), false),
        ("request.headers[X-Role]", "notValues: [admin]", get(), true),
        ("request.headers[X-Role]", "notValues: [admin]", with(&[("x-role", "admin")]), false),
        ("request.headers[X-Role]", "values: [admin]", with(&[("x-role", "a,admin")]), false),
        ("request.headers[:authority]", "values: ['repo-mcp.tools:8080']", get(), true),
        ("request.headers[Host]", "values: ['repo-mcp.tools:8080']", get(), true),
        ("request.headers[:method]", "values: [GET]", get(), true),
        ("request.headers[:path]", "values: ['/x?q=1']", get(), true),
    ];
    for (key, rest, world, want) in rows {
        assert_eq!(matches(&when(key, rest), &world), want, "{key} {rest}\n{world:?}");
    }
    let two = "{when: [{key: source.ip, values: ['10.1.2.3']}, {key: destination.port, values: ['1']}]}";
    check(&[(two, get(), false)]);
}

/// What can be read in two ways is decided on in the way that refuses.
#[test]
fn repeated_headers_are_every_one_of_their_readings() {
    let rows: &[(&str, &[&str], bool, bool)] = &[
        // condition, lines, whether DENY matches, whether ALLOW does
        ("values: [admin]", &["guest", "admin"], true, false),
        ("values: [admin]", &["admin", "guest"], true, false),
        ("values: [admin]", &["admin", "admin"], true, false),
        ("values: ['guest,admin']", &["guest", "admin"], true, false),
        ("values: ['*']", &["guest", "admin"], true, true),
        ("values: ['a*']", &["a", "ab"], true, true),
        ("notValues: [admin]", &["guest", "admin"], true, false),
        ("notValues: [root]", &["guest", "admin"], true, true),
        ("notValues: ['*']", &["guest", "admin"], false, false),
    ];
    for (rest, lines, denies, allows) in rows {
        let lines: Vec<_> = lines.iter().map(|line| ("x-role", *line)).collect();
        let of = |action: &str| {
            let rule = when("request.headers[x-role]", rest);
            verdict(&compiled(&format!("action: {action}\nrules: [{rule}]"), &[]), &with(&lines))
        };
        assert_eq!((of("DENY") == "denied_by_rule", of("ALLOW") == "allow"), (*denies, *allows), "{rest} {lines:?}");
    }
}

/// Servers that hand fields on as variables read `_` and `-` alike: which of two such fields one reads, nobody can say.
#[test]
fn a_header_is_every_spelling_of_its_name() {
    type Row<'r> = (&'r str, &'r str, &'r [(&'static str, &'static str)], bool, bool);
    let rows: &[Row<'_>] = &[
        // name, condition, lines, whether DENY matches, whether ALLOW does
        ("x-role", "values: [admin]", &[("x_role", "admin")], true, false),
        ("x-role", "values: [admin]", &[("x-role", "guest"), ("x_role", "admin")], true, false),
        ("x-role", "values: [guest]", &[("x-role", "guest"), ("x_role", "admin")], true, false),
        ("x-role", "notValues: [admin]", &[("x_role", "admin")], true, false),
        ("x_role", "values: [admin]", &[("x-role", "admin")], true, false),
        ("x-role-a", "values: [a]", &[("x_role-a", "a"), ("x-role_a", "a")], true, false),
        ("x-role", "values: ['*']", &[("x-role", "a"), ("x_role", "b")], true, true),
        ("role", "values: [admin]", &[("r_ole", "admin")], false, false),
        ("x-role", "values: [admin]", &[("x-role", "admin"), ("x_other", "b")], true, true),
    ];
    for (name, rest, lines, denies, allows) in rows {
        let of = |action: &str| {
            let rule = when(&format!("request.headers[{name}]"), rest);
            verdict(&compiled(&format!("action: {action}\nrules: [{rule}]"), &[]), &with(lines))
        };
        let found = (of("DENY") == "denied_by_rule", of("ALLOW") == "allow");
        assert_eq!(found, (*denies, *allows), "{name} {rest} {lines:?}");
    }
}

/// A TCP port has no HTTP: an ALLOW rule that asks for it is dropped, a DENY rule loses what it asks (and so denies more).
#[test]
fn tcp_ports_drop_what_only_http_has() {
    let tcp = || World::calling(Call::Tcp);
    let http_only = [
        to("paths: ['/x'], ports: ['8080']"),
        to("notPaths: ['/x']"),
        to("methods: [GET]"),
        to("notMethods: [GET]"),
        to("hosts: [a]"),
        to("notHosts: [a]"),
        from("requestPrincipals: ['*']"),
        from("notRequestPrincipals: ['*']"),
        when("request.headers[x]", "values: [a]"),
        when("request.auth.claims[x]", "values: [a]"),
        when("request.auth.audiences", "notValues: [a]"),
        when("request.auth.presenter", "values: [a]"),
        when("request.auth.principal", "values: [a]"),
    ];
    let of = |action: &str, rule: &str| verdict(&compiled(&format!("action: {action}\nrules: [{rule}]"), &[]), &tcp());
    for rule in &http_only {
        assert_eq!(of("DENY", rule), "denied_by_rule", "{rule}");
        assert_eq!(of("ALLOW", rule), "not_allowed", "{rule}");
    }
    // One rule is dropped whole, whichever of its parts asks for HTTP; its neighbour is not.
    assert_eq!(of("ALLOW", "{to: [{operation: {ports: ['8080']}}, {operation: {paths: ['/x']}}]}"), "not_allowed");
    assert_eq!(of("ALLOW", "{to: [{operation: {paths: ['/x']}}]}, {to: [{operation: {ports: ['8080']}}]}"), "allow");
    // What TCP has still counts.
    assert_eq!(of("DENY", &to("paths: ['/x'], ports: ['80']")), "allow");
    assert_eq!(of("DENY", "{from: [{source: {namespaces: [x]}}], to: [{operation: {methods: [GET]}}]}"), "allow");
    for (rule, matches) in [
        (from("principals: ['*/sa/researcher']"), true),
        (from("ipBlocks: ['10.1.2.3']"), true),
        (from("remoteIpBlocks: ['10.1.2.3']"), true),
        (when("destination.ip", "values: ['10.96.0.7']"), true),
        (when("destination.port", "values: ['80']"), false),
        (to("notPorts: ['8080']"), false),
    ] {
        assert_eq!(of("DENY", &rule) == "denied_by_rule", matches, "{rule}");
        assert_eq!(of("ALLOW", &rule) == "allow", matches, "{rule}");
    }
    // A name inside the client's own TLS is not looked into: nobody knows it, so that nobody passes on it.
    for rule in [when("connection.sni", "values: [a]"), when("connection.sni", "notValues: [a]")] {
        assert_eq!((of("DENY", &rule), of("ALLOW", &rule)), ("undecidable", "not_allowed"), "{rule}");
    }
}

#[test]
fn destination_ip_of_several_addresses() {
    let mut world = get();
    world.destination.addresses = ["10.96.0.7".parse().unwrap(), "fd00::7".parse().unwrap()].into();
    let of = |action: &str, rest: &str, world: &World| {
        let rule = when("destination.ip", rest);
        verdict(&compiled(&format!("action: {action}\nrules: [{rule}]"), &[]), world)
    };
    assert_eq!(of("DENY", "values: ['fd00::/8']", &world), "denied_by_rule");
    assert_eq!(of("ALLOW", "values: ['fd00::/8']", &world), "not_allowed");
    assert_eq!(of("ALLOW", "values: ['fd00::/8', '10.0.0.0/8']", &world), "allow");
    world.destination.addresses = [].into();
    assert_eq!(of("DENY", "values: ['fd00::/8']", &world), "undecidable", "a name alone has no address");
    assert_eq!(of("ALLOW", "notValues: ['fd00::/8']", &world), "not_allowed");
}

#[test]
fn trust_domain_aliases() {
    let rule = from("principals: ['old/ns/agents/sa/researcher']");
    let of = |domains: &[&str], who: &str| verdict(&compiled(&format!("rules: [{rule}]"), domains), &get().from(who));
    let new = "spiffe://new/ns/agents/sa/researcher";
    assert_eq!(of(&["new", "old"], new), "allow");
    assert_eq!(of(&["new", "old"], "spiffe://old/ns/agents/sa/researcher"), "allow");
    assert_eq!(of(&["new", "old"], "spiffe://third/ns/agents/sa/researcher"), "not_allowed");
    assert_eq!(of(&["new"], new), "not_allowed");
    let deny = compiled(&format!("action: DENY\nrules: [{rule}]"), &["new", "old"]);
    assert_eq!(verdict(&deny, &get().from(new)), "denied_by_rule");
    let local =
        compiled(&format!("rules: [{}]", from("principals: ['cluster.local/ns/agents/sa/x']")), &["new", "old"]);
    assert_eq!(verdict(&local, &get().from("spiffe://old/ns/agents/sa/x")), "allow", "cluster.local is the mesh's own");
    let domains = compiled(&format!("rules: [{}]", from("trustDomains: [old]")), &["new", "old"]);
    assert_eq!(verdict(&domains, &get().from(new)), "allow");
    assert_ne!(
        compiled("rules: [{}]", &["new"]).revision(),
        compiled("rules: [{}]", &["new", "old"]).revision(),
        "aliases decide, so they count"
    );
}

#[test]
fn policies_of_one_target_are_one_set() {
    let set = |yamls: &[&str]| super::rules(None, &[], yamls);
    let rows: &[(&[&str], &str)] = &[
        (&[], "allow"),
        (&["rules: []"], "not_allowed"),
        (&[""], "not_allowed"),
        (&["rules: [{}]"], "allow"),
        (&["rules: []", "rules: [{}]"], "allow"),
        (&["action: DENY\nrules: [{}]", "rules: [{}]"], "denied_by_rule"),
        (&["action: DENY\nrules: []"], "allow"),
        (&["action: AUDIT\nrules: [{}]"], "allow"),
        (&["action: AUDIT\nrules: [{}]", "rules: []"], "not_allowed"),
        (
            &["rules: [{to: [{operation: {methods: [PUT]}}]}]", "rules: [{to: [{operation: {methods: [GET]}}]}]"],
            "allow",
        ),
    ];
    for (policies, want) in rows {
        assert_eq!(verdict(&set(policies), &get()), *want, "{policies:?}");
    }
    assert!(set(&["action: AUDIT\nrules: [{}]"]).is_open());
}

fn annotated(dry_run: &str) -> Meta {
    Meta { annotations: [("istio.io/dry-run".to_owned(), dry_run.to_owned())].into(), ..meta("p") }
}

#[test]
fn a_dry_run_decides_nothing_and_is_told() {
    let spec = |yaml: &str| -> AuthorizationPolicySpec { istio_spec(yaml) };
    for (yaml, reason) in [("action: DENY\nrules: [{}]", "denied_by_rule"), ("rules: []", "not_allowed")] {
        for (annotation, want) in [("true", "allow"), ("T", "allow"), ("false", reason), ("yes", reason)] {
            let (meta, spec) = (annotated(annotation), spec(yaml));
            let rules = compile(&RuleSet { istio: vec![(&meta, &spec)], ..RuleSet::default() }).unwrap();
            assert_eq!(verdict(&rules, &get()), want, "{yaml} {annotation}");
            assert_eq!(rules.is_open(), want == "allow");
            let shadow = rules.shadow(&get().facts());
            let shadow = shadow.map(|shadow| shadow.refused.unwrap().as_str());
            assert_eq!(shadow, (want == "allow").then_some(reason), "{yaml} {annotation}");
        }
    }
    let spec = spec("rules: [{}]");
    let of = |annotation: &str| {
        let meta = annotated(annotation);
        compile(&RuleSet { istio: vec![(&meta, &spec)], ..RuleSet::default() }).unwrap().revision()
    };
    assert_ne!(of("true"), of("false"), "the annotation is part of what decides");
}

#[test]
fn explaining_says_which_part_missed() {
    let explained = |rule: &str| compiled(&format!("rules: [{rule}]"), &[]).explain(&get().facts()).to_string();
    for (rule, part) in [
        (from("namespaces: [x]"), "`from` does not match the caller"),
        (to("paths: ['/y']"), "`to` does not match the request"),
        (when("source.namespace", "values: [x]"), "`when[0]` does not hold"),
    ] {
        assert!(explained(&rule).contains(part), "{}", explained(&rule));
    }
    let audit = compiled("action: AUDIT\nrules: [{}]", &[]).explain(&get().facts()).to_string();
    assert!(audit.contains("matched  audit    AuthorizationPolicy tools/p rules[0]"), "{audit}");
}

/// To servers that cut `;parameters` off, `/admin;x` is `/admin`, and `/admin;.css` no style sheet.
#[test]
fn paths_with_parameters_are_read_in_both_ways() {
    let rows = [
        // operation, path, whether DENY matches, whether ALLOW does
        ("paths: ['/admin', '/admin/*']", "/admin;x", true, false),
        ("paths: ['/admin', '/admin/*']", "/admin;x=y/users", true, false),
        ("paths: ['/admin', '/admin/*']", "/admin%3Bx/users", true, false),
        ("paths: ['/admin/{*}']", "/admin;x/users", true, false),
        ("paths: ['*.css']", "/admin;.css", true, false),
        ("paths: ['*'], notPaths: ['*.css']", "/admin;.css", true, false),
        ("notPaths: ['/admin']", "/admin;x", true, false),
        ("paths: ['/cars;color=red']", "/cars;color=red", true, true),
        ("paths: ['/cars/{*}']", "/cars/a;b", true, true),
    ];
    for (operation, path, denies, allows) in rows {
        let of =
            |action: &str| verdict(&compiled(&format!("action: {action}\nrules: [{}]", to(operation)), &[]), &at(path));
        assert_eq!((of("DENY") == "denied_by_rule", of("ALLOW") == "allow"), (denies, allows), "{operation} {path}");
    }
}

/// Beside an AgentPolicy a path has one spelling, and a rule that refuses it may be written in another.
#[test]
fn a_denied_path_is_denied_in_the_spelling_that_it_has_beside_an_agent_policy() {
    let rows = [
        ("paths: ['/users/a%40b']", "/users/a@b", true),
        ("paths: ['/v1/x%3adelete']", "/v1/x:delete", true),
        ("paths: ['/v1/{*}/x%3Adelete']", "/v1/a/x:delete", true),
        ("paths: ['/a%2a']", "/a*", true),
        ("paths: ['/a%2a']", "/ab", false),
    ];
    for (operation, path, denies) in rows {
        let of = |action: &str, operation: &str| {
            verdict(&compiled(&format!("action: {action}\nrules: [{}]", to(operation)), &[]), &at(path))
        };
        assert_eq!(of("DENY", operation) == "denied_by_rule", denies, "{operation} {path}");
        let not = operation.replace("paths", "notPaths");
        assert_eq!(of("ALLOW", &not) == "not_allowed", denies, "{not} {path}");
        assert_eq!(of("ALLOW", operation), "not_allowed", "what permits is as it was written: {operation} {path}");
    }
}

/// Lists and base methods leave open what they name, and nothing else: an address that a Service has not is not there later.
#[test]
fn what_is_not_known_of_a_connection_permits_no_list() {
    use crate::document::agent_policy::Protocol;
    use crate::policy::fixture::{base, rules, tools_list};
    let agent = "protocol: MCP\nallow: [{}]";
    let by_address = when("destination.ip", "values: ['10.96.0.7']");
    for call in [tools_list(), base("initialize"), crate::policy::fixture::tool("x", json!({}))] {
        for action in ["DENY", "ALLOW"] {
            let rules = rules(Some(Protocol::Mcp), &[agent], &[&format!("action: {action}\nrules: [{by_address}]")]);
            let mut world = World::calling(call.clone());
            world.destination.addresses = [].into();
            assert_ne!(verdict(&rules, &world), "allow", "{action} {call:?}");
        }
    }
}
