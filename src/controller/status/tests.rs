//! Views and what pods said in, conditions out.

use std::collections::BTreeMap;

use super::super::feed::Cataloguer;
use super::super::fixture::view;
use super::*;
use crate::control::feed::{More, Report};

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
fn what_a_waypoint_closed_is_not_enforced_whatever_it_acknowledged() {
    let mesh = format!("{MESH}{}{}{}", pod("wp-1", true), pod("wp-2", true), policy("p", 1, GOOD));
    let mut confirmed = heard();
    for pod in ["wp-1", "wp-2"] {
        confirmed.put("tools", pod, Ok(scope(&mesh)));
    }
    is(&told(&mesh, &confirmed, "p"), "Enforced", "True", "Enforced");
    let name = "agent-waypoint.dev/AgentPolicy/tools/p";
    let why =
        "Service tools/repo:80 is closed: RequestAuthentication tools/t: keys may not be fetched from idp.example";
    confirmed.put_report("tools", "wp-2", Some(Report::new([(name, why)])));
    let closed = told(&mesh, &confirmed, "p");
    is(&closed, "Enforced", "False", "TargetClosed");
    let message = &closed["Enforced"].2;
    assert!(message.starts_with(why) && message.contains("tools/wp-2 (1 of 2 ready"), "{message}");
    // Of another document that is closed nothing follows; but it does where not all of them are named.
    confirmed.put_report("tools", "wp-2", Some(Report::new([("agent-waypoint.dev/AgentPolicy/tools/q", why)])));
    is(&told(&mesh, &confirmed, "p"), "Enforced", "True", "Enforced");
    confirmed.put_report("tools", "wp-2", Some(Report { more: More::Anywhere, ..Report::default() }));
    is(&told(&mesh, &confirmed, "p"), "Enforced", "False", "TargetClosed");
    // Who does not say is of another version: it is not taken for an open target.
    confirmed.put_report("tools", "wp-2", None);
    let silent = told(&mesh, &confirmed, "p");
    is(&silent, "Enforced", "False", "Pending");
    assert!(silent["Enforced"].2.contains("tools/wp-2 (its version does not say"), "{silent:?}");
}

