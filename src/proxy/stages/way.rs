//! The way that a call goes on a declared port with routes, and what the Service gets to which that leads.

use std::sync::Arc;

use http::HeaderMap;

use super::Asked;
use crate::call::HttpHead;
use crate::mesh::{Taken, Target};
use crate::policy::Destination;
use crate::proxy::custom::Consulted;

/// A way that a call goes, and its request as the Service gets it to which that leads, where that is another one.
#[derive(Debug)]
pub(super) struct Way {
    taken: Taken,
    head: Option<HttpHead>,
}

/// Another Service that a route leads to, and the request as that one gets it.
#[derive(Debug)]
pub(in crate::proxy) struct Beyond {
    pub(in crate::proxy) to: Arc<Target>,
    /// None of a byte stream.
    pub(in crate::proxy) head: Option<HttpHead>,
    /// What its providers said.
    pub(in crate::proxy) consulted: Consulted,
}

impl Asked {
    /// The same on the way that a route leads it.
    pub(in crate::proxy) fn on(mut self, taken: Option<Taken>) -> Self {
        self.way = taken.map(|taken| Box::new(Way { taken, head: None }));
        self.see_way();
        self
    }

    /// The way that it goes, on a declared port with routes.
    pub(in crate::proxy) fn way(&self) -> Option<&Taken> {
        self.way.as_ref().map(|way| &way.taken)
    }

    /// What the way makes of the request as it now is: what the rules of where it leads decide on.
    pub(super) fn see_way(&mut self) {
        let edits = self.way().is_some_and(Taken::edits_requests) && self.target.leads_to.is_some();
        let Some(mut head) = self.head.as_ref().filter(|_| edits).cloned() else { return };
        self.dress(&mut head.headers);
        if let Some(way) = &mut self.way {
            way.head = Some(head);
        }
    }

    /// Makes of a request's headers what its way says. Where that leads to another Service, no route says there what only a
    /// token may.
    pub(in crate::proxy) fn dress(&self, headers: &mut HeaderMap) {
        let Some(way) = &self.way else { return };
        way.taken.request(headers);
        if let (Some(tokens), Some(_), Some(head)) = (&self.target.tokens, &self.target.leads_to, &self.head) {
            tokens.vouch(headers, &head.headers);
        }
    }

    /// Where it is led, and the request as that Service gets it.
    pub(super) fn led(&self) -> Option<(&Destination, &HttpHead)> {
        let (_, to) = self.target.leads_to.as_deref()?;
        Some((to, self.way.as_ref()?.head.as_ref()?))
    }
}
