//! Whether `targetRefs` can be meant as they stand, of documents that have no rules (`policy` checks those that do).
//! Whether they name anything is `mesh`'s business.

use super::agent_policy::{TargetKind, TargetRef};
use super::{FieldProblem, Severity};

const ISTIO: &str = "networking.istio.io";
const GATEWAY: &str = "gateway.networking.k8s.io";

/// RequestAuthentication: groups as Istio wants them, no Namespace, one form.
pub(super) fn of_request_authentication(refs: &[TargetRef], single: Option<&TargetRef>) -> Vec<FieldProblem> {
    let list = refs.iter().enumerate().map(|(index, target)| (format!("spec.targetRefs[{index}]"), target));
    let single = single.map(|target| ("spec.targetRef".to_owned(), target));
    let mut out = Vec::new();
    if !refs.is_empty() && single.is_some() {
        out.push(error("spec.targetRef".to_owned(), "cannot stand beside targetRefs".to_owned()));
    }
    for (at, target) in list.chain(single) {
        if target.kind == TargetKind::Namespace {
            out.push(error(
                format!("{at}.kind"),
                "Istio knows no Namespace target; leave targetRefs out or name Services".to_owned(),
            ));
            continue;
        }
        out.extend(group(target, &at));
        out.extend(section(target, &at));
    }
    out
}

/// BackendTLSPolicy: only services have backends.
pub(super) fn of_backend_tls(refs: &[TargetRef]) -> Vec<FieldProblem> {
    let mut out = Vec::new();
    for (index, target) in refs.iter().enumerate() {
        let at = format!("spec.targetRefs[{index}]");
        match target.kind {
            TargetKind::Service | TargetKind::ServiceEntry => out.extend(group(target, &at)),
            TargetKind::Gateway | TargetKind::GatewayClass | TargetKind::Namespace => {
                out.push(error(format!("{at}.kind"), "must be Service or ServiceEntry".to_owned()));
            }
        }
    }
    out
}

fn group(target: &TargetRef, at: &str) -> Option<FieldProblem> {
    let wanted = match target.kind {
        TargetKind::Service | TargetKind::Namespace if matches!(target.group.as_str(), "" | "core") => return None,
        TargetKind::Service | TargetKind::Namespace => "",
        TargetKind::ServiceEntry => ISTIO,
        TargetKind::Gateway | TargetKind::GatewayClass => GATEWAY,
    };
    let reason = || format!("{:?} is not the group of this kind; write {wanted:?}", target.group);
    (target.group != wanted).then(|| error(format!("{at}.group"), reason()))
}

fn section(target: &TargetRef, at: &str) -> Option<FieldProblem> {
    let whole = matches!(target.kind, TargetKind::Gateway | TargetKind::GatewayClass | TargetKind::Namespace);
    let reason = "sectionName names a port of a Service or ServiceEntry; leave it out here".to_owned();
    (whole && target.section_name.is_some()).then(|| error(format!("{at}.sectionName"), reason))
}

fn error(field: String, reason: String) -> FieldProblem {
    FieldProblem { severity: Severity::Error, field, reason }
}
