//! One change costs one change, and comes out as if everything had been built anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::fixture::{Build, Lab, MCP, MESH_POLICY, change, pod, repo, service};
use crate::mesh::world::{Change, Row};

fn many() -> Lab {
    let mut lab = Lab::new(Some(&format!("{MCP}{MESH_POLICY}")));
    let services = (0..50).map(|n| service(&format!("other/s{n}")).vip(&format!("10.97.0.{n}")).ours());
    lab.put(&services.chain([repo(), pod("1", "10.0.0.1").of("tools/repo")]).collect::<Vec<_>>());
    lab
}

#[test]
fn a_change_makes_new_what_it_touches_and_nothing_else() {
    let mut lab = many();
    let other = lab.find("10.97.0.7:80").unwrap();
    let before = lab.find("10.96.0.7:80").unwrap();
    lab.put(&[pod("2", "10.0.0.2").of("tools/repo")]);
    assert!(lab.targets_changed);
    let after = lab.find("10.96.0.7:80").unwrap();
    assert_eq!((before.endpoints.len(), after.endpoints.len()), (1, 2));
    assert_eq!(before.revision(), after.revision(), "endpoints decide nothing");
    assert!(Arc::ptr_eq(&other, &lab.find("10.97.0.7:80").unwrap()));
    // One who is nobody's concern here makes no target another.
    lab.put(&[pod("3", "10.0.0.3").of("elsewhere/x"), service("elsewhere/x").vip("10.98.0.1")]);
    assert!(!lab.targets_changed);
    // The same again is no change.
    lab.put(&[pod("2", "10.0.0.2").of("tools/repo"), repo()]);
    assert!(!lab.targets_changed);
    assert!(Arc::ptr_eq(&after, &lab.find("10.96.0.7:80").unwrap()));
    lab.drop(&["Kubernetes//Pod/tools/2"]);
    assert!(lab.targets_changed);
    assert_eq!(lab.find("10.96.0.7:80").unwrap().endpoints.len(), 1);
}

#[test]
fn documents_make_new_what_they_decide_for_and_nothing_else() {
    let mut lab = many();
    let text = format!("{MCP}{MESH_POLICY}");
    let (repo, other) = (lab.find("10.96.0.7:80").unwrap(), lab.find("10.97.0.7:80").unwrap());
    lab.documents(&text.replace("allow: [{}]", "allow: [{to: [{tools: [x]}]}]"));
    assert_ne!(repo.revision(), lab.find("10.96.0.7:80").unwrap().revision());
    assert!(Arc::ptr_eq(&other, &lab.find("10.97.0.7:80").unwrap()));
    lab.documents(&text);
    assert_eq!(
        repo.revision(),
        lab.find("10.96.0.7:80").unwrap().revision(),
        "it depends on them and never on history"
    );
}

#[test]
fn addresses_of_the_whole_mesh_are_known_whoever_fronts_them() {
    let mut lab = Lab::new(Some(MCP));
    let known = |lab: &Lab, ip: &str| lab.edition.is_mesh_address(ip.parse().unwrap());
    lab.put(&[service("elsewhere/x").vip("10.98.0.1"), pod("1", "10.0.0.1"), pod("2", "10.0.0.1")]);
    assert!(known(&lab, "10.98.0.1") && known(&lab, "10.0.0.1") && !known(&lab, "10.0.0.2"));
    lab.drop(&["Kubernetes//Pod/tools/1", "elsewhere/x.elsewhere.svc.cluster.local"]);
    assert!(!known(&lab, "10.98.0.1") && known(&lab, "10.0.0.1"), "another still has it");
    lab.drop(&["Kubernetes//Pod/tools/2"]);
    assert!(!known(&lab, "10.0.0.1"));
}

#[test]
fn of_two_that_claim_one_address_the_first_by_name_has_it_whoever_came_first() {
    let mut lab = Lab::new(Some(""));
    lab.put(&[service("tools/b").vip("10.96.0.7").ours()]);
    lab.put(&[service("tools/a").vip("10.96.0.7").ours(), service("tools/c").vip("10.96.0.7").ours()]);
    let who = |lab: &Lab| lab.find("10.96.0.7:80").map(|target| target.key.name.to_string());
    assert_eq!(who(&lab).as_deref(), Some("a"));
    lab.drop(&["tools/a.tools.svc.cluster.local"]);
    assert_eq!(who(&lab).as_deref(), Some("b"));
    lab.put(&[service("tools/b")]);
    assert_eq!(who(&lab).as_deref(), Some("c"), "no longer fronted, no longer first");
}

