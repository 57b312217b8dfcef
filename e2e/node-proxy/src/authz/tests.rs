use serde_json::{Value, json};

use super::*;

const WAYPOINT: &str = "cluster.local/ns/mesh/sa/waypoint";

fn world(policies: &[(&str, Value)]) -> World {
    let authorizations: Vec<Value> = policies
        .iter()
        .enumerate()
        .map(|(index, (action, groups))| {
            json!({
                "name": format!("p{index}"), "namespace": "tools", "scope": "WORKLOAD_SELECTOR", "action": action,
                "groups": groups,
            })
        })
        .collect();
    let listed: Vec<String> = (0..policies.len()).map(|index| format!("tools/p{index}")).collect();
    let workload = json!({
        "uid": "server", "name": "server", "namespace": "tools", "addresses": ["10.0.0.1"],
        "authorizationPolicies": listed,
    });
    let world = json!({"addresses": [{"workload": workload}], "authorizations": authorizations});
    World::parse(&world.to_string()).unwrap()
}

fn from(principal: Option<&str>, port: u16) -> Connection {
    Connection {
        identity: principal.map(|text| WorkloadId::parse(&format!("spiffe://{text}")).unwrap()),
        source: "10.0.0.9".parse().unwrap(),
        destination: SocketAddr::new("10.0.0.1".parse().unwrap(), port),
    }
}

fn allowed(world: &World, connection: &Connection) -> bool {
    check(world, world.workload("server").unwrap(), connection).is_ok()
}

fn one(fields: Value) -> Value {
    json!([{"rules": [{"matches": [fields]}]}])
}

#[test]
fn the_guard_lets_in_the_waypoint_and_nobody_else_on_its_port() {
    let guard = json!([{"rules": [
        {"matches": [{"notPrincipals": [{"exact": WAYPOINT}]}]},
        {"matches": [{"destinationPorts": [8080]}]},
    ]}]);
    let world = world(&[("DENY", guard), ("ALLOW", one(json!({"principals": [{"presence": {}}]})))]);
    assert!(allowed(&world, &from(Some(WAYPOINT), 8080)));
    // An ALLOW that matches does not help.
    assert!(!allowed(&world, &from(Some("cluster.local/ns/agents/sa/other"), 8080)));
    assert!(!allowed(&world, &from(None, 8080)));
    assert!(allowed(&world, &from(Some("cluster.local/ns/agents/sa/other"), 9000)));
}

#[test]
fn what_is_empty_matches_as_ztunnel_has_it() {
    let anyone = from(Some("cluster.local/ns/a/sa/b"), 1);
    for (groups, denies) in [
        (json!([]), false),
        (json!([{"rules": []}]), true),
        (json!([{"rules": [{"matches": []}]}]), true),
        (json!([{"rules": [{"matches": [{}]}]}]), false),
        (json!([{"rules": [{"matches": [{}, {"destinationPorts": [1]}]}]}]), true),
    ] {
        assert_eq!(!allowed(&world(&[("DENY", groups.clone())]), &anyone), denies, "{groups}");
    }
    // An ALLOW that never matches refuses everybody.
    assert!(!allowed(&world(&[("ALLOW", json!([]))]), &anyone));
}

#[test]
fn each_field_matches_by_itself() {
    let someone = Some("td/ns/agents/sa/caller");
    for (fields, with, without) in [
        (json!({"principals": [{"exact": "td/ns/agents/sa/caller"}]}), true, false),
        // As istiod never writes it, and a slip that nothing tells: it is compared without the scheme.
        (json!({"principals": [{"exact": "spiffe://td/ns/agents/sa/caller"}]}), false, false),
        (json!({"principals": [{"prefix": "td/ns/agents/"}]}), true, false),
        (json!({"principals": [{"suffix": "/caller"}]}), true, false),
        (json!({"principals": [{"presence": {}}]}), true, false),
        (json!({"notPrincipals": [{"presence": {}}]}), false, true),
        (json!({"notPrincipals": [{"exact": "td/ns/agents/sa/caller"}]}), false, true),
        (json!({"namespaces": [{"exact": "agents"}]}), true, false),
        (json!({"notNamespaces": [{"exact": "agents"}]}), false, true),
        (json!({"serviceAccounts": [{"namespace": "agents", "serviceAccount": "caller"}]}), true, false),
        (json!({"notServiceAccounts": [{"namespace": "other", "serviceAccount": "caller"}]}), true, true),
        (json!({"sourceIps": [{"address": "10.0.0.0", "length": 24}]}), true, true),
        (json!({"notSourceIps": [{"address": "10.0.0.9", "length": 32}]}), false, false),
        (json!({"destinationIps": [{"address": "10.0.0.1", "length": 32}]}), true, true),
        (json!({"notDestinationIps": [{"address": "10.0.0.1", "length": 32}]}), false, false),
        (json!({"destinationPorts": [8080, 1]}), true, true),
        (json!({"notDestinationPorts": [8080]}), false, false),
        (json!({"principals": [{"presence": {}}], "destinationPorts": [1]}), false, false),
    ] {
        let world = world(&[("ALLOW", one(fields.clone()))]);
        assert_eq!(allowed(&world, &from(someone, 8080)), with, "{fields}");
        assert_eq!(allowed(&world, &from(None, 8080)), without, "{fields}");
    }
}

