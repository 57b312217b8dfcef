use http::StatusCode;

use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::net::ConnectFault;
use crate::tls::HandshakeFault;

/// Why no tunnel to a destination was opened. The application behind it saw nothing in every case.
#[derive(Debug, thiserror::Error)]
pub enum DialFault {
    /// No TCP connection.
    #[error(transparent)]
    Connect(ConnectFault),
    /// The peer is not who was expected, or our own certificate has ended.
    #[error("tunnel handshake: {0}")]
    Handshake(HandshakeFault),
    /// HTTP/2 failed or the connection ended before an answer.
    #[error("tunnel connection failed: {0}")]
    Http2(h2::Error),
    /// The destination answered the CONNECT with something else than 200. ztunnel: 401 by policy, 400 for an address
    /// that is not its own, 503 for a workload that is unknown or does not listen.
    #[error("destination refused the tunnel with status {0}")]
    Refused(StatusCode),
    /// Not done within `config::limits::DIAL_TIMEOUT`.
    #[error("no tunnel in time")]
    Timeout,
    /// The authority cannot stand in a CONNECT.
    #[error("authority cannot be asked for")]
    BadAuthority,
    /// We are shutting down.
    #[error("pool is closed")]
    Closed,
}

impl DialFault {
    /// Whether a fresh connection may do better: the shared one ended under us.
    pub(super) fn of_connection(&self) -> bool {
        matches!(self, Self::Http2(_))
    }
}

impl Faulty for DialFault {
    fn blame(&self) -> Blame {
        match self {
            Self::Handshake(HandshakeFault::OwnCertificateExpired) | Self::BadAuthority | Self::Closed => {
                Blame::Waypoint
            }
            Self::Connect(_) | Self::Handshake(_) | Self::Http2(_) | Self::Refused(_) | Self::Timeout => {
                Blame::Upstream
            }
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
            Self::Connect(fault) => fault.reason(),
            Self::Handshake(fault) => fault.reason(),
            Self::Http2(_) => "http2",
            Self::Refused(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => "refused_by_policy",
            Self::Refused(_) => "refused",
            Self::Timeout => "dial_timeout",
            Self::BadAuthority => "bad_authority",
            Self::Closed => "closed",
        }
    }
}
