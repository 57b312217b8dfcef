use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::document::{Severity, Source, load};
use crate::mesh::{At, CONFLICTED, HBONE_PORT, PortProtocol, Roots, Tls, Via};
use crate::policy::token::KeyHosts;
use crate::wire::authority::Authority;

fn settings() -> Settings {
    Settings { trust_domain: TrustDomain::parse("cluster.local").unwrap(), gateway: None, keys: Keyring::default() }
}

fn build_of(text: &str) -> (Snapshot, Vec<Problem>) {
    build_after(text, &Snapshot::no_documents())
}

fn build_after(text: &str, previous: &Snapshot) -> (Snapshot, Vec<Problem>) {
    let documents = load([Source { file: Arc::new(PathBuf::from("f.yaml")), text: text.to_owned() }]);
    build(&documents, &settings(), previous)
}

fn host(name: &str, port: u16) -> Authority {
    Authority::Host { host: name.into(), port }
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn errors(problems: &[Problem]) -> Vec<&Problem> {
    problems.iter().filter(|problem| problem.severity == Severity::Error).collect()
}

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: repo, namespace: tools}
spec:
  clusterIP: 10.96.0.7
  selector: {app: repo}
  ports:
  - {name: mcp, port: 80, targetPort: 8080, appProtocol: agent-waypoint.dev/mcp}
  - {name: http-admin, port: 81}
  - {name: other, port: 82, targetPort: by-name}
";

const POD: &str = "
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: repo-1, namespace: tools}
spec:
  address: 127.0.0.2
  labels: {app: repo, networking.istio.io/tunnel: http}
  serviceAccount: repo
  ports: {by-name: 9000}
";

const ALLOW: &str = "
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: p, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: repo, sectionName: mcp}]
  allow: [{to: [{tools: ['get_*']}]}]
";

#[test]
fn a_service_is_found_by_address_and_names() {
    let (snapshot, problems) = build_of(&format!("{SERVICE}{POD}"));
    assert_eq!(told(&problems), [""; 0]);
    let by_addr = snapshot.find(&Authority::Addr("10.96.0.7:80".parse().unwrap())).unwrap();
    assert_eq!(by_addr.key.to_string(), "Service tools/repo:80");
    for name in ["repo.tools.svc.cluster.local", "repo.tools.svc", "repo.tools"] {
        assert!(Arc::ptr_eq(&by_addr, &snapshot.find(&host(name, 80)).unwrap()), "{name}");
    }
    for (name, port) in [("repo.tools", 8080), ("repo", 80), ("repo.other", 80)] {
        assert!(snapshot.find(&host(name, port)).is_none(), "{name}:{port}");
    }
    assert!(snapshot.find(&Authority::Addr("10.96.0.7:8080".parse().unwrap())).is_none());
    assert_eq!(snapshot.counts(), Counts { loaded: 2, refused: 0, skipped: 0 });
    assert!(snapshot.has_documents());
}

#[test]
fn ports_and_protocols_and_hbone_endpoints() {
    let (snapshot, _) = build_of(&format!("{SERVICE}{POD}"));
    let rows = [(80, PortProtocol::Mcp, 8080), (81, PortProtocol::Http, 81), (82, PortProtocol::Undeclared, 9000)];
    for (port, protocol, target_port) in rows {
        let target = snapshot.find(&host("repo.tools", port)).unwrap();
        assert_eq!(target.protocol, protocol, "{port}");
        assert_eq!(target.endpoints.len(), 1, "{port}");
        let endpoint = &target.endpoints[0];
        assert_eq!(endpoint.at, At::Addr(format!("127.0.0.2:{target_port}").parse().unwrap()), "{port}");
        assert_eq!(endpoint.tunnel_port, HBONE_PORT);
        let Via::Hbone { expect } = &endpoint.via else { panic!("{endpoint:?}") };
        assert_eq!(expect.iter().map(|id| id.uri()).collect::<Vec<_>>(), ["spiffe://cluster.local/ns/tools/sa/repo"]);
    }
}

#[test]
fn how_workloads_are_reached() {
    let entry = |rest: &str| {
        format!(
            "{SERVICE}---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: w, namespace: tools}}\nspec: {{address: 10.0.0.1, {rest}}}\n"
        )
    };
    let hbone = |account: &str| Some(format!("spiffe://cluster.local/ns/tools/sa/{account}"));
    let rows = [
        ("labels: {app: repo}", None, HBONE_PORT),
        ("labels: {app: repo, networking.istio.io/tunnel: none}", None, HBONE_PORT),
        ("labels: {app: repo, networking.istio.io/tunnel: http}", hbone("default"), HBONE_PORT),
        ("serviceAccount: x, labels: {app: repo, networking.istio.io/tunnel: http}", hbone("x"), HBONE_PORT),
        (
            "labels: {app: repo, networking.istio.io/tunnel: http, agent-waypoint.dev/hbone-port: '15108'}",
            hbone("default"),
            15108,
        ),
    ];
    for (rest, identity, tunnel_port) in rows {
        let (snapshot, problems) = build_of(&entry(rest));
        let target = snapshot.find(&host("repo.tools", 81)).unwrap();
        let endpoint = target.endpoints.first().unwrap_or_else(|| panic!("{rest}: {problems:?}"));
        let found = if let Via::Hbone { expect } = &endpoint.via { Some(expect[0].uri().to_owned()) } else { None };
        assert_eq!((found, endpoint.tunnel_port), (identity, tunnel_port), "{rest}");
    }
    let broken = [
        ("labels: {app: repo, networking.istio.io/tunnel: htp}", "spec.labels"),
        ("serviceAccount: a/b, labels: {app: repo, networking.istio.io/tunnel: http}", "spec.serviceAccount"),
    ];
    for (rest, field) in broken {
        let (snapshot, problems) = build_of(&entry(rest));
        assert_eq!(errors(&problems)[0].field, field, "{rest}");
        assert_eq!(snapshot.closed().len(), 3, "a workload that cannot be told closes its Service: {rest}");
    }
}

