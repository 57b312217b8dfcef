//! Whom a route has asked about a request that rules permit: it may refuse it, and change headers. What it is sent is the
//! caller's, and what it says can reach the caller, so that its own rules have to permit the caller too.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::super::Shared;
use super::super::answer::ProxyFault;
use super::super::custom::{self, Content};
use super::super::stages::Asked;
use super::Stop;
use crate::document::agent_policy::DenialForm;
use crate::mesh::{Auth, Target};
use crate::policy::{Decision, Denial, Edits, Permit, Provider, Reason, Speaks, Verdicts};
use crate::wire::ext_authz::CHECK;

/// Asks; what is changed of the answer's headers. Whoever is not there, or is a port of tools or agents, is not asked, and
/// nothing goes on.
pub(super) async fn ask<M: Content>(
    shared: &Shared,
    (asked, permit, message): (&Asked, &Permit, &mut M),
    auth: &Auth,
    headers: &mut HeaderMap,
) -> Result<Vec<Edits>, Stop> {
    let fit = |to: &Arc<Target>| to.closed().is_none() && to.protocol.is_plain();
    let to = auth.to.as_ref().and_then(|key| shared.published.current().get(key)).filter(fit);
    let to = to.ok_or(Stop::Fault(ProxyFault::NoBackend))?;
    admit(asked, &to, &auth.provider)?;
    let consulting = custom::consult_by_route(shared, (asked, permit, message), (auth, &to), headers);
    let (goes_on, mut consulted) = consulting.await.map_err(Stop::Unshown)?;
    if goes_on {
        return Ok(consulted.downstream);
    }
    let denial = Denial {
        reason: Reason::DeniedByProvider,
        rule: None,
        form: DenialForm::Disclosed,
        shadow: None,
        hint: None,
        retry: None,
    };
    Err(Stop::Denied(Box::new(denial), Arc::clone(asked.target()), consulted.told.take()))
}

/// Decides by the rules of whoever is asked on what it would be sent. Nobody is asked whether it may be: where those rules
/// would ask a provider, they refuse.
fn admit(asked: &Asked, to: &Arc<Target>, provider: &Provider) -> Result<(), Stop> {
    let mut head = asked.head().cloned().ok_or(Stop::Fault(ProxyFault::NoBackend))?;
    match &provider.speaks {
        Speaks::Grpc => (head.method, head.path, head.query) = (Method::POST, CHECK.to_owned(), None),
        Speaks::Http(terms) => head.path.insert_str(0, &terms.prefix),
    }
    if !to.paths.keeps(&head.path) {
        return Err(Stop::Fault(ProxyFault::Unsendable));
    }
    match asked.admitted((to, &mut head), &Verdicts::default(), None) {
        Ok(Decision::Allow(_)) => Ok(()),
        Ok(Decision::Deny(denial)) => Err(Stop::Denied(Box::new(denial), Arc::clone(to), None)),
        Err(fault) => Err(Stop::BadToken(fault)),
    }
}
