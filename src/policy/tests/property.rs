use proptest::prelude::*;
use serde_json::json;

use crate::document::agent_policy::Protocol;
use crate::policy::fixture::{World, base, mcp_rules, prompt, rules, tool, tool_entry, tools_list, verdict};

const NAMES: [&str; 4] = ["get_a", "get_b", "del_a", "new"];
const PEERS: [&str; 3] = ["spiffe://td/ns/a/sa/x", "spiffe://td/ns/b/sa/x", "spiffe://td/odd"];

fn from() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("from: [{namespaces: [a]}], ".to_owned()),
        Just("from: [{notNamespaces: [a]}], ".to_owned()),
        Just("from: [{serviceAccounts: [\"b/*\"]}, {principals: [\"td/odd\"]}], ".to_owned()),
        Just("from: [{requestPrincipals: [\"i/*\"]}], ".to_owned()),
    ]
}

fn to() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("to: [{tools: [\"get_*\"]}], ".to_owned()),
        Just("to: [{notTools: [\"*_a\"]}], ".to_owned()),
        Just("to: [{prompts: [\"*\"]}, {tools: [new]}], ".to_owned()),
        Just("to: [{methods: [\"tools/*\"]}], ".to_owned()),
        Just("to: [{tools: [\"*\"]}], ".to_owned()),
    ]
}

fn atom() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("mcp.tool.arguments.n == 1".to_owned()),
        Just("has(mcp.tool.arguments.n)".to_owned()),
        Just("mcp.tool.arguments.l.exists(x, x == mcp.tool.arguments.n)".to_owned()),
        Just("mcp.tool.arguments.l[0] < 2".to_owned()),
        Just("jwt.sub == 'alice'".to_owned()),
        Just("has(jwt.sub)".to_owned()),
        Just("mcp.tool.name.startsWith('get_')".to_owned()),
        Just("source.identity.namespace == 'a'".to_owned()),
        Just("'x' in mcp.tool.arguments".to_owned()),
        Just("size(mcp.tool.arguments) > 1".to_owned()),
        Just("[1, mcp.tool.arguments.n, jwt.sub] == [1, 2, 'x']".to_owned()),
        Just("has(mcp.prompt)".to_owned()),
        Just("request.method == 'POST'".to_owned()),
    ]
}

fn cel() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
        ]
    })
}

fn rule() -> impl Strategy<Value = String> {
    (from(), to(), proptest::option::of(cel())).prop_map(|(from, to, when)| {
        format!("{{{from}{to}{}}}", when.map_or(String::new(), |w| format!("when: \"{w}\"")))
    })
}

fn requirement() -> impl Strategy<Value = String> {
    (from(), to(), cel()).prop_map(|(from, to, that)| format!("{{{from}{to}that: \"{that}\"}}"))
}

prop_compose! {
    fn policy()(
        deny in proptest::collection::vec(rule(), 0..2),
        require in proptest::collection::vec(requirement(), 0..2),
        allow in proptest::collection::vec(rule(), 1..3),
    ) -> (Vec<String>, Vec<String>, Vec<String>) {
        (deny, require, allow)
    }
}

fn yaml((deny, require, allow): &(Vec<String>, Vec<String>, Vec<String>)) -> String {
    let list = |rules: &[String]| rules.join(", ");
    format!("protocol: MCP\ndeny: [{}]\nrequire: [{}]\nallow: [{}]", list(deny), list(require), list(allow))
}

fn arguments() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"n": 1})),
        Just(json!({"n": "1", "x": null})),
        Just(json!({"n": 2, "l": [1, 2], "x": 1})),
        Just(json!({"n": 3, "l": []})),
    ]
}

prop_compose! {
    fn world()(
        name in 0..NAMES.len(), peer in 0..PEERS.len(), arguments in arguments(),
        claims in proptest::option::of(prop_oneof![Just("alice"), Just("bob")]),
    ) -> World {
        let world = World::calling(tool(NAMES[name], arguments)).from(PEERS[peer]);
        match claims {
            Some(sub) => world.claiming(json!({"iss": "i", "sub": sub})),
            None => world,
        }
    }
}