const SLICE: &str = "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: repo-x, namespace: tools, labels: {kubernetes.io/service-name: repo}}
addressType: IPv4
ports: [{name: mcp, port: 8443}, {name: other, port: 9443}]
endpoints:
- {addresses: [127.0.0.2], conditions: {ready: true}}
- {addresses: [10.0.0.3]}
- {addresses: [10.0.0.4], conditions: {ready: false}}
";

#[test]
fn slices_give_ready_endpoints_and_entries_their_identity() {
    let (snapshot, problems) = build_of(&format!("{SERVICE}{SLICE}"));
    assert_eq!(told(&problems), [""; 0]);
    let plain = |port| {
        let target = snapshot.find(&host("repo.tools", port)).unwrap();
        target.endpoints.iter().map(|one| (one.id.to_string(), one.via == Via::Plain)).collect::<Vec<_>>()
    };
    assert_eq!(plain(80), [("10.0.0.3:8443".to_owned(), true), ("127.0.0.2:8443".to_owned(), true)]);
    assert_eq!(plain(82), [("10.0.0.3:9443".to_owned(), true), ("127.0.0.2:9443".to_owned(), true)]);
    assert_eq!(plain(81), []);

    let elsewhere = POD.replace("app: repo, ", "").replace("namespace: tools", "namespace: pods");
    let (snapshot, _) = build_of(&format!("{SERVICE}{SLICE}{elsewhere}"));
    let target = snapshot.find(&host("repo.tools", 80)).unwrap();
    let Via::Hbone { expect } = &target.endpoints[1].via else { panic!("{target:?}") };
    assert_eq!(expect[0].uri(), "spiffe://cluster.local/ns/pods/sa/repo");

    let another = POD
        .replace("repo-1", "repo-2")
        .replace("serviceAccount: repo", "serviceAccount: else")
        .replace("app: repo, ", "");
    let (snapshot, problems) = build_of(&format!("{SERVICE}{SLICE}{POD}{another}"));
    assert!(errors(&problems)[0].reason.contains("several WorkloadEntries"), "{problems:?}");
    assert_eq!(snapshot.closed().len(), 3);
}

#[test]
fn a_refused_entry_never_turns_hbone_into_plaintext() {
    let broken = POD.replace("ports:", "prots:").replace("app: repo, ", "");
    let (snapshot, problems) = build_of(&format!("{SERVICE}{SLICE}{broken}"));
    assert!(told(&problems)[0].contains("did you mean `ports`?"), "{problems:?}");
    assert!(snapshot.find(&host("repo.tools", 80)).unwrap().closed().unwrap().contains("WorkloadEntry tools/repo-1"));
}

#[test]
fn headless_away_and_external_name_services() {
    let headless = SERVICE.replace("10.96.0.7", "None");
    let (snapshot, _) = build_of(&headless);
    assert!(snapshot.find(&host("repo.tools", 80)).is_some());
    let away = SERVICE.replace("namespace: tools", "namespace: tools, labels: {istio.io/use-waypoint: none}");
    let (snapshot, problems) = build_of(&format!("{away}{ALLOW}"));
    assert_eq!(snapshot.targets().len(), 0);
    assert!(told(&problems)[0].contains("labelled istio.io/use-waypoint: none"), "{problems:?}");
    let (snapshot, problems) = build_of(&SERVICE.replace("selector: {app: repo}", "type: ExternalName"));
    assert_eq!((snapshot.targets().len(), problems.len()), (0, 1));
    let (snapshot, problems) = build_of(&SERVICE.replace("10.96.0.7", "10.96.0"));
    assert_eq!((snapshot.closed().len(), &*problems[0].field), (3, "spec.clusterIP"));
}

fn entry(spec: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: ext, namespace: tools}}\nspec:\n{spec}"
    )
}

const DNS: &str = "  hosts: [Api.Example.com]
  addresses: [10.9.9.9/32, 10.9.9.8]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 443}, {number: 443, name: tls, protocol: TLS}, {number: 90, name: grpc, protocol: GRPC}]
";

