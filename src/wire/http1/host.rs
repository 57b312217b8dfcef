//! One spelling of `Host` and `:authority`.

use std::net::Ipv6Addr;

use super::fault::TargetFault;

/// Longest host with port, bytes.
const MAX_HOST: usize = 253 + 6;

/// `host[:port]` in lower case (RFC 9110 section 7.2). A dot at the end is dropped, IPv6 is written as RFC 5952 says,
/// so that a rule on a host cannot be passed by with another spelling of it. The port is kept if one was sent.
pub(super) fn canonical(text: &str) -> Result<String, TargetFault> {
    if text.is_empty() || text.len() > MAX_HOST {
        return Err(TargetFault::Host);
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(TargetFault::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_refused| TargetFault::Host)?;
        let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or(TargetFault::Host)?) };
        (format!("[{address}]"), port)
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        (name(host)?, port)
    };
    match port {
        None => Ok(host),
        Some(port) if is_port(port) => Ok(format!("{host}:{port}")),
        Some(_) => Err(TargetFault::Host),
    }
}

fn name(host: &str) -> Result<String, TargetFault> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let good =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if host.split('.').all(good) { Ok(host.to_ascii_lowercase()) } else { Err(TargetFault::Host) }
}

fn is_port(text: &str) -> bool {
    !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}