fn with(world: &World, call: crate::call::Call) -> World {
    World { call, ..world.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// What may be called is shown, its list goes through, and so do base methods.
    #[test]
    fn callable_is_visible(policy in policy(), world in world()) {
        let text = yaml(&policy);
        let rules = mcp_rules(&[&text]);
        if verdict(&rules, &world) == "allow" {
            let crate::call::Call::Mcp(call) = &world.call else { panic!("{:?}", world.call) };
            let entry = with(&world, tool_entry(call.name().unwrap()));
            prop_assert!(rules.visible(&entry.facts()), "{}\n{:?}", text, world.call);
            prop_assert!(rules.may_ever_admit(&world.facts()), "{}", text);
            // Rules without `to` are about lists and base methods too, which have neither name nor arguments.
            if policy.0.iter().chain(&policy.1).all(|rule| rule.contains("to: [{tools")) {
                prop_assert_eq!(verdict(&rules, &with(&world, tools_list())), "allow", "{}", &text);
                prop_assert_eq!(verdict(&rules, &with(&world, base("initialize"))), "allow", "{}", &text);
            }
        }
    }

    /// Who was asked for once, for a whole list, sees of it what one sees who is asked for at each entry: on a port that is
    /// declared and on a plain one, behind one Service and behind two.
    #[test]
    fn a_viewer_sees_entry_by_entry(policy in policy(), world in world(), istio in 0..4_usize) {
        let text = yaml(&policy);
        let plain = text.replace("protocol: MCP\n", "");
        let istio = [
            "action: DENY\nrules: [{from: [{source: {namespaces: [a]}}]}]",
            "action: ALLOW\nrules: [{from: [{source: {requestPrincipals: [\"i/alice\"]}}]}]",
            "action: ALLOW\nrules: [{to: [{operation: {methods: [POST]}}]}]",
        ].get(istio).copied();
        let istio = istio.as_slice();
        let one = rules(Some(Protocol::Mcp), &[&text], istio);
        let both = [rules(Some(Protocol::Mcp), &[&text], &[]), rules(None, &[&plain], istio)];
        let all = super::Rules::all(both.map(|rules| (world.destination.clone(), rules.into())).to_vec());
        for rules in [one, rules(None, &[&plain], istio), all] {
            let facts = world.facts();
            let viewer = rules.viewer(&facts);
            let entries = NAMES.map(tool_entry).into_iter().chain([prompt("p"), tools_list(), base("ping")]);
            for entry in entries.chain([world.call.clone()]) {
                let entry = with(&world, entry);
                prop_assert_eq!(viewer.sees(&entry.call), rules.visible(&entry.facts()), "{}\n{:?}", text, entry.call);
            }
        }
    }

    /// Adding a deny rule or a requirement never allows more; taking an allow rule away never does either.
    #[test]
    fn narrowing_never_opens(policy in policy(), more in rule(), requirement in requirement(), world in world()) {
        let mut denied = policy.clone();
        denied.0.push(more);
        let mut required = policy.clone();
        required.1.push(requirement);
        let mut fewer = policy.clone();
        fewer.2.pop();
        let wide = mcp_rules(&[&yaml(&policy)]);
        for narrow in [denied, required, fewer] {
            let narrow = mcp_rules(&[&yaml(&narrow)]);
            for call in [world.call.clone(), tools_list(), base("ping"), prompt("p")] {
                let world = with(&world, call);
                prop_assert!(verdict(&narrow, &world) != "allow" || verdict(&wide, &world) == "allow");
                prop_assert!(!narrow.visible(&world.facts()) || wide.visible(&world.facts()));
            }
            prop_assert!(!narrow.may_ever_admit(&world.facts()) || wide.may_ever_admit(&world.facts()));
        }
    }

    /// One policy or two, in either order: the same set, the same decision; a DryRun one changes nothing.
    #[test]
    fn policies_form_one_set(a in policy(), b in policy(), world in world()) {
        let joined = (
            [a.0.clone(), b.0.clone()].concat(), [a.1.clone(), b.1.clone()].concat(), [a.2.clone(), b.2.clone()].concat(),
        );
        let (a, b, joined) = (yaml(&a), yaml(&b), yaml(&joined));
        let allowed = |rules: &super::Rules| verdict(rules, &world) == "allow";
        let apart = mcp_rules(&[&a, &b]);
        prop_assert_eq!(allowed(&apart), allowed(&mcp_rules(&[&b, &a])));
        prop_assert_eq!(allowed(&apart), allowed(&mcp_rules(&[&joined])));
        let dry = mcp_rules(&[&a, &format!("mode: DryRun\n{b}")]);
        prop_assert_eq!(allowed(&dry), allowed(&mcp_rules(&[&a])));
        if let super::Decision::Allow(permit) = dry.decide(&world.facts()) {
            prop_assert_eq!(permit.shadow().unwrap().refused.is_none(), allowed(&apart));
        }
        let narrowed = rules(Some(Protocol::Mcp), &[&a], &["action: DENY\nrules: [{from: [{source: {namespaces: [a]}}]}]"]);
        prop_assert!(!allowed(&narrowed) || allowed(&mcp_rules(&[&a])));
    }
}
