//! CUSTOM: who is asked about what, and what their word comes to.

use std::sync::Arc;

use crate::call::Call;
use crate::document::Meta;
use crate::document::agent_policy::Protocol;
use crate::document::mesh_config::MeshConfig;
use crate::policy::fixture::{World, agent_spec, base, head, istio_spec, meta, tool, tool_entry, tools_list};
use crate::policy::{Decision, Providers, RuleSet, Rules, Verdicts, Word, compile};

fn providers(port: u16) -> Providers {
    let text = format!(
        "extensionProviders: [{{name: b, envoyExtAuthzGrpc: {{service: b, port: {port}}}}}, \
         {{name: a, envoyExtAuthzGrpc: {{service: a, port: 9}}}}, {{name: bad, envoyExtAuthzGrpc: {{service: a, port: 0}}}}]"
    );
    Providers::read(&MeshConfig::parse(&text).unwrap().extension_providers)
}

fn rules(policies: &[(Meta, &str)], providers: &Providers) -> Rules {
    let istio: Vec<_> = policies.iter().map(|(meta, yaml)| (meta, istio_spec(yaml))).collect();
    let istio = istio.iter().map(|(meta, spec)| (*meta, spec)).collect();
    compile(&RuleSet { istio, providers: Some(providers), ..RuleSet::default() }).unwrap()
}

fn custom(provider: &str, path: &str) -> String {
    format!("action: CUSTOM\nprovider: {{name: {provider}}}\nrules: [{{to: [{{operation: {{paths: ['{path}']}}}}]}}]")
}

fn getting(path: &str) -> World {
    World { request: Some(head("GET", path)), ..World::calling(Call::Http) }
}

/// Asks until nobody is left, with one word for all; whom, and the verdict.
fn asked(rules: &Rules, world: &World, word: Word) -> (Vec<Arc<str>>, &'static str) {
    let (mut verdicts, mut whom) = (Verdicts::default(), Vec::new());
    while let Some(ask) = rules.ask(&world.facts(), &verdicts) {
        whom.push(Arc::clone(&ask.provider().name));
        verdicts.note(ask, word, String::new());
    }
    (whom, said(&rules.decide_on(&world.facts(), &verdicts)))
}

fn said(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow(_) => "allow",
        Decision::Deny(denial) => denial.reason.as_str(),
    }
}

#[test]
fn each_provider_is_asked_once_about_what_its_rules_match() {
    let (b, a, deny) =
        (custom("b", "/x*"), custom("a", "/x"), "action: DENY\nrules: [{to: [{operation: {paths: ['/xd']}}]}]");
    let policies = [(meta("1"), &*b), (meta("2"), &*b), (meta("3"), &*a), (meta("4"), deny)];
    let rules = rules(&policies, &providers(9));
    for (path, word, whom, verdict) in [
        ("/y", Word::Denied, &[][..], "allow"),
        ("/x", Word::Allowed, &["a", "b"], "allow"),
        ("/x", Word::FailedOpen, &["a", "b"], "allow"),
        ("/x1", Word::Allowed, &["b"], "allow"),
        ("/x1", Word::Denied, &["b"], "denied_by_provider"),
        ("/x1", Word::Failed, &["b"], "provider_failed"),
        ("/xd", Word::Allowed, &["b"], "denied_by_rule"),
    ] {
        let (asked, said) = asked(&rules, &getting(path), word);
        assert_eq!((asked.iter().map(|name| &**name).collect::<Vec<_>>().as_slice(), said), (whom, verdict), "{path}");
    }
    assert_eq!(said(&rules.decide(&getting("/x").facts())), "undecidable", "who was not asked has not allowed");
    assert!(!rules.is_open() && rules.asks());
}

#[test]
fn a_provider_that_there_is_not_refuses_what_it_would_be_asked_about() {
    for name in ["nobody", "bad"] {
        let policy = custom(name, "/x");
        let rules = rules(&[(meta("1"), &policy)], &providers(9));
        assert_eq!(asked(&rules, &getting("/x"), Word::Allowed), (vec![], "no_provider"), "{name}");
        assert_eq!(asked(&rules, &getting("/y"), Word::Allowed), (vec![], "allow"), "{name}");
    }
}

