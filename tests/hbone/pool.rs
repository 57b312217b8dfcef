//! Tunnels to destinations over shared connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agent_waypoint::fault::{Faulty, Retry};
use agent_waypoint::hbone::{DialFault, Pool, Tunnel};
use agent_waypoint::tls::Identity;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::pki::{ALICE, Ca, SERVER, WAYPOINT, ids, leaf, td};
use crate::world::{PATIENCE, World, echo, echo_bytes, eventually, refuse};

fn connections(world: &World) -> usize {
    world.seen.connections.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_tunnel_carries_bytes_with_half_close() {
    let ca = Ca::new();
    let world = World::start(ca.identity(SERVER), echo);
    let pool = Pool::new(ca.identity(WAYPOINT));
    let mut stream = pool.connect(world.addr, &ids(&[SERVER]), "10.0.0.1:8080").await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "hello bye");
    assert!(stream.write_all(b"x").await.is_err());
}

#[tokio::test]
async fn chunks_go_through_without_a_copy() {
    let ca = Ca::new();
    let world = World::start(ca.identity(SERVER), echo);
    let pool = Pool::new(ca.identity(WAYPOINT));
    let mut stream = pool.connect(world.addr, &ids(&[SERVER]), "10.0.0.1:8080").await.unwrap();
    let sent = bytes::Bytes::from(vec![5; 3 << 20]);
    let copy = sent.clone();
    let mut got = Vec::new();
    let mut sending = pool.connect(world.addr, &ids(&[SERVER]), "10.0.0.1:8080").await.unwrap();
    // Sender and reader are one task here, so the echo must not need more than its buffers.
    sending.send(bytes::Bytes::from_static(b"small")).await.unwrap();
    for part in copy.chunks(64 << 10) {
        stream.send(bytes::Bytes::copy_from_slice(part)).await.unwrap();
        let mut back = 0;
        while back < part.len() {
            let chunk = stream.recv().await.unwrap().unwrap();
            stream.release(chunk.len()).unwrap();
            back += chunk.len();
            got.extend_from_slice(&chunk);
        }
    }
    assert!(got == sent);
    stream.shutdown().await.unwrap();
    assert_eq!(stream.recv().await.unwrap().unwrap(), " bye");
    assert_eq!(stream.recv().await.unwrap(), None);
}

#[tokio::test]
async fn many_callers_share_one_connection_and_a_hundred_streams_fill_it() {
    let ca = Ca::new();
    let world = World::start(ca.identity(SERVER), echo);
    let pool = Pool::new(ca.identity(WAYPOINT));
    let expect = ids(&[SERVER]);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (pool, expect, addr) = (pool.clone(), Arc::clone(&expect), world.addr);
            tokio::spawn(async move { pool.connect(addr, &expect, "10.0.0.1:80").await.unwrap() })
        })
        .collect();
    let mut streams = Vec::new();
    for call in calls {
        streams.push(call.await.unwrap());
    }
    assert_eq!(connections(&world), 1);
    while streams.len() < 100 {
        streams.push(pool.connect(world.addr, &expect, "10.0.0.1:80").await.unwrap());
    }
    assert_eq!(connections(&world), 1);
    streams.push(pool.connect(world.addr, &expect, "10.0.0.1:80").await.unwrap());
    assert_eq!(connections(&world), 2);
    // Places that are given back are used again.
    drop(streams);
    for _ in 0..20 {
        pool.connect(world.addr, &expect, "10.0.0.1:80").await.unwrap();
    }
    assert_eq!(connections(&world), 2);
}

