//! A2A: one strict decode of each request, whatever its binding; its bytes go out as they came once they are permitted.
//!
//! On a port that is declared A2A everything that is no operation of A2A is refused, plain HTTP too.

mod answers;
mod ends;
mod owners;
mod relay;

use std::sync::Arc;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Version};

pub use owners::StoreFault;
pub(super) use owners::{McpTask, Owners, Replicas, is_of_replicas, keep as keep_owners};

use super::Shared;
use super::answer::ProxyFault;
use super::answer::a2a::{self as answer, Asker};
use super::authenticate::{Authenticated, authenticate};
use super::budget::Hold;
use super::custom::{self, Content, Sample, SampleFault};
use super::http::{Calls, outgoing, upstream_version};
use super::leave::leave;
use super::mcp::{ReadFault, read_body};
use super::note;
use super::route::{self as ways, Choice};
use super::stages::{Asked, Overtaken, Permitted};
use crate::call::{A2aBinding, A2aCall, A2aOperation, Call};
use crate::fault::Faulty;
use crate::intake::{Answer, Request};
use crate::mesh::{Taken, Target};
use crate::policy::{BodyTerms, Edits, caller, token};
use crate::telemetry::{Operation, RecordGuard};
use crate::upstream::{Departure, UpstreamHttp};
use crate::wire::a2a::{Decoded, Route, decode, forward_headers, route};
use answers::{Answers, Learner};
use owners::Place;

/// What goes out when it is permitted: the bytes that were decoded.
pub(super) struct Message {
    bytes: Bytes,
    headers: HeaderMap,
}

impl Content for Message {
    async fn sample(&mut self, terms: BodyTerms, _hold: Hold) -> Result<Sample, SampleFault> {
        custom::whole(&self.bytes, terms)
    }

    fn edit(&mut self, edits: &Edits) {
        edits.apply(&mut self.headers);
    }

    fn vouch(&mut self, edits: &token::Edits) {
        edits.apply_to_fields(&mut self.headers);
    }
}

/// Serves one request on an A2A port.
pub(super) async fn serve(calls: &Calls, target: Arc<Target>, request: Request) -> Answer {
    let Request { head, version, body, .. } = request;
    let mut record = calls.record(&target);
    record.trace_parent(&head.headers);
    let mounts = target.rules.a2a().map(crate::policy::A2aSettings::mounts).unwrap_or_default();
    // A token in the query is no part of the operation.
    let likely = Route::likely(&head);
    let Authenticated { head, sent, claims } = match authenticate(&target, head).await {
        Ok(request) => request,
        Err(fault) => return answer::bad_token(record, likely, fault),
    };
    let route = match route(&head, &mounts, version == Version::HTTP_2) {
        Ok(route) => route,
        Err(fault) => return answer::undecoded(record, likely, &fault),
    };
    let mount = route.mount(&head, &mounts);
    let mut asker = Asker { binding: route.binding(), id: None };
    let shared = Arc::clone(calls.shared());
    if let Some(claims) = &claims {
        record.subject(shared.telemetry.keyed().subject(claims.issuer(), claims.subject().unwrap_or_default()));
    }
    let mut hold = shared.budget.hold(calls.peer().id());
    let body = match read_body(body, (&mut hold, &head), &record).await {
        Ok(body) => body,
        Err(ReadFault::Body(fault)) => return answer::fault(record, &asker, &fault),
        Err(ReadFault::OverBudget) => return answer::proxy_fault(record, &asker, ProxyFault::OverBudget),
    };
    let Decoded { mut call, id } = match shared.heavy.run(body.len(), || decode(&route, &head, &body)).await {
        Ok(decoded) => decoded,
        Err(fault) => return answer::undecoded(record, asker.binding, &fault),
    };
    asker.id = id;
    call.mount = mount;
    let owner = Arc::new(caller(calls.peer(), claims.as_ref()));
    let leg = ways::leg(&shared, &target, &head, Choice::of(&(&owner, &target.key)));
    shared.owners.fill(&leg.target, &mut call);
    let learner = Learner {
        owner,
        place: Place::of(&leg.target.agents(), &call),
        operation: call.operation,
        version: call.version,
        public_card: call.operation == A2aOperation::GetAgentCard && mounts.has(&call.mount.path),
    };
    let mut headers = head.headers.clone();
    forward_headers(&mut headers);
    if learner.public_card {
        // What is decided of it holds for every caller: none has it made unfit by asking for it in another form.
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    }
    let asked = Asked::http(Arc::clone(calls.peer()), leg.target, Authenticated { head, sent, claims }).on(leg.taken);
    let passage = Passage { shared, asker, record, hold, learner, fault: leg.fault };
    Box::pin(passage.decide(asked, call, Message { bytes: body, headers })).await
}

