use super::dns::DnsFault;
use super::ejection::Outcome;
use super::pick::NoEndpoint;
use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::hbone;
use crate::net::ConnectFault;
use crate::tls::{ExternalFault, HandshakeFault};

/// Why there is no connection to an endpoint. Nothing of a call was sent.
#[derive(Debug, thiserror::Error)]
pub enum DialFault {
    /// The endpoint's name has no address that may be used.
    #[error("name not resolved: {0}")]
    Dns(#[from] DnsFault),
    /// No connection, and no refusal either, within [`crate::config::limits::DIAL_TIMEOUT`].
    #[error("no connection in time")]
    Timeout,
    /// TCP failed.
    #[error(transparent)]
    Connect(#[from] ConnectFault),
    /// The endpoint's ztunnel could not be reached, proved another identity, or refused the tunnel.
    #[error(transparent)]
    Tunnel(#[from] hbone::DialFault),
    /// TLS to an external server failed; its name or chain did not verify, most likely.
    #[error("external TLS: {0}")]
    Tls(HandshakeFault),
    /// What a document says about the endpoint's TLS cannot be used.
    #[error("external TLS: {0}")]
    Settings(#[from] ExternalFault),
    /// The connection ended in its HTTP preface.
    #[error("HTTP handshake failed")]
    Handshake,
    /// [`crate::config::limits::MAX_CALLS_PER_ENDPOINT`] calls are under way there.
    #[error("too many calls to the endpoint are under way")]
    Full,
    /// [`crate::config::limits::MAX_DIALS_PER_ENDPOINT`] connections are being made there.
    #[error("too many connections to the endpoint are being made")]
    Crowded,
    /// As many requests or connections are under way to the Service as the `connectionPool` of its DestinationRule says.
    #[error("as much is under way as the DestinationRule of the Service allows")]
    Bounded,
}

impl DialFault {
    /// What it says of the server; none where that is nothing.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        (self.blame() == Blame::Upstream).then_some(Outcome::Unreached)
    }
}

impl Faulty for DialFault {
    fn blame(&self) -> Blame {
        match self {
            Self::Settings(_) => Blame::Policy,
            Self::Tunnel(fault) => fault.blame(),
            Self::Full | Self::Crowded | Self::Bounded => Blame::Waypoint,
            Self::Dns(_) | Self::Timeout | Self::Connect(_) | Self::Tls(_) | Self::Handshake => Blame::Upstream,
        }
    }

    fn retry(&self) -> Retry {
        Retry::Safe
    }

    fn stage(&self) -> Stage {
        Stage::Dial
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Dns(fault) => fault.reason(),
            Self::Timeout => "dial_timeout",
            Self::Connect(fault) => fault.reason(),
            Self::Tunnel(fault) => fault.reason(),
            Self::Tls(_) => "external_tls",
            Self::Settings(_) => "external_tls_settings",
            Self::Handshake => "http_handshake",
            Self::Full => "endpoint_full",
            Self::Crowded => "endpoint_crowded",
            Self::Bounded => "connection_pool_full",
        }
    }
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum SendFault {
    /// Nothing to send to.
    #[error(transparent)]
    NoEndpoint(#[from] NoEndpoint),
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialFault),
    /// Every connection was closed before a byte of the request went out.
    #[error("the connection closed before the request was sent")]
    Unsent,
    /// The server declared that it did not process the request (HTTP/2 `REFUSED_STREAM`, RFC 9113 section 8.7).
    #[error("the server refused the stream unprocessed")]
    RefusedStream,
    /// The connection ended after some of the request may have been seen.
    #[error("the connection ended before the response")]
    Broken,
    /// What came back is no HTTP response, or one that was not asked for (101).
    #[error("the response is not acceptable HTTP")]
    NotHttp,
    /// The response's head is over [`crate::config::limits::MAX_HEAD`] or [`crate::config::limits::MAX_FIELDS`].
    #[error("the response's head is too large")]
    HeadTooLarge,
    /// The caller's request body ended with an error; the request was cut off.
    #[error("the request body ended early")]
    CallerBody,
    /// The request cannot be expressed in the upstream's HTTP version (no or a malformed host).
    #[error("the request cannot be sent on")]
    NotSendable,
}

impl SendFault {
    /// What it says of the server; none where that is nothing.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::RefusedStream | Self::Broken | Self::NotHttp | Self::HeadTooLarge => Some(Outcome::Status(503)),
            Self::Dial(fault) => fault.outcome(),
            Self::NoEndpoint(_) | Self::Unsent | Self::CallerBody | Self::NotSendable => None,
        }
    }
}

impl Faulty for SendFault {
    fn blame(&self) -> Blame {
        match self {
            Self::NoEndpoint(fault) => fault.blame(),
            Self::Dial(fault) => fault.blame(),
            Self::CallerBody | Self::NotSendable => Blame::Caller,
            Self::Unsent | Self::RefusedStream | Self::Broken | Self::NotHttp | Self::HeadTooLarge => Blame::Upstream,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::NoEndpoint(_) | Self::Dial(_) | Self::Unsent | Self::RefusedStream | Self::NotSendable => Retry::Safe,
            Self::Broken | Self::NotHttp | Self::HeadTooLarge | Self::CallerBody => Retry::Unsafe,
        }
    }

    fn stage(&self) -> Stage {
        match self {
            Self::NoEndpoint(fault) => fault.stage(),
            Self::Dial(_) => Stage::Dial,
            Self::Unsent
            | Self::RefusedStream
            | Self::Broken
            | Self::NotHttp
            | Self::HeadTooLarge
            | Self::CallerBody
            | Self::NotSendable => Stage::Forward,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::NoEndpoint(fault) => fault.reason(),
            Self::Dial(fault) => fault.reason(),
            Self::Unsent => "unsent",
            Self::RefusedStream => "refused_stream",
            Self::Broken => "upstream_broken",
            Self::NotHttp => "upstream_not_http",
            Self::HeadTooLarge => "upstream_head_too_large",
            Self::CallerBody => "caller_body",
            Self::NotSendable => "not_sendable",
        }
    }
}
