//! From where keys may be fetched: a list that whoever runs the waypoint writes, since whoever writes a document could
//! otherwise make it ask any host that it can reach.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use ipnet::IpNet;

/// Port where a URL names none.
const HTTPS: u16 = 443;
const HTTP: u16 = 80;

/// What is no host of keys, or no URL of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// Not `https://host/..`.
    #[error("{0:?} is no URL of a JWK set; write https://HOST/PATH, without a user and a fragment")]
    Url(String),
    /// Not an entry of the list.
    #[error(
        "{0:?} names no host of keys; write HOST, HOST:PORT or http://HOST:PORT, with =NETWORK behind it where its addresses are private"
    )]
    Entry(String),
}

/// Where a document of keys is: `https`, or `http` where the list says so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyUrl {
    secure: bool,
    host: String,
    port: u16,
    target: String,
}

impl KeyUrl {
    /// Parses an absolute URL.
    ///
    /// # Errors
    /// [`HostFault::Url`]
    pub fn parse(text: &str) -> Result<Self, HostFault> {
        Self::read(text).ok_or_else(|| HostFault::Url(text.to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        if text.contains('#') || !text.is_ascii() {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let host = host(authority.host())?;
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok().filter(|port| *port != 0)?,
            None if authority.as_str().ends_with(':') => return None,
            None => default_port(secure),
        };
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Some(Self { secure, host, port, target })
    }

    /// Whether it is fetched over TLS.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// A DNS name in lower case, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// `Host` of a request for it.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default_port(self.secure) { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

/// One entry of the list: `[http://]HOST[:PORT][=NETWORK]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHost {
    secure: bool,
    host: String,
    port: u16,
    network: Option<IpNet>,
}

impl FromStr for KeyHost {
    type Err = HostFault;

    fn from_str(text: &str) -> Result<Self, HostFault> {
        let fault = || HostFault::Entry(text.to_owned());
        let (place, network) = match text.split_once('=') {
            Some((place, network)) => (place, Some(network.parse().map_err(|_no_network| fault())?)),
            None => (text, None),
        };
        let place = place.trim();
        let url = if place.contains("://") { place.to_owned() } else { format!("https://{place}") };
        let url = KeyUrl::parse(&url).map_err(|_no_url| fault())?;
        if url.target != "/" {
            return Err(fault());
        }
        Ok(Self { secure: url.secure, host: url.host, port: url.port, network })
    }
}

/// The list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyHosts(Vec<KeyHost>);

impl KeyHosts {
    /// Of these entries.
    pub fn new(entries: Vec<KeyHost>) -> Self {
        Self(entries)
    }

    /// Whether `url` may be asked at all.
    pub fn lists(&self, url: &KeyUrl) -> bool {
        self.of(url).next().is_some()
    }

    /// The networks in which the list says that the addresses of the URL's host are; none: public ones.
    pub fn networks(&self, url: &KeyUrl) -> Vec<IpNet> {
        self.of(url).filter_map(|entry| entry.network).collect()
    }

    fn of(&self, url: &KeyUrl) -> impl Iterator<Item = &KeyHost> {
        let (secure, host, port) = (url.secure, url.host.clone(), url.port);
        self.0.iter().filter(move |entry| entry.secure == secure && entry.host == host && entry.port == port)
    }
}

fn default_port(secure: bool) -> u16 {
    if secure { HTTPS } else { HTTP }
}

/// A name or an address, in the one form in which hosts are compared.
fn host(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // What ends in a number is some other way to write an address (WHATWG URL, 4.3), which resolvers take.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    (!numeric && name.len() <= 253 && name.split('.').all(label)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_in_one_way() {
        let rows = [
            ("https://idp.example/keys?a=b", "https://idp.example/keys?a=b"),
            ("https://IDP.example.:443", "https://idp.example/"),
            ("https://idp.example:8443/", "https://idp.example:8443/"),
            ("http://127.0.0.1:8080/k", "http://127.0.0.1:8080/k"),
            ("https://[::1]/k", "https://[::1]/k"),
        ];
        for (text, want) in rows {
            assert_eq!(KeyUrl::parse(text).unwrap().to_string(), want, "{text}");
        }
        for bad in [
            "",
            "idp.example",
            "//idp.example/x",
            "ftp://idp.example/x",
            "file:///etc/passwd",
            "https://",
            "https:///x",
            "https://user@idp.example/x",
            "https://idp.example:0/x",
            "https://idp.example:/x",
            "https://idp.example/x#y",
            "https://a..b/x",
            "https://idp.exa mple/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0x7f000001/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://id\u{e9}.example/",
        ] {
            assert!(KeyUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_names_scheme_host_and_port() {
        let hosts = ["idp.example", "idp.corp:8443=10.0.0.0/8", "idp.corp:8443=fd00::/8", "http://127.0.0.1:99"];
        let hosts = KeyHosts::new(hosts.iter().map(|text| text.parse().unwrap()).collect());
        let rows = [
            ("https://idp.example/any/path", true, 0),
            ("https://IDP.EXAMPLE:443/", true, 0),
            ("http://idp.example/", false, 0),
            ("https://idp.example:444/", false, 0),
            ("https://x.idp.example/", false, 0),
            ("https://idp.example.evil/", false, 0),
            ("https://idp.corp:8443/k", true, 2),
            ("http://127.0.0.1:99/k", true, 0),
            ("https://127.0.0.1:99/k", false, 0),
            ("http://127.0.0.2:99/k", false, 0),
            ("http://localhost:99/k", false, 0),
        ];
        for (url, listed, networks) in rows {
            let url = KeyUrl::parse(url).unwrap();
            assert_eq!((hosts.lists(&url), hosts.networks(&url).len()), (listed, networks), "{url}");
        }
    }

    #[test]
    fn entries_that_say_something_else_are_refused() {
        for bad in ["", "*", "*.example", "idp.example/x", "idp.example=10", "idp.example=", "ftp://x", "a b", "u@h"] {
            assert!(bad.parse::<KeyHost>().is_err(), "{bad}");
        }
    }
}
