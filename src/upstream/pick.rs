//! Which endpoint a call goes to: of those that calls show to be well, the nearest; of two of these that their weights
//! draw, the one with less under way.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::rand;
use http::HeaderMap;
use http::header::COOKIE;
use tokio::time::Instant;

use super::Client;
use super::live::Live;
use super::outlier::Fit;
use crate::fault::{Blame, Faulty, Retry, Stage};
use crate::mesh::{Choice, Endpoint, Hold, Target, Trait};

/// Why no endpoint could be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoEndpoint {
    /// The target has none.
    #[error("the target has no endpoint")]
    Empty,
    /// The one that holds the caller's session is no longer there; another would not know the session.
    #[error("the endpoint of this session is gone")]
    Gone,
    /// The `outlierDetection` of a DestinationRule has every one left alone.
    #[error("every endpoint is left alone by outlierDetection")]
    LeftAlone,
    /// There are some, or the session's own is there still, and it must not be called.
    #[error("the endpoint gets no calls: {0}")]
    Held(Hold),
    /// [`crate::config::limits::MAX_CALLS_PER_TARGET`] calls are under way to the target.
    #[error("too many calls to the target are under way")]
    TargetFull,
    /// [`crate::config::limits::MAX_CALLS_PER_TARGET_AND_PRINCIPAL`] of them are the caller's, or
    /// [`crate::config::limits::MAX_CALLS_PER_ENDPOINT_AND_PRINCIPAL`] of those at the endpoint.
    #[error("too many calls of this caller to the target are under way")]
    ShareFull,
}

impl NoEndpoint {
    /// The same, where endpoints of `target` are held back: of its session, where `stick` is one.
    fn of(self, target: &Target, stick: Option<&str>) -> Self {
        target.hold(stick).map_or(self, Self::Held)
    }
}

impl Faulty for NoEndpoint {
    fn blame(&self) -> Blame {
        match self {
            Self::Empty | Self::Gone | Self::LeftAlone | Self::Held(_) => Blame::Upstream,
            Self::TargetFull | Self::ShareFull => Blame::Waypoint,
        }
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
            Self::LeftAlone => "endpoints_left_alone",
            Self::Held(why) => why.reason(),
            Self::TargetFull => "target_full",
            Self::ShareFull => "share_full",
        }
    }
}

impl Live {
    /// One of `endpoints`, or exactly the one with id `stick`, however it is.
    pub(super) fn pick(&self, endpoints: &[Arc<Endpoint>], stick: Option<&str>) -> Result<Arc<Endpoint>, NoEndpoint> {
        match stick {
            Some(id) => endpoints.iter().find(|endpoint| &*endpoint.id == id).cloned().ok_or(NoEndpoint::Gone),
            None => self.choose(endpoints, |near| self.by_rule(near, None)),
        }
    }

    fn choose(
        &self,
        endpoints: &[Arc<Endpoint>],
        of: impl FnOnce(&[&Arc<Endpoint>]) -> Option<Arc<Endpoint>>,
    ) -> Result<Arc<Endpoint>, NoEndpoint> {
        // Without a rule one is taken whatever was seen of it.
        if let [only] = endpoints
            && only.traffic.is_none()
        {
            return Ok(Arc::clone(only));
        }
        let well = self.services.usable(endpoints.iter().collect());
        if well.is_empty() && !endpoints.is_empty() {
            return Err(NoEndpoint::LeftAlone);
        }
        let chosen = of(&nearest(self.reachable(well))).ok_or(NoEndpoint::Empty)?;
        if self.is_troubled() {
            self.chosen(&chosen);
        }
        Ok(chosen)
    }

    /// As [`Live::pick`], of a target's, as its DestinationRule says; where that says nothing, for a client at one address the
    /// same one each time, where its Service says so.
    pub(super) fn pick_of(
        &self,
        target: &Target,
        stick: Option<&str>,
        client: &Client<'_>,
    ) -> Result<Arc<Endpoint>, NoEndpoint> {
        let said = target.traffic.as_ref().is_some_and(|traffic| traffic.choice.is_some());
        let picked = match stick {
            None if target.affine && !said => {
                self.choose(&target.endpoints, |near| own(near, &Key::Address(client.addr.to_canonical())))
            }
            None => self.choose(&target.endpoints, |near| self.by_rule(near, Some(client))),
            Some(_) => self.pick(&target.endpoints, stick),
        };
        picked.map_err(|none| none.of(target, stick))
    }

