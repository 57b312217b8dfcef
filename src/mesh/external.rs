//! TLS that the waypoint originates: to ports that a BackendTLSPolicy names. What is in the mesh is reached by HBONE with
//! that TLS inside, so that the identity at its end is proven as ever.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::endpoint::{AltName, Endpoint, Tls};
use super::found::Found;
use super::fronted::{Fronted, Port, age};
use super::policies::Policies;
use super::protocol::Spoken;
use super::ruled;
use crate::document::backend_tls_policy::SubjectAltName;
use crate::document::{FieldProblem, Severity};

/// Begins what is told of a BackendTLSPolicy that an older one goes before.
pub const CONFLICTED: &str = "conflicted: ";

/// Puts TLS on the endpoints of a port that a BackendTLSPolicy names; the reasons to close it where that cannot be, as
/// its author wants no plaintext. One that names the port goes before one that names the whole, then the older before the
/// younger (Gateway API, BackendTLSPolicySpec), which is told.
pub(super) fn originate<'a>(
    policies: &Policies<'a>,
    fronted: &Fronted<'a>,
    port: &mut Port<'a>,
    found: &mut Found<'a>,
) -> BTreeSet<String> {
    let (owned, attached) = (fronted.owned(), &policies.tls);
    let items = attached.at.directly(owned, port.port);
    let of_port = |item: usize| attached.at.is_of_port(owned, port.port, item);
    let mut named: Vec<_> =
        items.iter().filter_map(|item| Some((!of_port(*item), attached.items.get(*item)?))).collect();
    named.sort_by_key(|(whole, (policy, _))| (*whole, age(&policy.meta)));
    let mut reasons = BTreeSet::new();
    let Some(((whole, (policy, roots)), others)) = named.split_first() else { return reasons };
    let target = ruled::target(fronted, port);
    for (_, (other, _)) in others.iter().filter(|(other, _)| other == whole) {
        let by = policy.origin.title();
        found.warn(
            &other.origin,
            "spec.targetRefs",
            format!("{CONFLICTED}the older {by} names {target} too and holds"),
        );
    }
    if port.spoken == Spoken::Tcp {
        let reason = format!("{target} is not of protocol HTTP: its clients bring their own TLS; it is closed");
        let problem = FieldProblem { severity: Severity::Error, field: "spec.targetRefs".to_owned(), reason };
        reasons.insert(found.close(&policy.origin, problem));
    }
    let validation = &policy.spec.validation;
    let alt_names: Arc<[AltName]> = validation.subject_alt_names.iter().map(alt_name).collect();
    let tls = Arc::new(Tls { server_name: validation.hostname.as_str().into(), alt_names, roots: roots.clone() });
    for endpoint in &mut port.endpoints {
        let via = endpoint.via.with_tls(Arc::clone(&tls));
        *endpoint = Arc::new(Endpoint { via, ..Endpoint::clone(endpoint) });
    }
    reasons
}

fn alt_name(written: &SubjectAltName) -> AltName {
    match written {
        SubjectAltName::Hostname { hostname } => AltName::Dns(hostname.as_str().into()),
        SubjectAltName::Uri { uri } => AltName::Uri(uri.as_str().into()),
    }
}
