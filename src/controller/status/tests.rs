//! Views and what pods said in, conditions out.

use std::collections::BTreeMap;

use super::super::feed::Cataloguer;
use super::super::fixture::view;
use super::*;

const MESH: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: wp, namespace: tools}
spec: {gatewayClassName: agent-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Service
metadata: {name: repo, namespace: tools, labels: {istio.io/use-waypoint: wp}}
spec: {ports: [{name: mcp, port: 80}, {name: a2a, port: 81, appProtocol: agent-waypoint.dev/a2a}]}
---
apiVersion: v1
kind: Service
metadata: {name: lone, namespace: tools}
spec: {ports: [{port: 80}]}
";

fn pod(name: &str, ready: bool) -> String {
    let ready = if ready { "True" } else { "False" };
    format!(
        "\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: tools, labels: {{gateway.networking.k8s.io/gateway-name: wp}}}}\nspec: {{serviceAccountName: wp, containers: []}}\nstatus: {{conditions: [{{type: Ready, status: '{ready}'}}]}}"
    )
}

fn policy(name: &str, generation: i64, spec: &str) -> String {
    format!(
        "\n---\napiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: {name}, namespace: tools, generation: {generation}, creationTimestamp: '2026-01-0{generation}T00:00:00Z'}}\nspec: {spec}"
    )
}

const GOOD: &str = "{targetRefs: [{kind: Service, name: repo, sectionName: mcp}], protocol: MCP, allow: [{name: all}]}";

/// Condition types to status, reason, message; of one policy.
type Told = BTreeMap<String, (String, String, String)>;

fn told(yaml: &str, confirmed: &Confirmed, name: &str) -> Told {
    let view = view(yaml);
    let catalog = Cataloguer::default().catalog(&view);
    let mut checks = Checks::default();
    checks.update(&view);
    let known = Known { checked: &checks, confirmed, catalog: &catalog, now: "now" };
    let wanted = plan(&view, &known);
    let (wanted, _) = wanted.into_iter().find(|(wanted, _)| wanted.name == name).unwrap();
    assert_eq!(wanted.part, Part::Status);
    let conditions = wanted.body["status"]["conditions"].as_array().unwrap().clone();
    let text = |one: &Value, field: &str| one[field].as_str().unwrap().to_owned();
    conditions
        .iter()
        .map(|one| (text(one, "type"), (text(one, "status"), text(one, "reason"), text(one, "message"))))
        .collect()
}

fn is(told: &Told, kind: &str, status: &str, reason: &str) {
    let (found, why, message) = &told[kind];
    assert_eq!((found.as_str(), why.as_str()), (status, reason), "{kind}: {message}");
}

/// What the pods of `wp` have in force when they have all of `yaml`.
fn scope(yaml: &str) -> Arc<super::super::feed::Scope> {
    Cataloguer::default().catalog(&view(yaml)).documents("tools", "wp").unwrap()
}

fn heard() -> Confirmed {
    let mut confirmed = Confirmed::default();
    confirmed.heard_enough();
    confirmed
}

#[test]
fn enforced_is_what_every_ready_replica_has_in_force() {
    let mesh = format!("{MESH}{}{}{}", pod("wp-1", true), pod("wp-2", true), pod("wp-3", false));
    let (old, new) = (format!("{mesh}{}", policy("p", 1, GOOD)), format!("{mesh}{}", policy("p", 2, GOOD)));
    let mut confirmed = heard();
    let first = told(&new, &confirmed, "p");
    is(&first, "Accepted", "True", "Accepted");
    is(&first, "Conflicted", "False", "NoConflict");
    is(&first, "Enforced", "False", "Pending");
    confirmed.put("tools", "wp-1", Ok(scope(&new)));
    confirmed.put("tools", "wp-2", Ok(scope(&old)));
    let half = told(&new, &confirmed, "p");
    is(&half, "Enforced", "False", "Pending");
    assert!(half["Enforced"].2.contains("1 of 2") && half["Enforced"].2.contains("tools/wp-2"), "{half:?}");
    confirmed.put("tools", "wp-2", Err("agent: no".to_owned()));
    assert!(told(&new, &confirmed, "p")["Enforced"].2.contains("agent: no"));
    confirmed.put("tools", "wp-2", Ok(scope(&new)));
    is(&told(&new, &confirmed, "p"), "Enforced", "True", "Enforced");
    // Another policy that is not there yet does not take that back.
    let more = format!("{new}{}", policy("q", 3, "{targetRefs: [{kind: Service, name: repo}], allow: [{}]}"));
    is(&told(&more, &confirmed, "p"), "Enforced", "True", "Enforced");
    is(&told(&more, &confirmed, "q"), "Enforced", "False", "Pending");
}

#[test]
fn without_a_ready_replica_nothing_is_enforced() {
    let mesh = format!("{MESH}{}{}", pod("wp-1", false), policy("p", 1, GOOD));
    let mut confirmed = heard();
    confirmed.put("tools", "wp-1", Ok(scope(&mesh)));
    is(&told(&mesh, &confirmed, "p"), "Enforced", "False", "NoReadyReplica");
}

#[test]
fn a_policy_for_nobody_names_the_label() {
    let spec = "{targetRefs: [{kind: Service, name: lone}], protocol: MCP, allow: [{}]}";
    let told = told(&format!("{MESH}{}", policy("p", 1, spec)), &heard(), "p");
    is(&told, "Accepted", "True", "Accepted");
    is(&told, "Enforced", "False", "NoWaypoint");
    let message = &told["Enforced"].2;
    assert!(message.contains("Service tools/lone") && message.contains("istio.io/use-waypoint"), "{message}");
}

#[test]
fn a_policy_of_two_targets_is_not_enforced_while_calls_to_one_go_past_it() {
    let spec = "{targetRefs: [{kind: Service, name: repo}, {kind: Service, name: lone}], protocol: MCP, allow: [{}]}";
    let mesh = format!("{MESH}{}{}", pod("wp-1", true), policy("p", 1, spec));
    let mut confirmed = heard();
    confirmed.put("tools", "wp-1", Ok(scope(&mesh)));
    let told_now = told(&mesh, &confirmed, "p");
    is(&told_now, "Enforced", "False", "NoWaypoint");
    let message = &told_now["Enforced"].2;
    assert!(message.contains("Service tools/lone") && !message.contains("Service tools/repo"), "{message}");
    let both = mesh.replace(
        "{name: lone, namespace: tools}",
        "{name: lone, namespace: tools, labels: {istio.io/use-waypoint: wp}}",
    );
    confirmed.put("tools", "wp-1", Ok(scope(&both)));
    is(&told(&both, &confirmed, "p"), "Enforced", "True", "Enforced");
}

#[test]
fn what_does_not_compile_is_not_accepted_and_says_where() {
    let spec = "{targetRefs: [{kind: Service, name: repo}], protocol: MCP, allow: [{when: 'no.such.name == 1'}]}";
    let told = told(&format!("{MESH}{}{}", pod("wp-1", true), policy("p", 1, spec)), &heard(), "p");
    is(&told, "Accepted", "False", "Invalid");
    assert!(told["Accepted"].2.contains("spec.allow[0].when"), "{told:?}");
    is(&told, "Enforced", "False", "NotAccepted");
}

#[test]
fn of_two_protocols_for_one_port_the_younger_is_in_conflict() {
    let a2a = GOOD.replace("MCP", "A2A");
    let both = format!("{MESH}{}{}", policy("elder", 1, GOOD), policy("younger", 2, &a2a));
    is(&told(&both, &heard(), "elder"), "Conflicted", "False", "NoConflict");
    let younger = told(&both, &heard(), "younger");
    is(&younger, "Conflicted", "True", "ProtocolConflict");
    assert!(younger["Conflicted"].2.contains("AgentPolicy tools/elder"), "{younger:?}");
    // A port's own word is older than any policy's.
    let against = GOOD.replace("sectionName: mcp", "sectionName: '81'");
    let told_by_port = told(&format!("{MESH}{}", policy("p", 1, &against)), &heard(), "p");
    is(&told_by_port, "Conflicted", "True", "ProtocolConflict");
    assert!(told_by_port["Conflicted"].2.contains("appProtocol"));
    // What takes no part claims nothing.
    let dry = a2a.replace("protocol", "mode: DryRun, protocol");
    let both = format!("{MESH}{}{}", policy("elder", 1, GOOD), policy("younger", 2, &dry));
    is(&told(&both, &heard(), "younger"), "Conflicted", "False", "NoConflict");
    is(&told(&both, &heard(), "younger"), "Enforced", "False", "DryRun");
}

#[test]
fn a_new_leader_takes_nothing_back_before_pods_had_time_to_find_it() {
    let live = "\nstatus: {conditions: [{type: Enforced, status: 'True', reason: Enforced, message: before, observedGeneration: 1, lastTransitionTime: then}]}";
    let mesh = format!("{MESH}{}{}{live}", pod("wp-1", true), policy("p", 1, GOOD));
    let told_now = told(&mesh, &Confirmed::default(), "p");
    is(&told_now, "Enforced", "True", "Enforced");
    is(&told(&mesh, &heard(), "p"), "Enforced", "False", "Pending");
    // A pod that said something else is heard at once; so is a new generation.
    let mut confirmed = Confirmed::default();
    confirmed.put("tools", "wp-1", Ok(Arc::default()));
    is(&told(&mesh, &confirmed, "p"), "Enforced", "False", "Pending");
    let edited = mesh.replace("generation: 1, creation", "generation: 2, creation");
    is(&told(&edited, &Confirmed::default(), "p"), "Enforced", "False", "Pending");
}

#[test]
fn other_replicas_words_count_while_they_live() {
    let mesh = format!("{MESH}{}{}", pod("wp-1", true), policy("p", 1, GOOD));
    let digest = scope(&mesh).digest().to_owned();
    let replica = "\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: aw-2, namespace: system}\nspec: {containers: []}";
    let map = format!(
        "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: agent-waypoint-acks-aw-2, namespace: system, labels: {{agent-waypoint.dev/acks: 'true'}}}}\ndata: {{acks.json: '{{\"tools/wp-1\": {{\"inForce\": \"{digest}\"}}}}'}}"
    );
    let own = ("system".to_owned(), "aw-1".to_owned());
    let learnt = |yaml: &str| {
        let (mut confirmed, view) = (heard(), view(yaml));
        let catalog = Cataloguer::default().catalog(&view);
        confirmed.learn(&view, &catalog, (&Acks::default(), &own));
        told(yaml, &confirmed, "p")
    };
    is(&learnt(&format!("{mesh}{replica}{map}")), "Enforced", "True", "Enforced");
    is(&learnt(&format!("{mesh}{map}")), "Enforced", "False", "Pending");
    is(&learnt(&format!("{mesh}{replica}{}", map.replace(&digest, "0"))), "Enforced", "False", "Pending");
}
