//! Whatever the mesh: nobody but a fronting waypoint reaches a guarded port, and every fronting waypoint does.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::meshes::*;
use crate::controller::guard::*;

const PORTS: [u16; 3] = [8080, 8081, 8082];
const WAYPOINTS: [&str; 3] = ["waypoint", "other", "envoy"];

fn target() -> impl Strategy<Value = TargetPort> {
    prop_oneof![
        prop::sample::select(&PORTS[..]).prop_map(TargetPort::Number),
        prop::sample::select(&["http", "grpc"][..]).prop_map(|name| TargetPort::Named(name.into())),
    ]
}

fn some_labels(least: usize) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let pair = (prop::sample::select(&["app", "tier"][..]), prop::sample::select(&["a", "b"][..]));
    prop::collection::btree_map(pair.0, pair.1, least..=2).prop_map(|map| map.into_iter().collect())
}

prop_compose! {
    fn some_service()(
        selector in some_labels(0),
        targets in prop::collection::vec(target(), 1..3),
        waypoints in prop::sample::subsequence(&WAYPOINTS[..], 0..=2),
        report in prop::bool::weighted(0.2),
        unbound in prop::bool::weighted(0.2),
        whole in prop::bool::weighted(0.3),
    ) -> Service {
        let mut one = service("", &selector, TargetPort::Number(0));
        one.ports = targets.into_iter().map(|target| ServicePort { port: 80, target }).collect();
        one.waypoints = waypoints.into_iter().map(|name| Name::new("waypoints", name)).collect();
        one.mode = if report { Mode::Report } else { Mode::Enforce };
        one.scope = if whole { GuardScope::Workload } else { GuardScope::Ports };
        one.bound = !unbound;
        one
    }
}

prop_compose! {
    fn some_pod()(
        own in some_labels(0),
        http in prop::sample::select(&PORTS[..]),
        grpc in prop::option::of(prop::sample::select(&PORTS[..])),
        uncaptured in prop::bool::weighted(0.1),
    ) -> Pod {
        let mut ports = vec![("http", http)];
        ports.extend(grpc.map(|port| ("grpc", port)));
        let mut one = pod("", &own, &ports);
        if uncaptured {
            one.capture = Capture::Uncaptured;
        }
        one
    }
}

prop_compose! {
    fn some_mesh()(
        services in prop::collection::vec(some_service(), 1..5),
        pods in prop::collection::vec(some_pod(), 0..5),
        several_accounts in any::<bool>(),
    ) -> Mesh {
        let mut mesh = mesh(services, pods);
        for (at, service) in mesh.services.iter_mut().enumerate() {
            service.name = Name::new("tools", &format!("service-{at}"));
        }
        for (at, pod) in mesh.pods.iter_mut().enumerate() {
            pod.name = format!("pod-{at}").into();
        }
        let other: &[&str] = if several_accounts { &["other", "next"] } else { &["other"] };
        mesh.waypoints.insert(Name::new("waypoints", "other"), waypoint(true, other));
        mesh.waypoints.insert(Name::new("waypoints", "envoy"), waypoint(false, &[]));
        mesh
    }
}

fn selects(service: &Service, pod: &Pod) -> bool {
    !service.selector.is_empty() && service.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

/// The numbers of a Service's ports on a pod, worked out without the planner.
fn numbers(service: &Service, pod: &Pod) -> BTreeSet<u16> {
    let number = |port: &ServicePort| match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Named(name) => pod.ports.iter().find(|port| port.name == *name).map(|port| port.number),
    };
    if selects(service, pod) { service.ports.iter().filter_map(number).collect() } else { BTreeSet::new() }
}

fn principals_of(mesh: &Mesh, service: &Service) -> BTreeSet<String> {
    let of = |name: &Name| {
        let accounts = &mesh.waypoints[name].accounts;
        let own = BTreeSet::from([Arc::clone(&name.name)]);
        let accounts = if accounts.is_empty() { &own } else { accounts };
        accounts.iter().map(|account| format!("cluster.local/ns/waypoints/sa/{account}")).collect::<Vec<_>>()
    };
    service.waypoints.iter().flat_map(of).collect()
}

