//! Calls to a workload's own address.

use super::fixture::{Build, Lab, MCP, MESH_POLICY, pod, repo, service};
use crate::mesh::{PortProtocol, TargetKind};
use crate::policy::Reason;

const PLAIN: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: plain, namespace: tools}
spec: {ports: [{port: 80}]}
";

const PLAIN_DENY: &str = "
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: plain, namespace: tools}
spec: {targetRefs: [{kind: Service, name: plain}], deny: [{}]}
";

const GATEWAY_DENY: &str = "
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: all, namespace: mesh}
spec: {targetRefs: [{kind: Gateway, name: waypoint}], deny: [{}]}
";

fn own(name: &str, ip: &str) -> Build {
    pod(name, ip).ours()
}

#[test]
fn a_pod_is_found_by_its_address_where_we_are_its_waypoint() {
    let mut lab = Lab::new(Some(&format!("{MCP}{MESH_POLICY}")));
    lab.put(&[
        repo(),
        own("1", "10.0.0.1,2001:db8::1").of("tools/repo"),
        pod("2", "10.0.0.2").of("tools/repo"),
        pod("3", "10.0.0.3").waypoint("mesh", "other.mesh.svc.cluster.local"),
        own("4", "10.0.0.4").workload(|w| w.own_ips = false),
        own("5", "10.0.0.5").workload(|w| w.is_waypoint = true),
    ]);
    for at in ["10.0.0.1:8080", "[2001:db8::1]:8080"] {
        let target = lab.find(at).unwrap();
        assert_eq!((target.key.kind, target.protocol), (TargetKind::Workload, PortProtocol::Mcp), "{at}");
        assert_eq!(target.endpoints.iter().map(|one| one.id.to_string()).collect::<Vec<_>>(), [at]);
        assert_eq!(
            (&*target.destination.service, target.destination.port),
            ("repo", 80),
            "as its Service's rules know it"
        );
        let again = lab.edition.get(&target.key).unwrap();
        assert_eq!((again.key == target.key, again.revision()), (true, target.revision()));
    }
    for at in ["10.0.0.2:8080", "10.0.0.3:8080", "10.0.0.4:8080", "10.0.0.5:8080", "10.0.0.6:8080"] {
        assert!(lab.find(at).is_none(), "{at}");
    }
    for port in [15001, 15006, 15008] {
        assert!(lab.find(&format!("10.0.0.1:{port}")).is_none(), "the node proxy's port {port}");
    }
}

#[test]
fn the_rules_of_every_service_that_leads_there_hold() {
    let base = format!("{MCP}{MESH_POLICY}{PLAIN}");
    let rows = [
        repo(),
        service("tools/plain").vip("10.96.0.8").ours(),
        own("1", "10.0.0.1").of("tools/repo").of("tools/plain"),
    ];
    let mut lab = Lab::new(Some(&base));
    lab.put(&rows);
    assert_eq!(lab.refused("10.0.0.1:8080"), None);
    assert_eq!(lab.find("10.0.0.1:8080").unwrap().protocol, PortProtocol::Mcp, "what is declared says more");
    lab.documents(&format!("{base}{PLAIN_DENY}"));
    assert_eq!(lab.refused("10.96.0.7:80"), None, "by its name");
    assert_eq!(lab.refused("10.0.0.1:8080"), Some(Reason::DeniedByRule), "but the other Service leads there too");
    // Another that we do not front has no say.
    lab.put(&[service("tools/plain").vip("10.96.0.8")]);
    assert_eq!(lab.refused("10.0.0.1:8080"), None);
    // One that is closed closes the port.
    lab.documents(&MESH_POLICY.replace("allow: [{}]", "allow: [{whn: x}]"));
    assert_eq!(lab.refused("10.0.0.1:8080").map(|reason| matches!(reason, Reason::Closed(_))), Some(true));
}

#[test]
fn services_that_call_one_port_differently_close_it() {
    let a2a = PLAIN.replace("port: 80", "port: 80, appProtocol: agent-waypoint.dev/a2a");
    let mut lab = Lab::new(Some(&format!("{MCP}{MESH_POLICY}{a2a}")));
    lab.put(&[repo(), service("tools/plain").ours(), own("1", "10.0.0.1").of("tools/repo").of("tools/plain")]);
    let closed = lab.find("10.0.0.1:8080").unwrap().closed().unwrap().to_owned();
    assert!(closed.contains("do not agree on what it speaks"), "{closed}");
}

/// Tokens that the Service `plain` takes.
const PLAIN_TOKENS: &str = r#"
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: t, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: plain}]
  jwtRules:
  - {issuer: i, jwks: '{"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}'}
"#;

#[test]
fn no_service_believes_the_tokens_of_another_that_leads_to_its_pod() {
    let reads = MESH_POLICY.replace("allow: [{}]", "allow: [{when: \"jwt.sub == 'admin'\"}]");
    let rows = [repo(), service("tools/plain").ours(), own("1", "10.0.0.1").of("tools/repo").of("tools/plain")];
    for (policy, closed) in [(MESH_POLICY, false), (&*reads, true)] {
        let mut lab = Lab::new(Some(&format!("{MCP}{policy}{PLAIN}{PLAIN_TOKENS}")));
        lab.put(&rows);
        let target = lab.find("10.0.0.1:8080").unwrap();
        let why = target.closed().unwrap_or_default();
        assert_eq!(why.contains("take different tokens"), closed, "{policy}: {why}");
    }
}

#[test]
fn ports_to_which_no_service_leads_are_the_gateways_to_decide() {
    let base = format!("{MCP}{MESH_POLICY}");
    let mut lab = Lab::new(Some(&base));
    lab.put(&[repo(), own("1", "10.0.0.1").of("tools/repo")]);
    let target = lab.find("10.0.0.1:9999").unwrap();
    assert_eq!(target.key.to_string(), "Workload tools/1:9999 (10.0.0.1)");
    assert_eq!(target.protocol, PortProtocol::Undeclared);
    assert_eq!(lab.refused("10.0.0.1:9999"), None, "a plain port that nobody says anything of, as in Istio");
    lab.documents(&format!("{base}{GATEWAY_DENY}"));
    for at in ["10.0.0.1:9999", "10.0.0.1:8080", "10.96.0.7:80"] {
        assert_eq!(lab.refused(at), Some(Reason::DeniedByRule), "{at}");
    }
    let mut lab = Lab::new(None);
    lab.put(&[own("1", "10.0.0.1")]);
    assert_eq!(lab.refused("10.0.0.1:9999"), Some(Reason::NoDocuments));
}

#[test]
fn an_address_that_two_claim_is_nobodys() {
    let mut lab = Lab::new(Some(MCP));
    lab.put(&[own("1", "10.0.0.1"), own("2", "10.0.0.1")]);
    assert!(lab.find("10.0.0.1:80").is_none());
    lab.drop(&["Kubernetes//Pod/tools/1"]);
    assert_eq!(&*lab.find("10.0.0.1:80").unwrap().key.name, "2");
    lab.drop(&["Kubernetes//Pod/tools/2"]);
    assert!(lab.find("10.0.0.1:80").is_none());
}
