//! What the reader that waypoints have says of documents, for the statuses that tell it, and in how many words.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::controller::cluster::{DocumentKind, View, key};
use crate::controller::feed::Resource;
use crate::controller::scope::Object;
use crate::document::{Problem, Source, load_json};
use crate::id::TrustDomain;
use crate::mesh::{Settings, Snapshot, build};
use crate::policy::on_compile_thread;
use crate::policy::token::Keyring;

/// Of what is wrong with one object, a message names so much.
pub(super) const NAMED: usize = 8;

/// What is said of the first of some sources.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) problems: Vec<Problem>,
    /// Whether anything is closed by itself, as what it means cannot be read.
    pub(super) closes: bool,
}

impl Reading {
    /// Reads the first of the sources over the others, as a waypoint does; `keys` are those of tokens that it fetches. Blocks
    /// while expressions are parsed: on the compile thread, please.
    pub(super) fn of(sources: Vec<String>, keys: Keyring) -> Self {
        let file = |at: usize| Arc::new(PathBuf::from(format!("{at}")));
        let documents = load_json(sources.into_iter().enumerate().map(|(at, text)| Source { file: file(at), text }));
        let closes = !documents.closures.is_empty();
        // Which trust domain it is plays no part in whether a document is fit to be in force.
        let Ok(trust_domain) = TrustDomain::parse("cluster.local") else { return Self { closes, ..Self::default() } };
        let settings = Settings { trust_domain, gateway: None, keys };
        let (_, mut problems) = build(&documents, &settings, &Snapshot::no_documents());
        problems.retain(|problem| *problem.place.file == *file(0));
        Self { problems, closes }
    }
}

/// What was made of sources, by what they are about, so that what stays as it is is not read again.
#[derive(Debug)]
pub(super) struct Readings<K, R> {
    before: HashMap<K, (u64, R)>,
    now: HashMap<K, (u64, R)>,
}

impl<K, R> Default for Readings<K, R> {
    fn default() -> Self {
        Self { before: HashMap::new(), now: HashMap::new() }
    }
}

impl<K: Eq + Hash, R: Clone + Send> Readings<K, R> {
    /// A new plan begins: what is not asked for in it is forgotten.
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// What `read` makes of the sources, on the compile thread where they are not those of the last time.
    pub(super) fn of(&mut self, of: K, sources: Vec<String>, read: fn(Vec<String>) -> R) -> R {
        let mut hasher = DefaultHasher::new();
        sources.hash(&mut hasher);
        let hash = hasher.finish();
        // It may have been asked for in this plan already.
        let known = self.now.remove(&of).or_else(|| self.before.remove(&of)).filter(|(known, _)| *known == hash);
        let reading = known.map_or_else(|| on_compile_thread(|| read(sources)), |(_, reading)| reading);
        self.now.insert(of, (hash, reading.clone()));
        reading
    }
}

/// The text of what may be called, as far as what leads to it goes by it: of a Service its ports, and what they are declared
/// to speak.
pub(super) fn called(view: &View, kind: Object, namespace: &str, name: &str) -> Option<String> {
    match kind {
        Object::Service => {
            let service = view.services.get(namespace, name)?;
            let ports = service.spec.as_ref()?.ports.iter().flatten().map(|port| {
                let protocol = port.protocol.as_deref().unwrap_or("TCP");
                let mut said = json!({"name": port.name, "port": port.port, "protocol": protocol});
                if let (Some(declared), Some(said)) = (&port.app_protocol, said.as_object_mut()) {
                    said.insert("appProtocol".to_owned(), declared.as_str().into());
                }
                said
            });
            let ports: Vec<Value> = ports.collect();
            let text = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": {"ports": ports}});
            Some(text.to_string())
        }
        Object::ServiceEntry => {
            let entries = view.documents(DocumentKind::ServiceEntry);
            entries.get(namespace, name).map(|one| Resource::document_text(one, DocumentKind::ServiceEntry))
        }
    }
}

/// The text of a ConfigMap.
pub(super) fn config_map(map: &ConfigMap) -> String {
    let (namespace, name) = key(map);
    let metadata = json!({"namespace": namespace, "name": name});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": map.data}).to_string()
}

/// `field: reason`
pub(super) fn told(field: &str, reason: &str) -> String {
    if field.is_empty() { reason.to_owned() } else { format!("{field}: {reason}") }
}

/// The first of some lines, so many at the most, as one message.
pub(super) fn first<S: Borrow<str>>(lines: &[S], most: usize) -> String {
    lines.get(..most).unwrap_or(lines).join("; ")
}
