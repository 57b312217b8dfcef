//! Replicas of the controller that know more and less.

use super::*;

/// A policy as of a version of the API server, of a kind of which nothing else has none.
fn mesh(policy: &str, version: u64) -> String {
    let known = MESH.replace("generation: 1}", "generation: 1, resourceVersion: '1'}");
    let policy = policy.replace("generation: 7", &format!("generation: 7\n  resourceVersion: '{version}'"));
    format!("{known}{policy}")
}

/// One that closes what it selects, so that a test can see it.
fn closing() -> String {
    POLICY.replace("to: [{tools: ['get_*']}]", "when: no.such.name == 1")
}

#[tokio::test]
async fn a_replica_that_is_behind_takes_nobody_back() {
    let lab = Lab::start(view(&mesh(&closing(), 5))).await;
    let waypoint = lab.waypoint(WAYPOINT, CONTROLLER);
    let is_closed = || waypoint.target("tools", "repo").flatten().is_some();
    eventually(is_closed).await;
    // Before the rule was there, and another rule before it: what a replica behind a partition says.
    for behind in [mesh("", 0), mesh(POLICY, 4)] {
        let refused = waypoint.older.load(Ordering::SeqCst);
        lab.show(&behind);
        // Asked again it says so again.
        eventually(|| waypoint.older.load(Ordering::SeqCst) > refused + 1).await;
        assert!(is_closed());
    }
    // It catches up: what it says then is heard, and what is the same was never refused.
    lab.show(&mesh(&closing(), 5));
    eventually(|| waypoint.link.is_up()).await;
    lab.show(&mesh(POLICY, 6));
    eventually(|| waypoint.target("tools", "repo") == Some(None)).await;
    // A waypoint that begins anew believes whom it hears first: so a restored API server is followed.
    lab.show(&mesh(&closing(), 2));
    let anew = lab.waypoint(WAYPOINT, CONTROLLER);
    eventually(|| anew.target("tools", "repo").flatten().is_some()).await;
    assert_eq!(waypoint.target("tools", "repo"), Some(None));
}

#[tokio::test]
async fn a_controller_that_says_no_order_takes_nobody_back_to_it() {
    let lab = Lab::start(view(&format!("{MESH}{POLICY}"))).await;
    let waypoint = lab.waypoint(WAYPOINT, CONTROLLER);
    eventually(|| waypoint.target("tools", "repo") == Some(None)).await;
    assert_eq!(waypoint.documents(), 3, "versions that are no numbers have no order");
    lab.show(&mesh(&closing(), 5));
    eventually(|| waypoint.target("tools", "repo").flatten().is_some()).await;
    lab.show(&format!("{MESH}{POLICY}"));
    eventually(|| waypoint.older.load(Ordering::SeqCst) > 1).await;
    assert!(waypoint.target("tools", "repo").flatten().is_some());
}