/// Callers' ztunnels go by what istiod announces, and not by the labels.
#[test]
fn a_policy_is_not_in_force_where_istiod_sends_calls_past_it() {
    let said = |status: &str, message: &str, ready: bool| {
        let mesh = MESH.replace(
            "appProtocol: agent-waypoint.dev/a2a}]}\n",
            &format!("appProtocol: agent-waypoint.dev/a2a}}]}}\nstatus: {{conditions: [{{type: istio.io/WaypointBound, status: '{status}', reason: x, message: '{message}', lastTransitionTime: '2026-01-01T00:00:00Z'}}]}}\n"),
        );
        assert_ne!(mesh, MESH);
        format!("{mesh}{}{}", pod("wp-1", ready), policy("p", 1, GOOD))
    };
    for (status, message, reason, word) in [
        ("True", "Successfully attached to waypoint tools/wp", "Enforced", "1 of 1"),
        ("True", "Successfully attached to waypoint tools/old", "AnotherWaypoint", "Gateway tools/old"),
        (
            "True",
            "Successfully attached to waypoint infra/wp. Ingress traffic will traverse it",
            "AnotherWaypoint",
            "infra/wp",
        ),
        ("True", "in words that nobody knows", "Enforced", "1 of 1"),
        ("Unknown", "", "Enforced", "1 of 1"),
        ("False", "waypoint tools/wp is missing.", "NotAnnounced", "is missing"),
    ] {
        let yaml = said(status, message, true);
        let mut confirmed = heard();
        confirmed.put("tools", "wp-1", Ok(scope(&yaml)));
        let told = told(&yaml, &confirmed, "p");
        is(&told, "Enforced", if reason == "Enforced" { "True" } else { "False" }, reason);
        assert!(told["Enforced"].2.contains(word), "{told:?}");
    }
    // One that no pod answers for is told as that.
    let stopped = said("True", "Successfully attached to waypoint tools/old", false);
    is(&told(&stopped, &heard(), "p"), "Enforced", "False", "NoReadyReplica");
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
fn a_policy_for_a_namespace_in_which_nothing_uses_a_waypoint_is_not_enforced() {
    let spec = "{targetRefs: [{kind: Namespace, name: tools}], deny: [{}]}";
    let mesh = format!("{MESH}{}{}", pod("wp-1", true), policy("p", 1, spec));
    let mut confirmed = heard();
    confirmed.put("tools", "wp-1", Ok(scope(&mesh)));
    is(&told(&mesh, &confirmed, "p"), "Enforced", "True", "Enforced");
    // The Gateway stands there all the same, and has the policy.
    let nothing = mesh.replace("labels: {istio.io/use-waypoint: wp}", "labels: {}");
    confirmed.put("tools", "wp-1", Ok(scope(&nothing)));
    let told = told(&nothing, &confirmed, "p");
    is(&told, "Enforced", "False", "NoWaypoint");
    assert!(told["Enforced"].2.contains("Namespace tools/tools"), "{told:?}");
}

#[test]
fn a_policy_is_not_enforced_while_another_waypoint_takes_a_share_of_the_calls() {
    let envoy = "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: envoy, namespace: tools}\nspec: {gatewayClassName: CLASS, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}";
    let canary =
        MESH.replace("{istio.io/use-waypoint: wp}", "{istio.io/use-waypoint: wp, istio.io/use-waypoint-canary: envoy}");
    for (class, status, reason) in
        [("istio-waypoint", "False", "NoWaypoint"), ("agent-waypoint", "False", "NoReadyReplica")]
    {
        let mesh = format!("{canary}{}{}{}", envoy.replace("CLASS", class), pod("wp-1", true), policy("p", 1, GOOD));
        let mut confirmed = heard();
        confirmed.put("tools", "wp-1", Ok(scope(&mesh)));
        let told = told(&mesh, &confirmed, "p");
        is(&told, "Enforced", status, reason);
        assert_eq!(told["Enforced"].2.contains("share of the calls to Service tools/repo"), reason == "NoWaypoint");
    }
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
        "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: agent-waypoint-acks-aw-2, namespace: system, labels: {{agent-waypoint.dev/acks: 'true'}}}}\ndata: {{acks.json: '{{\"tools/wp-1\": {{\"inForce\": \"{digest}\", \"report\": 0}}}}', reports.json: '[{{\"unenforced\": {{}}, \"more\": false}}]'}}"
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
    // Of what a replica does not know, as it is older, nobody vouches.
    let older = format!("{mesh}{replica}{}", map.replace(", \"report\": 0", ""));
    is(&learnt(&older), "Enforced", "False", "Pending");
    let closed = map.replace("{}, \"more\"", "{\"agent-waypoint.dev/AgentPolicy/tools/p\": \"no port\"}, \"more\"");
    is(&learnt(&format!("{mesh}{replica}{closed}")), "Enforced", "False", "TargetClosed");
    is(&learnt(&format!("{mesh}{replica}{}", map.replace(&digest, "0"))), "Enforced", "False", "Pending");
}

/// What is said beside AgentPolicies, by `Kind name`.
fn shared(yaml: &str, confirmed: &Confirmed) -> BTreeMap<String, Vec<Value>> {
    let view = view(yaml);
    let catalog = Cataloguer::default().catalog(&view);
    let mut checks = Checks::default();
    checks.update(&view);
    let known = Known { checked: &checks, confirmed, catalog: &catalog, now: "now" };
    let entries = plan_shared(&view, (&mut RouteStatus::default(), &mut TlsStatus::default()), &known);
    let name = |one: &Entries| format!("{} {}", one.resource.kind, one.live["metadata"]["name"].as_str().unwrap());
    entries.iter().map(|one| (name(one), one.ours.clone())).collect()
}

fn authorization(name: &str, spec: &str, status: &str) -> String {
    format!(
        "\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: tools, generation: 3}}\nspec: {spec}\nstatus: {status}"
    )
}

#[test]
fn istios_policies_get_our_condition_where_our_waypoints_enforce_them() {
    let on = |service: &str| format!("{{targetRefs: [{{kind: Service, name: {service}}}], rules: [{{}}]}}");
    let ours = "{conditions: [{type: agent-waypoint.dev/Enforced, status: 'True', reason: Enforced, message: ''}]}";
    let theirs = "{conditions: [{type: WaypointAccepted, status: 'True', reason: Accepted, message: ''}]}";
    let yaml = [
        MESH.to_owned(),
        pod("wp-1", true),
        authorization("good", &on("repo"), theirs),
        authorization("bad", "{targetRefs: [{kind: Service, name: repo}], rules: [{when: [{key: nothing.known, values: [x]}]}]}", theirs),
        authorization("elsewhere", &on("lone"), theirs),
        authorization("was-ours", &on("lone"), ours),
        authorization("selector", "{selector: {matchLabels: {app: x}}}", theirs),
        authorization("selector-now", "{selector: {matchLabels: {app: x}}}", ours),
        "\n---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: tokens, namespace: tools}\nspec: {targetRefs: [{kind: Service, name: repo}]}".to_owned(),
    ]
    .concat();
    let mut confirmed = heard();
    confirmed.put("tools", "wp-1", Ok(scope(&yaml)));
    let told = shared(&yaml, &confirmed);
    let said = |name: &str| {
        let one = &told[&format!("AuthorizationPolicy {name}")];
        one.iter()
            .map(|one| ["type", "status", "reason"].map(|field| one[field].as_str().unwrap().to_owned()).join(" "))
            .collect::<Vec<_>>()
    };
    assert_eq!(said("good"), ["agent-waypoint.dev/Enforced True Enforced"]);
    assert_eq!(told["AuthorizationPolicy good"][0]["observedGeneration"], 3);
    assert_eq!(said("bad"), ["agent-waypoint.dev/Enforced False NotAccepted"]);
    let message = told["AuthorizationPolicy bad"][0]["message"].as_str().unwrap();
    assert!(message.contains("nothing.known") && message.contains("closed"), "{message}");
    assert_eq!(said("was-ours"), ["agent-waypoint.dev/Enforced False NoWaypoint"]);
    assert_eq!(said("selector-now"), [""; 0], "it is ztunnel's now: ours is taken back");
    assert!(!told.contains_key("AuthorizationPolicy elsewhere") && !told.contains_key("AuthorizationPolicy selector"));
    assert_eq!(told["RequestAuthentication tokens"][0]["status"], "True");
    // Not in force yet.
    let told = shared(&yaml, &heard());
    assert_eq!(told["AuthorizationPolicy good"][0]["reason"], "Pending");
}

/// The policy stays as it is; what declares its provider does not.
#[test]
fn a_provider_that_goes_away_is_told_on_the_policy_that_names_it() {
    let custom = "{targetRefs: [{kind: Service, name: repo}], action: CUSTOM, provider: {name: p}, rules: [{}]}";
    let policy = authorization("asked", custom, "{}");
    let mut checks = Checks::default();
    let mut said = |providers: &str| {
        let map = format!(
            "\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: 'extensionProviders: {providers}'}}"
        );
        let yaml = format!("{MESH}{}{policy}{map}", pod("wp-1", true));
        let (view, mut confirmed) = (view(&yaml), heard());
        confirmed.put("tools", "wp-1", Ok(scope(&yaml)));
        checks.update(&view);
        let catalog = Cataloguer::default().catalog(&view);
        let known = Known { checked: &checks, confirmed: &confirmed, catalog: &catalog, now: "now" };
        let entries = plan_shared(&view, (&mut RouteStatus::default(), &mut TlsStatus::default()), &known);
        let one = &entries.iter().find(|one| one.resource.kind == "AuthorizationPolicy").unwrap().ours[0];
        format!("{} {} {}", one["status"], one["reason"], one["message"])
    };
    let declared = "[{name: p, envoyExtAuthzGrpc: {service: authz.tools.svc.cluster.local, port: 9000}}]";
    assert!(said(declared).starts_with("\"True\" \"Enforced\""), "{}", said(declared));
    let gone = said("[]");
    assert!(gone.starts_with("\"False\" \"ProviderUnknown\"") && gone.contains("spec.provider.name"), "{gone}");
    assert!(said(declared).starts_with("\"True\" \"Enforced\""));
}

#[test]
fn keys_from_a_host_that_nobody_listed_are_not_accepted_where_the_list_is_known() {
    let token = "
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: tools, generation: 1}
spec: {targetRefs: [{kind: Service, name: repo}], jwtRules: [{issuer: a, jwksUri: 'https://idp.example/keys'}]}
";
    let view = view(&format!("{MESH}{token}"));
    let errors = |hosts: &[&str]| {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let mut checks = Checks::with_hosts(&hosts);
        checks.update(&view);
        let kind = DocumentKind::RequestAuthentication;
        checks.of(kind, view.documents(kind).iter().next().unwrap()).errors
    };
    assert_eq!(errors(&[]), [""; 0], "nobody said: each waypoint says itself");
    assert_eq!(errors(&["other.example", "idp.example"]), [""; 0]);
    let [error] = errors(&["other.example"]).try_into().unwrap();
    assert!(error.starts_with("spec.jwtRules[0].jwksUri: ") && error.contains("idp.example"), "{error}");
}

