//! How many calls were made: a bounded table of budgets, each a bucket of as many calls as its limit allows, that fills
//! again evenly over the limit's time.
//!
//! A call takes from all of its budgets or from none. A full bucket is the same as none at all, and is not kept. Budgets
//! are those of this process: a replica takes its share of the limit, and a restart begins anew.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::id::WorkloadId;
use crate::mesh::Published;
use crate::policy::{Charge, Denial, Pace, Reason};

/// One call, in the unit of what was taken.
const CALL: u128 = 1_000_000;
/// Between two looks for buckets that are full again, while the table has no room.
const SWEEP: Duration = Duration::from_secs(1);

/// The table. The lock is held for a few look-ups.
#[derive(Debug)]
pub(super) struct Quotas {
    table: Mutex<Table>,
    published: Arc<Published>,
    capacity: usize,
    share: usize,
    /// Of the names of budgets and callers: nobody outside can say which have the same hash. Two that do share a budget.
    keys: RandomState,
}

#[derive(Debug, Default)]
struct Table {
    buckets: HashMap<u64, Bucket>,
    /// How many were begun by whom.
    by_caller: HashMap<u64, usize>,
    swept: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// What was taken and did not come back yet, as of `at`.
    taken: u128,
    at: Instant,
    pace: Pace,
    /// By whom it was begun.
    caller: u64,
}

/// This replica's share of a limit.
#[derive(Debug, Clone, Copy)]
struct Share {
    pace: Pace,
    replicas: u32,
}

impl Share {
    /// What the bucket holds: at least one call, as else none would ever be permitted.
    fn holds(self) -> u128 {
        (u128::from(self.pace.calls) * CALL / u128::from(self.replicas)).max(CALL)
    }

    /// What comes back in `time`.
    fn back(self, time: Duration) -> u128 {
        time.as_nanos() * u128::from(self.pace.calls) * CALL / self.whole()
    }

    /// How long `amount` takes to come back.
    fn time(self, amount: u128) -> Duration {
        let nanos = (amount * self.whole()).div_ceil(u128::from(self.pace.calls.max(1)) * CALL);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// In which all of the limit's calls come back here, nanoseconds.
    fn whole(self) -> u128 {
        (self.pace.per.as_nanos() * u128::from(self.replicas)).max(1)
    }
}

impl Bucket {
    fn taken(&self, share: Share, now: Instant) -> u128 {
        self.taken.saturating_sub(share.back(now.saturating_duration_since(self.at)))
    }
}

/// What one charge does to its bucket.
struct Step {
    key: u64,
    bucket: Bucket,
}

impl Quotas {
    /// At most `capacity` budgets that are not full, `share` of them begun by one caller. The replicas that share each
    /// limit are those of the snapshot in force.
    pub(super) fn new(published: Arc<Published>, capacity: usize, share: usize) -> Self {
        Self { table: Mutex::default(), published, capacity, share, keys: RandomState::new() }
    }

    /// Takes one call of `caller` from the budgets of `charges`.
    ///
    /// # Errors
    /// The refusal of the first that has no room; nothing is taken then. Where there are too many budgets to keep another
    /// one the call is refused too: it could else be made any number of times.
    pub(super) fn take(&self, caller: &WorkloadId, charges: &[Charge<'_>]) -> Result<(), Box<Denial>> {
        if charges.is_empty() {
            return Ok(());
        }
        let replicas = u32::try_from(self.published.current().ready_replicas()).unwrap_or(u32::MAX);
        let (caller, now) = (self.keys.hash_one(caller), Instant::now());
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut steps: Vec<Step> = Vec::with_capacity(charges.len());
        for charge in charges {
            let key = self.keys.hash_one(&charge.key);
            // One policy may reach a call by several Services: it counts once.
            if steps.iter().any(|step| step.key == key) {
                continue;
            }
            let share = Share { pace: charge.pace(), replicas };
            let known = table.buckets.get(&key).copied();
            let taken = known.map_or(0, |bucket| bucket.taken(share, now)) + CALL;
            if let Some(over) = taken.checked_sub(share.holds()).filter(|over| *over > 0) {
                return Err(Box::new(charge.refuse(Reason::LimitReached, share.time(over))));
            }
            let caller = known.map_or(caller, |bucket| bucket.caller);
            steps.push(Step { key, bucket: Bucket { taken, at: now, pace: charge.pace(), caller } });
        }
        let new = steps.iter().filter(|step| !table.buckets.contains_key(&step.key)).count();
        let room =
            table.has_room(new, caller, self) || (table.sweep(replicas, now) && table.has_room(new, caller, self));
        if !room {
            let Some(charge) = charges.first() else { return Ok(()) };
            return Err(Box::new(charge.refuse(Reason::LimitsFull, SWEEP)));
        }
        for Step { key, bucket } in steps {
            if table.buckets.insert(key, bucket).is_none() {
                *table.by_caller.entry(bucket.caller).or_default() += 1;
            }
        }
        Ok(())
    }

    /// How many budgets are kept.
    pub(super) fn len(&self) -> usize {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).buckets.len()
    }
}

impl Table {
    fn has_room(&self, new: usize, caller: u64, of: &Quotas) -> bool {
        let own = self.by_caller.get(&caller).copied().unwrap_or(0);
        new == 0 || (self.buckets.len() + new <= of.capacity && own + new <= of.share)
    }

    /// Forgets what is full again. False where that was done a moment ago.
    fn sweep(&mut self, replicas: u32, now: Instant) -> bool {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP) {
            return false;
        }
        self.swept = Some(now);
        let by_caller = &mut self.by_caller;
        self.buckets.retain(|_, bucket| {
            let left = bucket.taken(Share { pace: bucket.pace, replicas }, now) > 0;
            if !left && let Some(own) = by_caller.get_mut(&bucket.caller) {
                *own = own.saturating_sub(1);
                if *own == 0 {
                    by_caller.remove(&bucket.caller);
                }
            }
            left
        });
        true
    }
}

#[cfg(test)]
mod tests;
