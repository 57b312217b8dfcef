use super::fixture::{Build, Lab, MCP, MESH_POLICY, pod, repo};
use crate::mesh::world::{AppProtocol, PortRow, Reach};
use crate::mesh::{At, Via};

/// Where calls to `tools/repo:80` go with these pods beside it: address, identities or `plain`, weight.
fn reached(service: Build, pods: &[Build]) -> Vec<String> {
    let mut lab = Lab::new(Some(&format!("{MCP}{MESH_POLICY}")));
    lab.put(pods);
    lab.put(&[service]);
    let target = lab.find("10.96.0.7:80").unwrap();
    let told = target.endpoints.iter().map(|one| {
        let at = match &one.at {
            At::Addr(addr) => addr.to_string(),
            At::Dns { host, port } => format!("dns {host}:{port}"),
        };
        let via = match &one.via {
            Via::Hbone { expect } => {
                expect.iter().map(|id| id.uri().rsplit('/').next().unwrap()).collect::<Vec<_>>().join("+")
            }
            Via::Plain => "plain".to_owned(),
            Via::Tls { .. } | Via::HboneTls { .. } => "tls".to_owned(),
        };
        format!("{at} {via} {}", one.weight)
    });
    told.collect()
}

fn of_repo(name: &str, ip: &str) -> Build {
    pod(name, ip).of("tools/repo")
}

#[test]
fn pods_are_reached_as_istiod_says_and_by_exactly_their_identity() {
    let rows: [(&str, Build, &[&str]); 14] = [
        ("HBONE", of_repo("1", "10.0.0.1"), &["10.0.0.1:8080 repo 1"]),
        ("another identity", of_repo("1", "10.0.0.1").account("other"), &["10.0.0.1:8080 other 1"]),
        ("plaintext", of_repo("1", "10.0.0.1").plain(), &["10.0.0.1:8080 plain 1"]),
        ("no way we speak", of_repo("1", "10.0.0.1").workload(|w| w.reach = Reach::Not), &[]),
        ("not ready", of_repo("1", "10.0.0.1").workload(|w| w.healthy = false), &[]),
        ("weight", of_repo("1", "10.0.0.1").workload(|w| w.weight = 7), &["10.0.0.1:8080 repo 7"]),
        ("no share", of_repo("1", "10.0.0.1").workload(|w| w.weight = 0), &[]),
        ("our network", of_repo("1", "10.0.0.1").workload(|w| w.network = "net".into()), &["10.0.0.1:8080 repo 1"]),
        ("another network", of_repo("1", "10.0.0.1").workload(|w| w.network = "far".into()), &[]),
        ("a waypoint", of_repo("1", "10.0.0.1").workload(|w| w.is_waypoint = true), &[]),
        ("host network", of_repo("1", "10.0.0.1").workload(|w| w.own_ips = false), &["10.0.0.1:8080 repo 1"]),
        ("dual stack", of_repo("1", "2001:db8::1,10.0.0.1"), &["10.0.0.1:8080 repo 1"]),
        ("IPv6", of_repo("1", "2001:db8::1"), &["[2001:db8::1]:8080 repo 1"]),
        ("nowhere", of_repo("1", ""), &[]),
    ];
    for (what, pod, expected) in rows {
        assert_eq!(reached(repo(), &[pod]), expected, "{what}");
    }
    let other = pod("1", "10.0.0.1").of("tools/another");
    assert_eq!(reached(repo(), &[other]), [""; 0], "not behind it");
}

#[test]
fn what_the_service_says_of_its_pods_holds() {
    let sick = || of_repo("1", "10.0.0.1").workload(|w| w.healthy = false);
    assert_eq!(reached(repo().service(|s| s.any_health = true), &[sick()]), ["10.0.0.1:8080 repo 1"]);
    let both = || of_repo("1", "10.0.0.1,2001:db8::1");
    assert_eq!(reached(repo().service(|s| s.v6_only = true), &[both()]), ["[2001:db8::1]:8080 repo 1"]);
    let more = crate::id::WorkloadId::parse("spiffe://cluster.local/ns/tools/sa/more").unwrap();
    let with_more = repo().service(|s| s.more_ids = [more.into()].into());
    assert_eq!(reached(with_more, &[of_repo("1", "10.0.0.1")]), ["10.0.0.1:8080 repo+more 1"]);
}

#[test]
fn target_ports_are_the_pods_own_then_the_services() {
    const KEY: &str = "tools/repo.tools.svc.cluster.local";
    let named = || repo().port(PortRow { port: 80, target: 0, speaks: AppProtocol::Unknown });
    let rows: [(&str, Build, Build, &[&str]); 5] = [
        ("remapped", repo(), pod("1", "10.0.0.1").behind(KEY, &[(80, 9090)]), &["10.0.0.1:9090 repo 1"]),
        ("of another port", repo(), pod("1", "10.0.0.1").behind(KEY, &[(81, 9090)]), &["10.0.0.1:8080 repo 1"]),
        ("named", named(), pod("1", "10.0.0.1").behind(KEY, &[(80, 9090)]), &["10.0.0.1:9090 repo 1"]),
        ("named, and the pod has none", named(), pod("1", "10.0.0.1").behind(KEY, &[(80, 0)]), &[]),
        ("named, and nobody says", named(), pod("1", "10.0.0.1").behind(KEY, &[]), &[]),
    ];
    for (what, service, pod, expected) in rows {
        assert_eq!(reached(service, &[pod]), expected, "{what}");
    }
}

#[test]
fn an_address_with_two_identities_is_nobodys() {
    let pods = [of_repo("1", "10.0.0.1"), of_repo("2", "10.0.0.1").account("other"), of_repo("3", "10.0.0.3")];
    assert_eq!(reached(repo(), &pods), ["10.0.0.3:8080 repo 1"]);
    let pods = [of_repo("1", "10.0.0.1"), of_repo("2", "10.0.0.1")];
    assert_eq!(reached(repo(), &pods), ["10.0.0.1:8080 repo 1"], "with the same it is one");
}
