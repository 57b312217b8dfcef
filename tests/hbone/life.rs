//! How connections end: drain, deadlines, certificates, age, silence.

use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_waypoint::hbone::{Closed, Tunnel};
use agent_waypoint::tls::Identity;
use bytes::Bytes;
use http::StatusCode;
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::pki::{ALICE, Ca, WAYPOINT, leaf, td};
use crate::world::{Client, PATIENCE, World, connect, echo, eventually, read_all};

async fn refuses_new_streams(client: &Client) -> bool {
    let Ok(mut requests) = client.requests.clone().ready().await else { return true };
    let Ok((answer, _send)) = requests.send_request(connect("10.0.0.1:80"), false) else { return true };
    answer.await.is_err()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

#[tokio::test]
async fn draining_lets_streams_finish_then_ends() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), echo);
    let client = world.dial(&ca.identity(ALICE)).await;
    let (answer, mut send) = client.connect("10.0.0.1:80").await;
    let mut recv = answer.into_body();
    world.drain.cancel();
    soon(async {
        while !refuses_new_streams(&client).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(TcpStream::connect(world.addr).await.is_err(), "still listening");
    send.send_data(Bytes::from_static(b"after the drain began"), true).unwrap();
    assert_eq!(soon(read_all(&mut recv)).await.unwrap(), b"after the drain began bye");
    assert_eq!(soon(client.driving).await.unwrap(), Ok(()));
    soon(world.serving).await.unwrap();
    assert_eq!(world.seen.closed(), [Closed::Finished]);
}

#[tokio::test]
async fn the_drain_deadline_ends_what_is_left() {
    let ca = Ca::new();
    let short = Duration::from_millis(200);
    let world = World::start_with(ca.identity(WAYPOINT), echo, |server| server.drain_deadline(short));
    let client = world.dial(&ca.identity(ALICE)).await;
    let (answer, _send) = client.connect("10.0.0.1:80").await;
    world.drain.cancel();
    assert!(soon(read_all(&mut answer.into_body())).await.is_err());
    soon(world.serving).await.unwrap();
    assert_eq!(world.seen.closed(), [Closed::DrainDeadline]);
}

#[tokio::test]
async fn a_handshake_does_not_hold_up_a_drain() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), echo);
    let _silent = TcpStream::connect(world.addr).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.drain.cancel();
    soon(world.serving).await.unwrap();
}

#[tokio::test]
async fn rotation_leaves_streams_and_shows_to_new_connections() {
    let ca = Ca::new();
    let identity = ca.identity(WAYPOINT);
    let world = World::start(identity.clone(), echo);
    let alice = ca.identity(ALICE);
    let client = world.dial(&alice).await;
    let (answer, mut send) = client.connect("10.0.0.1:80").await;
    let mut recv = answer.into_body();
    let next = ca.good(WAYPOINT);
    identity.rotate(next.svid(), ca.bundles("cluster.local")).unwrap();
    let tcp = TcpStream::connect(world.addr).await.unwrap();
    let expect = agent_waypoint::tls::Expect::TrustDomain(td("cluster.local"));
    let fresh = agent_waypoint::tls::connect(&alice, tcp, expect).await.unwrap();
    assert_eq!(fresh.stream.get_ref().1.peer_certificates().unwrap(), next.chain);
    send.send_data(Bytes::from_static(b"old stream"), true).unwrap();
    assert_eq!(soon(read_all(&mut recv)).await.unwrap(), b"old stream bye");
    assert!(!refuses_new_streams(&client).await);
}

