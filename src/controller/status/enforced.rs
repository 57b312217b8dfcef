use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use serde_json::Value;
use tokio::time::Instant;

use super::super::cluster::{DocumentKind, View, key};
use super::super::condition::{self, Condition};
use super::super::feed::{Ack, Acks, Catalog, Scope, document_name};
use super::super::provision::is_ready;
use super::super::scope::{Fronting, GatewayKey, Object, Scopes};
use super::announced::elsewhere;
use super::relay::relayed;
use super::{Checked, Known};
use crate::control::feed::Report;

const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// States of one identity's documents that are remembered, to recognise what a pod says that it has.
const STATES: usize = 8;
/// For so long after this replica began to lead, a policy that was enforced is not said to be pending because a pod was
/// not heard of yet: it has to find its way here first.
const HEARING: Duration = Duration::from_secs(30);
/// What is said of a pod that does not say what of its documents decides.
const UNSAID: &str = "its version does not say whether targets are closed; update it";
/// Pods that a message names.
const NAMED: usize = 4;

/// The ready pods of every Gateway.
#[derive(Debug, Default)]
pub struct Pods(BTreeMap<GatewayKey, Vec<String>>);

impl Pods {
    pub(super) fn of(view: &View) -> Self {
        let mut pods = Self::default();
        for pod in view.pods.iter().filter(|pod| is_ready(pod)) {
            let (namespace, name) = key(&**pod);
            if let Some(gateway) = pod.labels().get(GATEWAY_NAME) {
                let key = (namespace.to_owned(), gateway.clone());
                pods.0.entry(key).or_default().push(name.to_owned());
            }
        }
        pods
    }

    fn of_gateway(&self, gateway: &GatewayKey) -> &[String] {
        self.0.get(gateway).map_or(&[], Vec::as_slice)
    }
}

/// What a pod has in force, or why it refused a part of it.
type Has = Result<InForce, String>;

/// A state of the documents, and what a pod says of them.
#[derive(Debug, Clone)]
pub(super) struct InForce {
    scope: Arc<Scope>,
    /// None where the pod is of a version that does not say.
    report: Option<Arc<Report>>,
}

/// What each pod has in force, as far as this replica learnt.
#[derive(Debug)]
pub struct Confirmed {
    /// By namespace and ServiceAccount, the newest last.
    states: HashMap<(String, String), VecDeque<Arc<Scope>>>,
    /// By namespace and name; with the pod's uid, as a pod of the same name is another.
    pods: HashMap<(String, String), (String, Has)>,
    since: Instant,
}

impl Default for Confirmed {
    fn default() -> Self {
        Self { states: HashMap::new(), pods: HashMap::new(), since: Instant::now() }
    }
}

impl Confirmed {
    /// Takes what pods said to this replica and to others.
    pub(super) fn learn(&mut self, view: &View, catalog: &Catalog, (acks, replica): (&Acks, &(String, String))) {
        let own = view.pods.iter().filter(|pod| pod.labels().contains_key(GATEWAY_NAME));
        let accounts: HashMap<(String, String), String> = own.map(|pod| (owned(pod), account(pod))).collect();
        for ((namespace, _), account) in &accounts {
            if let Some(scope) = catalog.documents(namespace, account) {
                self.remember((namespace.clone(), account.clone()), scope);
            }
        }
        self.states.retain(|(namespace, account), _| !catalog.gateways(namespace, account).is_empty());
        let others = relayed(view, replica);
        for (pod, ack) in others.into_iter().chain(acks.all()) {
            let Some(uid) = view.pods.get(&pod.0, &pod.1).and_then(|pod| pod.uid()) else { continue };
            match ack {
                Ack::Refused(why) => drop(self.pods.insert(pod, (uid, Err(why)))),
                Ack::InForce { digest, report } => {
                    let account = accounts.get(&pod).map(|account| (pod.0.clone(), account.clone()));
                    let states = account.and_then(|account| self.states.get(&account));
                    let said = states.and_then(|states| states.iter().find(|state| state.digest() == digest));
                    if let Some(scope) = said {
                        self.pods.insert(pod, (uid, Ok(InForce { scope: Arc::clone(scope), report })));
                    }
                }
            }
        }
        self.pods.retain(|(namespace, name), (uid, _)| {
            view.pods.get(namespace, name).and_then(|pod| pod.uid()).as_ref() == Some(uid)
        });
    }

    /// Another replica leads: what is heard from now on counts.
    pub(super) fn begin_anew(&mut self) {
        self.since = Instant::now();
    }

    /// Says what a pod has in force, and that all of it decides, for tests.
    #[cfg(test)]
    pub(super) fn put(&mut self, namespace: &str, pod: &str, has: Result<Arc<Scope>, String>) {
        let has = has.map(|scope| InForce { scope, report: Some(Arc::default()) });
        self.pods.insert((namespace.to_owned(), pod.to_owned()), (String::new(), has));
    }

