//! What takes hours and must take no time to test: one in-memory connection under a paused clock.

use std::sync::Arc;
use std::time::Duration;

use agent_waypoint::config::limits::{CONNECTION_MAX_AGE, HANDSHAKE_TIMEOUT, PING_INTERVAL, PING_TIMEOUT};
use agent_waypoint::hbone::{Closed, Observer, Server};
use agent_waypoint::tls::{self, Connected, Expect, Identity};
use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use time::OffsetDateTime;
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::pki::{ALICE, Ca, WAYPOINT, ids, leaf};
use crate::world::{Seen, connect, echo};

struct Line {
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

/// A server on one end; the TLS stream of a client on the other.
async fn line() -> (Line, TlsStream<DuplexStream>) {
    let ca = Ca::new();
    let (waypoint, alice) = (long_lived(&ca, WAYPOINT), long_lived(&ca, ALICE));
    let (near, far) = duplex(256 << 10);
    let seen = Arc::new(Seen::default());
    let observer: Arc<dyn Observer> = Arc::<Seen>::clone(&seen);
    let server = Server::new(waypoint).observed_by(observer);
    let addr = "10.1.2.3:4567".parse().unwrap();
    let serving = tokio::spawn(server.serve_io(far, addr, echo, CancellationToken::new()));
    let Connected { stream, .. } = tls::connect(&alice, near, Expect::Exact(ids(&[WAYPOINT]))).await.unwrap();
    (Line { seen, serving }, stream)
}

fn long_lived(ca: &Ca, uri: &str) -> Identity {
    let mut params = leaf(&[uri]);
    params.not_after = OffsetDateTime::now_utc() + Duration::from_secs(7 * 86_400);
    Identity::new(ca.issue(&params).svid(), ca.bundles("cluster.local")).unwrap()
}

async fn client(stream: TlsStream<DuplexStream>) -> (SendRequest<Bytes>, Connection<TlsStream<DuplexStream>, Bytes>) {
    h2::client::handshake(stream).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_a_preface_is_given_up() {
    let (line, _stream) = line().await;
    let begun = Instant::now();
    line.serving.await.unwrap();
    assert_eq!(*line.seen.failed.lock().unwrap(), ["timeout"]);
    assert!(begun.elapsed() <= HANDSHAKE_TIMEOUT + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_given_up() {
    let (line, stream) = line().await;
    // Preface and settings go out, then nobody drives the connection.
    let (_requests, mut connection) = client(stream).await;
    let begun = Instant::now();
    let _pending = futures_util::poll!(&mut connection);
    line.serving.await.unwrap();
    assert_eq!(line.seen.closed(), [Closed::PingTimeout]);
    let limit = PING_INTERVAL + PING_TIMEOUT;
    assert!(begun.elapsed() >= limit && begun.elapsed() < limit + Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_asked_to_leave_and_its_streams_stay() {
    let (line, stream) = line().await;
    let (requests, connection) = client(stream).await;
    let driving = tokio::spawn(connection);
    let mut opening = requests.clone().ready().await.unwrap();
    let (answer, mut send) = opening.send_request(connect("10.0.0.1:80"), false).unwrap();
    let mut recv = answer.await.unwrap().into_body();
    sleep(CONNECTION_MAX_AGE - Duration::from_secs(60)).await;
    requests.clone().ready().await.unwrap();
    sleep(CONNECTION_MAX_AGE / 4 + Duration::from_secs(90)).await;
    assert!(requests.clone().ready().await.is_err(), "no GOAWAY came");
    send.send_data(Bytes::from_static(b"still"), false).unwrap();
    assert_eq!(recv.data().await.unwrap().unwrap(), "still");
    assert!(line.seen.closed().is_empty());
    send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(recv.data().await.unwrap().unwrap(), " bye");
    drop((send, recv, requests, opening));
    let _ended = driving.await.unwrap();
    line.serving.await.unwrap();
    assert_eq!(line.seen.closed(), [Closed::Finished]);
}
