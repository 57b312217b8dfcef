use super::super::fixture::view;
use super::*;

const MESH: &str = "
kind: Namespace
apiVersion: v1
metadata: {name: tools, labels: {istio.io/use-waypoint: wp, istio.io/use-waypoint-namespace: infra}}
---
kind: Namespace
apiVersion: v1
metadata: {name: other, labels: {team: other, istio.io/use-waypoint: wp, istio.io/use-waypoint-namespace: infra}}
---
kind: Namespace
apiVersion: v1
metadata: {name: infra}
---
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: wp, namespace: infra}
spec:
  gatewayClassName: agent-waypoint
  listeners:
  - name: mesh
    port: 15008
    protocol: HBONE
    allowedRoutes: {namespaces: {from: Selector, selector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}}
---
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: own, namespace: tools}
spec: {gatewayClassName: agent-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: envoy, namespace: tools}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
kind: Service
apiVersion: v1
metadata: {name: plain, namespace: tools}
---
kind: Service
apiVersion: v1
metadata: {name: none, namespace: tools, labels: {istio.io/use-waypoint: none}}
---
kind: Service
apiVersion: v1
metadata: {name: mine, namespace: tools, labels: {istio.io/use-waypoint: own}}
---
kind: Service
apiVersion: v1
metadata: {name: enemy, namespace: tools, labels: {istio.io/use-waypoint: envoy}}
---
kind: Service
apiVersion: v1
metadata: {name: canary, namespace: tools, labels: {istio.io/use-waypoint-canary: own}}
---
kind: Service
apiVersion: v1
metadata: {name: shut-out, namespace: other}
---
kind: ServiceEntry
apiVersion: networking.istio.io/v1
metadata: {name: outside, namespace: tools}
spec: {hosts: [example.com]}
";

fn names(gateways: &BTreeSet<GatewayKey>) -> Vec<String> {
    gateways.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect()
}

#[test]
fn labels_say_who_is_in_front_of_what() {
    let fronting = Scopes::of(&view(MESH)).fronting;
    let rows: [(Object, &str, &str, &[&str]); 8] = [
        (Object::Service, "tools", "plain", &["infra/wp"]),
        (Object::Service, "tools", "none", &[]),
        (Object::Service, "tools", "mine", &["tools/own"]),
        // Another's class: not ours to feed.
        (Object::Service, "tools", "enemy", &[]),
        (Object::Service, "tools", "canary", &["infra/wp", "tools/own"]),
        // The listener does not let the namespace in.
        (Object::Service, "other", "shut-out", &[]),
        (Object::ServiceEntry, "tools", "outside", &["infra/wp"]),
        (Object::Service, "tools", "outside", &[]),
    ];
    for (kind, namespace, name, expected) in rows {
        assert_eq!(names(fronting.of_object(kind, namespace, name)), expected, "{namespace}/{name}");
    }
}

/// A document after the mesh, and the Gateways that get it.
fn gets(document: &str) -> Vec<String> {
    let scopes = Scopes::of(&view(&format!("{MESH}\n---\n{document}")));
    let found: Vec<_> = scopes.documents.iter().filter(|((.., name), _)| name == "it").collect();
    found.first().map(|(_, gateways)| names(gateways)).unwrap_or_default()
}

fn policy(namespace: &str, targets: &str) -> String {
    format!(
        "apiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: it, namespace: {namespace}}}\nspec: {{targetRefs: {targets}}}"
    )
}

#[test]
fn a_policy_goes_to_the_waypoints_of_what_it_selects() {
    let rows: [(&str, &str, &[&str]); 10] = [
        ("tools", "[{kind: Service, name: plain}]", &["infra/wp"]),
        ("tools", "[{kind: Service, name: mine}]", &["tools/own"]),
        ("tools", "[{kind: Service, name: mine}, {kind: Service, name: plain}]", &["infra/wp", "tools/own"]),
        ("tools", "[{kind: Service, name: none}]", &[]),
        ("tools", "[{kind: ServiceEntry, name: outside}]", &["infra/wp"]),
        ("tools", "[{kind: Gateway, name: own}]", &["tools/own"]),
        ("infra", "[{kind: Gateway, name: wp}]", &["infra/wp"]),
        // Another namespace's Gateway is not its to rule.
        ("tools", "[{kind: Gateway, name: wp}]", &[]),
        ("tools", "[{kind: Namespace, name: tools}]", &["infra/wp", "tools/own"]),
        // What it selects cannot be told: whoever serves the namespace closes it.
        ("tools", "[{kind: Srevice, name: plain}]", &["infra/wp", "tools/own"]),
    ];
    for (namespace, targets, expected) in rows {
        assert_eq!(gets(&policy(namespace, targets)), expected, "{targets}");
    }
}

#[test]
fn istios_policies_go_by_their_targets_and_selectors_go_nowhere() {
    let document = |namespace: &str, spec: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: it, namespace: {namespace}}}\nspec: {spec}"
        )
    };
    let class = "{targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: agent-waypoint}]}";
    let rows: [(&str, &str, &[&str]); 6] = [
        ("tools", "{targetRefs: [{kind: Service, name: plain}]}", &["infra/wp"]),
        ("tools", "{targetRef: {kind: Service, name: mine}}", &["tools/own"]),
        ("tools", "{selector: {matchLabels: {app: x}}}", &[]),
        ("tools", "{}", &[]),
        ("istio-system", class, &["infra/wp", "tools/own"]),
        // A tenant has no say over a whole class.
        ("tools", class, &[]),
    ];
    for (namespace, spec, expected) in rows {
        assert_eq!(gets(&document(namespace, spec)), expected, "{spec}");
    }
}

