//! Which endpoint gets a call: those that fail are left alone, and what is refused reaches none.

use std::net::SocketAddr;

use crate::destination_rules::rule;
use crate::lab::{Lab, Nobody, Reply, Upstream, eventually, page, service, with};
use crate::plain_ports::http::{WEB, istio};

const REFUSED: &str = "/refused";

/// `tools/web` at these endpoints, where one path is refused.
pub(crate) fn documents(all: &[SocketAddr]) -> String {
    let slices = all.iter().enumerate().map(|(number, addr)| {
        let service = service("web", "127.0.9.2", *addr, "http");
        let (front, slice) = service.split_once("---\n").unwrap();
        let slice = slice.replace("web-1", &format!("web-{number}"));
        if number == 0 { format!("{front}---\n{slice}") } else { slice }
    });
    let rules = istio("DENY", &format!("[{{to: [{{operation: {{paths: [{REFUSED}]}}}}]}}]"));
    format!("{}---\n{rules}", slices.collect::<Vec<_>>().join("---\n"))
}

async fn get(lab: &Lab, path: &str) -> Reply {
    lab.raw("agents/reader", WEB, format!("GET {path} HTTP/1.1\r\nHost: web.tools:80\r\n\r\n").as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_answer_is_left_alone_and_seen_to_be() {
    let well = Upstream::start(|_, _| with("", "well")).await;
    let ill = Upstream::start(|_, _| "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned()).await;
    let outliers = rule("{outlierDetection: {baseEjectionTime: 1h, maxEjectionPercent: 50}}");
    let lab = Lab::start(&format!("{}{outliers}", documents(&[well.addr, ill.addr]))).await;
    let mut failed = 0;
    for _ in 0..200 {
        failed += usize::from(get(&lab, "/").await.status == 503);
    }
    assert_eq!(failed, 5, "an answer of its own is passed on, and the fifth in a row is the last");
    for line in ["ejected_endpoints{reason=\"failing\"} 1", "ejections_total{reason=\"failing\"} 1"] {
        lab.measures(&format!("agent_waypoint_{line}\n")).await;
    }
    let shown = page(lab.waypoint.admin_addr(), "/endpoints").await.json();
    let of = |addr: SocketAddr| shown.as_array().unwrap().iter().find(|one| one["id"] == addr.to_string()).unwrap();
    assert_eq!(of(ill.addr)["leftAlone"]["reason"], "failing");
    assert_eq!(of(well.addr)["leftAlone"], serde_json::Value::Null);
    eventually("what was answered is under way no more", async || {
        let shown = page(lab.waypoint.admin_addr(), "/endpoints").await.json();
        let all = shown.as_array().unwrap();
        all.iter().find(|one| one["id"] == well.addr.to_string()).is_some_and(|one| one["calls"] == 0)
    })
    .await;
    // What the endpoints are is nothing to policy.
    let before = (well.bytes(), ill.bytes());
    assert_eq!(get(&lab, REFUSED).await.status, 403);
    assert_eq!(before, (well.bytes(), ill.bytes()));
}

/// As in Istio: five answers that one caller provokes take no endpoint from everybody unless a rule says that they may.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_rule_no_answer_has_an_endpoint_left_alone() {
    let well = Upstream::start(|_, _| with("", "well")).await;
    let ill = Upstream::start(|_, _| "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned()).await;
    let lab = Lab::start(&documents(&[well.addr, ill.addr])).await;
    let mut failed = 0;
    for _ in 0..100 {
        failed += usize::from(get(&lab, "/").await.status == 503);
    }
    assert!(failed > 10, "{failed} of 100 where each of two is as likely");
    let metrics = lab.metrics().await;
    assert!(metrics.contains("agent_waypoint_ejected_endpoints{reason=\"failing\"} 0\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_all_fail_all_are_called() {
    let fails = || Upstream::start(|_, _| "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned());
    let (a, b) = (fails().await, fails().await);
    let few_well = rule("{outlierDetection: {baseEjectionTime: 1h, maxEjectionPercent: 100, minHealthPercent: 50}}");
    let lab = Lab::start(&format!("{}{few_well}", documents(&[a.addr, b.addr]))).await;
    for _ in 0..40 {
        assert_eq!(get(&lab, "/").await.status, 503);
    }
    let before = (a.bytes(), b.bytes());
    for _ in 0..40 {
        assert_eq!(get(&lab, "/").await.status, 503);
    }
    assert!(a.bytes() > before.0 && b.bytes() > before.1, "the caller hears the servers, not us");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_has_one_endpoint_where_its_service_says_so() {
    let (a, b) = (Upstream::start(|_, _| with("", "a")).await, Upstream::start(|_, _| with("", "b")).await);
    let plain = documents(&[a.addr, b.addr]);
    for (documents, served) in
        [(plain.replace("clusterIP:", "sessionAffinity: ClientIP\n  clusterIP:"), 1), (plain.clone(), 2)]
    {
        let lab = Lab::start(&documents).await;
        let mut by = std::collections::BTreeSet::new();
        for _ in 0..40 {
            by.insert(get(&lab, "/").await.body);
        }
        assert_eq!(by.len(), served, "{by:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_reached_costs_nobody_a_call() {
    let well = Upstream::start(|_, _| with("", "well")).await;
    let gone = Nobody::at("127.0.0.1");
    let lab = Lab::start(&documents(&[well.addr, gone.addr])).await;
    for _ in 0..40 {
        assert_eq!(get(&lab, "/").await.status, 200);
    }
    lab.measures("agent_waypoint_ejected_endpoints{reason=\"unreachable\"} 1\n").await;
}
