//! The authority of a CONNECT: what a tunnel is for. One spelling per destination; everything else is refused.
//!
//! Text in, [`Authority`] out. No name is resolved here and none is looked up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// Longest host name, bytes (RFC 1035 section 2.3.4, without the root's dot).
const MAX_HOST: usize = 253;
/// Longest label, bytes (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// `ip:port`, `[v6]:port` or `host:port` (RFC 9110 section 9.3.6: the port is never left out).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authority {
    /// An address.
    Addr(SocketAddr),
    /// A host name.
    Host {
        /// Lower case, letters, digits and hyphens in labels, no dot at the end.
        host: Arc<str>,
        /// 1 to 65535.
        port: u16,
    },
}

/// Why a text is no authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityFault {
    /// Nothing before the port, or nothing at all.
    #[error("the authority is empty")]
    Empty,
    /// No port.
    #[error("the authority has no port")]
    NoPort,
    /// The port is not 1 to 65535 in plain digits.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// `user@host`.
    #[error("the authority has user information")]
    UserInfo,
    /// `fe80::1%eth0`.
    #[error("the address has a zone")]
    Zone,
    /// Brackets around something that is no IPv6 address, or an IPv6 address without brackets.
    #[error("not an IPv6 address in brackets")]
    Address,
    /// A label that is empty, too long, begins or ends with a hyphen or has other characters; or a dot at the end.
    #[error("not a host name")]
    Host,
    /// A host name that some parsers would read as an IPv4 address (`1.2.3`, `0x7f.1`).
    #[error("a host name whose last label is a number")]
    NumericHost,
}

impl AuthorityFault {
    /// A fixed word for metrics and logs.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Empty => "authority_empty",
            Self::NoPort => "authority_no_port",
            Self::Port => "authority_port",
            Self::UserInfo => "authority_userinfo",
            Self::Zone => "authority_zone",
            Self::Address => "authority_address",
            Self::Host => "authority_host",
            Self::NumericHost => "authority_numeric_host",
        }
    }
}

impl Authority {
    /// Parses an authority; host names are folded to lower case.
    pub fn parse(text: &str) -> Result<Self, AuthorityFault> {
        if text.is_empty() {
            return Err(AuthorityFault::Empty);
        }
        if text.contains('@') {
            return Err(AuthorityFault::UserInfo);
        }
        if let Some(rest) = text.strip_prefix('[') {
            return bracketed(rest);
        }
        let (host, port) = text.rsplit_once(':').ok_or(AuthorityFault::NoPort)?;
        if host.contains(':') {
            return Err(AuthorityFault::Address);
        }
        let port = parse_port(port)?;
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(Self::Addr((address, port).into()));
        }
        Ok(Self::Host { host: parse_host(host)?.into(), port })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Addr(address) => address.port(),
            Self::Host { port, .. } => *port,
        }
    }

    /// The address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        if let Self::Addr(address) = self { Some(address.ip()) } else { None }
    }
}

fn bracketed(rest: &str) -> Result<Authority, AuthorityFault> {
    let (address, port) = rest.split_once(']').ok_or(AuthorityFault::Address)?;
    if address.contains('%') {
        return Err(AuthorityFault::Zone);
    }
    let address: Ipv6Addr = address.parse().map_err(|_refused| AuthorityFault::Address)?;
    let port = parse_port(port.strip_prefix(':').ok_or(AuthorityFault::NoPort)?)?;
    Ok(Authority::Addr((address, port).into()))
}

fn parse_port(text: &str) -> Result<u16, AuthorityFault> {
    if text.is_empty() {
        return Err(AuthorityFault::NoPort);
    }
    // `u16::from_str` takes a plus sign; a leading zero would be a second spelling.
    if !text.bytes().all(|b| b.is_ascii_digit()) || text.starts_with('0') {
        return Err(AuthorityFault::Port);
    }
    text.parse().map_err(|_refused| AuthorityFault::Port)
}

fn parse_host(text: &str) -> Result<String, AuthorityFault> {
    if text.is_empty() {
        return Err(AuthorityFault::Empty);
    }
    if text.len() > MAX_HOST || !text.split('.').all(is_label) {
        return Err(AuthorityFault::Host);
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    if last.bytes().all(|b| b.is_ascii_digit()) || hex.is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(AuthorityFault::NumericHost);
    }
    Ok(text.to_ascii_lowercase())
}

/// A label of letters, digits and hyphens (RFC 1123 section 2.1).
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= MAX_LABEL
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(address) => address.fmt(f),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl FromStr for Authority {
    type Err = AuthorityFault;
    fn from_str(text: &str) -> Result<Self, AuthorityFault> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepted() {
        for (text, shown) in [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
            ("[::]:1", "[::]:1"),
            ("Tools.NS.svc.cluster.local:65535", "tools.ns.svc.cluster.local:65535"),
            ("a:1", "a:1"),
            ("xn--bcher-kva.example:80", "xn--bcher-kva.example:80"),
            ("3com.example:80", "3com.example:80"),
        ] {
            assert_eq!(Authority::parse(text).map(|a| a.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn refused() {
        use AuthorityFault as F;
        for (text, fault) in [
            ("", F::Empty),
            (":80", F::Empty),
            ("a", F::NoPort),
            ("a:", F::NoPort),
            ("[::1]", F::NoPort),
            ("[::1]:", F::NoPort),
            ("[::1]80", F::NoPort),
            ("a:0", F::Port),
            ("a:080", F::Port),
            ("a:+80", F::Port),
            ("a:65536", F::Port),
            ("a:8a", F::Port),
            ("a: 80", F::Port),
            ("10.0.0.1:0", F::Port),
            ("u@a:80", F::UserInfo),
            ("u:p@a:80", F::UserInfo),
            ("[fe80::1%eth0]:80", F::Zone),
            ("[fe80::1%25eth0]:80", F::Zone),
            ("[10.0.0.1]:80", F::Address),
            ("[::1:80", F::Address),
            ("::1:80", F::Address),
            ("a.:80", F::Host),
            (".a:80", F::Host),
            ("a..b:80", F::Host),
            ("-a:80", F::Host),
            ("a-:80", F::Host),
            ("a_b:80", F::Host),
            ("a b:80", F::Host),
            ("a/b:80", F::Host),
            ("a%2eb:80", F::Host),
            ("b\u{fc}cher:80", F::Host),
            ("a\0:80", F::Host),
            ("10.0.0.01:80", F::NumericHost),
            ("10.1:80", F::NumericHost),
            ("256.0.0.1:80", F::NumericHost),
            ("0x7f.0x1:80", F::NumericHost),
            ("2130706433:80", F::NumericHost),
        ] {
            assert_eq!(Authority::parse(text), Err(fault), "{text:?}");
        }
        assert_eq!(Authority::parse(&format!("{}:80", "a".repeat(64))), Err(F::Host));
        assert_eq!(Authority::parse(&format!("{}a:80", "a.".repeat(127))), Err(F::Host));
        assert!(Authority::parse(&format!("{}a:80", "a.".repeat(126))).is_ok());
    }

    proptest! {
        #[test]
        fn what_parses_is_its_own_canonical_form(text in "\\PC*|[a-zA-Z0-9.:\\[\\]-]{0,24}") {
            if let Ok(authority) = Authority::parse(&text) {
                prop_assert_eq!(Authority::parse(&authority.to_string()), Ok(authority));
            }
        }
    }
}
