//! The one table of CEL names: path, type, when it is known, and what it means. Docs, schema and `check` come from it.
//!
//! A name that is not here does not compile. Nothing is read here; `scope` looks the values up.

mod elsewhere;
mod unknown;

pub(super) use unknown::unknown;

use super::cel::Ty;

/// A leaf of the table: something that has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Name {
    SpiffeId,
    TrustDomain,
    SourceNamespace,
    ServiceAccount,
    SourceAddress,
    Service,
    DestinationNamespace,
    Port,
    HttpMethod,
    Path,
    Host,
    Headers,
    Jwt,
    McpMethod,
    McpVersion,
    McpSession,
    McpPhase,
    SessionLabels,
    Tool,
    ToolArguments,
    ToolTarget,
    Prompt,
    PromptArguments,
    Resource,
    ResourceUri,
    TaskId,
    ServerMethod,
    ServerParams,
    ServerTool,
    ElicitationMode,
    ElicitationUrl,
    ElicitationHost,
    ResultIsError,
    ResultText,
    ResultValue,
    ResultError,
    A2a(A2aName),
}

/// Of A2A calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum A2aName {
    Operation,
    Binding,
    Version,
    Tenant,
    Skill,
    Streaming,
    Extensions,
    Task,
    TaskOwner,
    TaskState,
    Context,
    ContextOwner,
    ContextNew,
    References,
    Message,
    Push,
    CardVerified,
    CardKeyId,
    CardDigest,
    CardSkills,
}

/// What is known once a call was answered: a rule that reads one of them is asked then, and not before.
pub(super) const OF_ANSWERS: [Name; 4] = [Name::ResultIsError, Name::ResultText, Name::ResultValue, Name::ResultError];

/// A node of the table: something that `has()` may ask for, but that has no value of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Group {
    Source,
    Identity,
    Destination,
    Request,
    Mcp,
    Session,
    Tool,
    Prompt,
    Resource,
    Task,
    ServerRequest,
    A2a,
    A2aTask,
    A2aContext,
    A2aCard,
    Result,
}

/// What stands behind a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Leaf(Name),
    Group(Group),
}

/// When a name has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// For every call.
    Always,
    /// Where the caller's identity has Istio's shape.
    IstioIdentity,
    /// For HTTP requests.
    Http,
    /// Where the request carries a valid token.
    Token,
    /// For MCP calls.
    Mcp,
    /// For MCP calls where the server or caller said it.
    McpIfSaid,
    /// For MCP calls in a session whose labels this replica knows.
    McpSession,
    /// For calls of its own kind; in lists, for each entry.
    OwnKind,
    /// For what a server asks of its client.
    ServerRequest,
    /// For what a server asks of its client, where it says so.
    ServerRequestIfSaid,
    /// Once the call was answered: a rule that reads it is asked then, and not before.
    Answer,
    /// Once the call was answered, where the answer has it.
    AnswerIfSaid,
    /// For calls of its own kind; not known in lists, where a rule over it is neither true nor false.
    OwnKindNotInLists,
    /// For A2A calls.
    A2a,
    /// For A2A calls that say it.
    A2aIfSaid,
    /// For A2A calls that name one whose owner was learnt.
    A2aIfLearnt,
    /// For A2A calls to an agent whose public card was seen here since its policies last changed.
    A2aIfSeen,
    /// For messages to an agent.
    A2aMessage,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The path, as written in expressions.
    pub path: &'static str,
    /// CEL type; none for what only groups others.
    pub ty: Option<Ty>,
    /// When it has a value.
    pub known: Known,
    /// What it is.
    pub doc: &'static str,
    pub(super) entry: Entry,
}

const fn leaf(path: &'static str, name: Name, ty: Ty, known: Known, doc: &'static str) -> Row {
    Row { path, ty: Some(ty), known, doc, entry: Entry::Leaf(name) }
}

const fn group(path: &'static str, group: Group, known: Known, doc: &'static str) -> Row {
    Row { path, ty: None, known, doc, entry: Entry::Group(group) }
}

