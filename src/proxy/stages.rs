//! The stages from a decoded call to a chosen endpoint, each taking the one before it by value.
//!
//! Fields are private, so that [`Routed`] – the only thing that can be sent – cannot exist without a [`Permit`], and a
//! permit only comes from `policy`. No I/O here.

mod end;
mod labelled;
mod routed;
mod token;
mod way;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use tokio::sync::watch;

use super::authenticate::Authenticated;
use super::custom::{Consulted, Told};
use super::labels::Ticket;
use super::quotas::Quotas;
use super::sessions::{Holder, subject};
use crate::call::{Call, HttpHead};
use crate::id::Peer;
use crate::mesh::{Published, Target};
use crate::policy::{Ask, Claims, Decision, Denial, Edits, Facts, Labelled, Permit, Verdicts};
use crate::upstream::{Busy, Place};
use end::End;
use way::Way;

pub(super) use routed::{Overtaken, Routed};
pub(super) use way::Beyond;

/// Who asks, for what target, with which head and verified token: everything a decision needs but the call.
#[derive(Debug)]
pub(super) struct Asked {
    peer: Arc<Peer>,
    target: Arc<Target>,
    head: Option<HttpHead>,
    /// The head as it was sent, where the token made another of it.
    sent: Option<Box<HttpHead>>,
    claims: Option<Claims>,
    /// When the token was verified.
    at: SystemTime,
    /// What providers said, where any was asked.
    consulted: Option<Box<Consulted>>,
    /// The way that it goes, on a declared port with routes.
    way: Option<Box<Way>>,
    /// What its rules see of its session's labels, where they look.
    labels: Option<Arc<Ticket>>,
}

impl Asked {
    /// An HTTP request whose token, if any, was verified.
    pub(super) fn http(peer: Arc<Peer>, target: Arc<Target>, request: Authenticated) -> Self {
        let Authenticated { head, sent, claims } = request;
        let at = SystemTime::now();
        Self { peer, target, head: Some(head), sent, claims, at, consulted: None, way: None, labels: None }
    }

    /// A byte stream.
    pub(super) fn tcp(peer: Arc<Peer>, target: Arc<Target>) -> Self {
        let at = SystemTime::now();
        Self { peer, target, head: None, sent: None, claims: None, at, consulted: None, way: None, labels: None }
    }

    /// The caller.
    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// What it is addressed to.
    pub(super) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// The request's head, for HTTP.
    pub(super) fn head(&self) -> Option<&HttpHead> {
        self.head.as_ref()
    }

    /// The verified token.
    pub(super) fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    /// For whom what is sealed on behalf of this call is.
    pub(super) fn holder(&self) -> Holder {
        let subject = self.claims().map(subject);
        Holder { owner: self.peer.id().clone(), subject, target: self.target.key.clone() }
    }

    /// What policy decides on, for `call`.
    pub(super) fn facts<'a>(&'a self, call: &'a Call) -> Facts<'a> {
        Facts {
            peer: &self.peer,
            destination: &self.target.destination,
            request: self.head.as_ref(),
            claims: self.claims.as_ref(),
            call,
            led: self.led(),
            labels: self.labels.as_deref().map(|ticket| ticket as &dyn Labelled),
        }
    }

    /// Decides on `call` by the target's rules, and by what providers said.
    pub(super) fn decide(&self, call: &Call) -> Decision {
        let (rules, facts) = (&self.target.rules, self.facts(call));
        match &self.consulted {
            Some(consulted) => rules.decide_on(&facts, &consulted.verdicts),
            None => rules.decide(&facts),
        }
    }

    /// The request's head as it was sent, its token included.
    pub(super) fn sent(&self) -> Option<&HttpHead> {
        self.sent.as_deref().or(self.head.as_ref())
    }

