//! Rules over A2A calls: operations, skills, names, ownership, URLs to call back.

use std::sync::Arc;

use serde_json::json;

use super::super::fixture::{World, meta, object, rules, verdict};
use super::super::{Rules, caller, check_agent_policy};
use crate::call::{
    A2aBinding, A2aCall, A2aOperation as Op, A2aVersion, Call, Named, Owner, PushTarget, UrlHost, UrlParts,
};
use crate::document::agent_policy::Protocol;

const RESEARCHER: &str = "spiffe://cluster.local/ns/agents/sa/researcher";
const PLANNER: &str = "spiffe://cluster.local/ns/agents/sa/planner";

fn a2a_rules(yaml: &str) -> Rules {
    rules(Some(Protocol::A2a), &[&format!("protocol: A2A\n{yaml}")], &[])
}

fn call(operation: Op) -> A2aCall {
    A2aCall::new(operation, A2aBinding::JsonRpc, A2aVersion::V1_0)
}

fn send(message: serde_json::Value) -> A2aCall {
    A2aCall { message: Some(object(message)), ..call(Op::SendMessage) }
}

fn world(call: A2aCall) -> World {
    World::calling(Call::A2a(Box::new(call)))
}

fn owner(uri: &str, subject: Option<&str>) -> Arc<Owner> {
    let world = World::new().from(uri);
    let world = match subject {
        Some(subject) => world.claiming(json!({"iss": "i", "sub": subject})),
        None => world,
    };
    Arc::new(caller(&world.peer, world.claims.as_ref()))
}

fn named(id: &str, owner: Option<Arc<Owner>>) -> Option<Named> {
    Some(Named { id: id.into(), owner, state: None })
}

fn push(host: UrlHost, scheme: &str) -> A2aCall {
    let parts = UrlParts { scheme: scheme.into(), host, port: 443 };
    let target = PushTarget { url: "u".into(), parts: Some(parts), has_credentials: true, inline: true };
    A2aCall { push: vec![target], ..send(json!({"role": "ROLE_USER"})) }
}

#[test]
fn operations_and_the_default() {
    let rules = a2a_rules(
        "allow: [{to: [{operations: [\"Send*\", GetTask]}]}]\ndeny: [{to: [{operations: [SendStreamingMessage]}]}]",
    );
    for (operation, expected) in [
        (Op::SendMessage, "allow"),
        (Op::GetTask, "allow"),
        (Op::SendStreamingMessage, "denied_by_rule"),
        (Op::CancelTask, "not_allowed"),
        (Op::GetExtendedAgentCard, "not_allowed"),
        // For whoever could be allowed at least one call.
        (Op::GetAgentCard, "allow"),
    ] {
        assert_eq!(verdict(&rules, &world(call(operation))), expected, "{operation:?}");
    }
    let none = a2a_rules("allow: [{from: [{serviceAccounts: [other/x]}]}]");
    assert_eq!(verdict(&none, &world(call(Op::GetAgentCard))), "not_allowed");
    let no_card = a2a_rules("allow: [{}]\ndeny: [{to: [{operations: [GetAgentCard]}]}]");
    assert_eq!(verdict(&no_card, &world(call(Op::GetAgentCard))), "denied_by_rule");
    assert_eq!(verdict(&no_card, &world(call(Op::ListTasks))), "allow");
    // Plain HTTP and MCP are no A2A, whatever rules say.
    let open = a2a_rules("allow: [{}, {to: [{http: {paths: [\"*\"]}}]}]");
    assert_eq!(verdict(&open, &world(call(Op::GetTask))), "allow");
}

