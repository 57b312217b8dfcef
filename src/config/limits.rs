//! Every limit of the data path, in one table: name, value, unit, and what it bounds.
//!
//! The reference page and the exported gauges are held against [`TABLE`] by tests; add a limit here and nowhere else.

use std::time::Duration;

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
/// Bytes held for decoding over all calls of the process.
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
pub const MAX_COPIES: usize = 64;
/// What of the body of one copy may wait to go out, bytes; a copy that falls behind is cut off.
pub const MAX_COPY_HELD: usize = 256 << 10;
/// Time that a copy gets, its answer included.
pub const COPY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a route can have a request tried again.
pub const MAX_RETRIES: u32 = 10;
/// Requests that are being tried again at once; others are not.
pub const MAX_RETRYING: usize = 64;
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
/// Streams per upstream HBONE connection before another is opened.
pub const UPSTREAM_STREAMS: usize = 100;
/// Dial failures in a row after which an endpoint is left alone for [`EJECTION_TIME`].
pub const EJECTION_FAILURES: u32 = 3;
/// Time an endpoint that could not be reached is left alone while others can be.
pub const EJECTION_TIME: Duration = Duration::from_secs(10);
/// Endpoints whose dial failures are remembered.
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
/// A2A tasks and contexts whose owner is remembered; beyond, those used longest ago of the principal with most go.
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

