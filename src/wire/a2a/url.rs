//! URLs that an agent is asked to call, read so strictly that every reader finds the same host in them.

use std::net::{IpAddr, Ipv6Addr};

use crate::call::{UrlHost, UrlParts};
use crate::config::limits::MAX_URI;

/// Takes `url` apart; none for everything that two readers could take differently: user information, backslashes, white
/// space, control characters, characters outside of ASCII, percent signs in the host, a dot at its end, addresses in
/// decimal, octal or hexadecimal shorthand, ports that are no number, and a query or fragment with no path before it, behind
/// which readers have looked for user information (`https://a#@b/`, CVE-2016-8624).
pub(super) fn read(url: &str) -> Option<UrlParts> {
    if url.len() > MAX_URI || !url.bytes().all(|b| matches!(b, b'!'..=b'~') && b != b'\\') {
        return None;
    }
    let (scheme, rest) = url.split_once("://")?;
    let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !well_formed {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = split(authority)?;
    let port = match (port, &*scheme) {
        (Some(port), _) => number(port)?,
        (None, "https") => 443,
        (None, "http") => 80,
        (None, _) => 0,
    };
    Some(UrlParts { scheme: scheme.into(), host: read_host(host)?, port })
}

/// `HOST:PORT` of a gRPC interface in an agent card, which has no scheme.
pub(super) fn read_authority(text: &str) -> Option<(UrlHost, u16)> {
    let (host, port) = split(text)?;
    Some((read_host(host)?, port.and_then(number)?))
}

fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.contains('@') {
        return None;
    }
    if authority.starts_with('[') {
        let (host, rest) = authority.split_at_checked(authority.find(']')? + 1)?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    Some(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

fn number(port: &str) -> Option<u16> {
    let plain = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if plain { port.parse().ok().filter(|port| *port != 0) } else { None }
}

fn read_host(host: &str) -> Option<UrlHost> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().ok().map(|v6| UrlHost::Address(IpAddr::V6(v6).to_canonical()));
    }
    let host = host.to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return None;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(UrlHost::Address(address));
    }
    // A name whose last label is a number is an address to some resolvers: 2130706433, 0x7f.1, 127.1, 0177.0.0.1
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if numeric { None } else { Some(UrlHost::Name(host.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_urls() {
        for (url, scheme, host, port) in [
            ("https://hooks.example.com/a?b=c#d", "https", "hooks.example.com", 443),
            ("HTTP://Hooks.Example.COM:8080", "http", "hooks.example.com", 8080),
            ("http://planner.agents.svc.cluster.local", "http", "planner.agents.svc.cluster.local", 80),
            ("ftp://x_y/", "ftp", "x_y", 0),
        ] {
            let parts = read(url).unwrap();
            assert_eq!((&*parts.scheme, parts.port), (scheme, port), "{url}");
            assert_eq!(parts.host, UrlHost::Name(host.into()), "{url}");
        }
    }

    #[test]
    fn nothing_but_a_path_follows_a_host() {
        for url in
            ["https://a.example#@b.example/", "https://a.example?@b.example/", "https://a.example:443#/", "https://a?"]
        {
            assert_eq!(read(url), None, "{url}");
        }
        assert!(read("https://a.example/#@b.example/").is_some());
    }

    #[test]
    fn addresses_are_told_in_every_notation() {
        for (url, address) in [
            ("http://127.0.0.1/", "127.0.0.1"),
            ("http://[::1]:80/", "::1"),
            ("http://[::ffff:169.254.169.254]/", "169.254.169.254"),
            ("http://[::ffff:a9fe:a9fe]/", "169.254.169.254"),
        ] {
            assert_eq!(read(url).unwrap().host, UrlHost::Address(address.parse().unwrap()), "{url}");
        }
    }

    #[test]
    fn whatever_is_read_in_two_ways_is_not_read() {
        for url in [
            "",
            "hooks.example.com",
            "//hooks.example.com/",
            "http:/x/",
            "http:x",
            "http://",
            "http:///x",
            "http://user@hooks.example.com/",
            "http://hooks.example.com@127.0.0.1/",
            "http://hooks.example.com\\@127.0.0.1/",
            "http://hooks.example.com:80@127.0.0.1/",
            "http://127.0.0.1 /",
            " http://hooks.example.com/",
            "http://hooks.example.com/\r\nHost: x",
            "http://h\u{f6}oks.example.com/",
            "http://hooks%2eexample.com/",
            "http://hooks.example.com./",
            "http://.example.com/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://0177.0.0.1/",
            "http://127.0.0.1.:80/",
            "http://[::1/",
            "http://[::1]x/",
            "http://[fe80::1%25eth0]/",
            "http://hooks.example.com:/",
            "http://hooks.example.com:+80/",
            "http://hooks.example.com:0/",
            "http://hooks.example.com:99999/",
            "ht\ttp://x/",
            "1http://x/",
        ] {
            assert_eq!(read(url), None, "{url:?}");
        }
    }

    #[test]
    fn authorities() {
        assert_eq!(read_authority("a.b:50051"), Some((UrlHost::Name("a.b".into()), 50051)));
        assert_eq!(read_authority("a.b"), None);
    }
}
