//! Whom istiod names for a Service: callers' ztunnels go by that, whatever the labels say by now. Read from the condition that
//! istiod writes on the object; where it writes none, nothing is known and nothing is said.

use kube::core::DynamicObject;
use serde_json::Value;

use super::enforced::{object, targets};
use crate::controller::cluster::{DocumentKind, View, key};
use crate::controller::condition;
use crate::controller::scope::{Fronting, Object, WAYPOINT_BOUND};

/// Why calls to a target of a policy do not come to the waypoints that its labels name: reason and message of a condition.
pub(super) fn elsewhere(view: &View, policy: &DynamicObject, fronting: &Fronting) -> Option<(&'static str, String)> {
    let (namespace, _) = key(policy);
    targets(policy).find_map(|target| {
        let (kind, name) = object(target)?;
        let ours = fronting.of_object(kind, namespace, name);
        if ours.is_empty() {
            return None;
        }
        let (bound, message) = said(view, kind, (namespace, name))?;
        let of = format!("{kind:?} {namespace}/{name}");
        if !bound {
            let why = format!(
                "istiod sends calls to {of} through no waypoint, and so past this policy: {}",
                message.trim_end_matches('.')
            );
            return Some(("NotAnnounced", why));
        }
        let (there, named) = waypoint(&message)?;
        if ours.iter().any(|(of, name)| (of.as_str(), name.as_str()) == (there, named)) {
            return None;
        }
        let labelled: Vec<String> = ours.iter().map(|(of, name)| format!("{of}/{name}")).collect();
        let why = format!(
            "istiod sends calls to {of} through Gateway {there}/{named}, and so past this policy, which {} would enforce: does label istio.io/use-waypoint name that one, and does istiod know the label by which ours is named?",
            labelled.join(", ")
        );
        Some(("AnotherWaypoint", why))
    })
}

/// Whether istiod has bound an object to a waypoint, and its words.
fn said(view: &View, object: Object, (namespace, name): (&str, &str)) -> Option<(bool, String)> {
    let (status, message) = match object {
        Object::Service => {
            let service = view.services.get(namespace, name)?;
            let all = service.status.as_ref()?.conditions.as_ref()?;
            let one = all.iter().find(|one| one.type_ == WAYPOINT_BOUND)?;
            (one.status.clone(), one.message.clone())
        }
        Object::ServiceEntry => {
            let entries = view.documents(DocumentKind::ServiceEntry);
            let entry = entries.get(namespace, name)?;
            let all = condition::live(entry.data.get("status"));
            let text = |one: &Value, field: &str| one.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let one = all.iter().find(|one| text(one, "type") == WAYPOINT_BOUND)?;
            (text(one, "status"), text(one, "message"))
        }
    };
    match status.as_str() {
        "True" => Some((true, message)),
        "False" => Some((false, message)),
        _ => None,
    }
}

/// Namespace and name of the Gateway in `Successfully attached to waypoint NAMESPACE/NAME`, and what may follow.
fn waypoint(message: &str) -> Option<(&str, &str)> {
    let (_, rest) = message.split_once("to waypoint ")?;
    let named = rest.split_whitespace().next()?.trim_end_matches(['.', ',', ';']);
    named.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_that_istiod_names_is_read() {
        for (message, named) in [
            ("Successfully attached to waypoint tools/wp", Some(("tools", "wp"))),
            (
                "Successfully attached to waypoint tools/wp.v2. Ingress traffic will traverse the waypoint",
                Some(("tools", "wp.v2")),
            ),
            (
                "Successfully attached to waypoint tools/wp. Ingress traffic is not using the waypoint, set the istio.io/ingress-use-waypoint label to true if desired.",
                Some(("tools", "wp")),
            ),
            ("Attached to tools/wp", None),
            ("Successfully attached to waypoint", None),
            ("Successfully attached to waypoint istio.io/a/b", None),
            ("", None),
        ] {
            assert_eq!(waypoint(message), named, "{message}");
        }
    }
}