#[tokio::test]
async fn expectations_are_not_shared() {
    let ca = Ca::new();
    let world = World::start(ca.identity(SERVER), echo);
    let pool = Pool::new(ca.identity(WAYPOINT));
    pool.connect(world.addr, &ids(&[SERVER]), "10.0.0.1:80").await.unwrap();
    let fault = pool.connect(world.addr, &ids(&[ALICE]), "10.0.0.1:80").await.unwrap_err();
    assert_eq!((fault.reason(), fault.retry()), ("unexpected_identity", Retry::Safe));
    let fault = pool.connect(world.addr, &ids(&[]), "10.0.0.1:80").await.unwrap_err();
    assert_eq!(fault.reason(), "unexpected_identity");
    pool.connect(world.addr, &ids(&[ALICE, SERVER]), "10.0.0.1:80").await.unwrap();
    assert_eq!(connections(&world), 2);
    assert_eq!(world.seen.tunnels.load(Ordering::SeqCst), 2, "no CONNECT reached whom it was not meant for");
}

#[tokio::test]
async fn refusals_and_failures_are_told_apart() {
    let ca = Ca::new();
    let world = World::start(ca.identity(SERVER), refuse);
    let pool = Pool::new(ca.identity(WAYPOINT));
    let fault = pool.connect(world.addr, &ids(&[SERVER]), "10.0.0.1:80").await.unwrap_err();
    assert!(matches!(fault, DialFault::Refused(status) if status == 404), "{fault}");
    // Bound and not listening: nobody else can take the port.
    let unused = TcpSocket::new_v4().unwrap();
    unused.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let fault = pool.connect(unused.local_addr().unwrap(), &ids(&[SERVER]), "10.0.0.1:80").await.unwrap_err();
    assert_eq!(fault.reason(), "connect_failed");
    let fault = pool.connect(world.addr, &ids(&[SERVER]), "no authority").await.unwrap_err();
    assert_eq!(fault.reason(), "bad_authority");
}

/// A tunnel outlasts the handshake that proved its other end: whoever has a key of a CA that was taken away must not keep
/// what stood on it.
#[tokio::test]
async fn removed_roots_end_the_tunnels_that_stood_on_them() {
    let (old, new) = (Ca::new(), Ca::new());
    let mut both = old.bundles("cluster.local");
    both.add_der(td("cluster.local"), vec![new.root.clone()]).unwrap();
    let ours = Identity::new(new.good(WAYPOINT).svid(), both.clone()).unwrap();
    let leaving = World::start(Identity::new(old.good(SERVER).svid(), both.clone()).unwrap(), echo);
    let staying = World::start(Identity::new(new.good(SERVER).svid(), both).unwrap(), echo);
    let pool = Pool::new(ours.clone());
    let expect = ids(&[SERVER]);
    let mut cut = pool.connect(leaving.addr, &expect, "10.0.0.1:80").await.unwrap();
    let mut kept = pool.connect(staying.addr, &expect, "10.0.0.1:80").await.unwrap();
    ours.rotate(ours.svid(), new.bundles("cluster.local")).unwrap();
    let ended = async {
        let mut rest = [0; 64];
        while let Ok(1..) = cut.read(&mut rest).await {}
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("ended");
    kept.write_all(b"still").await.unwrap();
    let mut back = [0; 5];
    kept.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"still", "what the roots that are left prove goes on");
    let fault = pool.connect(leaving.addr, &expect, "10.0.0.1:80").await.unwrap_err();
    assert_eq!(fault.retry(), Retry::Safe, "{fault}");
}

#[tokio::test]
async fn a_goaway_moves_new_tunnels_to_a_new_connection() {
    let ca = Ca::new();
    let old = World::start(ca.identity(SERVER), echo);
    let pool = Pool::new(ca.identity(WAYPOINT));
    let expect = ids(&[SERVER]);
    let mut kept = pool.connect(old.addr, &expect, "10.0.0.1:80").await.unwrap();
    old.drain.cancel();
    // The old listener is closed before a new one takes its address.
    let mut replaced = None;
    eventually("the old listener is closed", || {
        replaced = agent_waypoint::net::listen(old.addr).ok();
        replaced.is_some()
    })
    .await;
    let (stop, identity) = (tokio_util::sync::CancellationToken::new(), ca.identity(SERVER));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let handler = move |tunnel: Tunnel| {
        let counted = Arc::clone(&counted);
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            echo(tunnel).await;
        }
    };
    let server = agent_waypoint::hbone::Server::new(identity);
    let serving = tokio::spawn(server.serve(replaced.unwrap(), handler, stop.clone()));
    pool.connect(old.addr, &expect, "10.0.0.1:80").await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1);
    kept.write_all(b"still here").await.unwrap();
    kept.shutdown().await.unwrap();
    let mut all = String::new();
    kept.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "still here bye");
    old.serving.await.unwrap();
    stop.cancel();
    drop(pool);
    serving.await.unwrap();
}

