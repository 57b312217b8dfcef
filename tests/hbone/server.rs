//! CONNECT and nothing else: answers, bytes, resets, back-pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agent_waypoint::hbone::{Refusal, Tunnel};
use agent_waypoint::id::Peer;
use agent_waypoint::wire::authority::Authority;
use bytes::Bytes;
use h2::Reason;
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::pki::{ALICE, Ca, SERVER, WAYPOINT, id};
use crate::world::{Client, PATIENCE, World, connect, echo, eventually, read_all, refuse};

#[tokio::test]
async fn bytes_go_both_ways_and_half_close_is_kept() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), echo);
    let client = world.dial(&ca.identity(ALICE)).await;
    let (answer, mut send) = client.connect("10.0.0.1:80").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut recv = answer.into_body();
    send.send_data(Bytes::from_static(b"hello"), false).unwrap();
    assert_eq!(recv.data().await.unwrap().unwrap(), "hello");
    // Our end of the stream; the other end still speaks.
    send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(read_all(&mut recv).await.unwrap(), b" bye");
    assert_eq!(world.seen.tunnels.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_server_may_close_first() {
    let ca = Ca::new();
    let (told, mut said) = mpsc::channel(1);
    let world = World::start(ca.identity(WAYPOINT), move |tunnel: Tunnel| {
        let told = told.clone();
        async move {
            let mut stream = tunnel.accept().unwrap();
            stream.write_all(b"that is all").await.unwrap();
            stream.shutdown().await.unwrap();
            assert!(stream.write_all(b"more").await.is_err());
            let mut rest = String::new();
            stream.read_to_string(&mut rest).await.unwrap();
            told.send(rest).await.unwrap();
        }
    });
    let client = world.dial(&ca.identity(ALICE)).await;
    let (answer, mut send) = client.connect("10.0.0.1:80").await;
    assert_eq!(read_all(&mut answer.into_body()).await.unwrap(), b"that is all");
    send.send_data(Bytes::from_static(b"not yet all of mine"), true).unwrap();
    assert_eq!(said.recv().await.unwrap(), "not yet all of mine");
}

#[tokio::test]
async fn what_is_no_tunnel_is_answered_by_status() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), refuse);
    let client = world.dial(&ca.identity(ALICE)).await;
    let get = Request::builder().uri("https://10.0.0.1/").body(()).unwrap();
    let rows = [
        (get, StatusCode::METHOD_NOT_ALLOWED),
        (connect("10.0.0.1"), StatusCode::BAD_REQUEST),
        (connect("host.name:0"), StatusCode::BAD_REQUEST),
        (connect("user@10.0.0.1:80"), StatusCode::BAD_REQUEST),
        (connect("10.0.0.1:99999"), StatusCode::BAD_REQUEST),
        (connect("10.0.0.1:80"), StatusCode::NOT_FOUND),
    ];
    for (request, status) in rows {
        let what = format!("{request:?}");
        let answer = send_lenient(&client, request).await;
        assert_eq!(answer, status, "{what}");
    }
    assert_eq!(*world.seen.refused.lock().unwrap(), [405, 400, 400, 400, 400, 404]);
}

#[tokio::test]
async fn an_extended_connect_is_no_tunnel() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), echo);
    let client = world.dial(&ca.identity(ALICE)).await;
    let mut websocket = Request::builder().method(Method::CONNECT).uri("https://a.b/").body(()).unwrap();
    websocket.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    // We did not offer it (RFC 8441, 3), so to the HTTP/2 layer it is malformed.
    let (answer, _send) = client.requests.clone().send_request(websocket, false).unwrap();
    assert_eq!(answer.await.unwrap_err().reason(), Some(Reason::PROTOCOL_ERROR));
    assert_eq!(client.connect("10.0.0.1:80").await.0.status(), StatusCode::OK);
}

/// The status, with its body checked to be short text.
async fn send_lenient(client: &Client, request: Request<()>) -> StatusCode {
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (answer, _send) = requests.send_request(request, false).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain");
    let status = answer.status();
    let body = read_all(&mut answer.into_body()).await.unwrap();
    assert!(!body.is_empty() && body.len() < 64, "{body:?}");
    status
}

#[tokio::test]
async fn the_tunnel_knows_its_peer_and_only_claims_the_rest() {
    let ca = Ca::new();
    let (told, mut said) = mpsc::channel(1);
    let world = World::start(ca.identity(WAYPOINT), move |tunnel: Tunnel| {
        let told = told.clone();
        async move {
            let claimed = tunnel.claimed.for_display().clone();
            let known: (Arc<Peer>, Authority) = (Arc::clone(&tunnel.peer), tunnel.authority.clone());
            told.send((known, claimed)).await.unwrap();
            tunnel.refuse(Refusal::Forbidden);
        }
    });
    let client = world.dial(&ca.identity(ALICE)).await;
    let mut request = connect("tool.tools.svc.cluster.local:8080");
    let headers = request.headers_mut();
    headers.insert("baggage", "k8s.namespace.name=evil".parse().unwrap());
    headers.append("forwarded", "for=1.2.3.4".parse().unwrap());
    headers.append("forwarded", "for=5.6.7.8".parse().unwrap());
    let (answer, _send) = client.send(request).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    let ((peer, authority), claimed) = said.recv().await.unwrap();
    assert_eq!(peer.id(), &id(ALICE));
    assert!(peer.addr().ip().is_loopback());
    assert_eq!(authority, Authority::parse("tool.tools.svc.cluster.local:8080").unwrap());
    assert_eq!(claimed.baggage.as_deref(), Some("k8s.namespace.name=evil"));
    assert_eq!(claimed.forwarded, None, "which of two?");
}

