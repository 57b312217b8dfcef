//! Keys that are fetched from a server on loopback, which the list of hosts names by its address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent_waypoint::config::limits::JWKS_REFETCH;

use super::{HOUR, get, inline, plain};
use crate::lab::{Lab, Upstream, with};
use crate::mcp_hostile::sessions::Tokens;
use crate::plain_ports::http::hello;

/// A server of keys whose answer can be changed.
struct Idp {
    server: Upstream,
    answer: Arc<Mutex<String>>,
}

impl Idp {
    async fn start(answer: String) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let now = Arc::clone(&answer);
        let server = Upstream::start(move |_, _| {
            let answer = now.lock().unwrap().clone();
            if answer.is_empty() {
                std::thread::park_timeout(Duration::from_secs(3));
            }
            answer
        })
        .await;
        Self { server, answer }
    }

    fn says(&self, answer: String) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.server.seen().matches("GET /keys HTTP/1.1").count()
    }

    fn uri(&self) -> String {
        format!("http://{}/keys", self.server.addr)
    }

    /// A waypoint that may ask it, before `upstream` with this rule.
    async fn lab(&self, upstream: SocketAddr, rule: &str) -> Lab {
        let host = format!("http://{}", self.server.addr).parse().unwrap();
        Lab::start_with(&plain(upstream, rule, ""), |settings| settings.jwks_hosts = vec![host]).await
    }
}

fn set(tokens: &Tokens) -> String {
    with("Connection: close\r\n", &tokens.jwks)
}

fn bearer(tokens: &Tokens) -> String {
    format!("Authorization: Bearer {}\r\n", tokens.sign("https://idp", "alice", "tools", HOUR))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_once_for_all_who_need_them_and_fetched_again_for_a_new_one() {
    let upstream = hello().await;
    let (old, new) = (Tokens::named("old"), Tokens::named("new"));
    let idp = Idp::start(set(&old)).await;
    let rule = format!("jwksUri: '{0}'}}, {{issuer: 'https://other', jwksUri: '{0}', timeout: 30s", idp.uri());
    let lab = idp.lab(upstream.addr, &rule).await;
    for _ in 0..5 {
        assert_eq!(get(&lab, "/", &bearer(&old)).await.status, 200);
    }
    assert_eq!(idp.asked(), 1, "{}", idp.server.seen());
    let before = upstream.bytes();
    // Under a known id nobody else's signature is worth a fetch.
    assert_eq!(get(&lab, "/", &bearer(&Tokens::named("old"))).await.status, 401);
    assert_eq!(idp.asked(), 1);
    let start = Instant::now();
    idp.says(set(&new));
    assert_eq!(get(&lab, "/", &bearer(&new)).await.status, 200, "the issuer has a new key");
    assert_eq!(get(&lab, "/", &bearer(&old)).await.status, 401, "and the old one no more");
    let now = upstream.bytes();
    for _ in 0..20 {
        assert_eq!(get(&lab, "/", &bearer(&Tokens::named("made up"))).await.status, 401);
    }
    // However slow all this was: no sooner than after the time that keeps callers from having keys fetched.
    let most = 2 + usize::try_from(start.elapsed().as_secs() / JWKS_REFETCH.as_secs()).unwrap();
    assert!((2..=most).contains(&idp.asked()), "{most} {}", idp.server.seen());
    assert!(now > before && upstream.bytes() == now, "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_to_be_had_refuse_tokens_and_no_one_else() {
    let upstream = hello().await;
    let tokens = Tokens::new();
    let redirect =
        "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data\r\nContent-Length: 0\r\n\r\n";
    let oversize = with("Connection: close\r\n", &format!("{{\"keys\":[],\"x\":\"{}\"}}", "y".repeat(600_000)));
    let answers = [
        redirect.to_owned(),
        "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".to_owned(),
        oversize,
        with("", "<html>"),
        with("", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#),
        String::new(),
    ];
    for answer in answers {
        let start: String = answer.chars().take(40).collect();
        let idp = Idp::start(answer).await;
        let lab = idp.lab(upstream.addr, &format!("jwksUri: '{}', timeout: 500ms", idp.uri())).await;
        let before = upstream.bytes();
        let reply = get(&lab, "/", &bearer(&tokens)).await;
        assert_eq!(reply.status, 503, "{start}: {reply:?}");
        assert!(!reply.head.to_ascii_lowercase().contains("www-authenticate"), "{reply:?}");
        assert_eq!(upstream.bytes(), before, "{start}");
        assert_eq!(get(&lab, "/", "").await.status, 200, "{start}: a request without a token needs no keys");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_keys_outlive_their_server() {
    let upstream = hello().await;
    let tokens = Tokens::named("k1");
    let idp = Idp::start(set(&tokens)).await;
    let lab = idp.lab(upstream.addr, &format!("jwksUri: '{}', timeout: 30s", idp.uri())).await;
    assert_eq!(get(&lab, "/", &bearer(&tokens)).await.status, 200);
    idp.says("HTTP/1.1 503 Gone\r\nContent-Length: 0\r\n\r\n".to_owned());
    assert_eq!(get(&lab, "/", &bearer(&Tokens::named("k2"))).await.status, 401, "asked again, in vain");
    assert_eq!(idp.asked(), 2);
    assert_eq!(get(&lab, "/", &bearer(&tokens)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_nobody_listed_is_never_asked_and_its_rule_closes_its_target() {
    let upstream = hello().await;
    let tokens = Tokens::new();
    let idp = Idp::start(set(&tokens)).await;
    let lab = Lab::start(&plain(upstream.addr, &format!("jwksUri: '{}'", idp.uri()), "")).await;
    for fields in [String::new(), bearer(&tokens)] {
        assert_eq!(get(&lab, "/", &fields).await.status, 403, "{fields}");
    }
    assert_eq!((upstream.bytes(), idp.server.bytes()), (0, 0));
    let text = plain(upstream.addr, &inline(&tokens, ""), "");
    lab.edit(&text).await;
    assert_eq!(get(&lab, "/", &bearer(&tokens)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_says_itself_where_its_keys_are() {
    let upstream = hello().await;
    let tokens = Tokens::new();
    let jwks = tokens.jwks.clone();
    let other: SocketAddr = "127.0.0.1:9".parse().unwrap();
    for (path, keys_at_idp, status) in [("", true, 200), ("/x", true, 503), ("", false, 503)] {
        let jwks = jwks.clone();
        let server = Upstream::start(move |head, _| {
            let host =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned));
            let host = host.unwrap();
            let at = if keys_at_idp { host.clone() } else { other.to_string() };
            let described = format!(r#"{{"issuer":"http://{host}{path}","jwks_uri":"http://{at}/keys"}}"#);
            let wanted = head.starts_with("GET /.well-known/openid-configuration HTTP/1.1");
            with("Connection: close\r\n", if wanted { &described } else { &jwks })
        })
        .await;
        let issuer = format!("http://{}", server.addr);
        let text = plain(upstream.addr, "timeout: 30s", "").replace("https://idp", &issuer);
        let host = issuer.parse().unwrap();
        let lab = Lab::start_with(&text, |settings| settings.jwks_hosts = vec![host]).await;
        let token = tokens.sign(&issuer, "alice", "tools", HOUR);
        let reply = get(&lab, "/", &format!("Authorization: Bearer {token}\r\n")).await;
        assert_eq!(reply.status, status, "{path} {keys_at_idp}: {reply:?}\n{}", server.seen());
    }
}
