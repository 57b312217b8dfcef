//! What is in force over a world of rows: who is fronted, where calls go, whose rules decide, and that a change costs no
//! more than what it touches and comes out as if all had been built anew.

mod asked;
mod fixture;
mod guarded;
mod held;
mod increments;
mod near;
mod reached;
mod workloads;

use std::sync::Arc;

use fixture::{Lab, MCP, MESH_POLICY, pod, repo, service};

use crate::mesh::world::{AppProtocol, PortRow};
use crate::mesh::{PortProtocol, TargetKind};
use crate::policy::Reason;

/// The ServiceEntry `tools/ext` of two hosts.
const EXT: &str = "
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext, namespace: tools}
spec: {hosts: [a.example.com, b.example.com], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}
";

#[test]
fn a_canary_fronts_what_it_takes_a_share_of_and_no_longer() {
    let mut lab = Lab::new(Some(&format!("{MCP}{MESH_POLICY}")));
    let beside = |first: &str, second: &str| {
        let host = |name: &str| format!("{name}.mesh.svc.cluster.local");
        service("tools/repo").vip("10.96.0.7").waypoint("mesh", &host(first)).waypoint("mesh", &host(second))
    };
    // Whichever of the two we are, the rules are the same.
    let mut revisions = Vec::new();
    for (first, second) in [("stable", "waypoint"), ("waypoint", "next")] {
        lab.put(&[beside(first, second), pod("1", "10.0.0.1").of("tools/repo")]);
        assert_eq!(lab.refused("10.96.0.7:80"), None, "{first} {second}");
        revisions.push(lab.find("10.96.0.7:80").unwrap().revision());
    }
    assert_eq!(revisions[0], revisions[1]);
    lab.put(&[beside("stable", "next")]);
    assert!(lab.find("10.96.0.7:80").is_none(), "neither is us");
    // A Gateway of our name in another namespace is not us.
    let host = "waypoint.others.svc.cluster.local";
    lab.put(&[beside("stable", "next").waypoint("others", host)]);
    assert!(lab.find("10.96.0.7:80").is_none());
}

#[test]
fn what_our_gateway_fronts_is_found_and_nothing_else() {
    let mut lab = Lab::new(Some(&format!("{MCP}{MESH_POLICY}")));
    lab.put(&[
        repo(),
        service("tools/v6").vip("2001:db8::7").ours(),
        service("tools/headless").ours(),
        service("tools/weighted").vip("10.96.0.8").waypoint("mesh", "other.mesh.svc.cluster.local").ours(),
        service("tools/none").vip("10.96.0.9"),
        service("tools/theirs").vip("10.96.0.10").waypoint("mesh", "other.mesh.svc.cluster.local"),
        // The name is ours, the namespace is not: some other Gateway's host name that says so.
        service("tools/faked").vip("10.96.0.11").waypoint("tools", "waypoint.mesh.svc.cluster.local"),
        service("mesh/waypoint").vip("10.96.0.1").ours(),
    ]);
    let found = |authority: &str| lab.find(authority).map(|target| target.key.to_string());
    for authority in ["10.96.0.7:80", "repo.tools.svc.cluster.local:80"] {
        assert_eq!(found(authority).as_deref(), Some("Service tools/repo:80"), "{authority}");
    }
    assert_eq!(found("[2001:db8::7]:80").as_deref(), Some("Service tools/v6:80"));
    assert_eq!(found("headless.tools.svc.cluster.local:80").as_deref(), Some("Service tools/headless:80"));
    assert_eq!(found("10.96.0.8:80").as_deref(), Some("Service tools/weighted:80"));
    let not = ["10.96.0.9:80", "10.96.0.10:80", "10.96.0.11:80", "10.96.0.1:80", "none.tools.svc.cluster.local:80"];
    let odd =
        ["10.96.0.7:81", "10.96.0.7:8080", "repo.tools:80", "127.0.0.1:80", "169.254.169.254:80", "10.0.0.1:8080"];
    for authority in not.iter().chain(&odd) {
        assert_eq!(found(authority), None, "{authority}");
    }
}

#[test]
fn a_waypoint_named_by_address_is_ours_once_our_own_service_is_known() {
    let mut lab = Lab::new(Some(MCP));
    lab.put(&[
        repo().bare().vip("10.96.0.7").waypoint_ip("10.96.0.1"),
        service("tools/x").vip("10.96.0.9").waypoint_ip("10.96.0.2"),
    ]);
    assert!(lab.find("10.96.0.7:80").is_none(), "nobody said yet whose address that is");
    lab.put(&[service("mesh/waypoint").vip("10.96.0.1")]);
    assert!(lab.find("10.96.0.7:80").is_some());
    assert!(lab.find("10.96.0.9:80").is_none());
    lab.drop(&["mesh/waypoint.mesh.svc.cluster.local"]);
    assert!(lab.find("10.96.0.7:80").is_none());
}