/// The mesh with two more Services behind `wp`, one of them in another namespace, and an HTTPRoute.
fn routed(parents: &str, rules: &str) -> String {
    format!(
        "{MESH}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: two, namespace: tools, labels: {{istio.io/use-waypoint: wp}}}}\nspec: {{ports: [{{port: 80}}]}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: far, namespace: others, labels: {{istio.io/use-waypoint: wp, istio.io/use-waypoint-namespace: tools}}}}\nspec: {{ports: [{{port: 80}}]}}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: tools, generation: 4}}\nspec: {{parentRefs: [{parents}], rules: [{rules}]}}"
    )
    .replace("protocol: HBONE}", "protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}")
}

/// The conditions for each parent of `route`, in words.
fn said_of(yaml: &str, route: &str) -> Vec<String> {
    let parents = shared(yaml, &heard()).get(route).cloned().unwrap_or_default();
    let one = |parent: &Value| {
        assert_eq!(parent["controllerName"], "agent-waypoint.dev/controller");
        let conditions = parent["conditions"].as_array().unwrap();
        let text = |one: &Value| {
            let [kind, status, reason] = ["type", "status", "reason"].map(|field| one[field].as_str().unwrap());
            format!("{kind}={status} {reason}")
        };
        conditions.iter().map(text).collect::<Vec<_>>().join(", ")
    };
    parents.iter().map(one).collect()
}

