use std::time::Duration;

use super::*;

/// The demo itself is the test: every line of it says what it expects.
#[tokio::test(flavor = "multi_thread")]
async fn every_line_comes_out_as_it_should() {
    let mut out = Vec::new();
    let running = run(Form::Json, Afterwards::End, &mut out, CancellationToken::new());
    let outcome = tokio::time::timeout(Duration::from_secs(240), running).await.unwrap().unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(outcome.is_good() && outcome.lines >= 20, "{text}");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), outcome.lines);
    for line in lines.iter().filter(|line| line["decision"] != "allow") {
        assert_eq!(line["serverSaw"]["bytes"], 0, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_told_to() {
    let stop = CancellationToken::new();
    stop.cancel();
    let mut out = Vec::new();
    let running = run(Form::Table, Afterwards::Serve, &mut out, stop);
    let outcome = tokio::time::timeout(Duration::from_secs(240), running).await.unwrap().unwrap();
    assert!(!outcome.is_good());
}