/// Names, values and units of every limit, for gauges and the reference.
pub const TABLE: &[(&str, u64, &str)] = &[
    ("handshake_timeout", HANDSHAKE_TIMEOUT.as_secs(), "seconds"),
    ("stream_window", STREAM_WINDOW as u64, "bytes"),
    ("connection_window", CONNECTION_WINDOW as u64, "bytes"),
    ("max_frame", MAX_FRAME as u64, "bytes"),
    ("send_buffer", SEND_BUFFER as u64, "bytes"),
    ("gather", GATHER as u64, "bytes"),
    ("read_ahead", READ_AHEAD as u64, "bytes"),
    ("max_streams", MAX_STREAMS as u64, "streams"),
    ("max_reset_before_accept", MAX_RESET_BEFORE_ACCEPT as u64, "streams"),
    ("max_reset_by_error", MAX_RESET_BY_ERROR as u64, "streams"),
    ("copy_buffer", COPY_BUFFER as u64, "bytes"),
    ("max_header_list", MAX_HEADER_LIST as u64, "bytes"),
    ("ping_interval", PING_INTERVAL.as_secs(), "seconds"),
    ("ping_timeout", PING_TIMEOUT.as_secs(), "seconds"),
    ("max_connections", MAX_CONNECTIONS as u64, "connections"),
    ("max_handshakes", MAX_HANDSHAKES as u64, "connections"),
    ("connection_max_age", CONNECTION_MAX_AGE.as_secs(), "seconds"),
    ("stream_end_lead", STREAM_END_LEAD.as_secs(), "seconds"),
    ("expiry_goaway_lead", EXPIRY_GOAWAY_LEAD.as_secs(), "seconds"),
    ("drain_deadline", DRAIN_DEADLINE.as_secs(), "seconds"),
    ("linger", LINGER.as_secs(), "seconds"),
    ("drain_silence", DRAIN_SILENCE.as_secs(), "seconds"),
    ("drain_spread", DRAIN_SPREAD.as_secs(), "seconds"),
    ("max_head", MAX_HEAD as u64, "bytes"),
    ("max_fields", MAX_FIELDS as u64, "fields"),
    ("max_interim", MAX_INTERIM as u64, "answers"),
    ("max_target", MAX_TARGET as u64, "bytes"),
    ("max_chunk_overhead", MAX_CHUNK_OVERHEAD as u64, "bytes"),
    ("read_chunk", READ_CHUNK as u64, "bytes"),
    ("max_discard", MAX_DISCARD as u64, "bytes"),
    ("discard_timeout", DISCARD_TIMEOUT.as_secs(), "seconds"),
    ("half_closed_silence", HALF_CLOSED_SILENCE.as_secs(), "seconds"),
    ("head_timeout", HEAD_TIMEOUT.as_secs(), "seconds"),
    ("http_idle_timeout", HTTP_IDLE_TIMEOUT.as_secs(), "seconds"),
    ("body_timeout", BODY_TIMEOUT.as_secs(), "seconds"),
    ("mcp_answer", MCP_ANSWER.as_secs(), "seconds"),
    ("max_body", MAX_BODY as u64, "bytes"),
    ("max_list", MAX_LIST as u64, "bytes"),
    ("max_event", MAX_EVENT as u64, "bytes"),
    ("max_depth", MAX_DEPTH as u64, "levels"),
    ("max_nodes", MAX_NODES as u64, "values"),
    ("max_name", MAX_NAME as u64, "bytes"),
    ("max_uri", MAX_URI as u64, "bytes"),
    ("max_subscriptions", MAX_SUBSCRIPTIONS as u64, "names"),
    ("max_references", MAX_REFERENCES as u64, "tasks"),
    ("decode_budget", DECODE_BUDGET as u64, "bytes"),
    ("decode_budget_per_principal", DECODE_BUDGET_PER_PRINCIPAL as u64, "bytes"),
    ("sniff_timeout", SNIFF_TIMEOUT.as_secs(), "seconds"),
    ("check_timeout", CHECK_TIMEOUT.as_secs(), "seconds"),
    ("max_check_answer", MAX_CHECK_ANSWER as u64, "bytes"),
    ("max_checks", MAX_CHECKS as u64, "calls"),
    ("max_checks_per_principal", MAX_CHECKS_PER_PRINCIPAL as u64, "calls"),
    ("max_copies", MAX_COPIES as u64, "copies"),
    ("max_copy_held", MAX_COPY_HELD as u64, "bytes"),
    ("copy_timeout", COPY_TIMEOUT.as_secs(), "seconds"),
    ("max_retries", MAX_RETRIES as u64, "tries"),
    ("max_retrying", MAX_RETRYING as u64, "requests"),
    ("retry_backoff", RETRY_BACKOFF.subsec_millis() as u64, "milliseconds"),
    ("retry_backoff_max", RETRY_BACKOFF_MAX.as_secs(), "seconds"),
    ("dial_timeout", DIAL_TIMEOUT.as_secs(), "seconds"),
    ("pool_idle", POOL_IDLE.as_secs(), "seconds"),
    ("pool_idle_per_endpoint", POOL_IDLE_PER_ENDPOINT as u64, "connections"),
    ("upstream_streams", UPSTREAM_STREAMS as u64, "streams"),
    ("ejection_failures", EJECTION_FAILURES as u64, "failures"),
    ("ejection_time", EJECTION_TIME.as_secs(), "seconds"),
    ("ejection_table", EJECTION_TABLE as u64, "endpoints"),
    ("dns_min_ttl", DNS_MIN_TTL.as_secs(), "seconds"),
    ("dns_max_ttl", DNS_MAX_TTL.as_secs(), "seconds"),
    ("dns_timeout", DNS_TIMEOUT.as_secs(), "seconds"),
    ("dns_names", DNS_NAMES as u64, "names"),
    ("external_tls_clients", EXTERNAL_TLS_CLIENTS as u64, "clients"),
    ("session_life", SESSION_LIFE.as_secs(), "seconds"),
    ("max_session_id", MAX_SESSION_ID as u64, "bytes"),
    ("max_sealed", MAX_SEALED as u64, "bytes"),
    ("sealing_key_lead", SEALING_KEY_LEAD.as_secs(), "seconds"),
    ("sealing_key_poll", SEALING_KEY_POLL.as_secs(), "seconds"),
    ("max_sessions", MAX_SESSIONS as u64, "sessions"),
    ("max_sessions_per_principal", MAX_SESSIONS_PER_PRINCIPAL as u64, "sessions"),
    ("session_idle", SESSION_IDLE.as_secs(), "seconds"),
    ("max_asked_bytes", MAX_ASKED_BYTES as u64, "bytes"),
    ("max_asked_bytes_per_principal", MAX_ASKED_BYTES_PER_PRINCIPAL as u64, "bytes"),
    ("max_tasks", MAX_TASKS as u64, "tasks"),
    ("max_tasks_per_principal", MAX_TASKS_PER_PRINCIPAL as u64, "tasks"),
    ("max_owned", MAX_OWNED as u64, "tasks"),
    ("max_owned_per_principal", MAX_OWNED_PER_PRINCIPAL as u64, "tasks"),
    ("max_cards", MAX_CARDS as u64, "cards"),
    ("owners_queue", OWNERS_QUEUE as u64, "owners"),
    ("owners_settle", OWNERS_SETTLE.subsec_millis() as u64, "milliseconds"),
    ("max_owner_line", MAX_OWNER_LINE as u64, "bytes"),
    ("max_replicas", MAX_REPLICAS as u64, "replicas"),
    ("owners_grace", OWNERS_GRACE.as_secs(), "seconds"),
    ("max_definitions", MAX_DEFINITIONS as u64, "tools"),
    ("definition_age", DEFINITION_AGE.as_secs(), "seconds"),
    ("max_quotas", MAX_QUOTAS as u64, "budgets"),
    ("max_quotas_per_principal", MAX_QUOTAS_PER_PRINCIPAL as u64, "budgets"),
    ("access_log_queue", ACCESS_LOG_QUEUE as u64, "lines"),
    ("record_string", RECORD_STRING as u64, "bytes"),
    ("metric_label_sets", METRIC_LABEL_SETS as u64, "sets"),
    ("admin_connections", ADMIN_CONNECTIONS as u64, "connections"),
    ("admin_timeout", ADMIN_TIMEOUT.as_secs(), "seconds"),
    ("max_cel_source", MAX_CEL_SOURCE as u64, "bytes"),
    ("max_cel_depth", MAX_CEL_DEPTH as u64, "levels"),
    ("cel_budget", CEL_BUDGET, "steps"),
    ("max_token", MAX_TOKEN as u64, "bytes"),
    ("jwks_refresh", JWKS_REFRESH.as_secs(), "seconds"),
    ("jwks_refetch", JWKS_REFETCH.as_secs(), "seconds"),
    ("jwks_retry", JWKS_RETRY.as_secs(), "seconds"),
    ("jwks_max_age", JWKS_MAX_AGE.as_secs(), "seconds"),
    ("jwks_timeout", JWKS_TIMEOUT.as_secs(), "seconds"),
    ("jwks_max_timeout", JWKS_MAX_TIMEOUT.as_secs(), "seconds"),
    ("jwks_max_body", JWKS_MAX_BODY as u64, "bytes"),
    ("jwks_max_keys", JWKS_MAX_KEYS as u64, "keys"),
    ("jwks_sources", JWKS_SOURCES as u64, "places"),
    ("file_grace", FILE_GRACE.as_secs(), "seconds"),
    ("file_settle", FILE_SETTLE.subsec_millis() as u64, "milliseconds"),
    ("file_settle_longest", FILE_SETTLE_LONGEST.subsec_millis() as u64, "milliseconds"),
    ("file_poll", FILE_POLL.subsec_millis() as u64, "milliseconds"),
    ("max_document_file", MAX_DOCUMENT_FILE, "bytes"),
    ("max_document_files", MAX_DOCUMENT_FILES as u64, "files"),
    ("max_documents", MAX_DOCUMENTS as u64, "documents"),
    ("max_document_depth", MAX_DOCUMENT_DEPTH as u64, "levels"),
    ("max_document_nodes", MAX_DOCUMENT_NODES as u64, "values"),
    ("max_anchors", MAX_ANCHORS as u64, "anchors"),
    ("max_alias_events", MAX_ALIAS_EVENTS as u64, "events"),
    ("documents_grace", DOCUMENTS_GRACE.as_secs(), "seconds"),
    ("xds_max_message", XDS_MAX_MESSAGE as u64, "bytes"),
];