#[test]
fn service_entries() {
    let (snapshot, problems) = build_of(&entry(DNS));
    assert_eq!(told(&problems), [""; 0]);
    for ip in ["10.9.9.9:80", "10.9.9.8:80"] {
        assert!(snapshot.find(&Authority::Addr(ip.parse().unwrap())).is_some(), "{ip}");
    }
    let rows = [
        (80, PortProtocol::Http, 443, false),
        (443, PortProtocol::Tcp, 443, false),
        (90, PortProtocol::Http, 90, true),
    ];
    for (port, protocol, target, h2) in rows {
        let found = snapshot.find(&host("api.example.com", port)).unwrap();
        assert_eq!((found.protocol, found.upstream_h2()), (protocol, h2), "{port}");
        assert_eq!(found.endpoints[0].at, At::Dns { host: "api.example.com".into(), port: target });
        assert_eq!(found.endpoints[0].via, Via::Plain);
    }
    let listed = entry(
        "  hosts: [db.tools]
  location: MESH_INTERNAL
  resolution: STATIC
  subjectAltNames: [spiffe://cluster.local/ns/other/sa/db, not-spiffe]
  ports: [{number: 80, name: web, protocol: HTTP, targetPort: 8080}]
  endpoints:
  - {address: 10.0.0.1, ports: {web: 9090}, weight: 3, serviceAccount: db, labels: {networking.istio.io/tunnel: http}}
  - {address: 10.0.0.2}
",
    );
    let (snapshot, problems) = build_of(&listed);
    assert_eq!(problems.len(), 1);
    let target = snapshot.find(&host("db.tools", 80)).unwrap();
    assert_eq!(target.endpoints.len(), 2);
    let (first, second) = (&target.endpoints[0], &target.endpoints[1]);
    assert_eq!((&*first.id, first.weight, &*second.id), ("10.0.0.1:9090", 3, "10.0.0.2:8080"));
    let Via::Hbone { expect } = &first.via else { panic!("{first:?}") };
    let ids: Vec<_> = expect.iter().map(|id| id.uri()).collect();
    assert_eq!(ids, ["spiffe://cluster.local/ns/tools/sa/db", "spiffe://cluster.local/ns/other/sa/db"]);
}

#[test]
fn what_service_entries_cannot_be_closes_them() {
    let rows = [
        (DNS.replace("Api.Example.com", "'*.example.com'"), "spec.hosts[0]", "wildcard"),
        (DNS.replace("10.9.9.9/32", "10.9.9.0/24"), "spec.addresses[0]", "prefixes"),
        (DNS.replace("resolution: DNS", "resolution: NONE"), "spec.resolution", "STATIC or DNS"),
        (DNS.replace("number: 443", "number: 80"), "spec.ports[1].number", "twice"),
        (
            DNS.replace("resolution: DNS", "resolution: STATIC\n  endpoints: [{address: a.b}]"),
            "spec.endpoints[0].address",
            "IP address",
        ),
        (
            DNS.replace("resolution: DNS", "resolution: DNS\n  endpoints: [{address: 'unix:///x'}]"),
            "spec.endpoints[0].address",
            "Unix",
        ),
    ];
    for (spec, field, text) in rows {
        let (snapshot, problems) = build_of(&entry(&spec));
        let first = errors(&problems)[0];
        assert_eq!(first.field, field, "{spec}");
        assert!(first.reason.contains(text), "{first}");
        assert_eq!(snapshot.closed().len(), snapshot.targets().len(), "{spec}");
        assert!(snapshot.targets().len() > 0, "{spec}");
    }
}

const BACKEND_TLS: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: tls, namespace: tools}
spec:
  targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: ext, sectionName: http}]
  validation: {hostname: api.example.com, wellKnownCACertificates: System}
";

