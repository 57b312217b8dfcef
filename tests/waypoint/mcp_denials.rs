//! Every form of denial, once per protocol version and kind of thing: the exact id, the words that the form says, a server
//! that saw nothing, and a session that goes on.

use serde_json::{Value, json as value};

use crate::lab::{Lab, Reply, Upstream, json, service, with};

const SERVER: &str = "127.0.9.1:80";
const MODERN: &str = "2026-07-28";
const VERSIONS: [&str; 5] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", MODERN];
/// Ids that a reader of texts as numbers, or of small numbers alone, would answer with another.
const IDS: [&str; 5] = ["\"i\"", "7", "\"7\"", "9007199254740991", "-1"];

const RULES: &str = r#"
  deny:
  - name: secrets
    to: [{tools: ["delete_*"]}, {prompts: ["secret_*"]}, {resources: ["file:///secret/*"]}]
  - name: settled
    to: [{methods: ["tasks/cancel", "logging/setLevel", "vendor/run"]}]
  require:
  - name: own-org-only
    to: [{tools: ["create_*"]}]
    that: has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == "acme"
  allow:
  - name: readers
    from: [{serviceAccounts: ["agents/reader"]}]
    to: [{tools: ["*"]}, {prompts: ["*"]}, {resources: ["*"]}]
"#;

fn documents(upstream: &Upstream, form: &str) -> String {
    let head = format!(
        "apiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: notes, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, name: notes}}]\n  protocol: MCP\n  denial: {form}"
    );
    format!("{}---\n{head}{RULES}", service("notes", "127.0.9.1", upstream.addr, "agent-waypoint.dev/mcp"))
}

/// A server that makes a task of each call of `get_task`, and never has an unknown name: what is said of one is ours.
async fn server() -> Upstream {
    Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let (id, params) = (&message["id"], &message["params"]);
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let version = &params["protocolVersion"];
                let result =
                    value!({"protocolVersion":version,"capabilities":{},"serverInfo":{"name":"s","version":"1"}});
                let session = format!("Mcp-Session-Id: s-{}\r\n", version.as_str().unwrap());
                return with(&session, &value!({"jsonrpc":"2.0","id":id,"result":result}).to_string());
            }
            "tools/call" if params["name"] == "get_task" => {
                value!({"resultType":"task","task":{"taskId":params["arguments"]["task"],"status":"working","createdAt":"2026-01-01T00:00:00Z"}})
            }
            _ => value!({"content":[{"type":"text","text":"ok"}]}),
        };
        json(&value!({"jsonrpc":"2.0","id":id,"result":result}).to_string())
    })
    .await
}

/// A client of one version, with its session where the version has such.
struct Client<'a> {
    lab: &'a Lab,
    version: &'a str,
    session: String,
}

impl<'a> Client<'a> {
    async fn begin(lab: &'a Lab, version: &'a str) -> Self {
        if version == MODERN {
            return Self { lab, version, session: String::new() };
        }
        let params = value!({"protocolVersion":version,"capabilities":{},"clientInfo":{"name":"c","version":"1"}});
        let hello = value!({"jsonrpc":"2.0","id":"begin","method":"initialize","params":params}).to_string();
        let reply = lab.post("agents/reader", SERVER, "", &hello).await;
        assert_eq!(reply.json()["result"]["protocolVersion"], version, "{reply:?}");
        let named = |line: &&str| line.to_ascii_lowercase().starts_with("mcp-session-id:");
        let session = reply.head.lines().find(named).unwrap();
        // The header came with 2025-06-18; a session says the version of the others.
        let said = if version < "2025-06-18" { String::new() } else { format!("MCP-Protocol-Version: {version}\r\n") };
        Self { lab, version, session: format!("{session}\r\n{said}") }
    }

