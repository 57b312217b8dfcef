//! What a server asks and its client is not to hear of is answered in the client's stead.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};

use super::super::super::http::{outgoing, upstream_version};
use super::{Pump, Waits};
use crate::upstream::OutBody;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{McpHead, denial, forward_stream_headers};

/// Time in which a server must take our answer to a request of its own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

impl Pump {
    /// Answers a server's request that does not reach the client: it is told that there is no such method, except that a
    /// `ping` is answered, since a server may end a session that does not answer it.
    pub(super) fn answer_server(&self, method: &str, id: &Id) -> impl Future<Output = ()> + use<> {
        let body = if method == "ping" { denial::empty_result(id) } else { denial::method_not_found(id) };
        let request = self.answering(body.into());
        let (shared, endpoint) = (Arc::clone(&self.reply.shared), Arc::clone(&self.reply.endpoint));
        let version = upstream_version(self.reply.standing.asked().target());
        async move {
            let Some(request) = request else { return };
            let sending = shared.upstreams.send(&endpoint, version, request);
            if tokio::time::timeout(ANSWER_TIMEOUT, sending).await.is_err() {
                tracing::debug!(endpoint = %endpoint.id, "server did not take the answer to its request");
            }
        }
    }

    /// The POST of an answer, with the fields of the request that opened this stream as far as they fit.
    fn answering(&self, body: Bytes) -> Option<http::Request<OutBody>> {
        let asked = self.reply.standing.asked();
        let mut headers = asked.head()?.headers.clone();
        let mcp = McpHead::read(&headers).ok()?;
        forward_stream_headers(&mut headers, &mcp);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.remove("last-event-id");
        if let Waits::Answer { headers: answered } = &self.waits
            && let Some(session) = answered.get("mcp-session-id")
        {
            headers.insert("mcp-session-id", session.clone());
        }
        let mut request = outgoing(&self.reply.shared, asked, headers, body).ok()?;
        *request.method_mut() = http::Method::POST;
        Some(request)
    }
}