#[test]
fn the_names_of_rules_are_those_of_calls() {
    let mut rich =
        send(json!({"id": "m", "role": "ROLE_USER", "parts": [{"kind": "url", "url": "https://x/"}], "metadata": {}}));
    rich.tenant = Some("acme".into());
    rich.task = named("t", Some(owner(PLANNER, None)));
    rich.context = named("c", None);
    rich.references = vec![Named { id: "r".into(), owner: Some(owner(PLANNER, None)), state: None }];
    rich.extensions = vec!["https://e/".into()];
    for condition in [
        "a2a.operation == 'SendMessage' && a2a.binding == 'JSONRPC' && a2a.version == '1.0' && !a2a.streaming",
        "a2a.tenant == 'acme' && !has(a2a.skill)",
        "a2a.task.id == 't' && a2a.task.owner == 'spiffe://cluster.local/ns/agents/sa/planner'",
        "a2a.context.id == 'c' && !has(a2a.context.owner) && !a2a.context.isNew",
        "a2a.referenceTasks.all(t, has(t.owner) && t.owner != source.spiffeId)",
        "has(a2a.message) && a2a.message.parts.exists(p, p.kind == 'url') && a2a.message.role == 'ROLE_USER'",
        "a2a.push.size() == 0 && a2a.extensions == ['https://e/']",
        "has(a2a.task) && has(a2a.context)",
        "!has(mcp.tool) && !has(mcp.tool.name)",
    ] {
        let rules = a2a_rules(&format!("allow: [{{when: \"{condition}\"}}]"));
        assert_eq!(verdict(&rules, &world(rich.clone())), "allow", "{condition}");
    }
    let reads_message = a2a_rules("allow: [{}]\ndeny: [{when: \"a2a.message.role != 'ROLE_USER'\"}]");
    assert_eq!(verdict(&reads_message, &world(rich)), "allow");
    assert_eq!(verdict(&reads_message, &world(call(Op::GetTask))), "undecidable", "a name that the call has not");
    let on_mcp = super::super::fixture::mcp_rules(&["allow: [{}]\ndeny: [{when: \"has(a2a.task)\"}]"]);
    assert_eq!(verdict(&on_mcp, &World::new()), "allow");
}

#[test]
fn a_skill_is_what_the_caller_says() {
    let yaml = "a2a: {skills: [message.metadata.skillId, data.skillId, 'metadata.https://e/skill']}\n";
    let allow = a2a_rules(&format!("{yaml}allow: [{{to: [{{operations: [\"*\"], skills: [refund]}}]}}]"));
    let deny = a2a_rules(&format!("{yaml}allow: [{{}}]\ndeny: [{{to: [{{skills: [refund]}}]}}]"));
    let said = |skill: &str| send(json!({"metadata": {"skillId": skill}, "parts": []}));
    let in_data = |skill: &str| send(json!({"parts": [{"kind": "data", "data": {"skillId": skill}}]}));
    let beside = A2aCall { metadata: Some(object(json!({"https://e/skill": "refund"}))), ..send(json!({})) };
    let both =
        send(json!({"metadata": {"skillId": "refund"}, "parts": [{"kind": "data", "data": {"skillId": "other"}}]}));
    let no_text =
        send(json!({"metadata": {"skillId": ["other"]}, "parts": [{"kind": "data", "data": {"skillId": "refund"}}]}));
    let no_text_there =
        send(json!({"metadata": {"skillId": "other"}, "parts": [{"kind": "data", "data": {"skillId": ["refund"]}}]}));
    for (call, allowed, denied) in [
        (said("refund"), "allow", "denied_by_rule"),
        (in_data("refund"), "allow", "denied_by_rule"),
        (beside, "allow", "denied_by_rule"),
        (said("other"), "not_allowed", "allow"),
        // Not said, or said in two ways: nobody knows, so the one does not let it through and the other refuses.
        (send(json!({})), "not_allowed", "denied_by_rule"),
        (both, "not_allowed", "denied_by_rule"),
        (no_text, "not_allowed", "denied_by_rule"),
        (no_text_there, "not_allowed", "denied_by_rule"),
        (call(Op::GetTask), "not_allowed", "allow"),
    ] {
        assert_eq!(
            (verdict(&allow, &world(call.clone())), verdict(&deny, &world(call.clone()))),
            (allowed, denied),
            "{call:?}"
        );
    }
    let by_name = a2a_rules(&format!("{yaml}allow: [{{when: \"has(a2a.skill) && a2a.skill == 'refund'\"}}]"));
    assert_eq!(verdict(&by_name, &world(said("refund"))), "allow");
}

