//! Between decoding and deciding: providers are asked about the calls that CUSTOM rules are about.
//!
//! A check goes out by the right to ask, which rules alone give, and to where the snapshot has the provider. What it comes
//! to is noted with the call; policy decides on it, and what was not asked lets nothing through. A provider's word can
//! change headers of a request, never what was decoded, nor to where it goes.

mod answer;
mod content;
mod grpc;
mod http;
mod places;

use std::sync::Arc;

use ::http::{HeaderMap, StatusCode, Version};
use bytes::Bytes;

pub(super) use content::{Content, Sample, SampleFault, beginning, whole};
pub(super) use places::Checks;

use super::Shared;
use super::budget::waiting;
use super::stages::{Asked, Decoded};
use crate::call::{Call, HttpHead};
use crate::mesh::{Auth, Endpoint, Target};
use crate::policy::{Ask, Destination, Edits, Facts, Permit, Speaks, TokenFault, Verdicts, Word};
use crate::upstream::{Departure, SendFault};

/// A gRPC server says this of a message that is longer than it takes: a caller's body can make one.
const RESOURCE_EXHAUSTED: u16 = 8;
/// How often the part of a body that a provider gets is in memory while it is asked: cut out, as text, in a message, framed.
const COPIES: usize = 4;

/// What came of asking about one call.
#[derive(Debug, Default)]
pub(super) struct Consulted {
    pub(super) verdicts: Verdicts,
    /// How the provider that refused wants it worded.
    pub(super) told: Option<Box<Told>>,
    /// Changes of the answer's headers.
    pub(super) downstream: Vec<Edits>,
    /// The request's headers as they were, where routes are chosen by those.
    pub(super) as_sent: Option<HeaderMap>,
}

/// A refusal in the words of a provider, for callers of plain HTTP.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What a provider said.
#[derive(Debug)]
enum Said {
    Allowed { upstream: Edits, downstream: Edits },
    Denied(Told),
}

/// Why a provider said nothing that counts.
#[derive(Debug, thiserror::Error)]
enum CheckFault {
    #[error("no answer in time")]
    Timeout,
    #[error("too many calls wait for it")]
    Busy,
    #[error(transparent)]
    Send(#[from] SendFault),
    #[error("the path would lead out of its prefix")]
    LeadsOut,
    #[error("its service is not here")]
    Nowhere,
    #[error("it is asked over HTTP, which a stream of bytes is not")]
    Bytes,
    #[error("it answered HTTP {0}")]
    Status(StatusCode),
    #[error("it answered gRPC status {0}")]
    Grpc(u16),
    #[error("it says that it failed")]
    Itself,
    #[error("its answer is none: {0}")]
    Garbage(&'static str),
}

impl CheckFault {
    /// Whether it was the provider that failed, which is what `failOpen` is about: not documents, as Istio refuses then,
    /// and nothing that a caller can bring about by itself.
    fn is_the_providers(&self) -> bool {
        let documents = matches!(self, Self::Nowhere | Self::Bytes);
        !documents && !matches!(self, Self::Busy | Self::LeadsOut | Self::Grpc(RESOURCE_EXHAUSTED))
    }
}

/// Why a call ends before it is decided on.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Its body cannot be shown to a provider.
    Content(SampleFault),
    /// The token that a provider put into it is not valid.
    Token(TokenFault),
}

/// Asks whoever is to be asked about a decoded call, one after the other, until one refuses.
pub(super) async fn consult<M: Content>(shared: &Shared, decoded: &mut Decoded<M>) -> Result<(), Stopped> {
    if decoded.asked().target().rules.asks() {
        Box::pin(consult_all(shared, decoded)).await?;
    }
    Ok(())
}

async fn consult_all<M: Content>(shared: &Shared, decoded: &mut Decoded<M>) -> Result<(), Stopped> {
    // What was asked is not asked again, so that there is an end.
    while let Some(ask) = decoded.ask() {
        let (asked, call, message) = decoded.parts();
        let (sample, version) = (sample(shared, asked, &ask, message).await?, message.version());
        let (shown, destination) = (asked.shown(), ask.destination());
        let question = Question { asked, destination, head: shown.as_deref(), call, version, sample };
        let said = check(shared, &ask, &question).await;
        if !decoded.heard(ask, said, shared)? {
            break;
        }
    }
    Ok(())
}

/// Asks about a request on its way to another Service, as that one gets it, which `head` becomes; what came of it.
pub(super) async fn consult_beyond<M: Content>(
    shared: &Shared,
    (asked, message): (&Asked, &mut M),
    to: &Target,
    head: &mut HttpHead,
) -> Result<Consulted, Stopped> {
    let mut consulted = Consulted::default();
    if !to.rules.asks() {
        return Ok(consulted);
    }
    if let Some(tokens) = &to.tokens {
        // Nobody has verified a token for it yet.
        tokens.vouch(&mut head.headers, &HeaderMap::new());
    }
    loop {
        let (peer, destination) = (&**asked.peer(), &to.destination);
        let facts =
            Facts { peer, destination, request: Some(head), claims: None, call: &Call::Http, led: None, labels: None };
        let Some(ask) = to.rules.ask(&facts, &consulted.verdicts) else { return Ok(consulted) };
        let (sample, version) = (sample(shared, asked, &ask, message).await?, message.version());
        let (destination, call) = (ask.destination(), &Call::Http);
        let question = Question { asked, destination, head: Some(head), call, version, sample };
        let said = check(shared, &ask, &question).await;
        let (goes_on, _changed) = consulted.note(ask, said, &mut head.headers, shared);
        if !goes_on {
            return Ok(consulted);
        }
    }
}

/// Asks whom a route names about a permitted request, as it was sent; makes the changes of `headers`, with which it goes on.
/// What came of it, and whether it goes on.
pub(super) async fn consult_by_route<M: Content>(
    shared: &Shared,
    (asked, permit, message): (&Asked, &Permit, &mut M),
    (auth, to): (&Auth, &Target),
    headers: &mut HeaderMap,
) -> Result<(bool, Consulted), Stopped> {
    let (destination, call) = (&asked.target().destination, &Call::Http);
    let ask = Ask::by_route(permit, &auth.provider, destination);
    let (sample, version) = (sample(shared, asked, &ask, message).await?, message.version());
    let shown = asked.shown();
    let question = Question { asked, destination, head: shown.as_deref(), call, version, sample };
    let said = check_at(shared, &ask, &to.endpoints, &question).await;
    let mut consulted = Consulted::default();
    let (goes_on, _changed) = consulted.note(ask, said, headers, shared);
    Ok((goes_on, consulted))
}

async fn sample<M: Content>(
    shared: &Shared,
    asked: &Asked,
    ask: &Ask,
    message: &mut M,
) -> Result<Option<Sample>, Stopped> {
    let Some(terms) = ask.provider().body else { return Ok(None) };
    let over = |_full| Stopped::Content(SampleFault::OverBudget);
    let hold = shared.budget.hold(asked.peer().id());
    let waits = hold.beside(asked.head().map_or(0, waiting)).map_err(over)?;
    let sample = message.sample(terms, hold).await.map_err(Stopped::Content)?;
    let copies = waits.beside(sample.bytes.len().saturating_mul(COPIES)).map_err(over)?;
    Ok(Some(sample.holding(copies)))
}

/// What a provider is asked about.
struct Question<'a> {
    asked: &'a Asked,
    /// Whose rule asks: not the one that was called, where a route leads on or several Services are meant.
    destination: &'a Destination,
    /// The request, which is another on the way to another Service.
    head: Option<&'a HttpHead>,
    call: &'a Call,
    version: Version,
    sample: Option<Sample>,
}

