use proptest::prelude::*;

use super::*;
use crate::mesh::Snapshot;
use crate::policy::fixture::{World, mcp_rules, tool};

const ALICE: &str = "spiffe://cluster.local/ns/agents/sa/alice";
const BOB: &str = "spiffe://cluster.local/ns/agents/sa/bob";

fn published(replicas: usize) -> Arc<Published> {
    let published = Arc::new(Published::new());
    published.publish(Snapshot::no_documents().with_ready(replicas));
    published
}

fn quotas(replicas: usize) -> Quotas {
    Quotas::new(published(replicas), 64, 16)
}

/// One call of `name` by `who` under the limits of `yaml`.
fn call(quotas: &Quotas, yaml: &str, who: &str, name: &str) -> Result<(), Box<Denial>> {
    let rules = mcp_rules(&[&format!("allow: [{{}}]\n{yaml}")]);
    let world = World::calling(tool(name, serde_json::json!({}))).from(who);
    quotas.take(world.peer.id(), &rules.charges(&world.facts()))
}

fn calls(quotas: &Quotas, yaml: &str, who: &str, times: usize) -> usize {
    (0..times).filter(|_| call(quotas, yaml, who, "x").is_ok()).count()
}

#[tokio::test(start_paused = true)]
async fn as_many_calls_at_once_as_the_limit_allows_and_then_one_by_one() {
    let (quotas, yaml) = (quotas(1), "limits: [{calls: 3, per: 1m}]");
    assert_eq!(calls(&quotas, yaml, ALICE, 5), 3);
    let refused = call(&quotas, yaml, ALICE, "x").unwrap_err();
    assert_eq!((&refused.reason, refused.retry), (&Reason::LimitReached, Some(Duration::from_secs(20))));
    assert_eq!(calls(&quotas, yaml, BOB, 5), 3, "another caller has its own");
    tokio::time::advance(Duration::from_millis(19_999)).await;
    assert_eq!(calls(&quotas, yaml, ALICE, 5), 0);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(calls(&quotas, yaml, ALICE, 5), 1, "when it was said that there would be one");
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(calls(&quotas, yaml, ALICE, 5), 3, "never more than the limit");
}

