//! gateway.networking.k8s.io `BackendTLSPolicy`: TLS that the waypoint originates to a service, inside HBONE where it is in the mesh.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::agent_policy::TargetRef;
use super::{FieldProblem, Severity};

/// `spec` of a `BackendTLSPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTlsPolicySpec {
    /// Services and ServiceEntries (sectionName: port name).
    pub target_refs: Vec<TargetRef>,
    /// Whom to expect.
    pub validation: Validation,
    /// Extensions of implementations; none is known here.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// `spec.validation`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Validation {
    /// Name to send and to verify.
    pub hostname: String,
    /// `System`
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<WellKnown>,
    /// ConfigMaps of the same namespace, key `ca.crt`.
    #[serde(default)]
    pub ca_certificate_refs: Vec<CaRef>,
    /// Any of which the certificate must have; `hostname` is then only sent.
    #[serde(default)]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// One entry of `subjectAltNames`: the field that `type` names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum SubjectAltName {
    /// A DNS name.
    Hostname {
        /// Which.
        hostname: String,
    },
    /// A URI, as it stands in the certificate.
    #[serde(rename = "URI")]
    Uri {
        /// Which.
        uri: String,
    },
}

/// `wellKnownCACertificates`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum WellKnown {
    /// The system's store.
    System,
}

/// One entry of `caCertificateRefs`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaRef {
    /// API group, empty for core.
    #[serde(default)]
    pub group: String,
    /// `ConfigMap`
    pub kind: String,
    /// Name in the policy's namespace.
    pub name: String,
}

/// What stands in `spec` that is not enforced yet or cannot be meant, with the remedy.
pub fn check(spec: &BackendTlsPolicySpec) -> Vec<FieldProblem> {
    let mut out = Vec::new();
    let mut refuse = |field: &str, reason: &str| {
        out.push(FieldProblem { severity: Severity::Error, field: field.to_owned(), reason: reason.to_owned() });
    };
    let validation = &spec.validation;
    for (index, name) in validation.subject_alt_names.iter().enumerate() {
        let field = format!("spec.validation.subjectAltNames[{index}]");
        match name {
            SubjectAltName::Hostname { hostname }
                if rustls_pki_types::DnsName::try_from(hostname.as_str()).is_err() =>
            {
                refuse(&format!("{field}.hostname"), "is not a host name");
            }
            SubjectAltName::Uri { uri } if !uri.contains(':') || !uri.bytes().all(|b| b.is_ascii_graphic()) => {
                refuse(&format!("{field}.uri"), "is not a URI");
            }
            SubjectAltName::Hostname { .. } | SubjectAltName::Uri { .. } => {}
        }
    }
    if !spec.options.is_empty() {
        refuse("spec.options", "no option is known here; leave it out");
    }
    if rustls_pki_types::ServerName::try_from(validation.hostname.as_str()).is_err() {
        refuse("spec.validation.hostname", "is not a host name");
    }
    match (validation.well_known_ca_certificates, validation.ca_certificate_refs.as_slice()) {
        (Some(_), []) | (None, [_, ..]) => {}
        (None, []) => refuse("spec.validation", "needs wellKnownCACertificates: System or caCertificateRefs"),
        (Some(_), [_, ..]) => {
            refuse("spec.validation", "has both wellKnownCACertificates and caCertificateRefs; keep one");
        }
    }
    for (index, reference) in validation.ca_certificate_refs.iter().enumerate() {
        if reference.kind != "ConfigMap" || !matches!(reference.group.as_str(), "" | "core") {
            let field = format!("spec.validation.caCertificateRefs[{index}].kind");
            refuse(&field, "only ConfigMap (core) is read; put the certificates under its key ca.crt");
        }
    }
    out
}