const REPO: &str = "{group: '', kind: Service, name: repo, port: 80}";
const FINE: &str = "Accepted=True Accepted, ResolvedRefs=True ResolvedRefs";
const REFUSED: &str = "Accepted=False UnsupportedValue, ResolvedRefs=True ResolvedRefs";
const UNMATCHED: &str = "Accepted=False NoMatchingParent, ResolvedRefs=True ResolvedRefs";

fn to(backend: &str) -> String {
    format!("{{backendRefs: [{backend}]}}")
}

#[test]
fn a_route_says_for_each_parent_of_ours_what_became_of_it() {
    let said = |parents: &str, rules: &str| said_of(&routed(parents, rules), "HTTPRoute r");
    assert_eq!(said(REPO, &to("{name: two, port: 80}")), [FINE]);
    assert_eq!(said("{group: '', kind: Service, name: lone, port: 80}", ""), [""; 0], "no waypoint of ours");
    assert_eq!(said("{group: '', kind: Service, name: repo, port: 99}", ""), [UNMATCHED]);
    assert_eq!(said("{name: wp}", ""), ["Accepted=False NotAllowedByListeners, ResolvedRefs=True ResolvedRefs"]);
    assert_eq!(said("{group: '', kind: Service, name: far, namespace: others}", ""), [REFUSED]);
    let unresolved = |reason: &str| format!("Accepted=True Accepted, ResolvedRefs=False {reason}");
    assert_eq!(said(REPO, &to("{name: none, port: 80}")), [unresolved("BackendNotFound")]);
    assert_eq!(said(REPO, &to("{name: two, port: 81}")), [unresolved("BackendNotFound")]);
    assert_eq!(said(REPO, &to("{name: lone, port: 80}")), [unresolved("BackendNotFound")], "not behind this waypoint");
    assert_eq!(said(REPO, &to("{group: x.io, kind: Thing, name: two, port: 80}")), [unresolved("InvalidKind")]);
    assert_eq!(said(REPO, &to("{name: far, namespace: others, port: 80}")), [unresolved("RefNotPermitted")]);
    let mirror = "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: none, port: 80}}}]}";
    assert_eq!(said(REPO, mirror), [unresolved("BackendNotFound")], "a copy's too");
    let two_parents = format!(
        "{REPO}, {{group: '', kind: Service, name: lone, port: 80}}, {{group: '', kind: Service, name: two, port: 80}}"
    );
    assert_eq!(said(&two_parents, &to("{name: two, port: 80}")), [FINE, FINE]);
    assert_eq!(said(REPO, "{filters: [{type: Unheard}]}"), [REFUSED]);
}