#[test]
fn tls_is_originated_where_a_policy_names_the_port() {
    let (snapshot, problems) = build_of(&format!("{}{BACKEND_TLS}", entry(DNS)));
    assert_eq!(told(&problems), [""; 0]);
    let via = |port| snapshot.find(&host("api.example.com", port)).unwrap().endpoints[0].via.clone();
    let tls = |roots| Via::Tls(Arc::new(Tls { server_name: "api.example.com".into(), alt_names: [].into(), roots }));
    assert_eq!(via(80), tls(Roots::System));
    assert_eq!(via(443), Via::Plain);

    let inline = BACKEND_TLS
        .replace("wellKnownCACertificates: System", "caCertificateRefs: [{kind: ConfigMap, name: roots, group: ''}]");
    let map =
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: roots, namespace: tools}\ndata: {ca.crt: \"PEM\"}\n";
    let pem = "-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----";
    let (snapshot, _) = build_of(&format!("{}{inline}{map}", entry(DNS)));
    assert!(snapshot.closed()["ServiceEntry tools/ext:80"].contains("no certificate"));
    let map = map.replace("PEM", pem);
    let (snapshot, _) = build_of(&format!("{}{inline}{map}", entry(DNS)));
    let via = snapshot.find(&host("api.example.com", 80)).unwrap().endpoints[0].via.clone();
    assert_eq!(via, tls(Roots::Inline("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into())));
    let (snapshot, _) = build_of(&format!("{}{inline}", entry(DNS)));
    assert!(snapshot.closed()["ServiceEntry tools/ext:80"].contains("no ConfigMap tools/roots"));
    assert!(snapshot.find(&host("api.example.com", 443)).unwrap().closed().is_none(), "only the named port is closed");
}

#[test]
fn tls_that_cannot_be_originated_closes_the_port() {
    let tls_port = BACKEND_TLS.replace("sectionName: http", "sectionName: tls");
    let rows = [
        (format!("{}{tls_port}", entry(DNS)), "bring their own TLS"),
        (
            format!(
                "{}{}",
                entry(DNS),
                BACKEND_TLS.replace("wellKnown", "subjectAltNames: [{type: Hostname, hostname: no host}], wellKnown")
            ),
            "subjectAltNames[0].hostname: is not a host name",
        ),
        (
            format!("{}{}", entry(DNS), BACKEND_TLS.replace("hostname: api.example.com", "hostname: 'no host'")),
            "host name",
        ),
    ];
    for (text, reason) in rows {
        let (snapshot, problems) = build_of(&text);
        assert!(!errors(&problems).is_empty(), "{text}");
        let closed = snapshot.closed();
        assert!(closed.values().any(|because| because.contains(reason)), "{reason}: {closed:?}");
    }
}

/// In the mesh TLS is inside HBONE, and the identity at its end is proven as ever.
#[test]
fn tls_is_originated_to_what_is_in_the_mesh_too() {
    let of_service = BACKEND_TLS
        .replace("ServiceEntry, name: ext, sectionName: http", "Service, name: repo, sectionName: mcp")
        .replace("group: networking.istio.io, ", "");
    let (snapshot, problems) = build_of(&format!("{SERVICE}{POD}{of_service}"));
    assert!(errors(&problems).is_empty(), "{problems:?}");
    let (plain, _) = build_of(&format!("{SERVICE}{POD}"));
    let via = |snapshot: &Snapshot, port| {
        let target = snapshot.find(&host("repo.tools", port)).unwrap();
        target.endpoints.iter().map(|one| one.via.clone()).collect::<Vec<_>>()
    };
    let tls = Arc::new(Tls { server_name: "api.example.com".into(), alt_names: [].into(), roots: Roots::System });
    let expected: Vec<_> = via(&plain, 80).iter().map(|via| via.with_tls(Arc::clone(&tls))).collect();
    assert!(expected.iter().any(|via| matches!(via, Via::HboneTls { .. })), "{expected:?}");
    assert_eq!(via(&snapshot, 80), expected);
    assert_eq!(via(&snapshot, 82), via(&plain, 82), "the port that is named, and no other");
}

#[test]
fn of_two_policies_for_tls_the_nearer_then_the_older_holds() {
    let named = |name: &str, age: &str, section: &str, hostname: &str| {
        let section = if section.is_empty() { String::new() } else { format!(", sectionName: {section}") };
        BACKEND_TLS
            .replace(
                "{name: tls, namespace: tools}",
                &format!("{{name: {name}, namespace: tools, creationTimestamp: '2026-01-{age}T00:00:00Z'}}"),
            )
            .replace(", sectionName: http", &section)
            .replace("api.example.com", hostname)
    };
    // Which name is expected on ports 80 and 443, and which policies are in conflict. The second port is not of HTTP.
    let rows: &[(&[String], &str, &[&str])] = &[
        (&[named("a", "02", "http", "young"), named("b", "01", "http", "old")], "old", &["a"]),
        (&[named("b", "01", "http", "by-name-b"), named("a", "01", "http", "by-name-a")], "by-name-a", &["b"]),
        (&[named("whole", "01", "", "whole"), named("port", "02", "http", "port")], "port", &[]),
        (&[named("one", "01", "", "one"), named("two", "02", "", "two")], "one", &["two"]),
    ];
    let http = DNS.replace("protocol: TLS", "protocol: HTTP");
    for (policies, expected, conflicted) in rows {
        let (snapshot, problems) = build_of(&format!("{}{}", entry(&http), policies.concat()));
        let target = snapshot.find(&host("api.example.com", 80)).unwrap();
        assert!(target.closed().is_none(), "{:?}", target.closed());
        let Via::Tls(tls) = &target.endpoints[0].via else { panic!("{target:?}") };
        assert_eq!(&*tls.server_name, *expected);
        let told: BTreeSet<&str> = problems
            .iter()
            .filter(|problem| problem.reason.starts_with(CONFLICTED))
            .map(|problem| problem.document.rsplit_once('/').unwrap().1)
            .collect();
        assert_eq!(told, conflicted.iter().copied().collect(), "{expected}");
    }
}

#[test]
fn declared_protocols_and_conflicts() {
    let other = |name: &str, protocol: &str, mode: &str| {
        format!(
            "---\napiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: {name}, namespace: tools}}\nspec: {{targetRefs: [{{kind: Service, name: repo, sectionName: other}}], protocol: {protocol}, mode: {mode}, allow: [{{}}]}}\n"
        )
    };
    let port = |text: &str| {
        let (snapshot, problems) = build_of(&format!("{SERVICE}{text}"));
        let target = snapshot.find(&host("repo.tools", 82)).unwrap();
        (
            target.protocol,
            target.closed().map(str::to_owned),
            errors(&problems).iter().map(|p| p.to_string()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(port(&other("a", "A2A", "Enforce")).0, PortProtocol::A2a);
    assert_eq!(port(&other("a", "A2A", "DryRun")).0, PortProtocol::Undeclared, "DryRun declares nothing");
    let (protocol, closed, told) = port(&format!("{}{}", other("b", "MCP", "Enforce"), other("a", "A2A", "Enforce")));
    assert_eq!(protocol, PortProtocol::A2a);
    let reason = "AgentPolicy tools/b: spec.protocol: conflicted: calls Service tools/repo:82 MCP, which the older AgentPolicy tools/a calls A2A; it is closed until they agree";
    assert_eq!(closed.as_deref(), Some(reason));
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("AgentPolicy tools/b: spec.protocol"), "{told:?}");
    let older = other("b", "MCP", "Enforce").replace("name: b,", "name: b, creationTimestamp: '2024-01-01T00:00:00Z',");
    let younger =
        other("a", "A2A", "Enforce").replace("name: a,", "name: a, creationTimestamp: '2025-01-01T00:00:00Z',");
    assert_eq!(port(&format!("{older}{younger}")).0, PortProtocol::Mcp, "by creation time before name");

    let tcp = SERVICE.replace("targetPort: by-name", "appProtocol: tls");
    let (snapshot, problems) = build_of(&format!("{tcp}{}", other("a", "MCP", "Enforce")));
    assert!(snapshot.closed()["Service tools/repo:82"].contains("TCP or TLS"), "{problems:?}");
    let (snapshot, _) = build_of(&SERVICE.replace("agent-waypoint.dev/mcp", "agent-waypoint.dev/mpc"));
    assert!(snapshot.closed()["Service tools/repo:80"].contains("is not known; write agent-waypoint.dev/mcp"));
}

/// An MCP client whose target closes because of a typo in a rule is told so in MCP, and keeps its session.
#[test]
fn a_refused_policy_still_says_what_its_port_speaks() {
    let policy = ALLOW.replace("sectionName: mcp", "sectionName: other").replace("['get_*']", "['g*t']");
    let (snapshot, _) = build_of(&format!("{SERVICE}{policy}  protocol: MCP\n"));
    let target = snapshot.find(&host("repo.tools", 82)).unwrap();
    assert_eq!((target.protocol, target.closed().is_some()), (PortProtocol::Mcp, true));
}

#[test]
fn a_policy_that_names_nothing_is_a_warning_until_the_service_comes() {
    let (snapshot, problems) = build_of(ALLOW);
    assert_eq!(
        told(&problems),
        [
            "f.yaml:7: warning: AgentPolicy tools/p: spec.targetRefs[0].name: there is no Service tools/repo; in force as soon as there is"
        ]
    );
    let before = snapshot.targets().len();
    let (snapshot, problems) = build_after(&format!("{SERVICE}{ALLOW}"), &snapshot);
    assert_eq!((before, told(&problems).len()), (0, 0));
    assert!(!snapshot.find(&host("repo.tools", 80)).unwrap().rules.is_open());
}

#[test]
fn a_policy_for_a_port_that_is_not_there_closes_those_that_are() {
    let all = ["Service tools/repo:80", "Service tools/repo:81", "Service tools/repo:82"];
    let odd = ALLOW.replace("sectionName: mcp", "sectionName: mpc");
    let (snapshot, problems) = build_of(&format!("{SERVICE}{odd}"));
    let told = told(&problems);
    assert!(told[0].contains("has no port \"mpc\"; its ports: mcp (80), http-admin (81), other (82)"), "{told:?}");
    assert_eq!((errors(&problems).len(), told.len()), (1, 1));
    assert_eq!(snapshot.closed().keys().collect::<Vec<_>>(), all);
    let (snapshot, _) = build_of(&format!("{SERVICE}{}", odd.replace("allow:", "allows:")));
    assert_eq!(snapshot.closed().keys().collect::<Vec<_>>(), all, "refused for another reason");
    let (snapshot, problems) = build_of(&format!("{SERVICE}{odd}  mode: DryRun\n"));
    assert_eq!(
        (snapshot.closed().len(), errors(&problems).len(), problems.len()),
        (0, 0, 1),
        "a dry run decides nothing"
    );
}

#[test]
fn a_target_that_is_not_there_is_looked_for_elsewhere() {
    let rows = [
        (ALLOW.replace("name: repo,", "name: rpo,"), "did you mean Service tools/repo?"),
        (ALLOW.replace(", namespace: tools", ""), "did you mean Service tools/repo (a policy stands in the namespace"),
    ];
    for (policy, hint) in rows {
        let (_, problems) = build_of(&format!("{SERVICE}{policy}"));
        assert!(told(&problems)[0].contains(hint), "{problems:?}");
    }
    let foreign = ALLOW.replace("namespace: tools", "namespace: other").replace("sectionName: mcp", "namespace: tools");
    let (snapshot, problems) = build_of(&format!("{SERVICE}{foreign}"));
    assert!(told(&problems)[0].contains("in its own namespace"), "{problems:?}");
    assert_eq!(snapshot.closed().len(), 3, "what was meant is closed");
}

#[test]
fn rules_about_tools_on_a_port_that_nothing_calls_mcp_are_told() {
    let plain = SERVICE.replace(", appProtocol: agent-waypoint.dev/mcp", "");
    let warned = |text: &str| told(&build_of(text).1).iter().any(|one| one.contains("write `protocol: MCP`"));
    assert!(warned(&format!("{plain}{ALLOW}")));
    assert!(warned(&format!("{plain}{}", ALLOW.replace(", sectionName: mcp", ""))));
    assert!(!warned(&format!("{plain}{ALLOW}  protocol: MCP\n")));
    assert!(!warned(&format!("{SERVICE}{ALLOW}")));
    assert!(!warned(&format!("{SERVICE}{}", ALLOW.replace(", sectionName: mcp", ""))), "one of its ports is");
    assert!(!warned(&format!("{plain}{}", ALLOW.replace("{to: [{tools: ['get_*']}]}", "{}"))));
}

#[test]
fn a_service_entry_names_protocols_of_istio() {
    let entry = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: e, namespace: tools}\n\
        spec: {hosts: [a.example.com], resolution: DNS, ports: [{number: 80, name: x, protocol: HTTP}]}\n";
    assert_eq!(told(&build_of(entry).1), [""; 0]);
    for odd in ["MCP", "HTPP", "agent-waypoint.dev/mcp"] {
        let (snapshot, problems) = build_of(&entry.replace("HTTP", odd));
        assert_eq!((errors(&problems).len(), snapshot.closed().len()), (1, 1), "{odd}: {problems:?}");
    }
}

#[test]
fn a_refused_document_closes_what_it_selects_and_nothing_else() {
    let rows = [
        ("a field", ALLOW.replace("allow:", "allows:"), vec!["Service tools/repo:80"]),
        (
            "a port by number",
            ALLOW.replace("allow:", "allows:").replace("sectionName: mcp", "sectionName: 81"),
            vec!["Service tools/repo:81"],
        ),
        (
            "every port",
            ALLOW.replace("allow:", "allows:").replace(", sectionName: mcp", ""),
            vec!["Service tools/repo:80", "Service tools/repo:81", "Service tools/repo:82"],
        ),
        ("kind", ALLOW.replace("AgentPolicy", "AgentPolicies"), vec!["Service tools/repo:80"]),
        ("version", ALLOW.replace("v1alpha1", "v1"), vec!["Service tools/repo:80"]),
        ("duplicate key", format!("{ALLOW}  allow: []\n"), vec!["Service tools/repo:80"]),
        ("no kind", ALLOW.replace("kind: AgentPolicy", "knd: AgentPolicy"), vec!["Service tools/repo:80"]),
        (
            "no readable target",
            ALLOW.replace("targetRefs", "targetrefs"),
            vec!["Service tools/repo:80", "Service tools/repo:81", "Service tools/repo:82"],
        ),
        ("misspelt namespace", ALLOW.replace("namespace:", "namspace:"), vec!["Service tools/repo:80"]),
        (
            "a Gateway",
            ALLOW.replace("kind: Service, name: repo, sectionName: mcp", "kind: Gateway, name: g, sectionName: x"),
            vec!["Service other/web:80", "Service tools/repo:80", "Service tools/repo:81", "Service tools/repo:82"],
        ),
    ];
    let web =
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: other}\nspec: {ports: [{port: 80}]}\n";
    for (what, policy, closed) in rows {
        let (snapshot, problems) = build_of(&format!("{SERVICE}{web}{policy}"));
        let found = snapshot.closed();
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), closed, "{what}: {problems:?}");
        assert!(!errors(&problems).is_empty(), "{what}");
        assert_eq!(snapshot.counts().refused, 1, "{what}");
    }
}

#[test]
fn two_of_one_name_are_both_refused() {
    let (snapshot, problems) = build_of(&format!("{SERVICE}{ALLOW}{ALLOW}"));
    assert_eq!(errors(&problems).len(), 2);
    assert!(problems[0].reason.starts_with("there is another of this kind and name at f.yaml:"), "{problems:?}");
    assert_eq!(snapshot.closed().keys().collect::<Vec<_>>(), ["Service tools/repo:80"]);
    let (snapshot, problems) = build_of(&format!("{SERVICE}---{SERVICE}"));
    assert_eq!((errors(&problems).len(), snapshot.closed().len()), (2, 3));
    let (snapshot, problems) = build_of(&format!(
        "{SERVICE}---{}",
        SERVICE.replace("namespace: tools", "namespace: other").replace("10.96.0.7", "10.96.0.8")
    ));
    assert_eq!((told(&problems).len(), snapshot.closed().len(), snapshot.targets().len()), (0, 0, 6));
}

const ROUTE: &str = "
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: tools}
spec: {parentRefs: [{PARENT}], rules: [RULE]}
";

