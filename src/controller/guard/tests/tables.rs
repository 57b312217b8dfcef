use std::sync::Arc;

use serde_json::json;

use super::meshes::*;
use crate::controller::fixture::view;
use crate::controller::guard::*;
use crate::id::TrustDomain;

fn subject<'a>(plan: &'a Plan, name: &str) -> &'a Subject {
    plan.subjects.iter().find(|subject| &*subject.service.name == name).unwrap()
}

#[test]
fn the_object_is_what_ztunnel_can_enforce() {
    let plan = plan(&simple());
    let object = plan.apply[0].object();
    assert_eq!(
        object["spec"],
        json!({
            "selector": {"matchLabels": {"app": "repo"}},
            "action": "DENY",
            "rules": [{"to": [{"operation": {"ports": ["8080"]}}], "from": [{"source": {"notPrincipals": [WAYPOINT]}}]}],
        })
    );
    assert_eq!(object["metadata"]["labels"], json!({MANAGED_BY: MANAGER}));
    assert_eq!(object["metadata"]["annotations"], json!({SERVICES: "repo"}));
    assert!(!object.to_string().contains("spiffe://"));
}

#[test]
fn the_name_goes_by_the_selector_alone() {
    let name = |pairs: &[(&str, &str)]| GuardPolicy::name_for("tools", &labels(pairs)).name;
    assert_eq!(name(&[("a", "b"), ("c", "d")]), name(&[("c", "d"), ("a", "b")]));
    assert_ne!(name(&[("a", "b"), ("c", "d")]), name(&[("a", "bcd")]));
    assert_ne!(name(&[("ab", "c")]), name(&[("a", "bc")]));
    // Written in a cluster: it must be the same tomorrow.
    assert_eq!(&*name(&[("app", "repo")]), "agent-waypoint-guard-2db27b3d3b");
}

#[test]
fn it_is_written_once_bound_and_ready_and_stays() {
    let mut mesh = simple();
    mesh.services[0].bound = false;
    let waiting = plan(&mesh);
    assert!(waiting.apply.is_empty() && waiting.withheld.len() == 1);
    assert!(matches!(subject(&waiting, "repo").stage, Stage::Waiting(why) if why.contains("bound")));
    assert_eq!(subject(&waiting, "repo").guarded.reason, "Pending");

    let gateway = Name::new("waypoints", "waypoint");
    mesh.services[0].bound = true;
    mesh.waypoints.get_mut(&gateway).unwrap().was_ready = false;
    assert!(matches!(subject(&plan(&mesh), "repo").stage, Stage::Waiting(why) if why.contains("ready")));

    // Once it stands, neither a waypoint that is away nor a Gateway that is gone takes it down.
    mesh.found = found(&plan(&simple()).apply);
    mesh.services[0].bound = false;
    assert_eq!(plan(&mesh).apply, plan(&simple()).apply);
    mesh.waypoints.get_mut(&gateway).unwrap().accounts.clear();
    assert_eq!(plan(&mesh).apply, plan(&simple()).apply);
    mesh.waypoints.clear();
    assert_eq!(plan(&mesh).apply, plan(&simple()).apply);

    // Only the Service can leave.
    for leave in [
        |mesh: &mut Mesh| mesh.services[0].waypoints.clear(),
        |mesh: &mut Mesh| mesh.services[0].mode = Mode::Report,
        |mesh: &mut Mesh| mesh.services.clear(),
        |mesh: &mut Mesh| mesh.off = true,
    ] {
        let mut mesh = Mesh { found: mesh.found.clone(), ..simple() };
        leave(&mut mesh);
        let plan = plan(&mesh);
        assert!(plan.apply.is_empty());
        assert_eq!(plan.remove, [mesh.found[0].name.clone()]);
    }
}

#[test]
fn a_guard_follows_its_service_to_another_selector_while_the_waypoint_is_away() {
    let both = &[("app", "repo"), ("track", "stable")];
    let away: [fn(&mut Mesh); 2] = [
        |mesh| mesh.waypoints.clear(),
        |mesh| {
            mesh.services[0].bound = false;
            mesh.waypoints.values_mut().for_each(|waypoint| waypoint.was_ready = false);
        },
    ];
    for away in away {
        let mut mesh = carried_out(&simple());
        let before = mesh.found[0].name.clone();
        away(&mut mesh);
        (mesh.services[0].selector, mesh.pods[0].labels) = (labels(both), labels(both));
        let plan = plan(&mesh);
        assert_eq!(plan.apply.len(), 1, "{plan:#?}");
        assert_eq!(plan.apply[0].selector, labels(both));
        assert_eq!(plan.apply[0].rules, [GuardRule { port: Some(8080), exempt: principals(&[WAYPOINT]) }]);
        assert_eq!(plan.remove, [before]);
    }
}