#[test]
fn tasks_are_their_owners() {
    let learn = a2a_rules("allow: [{}]");
    let enforce = a2a_rules("a2a: {ownership: Enforce}\nallow: [{}]");
    let delegated = a2a_rules(
        "a2a: {ownership: Enforce, coOwners: [{owners: [agents/planner], serviceAccounts: [agents/researcher]}]}\nallow: [{}]",
    );
    let task = |owner| A2aCall { task: named("t", owner), ..call(Op::GetTask) };
    let mine = owner(RESEARCHER, None);
    let rows = [
        (task(Some(Arc::clone(&mine))), "allow", "allow"),
        (task(Some(owner(PLANNER, None))), "not_owner", "allow"),
        (task(Some(owner("spiffe://other/ns/agents/sa/planner", None))), "not_owner", "not_owner"),
        (task(Some(owner("spiffe://cluster.local/ns/agents/sa/other", None))), "not_owner", "not_owner"),
        (task(Some(owner(RESEARCHER, Some("alice")))), "not_owner", "not_owner"),
        (task(None), "not_owner", "not_owner"),
        (send(json!({})), "allow", "allow"),
        (A2aCall { context: named("c", None), ..send(json!({})) }, "not_owner", "not_owner"),
        (A2aCall { references: named("r", None).into_iter().collect(), ..send(json!({})) }, "not_owner", "not_owner"),
        (call(Op::ListTasks), "not_owner", "not_owner"),
        (A2aCall { context: named("c", Some(Arc::clone(&mine))), ..call(Op::ListTasks) }, "allow", "allow"),
        (call(Op::GetAgentCard), "allow", "allow"),
    ];
    for (call, enforced, with_co_owners) in rows {
        let world = world(call.clone());
        assert_eq!(verdict(&learn, &world), "allow", "{call:?}");
        assert_eq!((verdict(&enforce, &world), verdict(&delegated, &world)), (enforced, with_co_owners), "{call:?}");
    }
    let alices = A2aCall { task: named("t", Some(owner(RESEARCHER, Some("alice")))), ..call(Op::GetTask) };
    let as_user = |user: &str| world(alices.clone()).claiming(json!({"iss": "i", "sub": user}));
    assert_eq!((verdict(&enforce, &as_user("alice")), verdict(&enforce, &as_user("bob"))), ("allow", "not_owner"));
}

#[test]
fn urls_to_call_back_are_names_that_a_policy_lists() {
    let none = a2a_rules("allow: [{}]");
    let some = a2a_rules(
        "a2a: {push: {hosts: [hooks.example.com, '*.agents.svc.cluster.local', '127.0.0.1', '*']}}\nallow: [{}]",
    );
    let few = a2a_rules("a2a: {push: {hosts: [Hooks.example.com]}}\nallow: [{}]");
    let name = |name: &str| UrlHost::Name(name.into());
    for (call, by_some, by_few) in [
        (push(name("hooks.example.com"), "https"), "allow", "allow"),
        (push(name("other.example.com"), "https"), "allow", "push_url"),
        (push(name("hooks.example.com"), "http"), "push_url", "push_url"),
        (push(name("x.agents.svc.cluster.local"), "http"), "allow", "push_url"),
        (push(name("hooks.example.com"), "ftp"), "push_url", "push_url"),
        (push(UrlHost::Address("127.0.0.1".parse().unwrap()), "https"), "push_url", "push_url"),
        (push(UrlHost::Address("8.8.8.8".parse().unwrap()), "https"), "push_url", "push_url"),
    ] {
        assert_eq!(verdict(&none, &world(call.clone())), "push_url", "{call:?}");
        assert_eq!(
            (verdict(&some, &world(call.clone())), verdict(&few, &world(call.clone()))),
            (by_some, by_few),
            "{call:?}"
        );
    }
    let unclear = PushTarget { url: "http://a@b/".into(), parts: None, has_credentials: false, inline: false };
    let unclear = A2aCall { push: vec![unclear], ..call(Op::CreateTaskPushNotificationConfig) };
    assert_eq!(verdict(&some, &world(unclear)), "push_url");
}

