//! 10,000 policies on 1,000 Services, from files: what a call costs beside them, and how long an edit takes to be in force.
//! By the feed likewise. Numbers, with bounds that only a wrong order of growth breaks: `cargo test --test waypoint scale -- --ignored --nocapture`.

mod feed;

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::lab::{Lab, Upstream, json, service};

const SERVICES: usize = 1_000;
/// Of each Service.
const POLICIES: usize = 10;
const CALLS: usize = 400;
const EDITS: usize = 5;
/// The Service that is called and edited.
const OURS: usize = 7;
const TOOL: &str = "get_x";

fn ip(number: usize) -> String {
    format!("127.1.{}.{}", number / 250, number % 250 + 1)
}

/// A Service with its policies; the first one forbids the tool, where it is to.
fn documents(number: usize, upstream: &Upstream, forbidden: bool) -> String {
    let name = format!("s{number}");
    let mut text = service(&name, &ip(number), upstream.addr, "agent-waypoint.dev/mcp");
    for policy in 0..POLICIES {
        let denied = if forbidden && policy == 0 { TOOL } else { "delete_*" };
        let head = "---\napiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: ";
        writeln!(
            text,
            "{head}{{name: {name}-{policy}, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, name: {name}}}]\n  deny:\n  - to: [{{tools: ['{denied}']}}]\n  require:\n  - to: [{{tools: ['create_*']}}]\n    that: has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == 'o{policy}'\n  allow:\n  - from: [{{serviceAccounts: ['agents/reader']}}]\n    to: [{{tools: ['get_*']}}]"
        )
        .unwrap();
    }
    text
}

/// Renames, as an orderly writer does.
fn write(directory: &Path, number: usize, text: &str) {
    let (next, file) = (directory.join(format!(".s{number}")), directory.join(format!("s{number}.yaml")));
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, file).unwrap();
}

/// Whether a call of the tool goes through.
async fn call(lab: &Lab) -> bool {
    call_at(lab, &format!("{}:80", ip(OURS))).await
}

async fn call_at(lab: &Lab, authority: &str) -> bool {
    let call =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{TOOL}","arguments":{{}}}}}}"#);
    let reply = lab.post("agents/reader", authority, "", &call).await;
    reply.status == 200 && reply.body.contains("content")
}

/// The median time of a call beside the policies of so many Services, and how long each edit took to be in force.
async fn measure(services: usize) -> (Duration, Vec<Duration>) {
    let upstream = Upstream::start(|_, _| json(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#)).await;
    let directory = tempfile::tempdir().unwrap();
    for number in (0..services).chain([OURS]) {
        write(directory.path(), number, &documents(number, &upstream, false));
    }
    let start = Instant::now();
    let lab = Lab::start_with("", |settings| settings.files = vec![directory.path().to_owned()]).await;
    while lab.tunnel("agents/reader", &format!("{}:80", ip(OURS))).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("{} policies: in force {:.2?} after the start", services.max(1) * POLICIES, start.elapsed());
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let start = Instant::now();
        assert!(call(&lab).await);
        times.push(start.elapsed());
    }
    times.sort();
    let mut edits = Vec::new();
    for edit in 0..EDITS {
        let forbidden = edit % 2 == 0;
        let text = documents(OURS, &upstream, forbidden);
        let start = Instant::now();
        write(directory.path(), OURS, &text);
        while call(&lab).await == forbidden {
            assert!(start.elapsed() < Duration::from_secs(30), "the edit is not in force");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        edits.push(start.elapsed());
    }
    (times[CALLS / 2], edits)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a while; for numbers"]
async fn policies_of_others_cost_a_call_nothing_and_an_edit_little() {
    let (alone, _) = measure(0).await;
    let (beside, edits) = measure(SERVICES).await;
    eprintln!(
        "a call: {alone:.2?} alone, {beside:.2?} beside {}; edits in force after {edits:.0?}",
        SERVICES * POLICIES
    );
    assert!(beside < alone * 2, "{beside:?} to {alone:?}");
    assert!(edits.iter().all(|edit| *edit < Duration::from_secs(5)), "{edits:?}");
}
