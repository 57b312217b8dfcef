//! What becomes of DestinationRules that speak of what waypoints of ours are in front of: what of them has an effect.

use kube::core::DynamicObject;
use serde_json::Value;

use super::Known;
use super::istio::one_condition;
use super::reader::{NAMED, first};
use crate::controller::cluster::{DocumentKind, View, key};
use crate::controller::condition::Condition;
use crate::controller::scope::Scopes;
use crate::controller::shared::Entries;

/// Our condition on a DestinationRule.
pub const HONOURED: &str = "agent-waypoint.dev/Honoured";
const KIND: DocumentKind = DocumentKind::DestinationRule;

/// Our entries on every rule that waypoints of ours are sent, or were.
pub(super) fn plan(view: &View, scopes: &Scopes, known: &Known<'_>) -> Vec<Entries> {
    let mut entries = Vec::new();
    for rule in view.documents(KIND).iter() {
        let (namespace, name) = key(&**rule);
        // Sidecars of certain labels are no waypoints.
        let sidecars = rule.data.pointer("/spec/workloadSelector").is_some_and(|selector| !selector.is_null());
        let is = !sidecars && scopes.documents.contains_key(&(KIND, namespace.to_owned(), name.to_owned()));
        entries.extend(one_condition(KIND, rule, is.then(|| honoured(rule, known)), known.now));
    }
    entries
}

fn honoured(rule: &DynamicObject, known: &Known<'_>) -> Condition {
    let checked = known.checked.of(KIND, rule);
    if !checked.errors.is_empty() {
        let wrong = first(&checked.errors, NAMED);
        let message = if checked.closes {
            format!("{wrong}; it may have meant TLS, so that its host is closed until it is mended")
        } else {
            format!("it has no effect at all: {wrong}")
        };
        return Condition::new(HONOURED, false, "Invalid", message);
    }
    if wants_tls(rule) {
        let message = "tls: SIMPLE and MUTUAL are not originated here, and nothing is called in plaintext in their place: its \
                       host is closed. For an external ServiceEntry write a BackendTLSPolicy; what is in the mesh is reached by HBONE";
        return Condition::new(HONOURED, false, "TlsNotOriginated", message);
    }
    if !checked.warnings.is_empty() {
        return Condition::new(HONOURED, false, "NotSupported", first(&checked.warnings, NAMED));
    }
    let message = "all of it has an effect on calls of its host, unless another rule goes before it there: of a nearer namespace, \
                   of a more specific host, or an older one";
    Condition::new(HONOURED, true, "Honoured", message)
}

/// Whether it asks for TLS of its own, on any port.
fn wants_tls(rule: &DynamicObject) -> bool {
    let policy = rule.data.pointer("/spec/trafficPolicy");
    let ports = policy.and_then(|policy| policy.get("portLevelSettings")).and_then(Value::as_array);
    let all = policy.into_iter().chain(ports.into_iter().flatten());
    let mut modes = all.filter_map(|one| one.pointer("/tls/mode")?.as_str());
    modes.any(|mode| matches!(mode, "SIMPLE" | "MUTUAL"))
}

#[cfg(test)]
mod tests {
    use super::super::super::feed::Catalog;
    use super::super::super::fixture::{TOOLS, view};
    use super::super::{Checks, Confirmed};
    use super::*;

    const MESH: &str = "kind: Service
apiVersion: v1
metadata: {name: web, namespace: tools}
spec: {clusterIP: 10.96.0.9}
---
kind: DestinationRule
apiVersion: networking.istio.io/v1
metadata: {name: it, namespace: NAMESPACE, uid: u, generation: 1}
spec: SPEC
";

    fn said(namespace: &str, spec: &str) -> Option<(String, String)> {
        let mesh = MESH.replace("SPEC", spec).replace("NAMESPACE", namespace);
        let view = view(&format!("{TOOLS}{mesh}"));
        let (mut checked, confirmed, catalog) = (Checks::default(), Confirmed::default(), Catalog::default());
        checked.update(&view);
        let known = Known { checked: &checked, confirmed: &confirmed, catalog: &catalog, now: "now" };
        let entries = plan(&view, &Scopes::of(&view), &known);
        let ours = entries.first()?.ours.first()?;
        assert_eq!(ours["type"], HONOURED);
        let text = |field: &str| ours[field].as_str().unwrap().to_owned();
        Some((format!("{} {}", text("status"), text("reason")), text("message")))
    }

    #[test]
    fn what_of_a_rule_has_no_effect_is_said_on_it() {
        for (spec, expected, word) in [
            ("{host: web, trafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}}}", "True Honoured", ""),
            ("{host: web.tools.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}", "True Honoured", ""),
            ("{host: web, subsets: [{name: v1, labels: {version: v1}}]}", "False NotSupported", "spec.subsets"),
            ("{host: web, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}}", "False NotSupported", "PASSTHROUGH"),
            ("{host: web, trafficPolicy: {tls: {mode: SIMPLE}}}", "False TlsNotOriginated", "BackendTLSPolicy"),
            (
                "{host: web, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: MUTUAL}}]}}",
                "False TlsNotOriginated",
                "closed",
            ),
            ("{host: web, trafficPolicy: {outlierDetection: {interval: soon}}}", "False Invalid", "no effect at all"),
            ("{host: web, trafficPolicy: {outlierDetection: {interval: soon}}}", "False Invalid", "write 10s"),
            ("{host: web, trafficPolicy: {tls: {mode: SIMPLY}}}", "False Invalid", "host is closed"),
        ] {
            let (reason, message) = said("tools", spec).unwrap();
            assert!(reason == expected && message.contains(word), "{spec}: {reason}: {message}");
        }
        assert_eq!(said("istio-system", "{host: '*'}").map(|(reason, _)| reason).as_deref(), Some("True Honoured"));
    }

    #[test]
    fn nothing_is_said_of_rules_of_others() {
        assert_eq!(said("others", "{host: web}"), None);
        assert_eq!(said("tools", "{host: no-such}"), None);
        assert_eq!(said("tools", "{host: web, workloadSelector: {matchLabels: {app: a}}}"), None);
    }
}
