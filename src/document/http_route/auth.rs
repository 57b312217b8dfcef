use serde::Deserialize;

use super::BackendRef;

/// `externalAuth`: who is asked about requests (GEP-1494).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalAuth {
    /// In what protocol.
    pub protocol: AuthProtocol,
    /// Who.
    pub backend_ref: BackendRef,
    /// Of `GRPC`.
    pub grpc: Option<GrpcAuth>,
    /// Of `HTTP`.
    pub http: Option<HttpAuth>,
    /// Whether it gets the body.
    pub forward_body: Option<ForwardBody>,
}

/// `protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum AuthProtocol {
    /// Envoy's ext_authz.
    #[serde(rename = "GRPC")]
    Grpc,
    /// The request again, and the status decides.
    #[serde(rename = "HTTP")]
    Http,
}

/// `grpc`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrpcAuth {
    /// Headers that it gets; all where none is named.
    pub allowed_headers: Vec<String>,
}

/// `http`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpAuth {
    /// Put before the path.
    pub path: String,
    /// Headers that it gets besides `Host`, `Content-Length` and `Authorization`.
    pub allowed_headers: Vec<String>,
    /// Headers of its permission that go into the request.
    pub allowed_response_headers: Vec<String>,
}

/// `forwardBody`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardBody {
    /// Bytes; what is longer is cut.
    pub max_size: u16,
}