    /// Says what a pod reports of what it has, for tests.
    #[cfg(test)]
    pub(super) fn put_report(&mut self, namespace: &str, pod: &str, report: Option<Report>) {
        let has = self.pods.get_mut(&(namespace.to_owned(), pod.to_owned())).unwrap();
        has.1.as_mut().unwrap().report = report.map(Arc::new);
    }

    /// Pretends that this replica has led for long, for tests.
    #[cfg(test)]
    pub(super) fn heard_enough(&mut self) {
        self.since -= HEARING;
    }

    fn remember(&mut self, account: (String, String), scope: Arc<Scope>) {
        let states = self.states.entry(account).or_default();
        if states.iter().any(|state| state.digest() == scope.digest()) {
            return;
        }
        states.push_back(scope);
        if states.len() > STATES {
            states.pop_front();
        }
    }

    fn has(&self, namespace: &str, pod: &str) -> Option<&Has> {
        self.pods.get(&(namespace.to_owned(), pod.to_owned())).map(|(_, has)| has)
    }

    fn is_hearing(&self) -> bool {
        self.since.elapsed() < HEARING
    }
}

fn owned(pod: &Pod) -> (String, String) {
    let (namespace, name) = key(pod);
    (namespace.to_owned(), name.to_owned())
}

fn account(pod: &Pod) -> String {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    account.unwrap_or_else(|| "default".to_owned())
}

/// What is said of which kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of {
    pub(super) kind: DocumentKind,
    /// Type of the condition.
    pub(super) condition: &'static str,
}

/// Whether one policy is in force.
pub(super) fn enforced(
    Of { kind, condition }: Of,
    policy: &DynamicObject,
    (view, scopes, pods): (&View, &Scopes, &Pods),
    (checked, known): (&Checked, &Known<'_>),
) -> Condition {
    let (namespace, name) = key(policy);
    let no = |reason: &'static str, message: String| Condition::new(condition, false, reason, message);
    let of = (kind, namespace.to_owned(), name.to_owned());
    let Some(gateways) = scopes.documents.get(&of) else {
        return no("NoWaypoint", no_waypoint(policy, &targets(policy).collect::<Vec<_>>()));
    };
    if !checked.errors.is_empty() {
        return no("NotAccepted", "what it selects is closed; see condition Accepted".to_owned());
    }
    let spec = policy.data.get("spec");
    if spec.and_then(|spec| spec.get("mode")).and_then(Value::as_str) == Some("DryRun") {
        let message = "it takes no part in decisions; what it would have decided is in the access log";
        return no("DryRun", message.to_owned());
    }
    if let past @ [_, ..] = past(policy, &scopes.fronting).as_slice() {
        return no("NoWaypoint", no_waypoint(policy, past));
    }
    if let Some(target) = shared(policy, &scopes.fronting).filter(|_| kind == DocumentKind::AgentPolicy) {
        let message = format!(
            "a waypoint that knows no AgentPolicy takes a share of the calls to {target}: of istio.io/use-waypoint and istio.io/use-waypoint-canary, one names a Gateway of another class"
        );
        return no("NoWaypoint", message);
    }
    let resource = document_name(kind, namespace, name);
    let mut said = Said::default();
    for gateway in gateways {
        if pods.of_gateway(gateway).is_empty() {
            let message =
                format!("no pod of Gateway {}/{} is ready: calls are refused meanwhile", gateway.0, gateway.1);
            return no("NoReadyReplica", message);
        }
        said.hear((gateway, pods), &resource, known);
    }
    if let Some((reason, message)) = elsewhere(view, policy, &scopes.fronting) {
        return no(reason, message);
    }
    let generation = policy.metadata.generation.unwrap_or(0);
    if let Some(message) = said.closed() {
        return no("TargetClosed", message);
    }
    let Said { ready, mut behind, silent, .. } = said;
    if behind.is_empty() {
        let message = format!("generation {generation} is in force on {ready} of {ready} ready replicas");
        return Condition::new(condition, true, "Enforced", message);
    }
    if silent == behind.len() && known.confirmed.is_hearing() && was_enforced(policy, condition) {
        return Condition::new(condition, true, "Enforced", last_message(policy, condition));
    }
    let done = ready - behind.len();
    behind.truncate(NAMED);
    let message = format!(
        "generation {generation} is in force on {done} of {ready} ready replicas; waiting for {}",
        behind.join(", ")
    );
    no("Pending", message)
}

/// Why what a document speaks of is closed, as ready pods of these Gateways that have it say; none where none does.
pub(super) fn closed(
    (kind, document): (DocumentKind, &DynamicObject),
    (gateways, pods): (&BTreeSet<GatewayKey>, &Pods),
    known: &Known<'_>,
) -> Option<String> {
    let (namespace, name) = key(document);
    let (resource, mut said) = (document_name(kind, namespace, name), Said::default());
    gateways.iter().for_each(|gateway| said.hear((gateway, pods), &resource, known));
    said.closed()
}

/// What the ready pods say of one document.
#[derive(Default)]
struct Said {
    /// How many there are.
    ready: usize,
    /// Those that do not have it in force, as a message names them.
    behind: Vec<String>,
    /// How many of those said nothing at all.
    silent: usize,
    /// Those that have it, and closed what it selects; why.
    closed: Vec<(String, String)>,
}

impl Said {
    fn hear(&mut self, (gateway, pods): (&GatewayKey, &Pods), resource: &str, known: &Known<'_>) {
        let version = known.catalog.scope(gateway).and_then(|scope| scope.get(resource)).map(|one| &one.version);
        for pod in pods.of_gateway(gateway) {
            self.ready += 1;
            let named = format!("{}/{pod}", gateway.0);
            let has = match known.confirmed.has(&gateway.0, pod) {
                Some(Ok(has)) => has,
                Some(Err(why)) => {
                    self.behind.push(format!("{named} ({why})"));
                    continue;
                }
                None => {
                    self.silent += 1;
                    self.behind.push(named);
                    continue;
                }
            };
            if version.is_none() || has.scope.get(resource).map(|one| &one.version) != version {
                self.behind.push(named);
                continue;
            }
            match has.report.as_ref().map(|report| report.of(resource)) {
                Some(Ok(())) => {}
                Some(Err(why)) => self.closed.push((named, why.to_owned())),
                None => self.behind.push(format!("{named} ({UNSAID})")),
            }
        }
    }

    /// What the first of them says that closed it, and who they are.
    fn closed(&self) -> Option<String> {
        let (_, why) = self.closed.first()?;
        let pods: Vec<&str> = self.closed.iter().take(NAMED).map(|(pod, _)| pod.as_str()).collect();
        let (of, ready, pods) = (self.closed.len(), self.ready, pods.join(", "));
        Some(format!("{why}; so says {pods} ({of} of {ready} ready replicas): calls are refused"))
    }
}

/// Targets that no waypoint of ours is in front of: calls to them go past the policy, whatever becomes of the others.
fn past<'p>(policy: &'p DynamicObject, fronting: &Fronting) -> Vec<&'p Value> {
    let (namespace, _) = key(policy);
    let is_past = |target: &&Value| {
        if let Some((kind, name)) = object(target) {
            return fronting.of_object(kind, namespace, name).is_empty();
        }
        let text = |field: &str| target.get(field).and_then(Value::as_str);
        match (text("kind"), text("name")) {
            (Some("Gateway"), Some(name)) => fronting.gateway(namespace, name).is_none(),
            (Some("Namespace"), _) => !fronting.gateways().any(|(gateway, _)| fronting.is_in(gateway, namespace)),
            _ => false,
        }
    };
    targets(policy).filter(is_past).collect()
}

