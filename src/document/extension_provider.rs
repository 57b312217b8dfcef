//! `extensionProviders` of Istio's meshConfig, as far as they decide on calls: `envoyExtAuthzHttp` and `envoyExtAuthzGrpc`.
//!
//! One that does not fit is told by itself, so that it spoils no other: what else stands in the mesh's config holds.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One entry: <https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#MeshConfig-ExtensionProvider>
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// By which policies name it.
    pub name: String,
    /// Asked over HTTP; else why what is written there cannot be read.
    #[serde(deserialize_with = "apart")]
    pub envoy_ext_authz_http: Option<Result<ExtAuthz, String>>,
    /// Asked over gRPC; else why what is written there cannot be read.
    #[serde(deserialize_with = "apart")]
    pub envoy_ext_authz_grpc: Option<Result<ExtAuthz, String>>,
}

/// How a provider is asked. What only HTTP has is refused of gRPC when compiled.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExtAuthz {
    /// `[NAMESPACE/]HOSTNAME` of a Service or ServiceEntry.
    pub service: String,
    /// Its port.
    pub port: u32,
    /// `5s`, `0.250s`: how long an answer is waited for.
    pub timeout: Option<String>,
    /// Whether the call goes on where the provider failed.
    pub fail_open: bool,
    /// HTTP status where it failed; 403 where absent.
    pub status_on_error: String,
    /// Whether routes are chosen by the headers as the provider left them.
    pub clear_route_cache: bool,
    /// What of a request's body it gets.
    pub include_request_body_in_check: Option<RequestBody>,
    /// HTTP: put before the path.
    pub path_prefix: String,
    /// HTTP: the request's headers that it gets.
    pub include_request_headers_in_check: Vec<String>,
    /// HTTP: the older name of the same.
    pub include_headers_in_check: Vec<String>,
    /// HTTP: headers that it gets besides.
    pub include_additional_headers_in_check: BTreeMap<String, String>,
    /// HTTP: headers of an answer that allows, put into the request.
    pub headers_to_upstream_on_allow: Vec<String>,
    /// HTTP: headers of an answer that denies, put into the caller's answer; all where none is named.
    pub headers_to_downstream_on_deny: Vec<String>,
    /// HTTP: headers of an answer that allows, put into the caller's answer.
    pub headers_to_downstream_on_allow: Vec<String>,
}

/// `includeRequestBodyInCheck`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestBody {
    /// Bytes; a longer body is refused with 413, or cut.
    pub max_request_bytes: u32,
    /// Whether a longer one is cut.
    pub allow_partial_message: bool,
    /// gRPC: as bytes instead of text.
    pub pack_as_bytes: bool,
}

/// What is there, read by itself.
fn apart<'de, D, T>(deserializer: D) -> Result<Option<Result<T, String>>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let written = Option::<Value>::deserialize(deserializer)?;
    Ok(written.map(|written| serde_json::from_value(written).map_err(|error| error.to_string())))
}

#[cfg(test)]
mod tests {
    use crate::document::mesh_config::MeshConfig;

    #[test]
    fn each_is_read_by_itself_and_others_are_passed_over() {
        let text = "extensionProviders:\n\
                    - {name: trace, zipkin: {service: z, port: 9411}}\n\
                    - {name: grpc, envoyExtAuthzGrpc: {service: authz.sys.svc.cluster.local, port: 9000, timeout: 5s}}\n\
                    - {name: bad, envoyExtAuthzHttp: {service: a, port: 80, failOpn: true}}\n\
                    trustDomainAliases: [old]\n";
        let read = MeshConfig::parse(text).unwrap();
        let [trace, grpc, bad] = read.extension_providers.as_slice() else { panic!("{read:?}") };
        assert!(trace.envoy_ext_authz_grpc.is_none() && trace.envoy_ext_authz_http.is_none());
        let grpc = grpc.envoy_ext_authz_grpc.as_ref().unwrap().as_ref().unwrap();
        assert_eq!((grpc.port, grpc.timeout.as_deref(), grpc.fail_open), (9000, Some("5s"), false));
        let fault = bad.envoy_ext_authz_http.as_ref().unwrap().as_ref().unwrap_err();
        assert!(fault.contains("failOpn"), "{fault}");
        assert_eq!(read.trust_domain_aliases, ["old"], "what else stands there holds");
    }
}
