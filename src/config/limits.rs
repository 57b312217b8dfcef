//! Every limit of the data path, in one table: name, value, unit, and what it bounds.
//!
//! The reference page and the exported gauges are held against [`TABLE`] by tests; add a limit here and nowhere else.

mod table;

use std::time::Duration;

pub use table::TABLE;

/// TLS handshake, from accept to verified peer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 receive window per stream, bytes. Never equal to the connection's: equal windows deadlock when a client reads
/// stream B before stream A.
pub const STREAM_WINDOW: u32 = 1 << 20;
/// HTTP/2 receive window per connection, bytes.
pub const CONNECTION_WINDOW: u32 = 4 << 20;
/// HTTP/2 frame size that we accept, bytes.
pub const MAX_FRAME: u32 = 64 << 10;
/// Bytes that we queue per HTTP/2 stream towards a peer.
pub const SEND_BUFFER: usize = 256 << 10;
/// What is written to a connection within one turn of its task is held up to this, bytes, and goes out together.
pub const GATHER: usize = 64 << 10;
/// Bytes read ahead from a socket for TLS; a connection that waits holds none.
pub const READ_AHEAD: usize = 64 << 10;
/// Concurrent CONNECT streams per peer connection.
pub const MAX_STREAMS: u32 = 200;
/// HTTP/2 streams within tunnels at once, over all of them; more are refused (`REFUSED_STREAM`).
pub const MAX_INNER_STREAMS: usize = 131_072;
/// Share of [`MAX_INNER_STREAMS`] that one principal may have.
pub const MAX_INNER_STREAMS_PER_PRINCIPAL: usize = 32_768;
/// Streams that a peer may open and reset before we took them (rapid reset, CVE-2023-44487); beyond, its connection ends.
pub const MAX_RESET_BEFORE_ACCEPT: usize = 20;
/// Streams that we had to reset for a peer's errors (CVE-2025-8671); beyond, its connection ends.
pub const MAX_RESET_BY_ERROR: usize = 256;
/// Buffer of one direction of a byte tunnel once it is busy, bytes; it begins with a sixteenth.
pub const COPY_BUFFER: usize = 64 << 10;
/// Header list of one HTTP/2 message, bytes.
pub const MAX_HEADER_LIST: u32 = 64 << 10;
/// Interval of HTTP/2 keepalive pings.
pub const PING_INTERVAL: Duration = Duration::from_secs(10);
/// A ping unanswered for this long ends the connection.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Downstream connections at once; more are closed at accept and counted.
pub const MAX_CONNECTIONS: usize = 16_384;
/// Share of [`MAX_CONNECTIONS`] that one identity may have; more are closed once they are proven, and counted.
pub const MAX_CONNECTIONS_PER_PRINCIPAL: usize = 8_192;
/// TLS handshakes at once.
pub const MAX_HANDSHAKES: usize = 1_024;
/// Age at which a downstream connection is asked to reconnect (GOAWAY), before jitter of up to a quarter.
pub const CONNECTION_MAX_AGE: Duration = Duration::from_secs(3_600);
/// How long before a certificate ends an agent's stream to its peer does, so that its last words still go out.
pub const STREAM_END_LEAD: Duration = Duration::from_secs(1);
/// How long before a peer's certificate ends its connection gets GOAWAY.
pub const EXPIRY_GOAWAY_LEAD: Duration = Duration::from_secs(60);
/// How long streams may go on after SIGTERM.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(50);
/// How long a pod takes new connections after SIGTERM, not ready already; with the deadline less than the 60 s of grace.
pub const LINGER: Duration = Duration::from_secs(5);
/// Time a tunnel in which nothing is being said gets for its first or next request once draining began.
pub const DRAIN_SILENCE: Duration = Duration::from_secs(2);
/// Time over which the streams that MCP clients can open anew are ended once draining began, one after the other.
pub const DRAIN_SPREAD: Duration = Duration::from_secs(5);
/// HTTP/1.1 request or response head, bytes (431 beyond).
pub const MAX_HEAD: usize = 64 << 10;
/// Fields in one head.
pub const MAX_FIELDS: usize = 100;
/// Interim answers (1xx) of a server before its answer to one request; beyond, its connection ends.
pub const MAX_INTERIM: usize = 64;
/// Path, or query, of one request, bytes (414 beyond).
pub const MAX_TARGET: usize = 16 << 10;
/// Framing bytes (chunk extensions and trailers) of one chunked body beyond its data, bytes.
pub const MAX_CHUNK_OVERHEAD: usize = 16 << 10;
/// Bytes read from an inner connection at once.
pub const READ_CHUNK: usize = 16 << 10;
/// Rest of a request body that is read and dropped to keep a connection for the next request, bytes.
pub const MAX_DISCARD: usize = 64 << 10;
/// Time to read and drop what a caller still sends.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence of an answer after its caller closed its sending side, until the caller is taken for gone.
pub const HALF_CLOSED_SILENCE: Duration = Duration::from_secs(60);
/// Time to read one request head once its first byte came.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time an idle inner HTTP connection is kept.
pub const HTTP_IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// Time to read a request body that is held for decoding.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Time in which a server must have answered an MCP message, where `--mcp-answer-seconds` does not say: long calls of tools
/// are legal. An answer by events must have begun.
pub const MCP_ANSWER: Duration = Duration::from_secs(900);
/// Request body that is held for decoding, bytes (413 beyond).
pub const MAX_BODY: usize = 4 << 20;
/// A list result that is held for filtering, bytes.
pub const MAX_LIST: usize = 16 << 20;
/// One SSE event, bytes.
pub const MAX_EVENT: usize = 1 << 20;
/// Nesting depth of JSON.
pub const MAX_DEPTH: usize = 64;
/// Values (nodes) in one JSON text.
pub const MAX_NODES: usize = 262_144;
/// Name of a method, tool or prompt, or text of a request id, bytes.
pub const MAX_NAME: usize = 256;
/// URI of a resource, bytes.
pub const MAX_URI: usize = 8 << 10;
/// Resources, and tasks, that one `subscriptions/listen` may name.
pub const MAX_SUBSCRIPTIONS: usize = 256;
/// Tasks that one A2A message may refer to.
pub const MAX_REFERENCES: usize = 256;
/// Bytes held for decoding over all calls of the process, heads of requests whose bodies are waited for among them.
pub const DECODE_BUDGET: usize = 256 << 20;
/// Share of [`DECODE_BUDGET`] that one principal may hold.
pub const DECODE_BUDGET_PER_PRINCIPAL: usize = 64 << 20;
/// Silence after which an undeclared port is taken for TCP.
pub const SNIFF_TIMEOUT: Duration = Duration::from_secs(1);
/// Time that an authorization provider gets to answer, and the most that its `timeout` can give it.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// What an authorization provider answers, bytes beside its head.
pub const MAX_CHECK_ANSWER: usize = 64 << 10;
/// Calls about which one authorization provider is asked at once; more are refused.
pub const MAX_CHECKS: usize = 1_024;
/// Share of [`MAX_CHECKS`] that calls of one principal may take.
pub const MAX_CHECKS_PER_PRINCIPAL: usize = 256;
/// Copies of requests, as routes mirror them, that are under way at once; more are not made.
pub const MAX_COPIES: usize = 256;
/// Share of [`MAX_COPIES`] that the routes of one namespace may take.
pub const MAX_COPIES_PER_NAMESPACE: usize = 64;
/// What of the body of one copy may wait to go out, bytes; a copy that falls behind is cut off.
pub const MAX_COPY_HELD: usize = 256 << 10;
/// Time that a copy gets, its answer included.
pub const COPY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a route can have a request tried again.
pub const MAX_RETRIES: u32 = 10;
/// Requests that are being tried again at once; others are not.
pub const MAX_RETRYING: usize = 256;
/// Share of [`MAX_RETRYING`] that calls to the Services of one namespace may take.
pub const MAX_RETRYING_PER_NAMESPACE: usize = 64;
/// Pause before a request is tried again where its route says none; twice as long each time.
pub const RETRY_BACKOFF: Duration = Duration::from_millis(25);
/// The longest such pause, unless the route's own is longer.
pub const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// TCP or HBONE connect to an upstream, with TLS.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time an unused upstream HBONE or HTTP connection is kept.
pub const POOL_IDLE: Duration = Duration::from_secs(90);
/// Idle upstream HTTP connections kept per endpoint.
pub const POOL_IDLE_PER_ENDPOINT: usize = 64;
/// Streams per upstream HTTP/2 or HBONE connection before another is opened; fewer where its server takes fewer.
pub const UPSTREAM_STREAMS: usize = 100;
/// Calls to one endpoint at once, for all targets that lead there; streams count until they end. Beyond, others are tried,
/// and where there are none the call gets 503.
pub const MAX_CALLS_PER_ENDPOINT: usize = 8_192;
/// Share of [`MAX_CALLS_PER_ENDPOINT`] that one principal may take; beyond, 503.
pub const MAX_CALLS_PER_ENDPOINT_AND_PRINCIPAL: usize = 4_096;
/// Connections to one endpoint that are being made at once; beyond, as [`MAX_CALLS_PER_ENDPOINT`].
pub const MAX_DIALS_PER_ENDPOINT: usize = 256;
/// Calls to one port of a Service at once; beyond, 503.
pub const MAX_CALLS_PER_TARGET: usize = 32_768;
/// Share of [`MAX_CALLS_PER_TARGET`] that one principal may take.
pub const MAX_CALLS_PER_TARGET_AND_PRINCIPAL: usize = 16_384;
/// Dial failures in a row after which an endpoint is left alone for [`EJECTION_TIME`].
pub const EJECTION_FAILURES: u32 = 3;
/// Time an endpoint that cannot be reached is left alone while others can be called, before one call tries it; doubled each
/// time that it fails again.
pub const EJECTION_TIME: Duration = Duration::from_secs(10);
/// The longest time that [`EJECTION_TIME`] becomes.
pub const EJECTION_LONGEST: Duration = Duration::from_secs(300);
/// Endpoints whose failures are remembered.
pub const EJECTION_TABLE: usize = 4_096;
/// A DNS answer is kept at least this long, whatever its TTL.
pub const DNS_MIN_TTL: Duration = Duration::from_secs(5);
/// A DNS answer is kept at most this long, whatever its TTL.
pub const DNS_MAX_TTL: Duration = Duration::from_secs(300);
/// Time a DNS lookup may take.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// Names whose DNS answers are kept.
pub const DNS_NAMES: usize = 4_096;
/// TLS settings for external servers that are kept ready.
pub const EXTERNAL_TLS_CLIENTS: usize = 1_024;
/// Time for which the id of an MCP session opens, from its `initialize` on. No longer than a sealing key is kept once it
/// no longer seals.
pub const SESSION_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// A server's own `Mcp-Session-Id`, bytes; a longer one begins no session.
pub const MAX_SESSION_ID: usize = 1_024;
/// Sealed text that a caller or a server brings back, bytes.
pub const MAX_SEALED: usize = 16 << 10;
/// Time for which a new sealing key only opens, while the other replicas get it too.
pub const SEALING_KEY_LEAD: Duration = Duration::from_secs(60);
/// Interval at which the file of sealing keys is read again.
pub const SEALING_KEY_POLL: Duration = Duration::from_secs(5);
/// MCP sessions of which something is remembered; beyond, what was used longest ago of the principal with most is
/// forgotten. A forgotten session goes on.
pub const MAX_SESSIONS: usize = 65_536;
/// Share of [`MAX_SESSIONS`] that one principal may hold; beyond, its own used longest ago go.
pub const MAX_SESSIONS_PER_PRINCIPAL: usize = 16_384;
/// Time for which an unused MCP session is remembered.
pub const SESSION_IDLE: Duration = Duration::from_secs(3_600);
/// Bytes of what is remembered of requests in MCP sessions, either way, until their answers come; beyond, what a client's
/// was is told by its id alone, and a server's is not passed on.
pub const MAX_ASKED_BYTES: usize = 32 << 20;
/// Share of [`MAX_ASKED_BYTES`] that requests of one principal may take.
pub const MAX_ASKED_BYTES_PER_PRINCIPAL: usize = 8 << 20;
/// MCP tasks that are remembered; beyond, the oldest of the principal with most is forgotten. A forgotten task goes on, and is
/// in lists again once its caller asked for it.
pub const MAX_TASKS: usize = 65_536;
/// Share of [`MAX_TASKS`] that one principal may hold; beyond, its own oldest go.
pub const MAX_TASKS_PER_PRINCIPAL: usize = 16_384;
/// A2A tasks and contexts, and MCP tasks, whose owner is remembered; beyond, those used longest ago of the principal with most go.
pub const MAX_OWNED: usize = 131_072;
/// Share of [`MAX_OWNED`] that one principal may hold; beyond, its own used longest ago go.
pub const MAX_OWNED_PER_PRINCIPAL: usize = 32_768;
/// Agents whose public card is remembered for rules.
pub const MAX_CARDS: usize = 4_096;
/// Owners that were learnt and wait to be written, or told to another replica; who is further behind is told everything
/// anew.
pub const OWNERS_QUEUE: usize = 16_384;
/// Time that an answer is held until the file and the other replicas know whose its new task is.
pub const OWNERS_SETTLE: Duration = Duration::from_millis(500);
/// What is said of one owner, between replicas and in the file, bytes; who needs more is known to one replica only.
pub const MAX_OWNER_LINE: usize = 64 << 10;
/// Replicas of one waypoint that tell each other owners.
pub const MAX_REPLICAS: usize = 64;
/// Time in which a new replica waits to be told owners before it is ready.
pub const OWNERS_GRACE: Duration = Duration::from_secs(5);
/// MCP sessions whose labels are known; beyond, those used longest ago of the principal with most are forgotten, and begin anew.
pub const MAX_LABELLED: usize = 65_536;
/// Share of [`MAX_LABELLED`] that one principal may hold; beyond, its own used longest ago go.
pub const MAX_LABELLED_PER_PRINCIPAL: usize = 16_384;
/// Labels of one session, and of one policy; an answer that would put another is refused.
pub const MAX_LABELS: usize = 32;
/// Time in which every other replica must know the label that an answer puts on its session; then the answer is refused.
pub const LABELS_SETTLE: Duration = Duration::from_secs(1);
/// Time after which a replica that was lost without a farewell, and that nobody names any more, is taken to be gone. Until then
/// labels are not known here. Longer than calls last once a replica drains.
pub const REPLICA_DOUBT: Duration = Duration::from_secs(120);
/// Time for which another replica is believed to be there and to have told everything, from when that was sent which it
/// answered last; then it is asked anew before a rule is told of labels. Far less than the time after which it may have taken
/// us to be gone, and have put labels without us.
pub const REPLICA_LEASE: Duration = Duration::from_secs(30);
/// Definitions of pinned tools that are remembered, over all endpoints; beyond, those that were listed first are asked for
/// again.
pub const MAX_DEFINITIONS: usize = 65_536;
/// Time for which a tool is taken to be as its server last listed it.
pub const DEFINITION_AGE: Duration = Duration::from_secs(300);
/// Budgets of calls (`limits` of an AgentPolicy) that are not full; beyond, a call that would begin another is refused.
pub const MAX_QUOTAS: usize = 65_536;
/// Share of [`MAX_QUOTAS`] that calls of one principal may begin; beyond, its own that would begin another are refused.
pub const MAX_QUOTAS_PER_PRINCIPAL: usize = 4_096;
/// Access log lines waiting to be written; more are dropped and counted.
pub const ACCESS_LOG_QUEUE: usize = 8_192;
/// One string of a decision record, bytes; longer ones are cut.
pub const RECORD_STRING: usize = 256;
/// Label sets of one family of call metrics; beyond, the caller's labels become `other`.
pub const METRIC_LABEL_SETS: usize = 1_024;
/// Connections to one admin server at once.
pub const ADMIN_CONNECTIONS: usize = 64;
/// Time one admin request may take, from its first byte to the end of its answer.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Source text of one CEL expression, bytes.
pub const MAX_CEL_SOURCE: usize = 4_096;
/// Nesting of one CEL expression.
pub const MAX_CEL_DEPTH: u16 = 32;
/// Steps that the evaluation of all rules for one call may take; beyond, a rule counts as failed.
pub const CEL_BUDGET: u64 = 1_000_000;
/// One token, bytes (401 beyond).
pub const MAX_TOKEN: usize = 16 << 10;
/// Interval at which an issuer's keys are fetched again, before jitter of up to a quarter less.
pub const JWKS_REFRESH: Duration = Duration::from_secs(300);
/// Time after which tokens that no key verifies may have an issuer's keys fetched anew.
pub const JWKS_REFETCH: Duration = Duration::from_secs(10);
/// The longest wait before a fetch that failed is tried again; it begins with a second.
pub const JWKS_RETRY: Duration = Duration::from_secs(60);
/// Age at which keys that could not be fetched again count no more.
pub const JWKS_MAX_AGE: Duration = Duration::from_secs(86_400);
/// Time to fetch an issuer's keys, where a rule does not say.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time that a rule can say.
pub const JWKS_MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// One document of an issuer's, bytes.
pub const JWKS_MAX_BODY: usize = 512 << 10;
/// Keys of one issuer.
pub const JWKS_MAX_KEYS: usize = 64;
/// Places from which keys are fetched for the rules of one namespace.
pub const JWKS_SOURCES: usize = 64;
/// Time a file that does not parse keeps its last documents in force.
pub const FILE_GRACE: Duration = Duration::from_secs(5);
/// Quiet after which a change of files is read, so that a writer's steps are one.
pub const FILE_SETTLE: Duration = Duration::from_millis(100);
/// The longest that such quiet is waited for.
pub const FILE_SETTLE_LONGEST: Duration = Duration::from_millis(400);
/// Interval at which files are looked at even where the filesystem tells of no change.
pub const FILE_POLL: Duration = Duration::from_millis(500);
/// One file of documents, bytes.
pub const MAX_DOCUMENT_FILE: u64 = 64 << 20;
/// Files of documents that are read, over all that the command line names.
pub const MAX_DOCUMENT_FILES: usize = 16_384;
/// Documents in one file.
pub const MAX_DOCUMENTS: usize = 65_536;
/// Nesting of one document. (Custom resource definitions, which are skipped, nest some 40 deep.)
pub const MAX_DOCUMENT_DEPTH: usize = 128;
/// YAML values in one file.
pub const MAX_DOCUMENT_NODES: usize = 8_388_608;
/// YAML anchors, and aliases of them, in one file.
pub const MAX_ANCHORS: usize = 4_096;
/// YAML events that aliases may repeat in one file.
pub const MAX_ALIAS_EVENTS: usize = 65_536;

/// One message of an xDS server, bytes (a first push of everything is one message).
pub const XDS_MAX_MESSAGE: usize = 200 << 20;

/// Time after which a waypoint that istiod's own template started is ready without documents, refusing every call: its
/// startup probe would end it.
pub const DOCUMENTS_GRACE: Duration = Duration::from_secs(20);
