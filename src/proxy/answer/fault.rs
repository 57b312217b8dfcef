use http::StatusCode;

use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::policy::CardFault;

/// What goes wrong between decoding and the upstream's answer, beyond what other stages report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum ProxyFault {
    /// The target went away between two requests of one connection.
    #[error("the destination is gone")]
    TargetGone,
    /// Another caller's, unknown or forgotten: not told apart.
    #[error("Session not found")]
    SessionUnknown,
    /// Another version than the session agreed on.
    #[error("MCP-Protocol-Version is not the session's")]
    VersionChanged,
    /// A response to no request of ours.
    #[error("no request of the server is outstanding")]
    UnexpectedResponse,
    /// Over the memory budget.
    #[error("too much is being decoded")]
    OverBudget,
    /// The upstream's answer cannot be read, or is not the answer to what was asked.
    #[error("the upstream's answer cannot be passed on")]
    BadAnswer,
    /// A server's answer to nothing that was asked.
    #[error("an answer to no request")]
    UnaskedAnswer,
    /// TLS in a tunnel to an HTTP port.
    #[error("TLS inside the tunnel to an HTTP port")]
    TlsInTunnel,
    /// Neither HTTP/1.1 nor HTTP/2 in a tunnel to an HTTP port.
    #[error("not HTTP on an HTTP port")]
    NotHttp,
    /// An agent card that names a place which this waypoint does not front.
    #[error("the agent card leads out of what this waypoint fronts")]
    CardLeadsOut,
    /// An agent card that no policy believes.
    #[error("{0}")]
    Card(CardFault),
    /// The server offers no stream.
    #[error("no stream is offered here")]
    NoStream,
    /// An id of the caller's could not be sealed for the server.
    #[error("the request's id cannot be sealed")]
    Unsealed,
    /// Path or host cannot be written on the way out.
    #[error("the request cannot be forwarded as it was decided on")]
    Unsendable,
    /// Another caller's task, an unknown or a forgotten one: not told apart.
    #[error("Failed to retrieve task: Task not found")]
    TaskUnknown,
    /// A header does not repeat the argument that its tool declares it for (MCP 2026-07-28).
    #[error("Header mismatch: headers and body must agree")]
    HeaderMismatch,
    /// Another caller's cursor, another list's, one that was changed or that nobody was given: not told apart.
    #[error("Invalid params: unknown cursor")]
    CursorUnknown,
    /// An id that another request of the session waits under.
    #[error("a request with this id has no answer yet")]
    IdInFlight,
    /// A switch to another protocol on a port that is declared MCP or A2A.
    #[error("no upgrade is possible here")]
    Upgrade,
    /// Routes are attached, and none of them matches.
    #[error("no route for this request")]
    NoRoute,
    /// The route leads nowhere: no backend, one that is not there, or one that may not be referred to.
    #[error("the route leads nowhere")]
    NoBackend,
    /// Nothing came within the route's timeout.
    #[error("the server did not answer in time")]
    RouteTimeout,
    /// A server did not answer an MCP message in the time that it has for that.
    #[error("the server did not answer in time")]
    AnswerTimeout,
    /// The answer streamed until its call was no longer permitted.
    #[error("no longer permitted")]
    Revoked,
}

impl ProxyFault {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::TargetGone | Self::SessionUnknown | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoBackend => StatusCode::INTERNAL_SERVER_ERROR,
            Self::RouteTimeout | Self::AnswerTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::VersionChanged | Self::HeaderMismatch | Self::Unsendable | Self::TlsInTunnel | Self::NotHttp => {
                StatusCode::BAD_REQUEST
            }
            Self::UnexpectedResponse => StatusCode::ACCEPTED,
            // The session goes on with its next request.
            Self::IdInFlight | Self::TaskUnknown | Self::CursorUnknown => StatusCode::OK,
            Self::OverBudget | Self::Unsealed => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadAnswer | Self::UnaskedAnswer | Self::CardLeadsOut | Self::Card(_) => StatusCode::BAD_GATEWAY,
            Self::NoStream => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upgrade => StatusCode::NOT_IMPLEMENTED,
            Self::Revoked => StatusCode::FORBIDDEN,
        }
    }
}

impl Faulty for ProxyFault {
    fn blame(&self) -> Blame {
        match self {
            Self::SessionUnknown
            | Self::VersionChanged
            | Self::UnexpectedResponse
            | Self::Unsendable
            | Self::Upgrade
            | Self::IdInFlight
            | Self::TaskUnknown
            | Self::CursorUnknown
            | Self::HeaderMismatch
            | Self::TlsInTunnel
            | Self::NotHttp => Blame::Caller,
            Self::BadAnswer
            | Self::UnaskedAnswer
            | Self::CardLeadsOut
            | Self::Card(_)
            | Self::NoStream
            | Self::RouteTimeout
            | Self::AnswerTimeout => Blame::Upstream,
            Self::TargetGone | Self::Revoked | Self::NoRoute | Self::NoBackend => Blame::Policy,
            Self::OverBudget | Self::Unsealed => Blame::Waypoint,
        }
    }

    fn retry(&self) -> Retry {
        let went_out = matches!(self, Self::BadAnswer | Self::Revoked | Self::RouteTimeout | Self::AnswerTimeout);
        if went_out { Retry::Unsafe } else { Retry::Safe }
    }

    fn stage(&self) -> Stage {
        match self {
            Self::TargetGone | Self::Unsendable | Self::NoRoute | Self::NoBackend => Stage::Route,
            Self::BadAnswer
            | Self::UnaskedAnswer
            | Self::CardLeadsOut
            | Self::Card(_)
            | Self::NoStream
            | Self::Revoked
            | Self::RouteTimeout
            | Self::AnswerTimeout => Stage::Forward,
            Self::TlsInTunnel | Self::NotHttp | Self::Upgrade => Stage::Read,
            Self::SessionUnknown
            | Self::VersionChanged
            | Self::UnexpectedResponse
            | Self::OverBudget
            | Self::Unsealed
            | Self::IdInFlight
            | Self::TaskUnknown
            | Self::CursorUnknown
            | Self::HeaderMismatch => Stage::Decode,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TargetGone => "target_gone",
            Self::SessionUnknown => "session_unknown",
            Self::VersionChanged => "version_changed",
            Self::UnexpectedResponse => "unexpected_response",
            Self::OverBudget => "over_budget",
            Self::BadAnswer => "bad_answer",
            Self::UnaskedAnswer => "unasked_answer",
            Self::CardLeadsOut => "card_leads_out",
            Self::Card(CardFault::NotSigned) => "card_not_signed",
            Self::Card(CardFault::NotPinned) => "card_not_pinned",
            Self::TlsInTunnel => "tls_in_tunnel",
            Self::NotHttp => "not_http",
            Self::NoStream => "no_stream",
            Self::Unsealed => "unsealed",
            Self::Unsendable => "unsendable",
            Self::Upgrade => "upgrade",
            Self::IdInFlight => "id_in_flight",
            Self::TaskUnknown => "task_unknown",
            Self::CursorUnknown => "cursor_unknown",
            Self::HeaderMismatch => "mcp_header_mismatch",
            Self::Revoked => "revoked",
            Self::NoRoute => "no_route",
            Self::NoBackend => "no_backend",
            Self::RouteTimeout => "route_timeout",
            Self::AnswerTimeout => "answer_timeout",
        }
    }
}
