//! A plan as objects to apply: guards, what is to be read before them, and what is said of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use gateway_api::apis::standard::gateways::Gateway;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use serde_json::{Value, json};

use super::super::apply::Wanted;
use super::super::cluster::View;
use super::super::condition::{self, Condition as Said, Holds};
use super::super::provision::WAYPOINTS;
use super::condition::{Condition, Status};
use super::gap::Reason;
use super::input::{Mesh, Name};
use super::plan::{Plan, Stage, Subject};
use super::policy::{MANAGED_BY, MANAGER};

/// What is applied with its live form; without one it is applied anew now and then.
pub(super) type Wants = Vec<(Wanted, Option<Value>)>;

/// Our conditions on a Service, and on the Gateways of its waypoints.
pub const GUARDED: &str = "agent-waypoint.dev/Guarded";
/// See [`GUARDED`].
pub const REACHABLE: &str = "agent-waypoint.dev/Reachable";
/// ConfigMap beside a Service: who is cut off by its guard. The Service's name follows.
pub const CUT_OFF_PREFIX: &str = "agent-waypoint-cut-off-";

/// Who runs as a waypoint, for the admission policies: one ConfigMap for each namespace with a waypoint of ours.
pub(super) fn waypoints(mesh: &Mesh) -> Wants {
    let mut namespaces: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for (gateway, waypoint) in mesh.waypoints.iter().filter(|(_, waypoint)| waypoint.ours) {
        let accounts = namespaces.entry(&gateway.namespace).or_default();
        // The account of its own name before there is a pod to ask: so that nobody else is quicker.
        accounts.insert(&gateway.name, &gateway.name);
        accounts.extend(waypoint.accounts.iter().map(|account| (&**account, &*gateway.name)));
    }
    let one = |(namespace, accounts): (&str, BTreeMap<&str, &str>)| {
        let body = json!({"metadata": {"labels": {MANAGED_BY: MANAGER}}, "data": accounts});
        (written(Wanted::object::<ConfigMap>(Some(namespace), WAYPOINTS, body)), None)
    };
    namespaces.into_iter().map(one).collect()
}

/// Who is cut off, to be read beside each Service before its guard is written.
pub(super) fn cut_off(plan: &Plan, view: &View) -> Wants {
    let one = |subject: &Subject| {
        let Name { namespace, name } = &subject.service;
        let service = view.services.get(namespace, name)?;
        // It goes with its Service.
        let owner = json!([{"apiVersion": "v1", "kind": "Service", "name": name, "uid": service.metadata.uid}]);
        let body = json!({
            "metadata": {"labels": {MANAGED_BY: MANAGER}, "ownerReferences": owner},
            "data": {"cut-off": told(subject), "guard": guard(plan, subject)},
        });
        let wanted = written(Wanted::object::<ConfigMap>(Some(namespace), &format!("{CUT_OFF_PREFIX}{name}"), body));
        // ConfigMaps of others' namespaces are not watched: what was applied counts as there.
        let live = Some(wanted.body.clone());
        Some((wanted, live))
    };
    plan.subjects.iter().filter(|subject| !matches!(subject.stage, Stage::Impossible(_))).filter_map(one).collect()
}

fn written(wanted: Wanted) -> Wanted {
    Wanted { manager: MANAGER, ..wanted }
}

/// The list in words.
fn told(subject: &Subject) -> String {
    let mut text = String::new();
    for one in &subject.cut_off {
        let _infallible = writeln!(text, "{one}: {}", one.remedy());
    }
    text.push_str(
        "clients outside the mesh, and whoever dials pod addresses: take them into ambient, and call the Service\n",
    );
    text
}

/// The guard as it is or would be.
fn guard(plan: &Plan, subject: &Subject) -> String {
    let mut all = plan.apply.iter().chain(&plan.withheld);
    let policy = all.find(|policy| Some(&policy.name) == subject.guard.as_ref());
    policy.map(|policy| serde_json::to_string_pretty(&policy.object()).unwrap_or_default()).unwrap_or_default()
}

