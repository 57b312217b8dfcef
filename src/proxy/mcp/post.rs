//! A message from a client: decoded, decided on, sent as decoded, and its answer seen through.

mod fitness;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::Shared;
use super::super::answer::{self, Likeness, ProxyFault};
use super::super::authenticate::Authenticated;
use super::super::budget::Hold;
use super::super::custom::{self, Content, Sample, SampleFault};
use super::super::http::{Calls, outgoing, upstream_version};
use super::super::labels::Ticket;
use super::super::leave::leave;
use super::super::note;
use super::super::route::{self, Choice};
use super::super::sessions::Bound;
use super::super::stages::{Asked, Overtaken, Permitted, Refused, Standing};
use super::exchange::{Exchange, Meant, read_body};
use super::reply::{self, Awaited};
use super::sse;
use crate::call::{Call, Task};
use crate::document::agent_policy::PinMode;
use crate::fault::Faulty;
use crate::intake::{Answer, Request};
use crate::mesh::{Endpoint, Taken, Target};
use crate::policy::{BodyTerms, Edits, token};
use crate::telemetry::{Operation, RecordGuard};
use crate::upstream::{Departure, NoEndpoint, Sent};
use crate::wire::json;
use crate::wire::jsonrpc::Id;
use crate::wire::mcp::{
    Context, Decoded, HeaderFault, Kind, check_headers, decode, forward_headers, requested_version,
};

