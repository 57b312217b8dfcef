//! What helps when the waypoint opens no tunnel.

use crate::hbone::DialFault;
use crate::tls::{HandshakeFault, PeerFault};

/// What to do about `fault`, for the person at the terminal.
pub(super) fn of(fault: &DialFault) -> &'static str {
    match fault {
        DialFault::Connect(_) => "is a waypoint running there? --waypoint names its address",
        DialFault::Handshake(fault) => of_handshake(fault),
        DialFault::Http2(_) => "the connection ended before an answer; the waypoint's log says why",
        DialFault::Refused(status) => of_status(status.as_u16()),
        DialFault::Timeout => {
            "the waypoint did not answer in time; its log and /stats/prometheus say what it is busy with"
        }
        DialFault::BadAuthority => "write the service as NAMESPACE/SERVICE:PORT, as in tools/repo-mcp:80",
        DialFault::Closed => "this process is stopping",
    }
}

fn of_status(status: u16) -> &'static str {
    match status {
        400 => "the waypoint cannot read the service's name; write it as NAMESPACE/SERVICE:PORT",
        401 | 403 => "a policy refuses this identity; `agent-waypoint explain` says which",
        404 => "the waypoint fronts no such service; `agent-waypoint check -f` lists those that its documents name",
        405 => "what answers there is no waypoint of this mesh, or an older one",
        503 => "the service has no endpoint that answers, or the waypoint is at a limit or draining; see its log",
        _ => "see the waypoint's log",
    }
}

fn of_handshake(fault: &HandshakeFault) -> &'static str {
    match fault {
        HandshakeFault::Peer(PeerFault::Unexpected(_)) => {
            "another identity answered than --waypoint-id or the trust domain lets expect"
        }
        HandshakeFault::Peer(_) => {
            "the waypoint's certificate is not trusted here; both sides need the same roots (with --dev: the same XDG_STATE_HOME)"
        }
        HandshakeFault::Alert(_) | HandshakeFault::NoCertificate => {
            "the waypoint does not trust this identity; both sides need the same roots (with --dev: the same XDG_STATE_HOME)"
        }
        HandshakeFault::OwnCertificateExpired => "our own certificate has ended; get a new one",
        HandshakeFault::NoAlpn | HandshakeFault::Tls(_) | HandshakeFault::Io(_) | HandshakeFault::Timeout => {
            "what answers there does not speak HBONE; --waypoint names the waypoint's HBONE address"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn a_service_that_is_not_fronted_is_said_to_be_none() {
        assert!(of(&DialFault::Refused(StatusCode::NOT_FOUND)).starts_with("the waypoint fronts no such service"));
        assert_ne!(of(&DialFault::Refused(StatusCode::FORBIDDEN)), of(&DialFault::Refused(StatusCode::NOT_FOUND)));
    }

    #[test]
    fn mistrust_is_told_by_direction() {
        let alert = DialFault::Handshake(HandshakeFault::Alert(rustls::AlertDescription::UnknownCA));
        assert!(of(&alert).starts_with("the waypoint does not trust"));
        let theirs = DialFault::Handshake(HandshakeFault::Peer(PeerFault::Malformed));
        assert!(of(&theirs).starts_with("the waypoint's certificate"));
    }
}
