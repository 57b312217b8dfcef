use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};

/// Fields that are about one connection (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Takes out what is about the connection only: the fixed set, and what `Connection` nominates. `Content-Length` stays
/// whatever is nominated: it is about the message.
pub(super) fn strip_hop_by_hop(fields: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = fields
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != CONTENT_LENGTH)
        .collect();
    for name in nominated.into_iter().chain(HOP_BY_HOP) {
        fields.remove(name);
    }
}

/// Leaves the framing of a request to the body that really goes out. `Expect` was answered to the caller by us.
pub(super) fn strip_framing(fields: &mut HeaderMap) {
    strip_hop_by_hop(fields);
    fields.remove(CONTENT_LENGTH);
    fields.remove(EXPECT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_fields_go_and_the_rest_stays_as_it_was() {
        let mut fields: HeaderMap = [
            ("connection", "keep-alive, X-Private"),
            ("connection", "content-length"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("x-private", "1"),
            ("content-length", "3"),
            ("content-encoding", "gzip"),
            ("mcp-session-id", "s"),
            ("www-authenticate", "Bearer"),
        ]
        .into_iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
        .collect();
        strip_hop_by_hop(&mut fields);
        let mut left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-encoding", "content-length", "mcp-session-id", "www-authenticate"]);
    }
}
