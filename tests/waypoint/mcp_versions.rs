//! The whole of what may be asked, once per protocol version: a newer version must never be held by rules that an older
//! one slips past, nor the other way round.

use serde_json::{Value, json as value};

use crate::lab::{Lab, Reply, Upstream, json, service, with};

const SERVER: &str = "127.0.9.1:80";
const MODERN: &str = "2026-07-28";
/// What 2026-07-28 took away: no right in it, whatever rules say.
const REMOVED: [&str; 7] = [
    "initialize",
    "ping",
    "resources/subscribe",
    "resources/unsubscribe",
    "logging/setLevel",
    "tasks/result",
    "tasks/list",
];
const VERSIONS: [&str; 5] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", MODERN];

const POLICY: &str = r#"
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: notes, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: notes}]
  protocol: MCP
  deny:
  - name: no-secrets
    to: [{resources: ["file:///secret/*"]}, {tools: ["delete_*"]}, {prompts: ["secret_*"]}]
  require:
  - name: own-org-only
    to: [{tools: ["create_*"]}]
    that: has(mcp.tool.arguments.owner) && mcp.tool.arguments.owner == "acme"
  allow:
  - name: readers
    from: [{serviceAccounts: ["agents/reader"]}]
    to: [{tools: ["*"]}, {prompts: ["*"]}, {resources: ["*"]}, {methods: ["vendor/known", "logging/setLevel"]}]
  - name: listers
    from: [{serviceAccounts: ["agents/lister"]}]
    to: [{tools: ["get_note"]}]
"#;

fn documents(upstream: &Upstream) -> String {
    format!("{}---\n{POLICY}", service("notes", "127.0.9.1", upstream.addr, "agent-waypoint.dev/mcp"))
}

