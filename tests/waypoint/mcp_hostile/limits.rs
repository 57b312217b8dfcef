//! What is held for decoding is bounded for each caller, and comes back.

use http::{HeaderValue, Request};
use tokio::io::AsyncWriteExt;

use super::{CALL, NOTES, server};
use crate::lab::{Lab, PATIENCE, Reply, notes};

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_fills_its_share_is_refused_and_others_are_not() {
    const BODY: usize = 4 << 20;
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let part = vec![b' '; BODY - 1];
    let mut answers = tokio::task::JoinSet::new();
    // 64 MiB are a caller's share: of 18 bodies that never end, two do not fit; which, is as they are read.
    for _ in 0..18 {
        let mut tunnel = lab.tunnel("agents/reader", NOTES).await.unwrap();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {BODY}\r\n\r\n"
        );
        tunnel.write_all(head.as_bytes()).await.unwrap();
        // One that is refused in the middle does not take the rest.
        let _refused = tunnel.write_all(&part).await;
        answers.spawn(async move { Reply::read(&mut tunnel).await });
    }
    let refused = answers.join_next().await.unwrap().unwrap();
    assert!(refused.status == 503 && refused.json()["error"]["code"] == -32603, "{refused:?}");
    assert_eq!(lab.post("agents/writer", NOTES, "", CALL).await.status, 200);
    answers.shutdown().await;
    let back = async { while lab.post("agents/reader", NOTES, "", CALL).await.status != 200 {} };
    tokio::time::timeout(PATIENCE, back).await.expect("what was held comes back");
}

/// Compression says a large field again in a byte, and a tunnel of 200 has room for 200 requests.
#[tokio::test(flavor = "multi_thread")]
async fn heads_of_requests_that_wait_for_their_bodies_are_of_that_share() {
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let crumb = HeaderValue::from_str(&format!("a={}", "x".repeat(2_900))).unwrap();
    let mut answers = tokio::task::JoinSet::new();
    // Heads of 60 KiB: of 1,200 a share of 64 MiB has room for some 1,000.
    for _ in 0..6 {
        let stream = lab.tunnel("agents/reader", NOTES).await.unwrap();
        let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
        answers.spawn(async move { connection.await.err().map_or(0, |_broken| 0) });
        for _ in 0..200 {
            let mut request =
                Request::post("http://t/mcp").header("content-type", "application/json").body(()).unwrap();
            for _ in 0..21 {
                request.headers_mut().append("cookie", crumb.clone());
            }
            requests = requests.ready().await.unwrap();
            let (answer, body) = requests.send_request(request, false).unwrap();
            answers.spawn(async move {
                let status = answer.await.map_or(0, |answer| answer.status().as_u16());
                drop(body);
                status
            });
        }
    }
    assert_eq!(answers.join_next().await.unwrap().unwrap(), 503);
    assert_eq!(lab.post("agents/writer", NOTES, "", CALL).await.status, 200);
    answers.shutdown().await;
    let back = async { while lab.post("agents/reader", NOTES, "", CALL).await.status != 200 {} };
    tokio::time::timeout(PATIENCE, back).await.expect("what was held comes back");
}