    /// What providers are asked about: the head as it was sent, but that what only a token may say stands there as the
    /// server gets it.
    pub(super) fn shown(&self) -> Option<Cow<'_, HttpHead>> {
        let head = self.head.as_ref()?;
        let (Some(sent), Some(tokens)) = (self.sent.as_deref(), &self.target.tokens) else {
            return Some(Cow::Borrowed(head));
        };
        let mut shown = sent.clone();
        tokens.vouch(&mut shown.headers, &head.headers);
        Some(Cow::Owned(shown))
    }

    /// What providers said so far, and the request's headers as they were sent.
    pub(super) fn consulted_mut(&mut self) -> (&mut Consulted, Option<&mut HeaderMap>) {
        let head = self.sent.as_deref_mut().or(self.head.as_mut());
        (self.consulted.get_or_insert_default(), head.map(|head| &mut head.headers))
    }

    /// How the provider that refused wants it worded.
    pub(super) fn told(&self) -> Option<&Told> {
        self.consulted.as_ref()?.told.as_deref()
    }

    /// What providers change of the answer.
    pub(super) fn downstream(&self) -> &[Edits] {
        self.consulted.as_ref().map_or(&[], |consulted| &consulted.downstream)
    }

    /// The head by which routes are chosen: as it was sent, unless a provider says that they are chosen by what it made of it.
    pub(super) fn routed_by(&self) -> Option<Cow<'_, HttpHead>> {
        let head = self.head.as_ref()?;
        let as_sent = self.consulted.as_ref().and_then(|consulted| consulted.as_sent.as_ref());
        Some(match as_sent {
            Some(headers) => {
                let mut headers = headers.clone();
                if let Some(tokens) = &self.target.tokens {
                    tokens.vouch(&mut headers, &head.headers);
                }
                Cow::Owned(HttpHead { headers, ..head.clone() })
            }
            None => Cow::Borrowed(head),
        })
    }

    /// Stage 5: the call that was decoded, with what will be sent if it is permitted.
    pub(super) fn decoded<M>(self, call: Call, message: M) -> Decoded<M> {
        Decoded { asked: self, call, message }
    }
}

/// A call and the message that says it.
#[derive(Debug)]
pub(super) struct Decoded<M> {
    asked: Asked,
    call: Call,
    message: M,
}

/// A decoded call that policy refused.
#[derive(Debug)]
pub(super) struct Refused {
    /// Why.
    pub(super) denial: Denial,
    /// Who asked.
    pub(super) asked: Asked,
    /// For what.
    pub(super) call: Call,
}

impl<M> Decoded<M> {
    /// Who asks.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The right to ask a provider about it, while there is one to be asked.
    pub(super) fn ask(&self) -> Option<Ask> {
        let none = Verdicts::default();
        let verdicts = self.asked.consulted.as_ref().map_or(&none, |consulted| &consulted.verdicts);
        self.asked.target.rules.ask(&self.asked.facts(&self.call), verdicts)
    }

    /// Its parts, to show them to a provider.
    pub(super) fn parts(&mut self) -> (&Asked, &Call, &mut M) {
        (&self.asked, &self.call, &mut self.message)
    }

    /// Its parts, to make the changes that a provider asked for.
    pub(super) fn parts_mut(&mut self) -> (&mut Asked, &mut M) {
        (&mut self.asked, &mut self.message)
    }

    /// Stage 6: rules, then limits, so that what rules refuse counts against none. The message is gone with a refusal:
    /// there is no way to send it after all.
    pub(super) fn authorize(mut self, quotas: &Quotas) -> Result<Permitted<M>, Box<Refused>> {
        self.asked.see_way();
        let facts = self.asked.facts(&self.call);
        let rules = &self.asked.target.rules;
        let mut decision = self.asked.decide(&self.call);
        if let Decision::Allow(permit) = &decision
            && let Err(denial) = quotas.take(self.asked.peer.id(), &rules.charges(&facts))
        {
            decision = Decision::Deny(Denial { shadow: permit.shadow().cloned(), ..*denial });
        }
        match decision {
            Decision::Allow(permit) => Ok(Permitted { decoded: self, permit }),
            Decision::Deny(denial) => Err(Box::new(Refused { denial, asked: self.asked, call: self.call })),
        }
    }
}

/// A call with its permit.
#[derive(Debug)]
pub(super) struct Permitted<M> {
    decoded: Decoded<M>,
    permit: Permit,
}

impl<M> Permitted<M> {
    /// The permit, for the record.
    pub(super) fn permit(&self) -> &Permit {
        &self.permit
    }

    /// Who asked, the permit, and what goes out, to show it to whom a route or another Service asks.
    pub(super) fn parts(&mut self) -> (&Asked, &Permit, &mut M) {
        (&self.decoded.asked, &self.permit, &mut self.decoded.message)
    }
}

/// A permit in use: what was asked and decided, to be decided again when its target's rules change.
#[derive(Debug)]
pub(super) struct Standing {
    asked: Asked,
    call: Call,
    /// Whose rules have to permit it too.
    beyond: Option<Box<Beyond>>,
    _permit: Permit,
    /// Editions not looked at yet; absent before the first look.
    editions: Option<watch::Receiver<u64>>,
    end: End,
    /// It counts against the target and the caller for as long as it stands.
    _place: Place,
    /// Against the endpoint too, where no body does.
    _busy: Option<Busy>,
}