/// A change among few names, so that they meet: a service or pod, as it is now or gone.
fn step() -> impl Strategy<Value = (bool, u8, u8, u8, bool)> {
    (any::<bool>(), 0..4_u8, 0..6_u8, 0..3_u8, prop::bool::weighted(0.8))
}

fn built((is_service, name, shape, at, there): (bool, u8, u8, u8, bool)) -> (Arc<str>, Option<Row>) {
    let row = if is_service { a_service(name, shape, at) } else { a_pod(name, shape, at) }.row();
    (Arc::clone(row.key()), there.then_some(row))
}

fn a_service(name: u8, shape: u8, at: u8) -> Build {
    // Name 3 is our own Service: ownership by address comes and goes with it.
    let name = if name == 3 {
        "mesh/waypoint".to_owned()
    } else {
        format!("tools/{}", ["repo", "plain", "b"][usize::from(name)])
    };
    let base = service(&name).vip(&format!("10.96.0.{at}"));
    match shape {
        0 => base,
        1 => base.waypoint_ip("10.96.0.0"),
        2 => base.ours().host("shared.example.com"),
        3 => base.waypoint("mesh", "other.mesh.svc.cluster.local").ours(),
        _ => base.ours(),
    }
}

fn a_pod(name: u8, shape: u8, at: u8) -> Build {
    let base = pod(&name.to_string(), &format!("10.0.0.{at}"));
    match shape {
        0 => base.of("tools/repo"),
        1 => base.of("tools/repo").of("tools/plain").ours(),
        2 => base.of("tools/b").account("other"),
        3 => base.behind("tools/shared.example.com", &[(80, 9090)]).plain(),
        4 => base.of("mesh/waypoint"),
        _ => base.ours(),
    }
}

/// Everything that can be seen of an edition.
fn seen(lab: &Lab) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let hosts =
        ["repo.tools", "plain.tools", "b.tools", "waypoint.mesh"].map(|host| format!("{host}.svc.cluster.local:80"));
    let vips = (0..3).map(|at| format!("10.96.0.{at}:80"));
    let pods = (0..3).flat_map(|at| [8080, 9090, 7].map(|port| format!("10.0.0.{at}:{port}")));
    for at in hosts.into_iter().chain(["shared.example.com:80".to_owned()]).chain(vips).chain(pods) {
        if let Some(target) = lab.find(&at) {
            let told = format!(
                "{} {:?} {:?} {:?} {:?} {:?}",
                target.key,
                target.protocol,
                target.closed(),
                target.revision(),
                target.destination,
                target.endpoints
            );
            assert_eq!(lab.edition.get(&target.key).map(|again| again.revision()), Some(target.revision()), "{at}");
            out.insert(at, told);
        }
    }
    for ip in ["10.96.0.0", "10.96.0.1", "10.96.0.2", "10.0.0.0", "10.0.0.1", "10.0.0.2"] {
        out.insert(ip.to_owned(), lab.edition.is_mesh_address(ip.parse().unwrap()).to_string());
    }
    out.insert("all".to_owned(), lab.edition.targets().map(|one| format!("{} ", one.key)).collect());
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_the_order_the_outcome_is_that_of_the_last_state(steps in vec(vec(step(), 1..4), 1..12)) {
        let documents = format!("{MCP}{MESH_POLICY}");
        let mut lab = Lab::new(Some(&documents));
        let mut last = BTreeMap::new();
        let mut changes = Vec::new();
        for step in steps {
            let rows: Vec<_> = step.into_iter().map(built).collect();
            last.extend(rows.iter().cloned());
            changes.push(Change { rows: rows.into_iter().collect(), ..Change::default() });
        }
        lab.changes(changes);
        let mut fresh = Lab::new(Some(&documents));
        fresh.change(change(last.into_values().flatten().collect()));
        prop_assert_eq!(seen(&lab), seen(&fresh));
    }
}
