//! One budget for what is held at once – bytes for decoding by principal, requests that are tried again by namespace, .. – with
//! a share for each: whoever fills its share is refused before others are.

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;

use crate::call::HttpHead;
use crate::id::WorkloadId;
use crate::intake::{BodyFault, ResponseBody};

/// What a request whose body is waited for takes beside its head, roughly, bytes.
const WAITING: usize = 4 << 10;

/// The budget. Cheap to share.
#[derive(Debug)]
pub(super) struct Budget<K = WorkloadId> {
    held: Mutex<Held<K>>,
    total: usize,
    share: usize,
}

#[derive(Debug)]
struct Held<K> {
    total: usize,
    by_owner: HashMap<K, usize>,
}

/// Bytes, or whatever else, held; given back when dropped.
#[derive(Debug)]
pub(super) struct Hold<K: Eq + Hash = WorkloadId> {
    budget: Arc<Budget<K>>,
    owner: K,
    bytes: usize,
}

/// Why no more bytes may be held now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OverBudget {
    /// Its owner holds its whole share.
    #[error("the share of whoever asks is in use")]
    Share,
    /// All together hold everything.
    #[error("all of it is in use")]
    Total,
}

/// What a request takes of the budget while its body is waited for, bytes: how many wait, and for how long, is their
/// callers' to say.
pub(super) fn waiting(head: &HttpHead) -> usize {
    WAITING + head.size()
}

impl<K: Clone + Eq + Hash> Budget<K> {
    /// `total` over all owners, `share` for each.
    pub(super) fn new(total: usize, share: usize) -> Arc<Self> {
        let held = Mutex::new(Held { total: 0, by_owner: HashMap::new() });
        Arc::new(Self { held, total, share })
    }

    /// An empty hold of `owner`, to grow as bytes come.
    pub(super) fn hold(self: &Arc<Self>, owner: &K) -> Hold<K> {
        Hold { budget: Arc::clone(self), owner: owner.clone(), bytes: 0 }
    }

    /// A hold of one: of calls, where it is those that are counted.
    ///
    /// # Errors
    /// [`OverBudget`]
    pub(super) fn one(self: &Arc<Self>, owner: &K) -> Result<Hold<K>, OverBudget> {
        let mut hold = self.hold(owner);
        hold.grow(1).map(|()| hold)
    }

    /// What is held now.
    pub(super) fn used(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl<K: Clone + Eq + Hash> Hold<K> {
    /// Takes `bytes` more.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let mut held = self.budget.held.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = held.by_owner.get(&self.owner).copied().unwrap_or(0);
        if theirs.saturating_add(bytes) > self.budget.share {
            return Err(OverBudget::Share);
        }
        if held.total.saturating_add(bytes) > self.budget.total {
            return Err(OverBudget::Total);
        }
        held.total += bytes;
        match held.by_owner.get_mut(&self.owner) {
            Some(theirs) => *theirs += bytes,
            None => drop(held.by_owner.insert(self.owner.clone(), bytes)),
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Another of the same owner.
    ///
    /// # Errors
    /// [`OverBudget`]
    pub(super) fn beside(&self, bytes: usize) -> Result<Self, OverBudget> {
        let mut hold = self.budget.hold(&self.owner);
        hold.grow(bytes).map(|()| hold)
    }

    /// Bytes held by this one.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds exactly `bytes` from here on.
    pub(super) fn set(&mut self, bytes: usize) -> Result<(), OverBudget> {
        match bytes.checked_sub(self.bytes) {
            // What is held may stay held: nobody else has to know of it.
            Some(0) => Ok(()),
            Some(more) => self.grow(more),
            None => {
                self.give_back(self.bytes - bytes);
                Ok(())
            }
        }
    }
}

impl<K: Eq + Hash> Hold<K> {
    fn give_back(&mut self, bytes: usize) {
        let mut held = self.budget.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.total -= bytes;
        if let Some(theirs) = held.by_owner.get_mut(&self.owner) {
            *theirs -= bytes;
            if *theirs == 0 {
                held.by_owner.remove(&self.owner);
            }
        }
        self.bytes -= bytes;
    }
}

impl<K: Eq + Hash> Drop for Hold<K> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.give_back(self.bytes);
        }
    }
}

/// A whole body whose bytes are held until it is gone.
pub(super) struct HeldBody {
    bytes: Option<Bytes>,
    _hold: Hold,
}

impl HeldBody {
    /// `bytes` under `hold`, as the body of an answer.
    pub(super) fn whole(bytes: Vec<u8>, hold: Hold) -> ResponseBody {
        Self { bytes: Some(bytes.into()), _hold: hold }.boxed_unsync()
    }
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyFault>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_refused_before_others_suffer_and_comes_back() {
        let budget = Budget::new(100, 60);
        let (a, b) = (WorkloadId::parse("spiffe://td/a").unwrap(), WorkloadId::parse("spiffe://td/b").unwrap());
        let mut first = budget.hold(&a);
        first.grow(50).unwrap();
        let mut second = budget.hold(&a);
        assert_eq!(second.grow(20), Err(OverBudget::Share));
        let mut other = budget.hold(&b);
        other.grow(50).unwrap();
        assert_eq!(other.grow(1), Err(OverBudget::Total));
        assert_eq!(first.set(60), Err(OverBudget::Total));
        other.set(10).unwrap();
        first.set(60).unwrap();
        first.set(20).unwrap();
        assert_eq!((first.bytes(), budget.used()), (20, 30));
        drop(first);
        second.grow(20).unwrap();
        assert_eq!(budget.used(), 30);
        drop((second, other));
        assert_eq!(budget.used(), 0);
        assert!(budget.held.lock().unwrap().by_owner.is_empty());
    }
}
