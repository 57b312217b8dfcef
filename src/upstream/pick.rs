use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand;
use tokio::time::Instant;

use crate::config::limits::{EJECTION_FAILURES, EJECTION_TABLE, EJECTION_TIME};
use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::mesh::{Endpoint, Hold, Target};

/// Why no endpoint could be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    /// The target has none.
    #[error("the target has no endpoint")]
    Empty,
    /// The one that holds the caller's session is no longer there; another would not know the session.
    #[error("the endpoint of this session is gone")]
    Gone,
    /// There are some, or the session's own is there still, and it must not be called.
    #[error("the endpoint gets no calls: {0}")]
    Held(Hold),
}

impl NoEndpoint {
    /// The same, where endpoints of `target` are held back: of its session, where `stick` is one.
    fn of(self, target: &Target, stick: Option<&str>) -> Self {
        target.hold(stick).map_or(self, Self::Held)
    }
}

impl Faulty for NoEndpoint {
    fn blame(&self) -> Blame {
        Blame::Upstream
    }

    fn retry(&self) -> Retry {
        Retry::Safe
    }

    fn stage(&self) -> Stage {
        Stage::Route
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "no_endpoint",
            Self::Gone => "endpoint_gone",
            Self::Held(why) => why.reason(),
        }
    }
}

/// What was lately seen of endpoints, beside the snapshot and surviving its editions.
#[derive(Debug, Default)]
pub(super) struct Health {
    missed: Mutex<HashMap<Arc<str>, Missed>>,
}

#[derive(Debug)]
struct Missed {
    in_a_row: u32,
    last: Instant,
}

impl Missed {
    fn ejected(&self, now: Instant) -> bool {
        self.in_a_row >= EJECTION_FAILURES && now < self.last + EJECTION_TIME
    }
}

impl Health {
    /// Weighted among the nearest of those not ejected; of all where all are, for a wrong guess must not close a target.
    pub(super) fn pick(&self, endpoints: &[Arc<Endpoint>], stick: Option<&str>) -> Result<Arc<Endpoint>, NoEndpoint> {
        if let Some(id) = stick {
            return endpoints.iter().find(|endpoint| &*endpoint.id == id).cloned().ok_or(NoEndpoint::Gone);
        }
        // One is taken whatever was seen of it.
        if let [only] = endpoints {
            return Ok(Arc::clone(only));
        }
        let healthy = self.healthy(endpoints);
        let from = if healthy.is_empty() { endpoints.iter().collect() } else { healthy };
        weighted(&nearest(from), random()).ok_or(NoEndpoint::Empty)
    }

    /// As [`Health::pick`], of a target's.
    pub(super) fn pick_of(&self, target: &Target, stick: Option<&str>) -> Result<Arc<Endpoint>, NoEndpoint> {
        self.pick(&target.endpoints, stick).map_err(|none| none.of(target, stick))
    }

    fn healthy<'a>(&self, endpoints: &'a [Arc<Endpoint>]) -> Vec<&'a Arc<Endpoint>> {
        let missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let usable = |endpoint: &&Arc<Endpoint>| !missed.get(&endpoint.id).is_some_and(|entry| entry.ejected(now));
        endpoints.iter().filter(usable).collect()
    }

    pub(super) fn reached(&self, id: &str) {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(super) fn missed(&self, id: &Arc<str>) {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if !missed.contains_key(id) && missed.len() >= EJECTION_TABLE {
            missed.retain(|_, entry| now < entry.last + EJECTION_TIME);
            if missed.len() >= EJECTION_TABLE {
                return;
            }
        }
        let entry = missed.entry(Arc::clone(id)).or_insert(Missed { in_a_row: 0, last: now });
        entry.in_a_row = entry.in_a_row.saturating_add(1);
        entry.last = now;
    }
}

/// Those than which none is nearer.
fn nearest(endpoints: Vec<&Arc<Endpoint>>) -> Vec<&Arc<Endpoint>> {
    let least = endpoints.iter().map(|endpoint| endpoint.distance).min();
    endpoints.into_iter().filter(|endpoint| Some(endpoint.distance) == least).collect()
}

/// The endpoint at point `dice` of the line on which each takes as much as its weight.
fn weighted(endpoints: &[&Arc<Endpoint>], dice: u64) -> Option<Arc<Endpoint>> {
    let share = |endpoint: &Endpoint| u64::from(endpoint.weight.max(1));
    let whole: u64 = endpoints.iter().map(|endpoint| share(endpoint)).sum();
    let mut point = dice.checked_rem(whole)?;
    for endpoint in endpoints {
        match point.checked_sub(share(endpoint)) {
            None => return Some(Arc::clone(endpoint)),
            Some(rest) => point = rest,
        }
    }
    None
}