fn routed(parent: &str, rule: &str) -> (Snapshot, Vec<Problem>) {
    build_of(&format!("{SERVICE}{}", ROUTE.replace("PARENT", parent).replace("RULE", rule)))
}

/// Routes lead ports of requests; what they name and cannot lead they close, and nobody else's.
#[test]
fn routes_of_ports() {
    let rows = [
        ("group: '', kind: Service, name: repo", 0, 1),
        ("group: '', kind: Service, name: repo, port: 81", 0, 0),
        ("group: '', kind: Service, name: repo, port: 80", 0, 0),
        ("group: '', kind: Service, name: repo, port: 82", 0, 0),
        ("group: '', kind: Service, name: repo, namespace: elsewhere", 0, 1),
        ("name: gateway", 0, 1),
        ("group: '', kind: Pod, name: repo", 3, 1),
    ];
    for (parent, closed, told) in rows {
        let (snapshot, problems) = routed(parent, "{backendRefs: [{name: repo, port: 81}]}");
        let ports: Vec<_> = snapshot.closed().keys().cloned().collect();
        assert_eq!(ports.len(), closed, "{parent}: {ports:?}");
        assert!(problems.len() <= told, "{parent}: {problems:?}");
    }
    let (snapshot, _) =
        routed("group: '', kind: Service, name: repo, port: 81", "{backendRefs: [{name: repo, port: 81}]}");
    let has = |port| snapshot.find(&host("repo.tools", port)).unwrap().routes.is_some();
    assert_eq!((has(80), has(81), has(82)), (false, true, false));
    let (snapshot, _) = routed("group: '', kind: Service, name: repo", "{backendRefs: [{name: repo, port: 81}]}");
    let has = |port| snapshot.find(&host("repo.tools", port)).unwrap().routes.is_some();
    assert_eq!((has(80), has(81), has(82)), (true, true, true));
}

