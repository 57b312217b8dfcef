use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::document::Problem;
use crate::id::WorkloadId;
use crate::mesh::{AltName, At, Endpoint, Published, Roots, Target, Tls, Via};
use crate::upstream::Seen;

/// Where the dumps come from. Closures, so that this room need not know who holds what.
#[derive(Clone)]
pub struct Sources {
    /// The snapshot in force.
    pub published: Arc<Published>,
    /// The certificates in use now.
    pub certificates: Arc<dyn Fn() -> Vec<Certificate> + Send + Sync>,
    /// What is wrong in the documents now.
    pub problems: Arc<dyn Fn() -> Vec<Problem> + Send + Sync>,
    /// What is seen of the endpoints that were lately called.
    pub endpoints: Arc<dyn Fn() -> Vec<Seen> + Send + Sync>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// What may be shown of a certificate. Keys never come here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What it is for: `own`, `root cluster.local`.
    pub name: String,
    /// Its SPIFFE ID or subject.
    pub identity: String,
    /// When it ends.
    pub not_after: SystemTime,
}

/// Everything in force, as one JSON object.
pub(super) fn config(sources: &Sources) -> Value {
    let snapshot = sources.published.current();
    let counts = snapshot.counts();
    let certificates: Vec<Value> = (sources.certificates)()
        .into_iter()
        .map(|certificate| {
            json!({
                "name": certificate.name,
                "identity": certificate.identity,
                "notAfter": OffsetDateTime::from(certificate.not_after).format(&Rfc3339).unwrap_or_default(),
            })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "hasDocuments": snapshot.has_documents(),
        "documents": {"loaded": counts.loaded, "refused": counts.refused, "skipped": counts.skipped},
        "certificates": certificates,
        "targets": snapshot.targets().map(|shown| target(shown)).collect::<Vec<_>>(),
    })
}

/// The endpoints that were lately called.
pub(super) fn endpoints(sources: &Sources) -> Value {
    let seen = |Seen { id, calls, out }: &Seen| {
        let out = out.map(|(why, time)| json!({"reason": why.as_str(), "seconds": time.as_secs()}));
        json!({"id": id, "calls": calls, "leftAlone": out})
    };
    (sources.endpoints)().iter().map(seen).collect()
}

fn target(target: &Target) -> Value {
    json!({
        "kind": target.key.kind.as_str(),
        "namespace": target.key.namespace,
        "name": target.key.name,
        "port": target.key.port,
        "protocol": target.protocol.as_str(),
        "upstreamHttp2": target.upstream_h2(),
        "closed": target.closed(),
        "revision": target.rules.revision().to_string(),
        "verifiesTokens": target.tokens.is_some(),
        "endpoints": target.endpoints.iter().map(|shown| endpoint(shown)).collect::<Vec<_>>(),
    })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let at = match &endpoint.at {
        At::Addr(addr) => addr.to_string(),
        At::Dns { host, port } => format!("{host}:{port}"),
    };
    let via = match &endpoint.via {
        Via::Plain => json!({"plaintext": {}}),
        Via::Hbone { expect } => json!({"hbone": hbone(endpoint, expect)}),
        Via::Tls(tls) => json!({"tls": originated(tls)}),
        Via::HboneTls { expect, tls } => json!({"hbone": hbone(endpoint, expect), "tls": originated(tls)}),
    };
    json!({"id": endpoint.id, "address": at, "via": via, "weight": endpoint.weight, "distance": endpoint.distance})
}

fn hbone(endpoint: &Endpoint, expect: &[WorkloadId]) -> Value {
    json!({"port": endpoint.tunnel_port, "identities": expect.iter().map(WorkloadId::uri).collect::<Vec<_>>()})
}

fn originated(tls: &Tls) -> Value {
    json!({
        "serverName": tls.server_name,
        "subjectAltNames": tls.alt_names.iter().map(|name| match name {
            AltName::Dns(name) | AltName::Uri(name) => name,
        }).collect::<Vec<_>>(),
        "roots": match tls.roots {
            Roots::System => "system",
            Roots::Inline(_) => "inline",
        },
    })
}
