use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::super::*;
use crate::id::{Peer, WorkloadId};
use crate::policy::{Reason, RuleName, Rules, Shadow};

fn peer() -> Peer {
    let id = WorkloadId::parse("spiffe://cluster.local/ns/agents/sa/researcher").unwrap();
    Peer::verified(id, "10.0.0.7:41000".parse().unwrap(), SystemTime::now())
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Blocks in every write until told to go on.
struct Stuck {
    entered: mpsc::Sender<()>,
    go: mpsc::Receiver<()>,
}

impl std::io::Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.entered.send(()).ok();
        self.go.recv().ok();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn telemetry(log: AccessLog) -> Telemetry {
    Telemetry::new(Arc::new(Metrics::new()), log, None, Keyed::from_key(&[1; 32]))
}

async fn one_line(fill: impl FnOnce(&mut RecordGuard)) -> (String, serde_json::Value) {
    let out = Shared::default();
    let telemetry = telemetry(AccessLog::start(out.clone(), 8).unwrap());
    let mut guard = telemetry.begin(&peer(), Protocol::Mcp);
    fill(&mut guard);
    guard.finish();
    telemetry.flush(Duration::from_secs(5)).await;
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

#[tokio::test]
async fn a_call_is_one_line_with_its_rule_and_no_arguments() {
    let (text, line) = one_line(|guard| {
        let site = Site { host: "repo.tools.svc".into(), name: "repo".into(), namespace: "tools".into(), port: 80 };
        guard.site(&Arc::new(site));
        guard.operation(Operation {
            method: "tools/call".into(),
            name: Some("get_issue".into()),
            kind: Some("tool"),
            path: Some("/mcp".into()),
        });
        let rule = RuleName { kind: "AgentPolicy", policy: "tools/repo".into(), rule: "read".into(), generation: 3 };
        let shadow =
            Shadow { refused: Some(Reason::NotAllowed), rule: Some(RuleName { rule: "later".into(), ..rule.clone() }) };
        guard.arguments(Keyed::from_key(&[1; 32]).arguments(b"{\"token\":\"hunter2\"}"));
        guard.allowed(Ruling {
            reason: "allowed",
            rule: Some(rule),
            revision: Some(Rules::no_documents().revision()),
            shadow: Some(shadow),
            detail: None,
        });
        guard.status(http::StatusCode::OK);
        guard.upstream("10.1.1.1:8080", Some("spiffe://cluster.local/ns/tools/sa/repo"));
        guard.meter().received(11);
        guard.meter().sent(22);
    })
    .await;
    assert_eq!(text.matches('\n').count(), 1);
    assert!(!text.contains("hunter2"));
    let expect = [
        ("/peer", "spiffe://cluster.local/ns/agents/sa/researcher"),
        ("/source", "10.0.0.7:41000"),
        ("/target", "tools/repo:80"),
        ("/protocol", "mcp"),
        ("/method", "tools/call"),
        ("/tool", "get_issue"),
        ("/path", "/mcp"),
        ("/decision", "allow"),
        ("/reason", "allowed"),
        ("/rule", "read"),
        ("/policy", "AgentPolicy/tools/repo"),
        ("/revision", &Rules::no_documents().revision().to_string()),
        ("/shadow/decision", "deny"),
        ("/shadow/reason", "not_allowed"),
        ("/shadow/rule", "later"),
        ("/upstream", "10.1.1.1:8080"),
    ];
    for (pointer, value) in expect {
        assert_eq!(line.pointer(pointer).and_then(|v| v.as_str()), Some(value), "{pointer} in {text}");
    }
    assert_eq!(line["generation"], 3);
    assert_eq!(line["status"], 200);
    assert_eq!((line["bytes_in"].as_u64(), line["bytes_out"].as_u64()), (Some(11), Some(22)));
    assert_eq!(line["request_id"].as_str().map(str::len), Some(16));
    assert_eq!(line["arguments"].as_str().map(str::len), Some(32));
}

#[tokio::test]
async fn a_dropped_guard_still_writes_its_record() {
    let (_, line) = one_line(|_| {}).await;
    assert_eq!((line["decision"].as_str(), line["reason"].as_str()), (Some("error"), Some("abandoned")));
}

#[tokio::test]
async fn nothing_in_a_name_can_break_out_of_the_line_or_reach_a_terminal() {
    let name = "a\n{\"forged\":1}\u{1b}[2J\u{7f}\u{9b}\u{2028}\u{202e}\u{e0041}é\"\\";
    let (text, line) = one_line(|guard| {
        guard.operation(Operation {
            method: "tools/call".into(),
            name: Some(name.into()),
            kind: Some("tool"),
            path: None,
        });
    })
    .await;
    assert_eq!(text.matches('\n').count(), 1);
    assert!(!text.trim_end().chars().any(|c| c.is_control() || "\u{2028}\u{202e}\u{e0041}".contains(c)), "{text}");
    assert_eq!(line["tool"].as_str(), Some(name), "escaping loses nothing");
}

#[tokio::test]
async fn a_full_queue_loses_lines_counts_them_and_never_blocks() {
    let (go, wait) = mpsc::channel();
    let (entered, stuck) = mpsc::channel();
    let telemetry = telemetry(AccessLog::start(Stuck { entered, go: wait }, 4).unwrap());
    telemetry.begin(&peer(), Protocol::Http).finish();
    stuck.recv().unwrap();
    for _ in 0..7 {
        telemetry.begin(&peer(), Protocol::Http).finish();
    }
    let text = telemetry.metrics().encode();
    assert!(text.contains("\nagent_waypoint_access_log_dropped_total 3\n"), "{text}");
    drop(go);
}