#[test]
fn what_of_a_route_is_not_built_closes_its_port() {
    let rows = [
        ("{filters: [{type: CORS, cors: {}}]}", "spec.rules[0].filters[0].type"),
        ("{filters: [{type: RequestMirror}]}", "spec.rules[0].filters[0].requestMirror"),
        ("{filters: [{type: RequestMirror, requestMirror: {}}]}", "spec.rules[0].filters[0].requestMirror.backendRef"),
        (
            "{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: repo, port: 81}, percent: 101}}]}",
            "spec.rules[0].filters[0].requestMirror",
        ),
        ("{filters: [{type: ExternalAuth}]}", "spec.rules[0].filters[0].externalAuth"),
        ("{retry: {codes: [200]}}", "spec.rules[0].retry.codes[0]"),
        ("{retry: {attempts: 11}}", "spec.rules[0].retry.attempts"),
        ("{filters: [{type: URLRewrite}]}", "spec.rules[0].filters[0].urlRewrite"),
        (
            "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: host, value: a}]}}]}",
            "requestHeaderModifier.set[0]",
        ),
        (
            "{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x-istio-a]}}]}",
            "requestHeaderModifier.remove[0]",
        ),
        ("{sessionPersistence: {}}", "spec.rules[0].sessionPersistence"),
        ("{matches: [{path: {type: RegularExpression, value: '('}}]}", "spec.rules[0].matches[0].path.value"),
        ("{matches: [{path: {value: 'a'}}]}", "spec.rules[0].matches[0].path.value"),
        ("{timeouts: {request: 5}}", "timeouts.request"),
        ("{timeouts: {request: 5d}}", "spec.rules[0].timeouts.request"),
        ("{mathces: []}", "mathces"),
        (
            "{matches: [{path: {type: Exact, value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]}",
            "urlRewrite.path",
        ),
        ("{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 200}}]}", "requestRedirect.statusCode"),
    ];
    for (rule, field) in rows {
        let (snapshot, problems) = routed("group: '', kind: Service, name: repo, port: 81", rule);
        assert_eq!(snapshot.closed().keys().collect::<Vec<_>>(), ["Service tools/repo:81"], "{rule}: {problems:?}");
        assert!(told(&problems).iter().any(|one| one.contains(field)), "{rule}: {problems:?}");
    }
    let (snapshot, problems) = routed(
        "group: '', kind: Service, name: repo, port: 81",
        "{backendRefs: [{name: gone, port: 1}, {name: repo}, {name: a, namespace: b, port: 1}]}",
    );
    assert_eq!((snapshot.closed().len(), problems.len()), (0, 3), "{problems:?}");
}

#[test]
fn one_address_twice_is_the_older_ones() {
    let second = SERVICE.replace("name: repo,", "name: second,");
    let (snapshot, problems) = build_of(&format!("{second}---{SERVICE}"));
    let target = snapshot.find(&Authority::Addr("10.96.0.7:80".parse().unwrap())).unwrap();
    assert_eq!(&*target.key.name, "repo");
    assert!(told(&problems)[0].contains("10.96.0.7:80 is Service tools/repo:80's already"), "{problems:?}");
}