#[test]
fn a_service_of_another_name_takes_over_the_guard_of_its_pods() {
    let mut mesh = carried_out(&simple());
    let guard = mesh.found[0].name.clone();
    mesh.services[0].name = Name::new("tools", "renamed");
    mesh.services[0].bound = false;
    // istiod takes a moment to bind it: until then what stands stays, and nothing is added to it.
    let unbound = plan(&mesh);
    assert!(unbound.apply.is_empty() && unbound.remove.is_empty(), "{unbound:#?}");
    assert!(matches!(subject(&unbound, "renamed").stage, Stage::Waiting(_)));
    mesh.services[0].bound = true;
    assert_eq!(plan(&mesh).apply.iter().map(|policy| &policy.name).collect::<Vec<_>>(), [&guard]);
    // One whose waypoint was never there, or that is to be reported on, keeps none.
    let leaves: [fn(&mut Mesh); 2] = [
        |mesh| mesh.waypoints.values_mut().for_each(|waypoint| waypoint.was_ready = false),
        |mesh| mesh.services[0].mode = Mode::Report,
    ];
    for leave in leaves {
        let mut mesh = mesh.clone();
        mesh.services[0].bound = false;
        leave(&mut mesh);
        assert_eq!(plan(&mesh).remove.iter().collect::<Vec<_>>(), [&guard]);
    }
}

fn read_pod(metadata: &str, spec: &str) -> Pod {
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: repo-1, namespace: tools, {metadata}}}\nspec: {spec}\nstatus: {{podIP: 10.1.0.7}}"
    );
    let mesh = read(&view(&pod), "system", &TrustDomain::parse("cluster.local").unwrap(), None);
    mesh.pods.into_iter().next().unwrap()
}

#[test]
fn a_pod_is_captured_where_all_that_comes_in_passes_its_ztunnel() {
    let rows = [
        ("annotations: {ambient.istio.io/redirection: enabled}", Capture::Captured),
        ("annotations: {ambient.istio.io/redirection: disabled}", Capture::Uncaptured),
        ("labels: {networking.istio.io/tunnel: http}", Capture::Uncaptured),
        (
            "annotations: {ambient.istio.io/redirection: enabled, ambient.istio.io/bypass-inbound-capture: 'true'}",
            Capture::Uncaptured,
        ),
        (
            "annotations: {ambient.istio.io/redirection: enabled, ambient.istio.io/bypass-inbound-capture: '1'}",
            Capture::Uncaptured,
        ),
        (
            "annotations: {ambient.istio.io/redirection: enabled, ambient.istio.io/bypass-inbound-capture: 'false'}",
            Capture::Captured,
        ),
    ];
    for (metadata, capture) in rows {
        assert_eq!(read_pod(metadata, "{containers: [{name: main}]}").capture, capture, "{metadata}");
    }
}

#[test]
fn a_ports_name_is_looked_for_as_kubernetes_does() {
    let port = |number: u16| format!("ports: [{{name: http, containerPort: {number}}}]");
    let rows = [
        // What only ran before the pod served has the name no more.
        (format!("initContainers: [{{name: a, {}}}], containers: [{{name: m, {}}}]", port(9), port(8)), Some(8)),
        (format!("initContainers: [{{name: a, {}}}], containers: [{{name: m}}]", port(9)), None),
        // A sidecar goes on, and comes after the containers.
        (
            format!("initContainers: [{{name: a, restartPolicy: Always, {}}}], containers: [{{name: m}}]", port(9)),
            Some(9),
        ),
        (
            format!(
                "initContainers: [{{name: a, restartPolicy: Always, {}}}], containers: [{{name: m, {}}}]",
                port(9),
                port(8)
            ),
            Some(8),
        ),
    ];
    for (spec, number) in rows {
        assert_eq!(read_pod("labels: {}", &format!("{{{spec}}}")).named("http"), number, "{spec}");
    }
}

