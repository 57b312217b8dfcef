//! One exchange of a plain request, with what its route says of timeouts and of trying again.
//!
//! Tried again is only what does the same however often it is done (RFC 9110 section 9.2.2) and has no body, so that the
//! second request is the first one, and only before anything of an answer went to the caller. Calls of tools and agents
//! never come here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request as Outgoing, Response};
use http_body::Body as _;

use super::Shared;
use super::budget::{Budget, Hold};
use super::http::within;
use crate::config::limits::{MAX_RETRYING, MAX_RETRYING_PER_NAMESPACE, RETRY_BACKOFF, RETRY_BACKOFF_MAX};
use crate::mesh::{Endpoint, Retry, Target, TargetKey};
use crate::upstream::{Departure, InBody, OutBody, SendFault, UpstreamHttp, Upstreams};

/// How many requests are being tried again.
#[derive(Debug)]
pub(super) struct Retrying {
    /// By the namespace of the Service that is called.
    namespaces: Arc<Budget<Arc<str>>>,
    /// By the Service, as far as a DestinationRule bounds them (`maxRetries`).
    services: Mutex<HashMap<TargetKey, usize>>,
}

impl Default for Retrying {
    fn default() -> Self {
        let namespaces = Budget::new(MAX_RETRYING, MAX_RETRYING_PER_NAMESPACE);
        Self { namespaces, services: Mutex::default() }
    }
}

/// A request that is being tried again, until it is dropped.
struct Turn<'r> {
    _namespace: Hold<Arc<str>>,
    _service: Option<Counted<'r>>,
}

/// One of a Service's, until it is dropped.
struct Counted<'r>(&'r Retrying, &'r TargetKey);

impl Retrying {
    /// None where there are enough.
    fn turn<'r>(&'r self, to: &'r Target) -> Option<Turn<'r>> {
        let namespace = self.namespaces.one(&to.key.namespace).ok()?;
        let most = to.traffic.as_ref().and_then(|traffic| traffic.bounds.retries);
        let service = match most {
            Some(most) => Some(self.of_service(&to.key, most)?),
            None => None,
        };
        Some(Turn { _namespace: namespace, _service: service })
    }

    fn of_service<'r>(&'r self, key: &'r TargetKey, most: u32) -> Option<Counted<'r>> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let now = services.get(key).copied().unwrap_or_default();
        if now >= usize::try_from(most).unwrap_or(usize::MAX) {
            return None;
        }
        services.insert(key.clone(), now + 1);
        Some(Counted(self, key))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut services = self.0.services.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(now) = services.get_mut(self.1) {
            *now = now.saturating_sub(1);
            if *now == 0 {
                services.remove(self.1);
            }
        }
    }
}

/// What a way says of one exchange.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms<'a> {
    /// All tries together, until the head of the answer.
    pub(super) timeout: Option<Duration>,
    /// Each.
    pub(super) each: Option<Duration>,
    pub(super) retry: Option<&'a Retry>,
}

type Sent = Option<Result<(Arc<Endpoint>, Response<InBody>), SendFault>>;

/// Sends; none where nothing came in time.
pub(super) async fn send(
    shared: &Shared,
    (to, first): (&Target, Arc<Endpoint>),
    version: UpstreamHttp,
    (request, departure): (Outgoing<OutBody>, &Departure),
    terms: Terms<'_>,
) -> Sent {
    let once = |endpoint, request| {
        let sending = shared.upstreams.send_first(endpoint, &to.endpoints, version, (request, departure));
        async move {
            let sent = within(terms.each, sending).await;
            if sent.is_none() {
                shared.upstreams.late(departure);
            }
            sent
        }
    };
    let again = terms.retry.filter(|_| may_repeat(&request, terms));
    let all = async {
        let Some(retry) = again else { return once(first, request).await };
        let (parts, _none) = request.into_parts();
        let same = || Outgoing::from_parts(parts.clone(), OutBody::empty());
        let mut last = Arc::clone(&first);
        let mut sent = once(first, same()).await;
        let mut turn = None;
        for number in 0..retry.attempts {
            if !retry.is_worth(&sent) {
                break;
            }
            turn = turn.or_else(|| shared.retrying.turn(to));
            if turn.is_none() {
                tracing::debug!(to = %to.key, "not tried again: too many are");
                break;
            }
            // What was answered is not read on.
            drop(sent);
            tokio::time::sleep(pause(retry, number)).await;
            last = another(&shared.upstreams, to, &last);
            shared.telemetry.metrics().retried();
            sent = once(Arc::clone(&last), same()).await;
        }
        sent
    };
    let sent = within(terms.timeout, Box::pin(all)).await;
    if sent.is_none() {
        shared.upstreams.late(departure);
    }
    sent.flatten()
}

