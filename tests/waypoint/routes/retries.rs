//! `retry`: again only what may be done twice, as often and as long as the route says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{ask, documents, named};
use crate::lab::{Lab, Upstream, eventually, with};
use crate::plain_ports::http::istio;

/// Answers `status` so often, then 200; with how often it was asked.
async fn failing(times: usize, status: &'static str) -> (Upstream, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = Upstream::start(move |_, _| {
        if count.fetch_add(1, Ordering::SeqCst) < times {
            return format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\nbad");
        }
        with("", "good")
    })
    .await;
    (server, asked)
}

fn rules(retry: &str) -> String {
    format!("  - retry: {retry}\n    backendRefs: [{{name: v2, port: 80}}]")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_done_twice_is_tried_again_as_the_route_says() {
    let web = named("web").await;
    for (retry, line, failures, status, tries) in [
        ("{codes: [503], attempts: 2, backoff: 1ms}", "GET / HTTP/1.1", 2, 200, 3),
        ("{codes: [503], attempts: 2, backoff: 1ms}", "DELETE / HTTP/1.1", 9, 503, 3),
        ("{codes: [503]}", "GET / HTTP/1.1", 1, 200, 2),
        ("{codes: [500]}", "GET / HTTP/1.1", 1, 503, 1),
        ("{codes: [503], attempts: 0}", "GET / HTTP/1.1", 1, 503, 1),
        ("{codes: [503]}", "POST / HTTP/1.1\r\nContent-Length: 0", 1, 503, 1),
        ("{codes: [503]}", "PATCH / HTTP/1.1\r\nContent-Length: 0", 1, 503, 1),
    ] {
        let (server, asked) = failing(failures, "503 Busy").await;
        let lab = Lab::start(&documents(web.addr, server.addr, &rules(retry), "")).await;
        let reply = ask(&lab, line).await;
        assert_eq!((reply.status, asked.load(Ordering::SeqCst)), (status, tries), "{retry} {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_goes_out_once() {
    let web = named("web").await;
    let (server, asked) = failing(1, "503 Busy").await;
    let lab = Lab::start(&documents(web.addr, server.addr, &rules("{codes: [503]}"), "")).await;
    let request = b"PUT / HTTP/1.1\r\nHost: web.tools:80\r\nContent-Length: 1\r\n\r\nx";
    let reply = lab.raw("agents/reader", crate::plain_ports::http::WEB, request).await;
    assert_eq!((reply.status, asked.load(Ordering::SeqCst)), (503, 1));
}

/// One try ends by its own timeout, all of them by the request's.
#[tokio::test(flavor = "multi_thread")]
async fn timeouts_are_of_one_try_and_of_all() {
    let web = named("web").await;
    let slow = async |late: usize| {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let server = Upstream::start(move |_, _| {
            if count.fetch_add(1, Ordering::SeqCst) < late {
                std::thread::park_timeout(Duration::from_secs(3));
            }
            with("", "good")
        });
        (server.await, asked)
    };
    let with_timeouts = |request: &str| {
        format!(
            "  - retry: {{attempts: 9, backoff: 1ms}}\n    timeouts: {{request: {request}, backendRequest: 500ms}}\n    backendRefs: [{{name: v2, port: 80}}]"
        )
    };
    let (server, _) = slow(1).await;
    let lab = Lab::start(&documents(web.addr, server.addr, &with_timeouts("60s"), "")).await;
    assert_eq!(ask(&lab, "GET / HTTP/1.1").await.status, 200);
    let (server, asked) = slow(99).await;
    let lab = Lab::start(&documents(web.addr, server.addr, &with_timeouts("1250ms"), "")).await;
    assert_eq!(ask(&lab, "GET / HTTP/1.1").await.status, 504);
    assert!(asked.load(Ordering::SeqCst) <= 3, "no tenth try: there is time for three");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused() {
    let (web, v2) = (named("web").await, named("v2").await);
    for retry in ["{codes: [200]}", "{attempts: 11}", "{backoff: soon}", "{perTry: 1s}"] {
        let lab = Lab::start(&documents(web.addr, v2.addr, &rules(retry), "")).await;
        assert_eq!(ask(&lab, "GET / HTTP/1.1").await.status, 403, "{retry}");
    }
    assert_eq!(v2.bytes(), 0);
}

/// What is sent again is sent under the rules of that moment.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_again_that_is_no_longer_permitted() {
    let web = named("web").await;
    let (server, asked) = failing(9, "503 Busy").await;
    let text = |paths: &str| {
        let deny = istio("DENY", &format!("[{{to: [{{operation: {{paths: ['{paths}']}}}}]}}]"));
        documents(web.addr, server.addr, &rules("{codes: [503], attempts: 1, backoff: 60s}"), &deny)
    };
    let lab = Lab::start(&text("/none")).await;
    let changed = async {
        eventually("it was sent once", async || asked.load(Ordering::SeqCst) > 0).await;
        lab.edit(&text("/*")).await;
    };
    let (reply, ()) = tokio::join!(ask(&lab, "GET / HTTP/1.1"), changed);
    assert_eq!((reply.status, asked.load(Ordering::SeqCst)), (403, 1), "{reply:?}");
}