/// What makes another request of it is fine on a plain port, and not on one that is declared, by itself or by a policy.
#[test]
fn a_route_that_would_change_calls_says_so() {
    const REWRITES: &str = "{filters: [{type: URLRewrite, urlRewrite: {hostname: x.example}}]}";
    let said = |parent: &str, more: &str| said_of(&format!("{}{more}", routed(parent, REWRITES)), "HTTPRoute r");
    assert_eq!(said(REPO, ""), [FINE]);
    assert_eq!(said(&REPO.replace("port: 80", "port: 81"), ""), [REFUSED]);
    assert_eq!(said(REPO, &policy("p", 1, GOOD)), [REFUSED]);
}

#[test]
fn routes_of_bytes_say_what_they_can_lead() {
    let of_kind = |parent: &str, kind: &str| {
        routed(parent, &to("{name: two, port: 80}")).replace("gateway.networking.k8s.io/v1\nkind: HTTPRoute", kind)
    };
    const PORTS: &str = "[{name: mcp, port: 80}, {name: a2a, port: 81, appProtocol: agent-waypoint.dev/a2a}]";
    let tcp = |parent: &str, ports: &str| {
        let yaml = of_kind(parent, "gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute").replace(PORTS, ports);
        said_of(&yaml, "TCPRoute r")
    };
    const BYTES: &str = "[{name: http, port: 80}, {name: tcp, port: 81}]";
    const REQUESTS: &str = "[{name: http, port: 80}, {name: http-b, port: 81}]";
    let (whole, named) = ("{group: '', kind: Service, name: repo}", "{group: '', kind: Service, name: repo, port: 81}");
    assert_eq!(tcp(named, BYTES), [FINE]);
    assert_eq!(tcp(whole, BYTES), [FINE], "one of its ports");
    assert_eq!(tcp(named, REQUESTS), [REFUSED], "a port of requests, by name");
    assert_eq!(tcp(whole, REQUESTS), [UNMATCHED], "none of its ports");
    let tls = of_kind(REPO, "gateway.networking.k8s.io/v1\nkind: TLSRoute");
    assert_eq!(said_of(&tls, "TLSRoute r"), [REFUSED]);
}

const OUTSIDE: &str = "
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext, namespace: tools, labels: {istio.io/use-waypoint: wp}}
spec: {hosts: [api.example.com], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}, {number: 81, name: bytes, protocol: TCP}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: roots, namespace: tools}
data: {ca.crt: \"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: empty, namespace: tools}
data: {ca.crt: nothing}
";

fn tls(name: &str, age: u8, target: &str, roots: &str) -> String {
    format!(
        "\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{name: {name}, namespace: tools, generation: 2, creationTimestamp: '2026-01-0{age}T00:00:00Z'}}\nspec: {{targetRefs: [{{{target}}}], validation: {{hostname: api.example.com, {roots}}}}}"
    )
}

const EXT: &str = "group: networking.istio.io, kind: ServiceEntry, name: ext, sectionName: http";
const SYSTEM: &str = "wellKnownCACertificates: System";

fn not_accepted(reason: &str) -> String {
    format!("Accepted=False {reason}, ResolvedRefs=True ResolvedRefs")
}

/// The conditions of a policy for each Gateway of ours, in words.
fn tls_said(policies: &str, name: &str) -> Vec<String> {
    let yaml = format!("{MESH}{OUTSIDE}{policies}");
    let entries = shared(&yaml, &heard()).get(&format!("BackendTLSPolicy {name}")).cloned().unwrap_or_default();
    let one = |entry: &Value| {
        assert_eq!(entry["controllerName"], "agent-waypoint.dev/controller");
        let gateway =
            json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "tools", "name": "wp"});
        assert_eq!(entry["ancestorRef"], gateway);
        let conditions = entry["conditions"].as_array().unwrap();
        let text = |one: &Value| {
            assert_eq!(one["observedGeneration"], 2);
            let [kind, status, reason] = ["type", "status", "reason"].map(|field| one[field].as_str().unwrap());
            format!("{kind}={status} {reason}")
        };
        conditions.iter().map(text).collect::<Vec<_>>().join(", ")
    };
    entries.iter().map(one).collect()
}

