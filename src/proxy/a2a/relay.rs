//! Streams of an agent on their way, event by event: each is read for whose task it is about before it goes out.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};

use super::super::answer::ProxyFault;
use super::super::flow::grpc_status;
use super::super::heavy::run_now;
use super::super::note;
use super::answers::{Answers, Untold};
use super::ends::{Ends, Over};
use crate::call::A2aOperation;
use crate::config::limits::MAX_BODY;
use crate::intake::{BodyFault, ResponseBody};
use crate::upstream::InBody;
use crate::wire::a2a::{card_of_proto, learn_proto};
use crate::wire::grpc::{Frames, GrpcCode, percent_encoded};
use crate::wire::sse;

/// Bytes held of what the agent sends beside the request's.
type Held = Result<(), BodyFault>;

impl Answers {
    fn failed(&mut self, fault: ProxyFault) -> BodyFault {
        self.record.failed(&fault);
        BodyFault::Upstream
    }

    fn account(&mut self, base: usize, held: usize) -> Held {
        let kept = self.hold.set(base + held);
        kept.map_err(|_over_budget| self.failed(ProxyFault::OverBudget))
    }

    fn end(&mut self, over: &Over) {
        note::revoked(&mut self.record, &self.standing, over.denial());
    }
}

/// Server-sent events.
pub(super) struct Events {
    answers: Answers,
    body: InBody,
    parser: sse::Parser,
    frames: VecDeque<sse::Frame>,
    base: usize,
}

impl Events {
    pub(super) fn new(mut answers: Answers, body: InBody) -> Self {
        answers.standing.lasts();
        let base = answers.hold.bytes();
        Self { answers, body, parser: sse::Parser::new(MAX_BODY), frames: VecDeque::new(), base }
    }

    /// The body of the answer. Dropping it ends the agent's stream.
    pub(super) fn into_body(self) -> ResponseBody {
        let events = stream::unfold(Some(Box::new(self)), |events| async move {
            let mut events = events?;
            match events.next().await? {
                Ok(bytes) => {
                    events.answers.record.meter().sent(bytes.len());
                    Some((Ok(Frame::data(bytes)), Some(events)))
                }
                Err(fault) => Some((Err(fault), None)),
            }
        });
        StreamBody::new(events).boxed_unsync()
    }

    async fn next(&mut self) -> Option<Result<Bytes, BodyFault>> {
        let (shared, ends) = (Arc::clone(&self.answers.shared), Ends::of(self.answers.standing.asked()));
        loop {
            // Also before what was read earlier: the caller may have taken its time.
            if let Some(over) = ends.is_over(&mut self.answers.standing, &shared) {
                self.answers.end(&over);
                return Some(Err(BodyFault::Ended));
            }
            if let Some(frame) = self.frames.pop_front() {
                let (bytes, untold) = match self.event(&frame) {
                    Ok(event) => event,
                    Err(fault) => return Some(Err(fault)),
                };
                if let Some(untold) = untold {
                    untold.told(&shared).await;
                }
                return Some(Ok(bytes));
            }
            let frame = tokio::select! {
                biased;
                over = ends.over(&mut self.answers.standing, &shared) => {
                    self.answers.end(&over);
                    return Some(Err(BodyFault::Ended));
                }
                frame = self.body.frame() => frame,
            };
            let data = match frame? {
                Ok(frame) => frame.into_data().unwrap_or_default(),
                Err(_cut) => return Some(Err(self.answers.failed(ProxyFault::BadAnswer))),
            };
            let mut frames = Vec::new();
            if self.parser.push(&data, &mut frames).is_err() {
                return Some(Err(self.answers.failed(ProxyFault::BadAnswer)));
            }
            self.frames.extend(frames);
            let queued = self.frames.iter().map(size).sum::<usize>();
            if let Err(fault) = self.answers.account(self.base, self.parser.held() + queued) {
                return Some(Err(fault));
            }
        }
    }

    /// What goes out for one event: its data as it came, in the one form that every client reads alike.
    fn event(&mut self, frame: &sse::Frame) -> Result<(Bytes, Option<Untold>), BodyFault> {
        let mut untold = None;
        // Clients read an event's data whatever the event is called.
        if let sse::Frame::Event(event) = frame
            && let Some(data) = event.data.as_deref().filter(|data| !data.is_empty())
        {
            let answers = &self.answers;
            let learn = || answers.learner.read(&answers.shared, answers.asker.binding, data.as_bytes());
            untold = match run_now(data.len(), learn) {
                Ok(untold) => untold,
                Err(_fault) if event.event.is_some() => None,
                Err(_fault) => return Err(self.answers.failed(ProxyFault::BadAnswer)),
            };
        }
        let mut out = Vec::new();
        frame.write(&mut out);
        Ok((out.into(), untold))
    }
}

