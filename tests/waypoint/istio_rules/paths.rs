//! One path: the one that a rule sees is the one that the server gets, in each of the mesh's modes.

use crate::lab::Lab;
use crate::plain_ports::http::{WEB, hello, istio, web};

fn mesh(mode: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    pathNormalization: {{normalization: {mode}}}\n"
    )
}

/// What is sent, and what arrives; none: refused, and nothing does.
async fn check(mode: &str, policies: &str, rows: &[(&str, u16, Option<&str>)]) {
    let upstream = hello().await;
    let lab = Lab::start(&web(upstream.addr, &format!("{policies}{}", mesh(mode)))).await;
    for (target, status, arrives) in rows {
        let before = upstream.seen().len();
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = lab.raw("agents/reader", WEB, request.as_bytes()).await;
        assert_eq!(reply.status, *status, "{mode} {target}");
        let seen = upstream.seen();
        let line = seen.get(before..).unwrap().split("\r\n").next().unwrap().to_owned();
        let expected = arrives.map_or_else(String::new, |path| format!("GET {path} HTTP/1.1"));
        assert_eq!(line, expected, "{mode} {target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_each_mode_what_is_decided_on_is_what_arrives() {
    let deny = istio("DENY", r#"[{to: [{operation: {paths: ["/private", "/private/*"]}}]}]"#);
    let secret = Some("/public/x");
    check(
        "NONE",
        &deny,
        &[
            ("/public/x", 200, secret),
            ("/public/../private", 200, Some("/public/../private")),
            ("/%70rivate", 200, Some("/%70rivate")),
            ("/private", 403, None),
            ("/a%00", 400, None),
        ],
    )
    .await;
    check(
        "BASE",
        &deny,
        &[
            ("/public/./x?y=/../z", 200, Some("/public/x?y=/../z")),
            ("/public/../private", 403, None),
            ("/public/%2e%2E/private", 403, None),
            ("/public\\..\\private", 403, None),
            ("/%70rivate/x", 403, None),
            ("//private", 200, Some("//private")),
            ("/public%2fx", 200, Some("/public%2Fx")),
            ("/public/..;/private", 400, None),
        ],
    )
    .await;
    check(
        "MERGE_SLASHES",
        &deny,
        &[
            ("//private", 403, None),
            ("/public//x", 200, secret),
            ("/public//../private", 403, None),
            ("/x/..%2fprivate", 200, Some("/x/..%2Fprivate")),
        ],
    )
    .await;
    check(
        "DECODE_AND_MERGE_SLASHES",
        &deny,
        &[
            ("/public%2F%2fx", 200, secret),
            ("/x/..%2fprivate", 403, None),
            ("/x%5c..%5Cprivate", 403, None),
            ("//private%2fx", 403, None),
            ("/%252fprivate", 200, Some("/%252fprivate")),
        ],
    )
    .await;
}

/// Where an AgentPolicy speaks of paths, they have one spelling: the mesh's mode is for Istio's rules alone.
#[tokio::test(flavor = "multi_thread")]
async fn beside_an_agent_policy_paths_are_strict() {
    let policy = "apiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: web, namespace: tools}\nspec:\n  targetRefs: [{kind: Service, name: web}]\n  deny: [{to: [{http: {paths: [\"/private\", \"/private/*\"]}}]}]\n  allow: [{to: [{http: {paths: [\"/*\"]}}]}]\n";
    let rows = [("//private", 400, None), ("/x/../private", 400, None), ("/x", 200, Some("/x"))];
    check("BASE", policy, &rows).await;
}