#[tokio::test]
async fn a_reset_before_the_answer_drops_the_handler() {
    struct OnDrop(Arc<AtomicUsize>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let ca = Ca::new();
    let (started, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begun, gone) = (Arc::clone(&started), Arc::clone(&dropped));
    let world = World::start(ca.identity(WAYPOINT), move |tunnel| {
        let (begun, dialling) = (Arc::clone(&begun), OnDrop(Arc::clone(&gone)));
        async move {
            begun.fetch_add(1, Ordering::SeqCst);
            // A dial that never comes back.
            std::future::pending::<()>().await;
            drop((tunnel, dialling));
        }
    });
    let client = world.dial(&ca.identity(ALICE)).await;
    for round in 1..=3 {
        let mut requests = client.requests.clone().ready().await.unwrap();
        let (_answer, mut send) = requests.send_request(connect("10.0.0.1:80"), false).unwrap();
        eventually("handler runs", || started.load(Ordering::SeqCst) == round).await;
        send.send_reset(Reason::CANCEL);
        eventually("handler dropped", || dropped.load(Ordering::SeqCst) == round).await;
    }
    assert_eq!(world.seen.abandoned.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_reset_after_the_answer_is_a_read_error() {
    let ca = Ca::new();
    let (told, mut said) = mpsc::channel(1);
    let world = World::start(ca.identity(WAYPOINT), move |tunnel: Tunnel| {
        let told = told.clone();
        async move {
            let mut stream = tunnel.accept().unwrap();
            let read = stream.read(&mut [0; 8]).await.map_err(|error| error.kind());
            let written = stream.write_all(b"x").await.map_err(|error| error.kind());
            told.send((read, written)).await.unwrap();
        }
    });
    let client = world.dial(&ca.identity(ALICE)).await;
    let (_answer, mut send) = client.connect("10.0.0.1:80").await;
    send.send_reset(Reason::CANCEL);
    let (read, written) = said.recv().await.unwrap();
    assert_eq!(read, Err(std::io::ErrorKind::ConnectionReset));
    assert!(written.is_err());
}

#[tokio::test]
async fn dropping_an_unfinished_stream_resets_it() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), |tunnel: Tunnel| async move {
        let mut stream = tunnel.accept().unwrap();
        stream.write_all(b"half of it").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
    });
    let client = world.dial(&ca.identity(ALICE)).await;
    let (answer, mut send) = client.connect("10.0.0.1:80").await;
    let mut recv = answer.into_body();
    assert_eq!(recv.data().await.unwrap().unwrap(), "half of it");
    send.send_data(Bytes::from_static(b"seen"), false).unwrap();
    let error = recv.data().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
}

#[tokio::test]
async fn a_panicking_handler_costs_one_stream() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), |tunnel: Tunnel| async move {
        let port = matches!(tunnel.authority, Authority::Addr(addr) if addr.port() == 666);
        assert!(!port, "a handler that panics, as it should in this test");
        echo(tunnel).await;
    });
    let client = world.dial(&ca.identity(ALICE)).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (answer, _send) = requests.send_request(connect("10.0.0.1:666"), false).unwrap();
    assert!(answer.await.unwrap_err().is_reset());
    assert_eq!(client.connect("10.0.0.1:80").await.0.status(), StatusCode::OK);
    eventually("panic counted", || world.seen.panicked.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_stalled_reader_stops_the_writer() {
    let ca = Ca::new();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let world = World::start(ca.identity(WAYPOINT), move |tunnel: Tunnel| {
        let count = Arc::clone(&count);
        async move {
            let mut stream = tunnel.accept().unwrap();
            let block = vec![7; 64 << 10];
            while stream.write_all(&block).await.is_ok() {
                count.fetch_add(block.len(), Ordering::SeqCst);
            }
        }
    });
    let client = world.dial(&ca.identity(ALICE)).await;
    // Reads nothing: the default window of the bare client is 64 KiB.
    let (answer, _send) = client.connect("10.0.0.1:80").await;
    let mut stalled_at = usize::MAX;
    while sent.load(Ordering::SeqCst) != stalled_at {
        stalled_at = sent.load(Ordering::SeqCst);
        assert!(stalled_at <= (64 << 10) + (256 << 10) + (64 << 10), "{stalled_at} bytes taken without a reader");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // And goes on when the reader does.
    let mut recv = answer.into_body();
    let mut read = 0;
    while read < 4 << 20 {
        let chunk = recv.data().await.unwrap().unwrap();
        recv.flow_control().release_capacity(chunk.len()).unwrap();
        read += chunk.len();
    }
    assert!(sent.load(Ordering::SeqCst) >= 4 << 20);
}

#[tokio::test]
async fn an_application_that_does_not_read_stops_the_peer() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), |tunnel: Tunnel| async move {
        let _stream = tunnel.accept().unwrap();
        std::future::pending::<()>().await;
    });
    let client = world.dial(&ca.identity(ALICE)).await;
    let (_answer, mut send) = client.connect("10.0.0.1:80").await;
    let mut taken = 0;
    loop {
        send.reserve_capacity(64 << 10);
        let room = timeout(Duration::from_secs(3), std::future::poll_fn(|cx| send.poll_capacity(cx))).await;
        let Ok(Some(Ok(room))) = room else { break };
        send.send_data(Bytes::from(vec![1; room]), false).unwrap();
        taken += room;
    }
    // Exactly one stream window: nothing was released, as nothing was read.
    assert_eq!(taken, 1 << 20);
    // Another stream of the same connection still has room: the windows are not equal.
    let (_answer, mut other) = client.connect("10.0.0.1:80").await;
    other.reserve_capacity(1);
    let room = timeout(PATIENCE, std::future::poll_fn(|cx| other.poll_capacity(cx))).await;
    assert!(room.unwrap().unwrap().unwrap() > 0);
}