#[test]
fn unchanged_targets_are_taken_over() {
    let (first, _) = build_of(&format!("{SERVICE}{POD}{ALLOW}"));
    let (second, _) = build_after(&format!("# moved\n{SERVICE}{POD}{}", ALLOW.replace("get_*", "put_*")), &first);
    let same = |port| {
        let find = |snapshot: &Snapshot| snapshot.find(&host("repo.tools", port)).unwrap();
        Arc::ptr_eq(&find(&first), &find(&second))
    };
    assert_eq!((same(81), same(82)), (true, true));
    let (third, _) = build_after(&format!("{SERVICE}{}{ALLOW}", POD.replace("127.0.0.2", "127.0.0.3")), &first);
    let (a, b) = (first.find(&host("repo.tools", 80)).unwrap(), third.find(&host("repo.tools", 80)).unwrap());
    assert!(!Arc::ptr_eq(&a, &b));
    assert_eq!(a.revision(), b.revision(), "endpoints do not decide");
}

#[test]
fn istio_policies_by_target_and_by_selector() {
    let policy = |rest: &str| {
        format!(
            "{SERVICE}---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: a, namespace: tools}}\nspec: {{{rest}}}\n"
        )
    };
    let closed = |rest: &str| {
        let (snapshot, problems) = build_of(&policy(rest));
        (snapshot.closed().len(), told(&problems))
    };
    for rest in ["selector: {matchLabels: {app: repo}}", "rules: [{}]"] {
        let (closed, told) = closed(rest);
        assert_eq!((closed, told.len()), (0, 1), "{rest}");
        assert!(told[0].contains("warning") && told[0].contains("ztunnel"), "{told:?}");
    }
    let rows = [
        ("targetRefs: [{kind: ServiceEntry, name: x}]", "spec.targetRefs[0].group", 0),
        ("targetRefs: [{kind: Namespace, name: tools}]", "spec.targetRefs[0].kind", 3),
        (
            "targetRef: {kind: Service, name: repo}, actions: DENY",
            "spec.actions: unknown field; did you mean `action`?",
            3,
        ),
        ("targetRefs: [{kind: Service, name: repo}], action: Deny", "did you mean `DENY`", 3),
    ];
    for (rest, text, count) in rows {
        let (closed, told) = closed(rest);
        assert_eq!(closed, count, "{rest}: {told:?}");
        assert!(told[0].contains(text), "{rest}: {told:?}");
    }
}

#[test]
fn token_rules_that_cannot_be_in_force_close_what_they_are_about() {
    let policy = |rule: &str| {
        format!(
            "{SERVICE}---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: a, namespace: tools}}\nspec: {{targetRefs: [{{kind: Service, name: repo}}], jwtRules: [{{issuer: i, {rule}}}]}}\n"
        )
    };
    let rows = [
        ("jwksUri: 'https://idp/x#y'", "spec.jwtRules[0].jwksUri", "is no URL of a JWK set"),
        ("jwksUri: 'https://other/keys'", "spec.jwtRules[0].jwksUri", "in --jwks-hosts"),
        ("jwksUri: 'http://idp/keys'", "spec.jwtRules[0].jwksUri", "in --jwks-hosts"),
        ("jwksUri: 'https://idp/x', timeout: soon", "spec.jwtRules[0].timeout", "is no duration"),
        ("audiences: [x]", "spec.jwtRules[0].issuer", "write jwks or jwksUri beside it"),
        ("jwks: '{}'", "spec.jwtRules[0].jwks", "`keys` is missing"),
        ("jwks: x, outputPayloadToHeader: Host", "spec.jwtRules[0].outputPayloadToHeader", "write another name"),
        ("jwk: '{}'", "spec.jwtRules[0].jwk", "did you mean `jwks`?"),
    ];
    for (rule, field, reason) in rows {
        let (snapshot, problems) = build_with_hosts(&policy(rule));
        assert_eq!(problems[0].field, field, "{rule}: {problems:?}");
        assert!(problems[0].reason.contains(reason), "{rule}: {problems:?}");
        assert_eq!(snapshot.closed().len(), 3, "{rule}");
    }
    for rule in ["jwksUri: 'https://idp/x', timeout: 5s", "jwks_uri: 'https://idp:443/y', fromCookies: [x]"] {
        let (snapshot, problems) = build_with_hosts(&policy(rule));
        assert_eq!((snapshot.closed().len(), problems.len()), (0, 0), "{rule}: {problems:?}");
        let target = snapshot.find(&host("repo.tools", 80)).unwrap();
        assert!(target.tokens.is_some(), "{rule}");
    }
}

/// Keys may be fetched from https://idp alone.
fn build_with_hosts(text: &str) -> (Snapshot, Vec<Problem>) {
    let hosts = KeyHosts::new(vec!["idp".parse().unwrap()]);
    let source = Source { file: Arc::new("f.yaml".into()), text: text.to_owned() };
    let settings = Settings { keys: Keyring::new(hosts), ..settings() };
    build(&load([source]), &settings, &Snapshot::no_documents())
}

const KEYS: &str = r#"'{"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}'"#;

#[test]
fn tokens_are_verified_where_rules_say_each_by_its_own() {
    let policy = |rules: &str| {
        format!(
            "{SERVICE}---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: a, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, name: repo}}]\n  jwtRules:\n{rules}"
        )
    };
    let rule = |issuer: &str, more: &str| format!("  - {{issuer: {issuer}, jwks: {KEYS}{more}}}\n");
    let yes = ", forwardOriginalToken: true";
    let mut revisions = Vec::new();
    for text in [
        SERVICE.to_owned(),
        policy(&rule("i", "")),
        policy(&rule("i", yes)),
        policy(&format!("{}{}", rule("i", yes), rule("j", ""))),
        policy(&rule("i", ", fromHeaders: [{name: x-jwt}]")),
        policy(&rule("i", ", outputClaimToHeaders: [{header: x-sub, claim: sub}]")),
    ] {
        let (snapshot, problems) = build_of(&text);
        let target = snapshot.find(&host("repo.tools", 80)).unwrap();
        assert_eq!((target.tokens.is_some(), target.closed()), (text != SERVICE, None), "{text}: {problems:?}");
        assert!(!revisions.contains(&target.revision()), "another rule is another revision: {text}");
        revisions.push(target.revision());
    }
}

