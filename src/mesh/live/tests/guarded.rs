//! Under a guard that is to stand, a pod gets no calls before it does.

use std::sync::Arc;

use super::fixture::{Build, Lab, MCP, MESH_POLICY, change, pod, repo};
use crate::mesh::Hold;
use crate::mesh::l4::{Action, Authorization, Group, Match, Rule, Scope, Text};
use crate::mesh::world::{AppProtocol, Change, PortRow};

const VIP: &str = "10.96.0.7:80";
const GUARD: &str = "tools/guard";

/// The documents as the controller feeds them where the guard is to stand.
fn documents() -> String {
    format!(
        "{}{MESH_POLICY}",
        MCP.replace("{name: repo,", "{annotations: {agent-waypoint.dev/guarded-by: guard}, name: repo,")
    )
}

/// A pod that lists the guard.
fn guarded(name: &str, ip: &str) -> Build {
    pod(name, ip).of("tools/repo").workload(|parts| parts.policies = [GUARD.into()].into())
}

/// The guard of `port`, of which an exempt identity is us.
fn guard(port: u16) -> Authorization {
    let to = Match { destination_ports: vec![port], ..Match::default() };
    let us = Text::Exact("cluster.local/ns/mesh/sa/waypoint".into());
    let from = Match { not_principals: vec![us], ..Match::default() };
    let rules = [to, from].map(|one| Rule { matches: vec![one] }).to_vec();
    Authorization {
        name: "guard".into(),
        namespace: "tools".into(),
        scope: Scope::WorkloadSelector,
        action: Action::Deny,
        groups: vec![Group { rules }],
        dry_run: false,
    }
}

fn sent(key: &str, policy: Option<Authorization>) -> Change {
    Change { policies: [(Arc::from(key), policy.map(Arc::new))].into(), ..Change::default() }
}

fn rows(rows: &[Build]) -> Change {
    change(rows.iter().map(Build::row).collect())
}

/// Which of the pods get calls, and why others do not.
fn calls(lab: &Lab, at: &str) -> (Vec<String>, Vec<(String, Hold)>) {
    let target = lab.find(at).unwrap();
    let called = target.endpoints.iter().map(|one| one.id.to_string()).collect();
    (called, target.held.iter().map(|one| (one.id.to_string(), one.why)).collect())
}

fn is_held(lab: &Lab, at: &str) -> bool {
    let (called, held) = calls(lab, at);
    assert_eq!(called.len() + held.len(), 1, "{called:?} {held:?}");
    assert!(held.iter().all(|(_, why)| *why == Hold::Unguarded));
    called.is_empty()
}

#[test]
fn only_a_guard_that_ztunnel_is_sent_and_the_pod_lists_counts() {
    let rows_of = |lists: bool| if lists { guarded("1", "10.0.0.1") } else { pod("1", "10.0.0.1").of("tools/repo") };
    let right = || guard(8080);
    let everybody = || {
        let mut guard = right();
        guard.groups[0].rules.remove(0);
        guard
    };
    let some = || {
        let mut guard = right();
        guard.groups[0].rules[1].matches[0].not_principals = vec![Text::Prefix("cluster.local/".into())];
        guard
    };
    let table = [
        ("nothing", false, GUARD, None, true),
        ("not listed", false, GUARD, Some(right()), true),
        ("listed and not sent", true, GUARD, None, true),
        ("listed and sent", true, GUARD, Some(right()), false),
        ("every port", true, GUARD, Some(everybody()), false),
        ("another port", true, GUARD, Some(guard(8081)), true),
        ("anybody of a trust domain", true, GUARD, Some(some()), true),
        ("a dry run", true, GUARD, Some(Authorization { dry_run: true, ..right() }), true),
        ("an ALLOW", true, GUARD, Some(Authorization { action: Action::Allow, ..right() }), true),
        ("another policy", true, "tools/other", Some(right()), true),
        ("another namespace's", true, "others/guard", Some(right()), true),
    ];
    for (what, lists, key, policy, held) in table {
        let mut lab = Lab::new(Some(&documents()));
        lab.changes(vec![rows(&[repo(), rows_of(lists)]), sent(key, policy.clone())]);
        assert_eq!(is_held(&lab, VIP), held, "{what}, policy last");
        let mut lab = Lab::new(Some(&documents()));
        lab.changes(vec![sent(key, policy), rows(&[repo(), rows_of(lists)])]);
        assert_eq!(is_held(&lab, VIP), held, "{what}, pod last");
        if held {
            assert_eq!(lab.find(VIP).unwrap().hold(None), Some(Hold::Unguarded));
            assert_eq!(lab.edition.held()[&Hold::Unguarded], 1);
        }
    }
}