#[test]
fn what_we_did_not_write_is_never_touched() {
    let mut mesh = simple();
    let mut theirs = found(&plan(&mesh).apply);
    theirs[0].ours = false;
    mesh.found = theirs;
    let plan = plan(&mesh);
    assert!(plan.apply.is_empty() && plan.remove.is_empty() && plan.withheld.is_empty());
    assert_eq!(subject(&plan, "repo").guarded.reason, "Conflict");
    assert!(subject(&plan, "repo").guarded.message.contains("is not ours"));
}

#[test]
fn in_the_root_namespace_a_selector_would_select_the_whole_mesh() {
    let mut mesh = simple();
    mesh.root_namespace = "tools".into();
    let plan = plan(&mesh);
    assert!(plan.apply.is_empty());
    assert_eq!(subject(&plan, "repo").stage, Stage::Impossible(Reason::Conflict));
}

#[test]
fn a_foreign_waypoint_is_let_through_and_not_guarded_for() {
    let mut mesh = simple();
    let envoy = Name::new("tools", "envoy");
    mesh.waypoints.insert(envoy.clone(), waypoint(false, &["envoy-a", "envoy-b"]));
    let mut other = service("also", &[("app", "repo")], TargetPort::Number(8080));
    other.waypoints = vec![envoy];
    mesh.services.push(other);
    let shared = plan(&mesh);
    assert_eq!(shared.subjects.len(), 1);
    let both = ["cluster.local/ns/tools/sa/envoy-a", "cluster.local/ns/tools/sa/envoy-b", WAYPOINT];
    assert_eq!(shared.apply[0].rules, [GuardRule { port: Some(8080), exempt: principals(&both) }]);
    // On a port of its own it has nothing to do with ours.
    mesh.services[1].ports[0].target = TargetPort::Number(9090);
    let plan = plan(&mesh);
    assert_eq!(plan.apply[0].rules, [GuardRule { port: Some(8080), exempt: principals(&[WAYPOINT]) }]);
}

#[test]
fn a_canary_is_let_through_too() {
    let mut mesh = simple();
    let canary = Name::new("waypoints", "canary");
    mesh.waypoints.insert(canary.clone(), waypoint(true, &[]));
    mesh.services[0].waypoints.push(canary);
    let both = principals(&["cluster.local/ns/waypoints/sa/canary", WAYPOINT]);
    assert_eq!(plan(&mesh).apply[0].rules[0].exempt, both);
}

#[test]
fn a_gateway_that_nobody_has_seen_is_let_through_nowhere() {
    let mut mesh = simple();
    let mut forged = service("forged", &[("app", "repo")], TargetPort::Number(8080));
    forged.waypoints = vec![Name::new("attacker", "anything")];
    mesh.services.push(forged);
    assert_eq!(plan(&mesh).apply[0].rules[0].exempt, principals(&[WAYPOINT]));
}

#[test]
fn named_ports_are_each_pods_own() {
    let selector = &[("app", "repo")];
    let ports = |mesh: &Mesh| {
        let plan = plan(mesh);
        plan.apply[0].rules.iter().filter_map(|rule| rule.port).collect::<Vec<_>>()
    };
    let mut mesh = mesh(vec![service("repo", selector, TargetPort::Named("http".into()))], Vec::new());
    assert_eq!(ports(&mesh), [0_u16; 0]);
    assert_eq!(plan(&mesh).unguarded()[&Reason::Pending], 1);

    mesh.pods = vec![pod("repo-1", selector, &[("http", 8080)])];
    assert_eq!(ports(&mesh), [8080]);
    mesh.pods.push(pod("repo-2", selector, &[("http", 9090)]));
    assert_eq!(ports(&mesh), [8080, 9090]);

    // With no pod left to ask, what was guarded stays so; a pod that says otherwise is believed.
    mesh.found = found(&plan(&mesh).apply);
    mesh.pods.clear();
    assert_eq!(ports(&mesh), [8080, 9090]);
    mesh.pods = vec![pod("repo-3", selector, &[("http", 7070)])];
    assert_eq!(ports(&mesh), [7070]);
}

#[test]
fn a_named_port_without_a_number_opens_nobody_elses_port() {
    let selector = &[("app", "repo")];
    let mut mesh = simple();
    let mut unnamed = service("unnamed", selector, TargetPort::Named("grpc".into()));
    unnamed.waypoints = vec![Name::new("waypoints", "other")];
    mesh.waypoints.insert(Name::new("waypoints", "other"), waypoint(true, &["other"]));
    mesh.services.push(unnamed);
    assert_eq!(plan(&mesh).apply[0].rules, [GuardRule { port: Some(8080), exempt: principals(&[WAYPOINT]) }]);
}