    /// One of a Service's, as its DestinationRule says.
    fn by_rule(&self, endpoints: &[&Arc<Endpoint>], client: Option<&Client<'_>>) -> Option<Arc<Endpoint>> {
        let traffic = endpoints.first().and_then(|endpoint| endpoint.traffic.as_ref());
        let choice = traffic.and_then(|traffic| Some((traffic, traffic.choice.as_ref()?)));
        match choice {
            None | Some((_, Choice::LessBusy)) => self.less_busy(endpoints),
            Some((_, Choice::Random)) => weighted(endpoints, random()),
            Some((traffic, Choice::InTurn)) => in_turn(endpoints, self.services.turn(traffic)),
            Some((_, Choice::Own(by))) => match client.and_then(|client| Key::of(by, client)) {
                Some(key) => own(endpoints, &key),
                None => self.less_busy(endpoints),
            },
        }
    }

    /// Those that are reached, as far as is known; where none is, all are tried, for a wrong guess must not close a target.
    fn reachable<'e>(&self, endpoints: Vec<&'e Arc<Endpoint>>) -> Vec<&'e Arc<Endpoint>> {
        if !self.is_troubled() {
            return endpoints;
        }
        let now = Instant::now();
        let reached: Vec<_> = endpoints.iter().copied().filter(|one| self.fit(one, now) != Fit::Out).collect();
        if reached.is_empty() { endpoints } else { reached }
    }

    /// Of two that are drawn by weight the one with fewer calls under way for its weight: so shares are the weights' while
    /// there is little to do, and whoever is slow gets less.
    fn less_busy(&self, endpoints: &[&Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
        let one = weighted(endpoints, random())?;
        if endpoints.len() == 1 {
            return Some(one);
        }
        let other = weighted(endpoints, random())?;
        let load = |of: &Endpoint, beside: &Endpoint| self.calls(of) as u128 * u128::from(beside.weight.max(1));
        Some(if one.id == other.id || load(&one, &other) <= load(&other, &one) { one } else { other })
    }
}

/// What a client is known again by.
#[derive(Debug)]
enum Key<'h> {
    Address(IpAddr),
    Text(&'h [u8]),
}

impl<'h> Key<'h> {
    /// Of a client; none where it does not have it.
    fn of(by: &Trait, client: &Client<'h>) -> Option<Self> {
        let headers = client.head.map(|head| &head.headers);
        let text = match by {
            Trait::Address => return Some(Self::Address(client.addr.to_canonical())),
            Trait::Header(name) if &**name == "host" || &**name == ":authority" => client.head?.host.as_bytes(),
            Trait::Header(name) => headers?.get(&**name)?.as_bytes(),
            Trait::Cookie(cookie) => cookie_value(headers?, cookie)?,
            Trait::Query(name) => parameter(client.head?.query.as_deref()?, name)?,
        };
        Some(Self::Text(text))
    }
}

/// A cookie's value, as it was sent.
fn cookie_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q [u8]> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.as_bytes())
}