#[test]
fn before_documents_everything_is_refused_for_that_reason() {
    let mut lab = Lab::new(None);
    lab.put(&[repo(), pod("1", "10.0.0.1").of("tools/repo")]);
    let target = lab.find("10.96.0.7:80").unwrap();
    assert_eq!(lab.refused("10.96.0.7:80"), Some(Reason::NoDocuments));
    assert_eq!(target.endpoints.len(), 1);
    assert!(!lab.edition.has_documents());
    lab.documents(&format!("{MCP}{MESH_POLICY}"));
    assert_eq!(lab.refused("10.96.0.7:80"), None);
}

#[test]
fn the_services_document_declares_and_a_port_without_one_is_closed() {
    let mut lab = Lab::new(Some(MESH_POLICY));
    lab.put(&[repo()]);
    let why = |lab: &Lab, at: &str| lab.find(at).unwrap().closed().map(str::to_owned);
    assert_eq!(
        why(&lab, "10.96.0.7:80").as_deref(),
        Some("no document of Service tools/repo says what its port 80 is"),
        "it might declare MCP: open meanwhile it must not be"
    );
    lab.documents(&format!("{MCP}{MESH_POLICY}"));
    assert_eq!(why(&lab, "10.96.0.7:80"), None);
    assert_eq!(lab.find("10.96.0.7:80").unwrap().protocol, PortProtocol::Mcp);
    lab.put(&[repo().port(PortRow { port: 90, target: 9000, speaks: AppProtocol::Http })]);
    assert_eq!(
        why(&lab, "10.96.0.7:90").as_deref(),
        Some("no document of Service tools/repo says what its port 90 is")
    );
    assert_eq!(why(&lab, "10.96.0.7:80"), None);
    // Nearly ours is an error, and closes.
    lab.documents(&MCP.replace("agent-waypoint.dev/mcp", "agent-waypoint.dev/mpc"));
    assert!(why(&lab, "10.96.0.7:80").unwrap().contains("is not known; write agent-waypoint.dev/mcp"));
}

#[test]
fn what_istiod_says_of_a_port_holds_where_nothing_is_declared() {
    let mut lab = Lab::new(Some(&MCP.replace(", appProtocol: agent-waypoint.dev/mcp", "")));
    let rows = [
        (AppProtocol::Unknown, PortProtocol::Undeclared, false),
        (AppProtocol::Http, PortProtocol::Http, false),
        (AppProtocol::Http2, PortProtocol::Http, true),
        (AppProtocol::Tcp, PortProtocol::Tcp, false),
    ];
    for (speaks, protocol, h2) in rows {
        lab.put(&[repo().bare().vip("10.96.0.7").ours().port(PortRow { port: 80, target: 8080, speaks })]);
        let target = lab.find("10.96.0.7:80").unwrap();
        assert_eq!((target.protocol, target.upstream_h2()), (protocol, h2), "{speaks:?}");
    }
}

#[test]
fn a_policy_that_names_a_port_the_service_lacks_closes_it_until_one_is_named() {
    let policy = |section: &str| MESH_POLICY.replace("name: repo}", &format!("name: repo, sectionName: {section}}}"));
    let mut lab = Lab::new(Some(&format!("{MCP}{}", policy("mcp"))));
    lab.put(&[repo()]);
    assert_eq!(lab.find("10.96.0.7:80").unwrap().closed(), None, "by the name that the document gives");
    lab.documents(&format!("{MCP}{}", policy("mpc")));
    let why = lab.find("10.96.0.7:80").unwrap().closed().unwrap().to_owned();
    assert!(why.contains("Service tools/repo has no port \"mpc\"; its ports: mcp (80)"), "{why}");
    assert_eq!(lab.problems.len(), 1);
    lab.documents(&format!("{MCP}{}", policy("'80'")));
    assert_eq!(lab.find("10.96.0.7:80").unwrap().closed(), None);
    assert_eq!(lab.problems.len(), 0);
}

