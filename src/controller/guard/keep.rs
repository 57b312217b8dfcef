//! Keeps the guards as planned, on the replica that leads.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::apply::{Applier, holds};
use super::super::cluster::{Cluster, DocumentKind, View};
use super::super::condition;
use super::input::{Name, Sent};
use super::objects;
use super::plan::{Stage, Subject, plan};
use super::policy::{GuardPolicy, MANAGED_BY, MANAGER};
use super::read::{is_whole, read};
use crate::id::TrustDomain;
use crate::telemetry::Telemetry;

/// Looked at again so often even where nothing changed.
const RESYNC: Duration = Duration::from_secs(30);
/// Plans come no closer to each other than this: a rollout changes pods one by one.
const GATHER: Duration = Duration::from_millis(200);

/// What the guard is kept with.
pub struct Keep {
    /// The cluster as it is.
    pub cluster: Cluster,
    /// To it.
    pub client: Client,
    /// The controller's namespace.
    pub namespace: String,
    /// Trust domain of the mesh.
    pub trust_domain: TrustDomain,
    /// Writes what is wanted.
    pub applier: Applier,
    /// What istiod sends to ztunnel; none as long as it was not seen.
    pub sent: watch::Receiver<Option<Arc<Sent>>>,
    /// Where the number of unguarded endpoints goes.
    pub telemetry: Telemetry,
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keep").field("applier", &self.applier).finish_non_exhaustive()
    }
}

impl Keep {
    /// Plans and writes at every change until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut views = self.cluster.subscribe();
        let mut leading = self.applier.leading();
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            let sent = self.sent.borrow_and_update().clone();
            if is_whole(&view) {
                self.settle(&view, sent).await;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = views.changed() => if changed.is_err() { return },
                () = changed(&mut self.sent) => {}
                () = leading.changed() => {}
                () = tokio::time::sleep(RESYNC) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(GATHER) => {}
            }
        }
    }

    async fn settle(&mut self, view: &View, sent: Option<Arc<Sent>>) {
        let mesh = read(view, &self.namespace, &self.trust_domain, sent);
        let plan = plan(&mesh);
        for (reason, endpoints) in plan.unguarded() {
            self.telemetry.metrics().unguarded_endpoints(reason.as_str(), endpoints);
        }
        if !self.applier.is_leading() {
            return;
        }
        // First who is cut off and who is exempt, then the guard: a list is read before, and an exemption that others
        // could take is none.
        let waypoints = self.unwritten(&objects::waypoints(&mesh)).await;
        let late = Late { waypoints, lists: self.unwritten(&objects::cut_off(&plan, view)).await };
        let ready: Vec<&GuardPolicy> = plan.apply.iter().filter(|policy| !late.holds_back(policy)).collect();
        let found: BTreeSet<&Name> = mesh.found.iter().map(|found| &found.name).collect();
        let first: BTreeSet<&Name> =
            ready.iter().map(|policy| &policy.name).filter(|name| !found.contains(name)).collect();
        let news = |subject: &&Subject| {
            subject.stage == Stage::Written && subject.guard.as_ref().is_some_and(|name| first.contains(name))
        };
        for subject in plan.subjects.iter().filter(news) {
            self.announce(subject, view).await;
        }
        // What replaces a guard, which is in its namespace, stands before the one that it replaces goes.
        let mut unwritten: BTreeSet<&str> = self.write(&ready, view).await;
        unwritten.extend(plan.apply.iter().filter(|policy| late.holds_back(policy)).map(GuardPolicy::namespace));
        self.remove(plan.remove.iter().filter(|name| !unwritten.contains(&*name.namespace)), view).await;
        self.applier.apply(&objects::statuses(&plan, &mesh, view, &condition::now())).await;
    }

    /// Applies objects of several namespaces, each by itself; the namespaces in which one is not there.
    async fn unwritten(&mut self, wants: &objects::Wants) -> BTreeSet<String> {
        let mut unwritten = BTreeSet::new();
        for want in wants {
            if !self.applier.apply(std::slice::from_ref(want)).await {
                unwritten.extend(want.0.namespace.clone());
            }
        }
        unwritten
    }

    /// Applies what is missing or was changed, at once and however often that is: a guard is not to be away for a moment. The
    /// namespaces in which one was not applied.
    async fn write<'p>(&self, policies: &[&'p GuardPolicy], view: &View) -> BTreeSet<&'p str> {
        let live = view.documents(DocumentKind::AuthorizationPolicy);
        let mut unwritten = BTreeSet::new();
        let Some(resource) = DocumentKind::AuthorizationPolicy.resources().next() else {
            return policies.iter().map(|policy| policy.namespace()).collect();
        };
        for policy in policies {
            let Name { namespace, name } = &policy.name;
            let live = live.get(namespace, name).and_then(|live| serde_json::to_value(&**live).ok());
            let object = policy.object();
            let (patch, params) = match live.filter(|live| holds(live, &object)) {
                None => (Patch::Apply(object), PatchParams::apply(MANAGER).force()),
                Some(live) => match added(&live, &object) {
                    None => continue,
                    Some(rest) => (
                        Patch::Merge(rest),
                        PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() },
                    ),
                },
            };
            if !self.applier.is_leading() {
                continue;
            }
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
            match api.patch(name, &params, &patch).await {
                Ok(_) => tracing::info!(guard = %policy.name, "applied"),
                Err(error) => {
                    tracing::warn!(guard = %policy.name, %error, "guard not applied; tried again");
                    unwritten.insert(policy.namespace());
                }
            }
        }
        unwritten
    }

    async fn remove(&self, stale: impl Iterator<Item = &Name>, view: &View) {
        for name in stale {
            if let Some(live) = view.documents(DocumentKind::AuthorizationPolicy).get(&name.namespace, &name.name)
                && self.applier.is_leading()
            {
                match remove(&self.client, live).await {
                    Ok(()) => tracing::info!(guard = %name, "removed: no Service wants it any more"),
                    Err(error) => tracing::warn!(guard = %name, %error, "guard not removed; tried again"),
                }
            }
        }
    }

    /// An event on the Service before its first guard. Lost ones are not said again: the ConfigMap stays.
    async fn announce(&self, subject: &Subject, view: &View) {
        let Name { namespace, name } = &subject.service;
        let uid = view.services.get(namespace, name).and_then(|service| service.metadata.uid.clone());
        let list = format!("ConfigMap {}{name} says who is cut off", objects::CUT_OFF_PREFIX);
        let message = match subject.cut_off.len() {
            0 => format!("its pods take calls from its waypoints only from now on; {list}: nobody that is known"),
            clients => {
                format!("its pods take calls from its waypoints only from now on; {list}: {clients} that are known")
            }
        };
        let now = condition::now();
        let event = json!({
            "metadata": {"generateName": format!("{name}-guard-"), "namespace": namespace},
            "involvedObject": {"apiVersion": "v1", "kind": "Service", "namespace": namespace, "name": name, "uid": uid},
            "type": if subject.cut_off.is_empty() { "Normal" } else { "Warning" },
            "reason": "Guarding",
            "message": message,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": MANAGER},
        });
        let Ok(event) = serde_json::from_value::<Event>(event) else { return };
        tracing::info!(service = %subject.service, cut_off = subject.cut_off.len(), "guarding");
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        if let Err(error) = events.create(&PostParams::default(), &event).await {
            tracing::warn!(service = %subject.service, %error, "event not written");
        }
    }
}