/// The caller's own of the endpoints, by weighted rendezvous hashing: every replica says the same without remembering
/// anything, and one that comes or goes moves its own callers only.
fn own(endpoints: &[&Arc<Endpoint>], key: &Key<'_>) -> Option<Arc<Endpoint>> {
    let score = |endpoint: &Endpoint| {
        // Fixed keys: it must come out alike everywhere.
        let mut hasher = DefaultHasher::new();
        match key {
            Key::Address(addr) => (addr, &*endpoint.id).hash(&mut hasher),
            Key::Text(text) => (text, &*endpoint.id).hash(&mut hasher),
        }
        #[expect(clippy::cast_precision_loss, reason = "53 bits are enough to tell endpoints apart")]
        let drawn = ((hasher.finish() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -f64::from(endpoint.weight.max(1)) / drawn.ln()
    };
    endpoints.iter().max_by(|a, b| score(a).total_cmp(&score(b))).copied().cloned()
}

/// One after the other, each as often as its weight is of what all have in common.
fn in_turn(endpoints: &[&Arc<Endpoint>], turn: usize) -> Option<Arc<Endpoint>> {
    let common = endpoints.iter().map(|one| share(one)).reduce(gcd)?;
    at(endpoints, turn as u64, common)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Those than which none is nearer.
fn nearest(endpoints: Vec<&Arc<Endpoint>>) -> Vec<&Arc<Endpoint>> {
    let least = endpoints.iter().map(|endpoint| endpoint.distance).min();
    endpoints.into_iter().filter(|endpoint| Some(endpoint.distance) == least).collect()
}

/// The endpoint at point `dice` of the line on which each takes as much as its weight.
fn weighted(endpoints: &[&Arc<Endpoint>], dice: u64) -> Option<Arc<Endpoint>> {
    at(endpoints, dice, 1)
}

/// The one at a point of that line, on which each takes as much as its weight has of `unit`, round and round.
fn at(endpoints: &[&Arc<Endpoint>], point: u64, unit: u64) -> Option<Arc<Endpoint>> {
    let length = |endpoint: &Endpoint| share(endpoint) / unit;
    let whole: u64 = endpoints.iter().map(|endpoint| length(endpoint)).sum();
    let mut point = point.checked_rem(whole)?;
    for endpoint in endpoints {
        match point.checked_sub(length(endpoint)) {
            None => return Some(Arc::clone(endpoint)),
            Some(rest) => point = rest,
        }
    }
    None
}

fn share(endpoint: &Endpoint) -> u64 {
    u64::from(endpoint.weight.max(1))
}

/// 64 random bits; zero where the system has none, which still picks an endpoint.
pub(super) fn random() -> u64 {
    let mut bytes = [0_u8; 8];
    let _zero_will_do = rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::config::limits::{EJECTION_FAILURES, EJECTION_TIME};
    use crate::mesh::{At, HBONE_PORT, Via};

    fn endpoint(id: &str, weight: u32) -> Arc<Endpoint> {
        let at = At::Addr("10.0.0.1:80".parse().unwrap());
        Arc::new(Endpoint {
            id: id.into(),
            at,
            via: Via::Plain,
            weight,
            distance: 0,
            tunnel_port: HBONE_PORT,
            traffic: None,
        })
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
        let live = Live::default();
        let a = (0..10_000).filter(|_| &*live.pick(&all, None).unwrap().id == "a").count();
        assert!((700..1_300).contains(&a), "{a} of 10000 at weight 1 of 10");
    }

    fn fail(live: &Live, id: &str, times: u32) {
        (0..times).for_each(|_| live.failed(&live.one(&endpoint(id, 1))));
    }

    /// Who is chosen in many tries, in order of their ids.
    fn among(live: &Live, all: &[Arc<Endpoint>]) -> Vec<String> {
        let ids = (0..200).map(|_| live.pick(all, None).unwrap().id.to_string());
        ids.collect::<BTreeSet<_>>().into_iter().collect()
    }

    #[test]
    fn the_busier_of_two_gets_less_by_its_weight() {
        let all = [endpoint("a", 1), endpoint("b", 1)];
        let live = Live::default();
        let _one: Vec<_> = (0..3).map(|_| live.begin(&endpoint("a", 1)).unwrap()).collect();
        let a = (0..1_000).filter(|_| &*live.pick(&all, None).unwrap().id == "a").count();
        assert!((180..330).contains(&a), "{a} of 1000: where both draws are a");
        let all = [endpoint("a", 4), endpoint("b", 1)];
        let _other = live.begin(&endpoint("b", 1)).unwrap();
        let a = (0..1_000).filter(|_| &*live.pick(&all, None).unwrap().id == "a").count();
        assert!(a > 900, "{a} of 1000: three of four are less than one of one");
    }

    #[test]
    fn a_client_has_an_endpoint_of_its_own_and_moves_only_where_that_goes() {
        let all = [endpoint("a", 1), endpoint("b", 1), endpoint("c", 2)];
        let refs: Vec<_> = all.iter().collect();
        let clients: Vec<IpAddr> = (0..4_000_u32).map(|n| std::net::Ipv4Addr::from(0x0a00_0000 + n).into()).collect();
        let own = |of: &[&Arc<Endpoint>], client: IpAddr| {
            own(of, &Key::Address(client.to_canonical())).unwrap().id.to_string()
        };
        let before: Vec<String> = clients.iter().map(|client| own(&refs, *client)).collect();
        let share = |id: &str| before.iter().filter(|own| *own == id).count();
        assert!(
            (850..1_150).contains(&share("a")) && (1_850..2_150).contains(&share("c")),
            "by weight: {}",
            share("c")
        );
        for (client, before) in clients.iter().zip(&before) {
            assert_eq!(own(&refs, *client), *before, "each time");
            let IpAddr::V4(v4) = client else { panic!("{client}") };
            assert_eq!(own(&refs, v4.to_ipv6_mapped().into()), *before, "under another form of the address");
            let after = own(&refs[..2], *client);
            assert!(after == *before || before == "c", "{before} to {after}");
        }
        assert!(super::own(&[], &Key::Address(clients[0])).is_none());
    }

    #[test]
    fn a_session_gets_its_endpoint_or_nothing() {
        let all = [endpoint("a", 1), endpoint("b", 1)];
        let live = Live::default();
        fail(&live, "b", 9);
        assert_eq!(&*live.pick(&all, Some("b")).unwrap().id, "b", "even one that fails: no other knows the session");
        assert_eq!(live.pick(&all, Some("c")), Err(NoEndpoint::Gone));
        assert_eq!(live.pick(&[], None), Err(NoEndpoint::Empty));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_fails_thrice_is_left_alone_for_a_while() {
        let all = [endpoint("bad", 1_000_000), endpoint("good", 1)];
        let live = Live::default();
        let bad = |live: &Live| (0..50).any(|_| &*live.pick(&all, None).unwrap().id == "bad");
        fail(&live, "bad", EJECTION_FAILURES - 1);
        assert!(bad(&live), "two failures are not enough");
        fail(&live, "bad", 1);
        assert!(!bad(&live));
        tokio::time::advance(EJECTION_TIME + Duration::from_millis(1)).await;
        assert_eq!(&*live.pick(&all, None).unwrap().id, "bad", "it is tried again");
        assert!(!bad(&live), "by one call at a time");
        fail(&live, "bad", 1);
        tokio::time::advance(EJECTION_TIME + Duration::from_millis(1)).await;
        assert!(!bad(&live), "and left alone for longer at its next failure");
        live.reached(&live.one(&endpoint("bad", 1)));
        assert!(bad(&live));
    }

    #[test]
    fn who_is_not_reached_is_left_alone_while_there_is_any_other() {
        let all = ["a", "b", "c", "d"].map(|id| endpoint(id, 1));
        let live = Live::default();
        for id in ["a", "b", "c"] {
            fail(&live, id, EJECTION_FAILURES);
        }
        assert_eq!(among(&live, &all), ["d"]);
        fail(&live, "d", EJECTION_FAILURES);
        assert_eq!(among(&live, &all), ["a", "b", "c", "d"], "a wrong guess closes nothing");
    }

    #[test]
    fn the_nearest_are_called_and_farther_ones_where_those_fail() {
        let all = [at_distance("far", 2), at_distance("near", 0), at_distance("near too", 0), at_distance("next", 1)];
        let live = Live::default();
        let fail = |id: &str| fail(&live, id, EJECTION_FAILURES);
        assert_eq!(among(&live, &all), ["near", "near too"]);
        fail("near");
        assert_eq!(among(&live, &all), ["near too"]);
        fail("near too");
        assert_eq!(among(&live, &all), ["next"]);
        fail("next");
        assert_eq!(among(&live, &all), ["far"]);
        fail("far");
        assert_eq!(among(&live, &all), ["near", "near too"], "where all fail, the nearest are tried");
        assert_eq!(&*live.pick(&all, Some("far")).unwrap().id, "far", "a session stays where it is");
    }
}