fn size(frame: &sse::Frame) -> usize {
    match frame {
        sse::Frame::Event(event) => event.data.as_ref().map_or(0, |data| data.len()),
        sse::Frame::Comment => 0,
    }
}

/// gRPC messages, and the trailers behind them.
pub(super) struct Messages {
    answers: Answers,
    body: InBody,
    frames: Frames,
    trailers: Option<HeaderMap>,
    base: usize,
}

impl Messages {
    pub(super) fn new(mut answers: Answers, body: InBody) -> Self {
        answers.standing.lasts();
        let base = answers.hold.bytes();
        Self { answers, body, frames: Frames::new(MAX_BODY), trailers: None, base }
    }

    /// The body of the answer; of one that is trailers only there is none.
    pub(super) fn into_body(self) -> ResponseBody {
        use http_body::Body as _;
        if self.body.is_end_stream() {
            return crate::intake::no_body();
        }
        let frames = stream::unfold(Some(Box::new(self)), |messages| async move {
            let mut messages = messages?;
            let frame = match messages.next().await? {
                Ok(frame) => frame,
                Err(fault) => messages.failed(&fault),
            };
            let last = frame.is_trailers();
            messages.answers.record.meter().sent(frame.data_ref().map_or(0, Bytes::len));
            Some((Ok::<_, BodyFault>(frame), (!last).then_some(messages)))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    async fn next(&mut self) -> Option<Result<Frame<Bytes>, ProxyFault>> {
        let (shared, ends) = (Arc::clone(&self.answers.shared), Ends::of(self.answers.standing.asked()));
        loop {
            if let Some(over) = ends.is_over(&mut self.answers.standing, &shared) {
                return Some(Ok(self.over(&over)));
            }
            match self.frames.next_frame() {
                Ok(Some((whole, message))) => {
                    match self.learn(&message) {
                        Ok(Some(untold)) => untold.told(&shared).await,
                        Ok(None) => {}
                        Err(fault) => return Some(Err(fault)),
                    }
                    return Some(Ok(Frame::data(whole)));
                }
                Ok(None) => {}
                Err(_fault) => return Some(Err(ProxyFault::BadAnswer)),
            }
            if let Some(trailers) = self.trailers.take() {
                grpc_status(&mut self.answers.record, &trailers);
                return Some(Ok(Frame::trailers(trailers)));
            }
            let frame = tokio::select! {
                biased;
                over = ends.over(&mut self.answers.standing, &shared) => return Some(Ok(self.over(&over))),
                frame = self.body.frame() => frame,
            };
            match frame {
                None if self.frames.held() > 0 => return Some(Err(ProxyFault::BadAnswer)),
                None => return None,
                Some(Err(_cut)) => return Some(Err(ProxyFault::BadAnswer)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.frames.push(&data);
                        if self.answers.hold.set(self.base + self.frames.held()).is_err() {
                            return Some(Err(ProxyFault::OverBudget));
                        }
                    }
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }

    fn learn(&self, message: &[u8]) -> Result<Option<Untold>, ProxyFault> {
        let learner = &self.answers.learner;
        if learner.operation == A2aOperation::GetExtendedAgentCard {
            let card = card_of_proto(learner.version, message).map_err(|_no_card| ProxyFault::BadAnswer);
            let reported =
                card.and_then(|card| self.answers.report(&card).and_then(|()| self.answers.look_at_proto(&card)));
            return reported.map(|()| None);
        }
        if !learner.reads() {
            return Ok(None);
        }
        match learn_proto(learner.operation, learner.version, message) {
            Ok(subject) => Ok(learner.learn(&self.answers.shared, &subject)),
            Err(_fault) if learner.begins() => Err(ProxyFault::BadAnswer),
            Err(_fault) => Ok(None),
        }
    }

    /// The end of a stream that its agent would go on with.
    fn over(&mut self, over: &Over) -> Frame<Bytes> {
        self.answers.end(over);
        let (code, message) = over.status();
        self.trailers(code, message)
    }

    /// The end of an answer that cannot be passed on, or was cut: a caller could not tell a reset from a network's.
    fn failed(&mut self, fault: &ProxyFault) -> Frame<Bytes> {
        self.answers.record.failed(fault);
        let over_budget = matches!(fault, ProxyFault::OverBudget);
        let code = if over_budget { GrpcCode::Unavailable } else { GrpcCode::Internal };
        self.trailers(code, &fault.to_string())
    }

    fn trailers(&mut self, code: GrpcCode, message: &str) -> Frame<Bytes> {
        let code = code.number();
        self.answers.record.grpc_status(code);
        let status = (HeaderName::from_static("grpc-status"), HeaderValue::from(code));
        let message = HeaderValue::from_str(&percent_encoded(message)).unwrap_or(HeaderValue::from_static(""));
        Frame::trailers(HeaderMap::from_iter([status, (HeaderName::from_static("grpc-message"), message)]))
    }
}
