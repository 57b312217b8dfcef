//! An API server in memory, as far as the controller speaks to one: get, list, watch, create, replace, server-side apply
//! (merged without regard to managers). Kinds may be absent or forbidden.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

type Answer = Response<BoxBody<Bytes, Infallible>>;

#[derive(Clone, Default)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<(String, String), Value>,
    version: u64,
    writes: Vec<String>,
    watches: Vec<(String, mpsc::Sender<Bytes>)>,
    denied: HashMap<String, u16>,
}

/// What a path names.
struct Path {
    plural: String,
    namespace: Option<String>,
    name: Option<String>,
    sub: Option<String>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::default()
    }

    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// `plural`, or `NAMESPACE/plural`, is answered with `code` from now on; 0 takes that back.
    pub(crate) fn deny(&self, plural: &str, code: u16) {
        self.lock().denied.insert(plural.to_owned(), code);
    }

    /// Every write so far: `verb plural namespace/name manager`.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.lock().writes.clone()
    }

    pub(crate) fn get(&self, plural: &str, key: &str) -> Option<Value> {
        self.lock().objects.get(&(plural.to_owned(), key.to_owned())).cloned()
    }

    /// Puts an object there as somebody else would.
    pub(crate) fn put(&self, plural: &str, object: Value) {
        let meta = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
        let key = key(meta("namespace").as_deref(), &meta("name").unwrap());
        self.lock().store(plural, &key, object);
    }

    pub(crate) fn delete(&self, plural: &str, key: &str) {
        let mut state = self.lock();
        state.remove(plural, key);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let path = Path::parse(head.uri.path());
        let query = head.uri.query().unwrap_or("").to_owned();
        let mut state = self.lock();
        if let Some(code) = state.denied(&path) {
            return failure(code, "denied");
        }
        let body = || serde_json::from_slice::<Value>(&body).unwrap();
        match (&head.method, &path.name) {
            (&Method::GET, None) if query.contains("watch=true") => state.watch(&path.plural),
            (&Method::GET, None) => state.list(&path),
            (&Method::GET, Some(_)) => state.found(&path),
            (&Method::POST, None) => state.create(&path, body()),
            (&Method::PUT, Some(_)) => state.replace(&path, body()),
            (&Method::PATCH, Some(_)) if is_merge(&head.headers) => state.merge(&path, &body(), &query),
            (&Method::PATCH, Some(_)) => state.apply(&path, &body(), &query),
            (&Method::DELETE, Some(_)) => state.delete(&path),
            other => panic!("the fake API server knows no {other:?}"),
        }
    }
}

impl Path {
    fn parse(path: &str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let rest = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
        let at = |index: usize| rest.get(index).map(|part| (*part).to_owned());
        let namespaced = rest[0] == "namespaces" && rest.get(2).is_some_and(|part| *part != "status");
        if namespaced {
            return Self { plural: at(2).unwrap(), namespace: at(1), name: at(3), sub: at(4) };
        }
        Self { plural: at(0).unwrap(), namespace: None, name: at(1), sub: at(2) }
    }

    fn key(&self) -> String {
        key(self.namespace.as_deref(), self.name.as_deref().unwrap())
    }
}

impl State {
    fn denied(&self, path: &Path) -> Option<u16> {
        let within = path.namespace.as_ref().map(|namespace| format!("{namespace}/{}", path.plural));
        let mut said = within.iter().chain([&path.plural]).filter_map(|what| self.denied.get(what).copied());
        said.find(|code| *code != 0)
    }

