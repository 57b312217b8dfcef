//! What becomes of ServiceEntries that waypoints of ours are in front of: what of them gets no calls, whose it is, and the
//! remedy. The waypoints hold such endpoints back by themselves, from what istiod tells; this is said by the objects alone.

use std::collections::HashMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::core::DynamicObject;
use serde_json::Value;

use super::istio::one_condition;
use super::reader::{NAMED, first};
use crate::controller::cluster::{DocumentKind, View, key};
use crate::controller::condition::Condition;
use crate::controller::scope::{Fronting, Object};
use crate::controller::shared::Entries;
use crate::mesh::{forbidden, is_prefix, readings};

/// Our condition on a ServiceEntry.
pub const SERVED: &str = "agent-waypoint.dev/Served";

/// Our entries on every ServiceEntry that a waypoint of ours is in front of, or was.
pub(super) fn plan(view: &View, fronting: &Fronting, now: &str) -> Vec<Entries> {
    let mut holders = None;
    let mut entries = Vec::new();
    for object in view.documents(DocumentKind::ServiceEntry).iter() {
        let (namespace, name) = key(&**object);
        let is = !fronting.of_object(Object::ServiceEntry, namespace, name).is_empty();
        let said = is.then(|| served(object, holders.get_or_insert_with(|| Holders::of(view))));
        entries.extend(one_condition(DocumentKind::ServiceEntry, object, said, now));
    }
    entries
}

/// Who has which address by right.
struct Holders<'v> {
    pods: HashMap<IpAddr, (&'v str, &'v str)>,
    services: HashMap<IpAddr, (&'v str, &'v str)>,
}

impl<'v> Holders<'v> {
    fn of(view: &'v View) -> Self {
        let pods = view.pods.iter().flat_map(|pod| pod_ips(pod).map(|ip| (ip, key(&**pod))));
        let services = view.services.iter().flat_map(|service| vips(service).map(|ip| (ip, key(&**service))));
        Self { pods: pods.collect(), services: services.collect() }
    }

    /// Why nobody is called at an address that a ServiceEntry of `namespace` names.
    fn refusal(&self, ip: IpAddr, namespace: &str) -> Option<String> {
        if forbidden(ip) {
            return Some(format!("{ip} is the waypoint's own host, its link, a metadata service or multicast"));
        }
        if let Some((of, name)) = readings(ip).find_map(|ip| self.services.get(&ip)) {
            return Some(format!("{ip} is Service {of}/{name}'s: call that by its name"));
        }
        let (of, name) = readings(ip).filter_map(|ip| self.pods.get(&ip)).find(|(of, _)| *of != namespace)?;
        Some(format!("{ip} is that of pod {of}/{name}: call a Service of that namespace"))
    }
}

fn pod_ips(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let ended = |phase: &str| matches!(phase, "Succeeded" | "Failed");
    let status = pod.status.as_ref().filter(|status| !status.phase.as_deref().is_some_and(ended));
    let all =
        status.into_iter().flat_map(|status| status.pod_ips.iter().flatten().map(|one| &one.ip).chain(&status.pod_ip));
    all.filter_map(|ip| ip.parse().ok())
}

fn vips(service: &Service) -> impl Iterator<Item = IpAddr> {
    let all = service.spec.iter().flat_map(|spec| spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip));
    all.filter_map(|ip| ip.parse().ok())
}