#[test]
fn whoever_of_several_refuses_a_card_refuses_it() {
    let part = |rules: Rules| (World::new().destination, Arc::new(rules));
    let plain = || rules(None, &[], &[]);
    let (report, refuse) = (|| a2a_rules("allow: [{}]"), || a2a_rules("a2a: {cards: Refuse}\nallow: [{}]"));
    assert!(!Rules::all(vec![part(report()), part(plain())]).refuses_foreign_cards());
    assert!(Rules::all(vec![part(report()), part(refuse())]).refuses_foreign_cards());
    assert!(Rules::all(vec![part(plain()), part(refuse())]).refuses_foreign_cards());
    let based = a2a_rules("a2a: {basePaths: [/x]}\nallow: [{}]");
    let joined = Rules::all(vec![part(plain()), part(based)]);
    assert_eq!(joined.a2a().unwrap().mounts().rest, ["/x".into()], "those of the Service that speaks A2A");
}

#[test]
fn what_is_wrong_is_said() {
    let problems = |yaml: &str| {
        let spec = super::super::fixture::agent_spec(yaml);
        let problems = check_agent_policy(&meta("p"), &spec);
        problems.iter().map(|problem| format!("{}: {}", problem.field, problem.reason)).collect::<Vec<_>>().join("\n")
    };
    for (yaml, expected) in [
        ("protocol: A2A\nallow: [{to: [{operations: [message/send]}]}]", "`message/send` is no operation of A2A"),
        ("protocol: A2A\nallow: [{to: [{tools: [x]}]}]", "cannot match"),
        ("protocol: A2A\na2a: {skills: [skill]}", "write message.metadata.KEY"),
        ("protocol: A2A\na2a: {coOwners: [{serviceAccounts: ['*']}]}", "does not say which namespaces"),
        ("protocol: A2A\na2a: {coOwners: [{owners: [a/b]}]}", "name who else may act"),
        ("protocol: A2A\na2a: {basePaths: [x]}", "does not begin with a slash"),
        ("protocol: MCP\na2a: {}", "whose protocol is MCP"),
        ("protocol: A2A\nresults: {redact: [{fields: ['**']}]}", "is not done for A2A"),
        ("protocol: A2A\ndeny: [{when: \"mcp.result.text.contains('x')\"}]", "would never be asked"),
        ("protocol: A2A\nrequire: [{that: \"!mcp.result.isError\"}]", "would never be asked"),
        ("protocol: A2A\ndeny: [{when: \"a2a.message.role == 'x'\"}]", "refuses every other call"),
        ("protocol: A2A\nallow: [{when: \"a2a.method == 'x'\"}]", "unknown name"),
        ("protocol: A2A\nallow: [{when: \"a2a.task.states == 'x'\"}]", "unknown name"),
        ("protocol: A2A\na2a: {rpcPaths: [x]}", "does not begin with a slash"),
        ("protocol: A2A\na2a: {cardTrust: {}}", "trusts nothing"),
        ("protocol: A2A\na2a: {cardTrust: {digests: [x]}}", "is no digest"),
        ("protocol: A2A\na2a: {cardTrust: {jwks: x}}", "is no JWK set"),
    ] {
        assert!(problems(yaml).contains(expected), "{yaml}\n{}", problems(yaml));
    }
    assert_eq!(problems("protocol: A2A\nallow: [{to: [{operations: [SendMessage], skills: [x]}]}]"), "");
}