/// Every name, in the order of the reference.
pub const TABLE: &[Row] = &[
    group("source", Group::Source, Known::Always, "who calls, as its certificate proves"),
    leaf("source.spiffeId", Name::SpiffeId, Ty::Str, Known::Always, "SPIFFE ID of the caller, with spiffe://"),
    group("source.identity", Group::Identity, Known::IstioIdentity, "parts of an identity of Istio's shape"),
    leaf("source.identity.trustDomain", Name::TrustDomain, Ty::Str, Known::IstioIdentity, "trust domain of the caller"),
    leaf("source.identity.namespace", Name::SourceNamespace, Ty::Str, Known::IstioIdentity, "namespace of the caller"),
    leaf(
        "source.identity.serviceAccount",
        Name::ServiceAccount,
        Ty::Str,
        Known::IstioIdentity,
        "service account of the caller",
    ),
    leaf("source.address", Name::SourceAddress, Ty::Str, Known::Always, "IP address of the caller, without port"),
    group("destination", Group::Destination, Known::Always, "what the call is addressed to"),
    leaf("destination.service", Name::Service, Ty::Str, Known::Always, "name of the Service"),
    leaf("destination.namespace", Name::DestinationNamespace, Ty::Str, Known::Always, "namespace of the Service"),
    leaf("destination.port", Name::Port, Ty::Int, Known::Always, "port of the Service"),
    group("request", Group::Request, Known::Http, "the HTTP request that carries the call"),
    leaf("request.method", Name::HttpMethod, Ty::Str, Known::Http, "HTTP method"),
    leaf(
        "request.path",
        Name::Path,
        Ty::Str,
        Known::Http,
        "normalised path, without query. A rule fails where it has a `;`: some servers cut off what follows",
    ),
    leaf("request.host", Name::Host, Ty::Str, Known::Http, "host, lower case, with the port if one was sent"),
    leaf(
        "request.headers",
        Name::Headers,
        Ty::Map,
        Known::Http,
        "headers by name in lower case; repeated ones joined by a comma. A rule fails where one differs in `_` for `-` alone",
    ),
    leaf("jwt", Name::Jwt, Ty::Map, Known::Token, "claims of the verified token: jwt.sub, jwt[\"https://x/y\"]"),
    group("mcp", Group::Mcp, Known::Mcp, "the MCP message"),
    leaf("mcp.methodName", Name::McpMethod, Ty::Str, Known::Mcp, "method; in lists, that of the call an entry offers"),
    leaf("mcp.protocolVersion", Name::McpVersion, Ty::Str, Known::McpIfSaid, "protocol version, where known"),
    leaf("mcp.sessionId", Name::McpSession, Ty::Str, Known::McpIfSaid, "keyed hash of the session id, never the id"),
    leaf("mcp.phase", Name::McpPhase, Ty::Str, Known::Mcp, "list, call or result"),
    group("session", Group::Session, Known::Mcp, "the MCP session of the call"),
    leaf(
        "session.labels",
        Name::SessionLabels,
        Ty::List,
        Known::McpSession,
        "labels that answers put on the session (`results.labels`); a rule that needs them where they are not known refuses",
    ),
    group("mcp.tool", Group::Tool, Known::OwnKind, "the tool that is called or listed"),
    leaf("mcp.tool.name", Name::Tool, Ty::Str, Known::OwnKind, "name of the tool"),
    leaf("mcp.tool.arguments", Name::ToolArguments, Ty::Map, Known::OwnKindNotInLists, "arguments, {} where absent"),
    leaf("mcp.tool.target", Name::ToolTarget, Ty::Str, Known::OwnKind, "name of the Service that has the tool"),
    group("mcp.prompt", Group::Prompt, Known::OwnKind, "the prompt that is fetched or listed"),
    leaf("mcp.prompt.name", Name::Prompt, Ty::Str, Known::OwnKind, "name of the prompt"),
    leaf("mcp.prompt.arguments", Name::PromptArguments, Ty::Map, Known::OwnKindNotInLists, "arguments of the prompt"),
    group("mcp.resource", Group::Resource, Known::OwnKind, "the resource that is read or listed"),
    leaf("mcp.resource.name", Name::Resource, Ty::Str, Known::OwnKind, "URI of the resource, as sent"),
    leaf("mcp.resource.uri", Name::ResourceUri, Ty::Str, Known::OwnKind, "URI of the resource, normalised"),
    group("mcp.task", Group::Task, Known::OwnKind, "the task that is asked about; its tool is `mcp.tool.name`"),
    leaf("mcp.task.id", Name::TaskId, Ty::Str, Known::OwnKind, "id of the task"),
    group("mcp.serverRequest", Group::ServerRequest, Known::ServerRequest, "what the server asks of its client"),
    leaf(
        "mcp.serverRequest.method",
        Name::ServerMethod,
        Ty::Str,
        Known::ServerRequest,
        "its method; also mcp.methodName",
    ),
    leaf(
        "mcp.serverRequest.params",
        Name::ServerParams,
        Ty::Map,
        Known::ServerRequest,
        "its parameters, {} where absent",
    ),
    leaf(
        "mcp.serverRequest.tool",
        Name::ServerTool,
        Ty::Str,
        Known::ServerRequestIfSaid,
        "tool in whose call it is asked, where that is known",
    ),
    leaf(
        "mcp.serverRequest.mode",
        Name::ElicitationMode,
        Ty::Str,
        Known::ServerRequestIfSaid,
        "form or url, for elicitation/create",
    ),
    leaf(
        "mcp.serverRequest.url",
        Name::ElicitationUrl,
        Ty::Str,
        Known::ServerRequestIfSaid,
        "page that the user is sent to, for an elicitation of mode url",
    ),
    leaf(
        "mcp.serverRequest.host",
        Name::ElicitationHost,
        Ty::Str,
        Known::ServerRequestIfSaid,
        "host of that page, lower case, without port",
    ),
    group("a2a", Group::A2a, Known::A2a, "the A2A call, the same for every binding and version"),
    leaf("a2a.operation", Name::A2a(A2aName::Operation), Ty::Str, Known::A2a, "operation, under its name of A2A 1.0"),
    leaf("a2a.binding", Name::A2a(A2aName::Binding), Ty::Str, Known::A2a, "JSONRPC, GRPC or HTTP+JSON"),
    leaf("a2a.version", Name::A2a(A2aName::Version), Ty::Str, Known::A2a, "0.3 or 1.0"),
    leaf("a2a.tenant", Name::A2a(A2aName::Tenant), Ty::Str, Known::A2aIfSaid, "tenant"),
    leaf(
        "a2a.skill",
        Name::A2a(A2aName::Skill),
        Ty::Str,
        Known::A2aIfSaid,
        "skill that the caller says it wants, by `a2a.skills`",
    ),
    leaf("a2a.streaming", Name::A2a(A2aName::Streaming), Ty::Bool, Known::A2a, "whether the answer is a stream"),
    leaf("a2a.extensions", Name::A2a(A2aName::Extensions), Ty::List, Known::A2a, "URIs of A2A-Extensions"),
    group("a2a.task", Group::A2aTask, Known::A2aIfSaid, "the task that the call is about"),
    leaf("a2a.task.id", Name::A2a(A2aName::Task), Ty::Str, Known::A2aIfSaid, "id of the task"),
    leaf(
        "a2a.task.owner",
        Name::A2a(A2aName::TaskOwner),
        Ty::Str,
        Known::A2aIfLearnt,
        "SPIFFE ID for which the task was begun",
    ),
    leaf(
        "a2a.task.state",
        Name::A2a(A2aName::TaskState),
        Ty::Str,
        Known::A2aIfLearnt,
        "how the task stood when an answer last said so: TASK_STATE_WORKING ..",
    ),
    group("a2a.context", Group::A2aContext, Known::A2aIfSaid, "the context that the call is about"),
    leaf("a2a.context.id", Name::A2a(A2aName::Context), Ty::Str, Known::A2aIfSaid, "id of the context"),
    leaf(
        "a2a.context.owner",
        Name::A2a(A2aName::ContextOwner),
        Ty::Str,
        Known::A2aIfLearnt,
        "SPIFFE ID for which the context was begun",
    ),
    leaf(
        "a2a.context.isNew",
        Name::A2a(A2aName::ContextNew),
        Ty::Bool,
        Known::A2a,
        "whether a message begins a context",
    ),
    leaf(
        "a2a.referenceTasks",
        Name::A2a(A2aName::References),
        Ty::List,
        Known::A2a,
        "tasks referred to: id, owner where learnt",
    ),
    leaf(
        "a2a.message",
        Name::A2a(A2aName::Message),
        Ty::Map,
        Known::A2aMessage,
        "id, role, parts (kind, text, url, data, size, mediaType, filename), extensions, metadata",
    ),
    leaf(
        "a2a.push",
        Name::A2a(A2aName::Push),
        Ty::List,
        Known::A2a,
        "URLs to call back, inline ones too: url, scheme, host, port, hasCredentials, inline",
    ),
    group("a2a.card", Group::A2aCard, Known::A2aIfSeen, "the agent's public card"),
    leaf(
        "a2a.card.verified",
        Name::A2a(A2aName::CardVerified),
        Ty::Bool,
        Known::A2aIfSeen,
        "whether a key of `a2a.cardTrust.jwks` signed it",
    ),
    leaf(
        "a2a.card.keyId",
        Name::A2a(A2aName::CardKeyId),
        Ty::Str,
        Known::A2aIfSeen,
        "`kid` of that signature, where it has one",
    ),
    leaf(
        "a2a.card.digest",
        Name::A2a(A2aName::CardDigest),
        Ty::Str,
        Known::A2aIfSeen,
        "sha256: and the digest of the card without its signatures, as in `a2a.cardTrust.digests`",
    ),
    leaf("a2a.card.skills", Name::A2a(A2aName::CardSkills), Ty::List, Known::A2aIfSeen, "ids of its skills"),
    group("mcp.result", Group::Result, Known::Answer, "what the server answered; for deny, require and results"),
    leaf(
        "mcp.result.isError",
        Name::ResultIsError,
        Ty::Bool,
        Known::Answer,
        "an error, of the protocol or of the tool",
    ),
    leaf("mcp.result.text", Name::ResultText, Ty::Str, Known::Answer, "every text of the answer, one a line"),
    leaf("mcp.result.value", Name::ResultValue, Ty::Map, Known::AnswerIfSaid, "the whole result"),
    leaf("mcp.result.error", Name::ResultError, Ty::Map, Known::AnswerIfSaid, "the error of the protocol"),
];

