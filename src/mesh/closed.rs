//! Which closures hold for a port.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::attached::{Attached, PortName};
use super::destination_rules::fit;
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
    by_host: Vec<usize>,
    /// Whose rules speak of calls to every namespace: the Gateway's own, where it is known, and the mesh's.
    speakers: Vec<String>,
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
        let (mut by_workload, mut by_host) = (Vec::new(), Vec::new());
        let own = settings.gateway.as_ref().map(|(namespace, _)| namespace.clone());
        let speakers = own.into_iter().chain([terms.root().to_owned()]).collect();
        for (item, closure) in all.iter().enumerate() {
            match &closure.closes {
                Closes::Nothing => {}
                Closes::Everything => attached.add_to_all(item),
                Closes::Namespace(namespace) => attached.add_to_namespace(namespace, item),
                Closes::Workload { .. } => by_workload.push(item),
                Closes::Called { .. } => by_host.push(item),
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
        Self { all, attached, by_workload, by_host, speakers }
    }

    /// Why `port`, one of `ports`, is closed; empty if it is not.
    pub(super) fn reasons(&self, fronted: &Fronted<'_>, port: &Port<'_>, ports: &[PortName<'_>]) -> BTreeSet<String> {
        let mut items = self.attached.of(fronted.owned(), port.port);
        // A port that there is not is meant to be one of those that there are.
        items.extend(self.attached.of_absent(fronted.owned(), ports));
        items.extend(self.by_workload.iter().filter(|item| self.is_behind(**item, fronted, port)));
        items.extend(self.by_host.iter().filter(|item| self.is_called(**item, fronted)));
        items.iter().filter_map(|item| self.all.get(*item)).map(|closure| closure.reason.clone()).collect()
    }

    /// Whether the rule of that closure would speak of calls to what is fronted, or may: of another namespace's only where its
    /// own speaks of everybody's, as one tenant's rule would say nothing of another's were it right.
    fn is_called(&self, item: usize, fronted: &Fronted<'_>) -> bool {
        let Some(Closure { closes: Closes::Called { namespace, host }, .. }) = self.all.get(item) else { return false };
        let speaks = fronted.namespace == namespace || self.speakers.contains(namespace);
        if !speaks {
            return false;
        }
        // A slip in the name of something outside must not open it.
        let is_service = !host.contains('.') || host.ends_with(".svc.cluster.local");
        let slip = fronted.namespace == namespace && (!is_service || host.starts_with('*'));
        host.is_empty() || slip || fit((namespace, host), fronted).is_some()
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
