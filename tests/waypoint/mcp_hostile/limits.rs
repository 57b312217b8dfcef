//! What is held for decoding is bounded for each caller, and comes back.

use tokio::io::AsyncWriteExt;

use super::{CALL, NOTES, server};
use crate::lab::{Lab, Reply, notes};

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_fills_its_share_is_refused_and_others_are_not() {
    const BODY: usize = 4 << 20;
    let upstream = server().await;
    let lab = Lab::start(&notes(upstream.addr)).await;
    let part = vec![b' '; BODY - 1];
    let mut tunnels = Vec::new();
    // 64 MiB are a caller's share: of 18 bodies that never end, the last ones do not fit.
    for _ in 0..18 {
        let mut tunnel = lab.tunnel("agents/reader", NOTES).await.unwrap();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {BODY}\r\n\r\n"
        );
        tunnel.write_all(head.as_bytes()).await.unwrap();
        // One that is refused in the middle does not take the rest.
        let _refused = tunnel.write_all(&part).await;
        tunnels.push(tunnel);
    }
    let refused = Reply::read(tunnels.last_mut().unwrap()).await;
    assert!(refused.status == 503 && refused.json()["error"]["code"] == -32603, "{refused:?}");
    assert_eq!(lab.post("agents/writer", NOTES, "", CALL).await.status, 200);
    tunnels.clear();
    let began = std::time::Instant::now();
    while lab.post("agents/reader", NOTES, "", CALL).await.status != 200 {
        assert!(began.elapsed().as_secs() < 5, "what was held did not come back");
    }
}