/// Sends one check, within its time.
async fn check(shared: &Shared, ask: &Ask, question: &Question<'_>) -> Result<Said, CheckFault> {
    let endpoints = shared.published.current().provider(&ask.provider().name).ok_or(CheckFault::Nowhere)?;
    check_at(shared, ask, &endpoints, question).await
}

async fn check_at(
    shared: &Shared,
    ask: &Ask,
    endpoints: &[Arc<Endpoint>],
    question: &Question<'_>,
) -> Result<Said, CheckFault> {
    let provider = ask.provider();
    let _place = shared.checks.take(&provider.name, question.asked.peer().id()).ok_or(CheckFault::Busy)?;
    match (&provider.speaks, question.head) {
        (Speaks::Grpc, _) => {
            let departure = Departure::default();
            let asking = grpc::ask(shared, ask, question, (endpoints, &departure));
            tokio::time::timeout(provider.timeout, asking).await.unwrap_or_else(|_late| {
                shared.upstreams.late(&departure);
                Err(CheckFault::Timeout)
            })
        }
        // Within its time it has to say whether; its words may take as long again.
        (Speaks::Http(terms), Some(head)) => http::ask(shared, (provider, terms), (question, head), endpoints).await,
        (Speaks::Http(_), None) => Err(CheckFault::Bytes),
    }
}

impl Consulted {
    /// Notes what came of asking, and makes the changes of the request's headers; whether the call goes on, and the changes.
    fn note(
        &mut self,
        ask: Ask,
        said: Result<Said, CheckFault>,
        headers: &mut HeaderMap,
        shared: &Shared,
    ) -> (bool, Option<Edits>) {
        let provider = Arc::clone(ask.provider());
        let name = &provider.name;
        let mut changed = None;
        let said = said.and_then(|said| answer::applied(said, headers));
        let (word, told) = match said {
            Ok(answer::Applied::Allowed { upstream, downstream, before }) => {
                if !upstream.is_empty() {
                    if !provider.clears_route {
                        self.as_sent.get_or_insert(before);
                    }
                    changed = Some(upstream);
                }
                self.downstream.extend((!downstream.is_empty()).then_some(downstream));
                (Word::Allowed, String::new())
            }
            Ok(answer::Applied::Denied(told)) => {
                let said = format!("provider {name} answered {}", told.status.as_u16());
                self.told = Some(Box::new(told));
                (Word::Denied, said)
            }
            Err(fault) => {
                tracing::warn!(provider = %name, fail_open = provider.fail_open, %fault, "authorization provider failed");
                let open = provider.fail_open && fault.is_the_providers();
                if !open {
                    let (headers, body) = (HeaderMap::new(), Bytes::new());
                    self.told = Some(Box::new(Told { status: provider.status_on_error, headers, body }));
                }
                (if open { Word::FailedOpen } else { Word::Failed }, format!("provider {name} failed: {fault}"))
            }
        };
        shared.telemetry.metrics().checked(name, word.as_str());
        self.verdicts.note(ask, word, told);
        (matches!(word, Word::Allowed | Word::FailedOpen), changed)
    }
}

impl<M: Content> Decoded<M> {
    /// Notes what came of asking; whether the call goes on.
    fn heard(&mut self, ask: Ask, said: Result<Said, CheckFault>, shared: &Shared) -> Result<bool, Stopped> {
        let (asked, message) = self.parts_mut();
        let mut none = HeaderMap::new();
        let (consulted, headers) = asked.consulted_mut();
        let (goes_on, changed) = consulted.note(ask, said, headers.unwrap_or(&mut none), shared);
        if let Some(edits) = changed {
            message.edit(&edits);
            if let Some(edits) = asked.verify_again().map_err(Stopped::Token)? {
                message.vouch(&edits);
            }
        }
        Ok(goes_on)
    }
}