/// What goes out when it is permitted.
pub(super) struct Message {
    /// The canonical bytes of the decoded message.
    bytes: Bytes,
    /// The headers that fit them.
    headers: http::HeaderMap,
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

/// Serves one POST.
pub(super) async fn serve(calls: &Calls, target: Arc<Target>, request: Request) -> Answer {
    let mcp = match check_headers(&request.head.headers) {
        Ok(mcp) => mcp,
        Err(fault) => return Box::pin(unheaded(calls, &target, request, fault)).await,
    };
    let mut exchange = match Exchange::open(calls, target, request.head, mcp).await {
        Ok(exchange) => exchange,
        Err(answer) => return *answer,
    };
    let mut hold = exchange.shared.budget.hold(exchange.peer.id());
    let body = match read_body(request.body, (&mut hold, &exchange.head), &exchange.record).await {
        Ok(body) => body,
        Err(fault) => return fault.answer(exchange.record),
    };
    let context = Context {
        head: &exchange.mcp,
        session: exchange.session_digest(),
        session_version: exchange.session.as_ref().and_then(|bound| bound.session.version),
    };
    // With what goes out: it is as large, and it is made of the same tree.
    let work = || {
        decode(&body, &context).map(|mut decoded| {
            let meant = exchange.meant(&mut decoded);
            (Bytes::from(decoded.canonical()), decoded, meant)
        })
    };
    let decoded = exchange.shared.heavy.run(body.len(), work).await;
    drop(body);
    match decoded {
        Ok((bytes, decoded, Ok(meant))) => Box::pin(decide(exchange, decoded, meant, bytes, hold)).await,
        Ok((_, decoded, Err(fault))) => answer::mcp_proxy_fault(exchange.record, decoded.id(), fault),
        Err(fault) => {
            exchange.record.failed(&fault);
            answer::json(exchange.record, fault.status(), fault.body())
        }
    }
}

/// A request with headers that let nothing be decided: its body is read for its id alone, where it can be read.
async fn unheaded(calls: &Calls, target: &Target, request: Request, fault: HeaderFault) -> Answer {
    let mut record = calls.record(target);
    record.failed(&fault);
    let mut hold = calls.shared().budget.hold(calls.peer().id());
    let readable = matches!(fault, HeaderFault::Repeated | HeaderFault::UnknownVersion | HeaderFault::SessionId);
    let mut id = None;
    if readable && let Ok(body) = read_body(request.body, (&mut hold, &request.head), &record).await {
        let read = || json::parse(&body).ok().and_then(|tree| crate::wire::jsonrpc::Message::readable_id(&tree));
        id = calls.shared().heavy.run(body.len(), read).await;
    }
    let body = fault.body(id.as_ref(), requested_version(&request.head.headers));
    answer::json(record, fault.status(), body)
}

async fn decide(mut exchange: Exchange, decoded: Decoded, meant: Meant, bytes: Bytes, hold: Hold) -> Answer {
    let Meant { call, endpoint, alone, sent, related } = meant;
    let id = decoded.id().filter(|_| decoded.kind() == Kind::Request).cloned();
    let awaited = Awaited { sent: sent.or_else(|| id.clone()), id, call: call.clone() };
    let call = Call::Mcp(call);
    exchange.record.operation(Operation::of(&call, Some(&exchange.head)));
    exchange.digest_arguments(&decoded);
    let mut headers = exchange.head.headers.clone();
    forward_headers(&mut headers, &exchange.mcp, &decoded);
    let message = Message { bytes, headers };
    drop(decoded);
    let holder = exchange.holder();
    let Exchange { shared, peer, target, head, sent, mcp, claims, session, mut record, leaving } = exchange;
    let of_session = session.as_ref().map(|bound| Arc::clone(&bound.key.endpoint));
    let stick = of_session.or(endpoint);
    let addressed = session.as_ref().is_some_and(|bound| bound.token.is_none());
    let begins = &*awaited.call.method == "initialize";
    let leg = route::leg(&shared, &target, &head, Choice::new(stick.as_deref(), addressed));
    // What a tool declares is said by the servers that the call goes to.
    if !shared.parameters.agree(leg.target.served_by(), &mcp, &awaited.call) {
        return answer::mcp_proxy_fault(record, awaited.id.as_ref(), ProxyFault::HeaderMismatch);
    }
    Ticket::renew(&shared.owners, &leg.target.rules).await;
    let labels = Ticket::new(&shared.owners, &leg.target.rules, (session.as_ref(), &holder), begins);
    let Ok(labels) = labels else { return answer::mcp_proxy_fault(record, None, ProxyFault::SessionUnknown) };
    let request = Authenticated { head, sent, claims };
    let asked = Asked::http(peer, leg.target, request).on(leg.taken).labelled(labels);
    let mut decoded = asked.decoded(call, message);
    if let Err(stopped) = custom::consult(&shared, &mut decoded).await {
        return answer::mcp_stopped(record, awaited.id.as_ref(), &stopped);
    }
    match decoded.authorize(&shared.quotas) {
        Ok(permitted) => {
            record.allowed(note::permit(permitted.permit()));
            if let Some(fault) = leg.fault {
                return answer::mcp_proxy_fault(record, awaited.id.as_ref(), fault);
            }
            let passage = Passage { shared, session, record, awaited, stick, alone, related, hold, leaving };
            Box::pin(passage.send(permitted)).await
        }
        Err(refused) => refuse(record, &shared, (session.as_ref(), awaited.id.as_ref()), &refused),
    }
}

/// Says that policy refused, where the caller reads that. A refused notification is accepted and dropped: clients take
/// anything else as the end of their session.
fn refuse(
    mut record: RecordGuard,
    shared: &Shared,
    (session, id): (Option<&Bound>, Option<&Id>),
    refused: &Refused,
) -> Answer {
    record.denied(note::denial(&refused.denial, refused.asked.target()));
    let Some(id) = id else { return answer::text(record, StatusCode::ACCEPTED, "") };
    let stream = session.and_then(|bound| bound.session.stream.clone());
    if let (Some(stream), Call::Mcp(call)) = (stream, &refused.call) {
        let told = answer::mcp_refusal(&record, id, call, &refused.denial);
        return on_stream(record, &stream, &told);
    }
    let likeness = likeness(shared, session, refused);
    answer::mcp_denied(record, id, refused, &likeness)
}

/// A refusal for a client that reads no answer to its POST.
fn on_stream(record: RecordGuard, stream: &mpsc::Sender<Bytes>, message: &[u8]) -> Answer {
    match stream.try_send(sse::event_of(message)) {
        Ok(()) => answer::text(record, StatusCode::ACCEPTED, ""),
        Err(_full_or_gone) => answer::mcp_proxy_fault(record, None, ProxyFault::OverBudget),
    }
}

/// How the target's servers answer a name that they do not have: as was seen, else as servers of this name do.
pub(super) fn likeness(shared: &Shared, session: Option<&Bound>, refused: &Refused) -> Likeness {
    let Call::Mcp(call) = &refused.call else { return Likeness::default() };
    let target = refused.asked.target().served_by();
    let seen = shared.wordings.find(target, call);
    Likeness {
        wording: seen.or_else(|| session.and_then(|bound| bound.session.wording.clone())),
        manner: shared.manners.find(target),
        session: session.cloned(),
    }
}

/// A permitted message on its way.
struct Passage {
    shared: Arc<Shared>,
    session: Option<Bound>,
    record: RecordGuard,
    awaited: Awaited,
    /// Where its session or what it is about lives, if that is known.
    stick: Option<Arc<str>>,
    /// Whether no other endpoint may have it.
    alone: bool,
    /// The task that it is a part of, beside what it is about.
    related: Option<Task>,
    hold: Hold,
    /// Cancelled when the caller's tunnel should come to its end.
    leaving: CancellationToken,
}

impl Passage {
    async fn send(mut self, permitted: Permitted<Message>) -> Answer {
        let routed = match permitted.route(&self.shared.upstreams, self.stick.as_deref()) {
            Ok(routed) => routed,
            Err(fault) => return self.no_endpoint(fault),
        };
        let (message, endpoint, standing) = match routed.depart(&self.shared.published, None) {
            Ok(departed) => departed,
            Err(overtaken) => return self.overtaken(*overtaken),
        };
        self.record.upstream(&endpoint.id, note::identity(&endpoint));
        let request = match outgoing(&self.shared, standing.asked(), message.headers, message.bytes) {
            Ok(request) => request,
            Err(fault) => return answer::mcp_proxy_fault(self.record, self.awaited.id.as_ref(), fault),
        };
        let target = Arc::clone(standing.asked().target());
        let by_definition = target.rules.pins() == Some(PinMode::Enforce) && &*self.awaited.call.method == "tools/call";
        if by_definition && let Err(unfit) = Box::pin(self.look(&standing, &endpoint)).await {
            return self.unfit(standing, unfit);
        }
        let confirmed = if self.is_of_task() { Box::pin(self.confirm(&standing, &endpoint)).await } else { Ok(()) };
        if let Err(unfit) = confirmed {
            return self.unfit(standing, unfit);
        }
        // A server settles how long it takes to say what it was asked.
        let mut standing = match standing.departs(&self.shared.published) {
            Ok(standing) => standing,
            Err(overtaken) => return self.overtaken(*overtaken),
        };
        if let Err(fault) = self.ask() {
            return answer::mcp_proxy_fault(self.record, self.awaited.id.as_ref(), fault);
        }
        let version = upstream_version(&target);
        // Only the endpoint of a session knows it, another has not shown its definitions, and may call another's task so.
        let alone = self.alone || self.session.is_some() || by_definition;
        let spare = if alone { &[] } else { target.endpoints.as_slice() };
        let of_route = standing.asked().way().and_then(Taken::timeout);
        let most = self.shared.mcp_answer;
        let due = Instant::now() + of_route.map_or(most, |limit| limit.max(most));
        // On the heap before it is handed on: it is large, and each hand would copy it.
        let departure = Departure::default();
        let sending = self.shared.upstreams.send_first(Arc::clone(&endpoint), spare, version, (request, &departure));
        let going = (&mut standing, &departure);
        let sent = match leave(&self.shared, going, (of_route, Some(most)), Box::pin(sending)).await {
            Ok(sent) => sent,
            Err(denial) => {
                self.give_up();
                return self.overtaken(Overtaken { standing, denial });
            }
        };
        self.answered(sent, (standing, due, of_route.is_some()), &endpoint).await
    }

