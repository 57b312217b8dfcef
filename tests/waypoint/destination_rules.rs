//! DestinationRules of Istio's on a Service behind the waypoint, from files.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::balancing::documents;
use crate::lab::{Lab, PATIENCE, Reply, Upstream, eventually, page, service, with};
use crate::plain_ports::http::WEB;

const FAILS: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";

/// A rule of `tools` for `web`.
pub(crate) fn rule(policy: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: web, namespace: tools}}\nspec: {{host: web, trafficPolicy: {policy}}}\n"
    )
}

async fn with_rule(all: &[SocketAddr], policy: &str) -> Lab {
    Lab::start(&format!("{}{}", documents(all), rule(policy))).await
}

async fn get(lab: &Lab, who: &str, path: &str, headers: &str) -> Reply {
    lab.raw(who, WEB, format!("GET {path} HTTP/1.1\r\nHost: web.tools:80\r\n{headers}\r\n").as_bytes()).await
}

/// Answers with its name.
async fn named(name: &'static str) -> Upstream {
    Upstream::start(move |_, _| with("", name)).await
}

/// A door that a server's answers wait at.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let (open, waiting) = (self.0.0.lock().unwrap(), &self.0.1);
        drop(waiting.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap());
    }

    pub(crate) async fn server(&self) -> Upstream {
        self.answering(with("", "well")).await
    }

    pub(crate) async fn answering(&self, answer: String) -> Upstream {
        let door = self.clone();
        Upstream::start(move |_, _| {
            door.pass();
            answer.clone()
        })
        .await
    }
}

