use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use prost_types::Struct;
use tokio::sync::watch;

use super::DOCUMENT;
use super::order::Order;
use super::report::Report;
use super::wire::Document;
use crate::control::assembly::{Assembly, Unenforced};
use crate::control::delta::{Keeper, Push, Rejected};
use crate::document::{Input, Source, read_json};

/// News that come within this time of each other are one.
const GATHER: Duration = Duration::from_millis(200);

/// Who is told what becomes of pushes.
pub struct Tell {
    /// Once, when the first is in force.
    pub first: Option<Box<dyn FnOnce() + Send>>,
    /// Each time that one is refused, as it is older than what is in force.
    pub older: Box<dyn Fn() + Send>,
}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tell").finish_non_exhaustive()
    }
}

/// Keeps the documents of the feed, and hands them to the assembly after every push.
pub struct Documents {
    assembly: Assembly,
    held: BTreeMap<String, Input>,
    /// Where the state that they are of stands among those of the cluster.
    order: Order,
    tell: Tell,
    unenforced: watch::Receiver<Unenforced>,
    reported: Option<Unenforced>,
}

impl Documents {
    /// None yet.
    pub fn new(assembly: Assembly, tell: Tell) -> Self {
        let unenforced = assembly.unenforced();
        let (held, order) = (BTreeMap::new(), Order::default());
        Self { assembly, held, order, tell, unenforced, reported: None }
    }
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl Keeper for Documents {
    fn type_url(&self) -> &'static str {
        DOCUMENT
    }

    /// What would take us back: another replica of the controller, or the same, knows less than the one that spoke before.
    fn refuses(&mut self, push: &Push) -> Option<String> {
        if push.resources.is_empty() && push.removed.is_empty() {
            return None;
        }
        let Some(order) = Order::read(&push.version) else {
            (self.tell.older)();
            tracing::error!(
                "documents are of a state that cannot be read; those in force stay, another replica is asked"
            );
            return Some("of a state that cannot be read".to_owned());
        };
        let kinds = order.older_than(&self.order);
        if kinds.is_empty() {
            return None;
        }
        (self.tell.older)();
        let kinds = kinds.join(", ");
        tracing::error!(
            kinds,
            "documents are older than those in force, which stay; another replica of the controller is asked. Were the API server's data restored to an earlier state, restart the waypoints"
        );
        Some(format!("older than what is in force, by its {kinds}"))
    }

    /// In force when it returns, so that the acknowledgement says so.
    async fn apply(&mut self, push: Push) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        if let Some(order) = Order::read(&push.version) {
            self.order.follow(order);
        }
        for name in &push.removed {
            self.held.remove(name);
        }
        for resource in push.resources {
            match input(&resource.name, &resource.body) {
                Ok(input) => drop(self.held.insert(resource.name, input)),
                Err(reason) => rejected.push(Rejected { name: resource.name, reason }),
            }
        }
        let offered = self.assembly.documents(self.held.values().cloned().collect(), Vec::new());
        if !self.assembly.in_force(offered).await {
            // The controller is not to say of anything that it is enforced here.
            let reason =
                "not in force: assembling has ended, and what was in force before stays until a restart".to_owned();
            rejected.push(Rejected { name: "documents".to_owned(), reason });
            return rejected;
        }
        if let Some(first) = self.tell.first.take() {
            first();
        }
        rejected
    }

    fn report(&mut self) -> Option<Struct> {
        let all = Arc::clone(&self.unenforced.borrow_and_update());
        let report = Report::new(all.iter().map(|(name, why)| (name.as_str(), why.as_str())));
        self.reported = Some(all);
        Some(report.metadata())
    }

    async fn news(&mut self) {
        let reported = self.reported.as_ref();
        if self.unenforced.wait_for(|all| reported.is_none_or(|known| *known != *all)).await.is_err() {
            // The assembly has ended: there will be no news.
            return std::future::pending().await;
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// A document as it takes part. One that is no JSON closes what nobody knows: everything.
fn input(name: &str, body: &[u8]) -> Result<Input, String> {
    let document = Document::decode(body).map_err(|error| format!("is no document: {error}"))?;
    let text = String::from_utf8(document.json).map_err(|_bytes| "is not UTF-8".to_owned())?;
    let source = Source { file: Arc::new(PathBuf::from(name)), text };
    // As JSON and nothing else: YAML knows characters that no text may hold, and one tenant's would close everybody's ports.
    Ok(Input::of(read_json(&source)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::control::delta::Resource;
    use crate::id::TrustDomain;
    use crate::mesh::{Published, Settings, TargetKey, TargetKind};
    use crate::policy::token::Keyring;

    fn service(name: &str, annotation: &str) -> Value {
        let metadata = json!({"name": name, "namespace": "tools", "annotations": {"note": annotation}});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}})
    }

    fn pushed(object: &Value) -> Resource {
        let body = Document { json: object.to_string().into_bytes(), generation: 0 }.encode_to_vec();
        let name = format!("/Service/tools/{}", object["metadata"]["name"].as_str().unwrap());
        Resource { name, version: String::new(), body }
    }

    #[tokio::test]
    async fn no_character_in_one_document_closes_what_others_select() {
        let (published, stop) = (Arc::new(Published::new()), CancellationToken::new());
        let trust_domain = TrustDomain::parse("cluster.local").unwrap();
        let settings = Settings { trust_domain, gateway: None, keys: Keyring::default() };
        let assembly = Assembly::start(settings, Arc::clone(&published), stop.clone()).unwrap();
        let mut keeper = Documents::new(assembly, Tell { first: None, older: Box::new(|| {}) });
        let is_closed = |name: &str| {
            let key = TargetKey {
                kind: TargetKind::Service,
                namespace: "tools".into(),
                name: name.into(),
                port: 80,
                at: None,
            };
            published.current().get(&key).is_none_or(|target| target.closed().is_some())
        };
        for odd in ["\u{7f}", "\u{9b}", "\u{fffe}", "\u{0}", "\u{85}", "\u{1f600}", "\\ \" ' # {{ *a &b"] {
            let resources = vec![pushed(&service("victim", "")), pushed(&service("odd", odd))];
            let rejected = keeper.apply(Push { resources, ..Push::default() }).await;
            assert!(rejected.is_empty(), "{odd:?}: {rejected:?}");
            assert!(!is_closed("victim") && !is_closed("odd"), "{odd:?}");
        }
        // So that it can fail: what is no document at all closes everything still.
        let body = Document { json: b"{".to_vec(), generation: 0 }.encode_to_vec();
        let none = Resource { name: "/Service/tools/none".to_owned(), version: String::new(), body };
        assert!(keeper.apply(Push { resources: vec![none], ..Push::default() }).await.is_empty());
        assert!(is_closed("victim"));
        stop.cancel();
    }
}