    /// Hands on what came of it.
    async fn answered(
        mut self,
        sent: Option<Sent>,
        (standing, due, of_route): (Standing, Instant, bool),
        endpoint: &Endpoint,
    ) -> Answer {
        match sent {
            Some(Ok((endpoint, response))) => {
                self.record.upstream(&endpoint.id, note::identity(&endpoint));
                let Self { shared, session, record, awaited, hold, leaving, .. } = self;
                let begun = None;
                let reply =
                    reply::Reply { shared, session, record, awaited, endpoint, standing, hold, leaving, due, begun };
                Box::pin(reply::pass(reply, response)).await
            }
            Some(Err(fault)) => {
                tracing::warn!(endpoint = %endpoint.id, reason = fault.reason(), %fault, "upstream failed");
                self.give_up();
                answer::mcp_fault(self.record, self.awaited.id.as_ref(), &fault)
            }
            None => {
                let fault = if of_route { ProxyFault::RouteTimeout } else { ProxyFault::AnswerTimeout };
                self.give_up();
                answer::mcp_proxy_fault(self.record, self.awaited.id.as_ref(), fault)
            }
        }
    }

    /// Rules changed while the message came in.
    fn overtaken(self, Overtaken { standing, denial }: Overtaken) -> Answer {
        let Some(denial) = denial else {
            return answer::mcp_proxy_fault(self.record, self.awaited.id.as_ref(), ProxyFault::TargetGone);
        };
        let refused = standing.refused(denial);
        refuse(self.record, &self.shared, (self.session.as_ref(), self.awaited.id.as_ref()), &refused)
    }

    /// No answer will come where it is waited for: the request's id is free.
    fn give_up(&self) {
        if let (Some(bound), Some(sent)) = (&self.session, &self.awaited.sent) {
            bound.session.given_up(sent);
        }
    }

    /// Takes the request's id in its session.
    fn ask(&self) -> Result<(), ProxyFault> {
        let Awaited { id: Some(id), sent: Some(sent), call } = &self.awaited else { return Ok(()) };
        let Some(bound) = &self.session else { return Ok(()) };
        bound.session.ask(id, sent, call).map_err(|_in_flight| ProxyFault::IdInFlight)
    }

    /// A session whose endpoint is gone is unknown, so that its client starts anew; one whose endpoint gets no calls now waits.
    fn no_endpoint(self, fault: NoEndpoint) -> Answer {
        match self.session.filter(|_| fault == NoEndpoint::Gone) {
            Some(_gone) => answer::mcp_proxy_fault(self.record, None, ProxyFault::SessionUnknown),
            None => answer::mcp_fault(self.record, self.awaited.id.as_ref(), &fault),
        }
    }
}
