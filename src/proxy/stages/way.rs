//! The way that a call goes on a declared port with routes, and what the Service gets to which that leads.

use std::sync::Arc;

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
        let (Some(way), Some(head)) = (&mut self.way, &self.head) else { return };
        if self.target.leads_to.is_some() && way.taken.edits_requests() {
            let mut head = head.clone();
            way.taken.request(&mut head.headers);
            way.head = Some(head);
        }
    }

    /// Where it is led, and the request as that Service gets it.
    pub(super) fn led(&self) -> Option<(&Destination, &HttpHead)> {
        let (_, to) = self.target.leads_to.as_ref()?;
        Some((to, self.way.as_ref()?.head.as_ref()?))
    }
}
