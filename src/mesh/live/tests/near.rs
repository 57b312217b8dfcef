//! Which endpoints are the ones to call: ready, of some weight, and as near as their Service prefers.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::fixture::{Build, Lab, MCP, MESH_POLICY, pod, repo};
use crate::mesh::Hold;
use crate::mesh::world::{Place, Preference, Scope};

const VIP: &str = "10.96.0.7:80";

/// As istiod puts `trafficDistribution: PreferSameZone` (`PreferClose`), `PreferSameNode` and `internalTrafficPolicy: Local`.
const SAME_ZONE: &[Scope] = &[Scope::Network, Scope::Region, Scope::Zone];
const SAME_NODE: &[Scope] = &[Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone, Scope::Node];
const LOCAL: &[Scope] = &[Scope::Node];

/// `region/zone/subzone/node/cluster`
fn place(text: &str) -> Arc<Place> {
    let parts: Vec<Arc<str>> = text.split('/').map(Into::into).collect();
    let [region, zone, subzone, node, cluster] = parts.try_into().unwrap();
    Arc::new(Place { region, zone, subzone, node, cluster })
}

fn at(pod: Build, text: &str) -> Build {
    pod.workload(|parts| parts.place = place(text))
}

fn preferring(scopes: &[Scope], strict: bool) -> Build {
    repo().service(|parts| parts.preference = Preference { scopes: scopes.into(), strict })
}

/// Our own pod, by its address.
fn own(text: &str) -> Build {
    at(pod("own", "10.0.0.99"), text).workload(|parts| parts.namespace = "mesh".into())
}

fn lab(rows: &[Build]) -> Lab {
    let mut lab = Lab::new(Some(&format!("{MCP}{MESH_POLICY}")));
    lab.put(rows);
    lab
}

/// Last numbers of the endpoints' addresses with their distances, then of those that are held.
fn found(lab: &Lab) -> (Vec<(u8, u8)>, Vec<u8>) {
    let target = lab.find(VIP).unwrap();
    let number = |id: &str| id.split([':', '.']).nth(3).unwrap().parse().unwrap();
    let held = target.held.iter().map(|held| {
        assert_eq!(held.why, Hold::Elsewhere);
        number(&held.id)
    });
    (target.endpoints.iter().map(|one| (number(&one.id), one.distance)).collect(), held.collect())
}

