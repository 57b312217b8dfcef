//! Decoding beside a stream: on a port that only a DryRun policy declares, a request is read along for its record.
//!
//! Nothing is held back, changed or refused here: what is too large, over the budget or never whole leaves no trace.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Shared;
use super::budget::Hold;
use super::heavy;
use super::http::Calls;
use super::mcp::Shape;
use crate::call::{Call, HttpHead, McpCall};
use crate::config::limits::MAX_BODY;
use crate::document::agent_policy::Protocol;
use crate::id::Peer;
use crate::intake::{Body, BodyFault};
use crate::mesh::Target;
use crate::policy::{A2aSettings, Claims, Facts, Reason, Shadow};
use crate::telemetry::{Beside, Operation, RecordGuard};
use crate::wire::a2a;
use crate::wire::mcp::{Context as McpContext, check_headers, decode};

/// Who hears a request along, where anybody does.
pub(super) struct Listener(Option<Box<Heard>>);

/// A request on such a port, as far as it was heard.
struct Heard {
    shared: Arc<Shared>,
    protocol: Spoken,
    peer: Arc<Peer>,
    target: Arc<Target>,
    head: HttpHead,
    claims: Option<Claims>,
    record: Beside,
    hold: Hold,
    bytes: BytesMut,
}

/// What the DryRun policy declares.
enum Spoken {
    Mcp,
    /// None where the head alone says that it is no operation of A2A.
    A2a(Option<a2a::Route>),
}

impl Spoken {
    fn of(target: &Target, head: &HttpHead, version: Version) -> Option<Self> {
        match target.rules.decoded_beside()? {
            Protocol::Mcp => Some(Self::Mcp),
            Protocol::A2a => {
                let mounts = target.rules.a2a_beside().map(A2aSettings::mounts).unwrap_or_default();
                Some(Self::A2a(a2a::route(head, &mounts, version == Version::HTTP_2).ok()))
            }
        }
    }
}

impl Listener {
    /// For one of `calls` to `target`, whose record is `record`.
    pub(super) fn of(
        calls: &Calls,
        target: &Arc<Target>,
        (head, version): (&HttpHead, Version),
        claims: Option<&Claims>,
        record: &RecordGuard,
    ) -> Self {
        let Some(protocol) = Spoken::of(target, head, version) else { return Self(None) };
        Self(Some(Box::new(Heard {
            shared: Arc::clone(calls.shared()),
            protocol,
            peer: Arc::clone(calls.peer()),
            target: Arc::clone(target),
            head: head.clone(),
            claims: claims.cloned(),
            record: record.beside(),
            hold: calls.shared().budget.hold(calls.peer().id()),
            bytes: BytesMut::new(),
        })))
    }

    /// `body`, heard along; a request without one is known at once.
    pub(super) fn hear(self, body: Body) -> Body {
        let Some(heard) = self.0 else { return body };
        match &heard.protocol {
            Spoken::Mcp => {}
            Spoken::A2a(Some(_)) if !body.is_end_stream() => {
                return Body::stream(Tee { body, heard: Some(heard), whole: false });
            }
            Spoken::A2a(_) => {
                heard.finish();
                return body;
            }
        }
        match Shape::of(&heard.head) {
            Shape::Post if !body.is_end_stream() => Body::stream(Tee { body, heard: Some(heard), whole: false }),
            Shape::Post => {
                heard.finish();
                body
            }
            Shape::Get | Shape::Delete => {
                heard.tell(&Call::Mcp(McpCall::base(heard.head.method.as_str(), None, None)));
                body
            }
            Shape::Other => {
                heard.tell(&Call::Http);
                body
            }
        }
    }
}

impl Heard {
    /// Keeps `data`, or gives up.
    fn hear(&mut self, data: &Bytes) -> Option<()> {
        if self.bytes.len().saturating_add(data.len()) > MAX_BODY {
            return None;
        }
        self.hold.grow(data.len()).ok()?;
        self.bytes.extend_from_slice(data);
        Some(())
    }

    /// The body is whole.
    fn finish(&self) {
        match &self.protocol {
            Spoken::Mcp => self.finish_mcp(),
            Spoken::A2a(route) => self.finish_a2a(route.as_ref()),
        }
    }

    fn finish_a2a(&self, route: Option<&a2a::Route>) {
        let decode = |route| a2a::decode(route, &self.head, &self.bytes).ok();
        match route.and_then(|route| heavy::run_now(self.bytes.len(), || decode(route))) {
            Some(a2a::Decoded { mut call, .. }) => {
                let mounts = self.target.rules.a2a_beside().map(A2aSettings::mounts).unwrap_or_default();
                call.mount = route.map(|route| route.mount(&self.head, &mounts)).unwrap_or_default();
                self.shared.owners.fill(&self.target, &mut call);
                self.tell(&Call::A2a(Box::new(call)));
            }
            None => self.undecoded(),
        }
    }

    /// What does not decode would be refused.
    fn undecoded(&self) {
        self.record.saw(Operation::default(), Shadow { refused: Some(Reason::Undecidable), rule: None });
    }

    fn finish_mcp(&self) {
        let decoded = check_headers(&self.head.headers).ok().and_then(|mcp| {
            let context = McpContext { head: &mcp, session: None, session_version: None };
            heavy::run_now(self.bytes.len(), || decode(&self.bytes, &context).ok())
        });
        match decoded {
            Some(decoded) => self.tell(&Call::Mcp(decoded.call().clone())),
            None => self.undecoded(),
        }
    }

    fn tell(&self, call: &Call) {
        let facts = Facts {
            peer: &self.peer,
            destination: &self.target.destination,
            request: Some(&self.head),
            claims: self.claims.as_ref(),
            call,
            led: None,
            labels: None,
        };
        if let Some(shadow) = self.target.rules.shadow(&facts) {
            self.record.saw(Operation::of(call, Some(&self.head)), shadow);
        }
    }
}

/// A body on its way, heard along. What it was is told once all of it is out of our hands.
struct Tee {
    body: Body,
    heard: Option<Box<Heard>>,
    whole: bool,
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let kept = frame.data_ref().map(|data| self.heard.as_mut().and_then(|heard| heard.hear(data)));
                if kept == Some(None) {
                    self.heard = None;
                }
                self.whole = self.body.is_end_stream();
            }
            Some(Err(_)) => self.heard = None,
            None => self.whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        if let Some(heard) = self.heard.take().filter(|_| self.whole) {
            heard.finish();
        }
    }
}
