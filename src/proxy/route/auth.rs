//! Whom a route has asked about a request that rules permit: it may refuse it, and change headers.

use std::sync::Arc;

use http::HeaderMap;

use super::super::Shared;
use super::super::answer::ProxyFault;
use super::super::custom::{self, Content};
use super::super::stages::Asked;
use super::Stop;
use crate::document::agent_policy::DenialForm;
use crate::mesh::{Auth, PortProtocol, Target};
use crate::policy::{Denial, Edits, Permit, Reason};

/// Asks; what is changed of the answer's headers. Whoever is not there, or is a port of tools or agents, is not asked, and
/// nothing goes on.
pub(super) async fn ask<M: Content>(
    shared: &Shared,
    (asked, permit, message): (&Asked, &Permit, &mut M),
    auth: &Auth,
    headers: &mut HeaderMap,
) -> Result<Vec<Edits>, Stop> {
    let fit = |to: &Arc<Target>| {
        to.closed().is_none() && matches!(to.protocol, PortProtocol::Http | PortProtocol::Undeclared)
    };
    let to = auth.to.as_ref().and_then(|key| shared.published.current().get(key)).filter(fit);
    let to = to.ok_or(Stop::Fault(ProxyFault::NoBackend))?;
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