/// Scopes, whether they are strict, and how far each pod is, if it is called.
type Row = (&'static [Scope], bool, [Option<u8>; 4]);

#[test]
fn what_is_preferred_settles_how_far_each_is() {
    let pods = [
        at(pod("1", "10.0.0.1"), "r/z/s/n/c"),
        at(pod("2", "10.0.0.2"), "r/z/s/n2/c"),
        at(pod("3", "10.0.0.3"), "r/z2/s/n3/c"),
        at(pod("4", "10.0.0.4"), "r2/z/s/n4/c2"),
    ];
    let rows: [Row; 7] = [
        (&[], false, [Some(0), Some(0), Some(0), Some(0)]),
        (SAME_ZONE, false, [Some(0), Some(0), Some(1), Some(2)]),
        (SAME_NODE, false, [Some(0), Some(1), Some(3), Some(4)]),
        (LOCAL, true, [Some(0), None, None, None]),
        // A zone of the same name in another region: the region stands before it.
        (&[Scope::Region, Scope::Zone], true, [Some(0), Some(0), None, None]),
        (&[Scope::Cluster], false, [Some(0), Some(0), Some(0), Some(1)]),
        (&[Scope::Unknown, Scope::Node], false, [Some(2), Some(2), Some(2), Some(2)]),
    ];
    for (scopes, strict, expected) in rows {
        let lab = lab(&[
            vec![preferring(scopes, strict), own("r/z/s/n/c")],
            pods.clone().map(|one| one.of("tools/repo")).into(),
        ]
        .concat());
        let mut numbers = 1..;
        let (near, held): (Vec<_>, Vec<_>) =
            expected.map(|distance| (numbers.next().unwrap(), distance)).into_iter().partition(|(_, d)| d.is_some());
        let near: Vec<_> = near.into_iter().map(|(number, distance)| (number, distance.unwrap())).collect();
        assert_eq!(found(&lab), (near, held.into_iter().map(|(number, _)| number).collect()), "{scopes:?} {strict}");
    }
}

#[test]
fn where_we_are_is_what_istiod_says_of_our_own_pod() {
    let pods = ["a", "b"]
        .map(|zone| at(pod(zone, if zone == "a" { "10.0.0.1" } else { "10.0.0.2" }), &format!("r/{zone}/s/{zone}/c")));
    let pods = pods.map(|one| one.of("tools/repo"));
    let mut lab = lab(&[&[preferring(SAME_ZONE, false)], &pods[..]].concat());
    assert_eq!(found(&lab).0, [(1, 2), (2, 2)], "nobody said where we are: none is nearer than another");
    lab.put(&[own("r/a/s/n/c")]);
    assert_eq!(found(&lab).0, [(1, 0), (2, 1)]);
    lab.put(&[own("r/b/s/n/c")]);
    assert_eq!(found(&lab).0, [(1, 1), (2, 0)]);
    lab.drop(&["Kubernetes//Pod/tools/own"]);
    assert_eq!(found(&lab).0, [(1, 2), (2, 2)]);
    // A document cannot move us: it is not a pod, whatever address it claims.
    lab.put(&[own("r/b/s/n/c").workload(|parts| {
        parts.uid = "Kubernetes/networking.istio.io/WorkloadEntry/tools/own".into();
    })]);
    assert_eq!(found(&lab).0, [(1, 2), (2, 2)]);
}

#[test]
fn one_that_is_not_local_is_held_by_the_services_name_and_not_by_its_own() {
    let far =
        at(pod("1", "10.0.0.1"), "r/z/s/far/c").of("tools/repo").waypoint("mesh", "waypoint.mesh.svc.cluster.local");
    let lab = lab(&[preferring(LOCAL, true), own("r/z/s/n/c"), far]);
    assert_eq!(found(&lab), (vec![], vec![1]));
    assert_eq!(lab.find(VIP).unwrap().hold(None), Some(Hold::Elsewhere));
    assert!(lab.problems.is_empty(), "nothing is wrong: {:?}", lab.problems);
    let itself = lab.find("10.0.0.1:8080").unwrap();
    assert_eq!((itself.endpoints.len(), itself.held.len()), (1, 0));
}

#[derive(Debug, Clone)]
struct Drawn {
    place: String,
    healthy: bool,
    weight: u32,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let part = || select(vec!["", "a", "b"]);
    let place = (part(), part(), part(), part(), part()).prop_map(|(a, b, c, d, e)| format!("{a}/{b}/{c}/{d}/{e}"));
    (place, any::<bool>(), 0..3_u32).prop_map(|(place, healthy, weight)| Drawn { place, healthy, weight })
}

fn scopes() -> impl Strategy<Value = Vec<Scope>> {
    vec(select(vec![Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone, Scope::Node, Scope::Cluster]), 0..5)
}

/// Which of the pods get calls, as ztunnel's documentation of its load balancing says it: of those that may, the ones that
/// match most of the first preferences; all of them, where they have to.
fn naive(own: &str, pods: &[Drawn], scopes: &[Scope], strict: bool, any_health: bool) -> BTreeSet<u8> {
    let rank = |one: &Drawn| {
        let (ours, theirs): (Vec<&str>, Vec<&str>) = (own.split('/').collect(), one.place.split('/').collect());
        let mut rank = 0;
        for scope in scopes {
            let part = match scope {
                Scope::Region => 0,
                Scope::Zone => 1,
                Scope::Subzone => 2,
                Scope::Node => 3,
                Scope::Cluster => 4,
                Scope::Network | Scope::Unknown => {
                    rank += 1;
                    continue;
                }
            };
            if ours[part] != theirs[part] {
                break;
            }
            rank += 1;
        }
        rank
    };
    let usable = |one: &&Drawn| (one.healthy || any_health) && one.weight > 0 && (!strict || rank(one) == scopes.len());
    let best = pods.iter().filter(usable).map(rank).max();
    let numbers = pods.iter().zip(1..).filter(|(one, _)| usable(one) && Some(rank(one)) == best);
    numbers.map(|(_, number)| number).collect()
}

proptest! {
    #[test]
    fn the_same_are_chosen_as_by_a_naive_reading(
        own_place in drawn().prop_map(|one| one.place),
        pods in vec(drawn(), 0..8),
        scopes in scopes(),
        strict in any::<bool>(),
        any_health in any::<bool>(),
    ) {
        let service = preferring(&scopes, strict).service(|parts| parts.any_health = any_health);
        let mut rows = vec![service, own(&own_place)];
        rows.extend(pods.iter().zip(1..).map(|(one, number): (_, u8)| {
            at(pod(&number.to_string(), &format!("10.0.0.{number}")), &one.place)
                .of("tools/repo")
                .workload(|parts| (parts.healthy, parts.weight) = (one.healthy, one.weight))
        }));
        let (near, _) = found(&lab(&rows));
        let least = near.iter().map(|(_, distance)| *distance).min();
        let chosen: BTreeSet<u8> = near.into_iter().filter(|(_, far)| Some(*far) == least).map(|(number, _)| number).collect();
        prop_assert_eq!(chosen, naive(&own_place, &pods, &scopes, strict, any_health));
    }
}