#[test]
fn where_no_guard_is_to_stand_or_can_every_pod_gets_calls() {
    // Report, switched off, or documents from files.
    let mut lab = Lab::new(Some(&format!("{MCP}{MESH_POLICY}")));
    lab.put(&[repo(), pod("1", "10.0.0.1").of("tools/repo")]);
    assert!(!is_held(&lab, VIP));
    // No ztunnel stands before it.
    let mut lab = Lab::new(Some(&documents()));
    lab.put(&[repo(), pod("1", "10.0.0.1").of("tools/repo").plain()]);
    assert!(!is_held(&lab, VIP));
}

#[test]
fn a_pod_that_got_calls_keeps_them_and_a_new_one_waits() {
    let mut lab = Lab::new(Some(&documents()));
    let bare = |name: &str, ip: &str| pod(name, ip).of("tools/repo");
    // The guard goes; another pod comes, and one of the same address and identity is the same.
    lab.changes(vec![
        sent(GUARD, Some(guard(8080))),
        rows(&[repo(), guarded("1", "10.0.0.1")]),
        sent(GUARD, None),
        rows(&[bare("1", "10.0.0.1"), bare("2", "10.0.0.2")]),
    ]);
    let expected = (vec!["10.0.0.1:8080".to_owned()], vec![("10.0.0.2:8080".to_owned(), Hold::Unguarded)]);
    assert_eq!(calls(&lab, VIP), expected);
    lab.changes(vec![rows(&[bare("1", "10.0.0.1").account("other")])]);
    assert!(calls(&lab, VIP).0.is_empty(), "another identity at the address is another pod");
}

#[test]
fn a_pod_of_another_cluster_is_not_guarded_by_what_is_sent_here() {
    // istiod lists its own policies for it; the ztunnel there is told by another istiod.
    let far = |name: &str, ip: &str| {
        guarded(name, ip).workload(|parts| parts.uid = format!("there//Pod/tools/{name}").into())
    };
    let mut lab = Lab::new(Some(&documents()));
    lab.changes(vec![
        sent(GUARD, Some(guard(8080))),
        rows(&[repo(), guarded("1", "10.0.0.1"), far("2", "10.0.0.2"), far("3", "10.0.0.3").plain()]),
    ]);
    let (called, held) = calls(&lab, VIP);
    assert_eq!(called, ["10.0.0.1:8080", "10.0.0.3:8080"], "before what has no ztunnel there is no guard");
    assert_eq!(held, [("10.0.0.2:8080".to_owned(), Hold::OtherCluster)]);
    lab.documents(&format!("{MCP}{MESH_POLICY}"));
    assert_eq!(calls(&lab, VIP).0.len(), 3, "Report");
}