/// 64 random bits; zero where the system has none, which still picks an endpoint.
pub(super) fn random() -> u64 {
    let mut bytes = [0_u8; 8];
    let _zero_will_do = rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::mesh::{At, HBONE_PORT, Via};

    fn endpoint(id: &str, weight: u32) -> Arc<Endpoint> {
        let at = At::Addr("10.0.0.1:80".parse().unwrap());
        Arc::new(Endpoint { id: id.into(), at, via: Via::Plain, weight, distance: 0, tunnel_port: HBONE_PORT })
    }

    fn at_distance(id: &str, distance: u8) -> Arc<Endpoint> {
        Arc::new(Endpoint { distance, ..(*endpoint(id, 1)).clone() })
    }

    #[test]
    fn each_gets_its_weight() {
        let all = [endpoint("a", 1), endpoint("b", 3), endpoint("c", 0)];
        let refs: Vec<_> = all.iter().collect();
        let picked: Vec<_> = (0..5).map(|dice| weighted(&refs, dice).unwrap().id.to_string()).collect();
        assert_eq!(picked, ["a", "b", "b", "b", "c"], "weight 0 counts as 1");
        assert!(weighted(&[], 3).is_none());
    }

    #[test]
    fn over_many_calls_the_shares_come_out() {
        let all = [endpoint("a", 1), endpoint("b", 9)];
        let health = Health::default();
        let a = (0..10_000).filter(|_| &*health.pick(&all, None).unwrap().id == "a").count();
        assert!((700..1_300).contains(&a), "{a} of 10000 at weight 1 of 10");
    }

    #[test]
    fn a_session_gets_its_endpoint_or_nothing() {
        let all = [endpoint("a", 1), endpoint("b", 1)];
        let health = Health::default();
        (0..9).for_each(|_| health.missed(&"b".into()));
        assert_eq!(&*health.pick(&all, Some("b")).unwrap().id, "b", "even one that fails: no other knows the session");
        assert_eq!(health.pick(&all, Some("c")), Err(NoEndpoint::Gone));
        assert_eq!(health.pick(&[], None), Err(NoEndpoint::Empty));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_fails_thrice_is_left_alone_for_a_while() {
        let all = [endpoint("bad", 1_000_000), endpoint("good", 1)];
        let health = Health::default();
        let bad = |health: &Health| (0..50).any(|_| &*health.pick(&all, None).unwrap().id == "bad");
        health.missed(&"bad".into());
        health.missed(&"bad".into());
        assert!(bad(&health), "two failures are not enough");
        health.missed(&"bad".into());
        assert!(!bad(&health));
        tokio::time::advance(EJECTION_TIME + Duration::from_millis(1)).await;
        assert!(bad(&health), "it is tried again");
        health.missed(&"bad".into());
        assert!(!bad(&health), "and left alone at its next failure");
        health.reached("bad");
        assert!(bad(&health));
    }

    #[test]
    fn the_nearest_are_called_and_farther_ones_where_those_fail() {
        let all = [at_distance("far", 2), at_distance("near", 0), at_distance("near too", 0), at_distance("next", 1)];
        let health = Health::default();
        let among = |health: &Health| {
            let mut ids: Vec<String> = (0..200).map(|_| health.pick(&all, None).unwrap().id.to_string()).collect();
            ids.sort();
            ids.dedup();
            ids
        };
        let fail = |id: &str| (0..EJECTION_FAILURES).for_each(|_| health.missed(&id.into()));
        assert_eq!(among(&health), ["near", "near too"]);
        fail("near");
        assert_eq!(among(&health), ["near too"]);
        fail("near too");
        assert_eq!(among(&health), ["next"]);
        fail("next");
        assert_eq!(among(&health), ["far"]);
        fail("far");
        assert_eq!(among(&health), ["near", "near too"], "where all fail, the nearest are tried");
        assert_eq!(&*health.pick(&all, Some("far")).unwrap().id, "far", "a session stays where it is");
    }

    #[test]
    fn when_all_fail_all_are_tried() {
        let all = [endpoint("a", 1)];
        let health = Health::default();
        (0..9).for_each(|_| health.missed(&"a".into()));
        assert_eq!(&*health.pick(&all, None).unwrap().id, "a");
    }

    #[test]
    fn the_memory_of_failures_is_bounded() {
        let health = Health::default();
        for n in 0..EJECTION_TABLE + 10 {
            health.missed(&format!("e{n}").into());
        }
        assert_eq!(health.missed.lock().unwrap().len(), EJECTION_TABLE);
    }
}