/// A server of every version: it agrees to what it is asked for, and answers calls and lists.
async fn server() -> Upstream {
    Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let (id, method) = (&message["id"], message["method"].as_str().unwrap_or_default());
        let result = match method {
            "initialize" => {
                let version = &message["params"]["protocolVersion"];
                let result = value!({"protocolVersion":version,"capabilities":{},"serverInfo":{"name":"s","version":"1"}});
                let session = format!("Mcp-Session-Id: s-{}\r\n", version.as_str().unwrap());
                return with(&session, &value!({"jsonrpc":"2.0","id":id,"result":result}).to_string());
            }
            "tools/list" => {
                value!({"tools":[{"name":"get_note"},{"name":"delete_note"},{"name":"create_note"}],"cacheScope":"public","ttlMs":5,"nextCursor":"n"})
            }
            "prompts/list" => value!({"prompts":[{"name":"greet"},{"name":"secret_plan"}]}),
            "resources/list" => value!({"resources":[{"uri":"file:///a"},{"uri":"file:///secret/b"}]}),
            "resources/templates/list" => {
                value!({"resourceTemplates":[{"uriTemplate":"file:///{x}"},{"uriTemplate":"file:///secret/{x}"}]})
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
    who: &'a str,
    version: &'a str,
    session: String,
}

impl<'a> Client<'a> {
    async fn begin(lab: &'a Lab, who: &'a str, version: &'a str) -> Self {
        let mut client = Self { lab, who, version, session: String::new() };
        client.initialize().await;
        client
    }

    async fn initialize(&mut self) {
        if self.version != MODERN {
            let params =
                value!({"protocolVersion":self.version,"capabilities":{},"clientInfo":{"name":"c","version":"1"}});
            let hello = value!({"jsonrpc":"2.0","id":0,"method":"initialize","params":params}).to_string();
            let reply = self.lab.post(self.who, SERVER, "", &hello).await;
            assert_eq!(reply.json()["result"]["protocolVersion"], self.version, "{reply:?}");
            // The header came with 2025-06-18; a session says the version of the others.
            let said = format!("MCP-Protocol-Version: {}\r\n", self.version);
            let session = reply.session(self.version);
            self.session = if self.version < "2025-06-18" { session.replace(&said, "") } else { session };
        }
    }

    async fn ask(&self, method: &str, params: Value) -> Reply {
        let (headers, params) = self.dressed(method, params);
        let body = value!({"jsonrpc":"2.0","id":"i","method":method,"params":params}).to_string();
        self.lab.post(self.who, SERVER, &headers, &body).await
    }
}

impl Client<'_> {
    /// Headers and parameters as a client of this version sends them.
    fn dressed(&self, method: &str, mut params: Value) -> (String, Value) {
        let version = self.version;
        if version != MODERN {
            return (self.session.clone(), params);
        }
        let mut headers = format!("MCP-Protocol-Version: {version}\r\nMcp-Method: {method}\r\n");
        let named = match method {
            "tools/call" | "prompts/get" => params["name"].as_str(),
            "resources/read" => params["uri"].as_str(),
            "tasks/get" | "tasks/cancel" | "tasks/update" => params["taskId"].as_str(),
            _ => None,
        };
        headers.extend(named.map(|name| format!("Mcp-Name: {name}\r\n")));
        params["_meta"] = value!({"io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {}});
        (headers, params)
    }
}

fn assert_removed(reply: &Reply, case: &str) {
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &value!(-32601)), "{case}");
    assert_eq!(reply.json()["id"], "i", "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_right_is_the_same_in_every_version() {
    let upstream = server().await;
    let lab = Lab::start(&documents(&upstream)).await;
    let prompt = |name: &str| value!({"ref":{"type":"ref/prompt","name":name},"argument":{"name":"a","value":""}});
    let template = |uri: &str| value!({"ref":{"type":"ref/resource","uri":uri},"argument":{"name":"x","value":""}});
    // Method, parameters, and whether the reader may.
    let rows = [
        ("tools/call", value!({"name":"get_note"}), true),
        ("tools/call", value!({"name":"delete_note"}), false),
        ("tools/call", value!({"name":"create_note","arguments":{"owner":"acme"}}), true),
        ("tools/call", value!({"name":"create_note","arguments":{"owner":"evil"}}), false),
        ("tools/call", value!({"name":"create_note"}), false),
        ("prompts/get", value!({"name":"greet"}), true),
        ("prompts/get", value!({"name":"secret_plan"}), false),
        ("resources/read", value!({"uri":"file:///a"}), true),
        ("resources/read", value!({"uri":"file:///secret/b"}), false),
        ("resources/read", value!({"uri":"file:///x/../secret/b"}), false),
        ("resources/read", value!({"uri":"FILE:///%73ecret/b"}), false),
        ("resources/subscribe", value!({"uri":"file:///a"}), true),
        ("resources/subscribe", value!({"uri":"file:///secret/b"}), false),
        ("resources/unsubscribe", value!({"uri":"file:///secret/b"}), false),
        ("completion/complete", prompt("greet"), true),
        ("completion/complete", prompt("secret_plan"), false),
        ("completion/complete", template("file:///{x}"), true),
        ("completion/complete", template("file:///secret/{x}"), false),
        ("subscriptions/listen", value!({"notifications":{"resourceSubscriptions":["file:///a"]}}), true),
        ("subscriptions/listen", value!({"notifications":{"resourceSubscriptions":["file:///secret/b"]}}), false),
        ("subscriptions/listen", value!({"notifications":{"taskIds":["not-mine"]}}), false),
        ("logging/setLevel", value!({"level":"debug"}), true),
        ("tasks/get", value!({"taskId":"not-mine"}), false),
        ("tasks/result", value!({"taskId":"not-mine"}), false),
        ("tasks/cancel", value!({"taskId":"not-mine"}), false),
        ("tasks/update", value!({"taskId":"not-mine"}), false),
        ("server/discover", value!({}), true),
        ("ping", value!({}), true),
        ("vendor/known", value!({}), true),
        ("vendor/other", value!({}), false),
    ];
    for version in VERSIONS {
        let client = Client::begin(&lab, "agents/reader", version).await;
        for (method, params, allowed) in &rows {
            let before = upstream.bytes();
            let reply = client.ask(method, params.clone()).await;
            let case = format!("{version} {method} {params}: {reply:?}");
            if version == MODERN && REMOVED.contains(method) {
                assert_removed(&reply, &case);
                assert_eq!(upstream.bytes(), before, "{case}");
                continue;
            }
            assert_eq!((reply.status, &reply.json()["id"]), (200, &value!("i")), "{case}");
            assert_eq!(reply.json()["result"].is_object(), *allowed, "{case}");
            assert_eq!(upstream.bytes() > before, *allowed, "{case}");
            if !allowed {
                let code = reply.json()["error"]["code"].as_i64().unwrap();
                assert!([-32602, -32002, 40301].contains(&code), "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_filtered_in_every_version() {
    let upstream = server().await;
    let lab = Lab::start(&documents(&upstream)).await;
    for version in VERSIONS {
        let client = Client::begin(&lab, "agents/reader", version).await;
        for (method, seen, unseen) in [
            ("tools/list", "create_note", "delete_note"),
            ("prompts/list", "greet", "secret_plan"),
            ("resources/list", "file:///a", "file:///secret/b"),
            ("resources/templates/list", "file:///{x}", "file:///secret/{x}"),
        ] {
            let reply = client.ask(method, value!({})).await;
            let case = format!("{version} {method}: {reply:?}");
            assert!(reply.body.contains(seen) && !reply.body.contains(unseen), "{case}");
            if method == "tools/list" {
                let result = &reply.json()["result"];
                assert!(result["nextCursor"].is_string() && result["ttlMs"] == 5, "{case}");
                assert_eq!(result["cacheScope"], "private", "{case}");
            }
        }
    }
}

/// Whoever may call one tool gets a session and nothing of what else the server has.
#[tokio::test(flavor = "multi_thread")]
async fn one_right_is_no_other_in_any_version() {
    let upstream = server().await;
    let lab = Lab::start(&documents(&upstream)).await;
    for version in VERSIONS {
        // An id of the server is one session's alone.
        let lab_of_its_own;
        let lab = if version == MODERN {
            &lab
        } else {
            lab_of_its_own = Lab::start(&documents(&upstream)).await;
            &lab_of_its_own
        };
        let client = Client::begin(lab, "agents/lister", version).await;
        let before = upstream.bytes();
        for (method, params) in [
            ("tools/call", value!({"name":"create_note","arguments":{"owner":"acme"}})),
            ("prompts/get", value!({"name":"greet"})),
            ("resources/read", value!({"uri":"file:///a"})),
            ("resources/subscribe", value!({"uri":"file:///a"})),
            ("completion/complete", value!({"ref":{"type":"ref/prompt","name":"greet"}})),
            ("subscriptions/listen", value!({"notifications":{"resourceSubscriptions":["file:///a"]}})),
            ("logging/setLevel", value!({"level":"debug"})),
            ("vendor/known", value!({})),
        ] {
            let reply = client.ask(method, params).await;
            assert!([200, 404].contains(&reply.status), "{version} {method}: {reply:?}");
            assert!(reply.json()["error"].is_object(), "{version} {method}: {reply:?}");
        }
        assert_eq!(upstream.bytes(), before, "{version}: {}", upstream.seen());
        assert!(client.ask("server/discover", value!({})).await.json()["result"].is_object(), "{version}");
    }
}

/// A session's version is what its server answered: a header that says another is one of two servers' readings.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_the_version_that_its_server_chose() {
    let upstream = Upstream::start(|_head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let result = value!({"protocolVersion":"2025-06-18","capabilities":{},"content":[]});
        with("Mcp-Session-Id: s-1\r\n", &value!({"jsonrpc":"2.0","id":message["id"],"result":result}).to_string())
    })
    .await;
    let lab = Lab::start(&documents(&upstream)).await;
    let hello =
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{}}}"#;
    let begun = lab.post("agents/reader", SERVER, "", hello).await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note"}}"#;
    for version in VERSIONS {
        let reply = lab.post("agents/reader", SERVER, &begun.session(version), call).await;
        match version {
            "2025-06-18" => assert_eq!(reply.status, 200, "{reply:?}"),
            _ => {
                assert_eq!(reply.status, 400, "{version}: {reply:?}");
                assert!(reply.json()["error"]["code"].as_i64().unwrap() <= -32600, "{version}: {reply:?}");
            }
        }
    }
    assert_eq!(upstream.seen().matches("tools/call").count(), 1, "{}", upstream.seen());
    // Whoever says none means the session's.
    let session = begun.session("").replace("MCP-Protocol-Version: \r\n", "");
    assert_eq!(lab.post("agents/reader", SERVER, &session, call).await.status, 200);
}

/// What says 2026-07-28 is answered as that version says, so that a client of two eras does not fall back to an older
/// one: every refusal is a JSON-RPC error that it knows.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_sends_a_modern_client_back() {
    let upstream = server().await;
    let lab = Lab::start(&documents(&upstream)).await;
    let meta = format!(r#""_meta":{{"io.modelcontextprotocol/protocolVersion":"{MODERN}"}}"#);
    let discover = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{{{meta}}}}}"#);
    let modern = format!("MCP-Protocol-Version: {MODERN}\r\n");
    let named = format!("{modern}Mcp-Method: server/discover\r\n");
    let rows = [
        (named.clone(), discover.clone(), 200, 0),
        (modern.clone(), discover.clone(), 400, -32020),
        (format!("{modern}Mcp-Method: tools/list\r\n"), discover.clone(), 400, -32020),
        (format!("{named}Mcp-Method: server/discover\r\n"), discover.clone(), 400, -32020),
        (format!("{named}{modern}"), discover.clone(), 400, -32020),
        (String::new(), discover.clone(), 400, -32020),
        ("MCP-Protocol-Version: 2025-11-25\r\n".to_owned(), discover.clone(), 400, -32020),
        ("MCP-Protocol-Version: 2027-01-01\r\n".to_owned(), discover.clone(), 400, -32022),
        (named.clone(), r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#.to_owned(), 400, -32602),
        (named.clone(), format!("[{discover}]"), 400, -32600),
        (named.clone(), discover.replace(":1,", ":1"), 400, -32700),
    ];
    for (headers, body, status, code) in rows {
        let before = upstream.bytes();
        let reply = lab.post("agents/reader", SERVER, &headers, &body).await;
        let told = reply.json()["error"]["code"].as_i64().unwrap_or_default();
        assert_eq!((reply.status, told), (status, code), "{headers}{body}: {reply:?}");
        assert_eq!(upstream.bytes() > before, status == 200, "{headers}{body}");
    }
    let supported = lab.post("agents/reader", SERVER, "MCP-Protocol-Version: 2027-01-01\r\n", &discover).await;
    assert_eq!(supported.json()["id"], 1, "{supported:?}");
    let data = supported.json()["error"]["data"].clone();
    assert_eq!(data["supported"].as_array().unwrap().len(), VERSIONS.len(), "{data}");
    assert_eq!(data["requested"], "2027-01-01");
    // Whoever can never be admitted is told so, and nothing that reads like an older server.
    let reply = lab.post("agents/stranger", SERVER, &named, &discover).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (403, &value!(40301)), "{reply:?}");
}
