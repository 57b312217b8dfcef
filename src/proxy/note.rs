//! Targets and decisions in the words of the record.

use std::sync::Arc;

use super::answer::ProxyFault;
use super::stages::Standing;
use crate::mesh::{Endpoint, Target, Via};
use crate::policy::{Denial, Permit};
use crate::telemetry::{RecordGuard, Ruling, Site};

/// A permit, as the record says it.
pub(super) fn permit(permit: &Permit) -> Ruling {
    Ruling::permitted(permit)
}

/// A denial, as the record says it: with the smallest policy that would allow, where nobody wrote one yet.
pub(super) fn denial(denial: &Denial, target: &Target) -> Ruling {
    let ruling = Ruling::refused(denial, target.rules.revision());
    let hint = denial.hint.as_deref().map(Arc::from);
    Ruling { detail: ruling.detail.or(hint), ..ruling }
}

/// For the record of what is no longer permitted on its way, or in the middle of its answer.
pub(super) fn revoked(record: &mut RecordGuard, standing: &Standing, refused: Option<&Denial>) {
    if let Some(refused) = refused {
        record.denied(denial(refused, standing.asked().target()));
    }
    record.failed(&ProxyFault::Revoked);
}

/// The target, as the record says it.
pub(super) fn site(target: &Target) -> Arc<Site> {
    let key = &target.key;
    Arc::new(Site {
        host: format!("{}.{}.svc.cluster.local", key.name, key.namespace).into(),
        name: Arc::clone(&key.name),
        namespace: Arc::clone(&key.namespace),
        port: key.port,
    })
}

/// The identity that an endpoint must prove, where it must prove one.
pub(super) fn identity(endpoint: &Endpoint) -> Option<&str> {
    match &endpoint.via {
        Via::Hbone { expect } | Via::HboneTls { expect, .. } => expect.first().map(crate::id::WorkloadId::uri),
        Via::Plain | Via::Tls { .. } => None,
    }
}
