use serde_json::json;

use super::*;

const WAYPOINT: &str = "cluster.local/ns/waypoints/sa/waypoint";

fn policy(action: &str, groups: serde_json::Value) -> Authorization {
    serde_json::from_value(json!({
        "name": "p", "namespace": "tools", "scope": "WORKLOAD_SELECTOR", "action": action, "groups": groups,
    }))
    .unwrap()
}

fn guard(port: u16, exempt: &[&str]) -> Authorization {
    let exempt: Vec<_> = exempt.iter().map(|text| json!({"exact": text})).collect();
    policy(
        "DENY",
        json!([{"rules": [{"matches": [{"destinationPorts": [port]}]}, {"matches": [{"notPrincipals": exempt}]}]}]),
    )
}

fn passes(policies: &[&Authorization], who: Option<&str>, port: u16) -> bool {
    let id = who.map(|who| WorkloadId::parse(&format!("spiffe://{who}")).unwrap());
    let connection =
        Connection { source: [10, 1, 2, 3].into(), identity: id.as_ref(), destination: ([10, 9, 8, 7], port).into() };
    judge(policies.iter().copied(), &connection).is_permitted()
}

#[test]
fn a_guard_lets_only_the_waypoint_through_to_its_port() {
    let guard = guard(8080, &[WAYPOINT]);
    assert!(passes(&[&guard], Some(WAYPOINT), 8080));
    assert!(!passes(&[&guard], None, 8080));
    for other in ["cluster.local/ns/tools/sa/waypoint", "other.example/ns/waypoints/sa/waypoint", "td/x"] {
        assert!(!passes(&[&guard], Some(other), 8080), "{other}");
    }
    assert!(passes(&[&guard], None, 9090));
    // No ALLOW overrides it.
    let allow = policy("ALLOW", json!([{"rules": []}]));
    assert!(passes(&[&allow], None, 8080));
    assert!(!passes(&[&allow, &guard], None, 8080));
}

#[test]
fn what_is_empty() {
    let rows = [
        ("no group matches nothing", json!([]), false),
        ("a group without rules matches all", json!([{}]), true),
        ("a rule without matches matches all", json!([{"rules": [{}]}]), true),
        ("a match without fields is skipped", json!([{"rules": [{"matches": [{}]}]}]), false),
        (
            "a skipped match leaves its neighbour",
            json!([{"rules": [{"matches": [{}, {"destinationPorts": [8080]}]}]}]),
            true,
        ),
        (
            "rules are AND",
            json!([{"rules": [{"matches": [{"destinationPorts": [8080]}]}, {"matches": [{"destinationPorts": [1]}]}]}]),
            false,
        ),
        (
            "groups are OR",
            json!([{"rules": [{"matches": [{"destinationPorts": [1]}]}]}, {"rules": [{"matches": [{"notDestinationPorts": [1]}]}]}]),
            true,
        ),
    ];
    for (name, groups, matches) in rows {
        let id = Some("cluster.local/ns/a/sa/b");
        assert_eq!(passes(&[&policy("ALLOW", groups.clone())], id, 8080), matches, "{name}");
        assert_eq!(passes(&[&policy("DENY", groups)], id, 8080), !matches, "{name}");
    }
}

#[test]
fn without_an_identity_positives_fail_and_negatives_pass() {
    let one =
        |field: &str, value: serde_json::Value| policy("ALLOW", json!([{"rules": [{"matches": [{field: [value]}]}]}]));
    let account = json!({"namespace": "a", "serviceAccount": "b"});
    let rows = [
        ("principals", json!({"presence": {}}), true, false),
        ("notPrincipals", json!({"presence": {}}), false, true),
        ("principals", json!({"suffix": "/sa/b"}), true, false),
        ("principals", json!({"prefix": "cluster.local/"}), true, false),
        ("principals", json!({"prefix": "spiffe://"}), false, false),
        ("notPrincipals", json!({"exact": "spiffe://cluster.local/ns/a/sa/b"}), true, true),
        ("namespaces", json!({"exact": "a"}), true, false),
        ("namespaces", json!({"presence": {}}), true, false),
        ("notNamespaces", json!({"exact": "a"}), false, true),
        ("serviceAccounts", account.clone(), true, false),
        ("notServiceAccounts", account, false, true),
        ("sourceIps", json!({"address": "CgECAA==", "length": 24}), true, true),
        ("sourceIps", json!({"address": "CgECAA==", "length": 32}), false, false),
        ("notSourceIps", json!({"address": "CgECAA==", "length": 24}), false, false),
        ("destinationIps", json!({"address": "CgkIBw==", "length": 32}), true, true),
        ("notDestinationPorts", json!(8080), false, false),
    ];
    for (field, value, with, without) in rows {
        let policy = one(field, value);
        assert_eq!(passes(&[&policy], Some("cluster.local/ns/a/sa/b"), 8080), with, "{policy:?} with");
        assert_eq!(passes(&[&policy], None, 8080), without, "{policy:?} without");
    }
}