#[test]
fn services_of_one_selector_share_a_guard() {
    let selector = &[("app", "repo")];
    let mut mesh = simple();
    let mut second = service("admin", selector, TargetPort::Number(9090));
    second.waypoints = vec![Name::new("waypoints", "other")];
    mesh.waypoints.insert(Name::new("waypoints", "other"), waypoint(true, &["other"]));
    mesh.services.push(second);
    let plan = plan(&mesh);
    assert_eq!(plan.apply.len(), 1);
    assert_eq!(plan.apply[0].services, principals(&["admin", "repo"]));
    let rule = |port, who: &str| GuardRule { port: Some(port), exempt: principals(&[who]) };
    assert_eq!(plan.apply[0].rules, [rule(8080, WAYPOINT), rule(9090, "cluster.local/ns/waypoints/sa/other")]);
}

#[test]
fn gaps_have_reasons() {
    let selector = &[("app", "repo")];
    let row = |change: &dyn Fn(&mut Mesh)| {
        let mut mesh = simple();
        change(&mut mesh);
        let mesh = carried_out(&mesh);
        let plan = plan(&mesh);
        let gaps: Vec<_> = plan.subjects.iter().flat_map(|subject| subject.gaps.iter().map(|gap| gap.reason)).collect();
        (gaps, subject(&plan, "repo").guarded.reason)
    };
    assert_eq!(row(&|_| {}), (vec![], "Guarded"));
    assert_eq!(row(&|mesh| mesh.pods[0].capture = Capture::Uncaptured), (vec![Reason::UncapturedPod], "UncapturedPod"));
    assert_eq!(row(&|mesh| mesh.pods[0].capture = Capture::HostNetwork), (vec![Reason::HostNetwork], "HostNetwork"));
    assert_eq!(row(&|mesh| mesh.services[0].selector.clear()), (vec![Reason::NoSelector], "NoSelector"));
    assert_eq!(row(&|mesh| mesh.services[0].kind = ServiceKind::ExternalName), (vec![Reason::External], "External"));
    assert_eq!(row(&|mesh| mesh.services[0].mode = Mode::Report), (vec![Reason::Report], "Report"));
    assert_eq!(row(&|mesh| mesh.services[0].bound = false), (vec![Reason::Pending], "Pending"));
    let sibling = |mesh: &mut Mesh| mesh.pods[0].ports.push(ContainerPort { name: "metrics".into(), number: 9090 });
    assert_eq!(row(&sibling), (vec![Reason::SiblingPort], "SiblingPort"));
    let closed = |mesh: &mut Mesh| {
        sibling(mesh);
        mesh.services[0].scope = GuardScope::Workload;
    };
    assert_eq!(row(&closed), (vec![], "Guarded"));
    let by_service = |mesh: &mut Mesh| {
        let mut other = service("metrics", selector, TargetPort::Number(9090));
        other.waypoints.clear();
        mesh.services.push(other);
    };
    assert_eq!(row(&by_service), (vec![Reason::SiblingPort], "SiblingPort"));

    let mut external = simple();
    external.externals = vec![External { name: Name::new("tools", "api"), endpoints: 3 }];
    assert_eq!(plan(&external).unguarded()[&Reason::External], 3);
}

