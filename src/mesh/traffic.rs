use std::time::Duration;

use super::TargetKey;

/// What a DestinationRule says of the calls to one port. It is told with each of the port's endpoints, as all of it matters
/// where an endpoint is chosen and called; what is counted by it is counted for the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traffic {
    /// Whose calls.
    pub of: TargetKey,
    /// How many endpoints they can go to.
    pub endpoints: usize,
    /// Which endpoint gets one; as [`Choice::LessBusy`] where nobody says.
    pub choice: Option<Choice>,
    /// How many there may be.
    pub bounds: Bounds,
    /// Which endpoints are left alone for what they answer; none where absent.
    pub outliers: Option<Outliers>,
}

/// How an endpoint is chosen among those that are near and well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// Of two that are drawn by weight the one with less under way.
    #[default]
    LessBusy,
    /// By weight.
    Random,
    /// In turn, by weight.
    InTurn,
    /// The caller's own, by what tells callers apart; where a call does not have it, as [`Choice::LessBusy`].
    Own(Trait),
}

/// What tells callers apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trait {
    /// The client's address.
    Address,
    /// The first value of a header, by its lower-case name.
    Header(Box<str>),
    /// A cookie, by its name. None is made for who has none.
    Cookie(Box<str>),
    /// A parameter of the query, as it is written there.
    Query(Box<str>),
}

/// `connectionPool`, as far as it holds here. What is absent is bounded by `config::limits` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Connections of HTTP/1.1 and TCP in use at once.
    pub connections: Option<u32>,
    /// Requests that wait for one of them.
    pub waiting: Option<u32>,
    /// Requests under way at once.
    pub requests: Option<u32>,
    /// Requests that one connection takes.
    pub requests_per_connection: Option<u32>,
    /// Requests that are being tried again at once.
    pub retries: Option<u32>,
    /// For a connection to be made.
    pub connect: Option<Duration>,
    /// How long a connection for requests is kept that nobody uses.
    pub idle: Option<Duration>,
}

/// `outlierDetection`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outliers {
    /// Answers 5xx in a row that are enough.
    pub errors: Option<u32>,
    /// Answers 502, 503 and 504 in a row that are enough.
    pub gateway_errors: Option<u32>,
    /// Whether a connection that fails is such an answer too.
    pub counts_connections: bool,
    /// For so long a good answer to one caller speaks against another's bad ones.
    pub interval: Duration,
    /// How long an endpoint is left alone, times how often it was.
    pub time: Duration,
    /// How many of 100 endpoints may be left alone.
    pub most: u32,
    /// How many of 100 endpoints must not be left alone, or all are called.
    pub least_well: u32,
}
