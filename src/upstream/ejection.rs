//! When a DestinationRule's `outlierDetection` has an endpoint left alone: by the answers of its own Service's calls, as
//! Envoy counts them, with one difference. Errors that one caller alone gets are no proof while others are answered well: who
//! may call at all could otherwise take endpoints from everybody by asking for what fails.
//!
//! No time passes here: who asks says what time it is.

use std::time::Duration;

use tokio::time::Instant;

use super::Caller;
use crate::mesh::Outliers;

/// The longest time an endpoint is left alone, unless the rule's own is longer (Envoy, `max_ejection_time`).
const LONGEST: Duration = Duration::from_secs(300);
/// The longest time anything is remembered of an endpoint that is not left alone, whatever a rule has for an interval.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// How a call ended, as far as it says anything of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No connection.
    Unreached,
    /// No answer within the time that a document gives it. Envoy takes it for a 504 that the server did not say
    /// (`LocalOriginTimeout`).
    Late,
    /// With that status; a connection that broke is 503.
    Status(u16),
}

/// What answers made of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    errors: u32,
    gateway_errors: u32,
    /// Who got the errors that count now.
    by: Option<By>,
    /// Callers that were answered well, the last one first; different ones.
    well: [Option<(Caller, Instant)>; 2],
    /// When an error was last heard of it.
    failed: Option<Instant>,
    out: Option<Out>,
    /// Times it was left alone, less one for each interval that went well since.
    times: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    One(Caller),
    Several,
}

#[derive(Debug, Clone, Copy)]
struct Out {
    since: Instant,
    until: Instant,
}

impl Ejection {
    /// A call ended. For how long the endpoint is left alone from now on, where that has this end and another one may be.
    pub(super) fn heard(
        &mut self,
        (outcome, caller): (Outcome, Caller),
        (rule, one_more): (&Outliers, bool),
        now: Instant,
    ) -> Option<Duration> {
        let (error, gateway) = match outcome {
            Outcome::Unreached | Outcome::Late => (rule.counts_connections, rule.counts_connections),
            Outcome::Status(status) => (status >= 500, matches!(status, 502..=504)),
        };
        if !matches!(outcome, Outcome::Status(_)) && !error {
            return None;
        }
        if !error {
            self.answered(caller, now);
            return None;
        }
        self.failed = Some(now);
        self.errors = self.errors.saturating_add(1);
        self.gateway_errors = if gateway { self.gateway_errors.saturating_add(1) } else { 0 };
        self.by = Some(match self.by {
            None => By::One(caller),
            Some(By::One(before)) if before == caller => By::One(caller),
            Some(_) => By::Several,
        });
        let enough = |most: Option<u32>, count: u32| most.is_some_and(|most| count >= most);
        let many = enough(rule.errors, self.errors) || enough(rule.gateway_errors, self.gateway_errors);
        let is_proof = match self.by {
            Some(By::One(caller)) => !self.is_well_for_others(caller, rule.interval, now),
            Some(By::Several) | None => true,
        };
        if !many || !is_proof || self.is_out(now) {
            return None;
        }
        (self.errors, self.gateway_errors, self.by) = (0, 0, None);
        one_more.then(|| self.leave(rule, now))
    }

    fn answered(&mut self, caller: Caller, now: Instant) {
        (self.errors, self.gateway_errors, self.by) = (0, 0, None);
        let [last, before] = self.well;
        let before = if last.is_some_and(|(other, _)| other == caller) { before } else { last };
        self.well = [Some((caller, now)), before];
    }

    fn is_well_for_others(&self, caller: Caller, interval: Duration, now: Instant) -> bool {
        self.well.iter().flatten().any(|(other, at)| *other != caller && now < *at + interval)
    }

    fn leave(&mut self, rule: &Outliers, now: Instant) -> Duration {
        if let Some(out) = self.out {
            let calm = now.saturating_duration_since(out.until).as_nanos() / rule.interval.as_nanos().max(1);
            self.times = self.times.saturating_sub(u32::try_from(calm).unwrap_or(u32::MAX));
        }
        self.times = self.times.saturating_add(1);
        let time = rule.time.saturating_mul(self.times).min(LONGEST.max(rule.time));
        self.out = Some(Out { since: now, until: now + time });
        time
    }

    fn is_out(&self, now: Instant) -> bool {
        self.out.is_some_and(|out| now < out.until)
    }

    /// Since when it is left alone, and for how much longer; none where it is not.
    pub(super) fn out(&self, now: Instant) -> Option<(Instant, Duration)> {
        let out = self.out.filter(|out| now < out.until)?;
        Some((out.since, out.until.saturating_duration_since(now)))
    }

