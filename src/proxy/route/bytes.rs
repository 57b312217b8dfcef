//! Connections: of one nothing is known but who opens it, so that a route leads it by weight alone.

use std::sync::Arc;

use super::super::Shared;
use super::super::answer::ProxyFault;
use super::super::custom::Consulted;
use super::super::stages::{Asked, Beyond};
use crate::mesh::Target;
use crate::policy::{Decision, Denial};
use crate::upstream::Upstreams;

/// Why a connection goes nowhere.
#[derive(Debug)]
pub(in crate::proxy) enum Strayed {
    /// The way leads nowhere.
    Fault(ProxyFault),
    /// The Service that it leads to refuses.
    Denied(Box<Denial>, Arc<Target>),
}

/// Where a permitted connection goes, and whose rules have to permit it as long as it lasts, where that is another Service.
pub(in crate::proxy) fn lead_bytes(shared: &Shared, asked: &Asked) -> Result<(Arc<Target>, Option<Beyond>), Strayed> {
    let target = asked.target();
    let nowhere = || Strayed::Fault(ProxyFault::NoBackend);
    // Whom a route has asked about requests could not be asked about these, which a server may read requests out of.
    if target.routes.as_ref().is_some_and(|routes| routes.ask()) {
        return Err(nowhere());
    }
    let Some(routes) = &target.bytes else { return Ok((Arc::clone(target), None)) };
    let way = routes.first().ok_or_else(nowhere)?;
    tracing::debug!(target = %target.key, route = %way.name, "led");
    let key = way.then.backend(Upstreams::dice()).and_then(|backend| backend.to.as_ref()).ok_or_else(nowhere)?;
    let to = shared.published.current().get(key).ok_or_else(nowhere)?;
    if to.key == target.key {
        return Ok((to, None));
    }
    // A port of requests takes no bytes: its rules would look at none of them.
    if !to.protocol.takes_bytes() {
        return Err(nowhere());
    }
    match asked.admitted_bytes(&to, Some(&shared.quotas)) {
        Decision::Allow(_) => {
            let beyond = Beyond { to: Arc::clone(&to), head: None, consulted: Consulted::default() };
            Ok((to, Some(beyond)))
        }
        Decision::Deny(denial) => Err(Strayed::Denied(Box::new(denial), to)),
    }
}