    async fn ask(&self, id: &str, method: &str, mut params: Value) -> Reply {
        let mut headers = self.session.clone();
        if self.version == MODERN {
            headers = format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\n");
            let named = match method {
                "tools/call" | "prompts/get" => params["name"].as_str(),
                "resources/read" => params["uri"].as_str(),
                "tasks/get" | "tasks/cancel" => params["taskId"].as_str(),
                _ => None,
            };
            headers.extend(named.map(|name| format!("Mcp-Name: {name}\r\n")));
            params["_meta"] = value!({"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}});
        }
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        self.lab.post("agents/reader", SERVER, &headers, &body).await
    }
}

/// In which way a denial is to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// As the server itself says that it has no such thing: code and text.
    Hidden(i64, &'static str),
    /// As every task is that is not the caller's, whether it is there or not.
    NoTask,
    /// Own code, with this reason and rule.
    Disclosed(&'static str, &'static str),
    /// A result that a model reads.
    ToolError(&'static str),
}

fn hold(reply: &Reply, id: &str, said: Said, case: &str) {
    assert_eq!(reply.status, 200, "{case}");
    assert!(reply.body.contains(&format!("\"id\":{id},")) || reply.body.ends_with(&format!("\"id\":{id}}}")), "{case}");
    let told = reply.json();
    let named = reply.head.to_ascii_lowercase().contains("x-agent-waypoint-request-id");
    match said {
        Said::Hidden(code, text) => {
            assert_eq!((&told["error"]["code"], &told["error"]["message"]), (&value!(code), &value!(text)), "{case}");
            assert!(!named && !reply.body.contains("policy") && !reply.body.contains("requestId"), "{case}");
        }
        Said::NoTask => {
            let text = "Failed to retrieve task: Task not found";
            assert_eq!((&told["error"]["code"], &told["error"]["message"]), (&value!(-32602), &value!(text)), "{case}");
            assert!(!reply.body.contains("policy") && !reply.body.contains("requestId"), "{case}");
        }
        Said::Disclosed(reason, rule) => {
            let data = &told["error"]["data"];
            assert_eq!(told["error"]["code"], 40301, "{case}");
            assert_eq!((&data["reason"], &data["rule"]), (&value!(reason), &value!(rule)), "{case}");
            assert!(named && data["requestId"].as_str().unwrap().len() == 16, "{case}");
        }
        Said::ToolError(reason) => {
            let result = &told["result"];
            assert_eq!((&result["isError"], told.get("error")), (&value!(true), None), "{case}");
            assert!(result["content"][0]["text"].as_str().unwrap().contains(reason), "{case}");
            assert!(named, "{case}");
        }
    }
}

/// What is asked for and refused, and how `form` says so to a client of `version`, whose task is `task`.
fn rows(form: &str, version: &str, task: &Value) -> Vec<(&'static str, Value, Said)> {
    let reference = |name: &str| value!({"ref":{"type":"ref/prompt","name":name},"argument":{"name":"a","value":""}});
    let modern = version == MODERN;
    let resource = Said::Hidden(if modern { -32602 } else { -32002 }, "Resource not found");
    let denied = Said::Disclosed("denied_by_rule", "secrets");
    let settled = Said::Disclosed("denied_by_rule", "settled");
    let unmet = Said::Disclosed("requirement_not_met", "own-org-only");
    let no_method = Said::Hidden(-32601, "Method not found");
    // Each as hidden, as disclosed, as Auto has it.
    let pick = |hidden: Said, disclosed: Said, auto: Said| match form {
        "Hidden" => hidden,
        "Disclosed" => disclosed,
        "ToolError" => disclosed,
        _ => auto,
    };
    let unknown = |text: &'static str| Said::Hidden(-32602, text);
    let tool = |hidden: Said, disclosed: Said, auto: Said| match (form, disclosed) {
        ("ToolError", Said::Disclosed(reason, _)) => Said::ToolError(reason),
        _ => pick(hidden, disclosed, auto),
    };
    let (delete, create) = ("Unknown tool: delete_note", "Unknown tool: create_note");
    let prompt = unknown("Unknown prompt: secret_plan");
    let no_task = unknown("Failed to retrieve task: Task not found");
    let mut rows = vec![
        ("tools/call", value!({"name":"delete_note"}), tool(unknown(delete), denied, unknown(delete))),
        (
            "tools/call",
            value!({"name":"create_note","arguments":{"owner":"evil"}}),
            tool(unknown(create), unmet, unmet),
        ),
        ("prompts/get", value!({"name":"secret_plan"}), pick(prompt, denied, prompt)),
        ("completion/complete", reference("secret_plan"), pick(prompt, denied, prompt)),
        ("resources/read", value!({"uri":"file:///secret/b"}), pick(resource, denied, resource)),
        ("vendor/run", value!({}), pick(no_method, settled, settled)),
        // Whose it is not said, whatever the policy says.
        ("tasks/get", value!({"taskId":"not-mine"}), Said::NoTask),
        ("tasks/cancel", value!({"taskId":task}), pick(no_task, settled, settled)),
    ];
    let listen = value!({"notifications":{"resourceSubscriptions":["file:///secret/b"]}});
    rows.push((
        "subscriptions/listen",
        listen,
        pick(unknown("Resource not found"), denied, unknown("Resource not found")),
    ));
    if !modern {
        rows.push(("resources/subscribe", value!({"uri":"file:///secret/b"}), pick(resource, denied, resource)));
        rows.push(("logging/setLevel", value!({"level":"debug"}), pick(no_method, settled, settled)));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_is_the_same_in_every_version() {
    let upstream = server().await;
    for form in ["Auto", "Hidden", "Disclosed", "ToolError"] {
        let lab = Lab::start(&documents(&upstream, form)).await;
        for version in VERSIONS {
            let client = Client::begin(&lab, version).await;
            let task = value!({"name":"get_task","arguments":{"task":format!("t-{version}")}});
            let made = client.ask("\"made\"", "tools/call", task).await.json()["result"]["task"]["taskId"].clone();
            assert!(made.is_string(), "{version}");
            for (at, (method, params, said)) in rows(form, version, &made).into_iter().enumerate() {
                let id = IDS[at % IDS.len()];
                let before = upstream.bytes();
                let reply = client.ask(id, method, params.clone()).await;
                let case = format!("{form} {version} {method} {params}: {said:?}: {reply:?}");
                hold(&reply, id, said, &case);
                assert_eq!(upstream.bytes(), before, "{case}: {}", upstream.seen());
                // The same id may be used again: a refused request is no request of the session's.
                let next = client.ask(id, "tools/call", value!({"name":"get_note"})).await;
                assert_eq!(next.json()["result"]["content"][0]["text"], "ok", "{case}, then {next:?}");
            }
        }
    }
}

/// A result that is an error of a tool is whole in the version that has it so.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_tool_has_the_shape_of_its_version() {
    let upstream = server().await;
    let lab = Lab::start(&documents(&upstream, "ToolError")).await;
    for version in VERSIONS {
        let client = Client::begin(&lab, version).await;
        let told = client.ask("1", "tools/call", value!({"name":"delete_note"})).await.json();
        let kind = (version == MODERN).then_some("complete");
        assert_eq!(told["result"]["resultType"].as_str(), kind, "{version}: {told}");
        assert_eq!(told["result"]["content"][0]["type"], "text", "{version}: {told}");
    }
}

/// Nobody waits for the answer to a notification: it is taken and goes nowhere, and the session goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_notification_ends_no_session() {
    let upstream = server().await;
    for form in ["Auto", "Hidden", "Disclosed", "ToolError"] {
        let lab = Lab::start(&documents(&upstream, form)).await;
        for version in VERSIONS.into_iter().filter(|version| *version != MODERN) {
            let client = Client::begin(&lab, version).await;
            let before = upstream.bytes();
            let notice = r#"{"jsonrpc":"2.0","method":"vendor/told"}"#;
            let reply = lab.post("agents/reader", SERVER, &client.session, notice).await;
            assert_eq!((reply.status, reply.body.as_str()), (202, ""), "{form} {version}: {reply:?}");
            assert_eq!(upstream.bytes(), before, "{form} {version}");
            let next = client.ask("1", "tools/call", value!({"name":"get_note"})).await;
            assert_eq!(next.json()["result"]["content"][0]["text"], "ok", "{form} {version}: {next:?}");
        }
    }
}