/// Namespaces in which what is to be there before a guard could not be written: their quota may be full, or they may be on
/// their way out. Guards that need it wait, and those of no other namespace.
struct Late {
    /// Who runs as the waypoints there.
    waypoints: BTreeSet<String>,
    /// Who is cut off there.
    lists: BTreeSet<String>,
}

impl Late {
    fn holds_back(&self, policy: &GuardPolicy) -> bool {
        self.lists.contains(policy.namespace()) || policy.exempt_namespaces().any(|one| self.waypoints.contains(one))
    }
}

/// Makes of a policy what only tells what it would do.
const DRY_RUN: &str = "istio.io/dry-run";

/// What takes away again what somebody added to a guard; none where nobody did. Applying leaves what others own, and a
/// guard with one condition or one label more keeps fewer out.
fn added(live: &Value, wanted: &Value) -> Option<Value> {
    let spec = |object: &Value| object.get("spec").cloned().unwrap_or_default();
    let is_dry = live.pointer("/metadata/annotations").and_then(|all| all.get(DRY_RUN)).is_some();
    let rest = exactly(&spec(live), &spec(wanted));
    if rest.is_none() && !is_dry {
        return None;
    }
    let version = live.pointer("/metadata/resourceVersion");
    let metadata = json!({"resourceVersion": version, "annotations": {DRY_RUN: null}});
    Some(json!({"metadata": metadata, "spec": rest.unwrap_or_else(|| json!({}))}))
}

/// The merge patch (RFC 7386) that makes `wanted` of `live`; none where it is that.
fn exactly(live: &Value, wanted: &Value) -> Option<Value> {
    if live == wanted {
        return None;
    }
    let (Value::Object(live), Value::Object(wanted)) = (live, wanted) else { return Some(wanted.clone()) };
    let more = live.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let other = wanted.iter().filter_map(|(key, wanted)| {
        let live = live.get(key).unwrap_or(&Value::Null);
        Some((key.clone(), exactly(live, wanted)?))
    });
    Some(Value::Object(more.chain(other).collect()))
}

/// Resolves at a change; never where nobody looks.
async fn changed(sent: &mut watch::Receiver<Option<Arc<Sent>>>) {
    if sent.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Removes a guard as it was seen: one that somebody has changed meanwhile stays.
///
/// # Errors
/// The API server's; a guard that is gone is none.
pub async fn remove(client: &Client, live: &DynamicObject) -> Result<(), kube::Error> {
    let ours = live.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == MANAGER);
    let Some(resource) = DocumentKind::AuthorizationPolicy.resources().next().filter(|_| ours) else { return Ok(()) };
    let namespace = live.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let (uid, resource_version) = (live.metadata.uid.clone(), live.metadata.resource_version.clone());
    let params =
        DeleteParams { preconditions: Some(Preconditions { uid, resource_version }), ..DeleteParams::default() };
    match api.delete(live.metadata.name.as_deref().unwrap_or_default(), &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