    /// Whether nothing of it matters any more. Errors do not for ever: nothing is heard again of a pod that is gone, and its
    /// last call has failed, nearly always.
    pub(super) fn is_old(&self, rule: &Outliers, now: Instant) -> bool {
        let well = self.well.iter().flatten().map(|(_, at)| *at).chain(self.out.map(|out| out.until)).max();
        let long = rule.interval.saturating_mul(self.times.saturating_add(1)).min(REMEMBERED);
        let is_past = |at: Instant, long: Duration| now > at + long;
        well.is_none_or(|at| is_past(at, long))
            && self.failed.filter(|_| self.errors > 0).is_none_or(|at| is_past(at, long.max(LONGEST)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Outliers = Outliers {
        errors: Some(5),
        gateway_errors: None,
        counts_connections: true,
        interval: Duration::from_secs(10),
        time: Duration::from_secs(30),
        most: 100,
        least_well: 0,
    };

    fn hear(one: &mut Ejection, statuses: &[u16], caller: u64, rule: &Outliers, now: Instant) -> Option<Duration> {
        let heard = |status: &u16| one.heard((Outcome::Status(*status), Caller(caller)), (rule, true), now);
        statuses.iter().filter_map(heard).last()
    }

    #[test]
    fn errors_in_a_row_have_it_left_alone() {
        let now = Instant::now();
        let gateway = Outliers { errors: None, gateway_errors: Some(2), ..RULE };
        let split = Outliers { counts_connections: false, ..RULE };
        let rows: &[(&[u16], &Outliers, bool)] = &[
            (&[500; 5], &RULE, true),
            (&[500; 4], &RULE, false),
            (&[500, 501, 502, 503, 504], &RULE, true),
            (&[500, 500, 500, 500, 200, 500], &RULE, false),
            (&[500, 500, 500, 500, 404, 500], &RULE, false),
            (&[503, 502], &gateway, true),
            (&[503, 500, 503], &gateway, false),
            (&[500; 50], &gateway, false),
            (&[500; 5], &split, true),
        ];
        for (statuses, rule, out) in rows {
            let mut one = Ejection::default();
            assert_eq!(hear(&mut one, statuses, 1, rule, now).is_some(), *out, "{statuses:?} {rule:?}");
            assert_eq!(one.out(now).is_some(), *out);
        }
    }

    #[test]
    fn what_no_server_said_counts_unless_it_is_split() {
        let now = Instant::now();
        for (counts_connections, out) in [(true, true), (false, false)] {
            for outcome in [Outcome::Unreached, Outcome::Late] {
                let (mut one, rule) = (Ejection::default(), Outliers { counts_connections, ..RULE });
                let heard: Vec<_> = (0..5).map(|_| one.heard((outcome, Caller(1)), (&rule, true), now)).collect();
                assert_eq!(heard.iter().any(Option::is_some), out, "{outcome:?}");
            }
        }
        // Split, it neither counts nor begins anew.
        let (mut one, rule) = (Ejection::default(), Outliers { counts_connections: false, ..RULE });
        hear(&mut one, &[500; 4], 1, &rule, now);
        one.heard((Outcome::Unreached, Caller(1)), (&rule, true), now);
        assert!(hear(&mut one, &[500], 1, &rule, now).is_some());
    }

    #[test]
    fn one_callers_errors_prove_nothing_while_others_are_answered_well() {
        let (mallory, alice) = (1, 2);
        let now = Instant::now();
        let mut one = Ejection::default();
        hear(&mut one, &[200], alice, &RULE, now);
        assert_eq!(hear(&mut one, &[503; 50], mallory, &RULE, now), None);
        hear(&mut one, &[200], mallory, &RULE, now);
        assert_eq!(hear(&mut one, &[503; 50], mallory, &RULE, now), None, "nor where its own calls go well between");
        // Another caller's error is a second witness.
        assert!(hear(&mut one, &[503], alice, &RULE, now).is_some());
        // Nobody else was answered lately: it is all that is known.
        let mut one = Ejection::default();
        hear(&mut one, &[200], alice, &RULE, now);
        let later = now + RULE.interval;
        assert!(hear(&mut one, &[503; 5], mallory, &RULE, later).is_some());
        let mut alone = Ejection::default();
        hear(&mut alone, &[200], mallory, &RULE, now);
        assert!(hear(&mut alone, &[503; 5], mallory, &RULE, now).is_some(), "a Service of one caller");
    }

    #[test]
    fn it_is_left_alone_for_longer_each_time_and_forgiven() {
        let (mut one, mut now) = (Ejection::default(), Instant::now());
        for expected in [30, 60, 90].map(Duration::from_secs) {
            assert_eq!(hear(&mut one, &[500; 5], 1, &RULE, now), Some(expected));
            assert_eq!(hear(&mut one, &[500; 50], 1, &RULE, now), None, "it is left alone already");
            assert_eq!(one.out(now).map(|(_, left)| left), Some(expected));
            now += expected;
            assert_eq!(one.out(now), None);
            hear(&mut one, &[200], 1, &RULE, now);
        }
        now += RULE.interval * 2;
        assert_eq!(hear(&mut one, &[500; 5], 1, &RULE, now), Some(Duration::from_secs(60)), "two intervals went well");
        let mut bad = Ejection { times: 100, ..Ejection::default() };
        assert_eq!(hear(&mut bad, &[500; 5], 1, &RULE, now), Some(LONGEST));
        let long = Outliers { time: Duration::from_secs(900), ..RULE };
        let mut bad = Ejection::default();
        assert_eq!(hear(&mut bad, &[500; 5], 1, &long, now), Some(Duration::from_secs(900)));
        let mut full = Ejection::default();
        let heard = (0..9).filter_map(|_| full.heard((Outcome::Status(500), Caller(1)), (&RULE, false), now)).count();
        assert_eq!((heard, full.out(now)), (0, None), "as many are as may be");
        hear(&mut one, &[200], 1, &RULE, now);
        assert!(!one.is_old(&RULE, now) && one.is_old(&RULE, now + Duration::from_secs(3_600)));
    }

    #[test]
    fn a_pod_that_is_gone_with_its_last_call_is_forgotten() {
        let (mut one, now) = (Ejection::default(), Instant::now());
        hear(&mut one, &[200, 503], 1, &RULE, now);
        assert!(!one.is_old(&RULE, now + RULE.interval * 2), "errors in a row may be far between");
        assert!(one.is_old(&RULE, now + LONGEST + Duration::from_secs(1)));
        // Nor is what a rule says forever.
        let long = Outliers { interval: Duration::MAX, ..RULE };
        assert!(!one.is_old(&long, now + LONGEST * 2) && one.is_old(&long, now + REMEMBERED * 2));
    }
}