/// What the Gateway API's specification wants said, in its words.
#[test]
fn a_backend_tls_policy_says_for_each_gateway_of_ours_what_became_of_it() {
    let map = |name: &str| format!("{{kind: ConfigMap, group: '', name: {name}}}");
    let unresolved = |accepted: &str, reason: &str| format!("Accepted=False {accepted}, ResolvedRefs=False {reason}");
    let refs = |maps: &[String]| format!("caCertificateRefs: [{}]", maps.join(", "));
    let secret = "{kind: Secret, group: '', name: roots}".to_owned();
    let rows: &[(&str, String, String)] = &[
        (EXT, SYSTEM.to_owned(), FINE.to_owned()),
        (EXT, refs(&[map("roots")]), FINE.to_owned()),
        ("group: '', kind: Service, name: repo", SYSTEM.to_owned(), FINE.to_owned()),
        (EXT, refs(&[map("missing")]), unresolved("NoValidCACertificate", "InvalidCACertificateRef")),
        (EXT, refs(&[map("empty")]), unresolved("NoValidCACertificate", "InvalidCACertificateRef")),
        (EXT, refs(&[map("roots"), map("missing")]), unresolved("Invalid", "InvalidCACertificateRef")),
        (EXT, refs(&[secret]), unresolved("NoValidCACertificate", "InvalidKind")),
        (EXT, "wellKnownCACertificates: mine.example/roots".to_owned(), not_accepted("Invalid")),
        (
            "group: networking.istio.io, kind: ServiceEntry, name: ext, sectionName: bytes",
            SYSTEM.to_owned(),
            not_accepted("Invalid"),
        ),
        (
            "group: networking.istio.io, kind: ServiceEntry, name: ext, sectionName: none",
            SYSTEM.to_owned(),
            not_accepted("TargetNotFound"),
        ),
        ("group: '', kind: Service, name: nobody", SYSTEM.to_owned(), not_accepted("TargetNotFound")),
    ];
    for (target, roots, expected) in rows {
        assert_eq!(tls_said(&tls("p", 1, target, roots), "p"), [expected.as_str()], "{target} {roots}");
    }
}

#[test]
fn the_older_of_two_holds_and_what_is_no_more_ours_is_taken_back() {
    let of_others = "group: '', kind: Service, name: lone";
    assert_eq!(tls_said(&tls("p", 1, of_others, SYSTEM), "p"), [""; 0], "no waypoint of ours");
    let two = format!("{}{}", tls("a", 2, EXT, SYSTEM), tls("b", 1, EXT, SYSTEM));
    assert_eq!(tls_said(&two, "b"), [FINE], "the older one");
    assert_eq!(tls_said(&two, "a"), [not_accepted("Conflicted")]);
    // What we said of what is ours no more is taken back, and what others said stays.
    let theirs = "{ancestorRef: {name: x}, controllerName: istio.io/gateway-controller, conditions: []}";
    let ours = "{ancestorRef: {name: wp}, controllerName: agent-waypoint.dev/controller, conditions: []}";
    let was = format!("{}\nstatus: {{ancestors: [{theirs}, {ours}]}}", tls("p", 1, of_others, SYSTEM));
    let told = shared(&format!("{MESH}{OUTSIDE}{was}"), &heard());
    assert!(told["BackendTLSPolicy p"].is_empty());
    // A list that is full of others' is let be.
    let full = format!("{}\nstatus: {{ancestors: [{}]}}", tls("p", 1, EXT, SYSTEM), [theirs; 16].join(", "));
    assert!(!shared(&format!("{MESH}{OUTSIDE}{full}"), &heard()).contains_key("BackendTLSPolicy p"));
}
