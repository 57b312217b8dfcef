//! The vocabulary of failure: whose fault it was, whether trying again is safe, and at which stage it happened.
//!
//! Every stage has its own small error enum; each implements [`Faulty`] so that logs, metrics and the one place that
//! answers a caller can speak of all of them in the same words. No stage's error type is known here.

/// Whose fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The caller sent something that may not be sent.
    Caller,
    /// The upstream failed or misbehaved.
    Upstream,
    /// Policy or documents: a decision, not a failure.
    Policy,
    /// We are at a limit, draining or broken.
    Waypoint,
}

/// Whether the same request may go out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The upstream provably saw nothing of it.
    Safe,
    /// The upstream may have seen some of it.
    Unsafe,
}

/// The stages of a call, in order. Names appear in logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// TCP accepted.
    Accept,
    /// TLS handshake and identity.
    Authenticate,
    /// HTTP/2 CONNECT.
    Tunnel,
    /// HTTP inside the tunnel.
    Read,
    /// Protocol message.
    Decode,
    /// Policy.
    Authorize,
    /// Endpoint choice.
    Route,
    /// Upstream connection.
    Dial,
    /// Bytes to and from the upstream.
    Forward,
}

impl Stage {
    /// The stage's name in logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Authenticate => "authenticate",
            Self::Tunnel => "tunnel",
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Authorize => "authorize",
            Self::Route => "route",
            Self::Dial => "dial",
            Self::Forward => "forward",
        }
    }
}

/// What every stage's error can say of itself.
pub trait Faulty: std::error::Error {
    /// Whose fault it was.
    fn blame(&self) -> Blame;
    /// Whether the request may go out again.
    fn retry(&self) -> Retry;
    /// Where it happened.
    fn stage(&self) -> Stage;
    /// A short, fixed word for metric labels (`snake_case`, no caller data).
    fn reason(&self) -> &'static str;
}
