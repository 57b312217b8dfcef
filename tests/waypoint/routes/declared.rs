//! Routes of ports that are declared MCP or A2A: they lead calls, and what leads is no way round the rules of either end.

use serde_json::{Value, json as value};

use crate::lab::{Lab, Reply, Upstream, json, service, with};
use crate::mcp_hostile::sessions::Tokens;

const TOOL: &str = "127.0.9.21:80";
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
const READER: &str = "agents/reader";

/// A server that says its name in every answer; it knows its own session only.
async fn named(name: &'static str) -> Upstream {
    Upstream::start(move |head, body| {
        let message: Value = serde_json::from_str(body).unwrap_or_default();
        let id = &message["id"];
        let head = head.to_ascii_lowercase();
        if head.contains("mcp-session-id:") && !head.contains(&format!("mcp-session-id: s-{name}")) {
            return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
        }
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let result =
                    value!({"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":name,"version":"1"}});
                let body = value!({"jsonrpc":"2.0","id":id,"result":result});
                return with(&format!("Mcp-Session-Id: s-{name}\r\nx-from: server\r\n"), &body.to_string());
            }
            "tools/list" => value!({"tools":[{"name":"get_note"},{"name":"get_secret"},{"name":"create_note"}]}),
            _ if id.is_null() => return "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
            _ => value!({"content":[{"type":"text","text":name}]}),
        };
        json(&value!({"jsonrpc":"2.0","id":id,"result":result}).to_string())
    })
    .await
}

fn policy(name: &str, rules: &str) -> String {
    format!(
        "apiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {{name: {name}, namespace: tools}}\nspec:\n  targetRefs: [{{kind: Service, name: {name}}}]\n{rules}\n"
    )
}

fn route(kind: &str, rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: r, namespace: tools}}\nspec:\n  parentRefs: [{{group: '', kind: Service, name: tool, port: 80}}]\n  rules:\n{rules}\n"
    )
}

const READERS: &str =
    r#"  allow: [{name: readers, from: [{serviceAccounts: ["agents/reader"]}], to: [{tools: ["get_*"]}]}]"#;

/// `tools/tool`, and the Services `v1` and `v2`, all MCP; what readers may is the same on all, but for `more`.
pub(super) fn documents([tool, v1, v2]: [&Upstream; 3], rules: &str, more: &str) -> String {
    let mcp = "agent-waypoint.dev/mcp";
    [
        service("tool", "127.0.9.21", tool.addr, mcp),
        service("v1", "127.0.9.22", v1.addr, mcp),
        service("v2", "127.0.9.23", v2.addr, mcp),
        policy("tool", READERS),
        policy("v1", READERS),
        policy("v2", READERS),
        route("HTTPRoute", rules),
        more.to_owned(),
    ]
    .join("---\n")
}

pub(super) fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#)
}