/// A decoded call on its way.
struct Passage {
    shared: Arc<Shared>,
    asker: Asker,
    record: RecordGuard,
    hold: Hold,
    learner: Learner,
    /// Why it goes nowhere once it is permitted, if it does not.
    fault: Option<ProxyFault>,
}

impl Passage {
    async fn decide(mut self, asked: Asked, call: A2aCall, message: Message) -> Answer {
        let call = Call::A2a(Box::new(call));
        self.record.operation(Operation::of(&call, asked.head()));
        let mut decoded = asked.decoded(call, message);
        if let Err(stopped) = custom::consult(&self.shared, &mut decoded).await {
            return answer::stopped(self.record, &self.asker, &stopped);
        }
        match decoded.authorize(&self.shared.quotas) {
            Ok(permitted) => {
                self.record.allowed(note::permit(permitted.permit()));
                Box::pin(self.send(permitted)).await
            }
            Err(refused) => {
                self.record.denied(note::denial(&refused.denial, refused.asked.target()));
                answer::denied(self.record, &self.asker, &refused)
            }
        }
    }

    /// Rules changed while the call came in.
    fn overtaken(mut self, Overtaken { standing, denial }: Overtaken) -> Answer {
        let Some(denial) = denial else {
            return answer::proxy_fault(self.record, &self.asker, ProxyFault::Revoked);
        };
        self.record.denied(note::denial(&denial, standing.asked().target()));
        answer::denied(self.record, &self.asker, &standing.refused(denial))
    }

    async fn send(mut self, permitted: Permitted<Message>) -> Answer {
        if let Some(fault) = self.fault {
            return answer::proxy_fault(self.record, &self.asker, fault);
        }
        let routed = match permitted.route(&self.shared.upstreams, None) {
            Ok(routed) => routed,
            Err(fault) => return answer::fault(self.record, &self.asker, &fault),
        };
        let (message, endpoint, mut standing) = match routed.depart(&self.shared.published, None) {
            Ok(departed) => departed,
            Err(overtaken) => return self.overtaken(*overtaken),
        };
        self.record.upstream(&endpoint.id, note::identity(&endpoint));
        let request = match outgoing(&self.shared, standing.asked(), message.headers, message.bytes) {
            Ok(request) => request,
            Err(fault) => return answer::proxy_fault(self.record, &self.asker, fault),
        };
        let target = Arc::clone(standing.asked().target());
        // What speaks gRPC speaks HTTP/2, whatever its port is called.
        let version =
            if self.asker.binding == A2aBinding::Grpc { UpstreamHttp::Http2 } else { upstream_version(&target) };
        let departure = Departure::default();
        let (first, spare) = (Arc::clone(&endpoint), &target.endpoints);
        let sending = self.shared.upstreams.send_first(first, spare, version, (request, &departure));
        let limits = (standing.asked().way().and_then(Taken::timeout), None);
        let sent = match leave(&self.shared, (&mut standing, &departure), limits, Box::pin(sending)).await {
            Ok(sent) => sent,
            Err(denial) => return self.overtaken(Overtaken { standing, denial }),
        };
        match sent {
            Some(Ok((endpoint, response))) => {
                self.record.upstream(&endpoint.id, note::identity(&endpoint));
                let Self { shared, asker, record, hold, learner, .. } = self;
                let answers = Answers { shared, asker, record, hold, learner, standing };
                Box::pin(answers.pass(response)).await
            }
            Some(Err(fault)) => {
                tracing::warn!(endpoint = %endpoint.id, reason = fault.reason(), %fault, "agent failed");
                answer::fault(self.record, &self.asker, &fault)
            }
            None => answer::proxy_fault(self.record, &self.asker, ProxyFault::RouteTimeout),
        }
    }
}
