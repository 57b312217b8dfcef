//! The decision record: one per call, opened when the call arrives, written exactly once when it ends.
//!
//! Each stage tells the guard what it learnt; a guard that is dropped before a decision says so (`abandoned`). A record
//! holds no argument, token, session id or query string: only names, sizes and keyed digests.

mod guard;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(super) use guard::response_flags;
pub use guard::{Beside, Meter, RecordGuard};

use super::text::bounded;
use crate::call::{Call, HttpHead, McpObject};
use crate::fault::{Blame, Stage};
use crate::policy::{Denial, Permit, Reason, Revision, RuleName, Shadow};

/// What was spoken in the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Model Context Protocol.
    Mcp,
    /// Agent2Agent.
    A2a,
    /// HTTP that is neither.
    Http,
    /// gRPC over HTTP/2.
    Grpc,
    /// Bytes.
    Tcp,
}

impl Protocol {
    /// As logs and our own metrics say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mcp => "mcp",
            Self::A2a => "a2a",
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        }
    }
}

/// How a call ended in the eyes of policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Permitted.
    Allow,
    /// Refused by policy.
    Deny,
    /// It never came to a decision, or failed after it.
    Error,
}

impl Outcome {
    /// As logs and metrics say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Error => "error",
        }
    }
}

/// The Service port a call went to. Absent while none was found: then nothing of the caller's words becomes a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    /// Host name, `NAME.NS.svc.cluster.local` or a ServiceEntry's host: Istio's `destination_service`.
    pub host: Arc<str>,
    /// Short name.
    pub name: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
    /// Service port.
    pub port: u16,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operation {
    /// `tools/call`; or the HTTP method; empty for bytes.
    pub method: Arc<str>,
    /// Tool, prompt or resource, where there is one.
    pub name: Option<Arc<str>>,
    /// Which kind of thing `name` is: `tool`, `prompt`, `resource`, `task`.
    pub kind: Option<&'static str>,
    /// Path without query.
    pub path: Option<Arc<str>>,
}

impl Operation {
    /// What `call` (and the request that carried it) asks for, with every string bounded.
    pub fn of(call: &Call, head: Option<&HttpHead>) -> Self {
        let path = head.map(|head| bounded(&head.path));
        match call {
            Call::Mcp(mcp) => {
                let (kind, name) = match &mcp.object {
                    McpObject::Tool { .. } => (Some("tool"), mcp.name()),
                    McpObject::Prompt { .. } => (Some("prompt"), mcp.name()),
                    McpObject::Resource(_) => (Some("resource"), mcp.name()),
                    // Whoever reads the id of a task could use it.
                    McpObject::Task(task) => (Some("tool"), task.tool.as_deref()),
                    McpObject::Base | McpObject::Subscription(_) | McpObject::Setting | McpObject::Other => {
                        (None, None)
                    }
                    McpObject::ServerRequest(request) => (Some("tool"), request.tool.as_deref()),
                };
                Self { method: bounded(&mcp.method), name: name.map(bounded), kind, path }
            }
            Call::A2a(call) => {
                let name = call.task.as_ref().map(|task| bounded(&task.id));
                let kind = name.is_some().then_some("task");
                Self { method: call.operation.as_str().into(), name, kind, path }
            }
            Call::Tcp => Self::default(),
            Call::Http => Self {
                method: head.map(|head| bounded(head.method.as_str())).unwrap_or_default(),
                path,
                ..Self::default()
            },
        }
    }
}

/// Why a call was permitted or refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruling {
    /// A fixed word, `not_allowed`; a metric label, so never of the caller's making.
    pub reason: &'static str,
    /// More, for people.
    pub detail: Option<Arc<str>>,
    /// The rule that decided, where it was one.
    pub rule: Option<RuleName>,
    /// The documents that decided.
    pub revision: Option<Revision>,
    /// The decision of the DryRun set.
    pub shadow: Option<Shadow>,
}

impl Ruling {
    /// For a call that was let through.
    pub fn permitted(permit: &Permit) -> Self {
        Self {
            reason: "allowed",
            detail: None,
            rule: permit.rule().cloned(),
            revision: Some(permit.revision()),
            shadow: permit.shadow().cloned(),
        }
    }

    /// For a call that was refused by the documents of `revision`.
    pub fn refused(denial: &Denial, revision: Revision) -> Self {
        let detail = if let Reason::Closed(cause) = &denial.reason { Some(bounded(cause)) } else { None };
        Self {
            reason: denial.reason.as_str(),
            detail,
            rule: denial.rule.clone(),
            revision: Some(revision),
            shadow: denial.shadow.clone(),
        }
    }
}

/// One finished record. Made by [`RecordGuard`] alone.
#[derive(Debug, Clone)]
pub struct Record {
    pub(super) time: SystemTime,
    pub(super) took: Duration,
    pub(super) request_id: Arc<str>,
    pub(super) peer: Arc<str>,
    pub(super) peer_namespace: Option<Arc<str>>,
    pub(super) source: SocketAddr,
    pub(super) site: Option<Arc<Site>>,
    pub(super) protocol: Protocol,
    pub(super) operation: Operation,
    pub(super) outcome: Outcome,
    pub(super) ruling: Ruling,
    pub(super) subject: Option<Arc<str>>,
    pub(super) session: Option<Arc<str>>,
    pub(super) arguments: Option<Arc<str>>,
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u16>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) upstream: Option<Arc<str>>,
    pub(super) upstream_identity: Option<Arc<str>>,
    pub(super) fault: Option<FaultNote>,
    pub(super) parent: Option<opentelemetry::trace::SpanContext>,
    /// About a message inside the stream of another call.
    pub(super) within: bool,
}

/// What a stage's error said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FaultNote {
    pub(super) stage: Stage,
    pub(super) blame: Blame,
    pub(super) reason: &'static str,
    pub(super) detail: Arc<str>,
}

impl Record {
    /// How the call ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The fixed word for why.
    pub fn reason(&self) -> &'static str {
        self.ruling.reason
    }

    /// 16 hex digits, in the answer to the caller and in every line about the call.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }
}

/// As logs say it.
pub(super) fn blame_word(blame: Blame) -> &'static str {
    match blame {
        Blame::Caller => "caller",
        Blame::Upstream => "upstream",
        Blame::Policy => "policy",
        Blame::Waypoint => "waypoint",
    }
}
