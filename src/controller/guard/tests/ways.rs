//! Ways round, judged by what ztunnel would be sent.

use super::meshes::*;
use crate::controller::guard::*;

const OTHER: &str = "cluster.local/ns/waypoints/sa/other";
const PEER: &str = "cluster.local/ns/agents/sa/researcher";

#[test]
fn the_waypoint_alone_reaches_the_port() {
    let guarded = carried_out(&simple());
    assert!(reaches(&guarded, Some(WAYPOINT), "repo-1", 8080));
    for way_round in
        [None, Some(PEER), Some("cluster.local/ns/tools/sa/waypoint"), Some("evil/ns/waypoints/sa/waypoint")]
    {
        assert!(!reaches(&guarded, way_round, "repo-1", 8080), "{way_round:?}");
    }
    // So that the test can fail: without the guard each gets there.
    let open = Mesh { sent: Some(sent(&guarded, &[])), ..guarded };
    assert!(reaches(&open, None, "repo-1", 8080) && reaches(&open, Some(PEER), "repo-1", 8080));
}

#[test]
fn a_sibling_port_is_open_with_ports_and_closed_with_workload() {
    let mut mesh = simple();
    let ports = carried_out(&mesh);
    assert!(reaches(&ports, Some(PEER), "repo-1", 9090));
    mesh.services[0].scope = GuardScope::Workload;
    let whole = carried_out(&mesh);
    assert!(!reaches(&whole, Some(PEER), "repo-1", 9090) && !reaches(&whole, None, "repo-1", 1));
    assert!(reaches(&whole, Some(WAYPOINT), "repo-1", 8080));
}

/// Two Services of different selectors share a pod and a port, each with a waypoint of its own.
fn overlapping() -> Mesh {
    let mut broad = service("broad", &[("app", "repo")], TargetPort::Number(8080));
    let narrow = service("narrow", &[("app", "repo"), ("tier", "b")], TargetPort::Number(8080));
    broad.waypoints = vec![Name::new("waypoints", "other")];
    let pods = vec![
        pod("only-broad", &[("app", "repo")], &[]),
        pod("both", &[("app", "repo"), ("tier", "b")], &[]),
        pod("neither", &[("app", "x")], &[]),
    ];
    let mut mesh = mesh(vec![broad, narrow], pods);
    mesh.waypoints.insert(Name::new("waypoints", "other"), waypoint(true, &["other"]));
    mesh
}

#[test]
fn overlapping_selectors_with_two_waypoints_keep_both_working() {
    let guarded = carried_out(&overlapping());
    for who in [WAYPOINT, OTHER] {
        assert!(reaches(&guarded, Some(who), "both", 8080), "{who}");
    }
    assert!(reaches(&guarded, Some(OTHER), "only-broad", 8080));
    for pod in ["both", "only-broad"] {
        assert!(!reaches(&guarded, Some(PEER), pod, 8080) && !reaches(&guarded, None, pod, 8080));
    }
    assert!(reaches(&guarded, Some(PEER), "neither", 8080));
    let plan = plan(&guarded);
    assert!(plan.subjects.iter().all(|subject| subject.guarded.status == Status::True), "{plan:#?}");
    assert!(plan.subjects.iter().all(|subject| subject.reachable.status == Status::True), "{plan:#?}");
}

#[test]
fn guards_that_do_not_know_of_each_other_would_cut_both_off() {
    // What the union is for: each planned alone.
    let mesh = overlapping();
    let alone = |keep: usize| {
        let mut mesh = mesh.clone();
        mesh.services = vec![mesh.services[keep].clone()];
        plan(&mesh).apply
    };
    let both = Mesh { sent: Some(sent(&mesh, &[alone(0), alone(1)].concat())), ..mesh.clone() };
    assert!(!reaches(&both, Some(WAYPOINT), "both", 8080) && !reaches(&both, Some(OTHER), "both", 8080));
    // And that is what `Reachable` says of it.
    let told = plan(&both);
    assert!(told.subjects.iter().any(|subject| subject.reachable.reason == "RefusedAtPod"), "{told:#?}");
}

#[test]
fn a_named_port_that_changes_its_number_is_followed() {
    let selector = &[("app", "repo")];
    let mut mesh = mesh(
        vec![service("repo", selector, TargetPort::Named("http".into()))],
        vec![pod("old", selector, &[("http", 8080)])],
    );
    let before = carried_out(&mesh);
    assert!(!reaches(&before, Some(PEER), "old", 8080));
    mesh.pods.push(pod("new", selector, &[("http", 9090)]));
    // It serves before its guard: that is said.
    let pods = Mesh { found: before.found.clone(), sent: Some(sent(&mesh, &plan(&before).apply)), ..mesh.clone() };
    let pending = plan(&pods);
    let gap = pending.subjects[0].gaps.iter().find(|gap| &*gap.endpoint == "new" && gap.reason == Reason::Pending);
    assert_eq!(gap.unwrap().port, Some(9090));
    let after = carried_out(&pods);
    assert!(!reaches(&after, Some(PEER), "new", 9090) && reaches(&after, Some(WAYPOINT), "new", 9090));
}