#[test]
fn no_yaml_that_was_never_read_closes_everything() {
    let good = Source { file: Arc::new("a.yaml".into()), text: SERVICE.to_owned() };
    let bad = Source { file: Arc::new("b.yaml".into()), text: "a: [".to_owned() };
    let (snapshot, problems) = build(&load([good, bad]), &settings(), &Snapshot::no_documents());
    assert_eq!((snapshot.closed().len(), problems.len()), (3, 1));
    assert!(told(&problems)[0].starts_with("b.yaml:1: error: file: is no YAML: "), "{problems:?}");
}

#[test]
fn nothing_at_all_is_no_documents() {
    for text in ["", "---\n---\n", "# x\n", "apiVersion: apps/v1\nkind: Deployment\n"] {
        assert!(!build_of(text).0.has_documents(), "{text:?}");
    }
}

#[test]
fn ten_thousand_services_build_as_fast_as_one_thousand_each() {
    let one = |i: usize| {
        SERVICE
            .replace("name: repo,", &format!("name: repo-{i},"))
            .replace("10.96.0.7", &format!("10.{}.{}.7", i / 250, i % 250))
            + "---"
    };
    let namespace_policy = ALLOW.replace("kind: Service, name: repo, sectionName: mcp", "kind: Namespace, name: tools");
    let took = |services: usize| {
        let text: String = (0..services).map(one).collect();
        let documents = load([Source { file: Arc::new("a.yaml".into()), text: format!("{text}{namespace_policy}") }]);
        let start = std::time::Instant::now();
        let (snapshot, problems) = build(&documents, &settings(), &Snapshot::no_documents());
        let took = start.elapsed();
        assert_eq!((snapshot.targets().len(), told(&problems).len()), (3 * services, 0));
        took
    };
    let (few, many) = (took(1_000), took(10_000));
    // Ten times as long is fair, a hundred times is each against each; between them is what a busy machine does to either.
    assert!(many < 50 * few.max(std::time::Duration::from_millis(100)), "{few:?}, ten times as many {many:?}");
    println!("3,000 targets in {few:?}, 30,000 in {many:?}");
}

#[test]
fn a_mesh_config_that_cannot_be_read_closes_everything() {
    let map = |name: &str, data: &str| {
        format!(
            "{SERVICE}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: istio-system}}\ndata: {data}\n"
        )
    };
    let rows = [
        (map("istio", "{mesh: 'trustDomainAliases: [a]'}"), 0, 0, ""),
        (map("istio", "{mesh: 'trustDomainAliases: a'}"), 3, 1, "data.mesh: is no meshConfig"),
        (map("istio", "{mush: ''}"), 3, 1, "has no key `mesh`"),
        (map("istio", "[]"), 3, 1, "data"),
        (map("istio", "{mesh: 'trustDomain: other'}"), 0, 1, "says trust domain other"),
        (map("istio-other", "{mesh: 'trustDomainAliases: a'}"), 0, 0, ""),
    ];
    for (text, closed, count, part) in rows {
        let (snapshot, problems) = build_of(&text);
        let problems: Vec<_> = told(&problems).into_iter().filter(|one| one.contains("ConfigMap")).collect();
        assert_eq!((snapshot.closed().len(), problems.len()), (closed, count), "{text}: {problems:?}");
        assert!(problems.iter().all(|one| one.contains(part)), "{problems:?}");
    }
}

/// Each target is decided by its own policies however many others there are. `SCALE=1000` (with `--release`, and
/// `--nocapture` for the times) makes it 10,000 policies on 1,000 Services.
#[test]
fn policies_of_other_targets_cost_a_decision_nothing() {
    let services: usize = std::env::var("SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    let mut text = String::new();
    for at in 0..services {
        let (high, low) = (at / 250, at % 250 + 1);
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{at}, namespace: tools}}\nspec: {{clusterIP: 10.97.{high}.{low}, ports: [{{name: http, port: 80}}]}}\n"
        ));
        for policy in 0..10 {
            text.push_str(&format!(
                "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: s{at}-{policy}, namespace: tools}}\nspec: {{targetRefs: [{{group: '', kind: Service, name: s{at}}}], action: DENY, rules: [{{to: [{{operation: {{paths: ['/p{policy}/*']}}}}]}}]}}\n"
            ));
        }
    }
    let started = std::time::Instant::now();
    let documents = load([Source { file: Arc::new(PathBuf::from("f.yaml")), text }]);
    let loaded = started.elapsed();
    let (snapshot, problems) = build(&documents, &settings(), &Snapshot::no_documents());
    println!("{services} Services: loaded in {loaded:?}, built in {:?}", started.elapsed() - loaded);
    assert_eq!((snapshot.targets().len(), problems.len()), (services, 0), "{:?}", problems.first());
    let world = crate::policy::fixture::World::calling(crate::call::Call::Http);
    for target in snapshot.targets() {
        let facts = crate::policy::Facts { destination: &target.destination, ..world.facts() };
        assert_eq!(target.rules.explain(&facts).findings.len(), 10);
    }
    let again = std::time::Instant::now();
    let (second, _) = build(&documents, &settings(), &snapshot);
    println!("built again in {:?}", again.elapsed());
    assert!(snapshot.targets().zip(second.targets()).all(|(one, other)| Arc::ptr_eq(one, other)), "nothing changed");
}
