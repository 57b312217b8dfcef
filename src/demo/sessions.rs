//! Clients: the official SDK over a local listener that speaks for one identity.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, ClientConfig};
use rmcp::service::{RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt as _};
use serde_json::{Map, Value};
use tokio::time::timeout;

/// The longest that one call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client got for its call.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// A result.
    Result(String),
    /// A result that says of itself that it is an error.
    ToolError(String),
    /// A JSON-RPC error: the session lives on.
    Error { code: i32, message: String },
    /// No answer, or one that ends the session.
    Lost(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result(text) => f.write_str(text),
            Self::ToolError(text) => write!(f, "tool error: {text}"),
            Self::Error { code, message } => write!(f, "error {code}: {message}"),
            Self::Lost(why) => write!(f, "no answer: {why}"),
        }
    }
}

/// One MCP session.
#[derive(Debug)]
pub(super) struct Session {
    client: RunningService<RoleClient, ClientConfig>,
}

impl Session {
    /// Opens a session at `addr`, with a bearer token if there is one. On failure: what the client says of it.
    pub(super) async fn open(addr: SocketAddr, token: Option<&str>) -> Result<Self, String> {
        let mut config = StreamableHttpClientTransportConfig::with_uri(format!("http://{addr}/mcp"));
        if let Some(token) = token {
            config = config.auth_header(token);
        }
        // Not the environment's proxy: it could not reach our loopback.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build();
        let http = http.map_err(|error| error.to_string())?;
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let opening = Box::pin(ClientConfig::default().serve(transport));
        match timeout(PATIENCE, opening).await {
            Ok(Ok(client)) => Ok(Self { client }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Calls a tool.
    pub(super) async fn call(&self, tool: &str, arguments: Map<String, Value>) -> Answer {
        let call = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        match timeout(PATIENCE, self.client.call_tool(call)).await {
            Ok(Ok(result)) => {
                let value = serde_json::to_value(&result).unwrap_or_default();
                let text = value.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default().to_owned();
                if result.is_error == Some(true) { Answer::ToolError(text) } else { Answer::Result(text) }
            }
            Ok(Err(ServiceError::McpError(error))) => {
                Answer::Error { code: error.code.0, message: error.message.into_owned() }
            }
            Ok(Err(error)) => Answer::Lost(error.to_string()),
            Err(_) => Answer::Lost("none in time".to_owned()),
        }
    }

    /// The names of the tools that the server seems to have.
    pub(super) async fn tools(&self) -> Result<BTreeSet<String>, String> {
        match timeout(PATIENCE, self.client.list_all_tools()).await {
            Ok(Ok(tools)) => Ok(tools.into_iter().map(|tool| tool.name.into_owned()).collect()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Ends the session.
    pub(super) async fn close(self) {
        // Whether the server heard of it or not: the demo is over for this session.
        let _ended = timeout(PATIENCE, self.client.cancel()).await;
    }
}