/// The longest row that `segments` begins with, and how many segments it took.
pub(super) fn resolve(segments: &[&str]) -> Option<(&'static Row, usize)> {
    let taken = |row: &Row| -> Option<usize> {
        let mut count = 0;
        for part in row.path.split('.') {
            if segments.get(count) != Some(&part) {
                return None;
            }
            count += 1;
        }
        Some(count)
    };
    TABLE.iter().filter_map(|row| taken(row).map(|count| (row, count))).max_by_key(|(_, count)| *count)
}

#[cfg(test)]
mod tests {
    use super::elsewhere::ELSEWHERE;
    use super::*;

    #[test]
    fn every_path_resolves_to_itself() {
        for row in TABLE {
            let segments: Vec<&str> = row.path.split('.').collect();
            let (found, count) = resolve(&segments).unwrap();
            assert_eq!((found.path, count), (row.path, segments.len()));
        }
    }

    #[test]
    fn the_longest_path_wins_and_the_rest_is_left() {
        let (row, count) = resolve(&["mcp", "tool", "arguments", "owner"]).unwrap();
        assert_eq!((row.path, count), ("mcp.tool.arguments", 3));
        assert!(resolve(&["mcp2"]).is_none());
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest() {
        let rows = [
            ("mcp.tool.nmae", "did you mean `mcp.tool.name`"),
            ("source.spiffeID", "did you mean `source.spiffeId`"),
            ("source.principal", "unknown name"),
            ("mcp.resource.target", "the nearest is `mcp.tool.target`"),
            ("backend.name", "the nearest is `destination.service`"),
            ("llm.requestModel", "agentgateway"),
            ("request.uri.x", "the nearest is `request.path`"),
            ("zzz", "names begin with source, destination, request, jwt, mcp, session, a2a"),
        ];
        for (path, want) in rows {
            assert!(unknown(path).contains(want), "{path}: {}", unknown(path));
        }
    }

    #[test]
    fn no_name_elsewhere_is_a_name_here() {
        for (path, nearest) in ELSEWHERE {
            assert!(TABLE.iter().all(|row| row.path != *path), "{path}");
            assert!(nearest.is_empty() || TABLE.iter().any(|row| row.path == *nearest), "{nearest}");
        }
    }
}
