//! Callers with a valid identity that break the rules of HTTP/2 or hold what they opened: they harm themselves. A victim
//! on another connection goes on as if nothing were.

use std::time::Duration;

use agent_waypoint::control::identity::DEV_TTL;
use agent_waypoint::id::WorkloadId;
use agent_waypoint::tls::{self, Expect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::http::{WEB, hello, until, web};
use super::server::Raw;
use crate::lab::{Lab, PATIENCE, Reply};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// `:method CONNECT` and `:authority`, as HPACK literals that are not kept.
fn connect(authority: &str) -> Vec<u8> {
    let mut block = b"\x02\x07CONNECT\x01".to_vec();
    block.push(u8::try_from(authority.len()).unwrap());
    block.extend(authority.as_bytes());
    block
}

/// A bare TLS connection as `agents/mallory`.
async fn proven(lab: &Lab) -> TlsStream<TcpStream> {
    let id = WorkloadId::of_istio(lab.ca.trust_domain(), "agents", "mallory").unwrap();
    let identity = lab.ca.identity(&id, DEV_TTL).unwrap();
    let tcp = TcpStream::connect(lab.waypoint.hbone_addr()).await.unwrap();
    let expect = Expect::TrustDomain(lab.ca.trust_domain().clone());
    tls::connect(&identity, tcp, expect).await.unwrap().stream
}

/// One after preface and SETTINGS.
async fn mallory(lab: &Lab, settings: &[u8]) -> TlsStream<TcpStream> {
    let mut stream = proven(lab).await;
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    hello.extend(frame(SETTINGS, 0, 0, settings));
    stream.write_all(&hello).await.unwrap();
    stream
}

/// How long a flood is watched after it that need not end its connection.
const A_WHILE: Duration = Duration::from_secs(2);

/// Writes `bytes` again and again until the waypoint ends the connection or `times` is over: whether it ended it, or did
/// within `wait`.
async fn flood(
    stream: TlsStream<TcpStream>,
    times: usize,
    wait: Duration,
    mut bytes: impl FnMut(usize) -> Vec<u8> + Send,
) -> bool {
    let (mut read, mut write) = tokio::io::split(stream);
    let reading = tokio::spawn(async move {
        let mut dropped = vec![0; 65536];
        while let Ok(1..) = read.read(&mut dropped).await {}
    });
    let mut ended = false;
    for n in 0..times {
        let wrote = tokio::time::timeout(A_WHILE, write.write_all(&bytes(n))).await;
        if !matches!(wrote, Ok(Ok(()))) {
            ended = true;
            break;
        }
    }
    ended || tokio::time::timeout(wait, reading).await.is_ok()
}

/// Whether this process is the test `name` alone, whose memory is nobody else's: other tests of this binary hold tens of MiB
/// at the same time. Where it is not, runs that process.
async fn alone(name: &str) -> bool {
    const ALONE: &str = "AGENT_WAYPOINT_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut test = tokio::process::Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "--nocapture"]).arg(format!("plain_ports::hostile::{name}")).env(ALONE, name);
    let ran = test.kill_on_drop(true).output().await.unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && told.contains(" 1 passed;"), "{told}{}", String::from_utf8_lossy(&ran.stderr));
    false
}

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The victim's calls all work.
async fn victim(lab: &Lab) {
    for _ in 0..5 {
        let reply = lab.raw("agents/victim", WEB, b"GET / HTTP/1.1\r\nHost: w\r\n\r\n").await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_end_their_connection_and_nothing_else() {
    if !alone("floods_end_their_connection_and_nothing_else").await {
        return;
    }
    let upstream = hello().await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    victim(&lab).await;
    let before = resident();
    let stream = |n: usize| u32::try_from(2 * n + 1).unwrap();

    let attack = mallory(&lab, &[]).await;
    let reset = |n: usize| {
        let mut bytes = Vec::new();
        for part in 0..50 {
            let id = stream(n * 50 + part);
            bytes.extend(frame(HEADERS, END_HEADERS, id, &connect(WEB)));
            bytes.extend(frame(RST_STREAM, 0, id, &[0, 0, 0, 8]));
        }
        bytes
    };
    flood(attack, 400, A_WHILE, reset).await;
    victim(&lab).await;

    let mut attack = mallory(&lab, &[]).await;
    attack.write_all(&frame(HEADERS, 0, 1, &connect(WEB))).await.unwrap();
    assert!(flood(attack, 20_000, PATIENCE, |_| frame(CONTINUATION, 0, 1, &[])).await, "empty CONTINUATION");

    let mut attack = mallory(&lab, &[]).await;
    attack.write_all(&frame(HEADERS, 0, 1, &connect(WEB))).await.unwrap();
    let literal = |n: usize| {
        let mut block = b"\0\x04".to_vec();
        block.extend(format!("{:04}", n % 10_000).as_bytes());
        block.push(100);
        block.extend([b'x'; 100]);
        frame(CONTINUATION, 0, 1, &block)
    };
    assert!(flood(attack, 20_000, PATIENCE, literal).await, "CONTINUATION without end");

    // One value of 3 KB in the table, then thousands of references to it.
    let mut block = connect(WEB);
    block.extend(b"\x40\x01b\x7f\xb9\x16");
    block.extend([b'x'; 3000]);
    block.extend(std::iter::repeat_n(0xbe, 15_000));
    let attack = mallory(&lab, &[]).await;
    flood(attack, 20, A_WHILE, |n| frame(HEADERS, END_HEADERS, stream(n), &block)).await;
    victim(&lab).await;

    let attack = mallory(&lab, &[]).await;
    flood(attack, 20_000, A_WHILE, |_| frame(PING, 0, 0, &[7; 8])).await;
    let attack = mallory(&lab, &[]).await;
    flood(attack, 20_000, A_WHILE, |_| frame(SETTINGS, 0, 0, &[])).await;
    let attack = mallory(&lab, &[]).await;
    let zero = |n: usize| {
        let mut bytes = frame(HEADERS, END_HEADERS, stream(n), &connect(WEB));
        bytes.extend(frame(WINDOW_UPDATE, 0, stream(n), &[0; 4]));
        bytes
    };
    assert!(flood(attack, 5_000, PATIENCE, zero).await, "errors that make us reset");
    victim(&lab).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 128 << 20, "{} MiB", grown >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_settings_of_a_caller_that_does_not_read_pile_up_nowhere() {
    if !alone("pings_and_settings_of_a_caller_that_does_not_read_pile_up_nowhere").await {
        return;
    }
    let upstream = hello().await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    victim(&lab).await;
    let before = resident();
    let mut held = Vec::new();
    for payload in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut attack = mallory(&lab, &[]).await;
        let many = payload.repeat(1_000);
        for _ in 0..2_000 {
            // Not taken any more is what should come; 17 to 34 MB in all otherwise.
            if tokio::time::timeout(Duration::from_millis(500), attack.write_all(&many)).await.is_err() {
                break;
            }
        }
        held.push(attack);
    }
    victim(&lab).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_and_tiny_data_for_a_stalled_server_pile_up_nowhere() {
    if !alone("empty_and_tiny_data_for_a_stalled_server_pile_up_nowhere").await {
        return;
    }
    let stalled = Raw::start(|accepted| async move {
        std::future::pending::<()>().await;
        drop(accepted);
    })
    .await;
    let upstream = hello().await;
    let documents =
        [web(upstream.addr, ""), crate::lab::service("stalled", "127.0.9.5", stalled.addr, "tcp")].join("---\n");
    let lab = Lab::start(&documents).await;
    victim(&lab).await;
    let before = resident();
    for payload in [&b""[..], b"x"] {
        let mut attack = mallory(&lab, &[]).await;
        attack.write_all(&frame(HEADERS, END_HEADERS, 1, &connect("127.0.9.5:80"))).await.unwrap();
        let many = frame(DATA, 0, 1, payload).repeat(500);
        flood(attack, 2_000, A_WHILE, |_| many.clone()).await;
    }
    victim(&lab).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 128 << 20, "{} MiB", grown >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_answers_that_nobody_reads_hold_little() {
    if !alone("a_hundred_answers_that_nobody_reads_hold_little").await {
        return;
    }
    let big = Raw::start(|mut accepted| async move {
        if accepted.head().await.is_some() {
            accepted.io.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n").await.unwrap();
            let chunk = vec![b'x'; 65536];
            for _ in 0..800 {
                if accepted.io.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let upstream = hello().await;
    let documents = [web(upstream.addr, ""), crate::lab::service("big", "127.0.9.5", big.addr, "http")].join("---\n");
    let lab = Lab::start(&documents).await;
    victim(&lab).await;
    let before = resident();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    let mut attack = mallory(&lab, &[0, 4, 0, 0, 0, 0]).await;
    for n in 0..100_u32 {
        let id = 2 * n + 1;
        attack.write_all(&frame(HEADERS, END_HEADERS, id, &connect("127.0.9.5:80"))).await.unwrap();
        attack.write_all(&frame(DATA, 0, id, b"GET / HTTP/1.1\r\nHost: b\r\n\r\n")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    victim(&lab).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 128 << 20, "{} MiB", grown >> 20);
    drop(attack);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_handshake_and_half_a_head_are_given_up() {
    let upstream = hello().await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let mut half_tls = TcpStream::connect(lab.waypoint.hbone_addr()).await.unwrap();
    half_tls.write_all(b"\x16\x03\x01\x02\x00\x01").await.unwrap();
    let mut head = lab.tunnel("agents/mallory", WEB).await.unwrap();
    head.write_all(b"GET / HTTP/1.1\r\nHost").await.unwrap();
    let mut method = lab.tunnel("agents/mallory", WEB).await.unwrap();
    method.write_all(b"GE").await.unwrap();
    victim(&lab).await;
    let reply = Reply::read(&mut head).await;
    assert_eq!(reply.status, 408, "{reply:?}");
    let mut rest = Vec::new();
    let _reset = tokio::time::timeout(PATIENCE, method.read_to_end(&mut rest)).await.expect("given up");
    let _reset = tokio::time::timeout(PATIENCE, half_tls.read_to_end(&mut rest)).await.expect("given up");
    assert_eq!(upstream.seen().matches("GET").count(), 5, "the victim's alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_tunnels_at_once_all_work() {
    let upstream = hello().await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(lab.tunnel("agents/reader", WEB).await.unwrap());
    }
    // Fewer at a time than may be dialled for one endpoint (`max_dials_per_endpoint`).
    for some in open.chunks_mut(150) {
        for stream in &mut *some {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: w\r\n\r\n").await.unwrap();
        }
        for stream in some {
            assert!(until(stream, b"hello").await.starts_with("HTTP/1.1 200"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_connect_or_no_head_is_refused_and_reaches_nobody() {
    let upstream = hello().await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: w\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: w\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        ("GET / HTTP/1.1\nHost: w\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: w\r\nX: a\r\n b\r\n\r\n", 400),
        ("GET http://other/ HTTP/1.1\r\nHost: w\r\n\r\n", 400),
        ("CONNECT w:80 HTTP/1.1\r\nHost: w:80\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nHost: w\r\nx_forwarded_client_cert: URI=spiffe://a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: w\r\nConnection: authorization\r\nAuthorization: Bearer x\r\n\r\n", 400),
        ("GET /%00 HTTP/1.1\r\nHost: w\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: w\r\nHost: v\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: w\r\n\r\n", 505),
    ] {
        let reply = lab.raw("agents/mallory", WEB, request.as_bytes()).await;
        assert!((400..=505).contains(&reply.status), "{request:?}: {reply:?}");
        assert_eq!(reply.status, status, "{request:?}: {reply:?}");
    }
    let giant = format!("GET / HTTP/1.1\r\nHost: w\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    assert_eq!(lab.raw("agents/mallory", WEB, giant.as_bytes()).await.status, 431);
    let many = format!("GET / HTTP/1.1\r\nHost: w\r\n{}\r\n", "X: y\r\n".repeat(150));
    assert_eq!(lab.raw("agents/mallory", WEB, many.as_bytes()).await.status, 431);
    assert_eq!(upstream.bytes(), 0, "{}", upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_connect_is_405() {
    let upstream = hello().await;
    let lab = Lab::start(&web(upstream.addr, "")).await;
    let stream = proven(&lab).await;
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let get = http::Request::get(format!("http://{WEB}/")).body(()).unwrap();
    let (answer, _) = requests.send_request(get, true).unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), upstream.bytes()), (405, 0));
}
