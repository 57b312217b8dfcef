use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ejection::Outcome;
use super::{Caller, Upstreams};
use crate::mesh::Endpoint;

/// One request on its way, over all its tries: whether it is out, for who decides on it until then, and where it waits for an
/// answer, for who gives up on it.
#[derive(Debug, Default)]
pub struct Departure {
    out: AtomicBool,
    /// Only where its answer is judged.
    at: Mutex<Option<(Arc<Endpoint>, Caller)>>,
}

impl Departure {
    /// Whether a server may have seen anything of it. Before that it may wait for a connection.
    pub fn is_out(&self) -> bool {
        self.out.load(Ordering::Relaxed)
    }

    /// To that endpoint.
    pub(super) fn to<'d>(&'d self, endpoint: &'d Arc<Endpoint>, caller: Option<Caller>) -> Leave<'d> {
        Leave { departure: self, endpoint, caller }
    }

    fn at(&self) -> MutexGuard<'_, Option<(Arc<Endpoint>, Caller)>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leave<'d> {
    departure: &'d Departure,
    endpoint: &'d Arc<Endpoint>,
    caller: Option<Caller>,
}

impl Leave<'_> {
    /// It goes out now.
    pub(super) fn goes(&self) {
        self.departure.out.store(true, Ordering::Relaxed);
        if let Some(caller) = self.caller {
            *self.departure.at() = Some((Arc::clone(self.endpoint), caller));
        }
    }

    /// Nothing of it went out after all.
    pub(super) fn stayed(&self) {
        self.departure.out.store(false, Ordering::Relaxed);
        self.is_over();
    }

    /// Its answer is there, or why there is none.
    pub(super) fn is_over(&self) {
        if self.caller.is_some() {
            *self.departure.at() = None;
        }
    }
}

impl Upstreams {
    /// No answer came within the time that a document gives it, which is an error of the endpoint where it waited.
    pub fn late(&self, departure: &Departure) {
        let waited = departure.at().take();
        if let Some((endpoint, caller)) = waited {
            self.inner.live.services.heard(&endpoint, Outcome::Late, caller);
        }
    }
}
