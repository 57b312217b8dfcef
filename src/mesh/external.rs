//! TLS that the waypoint originates: external ServiceEntry ports that a BackendTLSPolicy names.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::TargetKind;
use super::endpoint::{AltName, Endpoint, Tls, Via};
use super::found::{Found, because};
use super::fronted::{Fronted, Port, age};
use super::policies::Policies;
use super::protocol::Spoken;
use crate::document::backend_tls_policy::SubjectAltName;
use crate::document::{FieldProblem, Origin, Severity};

/// Puts TLS on the endpoints of a port that a BackendTLSPolicy names; the reasons to close it where that cannot be, as
/// its author wants no plaintext.
pub(super) fn originate<'a>(
    policies: &Policies<'a>,
    fronted: &Fronted<'a>,
    port: &mut Port<'a>,
    found: &mut Found<'a>,
) -> BTreeSet<String> {
    let items = policies.tls.at.directly(fronted.owned(), port.port);
    let mut named: Vec<_> = items.iter().filter_map(|item| policies.tls.items.get(*item)).collect();
    named.sort_by(|a, b| age(&a.0.meta).cmp(&age(&b.0.meta)));
    let mut reasons = BTreeSet::new();
    let mut refuse = |origin: &'a Origin, reason: String| {
        let problem = FieldProblem { severity: Severity::Error, field: "spec.targetRefs".to_owned(), reason };
        reasons.insert(because(origin, &problem));
        found.problems.push(origin.problem(problem));
    };
    let Some(((policy, roots), younger)) = named.split_first() else { return reasons };
    let target = format!("ServiceEntry {}/{}:{}", fronted.namespace, fronted.name, port.port.number);
    for (other, _) in younger {
        refuse(
            &other.origin,
            format!("conflicted: the older {} names {target} too; it is closed", policy.origin.title()),
        );
    }
    if fronted.kind != TargetKind::ServiceEntry || !fronted.external {
        refuse(&policy.origin, format!("{target} is in the mesh, where TLS is not originated; it is closed"));
    } else if port.spoken == Spoken::Tcp {
        refuse(
            &policy.origin,
            format!("{target} is not of protocol HTTP: its clients bring their own TLS; it is closed"),
        );
    } else if port.endpoints.iter().any(|endpoint| matches!(endpoint.via, Via::Hbone { .. })) {
        refuse(&policy.origin, format!("an endpoint of {target} is reached by HBONE; it is closed"));
    }
    let validation = &policy.spec.validation;
    let alt_names: Arc<[AltName]> = validation.subject_alt_names.iter().map(alt_name).collect();
    let tls = Arc::new(Tls { server_name: validation.hostname.as_str().into(), alt_names, roots: roots.clone() });
    for endpoint in &mut port.endpoints {
        let via = Via::Tls(Arc::clone(&tls));
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