#[tokio::test(start_paused = true)]
async fn replicas_share_a_limit_and_none_is_left_without_a_call() {
    for (replicas, at_once, in_a_minute) in [(1, 6, 6), (2, 3, 3), (4, 1, 2), (6, 1, 1), (12, 1, 0)] {
        let (quotas, yaml) = (quotas(replicas), "limits: [{calls: 6, per: 1m}]");
        assert_eq!(calls(&quotas, yaml, ALICE, 20), at_once, "{replicas}");
        let mut later = 0;
        for _ in 0..60 {
            tokio::time::advance(Duration::from_secs(1)).await;
            later += calls(&quotas, yaml, ALICE, 1);
        }
        assert_eq!(later, in_a_minute, "{replicas}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_replicas_leave_less_and_what_was_taken_stays_taken() {
    let published = published(1);
    let quotas = Quotas::new(Arc::clone(&published), 64, 16);
    let yaml = "limits: [{calls: 4, per: 1h}]";
    assert_eq!(calls(&quotas, yaml, ALICE, 2), 2);
    published.publish(Snapshot::no_documents().with_ready(2));
    assert_eq!(calls(&quotas, yaml, ALICE, 2), 0);
    published.publish(Snapshot::no_documents().with_ready(1));
    assert_eq!(calls(&quotas, yaml, ALICE, 4), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_takes_from_no_budget() {
    let quotas = quotas(1);
    let yaml = "limits: [{name: all, calls: 3, per: 1h}, {name: x, to: [{tools: [x]}], calls: 1, per: 1h}]";
    assert_eq!(calls(&quotas, yaml, ALICE, 9), 1);
    let refused = call(&quotas, yaml, ALICE, "x").unwrap_err();
    assert_eq!(refused.rule.unwrap().rule.as_ref(), "x");
    let others = (0..9).filter(|_| call(&quotas, yaml, ALICE, "y").is_ok()).count();
    assert_eq!(others, 2, "what was refused for `x` did not take from `all`");
}

#[tokio::test(start_paused = true)]
async fn an_edit_of_the_policy_gives_nobody_new_calls() {
    let quotas = quotas(1);
    assert_eq!(calls(&quotas, "limits: [{name: l, calls: 3, per: 1h}]", ALICE, 9), 3);
    assert_eq!(calls(&quotas, "limits: [{name: l, calls: 4, per: 1h}]", ALICE, 9), 1);
    assert_eq!(calls(&quotas, "limits: [{name: l, calls: 2, per: 1h}]", ALICE, 9), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_invents_names_fills_its_own_share_and_nobody_elses() {
    let (quotas, yaml) = (quotas(1), "limits: [{calls: 1, per: 1m, key: principal+tool}]");
    for at in 0..16 {
        call(&quotas, yaml, ALICE, &format!("t{at}")).unwrap();
    }
    assert_eq!(call(&quotas, yaml, ALICE, "t16").unwrap_err().reason, Reason::LimitsFull);
    assert_eq!(call(&quotas, yaml, ALICE, "t3").unwrap_err().reason, Reason::LimitReached, "what is kept is kept");
    call(&quotas, yaml, BOB, "t16").unwrap();
    assert_eq!(quotas.len(), 17);
    tokio::time::advance(Duration::from_secs(60)).await;
    call(&quotas, yaml, ALICE, "t16").unwrap();
    assert_eq!(quotas.len(), 1, "full ones are forgotten");
    assert_eq!(quotas.table.lock().unwrap().by_caller.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_table_refuses_new_budgets() {
    let quotas = Quotas::new(published(1), 2, 2);
    let yaml = "limits: [{calls: 9, per: 1m}]";
    for who in [ALICE, BOB] {
        call(&quotas, yaml, who, "x").unwrap();
    }
    let carol = "spiffe://cluster.local/ns/agents/sa/carol";
    assert_eq!(call(&quotas, yaml, carol, "x").unwrap_err().reason, Reason::LimitsFull);
    call(&quotas, yaml, ALICE, "x").unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    call(&quotas, yaml, carol, "x").unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Over any stretch of time no more calls are made than what one bucket holds and what comes back meanwhile; and a
    /// caller that keeps to the pace is never refused.
    #[test]
    fn no_stretch_of_time_has_more_calls_than_it_may(
        calls in 1_u32..50,
        per in 1_u64..120,
        pauses in prop::collection::vec(0_u64..5_000, 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let quotas = quotas(1);
            let yaml = format!("limits: [{{calls: {calls}, per: {per}s}}]");
            let rules = mcp_rules(&[&format!("allow: [{{}}]\n{yaml}")]);
            let world = World::calling(tool("x", serde_json::json!({})));
            let (begin, mut made) = (Instant::now(), Vec::new());
            for pause in pauses {
                tokio::time::advance(Duration::from_millis(pause)).await;
                if quotas.take(world.peer.id(), &rules.charges(&world.facts())).is_ok() {
                    made.push(begin.elapsed().as_secs_f64());
                }
            }
            for (at, from) in made.iter().enumerate() {
                for (count, to) in made[at..].iter().enumerate() {
                    let most = f64::from(calls) + (to - from) * f64::from(calls) / per as f64;
                    prop_assert!((count + 1) as f64 <= most + 1e-3, "{} calls in {} s", count + 1, to - from);
                }
            }
            for _ in 0..20 {
                tokio::time::advance(Duration::from_secs_f64(per as f64 / f64::from(calls) + 0.001)).await;
                prop_assert!(quotas.take(world.peer.id(), &rules.charges(&world.facts())).is_ok());
            }
            Ok(())
        })?;
    }
}