#[tokio::test]
async fn removed_roots_end_the_connections_that_stood_on_them() {
    let (old, new) = (Ca::new(), Ca::new());
    let identity = old.identity(WAYPOINT);
    let mut both = old.bundles("cluster.local");
    both.add_der(td("cluster.local"), vec![new.root.clone()]).unwrap();
    identity.rotate(old.good(WAYPOINT).svid(), both.clone()).unwrap();
    let world = World::start(identity.clone(), echo);
    let by_old = Identity::new(old.good(ALICE).svid(), both.clone()).unwrap();
    let by_new = Identity::new(new.good(ALICE).svid(), both).unwrap();
    let (leaving, staying) = (world.dial(&by_old).await, world.dial(&by_new).await);
    let (answer, _send) = leaving.connect("10.0.0.1:80").await;
    staying.connect("10.0.0.1:80").await;
    identity.rotate(new.good(WAYPOINT).svid(), new.bundles("cluster.local")).unwrap();
    assert!(soon(read_all(&mut answer.into_body())).await.is_err());
    eventually("ended", || world.seen.closed() == [Closed::Distrusted]).await;
    assert_eq!(staying.connect("10.0.0.1:80").await.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_connection_is_asked_to_leave_before_its_certificate_ends_and_then_ended() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), echo);
    let mut short = leaf(&[ALICE]);
    short.not_after = OffsetDateTime::now_utc() + Duration::from_secs(8);
    let alice = Identity::new(ca.issue(&short).svid(), ca.bundles("cluster.local")).unwrap();
    let client = world.dial(&alice).await;
    let (answer, mut send) = client.connect("10.0.0.1:80").await;
    let mut recv = answer.into_body();
    soon(async {
        while !refuses_new_streams(&client).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    send.send_data(Bytes::from_static(b"still"), false).unwrap();
    assert_eq!(recv.data().await.unwrap().unwrap(), "still", "asked to leave, not thrown out");
    assert!(soon(read_all(&mut recv)).await.is_err());
    eventually("ended", || world.seen.closed() == [Closed::Expired]).await;
    assert!(alice.expired(), "not before its time");
}

/// Says so once its tunnel should come to its end.
async fn tells(tunnel: Tunnel) {
    let leaving = tunnel.leaving.clone();
    let mut stream = tunnel.accept().unwrap();
    leaving.cancelled().await;
    stream.write_all(b"leaving").await.unwrap();
    stream.shutdown().await.unwrap();
}

#[tokio::test]
async fn whoever_speaks_inside_a_tunnel_is_told_of_a_drain() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), tells);
    let client = world.dial(&ca.identity(ALICE)).await;
    let (answer, _send) = client.connect("10.0.0.1:80").await;
    let mut recv = answer.into_body();
    assert!(timeout(Duration::from_millis(200), recv.data()).await.is_err(), "not before there is a reason");
    world.drain.cancel();
    assert_eq!(soon(read_all(&mut recv)).await.unwrap(), b"leaving");
}

#[tokio::test]
async fn whoever_speaks_inside_a_tunnel_is_told_that_its_certificate_ends_and_no_other_is() {
    let ca = Ca::new();
    let world = World::start(ca.identity(WAYPOINT), tells);
    let mut short = leaf(&[ALICE]);
    short.not_after = OffsetDateTime::now_utc() + Duration::from_secs(8);
    let ending = Identity::new(ca.issue(&short).svid(), ca.bundles("cluster.local")).unwrap();
    let (ending, staying) = (world.dial(&ending).await, world.dial(&ca.identity(ALICE)).await);
    let ((told, _one), (other, _two)) = (ending.connect("10.0.0.1:80").await, staying.connect("10.0.0.1:80").await);
    assert_eq!(soon(read_all(&mut told.into_body())).await.unwrap(), b"leaving");
    assert!(timeout(Duration::from_millis(100), other.into_body().data()).await.is_err(), "its connection stays");
}

#[tokio::test]
async fn an_expired_own_certificate_stops_serving() {
    let ca = Ca::new();
    let mut short = leaf(&[WAYPOINT]);
    short.not_after = OffsetDateTime::now_utc() + Duration::from_secs(6);
    let identity = Identity::new(ca.issue(&short).svid(), ca.bundles("cluster.local")).unwrap();
    let world = World::start(identity.clone(), echo);
    let alice = ca.identity(ALICE);
    let client = world.dial(&alice).await;
    let (answer, _send) = client.connect("10.0.0.1:80").await;
    assert!(soon(read_all(&mut answer.into_body())).await.is_err(), "ended at our own certificate's end");
    eventually("expired", || identity.expired()).await;
    let tcp = TcpStream::connect(world.addr).await.unwrap();
    let expect = agent_waypoint::tls::Expect::TrustDomain(td("cluster.local"));
    assert!(agent_waypoint::tls::connect(&alice, tcp, expect).await.is_err());
    eventually("told", || *world.seen.failed.lock().unwrap() == ["own_certificate_expired"]).await;
    // A new one, and it serves again.
    identity.rotate(ca.good(WAYPOINT).svid(), ca.bundles("cluster.local")).unwrap();
    assert_eq!(world.dial(&alice).await.connect("10.0.0.1:80").await.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_handler_is_dropped_when_the_connection_breaks() {
    let ca = Ca::new();
    let (told, mut said) = tokio::sync::mpsc::channel::<()>(1);
    let world = World::start(ca.identity(WAYPOINT), move |tunnel: Tunnel| {
        let told = told.clone();
        async move {
            std::future::pending::<()>().await;
            drop((tunnel, told));
        }
    });
    let client = world.dial(&ca.identity(ALICE)).await;
    let mut requests = client.requests.clone().ready().await.unwrap();
    let (_answer, _send) = requests.send_request(connect("10.0.0.1:80"), false).unwrap();
    eventually("connected", || world.seen.connections.load(Ordering::SeqCst) == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.driving.abort();
    eventually("closed", || !world.seen.closed().is_empty()).await;
    world.drain.cancel();
    soon(world.serving).await.unwrap();
    // The handler's sender went with the server's: nobody can speak any more.
    assert_eq!(soon(said.recv()).await, None);
}