#[test]
fn a_guard_is_believed_only_where_ztunnel_is_sent_it() {
    let good = carried_out(&simple());
    let reason = |change: &dyn Fn(&mut Sent)| {
        let mut sent = Sent::clone(good.sent.as_ref().unwrap());
        change(&mut sent);
        let plan = plan(&Mesh { sent: Some(Arc::new(sent)), ..good.clone() });
        let subject = subject(&plan, "repo");
        (subject.guarded.status, subject.guarded.reason)
    };
    assert_eq!(reason(&|_| {}), (Status::True, "Guarded"));
    assert_eq!(reason(&|sent| sent.authorizations.clear()), (Status::False, "Pending"));
    let policies = |sent: &mut Sent, change: &dyn Fn(&mut crate::mesh::l4::Authorization)| {
        sent.authorizations.values_mut().map(Arc::make_mut).for_each(change);
    };
    assert_eq!(reason(&|sent| policies(sent, &|one| one.dry_run = true)), (Status::False, "Conflict"));
    assert_eq!(reason(&|sent| policies(sent, &|one| one.groups.clear())), (Status::False, "Pending"));
    let allow = |one: &mut crate::mesh::l4::Authorization| one.action = crate::mesh::l4::Action::Allow;
    assert_eq!(reason(&|sent| policies(sent, &allow)), (Status::False, "Pending"));
    let unlisted = |sent: &mut Sent| sent.workloads.values_mut().for_each(|one| Arc::make_mut(one).listed.clear());
    assert_eq!(reason(&unlisted), (Status::False, "Pending"));
    assert_eq!(reason(&|sent| sent.workloads.clear()), (Status::False, "Pending"));
    // Someone whom the plan does not name, as after a waypoint left the Service.
    let widened = |one: &mut crate::mesh::l4::Authorization| {
        one.groups[0].rules[1].matches[0].not_principals.push(crate::mesh::l4::Text::Exact("td/ns/a/sa/b".into()));
    };
    assert_eq!(reason(&|sent| policies(sent, &widened)), (Status::False, "Pending"));

    let unseen = plan(&Mesh { sent: None, ..good.clone() });
    assert_eq!(subject(&unseen, "repo").guarded.status, Status::Unknown);
    assert_eq!(subject(&unseen, "repo").reachable.status, Status::Unknown);
}

#[test]
fn a_policy_that_refuses_the_waypoint_at_the_pod_is_named() {
    let reachable = |policy: serde_json::Value| {
        let good = carried_out(&simple());
        let mut sent = Sent::clone(good.sent.as_ref().unwrap());
        let policy: crate::mesh::l4::Authorization = serde_json::from_value(policy).unwrap();
        sent.authorizations.insert(policy.key().into(), Arc::new(policy));
        let plan = plan(&Mesh { sent: Some(Arc::new(sent)), ..good });
        let condition = &subject(&plan, "repo").reachable;
        (condition.status, condition.message.clone())
    };
    let clients =
        json!([{"rules": [{"matches": [{"principals": [{"exact": "cluster.local/ns/agents/sa/researcher"}]}]}]}]);
    let allow =
        json!({"name": "clients", "namespace": "tools", "scope": "NAMESPACE", "action": "ALLOW", "groups": clients});
    let (status, message) = reachable(allow);
    assert_eq!(status, Status::False);
    assert!(message.contains("tools/clients") && message.contains(WAYPOINT), "{message}");

    let namespaces = json!([{"rules": [{"matches": [{"namespaces": [{"exact": "waypoints"}]}]}]}]);
    let elsewhere =
        json!({"name": "a", "namespace": "other", "scope": "NAMESPACE", "action": "DENY", "groups": namespaces});
    assert_eq!(reachable(elsewhere).0, Status::True);
    let allowed =
        json!({"name": "a", "namespace": "tools", "scope": "NAMESPACE", "action": "ALLOW", "groups": namespaces});
    assert_eq!(reachable(allowed).0, Status::True);
    let address = json!([{"rules": [{"matches": [{"sourceIps": [{"address": "CgAAAQ==", "length": 32}]}]}]}]);
    let denied = json!({"name": "a", "namespace": "istio-system", "action": "DENY", "groups": address});
    assert_eq!(reachable(denied).0, Status::False);
}

