//! A protocol that only a DryRun policy declares is decoded beside the stream: for the record, and for nothing else.

use super::{CALL, LIST, NOTES, server};
use crate::lab::{Lab, POLICY, eventually, service};

fn documents(addr: std::net::SocketAddr) -> String {
    let policy = POLICY.replace("  protocol: MCP\n", "  protocol: MCP\n  mode: DryRun\n");
    format!("{}---\n{policy}", service("notes", "127.0.9.1", addr, "http"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dry_run_would_decide_is_in_the_record_and_nothing_is_held_back() {
    let upstream = server().await;
    let lab = Lab::start(&documents(upstream.addr)).await;
    let delete = CALL.replace("get_note", "delete_note");
    let twice = r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"tools/list"}"#;
    let large = CALL.replace("{\"id\":1}", &format!("{{\"id\":\"{}\"}}", "a".repeat(5 << 20)));
    let sent = [CALL, &delete, LIST, twice, " {\"not\": json}", &large];
    for (at, body) in sent.into_iter().enumerate() {
        let reply = lab.post("agents/reader", NOTES, "", body).await;
        assert!(reply.status == 200 || reply.status == 202, "{reply:?}");
        assert!(
            upstream.seen().ends_with(body),
            "{}",
            upstream.seen().chars().rev().take(400).collect::<String>().chars().rev().collect::<String>()
        );
        // In the order of the calls.
        eventually("its line", async || lab.log.lines().len() == at + 1).await;
    }
    let plain = "GET /other HTTP/1.1\r\nHost: t\r\n\r\n";
    lab.raw("agents/reader", NOTES, plain.as_bytes()).await;
    let log = lab.log.clone();
    lab.waypoint.shutdown().await;
    let lines = log.lines();
    let shadows: Vec<_> = lines.iter().map(|line| line["shadow"].to_string()).collect();
    assert_eq!(lines.len(), 7, "{lines:?}");
    assert!(lines.iter().all(|line| line["decision"] == "allow" || line["outcome"] == "allow"), "{lines:?}");
    assert!(shadows[0].contains("\"allow\"") && shadows[0].contains("readers"), "{}", shadows[0]);
    assert!(shadows[1].contains("\"deny\"") && shadows[1].contains("no-delete"), "{}", shadows[1]);
    assert!(lines[1].to_string().contains("delete_note"), "{}", lines[1]);
    assert!(shadows[2].contains("\"allow\""), "{}", shadows[2]);
    assert!(shadows[3].contains("\"deny\"") && shadows[4].contains("\"deny\""), "{shadows:?}");
    assert!(shadows[6].contains("\"deny\""), "a request that is no MCP: {}", shadows[6]);
}