impl Standing {
    /// The same, as a call to an endpoint that lasts as long as it stands.
    pub(super) fn at(self, busy: Busy) -> Self {
        Self { _busy: Some(busy), ..self }
    }

    /// Who asked.
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// From now on it is a stream, which ends with its token too. One whole answer does not: the call was permitted when it
    /// was made, and its effects are there.
    pub(super) fn lasts(&mut self) {
        self.end = End::of(self.asked.ends(self.beyond.as_ref().map(|beyond| &*beyond.to)));
    }

    /// The call as one that was refused after all.
    pub(super) fn refused(self, denial: Denial) -> Refused {
        Refused { denial, asked: self.asked, call: self.call }
    }

    /// Waits until the call is no longer permitted: its rules changed and now refuse, or its target is gone or does not
    /// take its token any longer (`None`), which for a stream it does not once the token has ended.
    pub(super) async fn revoked(&mut self, published: &Published) -> Option<Denial> {
        loop {
            if let Err(denial) = self.turned(published).await {
                return denial;
            }
        }
    }

    /// Waits until the rules have changed.
    ///
    /// Asked again after it was dropped, it costs one comparison as long as nothing was published; a snapshot in which
    /// this target's revision did not change costs one look-up.
    ///
    /// # Errors
    /// They no longer permit the call; as in [`Standing::revoked`].
    pub(super) async fn turned(&mut self, published: &Published) -> Result<(), Option<Denial>> {
        loop {
            if self.still(published).map_err(|refused| refused.map(|denial| *denial))? {
                return Ok(());
            }
            let Some(editions) = &mut self.editions else { continue };
            // `changed` also takes the edition for seen, so that what follows it must look, not ask whether to.
            let changed = tokio::select! {
                biased;
                () = self.end.reached() => return Err(None),
                changed = editions.changed() => changed,
            };
            if changed.is_err() {
                self.end.reached().await;
                return Err(None);
            }
            if self.look(published).map_err(|refused| refused.map(|denial| *denial))? {
                return Ok(());
            }
        }
    }

    /// Whether the rules are others than at the last look; the denial as in [`Standing::revoked`].
    fn still(&mut self, published: &Published) -> Result<bool, Option<Box<Denial>>> {
        match &mut self.editions {
            // Whoever publishes changes the snapshot before the edition: an edition that was seen was looked at.
            Some(editions) if !editions.has_changed().unwrap_or(false) => return Ok(false),
            Some(editions) => editions.mark_unchanged(),
            None => self.editions = Some(published.changed()),
        }
        self.look(published)
    }

    fn look(&mut self, published: &Published) -> Result<bool, Option<Box<Denial>>> {
        let changed = self.decided_anew(published)?;
        if changed && !matches!(self.end, End::Whole) {
            self.lasts();
        }
        Ok(changed)
    }

    fn decided_anew(&mut self, published: &Published) -> Result<bool, Option<Box<Denial>>> {
        let target = self.asked.target.renewed(&published.current()).ok_or(None)?;
        // Bytes that nobody looks into are none of a port that has come to be one of requests.
        let bytes = matches!(self.call, Call::Tcp);
        if bytes && !target.protocol.takes_bytes() {
            return Err(None);
        }
        let changed = target.revision() != self.asked.target.revision();
        if changed {
            self.asked.readdress(target).ok_or(None)?;
            if let Decision::Deny(denial) = self.asked.decide(&self.call) {
                return Err(Some(Box::new(denial)));
            }
        }
        let Some(beyond) = &mut self.beyond else { return Ok(changed) };
        let to = published.current().get(&beyond.to.key).ok_or(None)?;
        if bytes && !to.protocol.takes_bytes() {
            return Err(None);
        }
        if to.revision() == beyond.to.revision() {
            return Ok(changed);
        }
        beyond.to = to;
        let Some(head) = &mut beyond.head else {
            return match self.asked.admitted_bytes(&beyond.to, None) {
                Decision::Allow(_) => Ok(true),
                Decision::Deny(denial) => Err(Some(Box::new(denial))),
            };
        };
        if !beyond.to.paths.keeps(&head.path) {
            return Err(None);
        }
        match self.asked.admitted((&beyond.to, head), &beyond.consulted.verdicts, None) {
            Ok(Decision::Allow(_)) => Ok(true),
            Ok(Decision::Deny(denial)) => Err(Some(Box::new(denial))),
            Err(_token) => Err(None),
        }
    }
}