/// Whether the request may be sent more than once.
pub(super) fn may_repeat(request: &Outgoing<OutBody>, terms: Terms<'_>) -> bool {
    terms.retry.is_some_and(|retry| retry.attempts > 0) && is_repeatable(request)
}

/// Whether sending it twice does what sending it once does.
fn is_repeatable(request: &Outgoing<OutBody>) -> bool {
    let idempotent =
        matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
    idempotent && request.body().is_end_stream()
}

/// At least what the route says, twice as long each time.
fn pause(retry: &Retry, number: u32) -> Duration {
    let least = retry.backoff.unwrap_or(RETRY_BACKOFF);
    least.saturating_mul(1 << number.min(10)).min(RETRY_BACKOFF_MAX.max(least))
}

/// Another endpoint, where there is one.
fn another(upstreams: &Upstreams, to: &Target, last: &Arc<Endpoint>) -> Arc<Endpoint> {
    let others: Vec<_> = to.endpoints.iter().filter(|endpoint| endpoint.id != last.id).cloned().collect();
    upstreams.pick(&others, None).unwrap_or_else(|_none| Arc::clone(last))
}

impl Retry {
    fn is_worth(&self, sent: &Sent) -> bool {
        match sent {
            Some(Ok((_, response))) => self.codes.contains(&response.status().as_u16()),
            Some(Err(fault)) => !matches!(fault, SendFault::CallerBody),
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::TargetKind;

    #[test]
    fn pauses_grow_and_are_never_shorter_than_the_route_says() {
        let retry = |backoff: Option<u64>| Retry {
            codes: Box::default(),
            attempts: 3,
            backoff: backoff.map(Duration::from_millis),
        };
        assert_eq!(pause(&retry(None), 0), RETRY_BACKOFF);
        assert_eq!(pause(&retry(Some(100)), 2), Duration::from_millis(400));
        assert_eq!(pause(&retry(Some(1)), 100), Duration::from_millis(1 << 10));
        assert_eq!(pause(&retry(Some(60_000)), 3), Duration::from_secs(60), "the least holds over our most");
    }

    #[test]
    fn one_namespaces_requests_that_are_tried_again_leave_room_for_others() {
        let retrying = Retrying::default();
        let key = |namespace: &str, name: &str| TargetKey {
            kind: TargetKind::Service,
            namespace: namespace.into(),
            name: name.into(),
            port: 80,
            at: None,
        };
        let (a, b) = (Arc::from("a"), Arc::from("b"));
        let taken: Vec<_> = (0..MAX_RETRYING_PER_NAMESPACE).map(|_| retrying.namespaces.one(&a).unwrap()).collect();
        assert!(retrying.namespaces.one(&a).is_err());
        assert!(retrying.namespaces.one(&b).is_ok());
        drop(taken);
        let (web, other) = (key("a", "web"), key("a", "other"));
        let one = retrying.of_service(&web, 1);
        assert!(one.is_some() && retrying.of_service(&web, 1).is_none());
        assert!(retrying.of_service(&other, 1).is_some(), "each Service has its own");
        drop(one);
        assert!(retrying.of_service(&web, 1).is_some());
        assert!(retrying.services.lock().unwrap().is_empty());
        assert!(retrying.of_service(&web, 0).is_none());
        assert!(retrying.services.lock().unwrap().is_empty(), "nothing is kept of a Service that has none");
    }

    #[test]
    fn only_what_does_the_same_twice_is_sent_twice() {
        let request = |method: Method, body: &'static str| {
            let mut request = Outgoing::new(OutBody::full(body));
            *request.method_mut() = method;
            is_repeatable(&request)
        };
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
            assert!(request(method.clone(), ""), "{method}");
            assert!(!request(method, "body"));
        }
        assert!(!request(Method::POST, "") && !request(Method::PATCH, "") && !request(Method::CONNECT, ""));
    }
}