fn served(object: &DynamicObject, holders: &Holders<'_>) -> Condition {
    let list = |field: &str| object.data.pointer(field).and_then(Value::as_array).into_iter().flatten();
    let texts = |field: &str| list(field).filter_map(Value::as_str);
    let mut not_supported: Vec<String> = texts("/spec/hosts")
        .filter(|host| host.contains('*'))
        .map(|host| format!("spec.hosts {host}: wildcard hosts are not served: name each host"))
        .collect();
    not_supported.extend(
        texts("/spec/addresses")
            .filter(|text| is_prefix(text))
            .map(|text| format!("spec.addresses {text}: prefixes are not served: name each address, or none")),
    );
    let addresses = list("/spec/endpoints").filter_map(|one| one.get("address").and_then(Value::as_str)?.parse().ok());
    let (namespace, _) = key(object);
    let refused: Vec<String> =
        addresses.filter_map(|ip| holders.refusal(ip, namespace)).map(|why| format!("endpoint {why}")).collect();
    let reason = match (refused.as_slice(), not_supported.as_slice()) {
        ([], []) => return Condition::new(SERVED, true, "Served", "everything that it names is served"),
        ([_, ..], _) => "AddressOfOthers",
        ([], _) => "NotSupported",
    };
    let all: Vec<String> = refused.into_iter().chain(not_supported).collect();
    let more = all.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    Condition::new(SERVED, false, reason, format!("gets no calls: {}{more}", first(&all, NAMED)))
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{TOOLS, view};
    use super::*;
    use crate::controller::scope::Scopes;
    use crate::controller::shared::List;

    const MESH: &str = "kind: Pod
apiVersion: v1
metadata: {name: victim, namespace: others}
status: {podIP: 10.1.0.7, podIPs: [{ip: 10.1.0.7}, {ip: 'fd00::7'}]}
---
kind: Pod
apiVersion: v1
metadata: {name: own, namespace: tools}
status: {podIP: 10.1.0.8}
---
kind: Service
apiVersion: v1
metadata: {name: db, namespace: others}
spec: {clusterIP: 10.96.0.9}
---
kind: ServiceEntry
apiVersion: networking.istio.io/v1
metadata: {name: it, namespace: tools}
spec: SPEC
";

    fn told(spec: &str) -> (String, String) {
        let view = view(&format!("{TOOLS}{}", MESH.replace("SPEC", spec)));
        let entries = plan(&view, &Scopes::of(&view).fronting, "now");
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].list, List::Conditions);
        let text = |field: &str| entries[0].ours[0][field].as_str().unwrap().to_owned();
        assert_eq!(text("type"), SERVED);
        (format!("{} {}", text("status"), text("reason")), text("message"))
    }

    #[test]
    fn what_of_a_service_entry_gets_no_calls_is_said_with_the_remedy() {
        let rows = [
            ("{hosts: [api.example.com], resolution: DNS}", "True Served", "everything"),
            ("{hosts: ['*.example.com']}", "False NotSupported", "name each host"),
            ("{hosts: [x.example.com], addresses: [10.97.0.0/16]}", "False NotSupported", "name each address"),
            ("{hosts: [x.example.com], addresses: [10.97.0.1/32, 'fd00::1/128']}", "True Served", ""),
            ("{hosts: [x.example.com], addresses: ['fd00::/32']}", "False NotSupported", "fd00::/32"),
            (
                "{hosts: [x.example.com], endpoints: [{address: 10.1.0.7}]}",
                "False AddressOfOthers",
                "pod others/victim",
            ),
            (
                "{hosts: [x.example.com], endpoints: [{address: 'fd00::7'}]}",
                "False AddressOfOthers",
                "pod others/victim",
            ),
            (
                "{hosts: [x.example.com], endpoints: [{address: 10.96.0.9}]}",
                "False AddressOfOthers",
                "Service others/db",
            ),
            // Another form of an address is the address, as the waypoint has it.
            (
                "{hosts: [x.example.com], endpoints: [{address: '::ffff:10.1.0.7'}]}",
                "False AddressOfOthers",
                "pod others/victim",
            ),
            (
                "{hosts: [x.example.com], endpoints: [{address: '64:ff9b::a60:9'}]}",
                "False AddressOfOthers",
                "Service others/db",
            ),
            ("{hosts: [x.example.com], endpoints: [{address: 169.254.169.254}]}", "False AddressOfOthers", "metadata"),
            ("{hosts: [x.example.com], endpoints: [{address: 10.1.0.8}]}", "True Served", ""),
            ("{hosts: ['*.x.com'], endpoints: [{address: 10.1.0.7}]}", "False AddressOfOthers", "name each host"),
        ];
        for (spec, expected, word) in rows {
            let (said, message) = told(spec);
            assert!(said == expected && message.contains(word), "{spec}: {said}: {message}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_no_waypoint_of_ours_is_in_front_of() {
        let view = view(&MESH.replace("SPEC", "{hosts: ['*.x.com']}").replace("{istio.io/use-waypoint: wp}", "{}"));
        assert!(plan(&view, &Scopes::of(&view).fronting, "now").is_empty());
    }
}
