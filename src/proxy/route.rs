//! Stage 7 on ports with routes: which way a permitted request goes, and what the way makes of it.
//!
//! A way is chosen for the request that was decided on. Where it leads to another Service, the request as that one would
//! get it is decided on by that one's rules as well, so that no route goes round them.

mod auth;
mod bytes;
mod declared;

use std::sync::Arc;

use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Request, StatusCode};

pub(super) use bytes::{Strayed, lead_bytes};
pub(super) use declared::{Choice, is_one_backend, is_there, leg};

use super::Shared;
use super::answer::ProxyFault;
use super::attempts::Terms;
use super::copies::{Copy, copies};
use super::custom::{self, Consulted, Content, Stopped, Told};
use super::http::XFCC;
use super::quotas::Quotas;
use super::stages::{Asked, Beyond, Permitted};
use crate::call::HttpHead;
use crate::mesh::{Target, Then};
use crate::policy::{Decision, Denial, TokenFault};
use crate::upstream::{OutBody, Upstreams};

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Lead {
    /// Whose endpoints it goes to.
    pub(super) to: Arc<Target>,
    way: Option<Box<Chosen>>,
}

#[derive(Debug)]
struct Chosen {
    then: Arc<Then>,
    /// Position among the way's backends.
    backend: usize,
    /// The head as it goes out.
    head: HttpHead,
    /// What the other Service's providers said.
    consulted: Consulted,
    /// To be made before it goes out.
    copies: Vec<Copy>,
}

/// Why it goes nowhere.
#[derive(Debug)]
pub(super) enum Stop {
    /// The way is an answer.
    Redirect(StatusCode, String),
    /// No way, or one that leads nowhere.
    Fault(ProxyFault),
    /// The Service that the way leads to does not take the token.
    BadToken(TokenFault),
    /// The Service that the way leads to refuses, in the words of its provider where it was one.
    Denied(Box<Denial>, Arc<Target>, Option<Box<Told>>),
    /// The request cannot be shown to the provider of the Service that the way leads to.
    Unshown(Stopped),
}

/// Chooses the way of what was permitted; straight on where its target has no routes.
pub(super) async fn lead<M: Content>(shared: &Shared, permitted: &mut Permitted<M>) -> Result<Lead, Stop> {
    let (asked, permit, message) = permitted.parts();
    let target = asked.target();
    let (Some(routes), Some(head), Some(by)) = (&target.routes, asked.head(), asked.routed_by()) else {
        return Ok(Lead { to: Arc::clone(target), way: None });
    };
    let way = routes.choose(&by).ok_or(Stop::Fault(ProxyFault::NoRoute))?;
    tracing::debug!(target = %target.key, route = %way.name, "led");
    let then = Arc::clone(&way.then);
    let (mut headers, mut downstream) = (head.headers.clone(), Vec::new());
    if let Some(auth) = &then.auth {
        let asking = auth::ask(shared, (asked, permit, &mut *message), auth, &mut headers);
        downstream = Box::pin(asking).await?;
    }
    if let Some(redirect) = &then.redirect {
        return Err(Stop::Redirect(redirect.status, redirect.location(head, way.prefix())));
    }
    let backend = then.backend(Upstreams::dice()).ok_or(Stop::Fault(ProxyFault::NoBackend))?;
    let key = backend.to.as_ref().ok_or(Stop::Fault(ProxyFault::NoBackend))?;
    let to = shared.published.current().get(key).ok_or(Stop::Fault(ProxyFault::NoBackend))?;
    let mut out = HttpHead { headers, ..head.clone() };
    if let Some(host) = &then.host {
        out.host = host.to_string();
    }
    if let Some(path) = &then.path {
        out.path = path.apply(&head.path, way.prefix());
    }
    then.request.apply(&mut out.headers);
    let copies = copies(shared, asked, &then, &out);
    backend.request.apply(&mut out.headers);
    let mut consulted = Consulted::default();
    if to.key != target.key {
        out.path = spelt(&to, out.path)?;
        let asking = custom::consult_beyond(shared, (asked, message), &to, &mut out);
        consulted = Box::pin(asking).await.map_err(Stop::Unshown)?;
        admit(asked, (&to, &mut out), &mut consulted, &shared.quotas)?;
    }
    consulted.downstream.extend(downstream);
    let at = then.backends.iter().position(|one| std::ptr::eq(one, backend)).unwrap_or_default();
    Ok(Lead { to, way: Some(Box::new(Chosen { then, backend: at, head: out, consulted, copies })) })
}