async fn calls(lab: &Lab) -> u64 {
    let seen = page(lab.waypoint.admin_addr(), "/endpoints").await.json();
    seen.as_array().unwrap().iter().map(|one| one["calls"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_rules_most_are_refused_at_once_and_reach_nobody() {
    let door = Door::default();
    let server = door.server().await;
    let lab = Arc::new(with_rule(&[server.addr], "{connectionPool: {http: {http2MaxRequests: 1}}}").await);
    let first = tokio::spawn({
        let lab = Arc::clone(&lab);
        async move { get(&lab, "agents/reader", "/first", "").await }
    });
    eventually("it is under way", async || server.seen().contains("/first")).await;
    let before = server.bytes();
    for who in ["agents/reader", "agents/other"] {
        let over = get(&lab, who, "/over", "").await;
        assert_eq!(over.status, 503, "{over:?}");
    }
    assert_eq!(server.bytes(), before, "{}", server.seen());
    door.open();
    assert_eq!(first.await.unwrap().status, 200);
    eventually("it is done", async || calls(&lab).await == 0).await;
    assert_eq!(get(&lab, "agents/reader", "/next", "").await.status, 200, "what is done counts no more");
    lab.log.line(|line| line.to_string().contains("connection_pool_full")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_a_connection_and_no_more_of_them_than_the_rule_says() {
    let door = Door::default();
    let server = door.server().await;
    let pool = "{connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}";
    let lab = Arc::new(with_rule(&[server.addr], pool).await);
    let call = |path: &'static str| {
        let lab = Arc::clone(&lab);
        tokio::spawn(async move { get(&lab, "agents/reader", path, "").await })
    };
    let first = call("/first");
    eventually("it is under way", async || server.seen().contains("/first")).await;
    let second = call("/second");
    eventually("the second waits", async || calls(&lab).await == 2).await;
    let before = server.bytes();
    // One waits, so that another does not; whichever of the two was first.
    let over = get(&lab, "agents/reader", "/third", "").await;
    assert_eq!((over.status, server.bytes()), (503, before));
    door.open();
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(second.await.unwrap().status, 200, "it was its turn");
    assert!(server.seen().contains("/second") && !server.seen().contains("/third"));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_turn_is_in_turn_and_a_header_has_an_endpoint_of_its_own() {
    let (a, b) = (named("a").await, named("b").await);
    let lab = with_rule(&[a.addr, b.addr], "{loadBalancer: {simple: ROUND_ROBIN}}").await;
    let mut bodies = Vec::new();
    for _ in 0..8 {
        bodies.push(get(&lab, "agents/reader", "/", "").await.body);
    }
    assert!(bodies.windows(2).all(|two| two[0] != two[1]), "{bodies:?}");
    for (hash, carry) in [
        ("{httpHeaderName: X-User}", "X-User: NAME\r\n"),
        ("{httpCookie: {name: user}}", "Cookie: other=1; user=NAME\r\n"),
        ("{httpQueryParameterName: user}", ""),
    ] {
        let lab = with_rule(&[a.addr, b.addr], &format!("{{loadBalancer: {{consistentHash: {hash}}}}}")).await;
        let mut of = std::collections::BTreeMap::<String, std::collections::BTreeSet<String>>::new();
        for number in 0..48 {
            let name = format!("user-{}", number % 16);
            let reply = get(&lab, "agents/reader", &format!("/?user={name}"), &carry.replace("NAME", &name)).await;
            of.entry(name).or_default().insert(reply.body);
        }
        assert!(of.values().all(|bodies| bodies.len() == 1), "{hash}: {of:?}");
        let all: std::collections::BTreeSet<_> = of.values().flatten().collect();
        assert_eq!(all.len(), 2, "16 users are not all of one endpoint: {of:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_one_caller_provokes_take_no_endpoint_from_others() {
    let answers =
        |head: &str, _: &str| if head.starts_with("GET /fails") { FAILS.to_owned() } else { with("", "well") };
    let (a, b) = (Upstream::start(answers).await, Upstream::start(answers).await);
    let policy = "{loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: {consecutive5xxErrors: 3, interval: 1h, maxEjectionPercent: 50}}";
    let lab = with_rule(&[a.addr, b.addr], policy).await;
    for _ in 0..4 {
        assert_eq!(get(&lab, "agents/alice", "/", "").await.status, 200);
    }
    for _ in 0..40 {
        assert_eq!(get(&lab, "agents/mallory", "/fails", "").await.status, 503);
    }
    let metrics = lab.metrics().await;
    assert!(metrics.contains("agent_waypoint_ejected_endpoints{reason=\"failing\"} 0\n"), "{metrics}");
    // Another caller's error is a second witness: then one of the two is left alone, and no more.
    for _ in 0..2 {
        assert_eq!(get(&lab, "agents/bob", "/fails", "").await.status, 503);
    }
    lab.measures("agent_waypoint_ejected_endpoints{reason=\"failing\"} 1\n").await;
    let mut before = (a.bytes(), b.bytes());
    for _ in 0..6 {
        assert_eq!(get(&lab, "agents/alice", "/", "").await.status, 200);
    }
    let after = (a.bytes(), b.bytes());
    if before.0 == after.0 {
        before.1 = after.1;
    } else {
        before.0 = after.0;
    }
    assert_eq!(before, after, "one of the two gets no calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_rule_has_all_left_alone_calls_are_refused_without_them() {
    let server = Upstream::start(|_, _| FAILS.to_owned()).await;
    let policy = "{outlierDetection: {consecutiveGatewayErrors: 2, baseEjectionTime: 1h, maxEjectionPercent: 100}}";
    let lab = with_rule(&[server.addr], policy).await;
    for _ in 0..2 {
        assert_eq!(get(&lab, "agents/reader", "/", "").await.status, 503);
    }
    let before = server.bytes();
    assert_eq!(get(&lab, "agents/reader", "/", "").await.status, 503);
    assert_eq!(server.bytes(), before);
    // 10 of 100 of one endpoint is none, as Envoy counts.
    let lab =
        with_rule(&[server.addr], "{outlierDetection: {consecutiveGatewayErrors: 2, baseEjectionTime: 1h}}").await;
    for _ in 0..6 {
        assert_eq!(get(&lab, "agents/reader", "/", "").await.status, 503);
    }
    assert_eq!(server.seen().matches("GET /").count(), 8);
}

/// As Envoy counts: who does not answer in a route's time is a gateway that did not.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_lets_a_routes_time_pass_is_left_alone() {
    for (timeouts, errors) in [
        ("{request: 200ms}", "consecutiveGatewayErrors: 2"),
        ("{request: 60s, backendRequest: 200ms}", "consecutive5xxErrors: 2"),
    ] {
        let door = Door::default();
        let server = door.server().await;
        let route = format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: tools}}\nspec:\n  parentRefs: [{{group: '', kind: Service, name: web, port: 80}}]\n  rules: [{{timeouts: {timeouts}, backendRefs: [{{name: web, port: 80}}]}}]\n"
        );
        let policy = format!("{{outlierDetection: {{{errors}, baseEjectionTime: 1h, maxEjectionPercent: 100}}}}");
        let lab = Lab::start(&format!("{}{}{route}", documents(&[server.addr]), rule(&policy))).await;
        for _ in 0..2 {
            assert_eq!(get(&lab, "agents/reader", "/", "").await.status, 504, "{timeouts}");
        }
        let before = server.bytes();
        assert_eq!(get(&lab, "agents/reader", "/", "").await.status, 503, "{timeouts}");
        assert_eq!(server.bytes(), before);
        lab.measures("agent_waypoint_ejected_endpoints{reason=\"failing\"} 1\n").await;
        door.open();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_would_be_lost_is_not_sent_in_plaintext() {
    let server = named("plaintext").await;
    let lab = with_rule(&[server.addr], "{tls: {mode: SIMPLE}}").await;
    let reply = get(&lab, "agents/reader", "/", "").await;
    assert!(reply.status >= 400, "{reply:?}");
    assert_eq!(server.bytes(), 0, "{}", server.seen());
    // The rule is mended, and calls go.
    std::fs::write(lab.documents(), format!("{}{}", documents(&[server.addr]), rule("{tls: {mode: DISABLE}}")))
        .unwrap();
    eventually("calls go", async || get(&lab, "agents/reader", "/", "").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_bytes_are_bounded_too() {
    let door = Door::default();
    let server = door.server().await;
    let documents = documents(&[server.addr]).replace("appProtocol: http", "appProtocol: tcp");
    // Without the rule of requests, which bytes do not have.
    let documents = documents.split("---\napiVersion: security.istio.io").next().unwrap().to_owned();
    let lab = Lab::start(&format!("{documents}{}", rule("{connectionPool: {tcp: {maxConnections: 1}}}"))).await;
    let mut first = lab.tunnel("agents/reader", WEB).await.unwrap();
    first.write_all(b"GET /first HTTP/1.1\r\n\r\n").await.unwrap();
    eventually("it is under way", async || server.seen().contains("/first")).await;
    assert!(lab.tunnel("agents/other", WEB).await.is_err(), "one is there");
    drop(first);
    eventually("another has its place", async || lab.tunnel("agents/other", WEB).await.is_ok()).await;
    door.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_as_many_requests_as_the_rule_says() {
    for (most, fewest) in [(1, 4), (2, 2), (0, 1)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (addr, accepted) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&accepted);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                        if bytes.ends_with(b"\r\n\r\n") {
                            bytes.clear();
                            stream.write_all(with("", "well").as_bytes()).await.unwrap();
                        }
                    }
                });
            }
        });
        let lab =
            with_rule(&[addr], &format!("{{connectionPool: {{http: {{maxRequestsPerConnection: {most}}}}}}}")).await;
        for _ in 0..4 {
            assert_eq!(get(&lab, "agents/reader", "/", "").await.status, 200);
        }
        // One that is not back yet when the next call goes out is not taken: there may be more than the fewest.
        let made = accepted.load(Ordering::SeqCst);
        assert!(made >= fewest && (most != 0 || made < 4), "{made} connections, at most {most} requests on each");
    }
}

/// A pod whose ztunnel takes connections and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_waited_for_as_long_as_the_rule_says() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    let whole = service("web", "127.0.9.2", addr, "http");
    let (front, _) = whole.split_once("---\n").unwrap();
    let front = front.replace("clusterIP:", "selector: {app: web}\n  clusterIP:");
    let pod = format!(
        "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: web-1, namespace: tools, annotations: {{agent-waypoint.dev/hbone-port: '{}'}}}}\nspec: {{address: 127.0.0.1, labels: {{app: web, networking.istio.io/tunnel: http}}}}\n",
        addr.port()
    );
    let lab = Lab::start(&format!("{front}{pod}{}", rule("{connectionPool: {tcp: {connectTimeout: 200ms}}}"))).await;
    let began = std::time::Instant::now();
    assert_eq!(get(&lab, "agents/reader", "/", "").await.status, 503);
    // Without the rule it is ten seconds.
    assert!(began.elapsed() < std::time::Duration::from_secs(8), "{:?}", began.elapsed());
}
