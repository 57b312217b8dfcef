//! An agent's answer: passed as it came, read for whose tasks it is about, ended when its call is no longer permitted.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use http::{Response, response};

use super::super::Shared;
use super::super::answer::ProxyFault;
use super::super::answer::a2a::{self as answer, Asker};
use super::super::budget::{HeldBody, Hold};
use super::super::flow::{flow, grpc_status};
use super::super::mcp::{collect, stays_here};
use super::super::note;
use super::super::stages::Standing;
use super::owners::{Bound, Kind, Place};
use super::relay::{Events, Messages};
use crate::call::{A2aBinding, A2aOperation, A2aVersion, Card, Object, Owner, UrlHost};
use crate::config::limits;
use crate::intake::Answer;
use crate::policy::{CardFault, Denial};
use crate::telemetry::RecordGuard;
use crate::upstream::InBody;
use crate::wire::a2a::{Subject, card_urls, cards, learn_json};
use crate::wire::json;

/// For whom the tasks of an answer are.
#[derive(Debug, Clone)]
pub(super) struct Learner {
    pub(super) owner: Arc<Owner>,
    pub(super) place: Place,
    pub(super) operation: A2aOperation,
    pub(super) version: A2aVersion,
    /// Whether the answer is a card that rules may ask of: the public one of a place where a policy has an agent.
    pub(super) public_card: bool,
}

impl Learner {
    /// Whether the answer says of a task whose it is or how it stands.
    pub(super) fn reads(&self) -> bool {
        use A2aOperation as Op;
        self.begins() || matches!(self.operation, Op::GetTask | Op::CancelTask | Op::SubscribeToTask)
    }

    /// Whether the call could have begun a task. Only such an answer has to be understood.
    pub(super) fn begins(&self) -> bool {
        self.operation.sends()
    }

    /// Whether the answer is an agent card.
    pub(super) fn asks_card(&self) -> bool {
        matches!(self.operation, A2aOperation::GetAgentCard | A2aOperation::GetExtendedAgentCard)
    }

    /// Keeps what an answer or event is about. What it is that the other replicas are to know before it goes out, if
    /// anything.
    pub(super) fn learn(&self, shared: &Shared, subject: &Subject) -> Option<Untold> {
        let place = &self.place;
        let mut untold = None;
        let ids = [(Kind::Task, subject.task.as_deref()), (Kind::Context, subject.context.as_deref())];
        for (kind, id) in ids.into_iter().filter(|_| self.begins()) {
            let Some(id) = id else { continue };
            match shared.owners.bind(place, kind, id, &self.owner) {
                Bound::New(line) => untold = Some(Untold(line)),
                Bound::Known => {}
                Bound::Others => {
                    tracing::warn!(target = %place.target, ?kind, "the agent answers with what is another caller's");
                }
            }
        }
        if let (Some(task), Some(state)) = (&subject.task, subject.state) {
            shared.owners.note(place, task, state);
        }
        untold
    }

    /// The same of one JSON text: in JSON-RPC what stands in `result`.
    ///
    /// # Errors
    /// It is no JSON, and had to be.
    pub(super) fn read(
        &self,
        shared: &Shared,
        binding: A2aBinding,
        text: &[u8],
    ) -> Result<Option<Untold>, json::JsonFault> {
        if !self.reads() {
            return Ok(None);
        }
        let tree = match json::parse(text) {
            Ok(tree) => tree,
            Err(fault) if self.begins() => return Err(fault),
            Err(_fault) => return Ok(None),
        };
        let result = if binding == A2aBinding::JsonRpc { tree.get("result") } else { Some(&tree) };
        Ok(result.and_then(|result| self.learn(shared, &learn_json(self.operation, result))))
    }
}

/// What was learnt, which the other replicas, and the file, have to know of before the caller reads the answer.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub(super) struct Untold(u64);

impl Untold {
    /// Waits until they do.
    pub(super) async fn told(self, shared: &Shared) {
        shared.owners.settled(self.0).await;
    }
}

