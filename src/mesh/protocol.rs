//! What a port speaks, from `appProtocol`, a ServiceEntry's `protocol`, or Istio's prefix of the port's name.

use crate::document::agent_policy::Protocol;
use crate::document::within;

/// What a Service or ServiceEntry itself says of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Declared by `appProtocol`.
    Declared(Protocol),
    /// HTTP/1.1
    Http,
    /// HTTP/2 by prior knowledge, gRPC included.
    Http2,
    /// Bytes, TLS of the client's own included.
    Tcp,
    /// Not carried by HBONE.
    Udp,
    /// Nothing, or nothing known here.
    Nothing,
}

/// Groups whose `mcp` and `a2a` are understood: ours, and those under which agentgateway has them.
const DECLARING: [&str; 3] = ["agent-waypoint.dev", "agentgateway.dev", "kgateway.dev"];

/// `appProtocol` of a Service port (KEP-3726 names, Istio's protocol names). An unknown one says nothing, as in Istio;
/// one that is nearly ours is an error, since a port meant to be closed would be open.
pub(super) fn of_app_protocol(text: &str) -> Result<Spoken, String> {
    if let Some((group, name)) = text.split_once('/')
        && DECLARING.contains(&group)
    {
        return match name {
            "mcp" => Ok(Spoken::Declared(Protocol::Mcp)),
            "a2a" => Ok(Spoken::Declared(Protocol::A2a)),
            _ => Err(format!("{text:?} is not known; write {group}/mcp or {group}/a2a")),
        };
    }
    if is_nearly_declaring(text) {
        return Err(format!("{text:?} declares nothing; write agent-waypoint.dev/mcp or agent-waypoint.dev/a2a"));
    }
    Ok(match text {
        "kubernetes.io/h2c" => Spoken::Http2,
        "kubernetes.io/ws" => Spoken::Http,
        "kubernetes.io/wss" => Spoken::Tcp,
        other => of_istio(other),
    })
}

/// `mcp` of no group or of another's, or a group that is ours but for its spelling.
fn is_nearly_declaring(text: &str) -> bool {
    let (group, name) = text.rsplit_once('/').unwrap_or((text, text));
    name.eq_ignore_ascii_case("mcp")
        || name.eq_ignore_ascii_case("a2a")
        || DECLARING.iter().any(|ours| within(group, ours, 3))
}

/// Istio's protocol names, whatever their case.
pub(super) fn of_istio(text: &str) -> Spoken {
    match text.to_ascii_lowercase().as_str() {
        "http" | "grpc-web" => Spoken::Http,
        "http2" | "grpc" => Spoken::Http2,
        "tcp" | "https" | "tls" | "mongo" | "mysql" | "redis" | "hbone" => Spoken::Tcp,
        "udp" => Spoken::Udp,
        _ => Spoken::Nothing,
    }
}

/// Istio's convention `PROTOCOL[-SUFFIX]` for port names.
pub(super) fn of_port_name(name: &str) -> Spoken {
    if name == "grpc-web" || name.starts_with("grpc-web-") {
        return Spoken::Http;
    }
    of_istio(name.split_once('-').map_or(name, |(prefix, _)| prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_protocols() {
        let rows = [
            ("agent-waypoint.dev/mcp", Spoken::Declared(Protocol::Mcp)),
            ("agentgateway.dev/mcp", Spoken::Declared(Protocol::Mcp)),
            ("kgateway.dev/a2a", Spoken::Declared(Protocol::A2a)),
            ("http", Spoken::Http),
            ("HTTP2", Spoken::Http2),
            ("kubernetes.io/h2c", Spoken::Http2),
            ("grpc", Spoken::Http2),
            ("grpc-web", Spoken::Http),
            ("tcp", Spoken::Tcp),
            ("tls", Spoken::Tcp),
            ("https", Spoken::Tcp),
            ("kubernetes.io/wss", Spoken::Tcp),
            ("example.com/thrift", Spoken::Nothing),
            ("", Spoken::Nothing),
        ];
        for (text, spoken) in rows {
            assert_eq!(of_app_protocol(text), Ok(spoken), "{text}");
        }
        let odd =
            ["mcp", "MCP", "example.com/mcp", "agent-waypoint.io/mcp", "Agent-Waypoint.dev/x", "agent-waypoint.dev"];
        for text in ["agent-waypoint.dev/mpc", "agentgateway.dev/", "kgateway.dev/MCP"].into_iter().chain(odd) {
            assert!(of_app_protocol(text).unwrap_err().contains("write "), "{text}");
        }
    }

    #[test]
    fn port_names() {
        let rows = [
            ("http", Spoken::Http),
            ("http-metrics", Spoken::Http),
            ("http2-x", Spoken::Http2),
            ("grpc-web-x", Spoken::Http),
            ("grpc-x", Spoken::Http2),
            ("tcp-mcp", Spoken::Tcp),
            ("mongo", Spoken::Tcp),
            ("mcp", Spoken::Nothing),
            ("httpx", Spoken::Nothing),
            ("", Spoken::Nothing),
        ];
        for (name, spoken) in rows {
            assert_eq!(of_port_name(name), spoken, "{name}");
        }
    }
}
