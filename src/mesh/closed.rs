//! Which closures hold for a port.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::attached::{Attached, PortName};
use super::endpoint::At;
use super::fronted::{Fronted, Port};
use super::terms::Terms;
use super::{Settings, TargetKind};
use crate::document::{ClosedRef, Closes, Closure};

/// Closures by what they close.
#[derive(Debug)]
pub(super) struct Closed<'c> {
    all: &'c [Closure],
    attached: Attached<'c>,
    by_workload: Vec<usize>,
}

impl<'c> Closed<'c> {
    /// A Gateway or class that is not this one's closes nothing: one tenant's document is not to close the others', as it
    /// would not rule them were it right.
    pub(super) fn of(all: &'c [Closure], settings: &Settings, terms: &Terms) -> Self {
        let ours = |one: &ClosedRef| {
            let is = |(namespace, name): &(String, String)| *namespace == one.namespace && *name == one.name;
            settings.gateway.as_ref().is_none_or(is)
        };
        let mut attached = Attached::default();
        let mut by_workload = Vec::new();
        for (item, closure) in all.iter().enumerate() {
            match &closure.closes {
                Closes::Nothing => {}
                Closes::Everything => attached.add_to_all(item),
                Closes::Namespace(namespace) => attached.add_to_namespace(namespace, item),
                Closes::Workload { .. } => by_workload.push(item),
                Closes::Refs(refs) => {
                    for one in refs {
                        let kind = match one.kind {
                            "Gateway" if !ours(one) => continue,
                            "GatewayClass" if terms.class(&one.namespace, &one.name).is_err() => continue,
                            "Gateway" | "GatewayClass" => {
                                attached.add_to_all(item);
                                continue;
                            }
                            "Service" => TargetKind::Service,
                            _ => TargetKind::ServiceEntry,
                        };
                        let owner = (kind, one.namespace.as_str(), one.name.as_str());
                        attached.add_to_owner(owner, one.section.as_deref(), item);
                    }
                }
            }
        }
        Self { all, attached, by_workload }
    }

    /// Why `port`, one of `ports`, is closed; empty if it is not.
    pub(super) fn reasons(&self, fronted: &Fronted<'_>, port: &Port<'_>, ports: &[PortName<'_>]) -> BTreeSet<String> {
        let mut items = self.attached.of(fronted.owned(), port.port);
        // A port that there is not is meant to be one of those that there are.
        items.extend(self.attached.of_absent(fronted.owned(), ports));
        items.extend(self.by_workload.iter().filter(|item| self.is_behind(**item, fronted, port)));
        items.iter().filter_map(|item| self.all.get(*item)).map(|closure| closure.reason.clone()).collect()
    }

    /// Whether the workload of that closure is, or would be, behind `port`.
    fn is_behind(&self, item: usize, fronted: &Fronted<'_>, port: &Port<'_>) -> bool {
        let Some(Closure { closes: Closes::Workload { namespace, labels, address }, .. }) = self.all.get(item) else {
            return false;
        };
        let holds = |selector: &std::collections::BTreeMap<String, String>| {
            !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        let ip: Option<IpAddr> = address.parse().ok();
        let at = |at: &At| matches!(at, At::Addr(addr) if Some(addr.ip()) == ip);
        (fronted.namespace == namespace && fronted.selector.is_some_and(holds))
            || port.endpoints.iter().any(|endpoint| at(&endpoint.at))
    }
}
