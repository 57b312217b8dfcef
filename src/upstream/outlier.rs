//! When an endpoint that cannot be reached is left alone, and when it is tried again: what one endpoint's failures make of it.
//!
//! Only connections count, as without a rule that says so no answer of a server has its endpoint left alone
//! (`super::ejection`). No time passes here: who asks says what time it is.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::limits::{DIAL_TIMEOUT, EJECTION_FAILURES, EJECTION_LONGEST, EJECTION_TIME};

/// Why an endpoint is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// No connection, [`EJECTION_FAILURES`] times in a row.
    Unreachable,
    /// Its answers, by the `outlierDetection` of a DestinationRule.
    Failing,
}

impl Why {
    /// Both, for metrics that fall back to zero.
    pub const ALL: [Self; 2] = [Self::Unreachable, Self::Failing];

    /// As a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Failing => "failing",
        }
    }
}

/// Whether an endpoint is one to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Well,
    /// It was left alone long enough: one call may show how it is now.
    Trial,
    Out,
}

/// What failures made of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Record {
    unreached: u32,
    out: Option<Out>,
    /// Times it was left alone, the last one included.
    times: u32,
    /// When it was last left alone.
    last: Option<Instant>,
    /// When it last failed.
    failed: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Out {
    until: Instant,
    trial: Option<Instant>,
}

impl Record {
    /// No connection. For how long it is left alone from now on, where this one has that end.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Duration> {
        self.unreached = self.unreached.saturating_add(1);
        self.failed = Some(now);
        let enough = match self.out {
            // Whoever has to call it all the same – a session that lives there – makes nothing longer.
            Some(out) if now < out.until => false,
            Some(_) => true,
            None => self.unreached >= EJECTION_FAILURES,
        };
        enough.then(|| self.leave(now))
    }

    fn leave(&mut self, now: Instant) -> Duration {
        if self.is_old(now) {
            self.times = 0;
        }
        let longer = EJECTION_TIME.saturating_mul(1_u32.checked_shl(self.times).unwrap_or(u32::MAX));
        let time = longer.min(EJECTION_LONGEST);
        self.times = self.times.saturating_add(1).min(31);
        self.last = Some(now);
        self.out = Some(Out { until: now + time, trial: None });
        time
    }

    /// A connection was made, or an answer came by one. Whether it is left alone no longer.
    pub(super) fn reached(&mut self) -> bool {
        self.unreached = 0;
        self.out.take().is_some()
    }

    pub(super) fn fit(&self, now: Instant) -> Fit {
        match self.out {
            None => Fit::Well,
            Some(Out { until, .. }) if now < until => Fit::Out,
            // A trial of which nothing was heard is none.
            Some(Out { trial: Some(since), .. }) if now < since + DIAL_TIMEOUT => Fit::Out,
            Some(_) => Fit::Trial,
        }
    }

    /// A call goes there that may be its trial.
    pub(super) fn tried(&mut self, now: Instant) {
        if let Some(out) = self.out.as_mut().filter(|out| now >= out.until) {
            out.trial = Some(now);
        }
    }

    /// For how much longer it is left alone, if it is; zero while it is on trial.
    pub(super) fn out(&self, now: Instant) -> Option<Duration> {
        self.out.map(|out| out.until.saturating_duration_since(now))
    }

    /// Whether nothing speaks against it, and what did is long ago. So it is where it just was not called any more: nothing
    /// is heard again of a pod that is gone, and its place is another's.
    pub(super) fn is_clean(&self, now: Instant) -> bool {
        let well = self.out.is_none() && self.unreached == 0;
        (well || self.failed.is_none_or(|last| is_long(last, now))) && self.is_old(now)
    }

    fn is_old(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| is_long(last, now))
    }
}

fn is_long(since: Instant, now: Instant) -> bool {
    now >= since + 2 * EJECTION_LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn fail(record: &mut Record, times: u32, now: Instant) -> Option<Duration> {
        (0..times).filter_map(|_| record.failed(now)).last()
    }

    #[test]
    fn failures_in_a_row_have_it_left_alone_and_no_others() {
        let (mut record, now) = (Record::default(), Instant::now());
        assert_eq!(fail(&mut record, EJECTION_FAILURES - 1, now), None);
        assert!(!record.reached());
        assert_eq!(fail(&mut record, EJECTION_FAILURES - 1, now), None, "a connection in between begins anew");
        assert_eq!(record.fit(now), Fit::Well);
        assert_eq!(record.failed(now), Some(EJECTION_TIME));
        assert_eq!(record.fit(now), Fit::Out);
        assert_eq!(record.failed(now), None, "it is left alone already");
        assert!(record.reached());
        assert_eq!(record.fit(now), Fit::Well);
    }

    #[test]
    fn one_call_at_a_time_tries_it_and_each_failure_doubles_the_time() {
        let (mut record, mut now) = (Record::default(), Instant::now());
        fail(&mut record, EJECTION_FAILURES, now);
        for expected in [20, 40, 80, 160, 300, 300].map(seconds) {
            now = record.out.unwrap().until;
            assert_eq!(record.fit(now), Fit::Trial);
            record.tried(now);
            assert_eq!(record.fit(now), Fit::Out, "one call at a time");
            assert_eq!(record.fit(now + DIAL_TIMEOUT), Fit::Trial, "of which nothing was heard");
            assert_eq!(record.failed(now), Some(expected));
        }
        now = record.out.unwrap().until;
        record.tried(now);
        assert!(record.reached());
        assert_eq!((record.fit(now), record.out(now)), (Fit::Well, None));
        // What was is remembered for a while: one that fails again soon is left alone for longer at once.
        assert_eq!(fail(&mut record, EJECTION_FAILURES, now), Some(EJECTION_LONGEST));
        let later = now + 3 * EJECTION_LONGEST;
        assert!(record.reached() && record.is_clean(later));
        assert_eq!(fail(&mut record, EJECTION_FAILURES, later), Some(EJECTION_TIME));
    }
}