/// An exchange that was sent, waiting for its answer.
pub(super) struct Answers {
    pub(super) shared: Arc<Shared>,
    pub(super) asker: Asker,
    pub(super) record: RecordGuard,
    pub(super) hold: Hold,
    pub(super) learner: Learner,
    pub(super) standing: Standing,
}

/// What an answer is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Events,
    Grpc,
    Other,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "application/a2a+json" => Self::Json,
            "text/event-stream" => Self::Events,
            "application/grpc" | "application/grpc+proto" => Self::Grpc,
            _ => Self::Other,
        }
    }
}

impl Answers {
    /// Passes the answer.
    pub(super) async fn pass(mut self, answered: Response<InBody>) -> Answer {
        let (mut parts, body) = answered.into_parts();
        let encoded = parts.headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity");
        if !stays_here(&parts, &self.standing) || encoded {
            return self.unfit().await;
        }
        if let Some(way) = self.standing.asked().way() {
            way.response(&mut parts.headers);
        }
        self.record.status(parts.status);
        let grpc = self.asker.binding == A2aBinding::Grpc;
        match Form::of(&parts.headers) {
            Form::Grpc if grpc => {
                grpc_status(&mut self.record, &parts.headers);
                Answer::Response(Response::from_parts(parts, Messages::new(self, body).into_body()))
            }
            // A card is no stream: what a client may find in one would not be looked at.
            Form::Events if !grpc && !self.learner.asks_card() => {
                let mut headers = parts.headers;
                headers.remove(CONTENT_LENGTH);
                let mut response = Response::new(Events::new(self, body).into_body());
                *response.status_mut() = parts.status;
                *response.headers_mut() = headers;
                Answer::Response(response)
            }
            Form::Json if !grpc => self.whole(parts, body).await,
            // An answer to an operation is one of these; what a proxy on the way says instead is no success.
            Form::Grpc | Form::Events | Form::Json | Form::Other if parts.status.is_success() && has_body(&body) => {
                self.unfit().await
            }
            Form::Grpc | Form::Events | Form::Json | Form::Other => {
                let body = flow(self.shared, self.standing, self.record, body);
                Answer::Response(Response::from_parts(parts, body))
            }
        }
    }

    async fn whole(mut self, mut parts: response::Parts, body: InBody) -> Answer {
        let shared = Arc::clone(&self.shared);
        let read = tokio::select! {
            read = collect(body, limits::MAX_LIST, &mut self.hold) => read,
            denial = self.standing.revoked(&shared.published) => return self.revoked(denial),
        };
        let Some(read) = read else { return self.bad() };
        if let Some(Err(denial)) = self.standing.turned_now(&shared.published) {
            return self.revoked(denial);
        }
        if parts.status.is_success() {
            let (learner, binding) = (&self.learner, self.asker.binding);
            match shared.heavy.run(read.len(), || learner.read(&shared, binding, &read)).await {
                Ok(Some(untold)) => untold.told(&shared).await,
                Ok(None) => {}
                Err(_fault) => return self.bad(),
            }
            if self.learner.asks_card() {
                let checked = shared.heavy.run(read.len(), || self.check_card(&read)).await;
                // Refused or not: rules everywhere see it before the caller does.
                if let Some(untold) = self.decided(&checked) {
                    untold.told(&shared).await;
                }
                if let Err(fault) = checked {
                    return answer::proxy_fault(self.record, &self.asker, fault);
                }
            }
        }
        parts.headers.remove(CONTENT_LENGTH);
        self.record.meter().sent(read.len());
        Answer::Response(Response::from_parts(parts, HeldBody::whole(Bytes::into(read), self.hold)))
    }

    /// A card may name places that this waypoint does not front: whoever calls them there is not decided on here.
    fn check_card(&self, text: &[u8]) -> Result<Option<Card>, ProxyFault> {
        let tree = json::parse(text).map_err(|_fault| ProxyFault::BadAnswer)?;
        cards(self.asker.binding, &tree).try_fold(None, |_, card| {
            self.report(card)?;
            self.look(card).map(Some)
        })
    }

