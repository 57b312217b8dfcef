//! What becomes of Istio's own policies: a condition of ours on those that waypoints of ours enforce. istiod says on the
//! same object that it accepted it, whoever enforces it.

use kube::core::DynamicObject;
use serde_json::Value;

use super::Known;
use super::enforced::{Of, Pods, enforced};
use crate::controller::cluster::{DocumentKind, View, key};
use crate::controller::condition::{self, Condition, Holds};
use crate::controller::scope::Scopes;
use crate::controller::shared::{Entries, List};

/// Our condition.
pub const ENFORCED: &str = "agent-waypoint.dev/Enforced";
/// The kinds.
pub const KINDS: [DocumentKind; 2] = [DocumentKind::AuthorizationPolicy, DocumentKind::RequestAuthentication];

/// Our entries on every policy that is for a waypoint of ours, or was.
pub(super) fn plan(view: &View, (scopes, pods): (&Scopes, &Pods), known: &Known<'_>) -> Vec<Entries> {
    let mut entries = Vec::new();
    for kind in KINDS {
        for policy in view.documents(kind).iter() {
            let of = (kind, key(&**policy).0.to_owned(), key(&**policy).1.to_owned());
            let is =
                has_targets(policy) && (scopes.documents.contains_key(&of) || List::Conditions.has_ours(&policy.data));
            let said = is.then(|| one(kind, policy, (view, scopes, pods), known));
            entries.extend(one_condition(kind, policy, said, known.now));
        }
    }
    entries
}

/// By selector they are ztunnel's, and none of our concern.
pub(super) fn has_targets(policy: &DynamicObject) -> bool {
    ["/spec/targetRefs/0", "/spec/targetRef"].iter().any(|path| policy.data.pointer(path).is_some())
}

fn one(kind: DocumentKind, policy: &DynamicObject, there: (&View, &Scopes, &Pods), known: &Known<'_>) -> Condition {
    let checked = known.checked.of(kind, policy);
    let said = enforced(Of { kind, condition: ENFORCED }, policy, there, (&checked, known));
    match (checked.errors.as_slice(), checked.warnings.as_slice()) {
        ([], []) => said,
        ([], unknown) if said.holds == Holds::True => {
            Condition::new(ENFORCED, false, "ProviderUnknown", unknown.join("; "))
        }
        ([], _) => said,
        (errors, _) => {
            let message = format!("{}; what it selects is closed until it is mended", errors.join("; "));
            Condition::new(ENFORCED, false, "NotAccepted", message)
        }
    }
}

/// The entries of an object of whose conditions one may be ours.
pub(super) fn one_condition(
    kind: DocumentKind,
    object: &DynamicObject,
    said: Option<Condition>,
    now: &str,
) -> Option<Entries> {
    let before = condition::live(object.data.get("status"));
    let ours = said.map(|said| said.json(before, object.metadata.generation, now));
    entry(kind, object, ours.into_iter().collect())
}

/// The entries of an object that lives; none where there is nothing to be said, and was not.
pub(super) fn entry(kind: DocumentKind, object: &DynamicObject, ours: Vec<Value>) -> Option<Entries> {
    let list = match kind {
        DocumentKind::HttpRoute | DocumentKind::GrpcRoute | DocumentKind::TcpRoute | DocumentKind::TlsRoute => {
            List::Parents
        }
        DocumentKind::BackendTlsPolicy => List::Ancestors,
        DocumentKind::AgentPolicy
        | DocumentKind::AuthorizationPolicy
        | DocumentKind::RequestAuthentication
        | DocumentKind::ReferenceGrant
        | DocumentKind::ServiceEntry
        | DocumentKind::DestinationRule => List::Conditions,
    };
    if ours.is_empty() && !list.has_ours(&object.data) {
        return None;
    }
    // An experimental kind may be served in an older version only.
    let served = object.types.as_ref().map(|types| types.api_version.as_str());
    let resource = kind.resources().find(|one| Some(one.api_version.as_str()) == served);
    Some(Entries {
        resource: resource.unwrap_or_else(|| kind.resource()),
        live: serde_json::to_value(object).ok()?,
        list,
        ours,
    })
}