    fn store(&mut self, plural: &str, key: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = format!("uid-{}", self.version).into();
        }
        let before = self.objects.insert((plural.to_owned(), key.to_owned()), object.clone());
        self.tell(plural, if before.is_some() { "MODIFIED" } else { "ADDED" }, &object);
        object
    }

    /// That is a version too, and watches say which.
    fn remove(&mut self, plural: &str, key: &str) -> Option<Value> {
        let mut gone = self.objects.remove(&(plural.to_owned(), key.to_owned()))?;
        self.version += 1;
        gone["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.tell(plural, "DELETED", &gone);
        Some(gone)
    }

    fn tell(&mut self, plural: &str, event: &str, object: &Value) {
        let mut line = json!({"type": event, "object": object}).to_string();
        line.push('\n');
        let line = Bytes::from(line);
        self.watches.retain(|(of, watch)| of != plural || watch.try_send(line.clone()).is_ok());
    }

    fn watch(&mut self, plural: &str) -> Answer {
        let (send, receive) = mpsc::channel(1_024);
        self.watches.push((plural.to_owned(), send));
        let lines = stream::unfold(receive, |mut receive| async move {
            receive.recv().await.map(|line| (Ok::<_, Infallible>(Frame::data(line)), receive))
        });
        Response::new(BodyExt::boxed(StreamBody::new(SyncStream(Box::pin(lines)))))
    }

    fn list(&self, path: &Path) -> Answer {
        let within =
            |key: &str| path.namespace.as_ref().is_none_or(|namespace| key.starts_with(&format!("{namespace}/")));
        let all = self.objects.iter().filter(|((plural, key), _)| *plural == path.plural && within(key));
        let items: Vec<&Value> = all.map(|(_, object)| object).collect();
        let version = self.version.to_string();
        success(&json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": version}, "items": items}))
    }

    fn found(&self, path: &Path) -> Answer {
        let object = self.objects.get(&(path.plural.clone(), path.key()));
        object.map_or_else(|| failure(404, "NotFound"), success)
    }

    fn create(&mut self, path: &Path, object: Value) -> Answer {
        let name = object["metadata"]["name"].as_str().or_else(|| object["metadata"]["generateName"].as_str()).unwrap();
        let key = key(path.namespace.as_deref(), name);
        if self.objects.contains_key(&(path.plural.clone(), key.clone())) {
            return failure(409, "AlreadyExists");
        }
        self.writes.push(format!("create {} {key}", path.plural));
        success(&self.store(&path.plural, &key, object))
    }

    fn replace(&mut self, path: &Path, object: Value) -> Answer {
        let key = path.key();
        let Some(live) = self.objects.get(&(path.plural.clone(), key.clone())) else { return failure(404, "NotFound") };
        if live["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return failure(409, "Conflict");
        }
        self.writes.push(format!("replace {} {key}", path.plural));
        success(&self.store(&path.plural, &key, object))
    }

    fn delete(&mut self, path: &Path) -> Answer {
        let key = path.key();
        let Some(gone) = self.remove(&path.plural, &key) else { return failure(404, "NotFound") };
        self.writes.push(format!("delete {} {key}", path.plural));
        success(&gone)
    }

    /// A merge patch (RFC 7386), under a version where it names one.
    fn merge(&mut self, path: &Path, patch: &Value, query: &str) -> Answer {
        let key = path.key();
        let manager = query.split('&').find_map(|pair| pair.strip_prefix("fieldManager=")).unwrap_or("");
        let Some(mut object) = self.objects.get(&(path.plural.clone(), key.clone())).cloned() else {
            return failure(404, "NotFound");
        };
        let wanted = &patch["metadata"]["resourceVersion"];
        if !wanted.is_null() && *wanted != object["metadata"]["resourceVersion"] {
            return failure(409, "Conflict");
        }
        let sub = path.sub.as_deref().map(|sub| format!("/{sub}")).unwrap_or_default();
        self.writes.push(format!("merge {}{sub} {key} {manager}", path.plural));
        replaced(&mut object, patch);
        success(&self.store(&path.plural, &key, object))
    }

    fn apply(&mut self, path: &Path, patch: &Value, query: &str) -> Answer {
        let key = path.key();
        let manager = query.split('&').find_map(|pair| pair.strip_prefix("fieldManager=")).unwrap_or("");
        let sub = path.sub.as_deref().map(|sub| format!("/{sub}")).unwrap_or_default();
        self.writes.push(format!("apply {}{sub} {key} {manager}", path.plural));
        let live = self.objects.get(&(path.plural.clone(), key.clone())).cloned();
        if live.is_none() && path.sub.is_some() {
            return failure(404, "NotFound");
        }
        let mut object = live.unwrap_or_else(|| json!({}));
        merge(&mut object, patch);
        success(&self.store(&path.plural, &key, object))
    }
}

fn key(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        // Conditions are a map by their type: whoever applies his own leaves others'.
        (Value::Array(into), Value::Array(patch)) if !patch.is_empty() && patch.iter().all(is_condition) => {
            into.retain(|one| !patch.iter().any(|other| other["type"] == one["type"]));
            into.extend(patch.iter().cloned());
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn is_merge(headers: &http::HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|kind| kind == "application/merge-patch+json")
}

/// As a merge patch: objects are merged, nulls take away, everything else is replaced.
fn replaced(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.shift_remove(key);
                } else {
                    replaced(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

fn is_condition(value: &Value) -> bool {
    value["type"].is_string() && value["status"].is_string() && value["reason"].is_string()
}

fn success(object: &Value) -> Answer {
    Response::new(BodyExt::boxed(Full::new(Bytes::from(object.to_string()))))
}

fn failure(code: u16, reason: &str) -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason, "code": code});
    let mut answer = success(&status);
    *answer.status_mut() = code.try_into().unwrap();
    answer
}

/// A boxed body must be shareable; a stream that is only ever polled by one owner is.
struct SyncStream<S>(S);

impl<S: futures_core::Stream + Unpin> futures_core::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        std::pin::Pin::new(&mut self.0).poll_next(context)
    }
}

/// Waits until something holds, at most a minute: tests share a machine that may be slow.
pub(crate) async fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to hold");
}