#[test]
fn a_dry_run_takes_no_part() {
    let mut guard = guard(8080, &[WAYPOINT]);
    guard.dry_run = true;
    assert!(passes(&[&guard], None, 8080));
    assert_eq!(only([&guard], 8080), None);
}

#[test]
fn a_selector_policy_works_where_it_is_listed() {
    let mut policy = guard(8080, &[]);
    assert!(policy.applies("tools", &["tools/p"]));
    assert!(!policy.applies("tools", &["tools/other", "tool/sp"]));
    policy.scope = Scope::Namespace;
    assert!(policy.applies::<&str>("tools", &[]) && !policy.applies::<&str>("other", &[]));
    policy.scope = Scope::Global;
    assert!(policy.applies::<&str>("other", &[]));
}

#[test]
fn who_can_reach_a_port_at_all() {
    let list = |texts: &[&str]| Some(texts.iter().map(|text| Arc::from(*text)).collect());
    let (one, two) = (guard(8080, &["a", "b"]), guard(8080, &["b", "c"]));
    assert_eq!(only([&one], 8080), list(&["a", "b"]));
    assert_eq!(only([&one, &two], 8080), list(&["b"]));
    assert_eq!(only([&one], 9090), None);
    assert_eq!(only([], 8080), None);
    let all = policy("DENY", json!([{"rules": [{"matches": [{"notPrincipals": [{"exact": "a"}]}]}]}]));
    assert_eq!(only([&all], 1), list(&["a"]));
    // What is about some sources only closes nothing, nor does an ALLOW, nor a match that is skipped.
    for groups in [
        json!([{"rules": [{"matches": [{"notPrincipals": [{"prefix": "a"}]}]}]}]),
        json!([{"rules": [{"matches": [{"notPrincipals": [{"exact": "a"}], "namespaces": [{"exact": "x"}]}]}]}]),
        json!([{"rules": [{"matches": [{"destinationPorts": [8080], "sourceIps": [{"address": "CgECAA==", "length": 24}]}]}]}]),
        json!([{"rules": [{"matches": [{}]}]}]),
        json!([{"rules": [{"matches": [{"destinationPorts": [8080]}]}, {"matches": [{"namespaces": [{"exact": "x"}]}]}]}]),
    ] {
        assert_eq!(only([&policy("DENY", groups)], 8080), None);
    }
    assert_eq!(only([&policy("ALLOW", json!([{"rules": []}]))], 8080), None);
}

#[test]
fn the_json_is_istiods() {
    let text = json!({
        "name": "guard", "namespace": "tools", "scope": "WORKLOAD_SELECTOR", "action": "DENY", "dryRun": false,
        "groups": [{"rules": [{"matches": [{
            "sourceIps": [{"address": "CgECAA==", "length": 24}],
            "notPrincipals": [{"exact": WAYPOINT}, {"presence": {}}],
            "destinationPorts": [8080],
        }]}]}],
    });
    let read: Authorization = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), text);
    // Defaults are left out on the wire.
    let bare: Authorization = serde_json::from_value(json!({"name": "a", "namespace": "b"})).unwrap();
    assert_eq!((bare.scope, bare.action, bare.dry_run), (Scope::Global, Action::Allow, false));
    for bad in [
        json!({"name": "a", "namespace": "b", "rules": []}),
        json!({"name": "a", "namespace": "b", "groups": [{"rules": [{"matches": [{"ports": [1]}]}]}]}),
        json!({"name": "a", "namespace": "b", "groups": [{"rules": [{"matches": [{"sourceIps": [{"address": "CgE=", "length": 8}]}]}]}]}),
        json!({"name": "a", "namespace": "b", "groups": [{"rules": [{"matches": [{"sourceIps": [{"address": "CgECAA==", "length": 33}]}]}]}]}),
    ] {
        assert!(serde_json::from_value::<Authorization>(bad.clone()).is_err(), "{bad}");
    }
}
