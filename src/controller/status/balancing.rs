//! What becomes of DestinationRules that speak of what waypoints of ours are in front of: what of them has an effect.

use kube::core::DynamicObject;
use serde_json::Value;

use super::Known;
use super::enforced::{Pods, closed};
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
pub(super) fn plan(view: &View, (scopes, pods): (&Scopes, &Pods), known: &Known<'_>) -> Vec<Entries> {
    let mut entries = Vec::new();
    for rule in view.documents(KIND).iter() {
        let (namespace, name) = key(&**rule);
        // Sidecars of certain labels are no waypoints.
        let sidecars = rule.data.pointer("/spec/workloadSelector").is_some_and(|selector| !selector.is_null());
        let gateways = scopes.documents.get(&(KIND, namespace.to_owned(), name.to_owned())).filter(|_| !sidecars);
        let said = gateways.map(|gateways| honoured(rule, || closed((KIND, rule), (gateways, pods), known), known));
        entries.extend(one_condition(KIND, rule, said, known.now));
    }
    entries
}

/// `closed`: what waypoints say of it that found, of what it speaks of, what no rule alone shows.
fn honoured(rule: &DynamicObject, closed: impl FnOnce() -> Option<String>, known: &Known<'_>) -> Condition {
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
    if let Some(message) = closed() {
        return Condition::new(HONOURED, false, "TargetClosed", message);
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
    use super::super::super::feed::{Catalog, Cataloguer};
    use super::super::super::fixture::{TOOLS, view};
    use super::super::{Checks, Confirmed};
    use super::*;
    use crate::control::feed::Report;

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
        let entries = plan(&view, (&Scopes::of(&view), &Pods::of(&view)), &known);
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

    /// `ISTIO_MUTUAL` is what HBONE is; that an endpoint is not reached so only its waypoint knows.
    #[test]
    fn a_host_that_waypoints_closed_is_not_said_to_be_as_the_rule_wants() {
        let pod = "kind: Pod
apiVersion: v1
metadata: {name: wp-1, namespace: tools, labels: {gateway.networking.k8s.io/gateway-name: wp}}
spec: {serviceAccountName: wp, containers: []}
status: {conditions: [{type: Ready, status: 'True'}]}
";
        let rule = "{host: web, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}";
        let mesh = MESH.replace("SPEC", rule).replace("NAMESPACE", "tools");
        let view = view(&format!("{TOOLS}{mesh}---\n{pod}"));
        let (mut checked, mut confirmed) = (Checks::default(), Confirmed::default());
        checked.update(&view);
        let catalog = Cataloguer::default().catalog(&view);
        confirmed.put("tools", "wp-1", Ok(catalog.documents("tools", "wp").unwrap()));
        let said = |confirmed: &Confirmed| {
            let known = Known { checked: &checked, confirmed, catalog: &catalog, now: "now" };
            let entries = plan(&view, (&Scopes::of(&view), &Pods::of(&view)), &known);
            let ours = &entries[0].ours[0];
            ["status", "reason", "message"].map(|field| ours[field].as_str().unwrap().to_owned())
        };
        let [status, reason, _] = said(&confirmed);
        assert_eq!((status.as_str(), reason.as_str()), ("True", "Honoured"));
        let why = "spec.trafficPolicy.tls.mode: tools/web:80 has endpoints that are not in the mesh";
        let report = Report::new([("networking.istio.io/DestinationRule/tools/it", why)]);
        confirmed.put_report("tools", "wp-1", Some(report));
        let [status, reason, message] = said(&confirmed);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "TargetClosed"));
        assert!(message.contains(why) && message.contains("tools/wp-1"), "{message}");
    }

    #[test]
    fn nothing_is_said_of_rules_of_others() {
        assert_eq!(said("others", "{host: web}"), None);
        assert_eq!(said("tools", "{host: no-such}"), None);
        assert_eq!(said("tools", "{host: web, workloadSelector: {matchLabels: {app: a}}}"), None);
    }
}