pub(super) fn text(reply: &Reply) -> String {
    reply.json()["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

/// A POST to a path of its own, with headers.
pub(super) async fn post(lab: &Lab, path: &str, headers: &str, body: &str) -> Reply {
    let request = crate::lab::post(headers, body).replace("POST /mcp ", &format!("POST {path} "));
    lab.raw(READER, TOOL, request.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_where_its_request_is_led() {
    let (tool, v1, v2) = (named("tool").await, named("v1").await, named("v2").await);
    let rules = r#"
  - matches: [{path: {value: /one}}]
    backendRefs: [{name: v1, port: 80}]
  - matches: [{headers: [{name: x-team, value: two}]}, {method: POST, path: {type: Exact, value: /two}}]
    backendRefs: [{name: v2, port: 80}]
  - matches: [{path: {value: /gone}}]
    backendRefs: [{name: gone, port: 80}]
  - matches: [{path: {value: /plain}}]
    backendRefs: [{name: plain, port: 80}]
  - matches: [{path: {value: /own}}]
    backendRefs: [{name: tool, port: 80}]"#;
    let plain = service("plain", "127.0.9.24", v2.addr, "http");
    let lab = Lab::start(&documents([&tool, &v1, &v2], rules, &plain)).await;
    for (path, headers, status, from) in [
        ("/one", "", 200, "v1"),
        ("/two", "", 200, "v2"),
        ("/one", "x-team: two\r\n", 200, "v1"),
        ("/x", "x-team: two\r\n", 200, "v2"),
        ("/own", "", 200, "tool"),
        ("/gone", "", 500, ""),
        ("/plain", "", 500, ""),
        ("/x", "", 404, ""),
    ] {
        let reply = post(&lab, path, headers, &call("get_note")).await;
        assert_eq!((reply.status, text(&reply).as_str()), (status, from), "{path} {headers}: {reply:?}");
    }
    let before = [&tool, &v1, &v2].map(Upstream::bytes);
    for path in ["/one", "/two", "/own", "/gone", "/x"] {
        let reply = post(&lab, path, "", &call("create_note")).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (200, &value!(-32602)), "{path}: refused first");
    }
    assert_eq!([&tool, &v1, &v2].map(Upstream::bytes), before);
}

/// The Service that a route leads to decides too, of calls and of lists, on the request as it gets it.
#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_both_ends_decide() {
    let (tool, v1, v2) = (named("tool").await, named("v1").await, named("v2").await);
    let rules = r#"
  - matches: [{path: {value: /one}}]
    backendRefs: [{name: v1, port: 80}]
  - matches: [{path: {value: /set}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-role, value: admin}]}}]
    backendRefs: [{name: v2, port: 80}]
  - matches: [{path: {value: /two}}]
    backendRefs: [{name: v2, port: 80, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-to, value: v2}]}}]}]"#;
    let strict = "apiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: strict, namespace: tools}\nspec:\n  targetRefs: [{kind: Service, name: v1}]\n  deny: [{name: secrets, to: [{tools: [get_secret]}]}]\n---\napiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: roles, namespace: tools}\nspec:\n  targetRefs: [{kind: Service, name: v2}]\n  deny: [{name: admins, when: '\"x-role\" in request.headers'}]\n---\napiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: here, namespace: tools}\nspec:\n  targetRefs: [{kind: Service, name: tool}]\n  deny: [{name: to, when: '\"x-to\" in request.headers'}]\n";
    let lab = Lab::start(&documents([&tool, &v1, &v2], rules, strict)).await;
    let names = |reply: &Reply| {
        let json = reply.json();
        let tools = json["result"]["tools"].as_array().cloned().unwrap_or_default();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&post(&lab, "/one", "", LIST).await), ["get_note"], "what v1 refuses is not shown");
    assert_eq!(names(&post(&lab, "/two", "", LIST).await), ["get_note", "get_secret"]);
    let before = v1.bytes();
    assert_eq!(post(&lab, "/one", "", &call("get_secret")).await.json()["error"]["code"], -32602);
    assert_eq!(v1.bytes(), before);
    assert_eq!(text(&post(&lab, "/two", "", &call("get_secret")).await), "v2");
    assert!(v2.seen().contains("x-to: v2"), "{}", v2.seen());
    let before = v2.bytes();
    let reply = post(&lab, "/set", "", &call("get_note")).await;
    assert_eq!(reply.json()["error"]["code"], -32602, "what the route makes of it is what v2 decides on: {reply:?}");
    assert_eq!(v2.bytes(), before);
}