#[test]
fn a_bad_policy_closes_all_only_where_its_gateway_or_class_is_ours() {
    let bad = |namespace: &str, target: &str| {
        format!(
            "\n---\napiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: bad, namespace: {namespace}}}\nspec: {{targetRefs: [{{kind: Service, name: own}}, {target}], allow: [{{when: 'no.such == 1'}}]}}"
        )
    };
    let class = |namespace: &str, name: &str| {
        format!(
            "\n---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: bad, namespace: {namespace}}}\nspec: {{action: DNEY, targetRefs: [{{group: gateway.networking.k8s.io, kind: GatewayClass, name: {name}}}]}}"
        )
    };
    let rows = [
        ("a tenant's own Gateway", bad("tenant", "{kind: Gateway, name: waypoint}"), false),
        ("ours", bad("mesh", "{kind: Gateway, name: waypoint}"), true),
        ("another beside ours", bad("mesh", "{kind: Gateway, name: other}"), false),
        ("a tenant's word on our class", class("tenant", "agent-waypoint"), false),
        ("the root namespace's", class("istio-system", "agent-waypoint"), true),
    ];
    for (what, document, closes) in rows {
        let mut lab = Lab::new(Some(&format!("{MCP}{MESH_POLICY}{document}")));
        lab.put(&[repo()]);
        assert!(!lab.problems.is_empty(), "{what}");
        assert_eq!(lab.find("10.96.0.7:80").unwrap().closed().is_some(), closes, "{what}");
    }
}

#[test]
fn a_policy_for_a_service_that_we_do_not_front_says_what_to_do() {
    let mut lab = Lab::new(Some(&format!("{MCP}{MESH_POLICY}")));
    lab.put(&[repo().bare()]);
    let told = lab.problems[0].reason.clone();
    assert_eq!(
        told,
        "Service tools/repo uses no waypoint: label it istio.io/use-waypoint: waypoint; not in force here"
    );
    lab.put(&[repo().bare().waypoint("mesh", "other.mesh.svc.cluster.local")]);
    assert!(lab.problems[0].reason.contains("uses another waypoint"), "{}", lab.problems[0].reason);
    lab.put(&[repo()]);
    assert_eq!(lab.problems.len(), 0);
    lab.drop(&["tools/repo.tools.svc.cluster.local"]);
    assert!(lab.problems[0].reason.contains("there is no Service tools/repo"), "{}", lab.problems[0].reason);
}

#[test]
fn each_host_of_a_service_entry_is_a_target_of_its_own() {
    let mut lab = Lab::new(Some(&format!("{MESH_POLICY}{EXT}")));
    lab.put(&[
        service("tools/ext").host("a.example.com").vip("240.240.0.1").ours(),
        service("tools/ext").host("b.example.com").vip("240.240.0.2").ours(),
        pod("a", "").hostname("a.example.com").behind("tools/a.example.com", &[]).plain(),
        pod("b", "").hostname("b.example.com").behind("tools/b.example.com", &[]).plain(),
    ]);
    for (vip, host) in [("240.240.0.1:80", "a.example.com"), ("240.240.0.2:80", "b.example.com")] {
        let target = lab.find(vip).unwrap();
        assert_eq!((target.key.kind, target.key.at.as_deref()), (TargetKind::ServiceEntry, Some(host)));
        assert_eq!(target.endpoints.iter().map(|one| &*one.id).collect::<Vec<_>>(), [format!("{host}:8080")]);
        assert!(Arc::ptr_eq(&target, &lab.edition.get(&target.key).unwrap()));
        assert_eq!(target.closed(), None);
    }
}

#[test]
fn a_service_entry_is_closed_until_its_document_has_come_and_its_policies_with_it() {
    let entry = || service("tools/ext").host("a.example.com").vip("240.240.0.1").ours();
    let mut lab = Lab::new(Some(MESH_POLICY));
    lab.put(&[entry()]);
    assert_eq!(
        lab.find("240.240.0.1:80").unwrap().closed(),
        Some("no document of ServiceEntry tools/ext says what its port 80 is"),
        "policies that refuse its calls may be on their way"
    );
    lab.documents(&format!("{MESH_POLICY}{EXT}"));
    assert_eq!(lab.find("240.240.0.1:80").unwrap().closed(), None);
    lab.put(&[entry().port(PortRow { port: 90, target: 9000, speaks: AppProtocol::Http })]);
    assert!(lab.find("240.240.0.1:90").unwrap().closed().is_some());
}

#[test]
fn a_udp_port_of_the_same_number_says_nothing_of_the_port_that_is_carried() {
    let both = MCP.replace("[{name: mcp,", "[{name: quic, protocol: UDP, port: 80}, {name: mcp, protocol: TCP,");
    let mut lab = Lab::new(Some(&format!("{both}{MESH_POLICY}")));
    lab.put(&[repo()]);
    let target = lab.find("10.96.0.7:80").unwrap();
    assert_eq!((target.protocol, target.closed()), (PortProtocol::Mcp, None));
    lab.documents(&both);
    assert_eq!(lab.refused("10.96.0.7:80"), Some(Reason::NoAgentPolicy), "declared: closed until a rule allows");
    lab.documents(&MCP.replace("port: 80,", "protocol: UDP, port: 80,"));
    assert!(lab.find("10.96.0.7:80").is_none(), "UDP alone is not carried");
}