#[test]
fn who_is_cut_off_is_listed() {
    let selector = &[("app", "repo")];
    let mut mesh = simple();
    assert_eq!(subject(&plan(&mesh), "repo").cut_off, []);
    mesh.services[0].ingress_uses_waypoint = false;
    mesh.services[0].kind = ServiceKind::Published;
    mesh.ingresses = vec![
        Ingress { name: Name::new("ingress", "here"), services: Some([Name::new("tools", "repo")].into()) },
        Ingress { name: Name::new("ingress", "elsewhere"), services: Some([Name::new("tools", "x")].into()) },
        Ingress { name: Name::new("ingress", "unknown"), services: None },
    ];
    for name in ["legacy-1", "legacy-2"] {
        mesh.pods.push(Pod { namespace: "old".into(), sidecar: true, ..pod(name, &[], &[]) });
    }
    mesh.pods[0].scraped = Some(8080);
    mesh.pods.push(Pod { scraped: Some(9090), ..pod("repo-2", selector, &[]) });
    let mut plain = service("plain", selector, TargetPort::Number(8080));
    plain.waypoints.clear();
    let mut beside = service("beside", selector, TargetPort::Number(9090));
    beside.waypoints.clear();
    let mut peers = service("peers", selector, TargetPort::Number(8080));
    (peers.waypoints, peers.kind) = (Vec::new(), ServiceKind::Headless);
    mesh.services.extend([plain, beside, peers]);

    let told = |mesh: &Mesh| {
        let plan = plan(mesh);
        subject(&plan, "repo").cut_off.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let expected = [
        "gateway ingress/here",
        "gateway ingress/unknown",
        "sidecars in namespace old (2)",
        "clients of pod addresses, by headless Service tools/peers, port 8080",
        "traffic through nodes, by Service tools/repo",
        "scrapers of pod repo-1, port 8080",
        "clients of Service tools/plain, port 8080",
    ];
    assert_eq!(told(&mesh), expected);
    // It is the same list before a guard is written, and for Report.
    mesh.services[0].mode = Mode::Report;
    assert_eq!(told(&mesh), expected);
    mesh.services[0].scope = GuardScope::Workload;
    let all = told(&mesh).join("\n");
    assert!(all.contains("tools/beside, port 9090") && all.contains("pod repo-2, port 9090"), "{all}");
}

#[test]
fn a_waypoint_of_the_pods_own_addresses_is_let_in_and_what_has_no_guard_is_said() {
    let direct = Name::new("waypoints", "direct");
    let mut mesh = simple();
    mesh.waypoints.insert(direct.clone(), waypoint(true, &["direct"]));
    mesh.pods[0].waypoint = Some(direct.clone());
    // A pod of no Service that uses a waypoint: calls to its address go through, and others go past.
    let alone = Pod { waypoint: Some(direct.clone()), ..pod("alone", &[("app", "alone")], &[]) };
    mesh.pods.push(alone);
    let plan = plan(&mesh);
    let who = "cluster.local/ns/waypoints/sa/direct";
    assert_eq!(plan.apply[0].rules[0].exempt, principals(&[WAYPOINT, who]));
    assert_eq!(plan.addressed, [(direct.clone(), vec![Name::new("tools", "alone")])].into());
    assert_eq!(plan.unguarded()[&Reason::Addressed], 1);
    let mesh = carried_out(&mesh);
    assert!(reaches(&mesh, Some(who), "repo-1", 8080) && !reaches(&mesh, None, "repo-1", 8080));
    // One that is not ours is let in likewise, and its pods are not ours to count.
    let mut theirs = mesh;
    theirs.waypoints.insert(direct, waypoint(false, &["direct"]));
    assert!(super::super::plan(&theirs).addressed.is_empty());
}

#[test]
fn pods_of_other_clusters_are_said_with_what_to_do() {
    let mesh = carried_out(&simple());
    let mut sent = Sent::clone(mesh.sent.as_ref().unwrap());
    sent.far.insert(Name::new("tools", "repo"), vec!["there//Pod/tools/repo-9".into()]);
    let mesh = Mesh { sent: Some(sent.into()), ..mesh };
    let plan = plan(&mesh);
    let guarded = &plan.subjects[0].guarded;
    assert_eq!((guarded.status, guarded.reason), (Status::False, "OtherCluster"));
    assert!(
        guarded.message.contains("there//Pod/tools/repo-9") && guarded.message.contains("guard: Report"),
        "{guarded:?}"
    );
    assert_eq!(plan.unguarded()[&Reason::OtherCluster], 1);
}

#[test]
fn machines_and_addresses_written_by_hand_beside_guarded_pods_are_said() {
    let rows = [
        ("here/networking.istio.io/WorkloadEntry/tools/vm", "UncapturedPod"),
        ("here/discovery.k8s.io/EndpointSlice/tools/by-hand/10.0.0.1", "NoSelector"),
    ];
    for (uid, reason) in rows {
        let mesh = carried_out(&simple());
        assert_eq!(plan(&mesh).subjects[0].guarded.reason, "Guarded");
        let mut sent = Sent::clone(mesh.sent.as_ref().unwrap());
        sent.far.insert(Name::new("tools", "repo"), vec![uid.into()]);
        let mesh = Mesh { sent: Some(sent.into()), ..mesh };
        let guarded = &plan(&mesh).subjects[0].guarded;
        assert_eq!((guarded.status, guarded.reason), (Status::False, reason));
        assert!(guarded.message.contains(uid), "{guarded:?}");
    }
}
