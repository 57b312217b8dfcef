//! Authorization providers are found in the mesh, whoever fronts them, and followed as they move.

use super::fixture::{Lab, pod, service};
use crate::mesh::{At, Via};

const CONFIG: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - {name: p, envoyExtAuthzGrpc: {service: authz.sys.svc.cluster.local, port: 80}}
    - {name: q, envoyExtAuthzGrpc: {service: tools/authz.sys.svc.cluster.local, port: 80}}
    - {name: r, envoyExtAuthzHttp: {service: authz.example.com, port: 80}}
";

/// Addresses at which a provider is asked; none where its service is not there.
fn at(lab: &Lab, name: &str) -> Option<Vec<String>> {
    let endpoints = lab.edition.provider(name)?;
    assert!(endpoints.iter().all(|one| matches!(one.via, Via::Hbone { .. })), "{endpoints:?}");
    let addresses = endpoints.iter().map(|one| match &one.at {
        At::Addr(addr) => addr.to_string(),
        At::Dns { host, .. } => host.to_string(),
    });
    Some(addresses.collect())
}

#[test]
fn a_provider_is_found_by_its_name_and_followed() {
    let mut lab = Lab::new(Some(CONFIG));
    assert_eq!(at(&lab, "p"), None, "there is no such service yet");
    lab.put(&[service("sys/authz")]);
    assert_eq!(at(&lab, "p"), Some(vec![]), "it is there, and nobody behind it");
    lab.put(&[pod("a", "10.0.0.9").of("sys/authz")]);
    assert_eq!(at(&lab, "p"), Some(vec!["10.0.0.9:8080".to_owned()]), "nobody fronts it");
    assert!(!lab.targets_changed, "no call is addressed to it");
    assert_eq!(at(&lab, "q"), None, "the name is said to be another namespace's");
    lab.put(&[
        service("tools/ext").host("authz.example.com"),
        pod("b", "10.0.0.10").behind("tools/authz.example.com", &[]),
    ]);
    assert_eq!(at(&lab, "r"), Some(vec!["10.0.0.10:8080".to_owned()]));
    lab.drop(&["Kubernetes//Pod/tools/a"]);
    assert_eq!(at(&lab, "p"), Some(vec![]));
    lab.drop(&["sys/authz.sys.svc.cluster.local"]);
    assert_eq!(at(&lab, "p"), None);
    lab.documents("");
    assert_eq!(at(&lab, "r"), None, "nobody declares it any more");
}

/// A ServiceEntry of any namespace can have the name of the provider's Service, and be fronted here where that is not.
#[test]
fn nobody_takes_a_providers_name() {
    let mut lab = Lab::new(Some(CONFIG));
    let imposter = |name: &str, host: &str| service(name).host(host).ours();
    lab.put(&[
        service("sys/authz"),
        pod("a", "10.0.0.9").of("sys/authz"),
        imposter("evil/a", "authz.sys.svc.cluster.local"),
        pod("b", "10.0.0.66").behind("evil/authz.sys.svc.cluster.local", &[]),
    ]);
    assert_eq!(at(&lab, "p"), Some(vec!["10.0.0.9:8080".to_owned()]));
    lab.drop(&["sys/authz.sys.svc.cluster.local"]);
    assert_eq!(at(&lab, "p"), None, "nor when it is gone");
    // Of several of one name that is no Service's, the one that istiod takes for it is asked, fronted or not.
    lab.put(&[
        service("sys/ext").host("authz.example.com").service(|parts| parts.canonical = true),
        pod("c", "10.0.0.10").behind("sys/authz.example.com", &[]),
        imposter("evil/b", "authz.example.com"),
        pod("d", "10.0.0.67").behind("evil/authz.example.com", &[]),
    ]);
    assert_eq!(at(&lab, "r"), Some(vec!["10.0.0.10:8080".to_owned()]));
    lab.put(&[service("sys/ext").host("authz.example.com").service(|parts| parts.canonical = true).ours()]);
    assert_eq!(at(&lab, "r"), None, "what documents close is asked by nobody: of this one there is none");
}

/// A provider outside to which a DestinationRule wants TLS: nobody makes it, and the headers that it is shown are no plaintext.
#[test]
fn what_a_rule_wants_tls_to_is_not_asked_in_plaintext() {
    let rule = |spec: &str| {
        format!(
            "{CONFIG}---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r, namespace: istio-system}}\nspec: {{host: authz.example.com, {spec}}}\n"
        )
    };
    let mut lab = Lab::new(Some(&rule("trafficPolicy: {loadBalancer: {simple: RANDOM}}")));
    lab.put(&[
        service("tools/ext").host("authz.example.com"),
        pod("b", "10.0.0.10").behind("tools/authz.example.com", &[]),
    ]);
    assert!(at(&lab, "r").is_some(), "so that it can fail");
    for tls in ["tls: {mode: SIMPLE}", "portLevelSettings: [{port: {number: 80}, tls: {mode: MUTUAL}}]"] {
        lab.documents(&rule(&format!("trafficPolicy: {{{tls}}}")));
        assert_eq!(at(&lab, "r"), None, "{tls}");
    }
}
