//! The server as the official client sees it, and what its record says of it.

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientConfig, GetPromptRequestParams, ReadResourceRequestParams,
};
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{Seen, ToolServer};

type Client = RunningService<RoleClient, ClientConfig>;

struct Running {
    url: String,
    address: std::net::SocketAddr,
    seen: Seen,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn start() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, shutdown) = (Seen::new(), CancellationToken::new());
    let task = tokio::spawn(crate::serve(listener, seen.clone(), shutdown.clone()));
    Running { url: format!("http://{address}/mcp"), address, seen, shutdown, task }
}

impl Running {
    async fn client(&self) -> Client {
        let transport = StreamableHttpClientTransport::from_uri(self.url.clone());
        Box::pin(ClientConfig::default().serve(transport)).await.unwrap()
    }

    async fn end(self) {
        self.shutdown.cancel();
        tokio::time::timeout(std::time::Duration::from_secs(10), self.task).await.unwrap().unwrap();
    }
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> CallToolResult {
    let arguments = arguments.as_object().unwrap().clone();
    client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await.unwrap()
}

fn text(result: &CallToolResult) -> String {
    serde_json::to_value(result).unwrap()["content"][0]["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn notes_are_read_written_and_deleted() {
    let server = start().await;
    let client = server.client().await;

    assert_eq!(text(&call(&client, "get_note", json!({"id": "n2"})).await), "n2 (globex): The blue door sticks.");
    let created = call(&client, "create_note", json!({"owner": "acme", "text": "Paint the fence."})).await;
    assert_eq!(text(&created), "created n3");
    assert_eq!(text(&call(&client, "search_notes", json!({"query": "fence"})).await), "n3 (acme): Paint the fence.");
    call(&client, "update_note", json!({"id": "n3", "owner": "acme", "text": "Painted."})).await;
    assert_eq!(text(&call(&client, "get_note", json!({"id": "n3"})).await), "n3 (acme): Painted.");
    assert_eq!(text(&call(&client, "delete_note", json!({"id": "n3"})).await), "deleted n3");
    let gone = call(&client, "get_note", json!({"id": "n3"})).await;
    assert_eq!((gone.is_error, text(&gone).as_str()), (Some(true), "there is no note n3"));

    client.cancel().await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn lists_name_everything_there_is() {
    let server = start().await;
    let client = server.client().await;

    let mut tools: Vec<String> = client.list_all_tools().await.unwrap().into_iter().map(|t| t.name.into()).collect();
    tools.sort();
    assert_eq!(tools, ["create_note", "delete_note", "get_note", "search_notes", "update_note"]);
    let prompts: Vec<String> = client.list_all_prompts().await.unwrap().into_iter().map(|p| p.name).collect();
    assert_eq!(prompts, ["summarize_note"]);
    let resources: Vec<String> = client.list_all_resources().await.unwrap().into_iter().map(|r| r.uri).collect();
    assert_eq!(resources, ["note:///n1", "note:///n2"]);

    let asked =
        GetPromptRequestParams::new("summarize_note").with_arguments(json!({"id": "n1"}).as_object().unwrap().clone());
    assert_eq!(client.get_prompt(asked).await.unwrap().messages.len(), 1);
    let read = client.read_resource(ReadResourceRequestParams::new("note:///n1")).await.unwrap();
    assert!(serde_json::to_string(&read).unwrap().contains("Rotate the signing keys"));
    assert!(client.read_resource(ReadResourceRequestParams::new("note:///n9")).await.is_err());

    client.cancel().await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn an_unknown_tool_is_a_protocol_error_and_the_session_lives() {
    let server = start().await;
    let client = server.client().await;
    assert!(client.call_tool(CallToolRequestParams::new("no_such_tool")).await.is_err());
    assert!(text(&call(&client, "get_note", json!({"id": "n1"})).await).starts_with("n1"));
    assert_eq!(server.seen.tools(), ["no_such_tool", "get_note"]);
    client.cancel().await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn the_record_counts_every_byte_also_of_half_a_request() {
    let server = start().await;
    assert_eq!((server.seen.bytes(), server.seen.connections()), (0, 0));

    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{\"jso").await.unwrap();
    half.shutdown().await.unwrap();
    half.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!((server.seen.bytes(), server.seen.connections()), (55, 1));
    assert_eq!(server.seen.requests(), []);

    let client = server.client().await;
    call(&client, "search_notes", json!({"query": "door", "n": 1.50})).await;
    let calls = server.seen.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].http.as_str(), calls[0].path.as_str()), ("POST", "/mcp"));
    assert_eq!(calls[0].arguments, Some(json!({"query": "door", "n": 1.5})));
    client.cancel().await.unwrap();
    server.end().await;
}

#[tokio::test]
async fn a_session_opened_on_one_connection_is_known_on_another() {
    let server = ToolServer::new(Seen::new(), CancellationToken::new());
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let opened = exchange(&server, "", &initialize).await;
    let session = opened.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap();
    let session = format!("mcp-session-id: {session}\r\n");

    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert!(exchange(&server, &session, &initialized).await.starts_with("HTTP/1.1 202"));
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    assert!(exchange(&server, &session, &list).await.contains("delete_note"));
    assert!(exchange(&server, "mcp-session-id: another\r\n", &list).await.starts_with("HTTP/1.1 404"));
    assert_eq!(server.seen().connections(), 4);
}

/// One request on a connection of its own (any stream will do: here one in memory), with a Host that is no address.
async fn exchange(server: &ToolServer, headers: &str, message: &Value) -> String {
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let server = server.clone();
    tokio::spawn(async move { server.serve_connection(far).await });
    let body = message.to_string();
    let length = body.len();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: repo-mcp.tools.svc.cluster.local\r\nconnection: close\r\n{headers}\
         accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    near.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    answer
}
