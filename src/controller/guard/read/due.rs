//! Which guard is to stand before a Service's pods, whether it does by now or not: waypoints are told, so that they call no
//! pod before its guard is in force.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;

use super::super::super::cluster::{DocumentKind, View};
use super::super::input::Name;
use super::super::plan::never;
use super::super::policy::GuardPolicy;
use super::{found, gateways, is_off, services};

/// What decides that beside the Service and its guard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    off: bool,
    root_namespace: String,
    ours: BTreeSet<Name>,
}

impl Due {
    /// Reads a view; `own` is the controller's namespace.
    pub fn of(view: &View, own: &str) -> Self {
        Self { off: is_off(view, own), root_namespace: view.root_namespace(), ours: gateways::ours(view) }
    }

    /// Name of the guard, which is in the Service's namespace; none where there is to be none, as the plan has it.
    pub fn guard(&self, view: &View, service: &Service) -> Option<String> {
        let service = services::service(view, service)?;
        let Name { namespace, name } = GuardPolicy::name_for(&service.name.namespace, &service.selector);
        let policies = view.documents(DocumentKind::AuthorizationPolicy);
        let found = policies.get(&namespace, &name).and_then(|policy| found(policy));
        let is_ours = service.waypoints.iter().any(|waypoint| self.ours.contains(waypoint));
        let never = never(&service, found.as_ref(), &self.root_namespace, self.off);
        (is_ours && never.is_none()).then(|| name.to_string())
    }
}