#[test]
fn a_word_is_about_one_destination_and_one_definition() {
    let policy = custom("b", "/x");
    let (old, new) = (rules(&[(meta("1"), &policy)], &providers(9)), rules(&[(meta("1"), &policy)], &providers(10)));
    let world = getting("/x");
    let mut verdicts = Verdicts::default();
    verdicts.note(old.ask(&world.facts(), &verdicts).unwrap(), Word::Allowed, String::new());
    assert_eq!(said(&old.decide_on(&world.facts(), &verdicts)), "allow");
    assert_eq!(said(&new.decide_on(&world.facts(), &verdicts)), "undecidable");
    assert_ne!(old.revision(), new.revision());
    let mut elsewhere = getting("/x");
    elsewhere.destination.service = "other".into();
    assert_eq!(said(&old.decide_on(&elsewhere.facts(), &verdicts)), "undecidable");
    let unasked = custom("a", "/x");
    let with = |port| rules(&[(meta("1"), &unasked)], &providers(port)).revision();
    assert_eq!(with(9), with(10), "of providers that nobody asks nothing depends");
}

#[test]
fn bytes_lose_what_only_http_has_and_a_dry_run_asks_nobody() {
    let policy = custom("b", "/x");
    let rules_of = |meta| rules(&[(meta, &*policy)], &providers(9));
    let tcp = World::calling(Call::Tcp);
    assert_eq!(asked(&rules_of(meta("1")), &tcp, Word::Denied).1, "denied_by_provider");
    let mut dry = meta("1");
    dry.annotations.insert("istio.io/dry-run".into(), "true".into());
    assert_eq!(asked(&rules_of(dry), &getting("/x"), Word::Denied), (vec![], "allow"));
}

#[test]
fn an_agent_policy_asks_by_what_a_call_is() {
    let spec = agent_spec(
        "allow: [{to: [{tools: ['pay_*', 'get_*']}]}]\n\
         external: [{name: big, to: [{tools: ['pay_*']}], when: mcp.tool.arguments.amount > 1000, provider: b}]",
    );
    let (meta, providers) = (meta("p"), providers(9));
    let agent = vec![(&meta, &spec)];
    let declared = Some(Protocol::Mcp);
    let set = RuleSet { declared, agent, providers: Some(&providers), ..RuleSet::default() };
    let rules = compile(&set).unwrap();
    let pay = |amount: serde_json::Value| World::calling(tool("pay_bill", serde_json::json!({"amount": amount})));
    for (world, whom, denied) in [
        (pay(2000.into()), 1, "denied_by_provider"),
        (pay(10.into()), 0, "allow"),
        // What cannot be evaluated is asked about.
        (pay("much".into()), 1, "denied_by_provider"),
        (World::calling(tool("get_bill", serde_json::json!({}))), 0, "allow"),
        (World::calling(tools_list()), 0, "allow"),
        (World::calling(base("initialize")), 0, "allow"),
        (World::calling(tool("other", serde_json::json!({}))), 0, "not_allowed"),
    ] {
        let (asked, said) = asked(&rules, &world, Word::Denied);
        assert_eq!((asked.len(), said), (whom, denied), "{:?}", world.call);
    }
    assert_eq!(asked(&rules, &pay(2000.into()), Word::Allowed).1, "allow");
    assert!(rules.visible(&World::calling(tool_entry("pay_bill")).facts()), "a list asks nobody");
    let unopened = agent_spec("protocol: MCP\nexternal: [{provider: b}]");
    let agent = vec![(&meta, &unopened)];
    let set = RuleSet { declared, agent, providers: Some(&providers), ..RuleSet::default() };
    let said = asked(&compile(&set).unwrap(), &pay(1.into()), Word::Allowed);
    assert_eq!((said.0.len(), said.1), (1, "not_allowed"), "a provider's permission opens nothing");
}

#[test]
fn explain_says_who_would_be_asked() {
    let policy = custom("b", "/x");
    let rules = rules(&[(meta("1"), &policy)], &providers(9));
    let world = getting("/x");
    let told = rules.explain(&world.facts()).to_string();
    assert!(
        told.starts_with("ALLOW") && told.contains("provider b would be asked, and is supposed to allow"),
        "{told}"
    );
    let told = rules.explain_if(&world.facts(), false).to_string();
    assert!(told.starts_with("DENY (denied_by_provider) by AuthorizationPolicy tools/1 rules[0]"), "{told}");
    let told = rules.explain(&getting("/y").facts()).to_string();
    assert!(told.contains("no match custom "), "{told}");
}