#[tokio::test]
async fn rotation_retires_connections_but_not_their_streams() {
    let ca = Ca::new();
    let world = World::start(ca.identity(SERVER), echo);
    let identity = ca.identity(WAYPOINT);
    let pool = Pool::new(identity.clone());
    let expect = ids(&[SERVER]);
    let mut kept = pool.connect(world.addr, &expect, "10.0.0.1:80").await.unwrap();
    identity.rotate(ca.good(WAYPOINT).svid(), ca.bundles("cluster.local")).unwrap();
    pool.connect(world.addr, &expect, "10.0.0.1:80").await.unwrap();
    assert_eq!(connections(&world), 2);
    kept.write_all(b"x").await.unwrap();
    kept.shutdown().await.unwrap();
    let mut all = String::new();
    kept.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "x bye");
    drop(kept);
    eventually("old connection ends with its last stream", || world.seen.closed().len() == 1).await;
}

#[tokio::test]
async fn tunnels_end_with_our_own_certificate() {
    let ca = Ca::new();
    let world = World::start(ca.identity(SERVER), echo);
    let mut short = leaf(&[WAYPOINT]);
    short.not_after = OffsetDateTime::now_utc() + Duration::from_secs(6);
    let identity = Identity::new(ca.issue(&short).svid(), ca.bundles("cluster.local")).unwrap();
    let pool = Pool::new(identity.clone());
    let expect = ids(&[SERVER]);
    let mut stream = pool.connect(world.addr, &expect, "10.0.0.1:80").await.unwrap();
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
    assert!(read.is_err());
    eventually("expired", || identity.expired()).await;
    let fault = pool.connect(world.addr, &expect, "10.0.0.1:80").await.unwrap_err();
    assert_eq!(fault.reason(), "own_certificate_expired");
}

#[tokio::test]
async fn a_caller_that_gives_up_resets_its_tunnel() {
    let ca = Ca::new();
    let world = World::start(ca.identity(SERVER), |tunnel: Tunnel| async move {
        std::future::pending::<()>().await;
        drop(tunnel);
    });
    let pool = Pool::new(ca.identity(WAYPOINT));
    let expect = ids(&[SERVER]);
    let opening = pool.connect(world.addr, &expect, "10.0.0.1:80");
    assert!(tokio::time::timeout(Duration::from_millis(300), opening).await.is_err());
    eventually("reset seen", || world.seen.abandoned.load(Ordering::SeqCst) == 1).await;
    assert_eq!(connections(&world), 1);
    assert!(world.seen.closed().is_empty(), "the shared connection lives on");
}

#[tokio::test]
async fn closing_ends_everything() {
    let ca = Ca::new();
    let world = World::start(ca.identity(SERVER), |tunnel: Tunnel| async move {
        let mut stream = tunnel.accept().unwrap();
        echo_bytes(&mut stream).await;
    });
    let pool = Pool::new(ca.identity(WAYPOINT));
    let expect = ids(&[SERVER]);
    let mut stream = pool.connect(world.addr, &expect, "10.0.0.1:80").await.unwrap();
    pool.close().await;
    assert!(stream.read(&mut [0; 1]).await.is_err());
    assert_eq!(pool.connect(world.addr, &expect, "10.0.0.1:80").await.unwrap_err().reason(), "closed");
    eventually("closed", || world.seen.closed().len() == 1).await;
}