/// Weights move what begins, and nothing that began.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_stays_where_it_began() {
    let (tool, v1, v2) = (named("tool").await, named("v1").await, named("v2").await);
    let weights = |one: u32, two: u32| {
        format!("  - backendRefs: [{{name: v1, port: 80, weight: {one}}}, {{name: v2, port: 80, weight: {two}}}]")
    };
    let before = documents([&tool, &v1, &v2], &weights(1, 3), "");
    let lab = Lab::start(&before).await;
    let mut shares = [0; 2];
    let mut sessions = Vec::new();
    for _ in 0..60 {
        let reply = post(&lab, "/mcp", "", INITIALIZE).await;
        let from = reply.json()["result"]["serverInfo"]["name"].as_str().unwrap().to_owned();
        shares[usize::from(from == "v2")] += 1;
        sessions.push((from, reply.session("2025-06-18")));
    }
    // Fewer or more come once in a million times.
    assert!((2..=31).contains(&shares[0]), "{shares:?} of 60 at 1 and 3");
    for (from, session) in &sessions {
        assert_eq!(text(&post(&lab, "/mcp", session, &call("get_note")).await), *from);
    }
    assert_eq!(tool.bytes(), 0);
    // All weight moves: what began at v2 ends there, what begins goes to v1.
    lab.edit(&documents([&tool, &v1, &v2], &weights(1, 0), "")).await;
    for _ in 0..20 {
        let reply = post(&lab, "/mcp", "", INITIALIZE).await;
        assert_eq!(reply.json()["result"]["serverInfo"]["name"], "v1", "all that begins goes to v1");
    }
    let (_, of_v2) = sessions.iter().find(|(from, _)| from == "v2").unwrap();
    assert_eq!(text(&post(&lab, "/mcp", of_v2, &call("get_note")).await), "v2");
    // The route leads there no more: the client begins anew.
    let only = "  - backendRefs: [{name: v1, port: 80}]";
    lab.edit(&documents([&tool, &v1, &v2], only, "")).await;
    let gone = post(&lab, "/mcp", of_v2, &call("get_note")).await;
    assert_eq!(gone.status, 404, "unknown where no route leads: {gone:?}");
    assert_eq!(tool.bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_timeouts_by_the_route() {
    let (tool, v1) = (named("tool").await, named("v1").await);
    let slow = Upstream::start(|_, _| {
        std::thread::park_timeout(std::time::Duration::from_secs(2));
        with("", "late")
    })
    .await;
    let rules = r#"
  - matches: [{path: {value: /slow}}]
    timeouts: {request: 100ms}
    backendRefs: [{name: v2, port: 80}]
  - filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: route}], remove: [x-b]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-from, value: route}]}}
    backendRefs: [{name: v1, port: 80}]"#;
    let lab = Lab::start(&documents([&tool, &v1, &slow], rules, "")).await;
    let reply = post(&lab, "/mcp", "x-a: caller\r\nx-b: gone\r\n", INITIALIZE).await;
    assert_eq!((reply.status, reply.header("x-from")), (200, Some("route")), "{reply:?}");
    let seen = v1.seen().to_ascii_lowercase();
    assert!(seen.contains("x-a: route\r\n") && !seen.contains("x-b") && !seen.contains("caller"), "{seen}");
    let reply = post(&lab, "/slow", "", &call("get_note")).await;
    assert_eq!(reply.status, 504, "{reply:?}");
}

/// What would make another call of it than was decided on closes the port, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_change_the_call_is_refused() {
    for filter in [
        "{type: URLRewrite, urlRewrite: {hostname: other.example}}",
        "{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /x}}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Mcp-Session-Id, value: x}]}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: content-type, value: text/plain}]}}",
        "{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [mcp-session-id]}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-A2A-Extensions, value: x}]}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: grpc_encoding, value: gzip}]}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Original-URL, value: /x}]}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x_forwarded_client_cert, value: x}]}}",
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: content_type, value: x}]}}",
        "{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: v2, port: 80}}}",
        "{type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}}}",
        "{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [x-none]}}]\n    retry: {attempts: 1} #",
    ] {
        let (tool, v1, v2) = (named("tool").await, named("v1").await, named("v2").await);
        let rules = format!("  - filters: [{filter}]\n    backendRefs: [{{name: v1, port: 80}}]");
        let lab = Lab::start(&documents([&tool, &v1, &v2], &rules, "")).await;
        let reply = post(&lab, "/mcp", "", &call("get_note")).await;
        assert!(reply.body.contains("closed"), "{filter}: {reply:?}");
        assert_eq!([&tool, &v1, &v2].map(Upstream::bytes), [0; 3], "{filter}");
    }
}