    /// Keeps for rules what was decided of the public card. One that is refused takes away what an earlier one gave.
    fn decided(&self, checked: &Result<Option<Card>, ProxyFault>) -> Option<Untold> {
        let card = match checked {
            Ok(None) => return None,
            Ok(Some(card)) => Some(card.clone()),
            Err(_refused) => None,
        };
        let path = &self.standing.asked().head().filter(|_| self.learner.public_card)?.path;
        let target = self.standing.asked().target();
        self.shared.owners.saw(target, &Arc::from(&**path), card).map(Untold)
    }

    /// An answer that is not passed on; if it would have been a card, it was refused.
    async fn unfit(self) -> Answer {
        if self.learner.asks_card()
            && let Some(untold) = self.decided(&Err(ProxyFault::BadAnswer))
        {
            untold.told(&self.shared).await;
        }
        answer::proxy_fault(self.record, &self.asker, ProxyFault::BadAnswer)
    }

    /// Whether a policy believes the card.
    fn look(&self, card: &Object) -> Result<Card, ProxyFault> {
        let target = self.standing.asked().target();
        let Some((known, fault)) = target.rules.look_at_card(card) else { return Err(ProxyFault::TargetGone) };
        if let Some(fault) = fault {
            tracing::warn!(target = %target.key, digest = %known.digest, %fault, "agent card not passed on");
            return Err(ProxyFault::Card(fault));
        }
        Ok(known)
    }

    /// The same of a card in protobuf, that of 0.3 is seen in part: where a policy says whose cards it believes, that is not
    /// enough.
    pub(super) fn look_at_proto(&self, card: &Object) -> Result<(), ProxyFault> {
        let rules = &self.standing.asked().target().rules;
        match self.learner.version {
            A2aVersion::V1_0 => self.look(card).map(drop),
            A2aVersion::V0_3 if rules.trusts_any_card() => Ok(()),
            A2aVersion::V0_3 => Err(ProxyFault::Card(CardFault::NotSigned)),
        }
    }

    /// Says of a card's places which are not fronted here.
    pub(super) fn report(&self, card: &Object) -> Result<(), ProxyFault> {
        let snapshot = self.shared.published.current();
        let fronted = |place: Option<&(UrlHost, u16)>| {
            let Some((host, port)) = place else { return false };
            let authority = match host {
                UrlHost::Name(name) => format!("{name}:{port}"),
                UrlHost::Address(address) => std::net::SocketAddr::new(*address, *port).to_string(),
            };
            authority.parse().is_ok_and(|authority| snapshot.find(&authority).is_some())
        };
        let out: Vec<_> = card_urls(card).into_iter().filter(|url| !fronted(url.place.as_ref())).collect();
        let Some(first) = out.first() else { return Ok(()) };
        let target = self.standing.asked().target();
        tracing::warn!(target = %target.key, url = ?first.url, places = out.len(), "agent card leads out of the mesh's waypoint");
        self.shared.telemetry.metrics().fault(&ProxyFault::CardLeadsOut);
        if target.rules.refuses_foreign_cards() { Err(ProxyFault::CardLeadsOut) } else { Ok(()) }
    }

    /// Refused after all, before anything of the answer went out.
    fn revoked(mut self, denial: Option<Denial>) -> Answer {
        note::revoked(&mut self.record, &self.standing, denial.as_ref());
        match denial {
            Some(denial) => {
                let refused = self.standing.refused(denial);
                answer::denied(self.record, &self.asker, &refused)
            }
            None => answer::proxy_fault(self.record, &self.asker, ProxyFault::TargetGone),
        }
    }

    fn bad(self) -> Answer {
        answer::proxy_fault(self.record, &self.asker, ProxyFault::BadAnswer)
    }
}

fn has_body(body: &InBody) -> bool {
    use http_body::Body as _;
    !body.is_end_stream()
}