/// The path as paths are normalised for the other Service: its rules may know one spelling only, where the first one's
/// leave several.
pub(super) fn spelt(to: &Target, path: String) -> Result<String, Stop> {
    if to.paths.keeps(&path) {
        return Ok(path);
    }
    to.paths.apply(&path).map_err(|_no_path| Stop::Fault(ProxyFault::Unsendable))
}

/// Decides by the rules of another Service on what it would get, which the head becomes. A port that is declared can be
/// led to only from one that is declared the same: what it speaks was not decoded.
fn admit(
    asked: &Asked,
    (to, head): (&Arc<Target>, &mut HttpHead),
    consulted: &mut Consulted,
    quotas: &Quotas,
) -> Result<(), Stop> {
    let from = asked.target().protocol;
    if to.protocol != from && !(from.is_plain() && to.protocol.is_plain()) {
        return Err(Stop::Fault(ProxyFault::NoBackend));
    }
    match asked.admitted((to, head), &consulted.verdicts, Some(quotas)) {
        Ok(Decision::Allow(_)) => Ok(()),
        Ok(Decision::Deny(denial)) => {
            let told = consulted.told.take().filter(|_| denial.reason.is_of_provider());
            Err(Stop::Denied(Box::new(denial), Arc::clone(to), told))
        }
        Err(fault) => Err(Stop::BadToken(fault)),
    }
}

impl Lead {
    /// The other Service, where a way leads to one.
    pub(super) fn beyond(&mut self, asked: &Asked) -> Option<Beyond> {
        let way = self.way.as_mut().filter(|_| self.to.key != asked.target().key)?;
        let downstream = way.consulted.downstream.clone();
        let consulted = std::mem::replace(&mut way.consulted, Consulted { downstream, ..Consulted::default() });
        Some(Beyond { to: Arc::clone(&self.to), head: Some(way.head.clone()), consulted })
    }

    /// How long, and how often.
    pub(super) fn terms(&self) -> Terms<'_> {
        let Some(Chosen { then, .. }) = self.way.as_deref() else { return Terms::default() };
        Terms { timeout: then.timeout, each: then.each, retry: then.retry.as_ref() }
    }

    /// The copies that are to be made.
    pub(super) fn copies(&mut self) -> Vec<Copy> {
        self.way.as_mut().map(|way| std::mem::take(&mut way.copies)).unwrap_or_default()
    }

    /// Makes of the request what the way says.
    pub(super) fn dress(&self, request: &mut Request<OutBody>) -> Result<(), ProxyFault> {
        let Some(Chosen { head, .. }) = self.way.as_deref() else { return Ok(()) };
        write(head, request)
    }

    /// Makes of the response what the way says: the backend's changes, then the rule's.
    pub(super) fn answered(&self, headers: &mut HeaderMap) {
        let Some(Chosen { then, backend, consulted, .. }) = self.way.as_deref() else { return };
        consulted.downstream.iter().for_each(|edits| edits.apply(headers));
        if let Some(backend) = then.backends.get(*backend) {
            backend.response.apply(headers);
        }
        then.response.apply(headers);
    }
}

/// Makes a request one with this head but for its method.
pub(super) fn write(head: &HttpHead, request: &mut Request<OutBody>) -> Result<(), ProxyFault> {
    *request.uri_mut() = head.target().parse().map_err(|_no_uri| ProxyFault::Unsendable)?;
    let host = HeaderValue::from_str(&head.host).map_err(|_no_host| ProxyFault::Unsendable)?;
    let caller = request.headers_mut().remove(XFCC);
    request.headers_mut().clone_from(&head.headers);
    request.headers_mut().extend(caller.map(|caller| (XFCC, caller)));
    request.headers_mut().insert(HOST, host);
    Ok(())
}