/// Identities that might try; among them all that any waypoint has.
fn everyone(mesh: &Mesh) -> Vec<Option<String>> {
    let waypoints = mesh.services.iter().flat_map(|service| principals_of(mesh, service));
    let strangers =
        ["cluster.local/ns/agents/sa/a", "cluster.local/ns/tools/sa/waypoint", "td/ns/waypoints/sa/waypoint", "td/x"];
    waypoints.chain(strangers.map(str::to_owned)).map(Some).chain([None]).collect()
}

fn written(plan: &Plan, service: &Service) -> bool {
    plan.subjects.iter().any(|subject| subject.service == service.name && subject.stage == Stage::Written)
}

/// Principals of the waypoints of all Services that have this port on any pod of `service`. A guard is one for a selector,
/// so that a name which is 8080 on one pod and 8081 on the next lets its waypoint in at both numbers on both.
fn fronting_somewhere(mesh: &Mesh, service: &Service, port: u16) -> BTreeSet<String> {
    let shared =
        |other: &&Service| mesh.pods.iter().any(|pod| selects(service, pod) && numbers(other, pod).contains(&port));
    let own = principals_of(mesh, service);
    mesh.services.iter().filter(shared).flat_map(|other| principals_of(mesh, other)).chain(own).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nobody_but_a_fronting_waypoint_and_every_one_of_those(mesh in some_mesh()) {
        let guarded = carried_out(&mesh);
        let plan = plan(&mesh);
        for pod in &mesh.pods {
            for port in PORTS {
                let here: Vec<&Service> =
                    mesh.services.iter().filter(|service| numbers(service, pod).contains(&port)).collect();
                let fronting: BTreeSet<String> = here.iter().flat_map(|service| principals_of(&mesh, service)).collect();
                for who in &fronting {
                    prop_assert!(reaches(&guarded, Some(who), &pod.name, port), "{who} to {}:{port}", pod.name);
                }
                let Some(guard) = here.iter().find(|service| written(&plan, service)) else { continue };
                let may = fronting_somewhere(&mesh, guard, port);
                for who in everyone(&mesh).iter().filter(|who| who.as_ref().is_none_or(|who| !may.contains(who))) {
                    prop_assert!(!reaches(&guarded, who.as_deref(), &pod.name, port), "{who:?} to {}:{port}", pod.name);
                }
            }
        }
    }

    #[test]
    fn the_scope_workload_leaves_no_port(mesh in some_mesh(), port in 1_u16..) {
        let guarded = carried_out(&mesh);
        let plan = plan(&mesh);
        for service in mesh.services.iter().filter(|one| one.scope == GuardScope::Workload && written(&plan, one)) {
            for pod in mesh.pods.iter().filter(|pod| !numbers(service, pod).is_empty()) {
                for who in [None, Some("cluster.local/ns/agents/sa/a")] {
                    prop_assert!(!reaches(&guarded, who, &pod.name, port), "{who:?} to {}:{port}", pod.name);
                }
            }
        }
    }

    #[test]
    fn what_was_carried_out_is_verified_and_not_planned_anew(mesh in some_mesh()) {
        let guarded = carried_out(&mesh);
        let (first, second) = (plan(&mesh), plan(&guarded));
        prop_assert_eq!(&first.apply, &second.apply);
        prop_assert!(second.remove.is_empty());
        for subject in second.subjects.iter().filter(|subject| subject.stage == Stage::Written) {
            let real = subject.gaps.iter().any(|gap| matches!(gap.reason, Reason::Conflict))
                || subject.gaps.iter().any(|gap| gap.reason == Reason::Pending && gap.detail.is_empty());
            prop_assert!(!real, "{subject:#?}");
            prop_assert!(subject.reachable.status != Status::False, "{subject:#?}");
        }
    }

    #[test]
    fn without_the_guards_there_is_a_gap_for_every_captured_pod(mesh in some_mesh()) {
        let open = Mesh { sent: Some(sent(&mesh, &[])), ..mesh };
        let told = plan(&open);
        for subject in &told.subjects {
            let service = open.services.iter().find(|one| one.name == subject.service).unwrap();
            for pod in open.pods.iter().filter(|pod| !numbers(service, pod).is_empty()) {
                prop_assert!(subject.gaps.iter().any(|gap| gap.endpoint == pod.name), "{subject:#?}");
            }
            prop_assert!(subject.guarded.status == Status::False, "{subject:#?}");
        }
    }
}
