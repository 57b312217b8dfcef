//! How many streams a pooled connection carries, and whether it takes more: decided in one atomic step, so that an idle
//! connection is never closed under a stream that was just promised to a caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CLOSED: usize = 1 << (usize::BITS - 1);

#[derive(Debug, Default)]
pub(super) struct Gauge {
    state: AtomicUsize,
    /// Leases ever given, to tell idle from briefly used.
    uses: AtomicUsize,
}

/// One stream's place on a connection; given back on drop.
#[derive(Debug)]
pub(super) struct Lease(Arc<Gauge>);

impl Gauge {
    /// A place, if the connection is open and carries fewer than `most`.
    pub(super) fn lease(self: &Arc<Self>, most: usize) -> Option<Lease> {
        let more = |state: usize| (state & CLOSED == 0 && state < most).then(|| state + 1);
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        self.uses.fetch_add(1, Ordering::Relaxed);
        Some(Lease(Arc::clone(self)))
    }

    /// Gives no more leases; those given stay.
    pub(super) fn close(&self) {
        self.state.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Closes if nothing is carried; true if it is closed and empty now.
    pub(super) fn close_if_idle(&self) -> bool {
        let closed = self.state.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire);
        closed.is_ok() || closed == Err(CLOSED)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Whether any stream is on it.
    pub(super) fn is_carrying(&self) -> bool {
        self.state.load(Ordering::Acquire) & !CLOSED != 0
    }

    pub(super) fn uses(&self) -> usize {
        self.uses.load(Ordering::Relaxed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.state.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_counted_and_given_back() {
        let gauge = Arc::new(Gauge::default());
        let first = gauge.lease(2).unwrap();
        let second = gauge.lease(2).unwrap();
        assert!(gauge.lease(2).is_none());
        drop(second);
        assert!(gauge.lease(2).is_some());
        assert!(!gauge.close_if_idle());
        drop(first);
        assert!(gauge.close_if_idle());
        assert!(gauge.lease(2).is_none());
    }

    #[test]
    fn closing_keeps_what_was_given() {
        let gauge = Arc::new(Gauge::default());
        let lease = gauge.lease(2).unwrap();
        gauge.close();
        assert!(gauge.lease(2).is_none() && gauge.is_closed() && !gauge.close_if_idle());
        drop(lease);
        assert!(gauge.close_if_idle());
    }
}
