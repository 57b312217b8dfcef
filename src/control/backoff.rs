use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Waits between tries: doubling from a first to a last, each shortened by up to a half at random, so that those who lost
/// the same server do not come back together.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, next: first }
    }

    /// The wait before the next try.
    pub(super) fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.last);
        wait.mul_f64(1.0 - 0.5 * fraction())
    }

    /// A try came to something: the next failure is a first one again.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

/// At random between 0 and 1.
pub(super) fn fraction() -> f64 {
    let random = u16::try_from(RandomState::new().build_hasher().finish() & 0xFFFF).unwrap_or(0);
    f64::from(random) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_last_and_begin_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(40));
        for whole in [10, 20, 40, 40] {
            let wait = backoff.wait();
            assert!(wait <= Duration::from_millis(whole) && wait >= Duration::from_millis(whole / 2), "{wait:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(10));
    }

    #[test]
    fn waits_differ() {
        let waits: std::collections::HashSet<Duration> =
            (0..20).map(|_| Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).wait()).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