#[test]
fn only_policies_that_concern_the_workload_are_asked() {
    let mut world = world(&[("DENY", json!([{"rules": []}]))]);
    let set = |world: &mut World, scope: Scope, namespace: &str, dry_run: bool| {
        let policy = world.authorizations.first_mut().unwrap();
        (policy.scope, policy.dry_run, policy.namespace) = (scope, dry_run, namespace.to_owned());
    };
    let open = |world: &World| allowed(world, &from(None, 1));
    assert!(!open(&world));
    for (scope, namespace, dry_run, is_open) in [
        (Scope::Global, "root", false, false),
        (Scope::Namespace, "tools", false, false),
        (Scope::Namespace, "elsewhere", false, true),
        // The workload lists tools/p0.
        (Scope::WorkloadSelector, "elsewhere", false, true),
        (Scope::WorkloadSelector, "tools", true, true),
    ] {
        set(&mut world, scope, namespace, dry_run);
        assert_eq!(open(&world), is_open, "{scope:?} {namespace} {dry_run}");
    }
}

#[test]
fn an_unknown_field_is_an_error() {
    let policy = json!({"name": "p", "namespace": "n", "scope": "GLOBAL", "action": "DENY",
        "groups": [{"rules": [{"matches": [{"notPrincipal": [{"exact": "x"}]}]}]}]});
    assert!(World::parse(&json!({"authorizations": [policy]}).to_string()).is_err());
}

/// Two evaluators by two authors, and neither may differ from ztunnel: the product's judges whether a guard works.
#[test]
fn the_products_own_evaluator_says_the_same() {
    use agent_waypoint::mesh::l4;
    let fields = [
        json!({}),
        json!({"principals": [{"exact": "cluster.local/ns/a/sa/b"}]}),
        json!({"principals": [{"presence": {}}]}),
        json!({"notPrincipals": [{"exact": "cluster.local/ns/a/sa/b"}]}),
        json!({"notPrincipals": [{"prefix": "cluster.local/ns/a"}, {"suffix": "/waypoint"}]}),
        json!({"namespaces": [{"exact": "a"}]}),
        json!({"notNamespaces": [{"presence": {}}]}),
        json!({"serviceAccounts": [{"namespace": "a", "serviceAccount": "b"}]}),
        json!({"notServiceAccounts": [{"namespace": "a", "serviceAccount": "b"}]}),
        json!({"destinationPorts": [8080]}),
        json!({"notDestinationPorts": [8080]}),
    ];
    let callers = [None, Some("cluster.local/ns/a/sa/b"), Some("cluster.local/ns/mesh/sa/waypoint"), Some("td/x")];
    let mut asked = 0;
    for one in &fields {
        for other in &fields {
            for groups in [
                json!([]),
                json!([{"rules": []}]),
                json!([{"rules": [{"matches": []}]}]),
                json!([{"rules": [{"matches": [one, other]}]}]),
                json!([{"rules": [{"matches": [one]}, {"matches": [other]}]}]),
                json!([{"rules": [{"matches": [one]}]}, {"rules": [{"matches": [other]}]}]),
            ] {
                for action in ["ALLOW", "DENY"] {
                    let ours = world(&[(action, groups.clone())]);
                    let theirs: l4::Authorization = serde_json::from_value(json!({
                        "name": "p0", "namespace": "tools", "scope": "WORKLOAD_SELECTOR", "action": action,
                        "groups": groups,
                    }))
                    .unwrap();
                    for (caller, port) in callers.iter().flat_map(|caller| [(caller, 8080), (caller, 9000)]) {
                        let connection = from(*caller, port);
                        let judged = l4::judge(
                            [&theirs],
                            &l4::Connection {
                                source: connection.source,
                                identity: connection.identity.as_ref(),
                                destination: connection.destination,
                            },
                        );
                        let same = allowed(&ours, &connection) == judged.is_permitted();
                        assert!(same, "{action} {groups} for {caller:?} to {port}");
                        asked += 1;
                    }
                }
            }
        }
    }
    assert_eq!(asked, 11 * 11 * 6 * 2 * 8);
}