/// Conditions of every Service, and their summary on each Gateway of ours.
pub(super) fn statuses(plan: &Plan, mesh: &Mesh, view: &View, now: &str) -> Wants {
    let services = plan.subjects.iter().filter_map(|subject| service(subject, view, now));
    let ours = mesh.waypoints.iter().filter(|(_, waypoint)| waypoint.ours).map(|(name, _)| name);
    services.chain(ours.filter_map(|name| gateway(name, plan, view, now))).collect()
}

fn service(subject: &Subject, view: &View, now: &str) -> Option<(Wanted, Option<Value>)> {
    let Name { namespace, name } = &subject.service;
    let live = serde_json::to_value(&**view.services.get(namespace, name)?).ok()?;
    let before = condition::live(live.get("status"));
    let generation = live.pointer("/metadata/generation").and_then(Value::as_i64);
    let said = [said(GUARDED, &subject.guarded), said(REACHABLE, &subject.reachable)];
    let conditions: Vec<Value> = said.iter().map(|one| one.json(before, generation, now)).collect();
    let wanted = Wanted::status::<Service>(Some(namespace), name, &json!({"conditions": conditions}));
    Some((written(wanted), Some(live)))
}

fn said(kind: &'static str, condition: &Condition) -> Said {
    let holds = match condition.status {
        Status::True => Holds::True,
        Status::False => Holds::False,
        Status::Unknown => Holds::Unknown,
    };
    Said::new(kind, holds, condition.reason, condition.message.clone())
}

fn gateway(name: &Name, plan: &Plan, view: &View, now: &str) -> Option<(Wanted, Option<Value>)> {
    let live = view.gateways.get(&name.namespace, &name.name)?;
    let generation = live.metadata.generation;
    let live = serde_json::to_value(&**live).ok()?;
    let before = condition::live(live.get("status"));
    let own: Vec<&Subject> = plan.subjects.iter().filter(|subject| subject.waypoints.contains(name)).collect();
    let guarded = match plan.addressed.get(name) {
        Some(pods) => addressed(pods, &own),
        None => summary(GUARDED, &own, |subject| &subject.guarded),
    };
    let reachable = summary(REACHABLE, &own, |subject| &subject.reachable);
    let conditions: Vec<Value> = [guarded, reachable].iter().map(|one| one.json(before, generation, now)).collect();
    let wanted = Wanted::status::<Gateway>(Some(&name.namespace), &name.name, &json!({"conditions": conditions}));
    Some((written(wanted), Some(live)))
}

/// Pods that are fronted by their own addresses and have no guard, and the summary.
fn addressed(pods: &[Name], subjects: &[&Subject]) -> Said {
    let named = pods.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let summary = summary(GUARDED, subjects, |subject| &subject.guarded);
    let message = format!(
        "{} pods whose own addresses it is in front of have no guard ({named}): {}. Services: {}",
        pods.len(),
        Reason::Addressed.remedy(),
        summary.message
    );
    Said::new(GUARDED, Holds::False, Reason::Addressed.condition(), message)
}

/// Services beyond these are only counted.
const NAMED: usize = 10;

fn summary(kind: &'static str, subjects: &[&Subject], of: fn(&Subject) -> &Condition) -> Said {
    let listed = |status: Status| {
        let such: Vec<&&Subject> = subjects.iter().filter(|subject| of(subject).status == status).collect();
        let names = such.iter().take(NAMED).map(|one| format!("{} ({})", one.service, of(one).reason));
        let names = names.collect::<Vec<_>>().join(", ");
        match such.len().saturating_sub(NAMED) {
            0 => names,
            more => format!("{names} and {more} more"),
        }
    };
    match (listed(Status::False), listed(Status::Unknown)) {
        (not, _) if !not.is_empty() => Said::new(kind, Holds::False, "Some", format!("not so for {not}")),
        (_, unknown) if !unknown.is_empty() => {
            Said::new(kind, Holds::Unknown, "NotKnown", format!("not known for {unknown}"))
        }
        _ => Said::new(kind, Holds::True, "All", format!("all {} Services that use it", subjects.len())),
    }
}