/// The first target of which a part of the calls goes through a waypoint of others.
fn shared(policy: &DynamicObject, fronting: &Fronting) -> Option<String> {
    let (namespace, _) = key(policy);
    let mut objects = targets(policy).filter_map(object);
    let (kind, name) = objects.find(|(kind, name)| fronting.is_shared(*kind, namespace, name))?;
    Some(format!("{kind:?} {namespace}/{name}"))
}

pub(super) fn targets(policy: &DynamicObject) -> impl Iterator<Item = &Value> {
    policy.data.pointer("/spec/targetRefs").and_then(Value::as_array).into_iter().flatten()
}

/// What a target names, where that is something that a waypoint can be in front of: its kind and name.
pub(super) fn object(target: &Value) -> Option<(Object, &str)> {
    let text = |field: &str| target.get(field).and_then(Value::as_str);
    Some((Object::of_kind(text("kind")?)?, text("name")?))
}

/// The remedy for a policy of which some targets are nobody's.
fn no_waypoint(policy: &DynamicObject, targets: &[&Value]) -> String {
    let (namespace, _) = key(policy);
    let text = |target: &Value, field: &str| target.get(field).and_then(Value::as_str).unwrap_or("?").to_owned();
    let named: Vec<String> = targets
        .iter()
        .take(NAMED)
        .map(|target| format!("{} {namespace}/{}", text(target, "kind"), text(target, "name")))
        .collect();
    format!(
        "nothing enforces it: {} is there and uses a waypoint of class agent-waypoint? Label it, or its Namespace, istio.io/use-waypoint (and -namespace), and let the Gateway's listener allow the namespace (allowedRoutes)",
        named.join(", ")
    )
}

/// Whether the live status says that this very generation is enforced.
fn was_enforced(policy: &DynamicObject, condition: &str) -> bool {
    live(policy, condition).is_some_and(|enforced| {
        enforced.get("status").and_then(Value::as_str) == Some("True")
            && enforced.get("observedGeneration").and_then(Value::as_i64) == policy.metadata.generation
    })
}

fn last_message(policy: &DynamicObject, condition: &str) -> String {
    live(policy, condition).and_then(|enforced| enforced.get("message")?.as_str()).unwrap_or_default().to_owned()
}

fn live<'p>(policy: &'p DynamicObject, condition: &str) -> Option<&'p Value> {
    let conditions = condition::live(policy.data.get("status"));
    conditions.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(condition))
}