#[test]
fn whoever_gets_the_address_and_account_of_a_known_pod_waits_for_its_own_guard() {
    let known = || {
        let mut lab = Lab::new(Some(&documents()));
        lab.changes(vec![sent(GUARD, Some(guard(8080))), rows(&[repo(), guarded("1", "10.0.0.1")])]);
        assert!(!is_held(&lab, VIP));
        lab
    };
    let bare = || pod("2", "10.0.0.1").of("tools/repo");
    let gone = || (Arc::from("Kubernetes//Pod/tools/1"), None);
    // One goes and the other comes, in one push.
    let mut lab = known();
    let mut both = rows(&[bare()]);
    both.rows.extend([gone()]);
    lab.changes(vec![both]);
    assert!(is_held(&lab, VIP));
    lab.changes(vec![rows(&[guarded("2", "10.0.0.1")])]);
    assert!(!is_held(&lab, VIP), "its own guard is there");
    // It comes before the other goes: whom a call reaches, nobody can say.
    let mut lab = known();
    lab.changes(vec![rows(&[bare()])]);
    assert!(is_held(&lab, VIP));
    lab.changes(vec![Change { rows: [gone()].into(), ..Change::default() }]);
    assert!(is_held(&lab, VIP));
    // One of the same name (a StatefulSet's) is not ready at first.
    let mut lab = known();
    let again = || pod("1", "10.0.0.1").of("tools/repo");
    lab.changes(vec![rows(&[again().workload(|parts| parts.healthy = false)]), rows(&[again()])]);
    assert!(is_held(&lab, VIP));
}

#[test]
fn a_guard_that_is_to_stand_from_now_on_is_waited_for() {
    let mut lab = Lab::new(Some(&format!("{MCP}{MESH_POLICY}")));
    lab.put(&[repo(), guarded("1", "10.0.0.1")]);
    assert!(!is_held(&lab, VIP), "Report");
    lab.documents(&documents());
    assert!(is_held(&lab, VIP), "Enforce");
    lab.change(sent(GUARD, Some(guard(8080))));
    assert!(!is_held(&lab, VIP));
    lab.documents(&format!("{MCP}{MESH_POLICY}"));
    lab.change(sent(GUARD, None));
    assert!(!is_held(&lab, VIP), "Report again");
}

#[test]
fn a_named_port_that_changes_its_number_waits_for_its_guard() {
    const KEY: &str = "tools/repo.tools.svc.cluster.local";
    let named = repo().port(PortRow { port: 80, target: 0, speaks: AppProtocol::Unknown });
    let at = |port: u16| {
        pod("1", "10.0.0.1").behind(KEY, &[(80, port)]).workload(|parts| parts.policies = [GUARD.into()].into())
    };
    let mut lab = Lab::new(Some(&documents()));
    lab.changes(vec![sent(GUARD, Some(guard(8080))), rows(&[named, at(8080)])]);
    assert!(!is_held(&lab, VIP));
    lab.put(&[at(9090)]);
    assert!(is_held(&lab, VIP));
    lab.change(sent(GUARD, Some(guard(9090))));
    assert!(!is_held(&lab, VIP));
}

#[test]
fn who_gets_no_calls_by_the_services_name_gets_none_by_its_own() {
    let own = || guarded("1", "10.0.0.1").waypoint("mesh", "waypoint.mesh.svc.cluster.local");
    let mut lab = Lab::new(Some(&documents()));
    lab.put(&[repo(), own()]);
    assert!(is_held(&lab, "10.0.0.1:8080"));
    lab.change(sent(GUARD, Some(guard(8080))));
    assert!(!is_held(&lab, "10.0.0.1:8080"));
    assert!(!lab.find("10.0.0.1:9999").unwrap().endpoints.is_empty(), "a port that is no Service's");
}

#[test]
fn where_one_guard_replaces_another_the_pods_are_known() {
    let mut lab = Lab::new(Some(&documents()));
    lab.changes(vec![sent(GUARD, Some(guard(8080))), rows(&[repo(), guarded("1", "10.0.0.1")])]);
    lab.documents(&documents().replace("guarded-by: guard", "guarded-by: another"));
    assert!(!is_held(&lab, VIP));
    lab.changes(vec![rows(&[guarded("2", "10.0.0.2")])]);
    assert_eq!(
        calls(&lab, VIP).1,
        [("10.0.0.2:8080".to_owned(), Hold::Unguarded)],
        "a new one waits for the new guard"
    );
}