#[tokio::test]
async fn large_transfers_arrive_whole() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), echo);
    let client = world.dial(&ca.identity(ALICE)).await;
    let (answer, mut send) = client.connect("10.0.0.1:80").await;
    let total = 8 << 20;
    let sending = tokio::spawn(async move {
        let mut sent = 0;
        while sent < total {
            send.reserve_capacity((total - sent).min(50_000));
            let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await.unwrap().unwrap();
            let bytes: Vec<u8> = (sent..sent + room).map(|n| (n % 251).to_le_bytes()[0]).collect();
            send.send_data(bytes.into(), false).unwrap();
            sent += room;
        }
        send.send_data(Bytes::new(), true).unwrap();
    });
    let all = read_all(&mut answer.into_body()).await.unwrap();
    sending.await.unwrap();
    assert_eq!(all.len(), total + 4);
    assert!(all[..total].iter().enumerate().all(|(n, byte)| usize::from(*byte) == n % 251));
}

#[tokio::test]
async fn connections_over_the_limit_are_shed() {
    let ca = Ca::new();
    let world = World::start_with(ca.identity(WAYPOINT), echo, |server| server.at_most(1, 1));
    let first = world.dial(&ca.identity(ALICE)).await;
    first.connect("10.0.0.1:80").await;
    let mut second = tokio::net::TcpStream::connect(world.addr).await.unwrap();
    assert_eq!(second.read(&mut [0; 1]).await.unwrap_or(0), 0);
    eventually("shed", || world.seen.shed.load(Ordering::SeqCst) == 1).await;
    drop(first);
    eventually("place given back", || !world.seen.closed().is_empty()).await;
    // It is given back just after that is said.
    let alice = ca.identity(ALICE);
    let fits = async {
        loop {
            if let Some(client) = world.try_dial(&alice).await {
                return client;
            }
        }
    };
    timeout(PATIENCE, fits).await.expect("room for another").connect("10.0.0.1:80").await;
}

/// Whoever has a key may open connections without end: others still get theirs.
#[tokio::test]
async fn one_identity_leaves_connections_for_others() {
    let ca = Ca::new();
    let world = World::start_with(ca.identity(WAYPOINT), echo, |server| server.at_most_of_one(1));
    let alice = ca.identity(ALICE);
    let first = world.dial(&alice).await;
    first.connect("10.0.0.1:80").await;
    let second = world.dial(&alice).await;
    assert!(timeout(PATIENCE, second.driving).await.expect("closed").is_ok());
    eventually("shed", || world.seen.shed.load(Ordering::SeqCst) == 1).await;
    world.dial(&ca.identity(SERVER)).await.connect("10.0.0.1:80").await;
    first.connect("10.0.0.1:80").await;
    drop(first);
    eventually("place given back", || !world.seen.closed().is_empty()).await;
}

#[tokio::test]
async fn rapid_resets_cost_the_attacker_its_connection_and_nobody_else() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), echo);
    let (attacker, victim) = (world.dial(&ca.identity(ALICE)).await, world.dial(&ca.identity(ALICE)).await);
    let mut reset = 0;
    // CVE-2023-44487: open and reset without pause, so that nothing is over any limit of open streams.
    while reset < 20_000 {
        let Ok(mut requests) = attacker.requests.clone().ready().await else { break };
        let Ok((_answer, mut send)) = requests.send_request(connect("10.0.0.1:80"), false) else { break };
        send.send_reset(Reason::CANCEL);
        reset += 1;
        if reset % 100 == 0 {
            tokio::task::yield_now().await;
            assert_eq!(victim.connect("10.0.0.1:80").await.0.status(), StatusCode::OK);
        }
    }
    assert!(reset < 20_000, "never stopped");
    assert_eq!(victim.connect("10.0.0.1:80").await.0.status(), StatusCode::OK);
}
