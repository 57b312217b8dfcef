//! The webhook as an API server calls it.

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::super::fake;
use super::super::lead::Candidate;
use super::certificate::{Pair, SECRET};
use super::review::review;
use super::*;

fn reviewed(object: &Value) -> Value {
    let request = json!({"uid": "u1", "kind": {"kind": "AgentPolicy"}, "operation": "CREATE", "object": object});
    let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string();
    crate::policy::on_compile_thread(|| review(body.as_bytes())).unwrap()["response"].clone()
}

fn policy(spec: Value) -> Value {
    json!({"apiVersion": "agent-waypoint.dev/v1alpha1", "kind": "AgentPolicy",
        "metadata": {"name": "p", "namespace": "tools", "uid": "x", "managedFields": []}, "spec": spec})
}

#[test]
fn a_policy_is_refused_for_what_check_would_say() {
    let target = json!([{"kind": "Service", "name": "repo"}]);
    let good =
        reviewed(&policy(json!({"targetRefs": target, "protocol": "MCP", "allow": [{"when": "jwt.sub == 'a'"}]})));
    assert_eq!((&good["uid"], &good["allowed"]), (&json!("u1"), &json!(true)), "{good}");
    let rows = [
        (json!({"targetRefs": target, "allow": [{"when": "jwt.sub =="}]}), "spec.allow[0].when"),
        (json!({"targetRefs": target, "allow": [{"when": "mcp.toll.name == 'a'"}]}), "mcp.tool"),
        (json!({"targetRefs": target, "alow": []}), "alow"),
        (json!({"targetRefs": target, "allow": [{"to": [{"tools": ["a"], "prompts": ["b"]}]}]}), "spec.allow[0].to[0]"),
    ];
    for (spec, part) in rows {
        let bad = reviewed(&policy(spec));
        let message = bad["status"]["message"].as_str().unwrap_or_default();
        assert!(bad["allowed"] == false && message.contains(part), "{bad}");
    }
}

#[test]
fn a_text_that_yaml_would_not_take_is_text() {
    let mut one = policy(json!({"targetRefs": [{"kind": "Service", "name": "repo"}], "protocol": "MCP"}));
    one["metadata"]["annotations"] = json!({"note": "\u{7f}\u{9b}\u{ffff}"});
    assert_eq!(reviewed(&one)["allowed"], true, "{}", reviewed(&one));
}

#[test]
fn what_goes_and_what_is_anothers_is_let_through() {
    let through = |request: Value| {
        let body = json!({"request": request}).to_string();
        review(body.as_bytes()).unwrap()["response"]["allowed"] == true
    };
    assert!(through(json!({"uid": "u", "kind": {"kind": "AgentPolicy"}, "operation": "DELETE", "object": null})));
    assert!(through(json!({"uid": "u", "kind": {"kind": "Pod"}, "object": {"spec": {}}})));
    for none in ["", "{}", "[]", r#"{"request": {}}"#] {
        assert!(review(none.as_bytes()).is_none(), "{none}");
    }
}

/// What the API server is answered, by TLS with the CAs of the Secret.
async fn call(addr: std::net::SocketAddr, roots: &str, body: &str) -> Option<String> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        store.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    let tcp = tokio::net::TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("agent-waypoint.system.svc").unwrap();
    let mut tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.ok()?;
    let request = format!(
        "POST /validate?timeout=5s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tls.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test]
async fn the_leader_makes_a_certificate_that_the_configuration_vouches_for() {
    let server = fake::Server::start();
    let webhook = |namespace: &str| {
        json!({"name": "agentpolicies.agent-waypoint.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "agent-waypoint", "namespace": namespace, "path": "/validate"}}})
    };
    server.put(
        "validatingwebhookconfigurations",
        json!({"metadata": {"name": "agent-waypoint"}, "webhooks": [webhook("system")]}),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let kept = keep(server.client(), "system".to_owned(), Leading::always(), listener, (tasks.clone(), stop.clone()));
    tasks.spawn(kept);
    let bundle = || {
        let live = server.get("validatingwebhookconfigurations", "agent-waypoint")?;
        live["webhooks"][0]["clientConfig"]["caBundle"].as_str().map(str::to_owned)
    };
    fake::eventually(|| bundle().is_some()).await;
    let roots = {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(bundle().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let body =
        json!({"request": {"uid": "u1", "kind": {"kind": "AgentPolicy"}, "object": policy(json!({}))}}).to_string();
    let answer = call(addr, &roots, &body).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""allowed":false"#), "{answer}");
    assert!(call(addr, &roots, "nonsense").await.unwrap().starts_with("HTTP/1.1 400"));
    let other = Pair::fresh("system", "").unwrap();
    assert!(call(addr, &other.roots, &body).await.is_none(), "another CA vouches for nothing");
    stop.cancel();
}

#[tokio::test]
async fn a_certificate_is_renewed_before_its_end_and_the_ca_before_stays_believed() {
    let server = fake::Server::start();
    let certificates = Certificates::new(server.client(), "system".to_owned());
    let (_candidate, standby) = Candidate::new(&server.client(), "system", "x");
    assert!(certificates.look(&standby).await.unwrap().is_none());
    let first = certificates.look(&Leading::always()).await.unwrap().unwrap();
    assert!(certificates.look(&Leading::always()).await.unwrap().unwrap() == first);
    // One that ends soon.
    let mut old = server.get("secrets", &format!("system/{SECRET}")).unwrap();
    old["data"]["tls.crt"] = soon_over().into();
    server.put("secrets", old);
    let second = certificates.look(&Leading::always()).await.unwrap().unwrap();
    assert!(second != first && second.roots.ends_with(&first.roots), "new CA, then the one before");
    assert!(certificates.look(&standby).await.unwrap().unwrap() == second);
}

/// A certificate of which little is left, as it stands in a Secret.
fn soon_over() -> String {
    use base64::Engine as _;
    let mut params = rcgen::CertificateParams::new(vec!["x".to_owned()]).unwrap();
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(1);
    let pem = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    base64::engine::general_purpose::STANDARD.encode(pem)
}
