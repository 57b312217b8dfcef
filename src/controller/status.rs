//! What an AgentPolicy says of itself: `Accepted` (it is fit to be in force), `Conflicted` (another claims its port for
//! another protocol), `Enforced` (this generation is in force on every ready replica of every waypoint that it is for).
//!
//! On Istio's own policies there is one condition of ours beside istiod's, and on routes an entry for each parent that
//! waypoints of ours are in front of, on BackendTLSPolicies one for each Gateway of ours.

mod accepted;
mod announced;
mod backend_tls;
mod balancing;
mod conflicts;
mod enforced;
mod entries;
mod istio;
mod reader;
mod relay;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::apply::{Applier, Part, Wanted};
use super::cluster::{Cluster, DocumentKind, View, key};
use super::condition::{self, Condition};
use super::events::Events;
use super::feed::{Acks, Catalog};
use super::scope::Scopes;
use super::shared::{Entries, Sharer};

pub use accepted::{Checked, Checks};
pub use backend_tls::TlsStatus;
pub use balancing::HONOURED;
pub use enforced::{Confirmed, Pods};
pub use entries::SERVED;
pub use istio::{ENFORCED, KINDS};
pub use relay::relay;
pub use routes::RouteStatus;

use conflicts::Conflicts;
use enforced::{Of, enforced};

/// Looked at again so often even where nothing changed.
const RESYNC: Duration = Duration::from_secs(30);
/// Changes that come within this time of each other are one.
const GATHER: Duration = Duration::from_millis(100);

/// What is known beside the view.
#[derive(Debug)]
pub struct Known<'a> {
    /// What `check` says of each policy.
    pub checked: &'a Checks,
    /// What each pod has in force.
    pub confirmed: &'a Confirmed,
    /// The newest documents.
    pub catalog: &'a Catalog,
    /// Now, RFC 3339.
    pub now: &'a str,
}

/// The status of every AgentPolicy that is to be written, each with the live object.
pub fn plan(view: &View, known: &Known<'_>) -> Vec<(Wanted, Option<Value>)> {
    let scopes = Scopes::of(view);
    let policies = view.documents(DocumentKind::AgentPolicy);
    let conflicts = Conflicts::of(view, &policies);
    let pods = Pods::of(view);
    policies.iter().map(|policy| one(policy, (view, &scopes, &pods), &conflicts, known)).collect()
}

fn one(
    policy: &DynamicObject,
    there: (&View, &Scopes, &Pods),
    conflicts: &Conflicts,
    known: &Known<'_>,
) -> (Wanted, Option<Value>) {
    let (namespace, name) = key(policy);
    let kind = DocumentKind::AgentPolicy;
    let checked = known.checked.of(kind, policy);
    let enforced = enforced(Of { kind, condition: "Enforced" }, policy, there, (&checked, known));
    let conflicted = match conflicts.of_policy(namespace, name) {
        Some(why) => Condition::new("Conflicted", true, "ProtocolConflict", why),
        None => Condition::new("Conflicted", false, "NoConflict", "no other policy claims its ports otherwise"),
    };
    let before = condition::live(policy.data.get("status"));
    let generation = policy.metadata.generation;
    let conditions: Vec<Value> = [checked.condition(), enforced, conflicted]
        .iter()
        .map(|condition| condition.json(before, generation, known.now))
        .collect();
    let status = json!({"status": {"conditions": conditions}});
    let resource = DocumentKind::AgentPolicy.resource();
    let wanted = Wanted::dynamic(resource, Some(namespace), name, Part::Status, status);
    (wanted, serde_json::to_value(policy).ok())
}

/// What else is to be said: on Istio's policies, on routes, and on policies of the Gateway API.
pub fn plan_shared(view: &View, (routes, tls): (&mut RouteStatus, &mut TlsStatus), known: &Known<'_>) -> Vec<Entries> {
    let scopes = Scopes::of(view);
    let pods = Pods::of(view);
    let mut entries = istio::plan(view, (&scopes, &pods), known);
    entries.extend(routes.plan(view, &scopes.fronting, known.now));
    entries.extend(tls.plan(view, &scopes.fronting, known.now));
    entries.extend(entries::plan(view, &scopes.fronting, known.now));
    entries.extend(balancing::plan(view, (&scopes, &pods), known));
    entries
}

/// Plans and applies at every change until `stop`.
pub async fn keep(
    (cluster, client, mut catalogs): (Cluster, Client, watch::Receiver<Arc<Catalog>>),
    acks: Acks,
    (replica, jwks_hosts): ((String, String), Vec<String>),
    mut applier: Applier,
    stop: CancellationToken,
) {
    let mut views = cluster.subscribe();
    let mut leading = applier.leading();
    let mut events = Events::new(client.clone(), applier.leading());
    let (mut sharer, mut routes) = (Sharer::new(client, applier.leading()), RouteStatus::default());
    let mut tls = TlsStatus::default();
    let mut heard = acks.subscribe();
    let (mut checks, mut confirmed) = (Checks::with_hosts(&jwks_hosts), Confirmed::default());
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let catalog = Arc::clone(&catalogs.borrow_and_update());
        confirmed.learn(&view, &catalog, (&acks, &replica));
        if applier.is_leading() && view.is_whole() {
            checks.update(&view);
            let now = condition::now();
            let known = Known { checked: &checks, confirmed: &confirmed, catalog: &catalog, now: &now };
            let wanted = plan(&view, &known);
            let shared = plan_shared(&view, (&mut routes, &mut tls), &known);
            events.tell(&wanted).await;
            applier.apply(&wanted).await;
            sharer.write(&shared).await;
        } else {
            confirmed.begin_anew();
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = views.changed() => if changed.is_err() { return },
            changed = catalogs.changed() => if changed.is_err() { return },
            () = leading.changed() => {}
            changed = heard.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RESYNC) => {}
        }
        tokio::time::sleep(GATHER).await;
    }
}

#[cfg(test)]
mod tests;