#[test]
fn routes_go_with_their_parents_but_not_another_namespaces() {
    let route = |namespace: &str, parent: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: it, namespace: {namespace}}}\nspec: {{parentRefs: [{parent}]}}"
        )
    };
    let rows: [(&str, &str, &[&str]); 5] = [
        ("tools", "{group: '', kind: Service, name: plain}", &["infra/wp"]),
        ("other", "{group: '', kind: Service, name: plain, namespace: tools}", &[]),
        ("tools", "{name: own}", &["tools/own"]),
        ("tools", "{name: wp, namespace: infra}", &["infra/wp"]),
        ("other", "{name: wp, namespace: infra}", &[]),
    ];
    for (namespace, parent, expected) in rows {
        assert_eq!(gets(&route(namespace, parent)), expected, "{namespace} {parent}");
    }
}

/// Where the mesh has another root namespace, that one's policies for a class are those of the mesh, and no other's.
#[test]
fn the_mesh_says_which_namespace_is_its_own() {
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'rootNamespace: mesh-root'}";
    let policy = |namespace: &str| {
        format!(
            "{config}\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: it, namespace: {namespace}}}\nspec: {{action: DENY, targetRefs: [{{group: gateway.networking.k8s.io, kind: GatewayClass, name: agent-waypoint}}], rules: [{{}}]}}"
        )
    };
    assert_eq!(gets(&policy("mesh-root")), ["infra/wp", "tools/own"]);
    assert_eq!(gets(&policy("istio-system")), [""; 0]);
}

#[test]
fn a_waypoint_is_in_front_of_what_it_is_for() {
    let with = |label: &str, class: &str| {
        let labelled = format!("metadata: {{name: wp, namespace: infra{label}}}");
        let class = format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: agent-waypoint{class}}}\nspec: {{controllerName: agent-waypoint.dev/controller}}"
        );
        let policy = policy("tools", "[{kind: Namespace, name: tools}]");
        let mesh = MESH.replace("metadata: {name: wp, namespace: infra}", &labelled);
        let scopes = Scopes::of(&view(&format!("{mesh}\n---\n{class}\n---\n{policy}")));
        let service = !scopes.fronting.of_object(Object::Service, "tools", "plain").is_empty();
        let entry = !scopes.fronting.of_object(Object::ServiceEntry, "tools", "outside").is_empty();
        assert_eq!(service, entry, "{label}");
        let policies: Vec<String> = scopes.documents.values().flat_map(names).collect();
        (
            service,
            policies.contains(&"infra/wp".to_owned()),
            scopes.fronting.is_in(&("infra".to_owned(), "wp".to_owned()), "tools"),
        )
    };
    let of = |what: &str| format!(", labels: {{istio.io/waypoint-for: {what}}}");
    assert_eq!(with("", ""), (true, true, true));
    assert_eq!(with(&of("service"), ""), (true, true, true));
    assert_eq!(with(&of("all"), ""), (true, true, true));
    assert_eq!(with(&of("workload"), ""), (false, true, true), "the namespace's policies hold for its workloads");
    assert_eq!(with(&of("none"), ""), (false, false, false));
    assert_eq!(with("", &of("workload")), (false, true, true), "the class says so");
    assert_eq!(with(&of("service"), &of("none")), (true, true, true), "the Gateway comes first");
}

#[test]
fn the_label_of_a_pod_or_a_machine_counts_before_that_of_its_namespace() {
    const POD: &str = "
kind: Namespace
apiVersion: v1
metadata: {name: jobs}
---
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: wl, namespace: jobs, labels: {istio.io/waypoint-for: workload}}
spec: {gatewayClassName: agent-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: svc, namespace: jobs}
spec: {gatewayClassName: agent-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
kind: Pod
apiVersion: v1
metadata: {name: one, namespace: jobs, labels: LABELS}
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: it, namespace: jobs}
spec: {targetRefs: [{kind: Namespace, name: jobs}]}
";
    let rows: [(&str, bool); 4] = [
        ("{istio.io/use-waypoint: wl}", true),
        ("{istio.io/use-waypoint: none}", false),
        ("{}", false),
        // Not for workloads.
        ("{istio.io/use-waypoint: svc}", false),
    ];
    let machine =
        POD.replace("kind: Pod\napiVersion: v1\n", "kind: WorkloadEntry\napiVersion: networking.istio.io/v1\n");
    assert_ne!(machine, POD);
    for ((labels, expected), yaml) in rows.into_iter().flat_map(|row| [(row, POD), (row, &machine)]) {
        let view = view(&yaml.replace("LABELS", labels));
        let wl = ("jobs".to_owned(), "wl".to_owned());
        assert_eq!(workloads(&view).get("jobs").is_some_and(|all| all.contains(&wl)), expected, "{labels}");
        assert_eq!(Scopes::of(&view).fronting.is_in(&wl, "jobs"), expected, "{labels}");
    }
}
