use crate::document::Meta;
use crate::document::agent_policy::{TargetKind, TargetRef};
use crate::document::authorization_policy::AuthorizationPolicySpec;
use crate::policy::problems::Problems;

/// Whether the policy is ztunnel's business: no targets, so it selects pods.
pub(super) fn is_for_ztunnel(spec: &AuthorizationPolicySpec) -> bool {
    spec.target_refs.is_empty() && spec.target_ref.is_none()
}

/// Whether the targets can be meant as they stand; whether they name anything is for `mesh` to say.
pub(super) fn check(meta: &Meta, spec: &AuthorizationPolicySpec, problems: &mut Problems) {
    if spec.selector.is_some() {
        problems.error("spec.selector", "cannot stand beside `targetRefs`");
    }
    if spec.target_ref.is_some() && !spec.target_refs.is_empty() {
        problems.error("spec.targetRef", "cannot stand beside `targetRefs`");
    }
    let single = spec.target_ref.iter().map(|target| ("spec.targetRef".to_owned(), target));
    let several = spec.target_refs.iter().enumerate().map(|(at, target)| (format!("spec.targetRefs[{at}]"), target));
    for (path, target) in single.chain(several) {
        check_target(meta, target, &path, problems);
    }
}

fn check_target(meta: &Meta, target: &TargetRef, path: &str, problems: &mut Problems) {
    let group = match target.kind {
        TargetKind::Service if target.group == "core" => "core",
        TargetKind::Service => "",
        TargetKind::ServiceEntry => "networking.istio.io",
        TargetKind::Gateway | TargetKind::GatewayClass => "gateway.networking.k8s.io",
        TargetKind::Namespace => {
            let reason = "must be Service, ServiceEntry, Gateway or GatewayClass";
            problems.error(format_args!("{path}.kind"), reason);
            return;
        }
    };
    if target.group != group {
        problems.error(format_args!("{path}.group"), format_args!("must be `{group}` for this kind"));
    }
    if target.name.is_empty() {
        problems.error(format_args!("{path}.name"), format_args!("is empty: name a target in `{}`", meta.namespace));
    }
    if target.section_name.is_some() {
        let reason = "is not known to Istio; `operation.ports` narrows to a port";
        problems.error(format_args!("{path}.sectionName"), reason);
    }
}
