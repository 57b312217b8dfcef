//! What became of a connection: one JSON line on standard output for each.

use std::io::Write as _;
use std::net::SocketAddr;

use serde::Serialize;

/// One connection.
#[derive(Debug, Serialize)]
pub(crate) struct Event<'a> {
    pub(crate) way: Way,
    pub(crate) verdict: Verdict,
    pub(crate) source: SocketAddr,
    /// The certificate's identity, without `spiffe://`; none in plaintext.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<&'a str>,
    pub(crate) destination: String,
    /// Which way out was taken, which policy refused, or what went wrong.
    pub(crate) why: String,
}

/// Through which door it came.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// From the pod's own application.
    Outbound,
    /// HBONE from the mesh.
    InboundHbone,
    /// Plaintext to the pod.
    InboundPlaintext,
}

/// What was done with it.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Bytes are carried.
    Carried,
    /// Against the rules.
    Refused,
    /// A carried connection that the rules no longer let be.
    Revoked,
    /// Nobody there, or somebody else than expected.
    Failed,
}

/// Prints one line. Nobody reading any longer is no reason to stop.
pub(crate) fn print(value: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(value) {
        let _unread = writeln!(std::io::stdout(), "{line}");
    }
}