/// Agents: one caller's calls go to one backend, as its tasks are there.
#[tokio::test(flavor = "multi_thread")]
async fn an_agents_callers_stay_where_their_tasks_are() {
    let agent = |name: &'static str| {
        Upstream::start(move |_, body| {
            let tree: Value = serde_json::from_str(body).unwrap_or_default();
            let task = value!({"id": name, "contextId": "c", "status": {"state": "TASK_STATE_WORKING"}});
            json(&value!({"jsonrpc": "2.0", "id": tree["id"], "result": {"task": task}}).to_string())
        })
    };
    let (tool, v1, v2) = (agent("tool").await, agent("v1").await, agent("v2").await);
    let rules = "  - backendRefs: [{name: v1, port: 80}, {name: v2, port: 80}]";
    let documents =
        documents([&tool, &v1, &v2], rules, "").replace("agent-waypoint.dev/mcp", "agent-waypoint.dev/a2a").replace(
            r#"from: [{serviceAccounts: ["agents/reader"]}], to: [{tools: ["get_*"]}]"#,
            "to: [{operations: [SendMessage]}]",
        );
    let lab = Lab::start(&documents).await;
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..12 {
        let who = format!("agents/caller-{n}");
        let mut own = std::collections::BTreeSet::new();
        for id in 0..3 {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"SendMessage","params":{{"message":{{"messageId":"m","role":"ROLE_USER","parts":[{{"text":"x"}}]}}}}}}"#
            );
            let request = crate::lab::post("A2A-Version: 1.0\r\n", &body).replace("POST /mcp ", "POST / ");
            let reply = lab.raw(&who, TOOL, request.as_bytes()).await;
            own.insert(reply.json()["result"]["task"]["id"].as_str().unwrap_or_else(|| panic!("{reply:?}")).to_owned());
        }
        assert_eq!(own.len(), 1, "{who}: {own:?}");
        seen.extend(own);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["v1", "v2"], "both get some");
    assert_eq!(tool.bytes(), 0);
}

/// Claims count for rules only where the documents of their own Service take the token; and what a token alone may say, no
/// route says to another Service.
#[tokio::test(flavor = "multi_thread")]
async fn what_tokens_say_is_no_routes_to_say() {
    let tokens = Tokens::new();
    let idp = |to: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: idp, namespace: tools}}\nspec:\n  targetRefs: [{to}]\n  jwtRules: [{{issuer: 'https://idp', jwks: '{}', outputClaimToHeaders: [{{header: x-sub, claim: sub}}]}}]\n---\n{}",
            tokens.jwks,
            policy(
                "v1",
                "  require: [{name: alice, that: 'jwt.sub == \"alice\" && request.headers[\"x-sub\"] == \"alice\"'}]"
            )
            .replace("name: v1, namespace", "name: alice, namespace"),
        )
    };
    let rules = r#"
  - filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-sub, value: mallory}, {name: x_sub, value: mallory}, {name: x-a, value: b}]}}]
    backendRefs: [{name: v1, port: 80}]"#;
    let token = format!("Authorization: Bearer {}\r\n", tokens.sign("https://idp", "alice", "tools", 3600));
    let target = |name: &str| format!("{{group: '', kind: Service, name: {name}}}");
    let (tool, v1, v2) = (named("tool").await, named("v1").await, named("v2").await);
    let lab = Lab::start(&documents([&tool, &v1, &v2], rules, &idp(&target("tool")))).await;
    let reply = post(&lab, "/mcp", &token, &call("get_note")).await;
    assert!(reply.body.contains("closed"), "v1 takes no token: {reply:?}");
    assert_eq!(v1.bytes(), 0);
    let both = format!("{}, {}", target("tool"), target("v1"));
    let lab = Lab::start(&documents([&tool, &v1, &v2], rules, &idp(&both))).await;
    let reply = post(&lab, "/mcp", &token, &call("get_note")).await;
    assert_eq!(text(&reply), "v1", "{reply:?}");
    let seen = v1.seen().to_ascii_lowercase();
    assert!(seen.contains("x-sub: alice\r\n") && seen.contains("x-a: b\r\n") && !seen.contains("mallory"), "{seen}");
    // Documents that are read anew and say the same are the same, whatever else changed.
    let more = "---\napiVersion: agent-waypoint.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: strict, namespace: tools}\nspec:\n  targetRefs: [{kind: Service, name: v1}]\n  deny: [{name: secrets, to: [{tools: [get_secret]}]}]\n";
    lab.edit(&documents([&tool, &v1, &v2], rules, &format!("{}{more}", idp(&both)))).await;
    let refused = post(&lab, "/mcp", &token, &call("get_secret")).await;
    assert!(refused.json()["error"].is_object(), "the new policy is in force: {refused:?}");
    let reply = post(&lab, "/mcp", &token, &call("get_note")).await;
    assert_eq!(text(&reply), "v1", "{reply:?}");
}
