//! The `endpoint` event of 2024-11-05: where it leads is where a client that resolves it would go, which is where the stream
//! came from, and is an address at which one can ask.
#![no_main]

use agent_waypoint::call::HttpHead;
use agent_waypoint::wire::http1::RequestParser;
use agent_waypoint::wire::mcp::endpoint_address;
use agent_waypoint::wire::path::canonical;
use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;
use url::Url;

const STREAMS: [(&str, &str); 4] =
    [("tools:8080", "/a/sse"), ("tools", "/"), ("[::1]:8080", "/sse/"), ("10.0.0.1", "/a/b;c/%22")];

/// As a reader that is not ours spells a query: what is escaped is what was escaped.
fn spelt(query: &str) -> String {
    query.replace('\'', "%27")
}

fuzz_target!(|input: (u8, &str)| {
    let (stream, said) = input;
    let (host, path) = STREAMS[usize::from(stream) % STREAMS.len()];
    let head = HttpHead {
        method: Method::GET,
        path: path.into(),
        query: Some("x=1".into()),
        host: host.into(),
        headers: HeaderMap::new(),
    };
    let Some((path, query)) = endpoint_address(said, &head) else { return };
    assert_eq!(canonical(&path).as_deref(), Ok(&*path));
    // A client.
    let base = Url::parse(&format!("http://{host}{}?x=1", head.path)).expect("a URL");
    let theirs = base.join(said).expect("a URL to them");
    assert_eq!(theirs.origin(), base.origin(), "{said}");
    assert!(theirs.username().is_empty() && theirs.password().is_none() && theirs.fragment().is_none());
    assert_eq!(canonical(theirs.path()).as_deref(), Ok(&*path), "{said}");
    assert_eq!(theirs.query(), query.as_deref().map(spelt).as_deref(), "{said}");
    // Whoever is asked there.
    let target = query.as_ref().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let asked = format!("POST {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let asked = RequestParser::new().advance(asked.as_bytes()).expect("a request").expect("whole").head;
    assert_eq!((asked.path, asked.query), (path, query));
    target.parse::<http::uri::PathAndQuery>().expect("what the way out writes");
});
