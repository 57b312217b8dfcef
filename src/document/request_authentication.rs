//! `security.istio.io` `RequestAuthentication`, in Istio's own fields: which tokens are verified, and by whose keys.
//! Every field of Istio's API is known by name; what cannot be meant is refused by [`check`], never ignored.

use serde::Deserialize;

use super::agent_policy::TargetRef;
use super::authorization_policy::Selector;
use super::{FieldProblem, Severity};

/// `spec` of a `RequestAuthentication`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RequestAuthenticationSpec {
    /// Pods by label: a sidecar's business, never in force at a waypoint.
    pub selector: Option<Selector>,
    /// Older single form of `targetRefs`.
    pub target_ref: Option<TargetRef>,
    /// Whose calls' tokens are verified.
    pub target_refs: Vec<TargetRef>,
    /// Tokens that are accepted.
    pub jwt_rules: Vec<JwtRuleSpec>,
}

/// One entry of `jwtRules`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtRuleSpec {
    /// `iss` that the token must have.
    pub issuer: String,
    /// One of these must be in `aud`; any where empty.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// JSON Web Key Set, inline.
    #[serde(default)]
    pub jwks: String,
    /// Where the set is; where both are absent, the issuer's discovery document says it.
    #[serde(default, alias = "jwks_uri")]
    pub jwks_uri: Option<String>,
    /// The longest time that fetching it may take.
    #[serde(default)]
    pub timeout: Option<String>,
    /// Header fields that the token may stand in, instead of the default places.
    #[serde(default)]
    pub from_headers: Vec<JwtHeader>,
    /// Parameters of the query likewise.
    #[serde(default)]
    pub from_params: Vec<String>,
    /// Cookies likewise.
    #[serde(default)]
    pub from_cookies: Vec<String>,
    /// Whether the token goes on to the server; it does not where absent.
    #[serde(default)]
    pub forward_original_token: bool,
    /// The field in which the server finds the payload of a token that was verified.
    #[serde(default)]
    pub output_payload_to_header: Option<String>,
    /// Fields in which it finds single claims.
    #[serde(default)]
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// Claims that are lists in one string, besides `scope` and `permission`.
    #[serde(default)]
    pub space_delimited_claims: Vec<String>,
}

/// A header field that a token may stand in.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtHeader {
    /// The field's name.
    pub name: String,
    /// What stands before the token, `Bearer ` with its space.
    #[serde(default)]
    pub prefix: String,
}

/// A header field for one claim.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimToHeader {
    /// The field's name.
    pub header: String,
    /// The claim's name; dots lead into nested ones.
    pub claim: String,
}

/// Fields that nobody but who speaks the protocol may say: no claim may stand there.
const RESERVED: [&str; 21] = [
    "host",
    "authorization",
    "cookie",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "content-length",
    "content-type",
    "content-encoding",
    "accept",
    "accept-encoding",
    "origin",
    "range",
    "last-event-id",
    "traceparent",
    "tracestate",
    "x-forwarded-client-cert",
];
/// The same by how they begin.
const RESERVED_PREFIXES: [&str; 9] =
    ["mcp-", "a2a-", "grpc-", "sec-", "proxy-", "x-istio-", "x-envoy-", "x-http-method", "x-method"];

/// What stands in `spec` that cannot be meant, with the remedy.
pub fn check(spec: &RequestAuthenticationSpec) -> Vec<FieldProblem> {
    let mut out = Vec::new();
    for (index, rule) in spec.jwt_rules.iter().enumerate() {
        let mut refuse = |field: String, reason: String| {
            let field = format!("spec.jwtRules[{index}].{field}");
            out.push(FieldProblem { severity: Severity::Error, field, reason });
        };
        if rule.issuer.is_empty() {
            refuse("issuer".to_owned(), "is empty; name the token's issuer".to_owned());
        }
        if !rule.jwks.is_empty() && rule.jwks_uri.is_some() {
            refuse("jwksUri".to_owned(), "stands beside jwks; write one of them".to_owned());
        }
        let lists = [
            ("audiences", &rule.audiences),
            ("fromParams", &rule.from_params),
            ("fromCookies", &rule.from_cookies),
            ("spaceDelimitedClaims", &rule.space_delimited_claims),
        ];
        for (name, list) in lists {
            for (at, _) in list.iter().enumerate().filter(|(_, text)| text.is_empty()) {
                refuse(format!("{name}[{at}]"), "is empty; name one, or leave it out".to_owned());
            }
        }
        for (at, header) in rule.from_headers.iter().enumerate() {
            if let Some(reason) = unfit_source(&header.name) {
                refuse(format!("fromHeaders[{at}].name"), reason);
            }
        }
        outputs(rule, &mut refuse);
    }
    out
}

fn outputs(rule: &JwtRuleSpec, refuse: &mut impl FnMut(String, String)) {
    let mut names: Vec<String> = Vec::new();
    let mut output = |field: String, name: &str, refuse: &mut dyn FnMut(String, String)| {
        if let Some(reason) = unfit_output(name) {
            refuse(field, reason);
        } else if names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            refuse(field, format!("{name:?} is written twice; each claim needs a field of its own"));
        }
        names.push(name.to_owned());
    };
    for (at, one) in rule.output_claim_to_headers.iter().enumerate() {
        output(format!("outputClaimToHeaders[{at}].header"), &one.header, refuse);
        if one.claim.is_empty() {
            refuse(format!("outputClaimToHeaders[{at}].claim"), "is empty; name the claim".to_owned());
        }
    }
    if let Some(name) = rule.output_payload_to_header.as_deref().filter(|name| !name.is_empty()) {
        output("outputPayloadToHeader".to_owned(), name, refuse);
    }
}

/// Why no token can stand in the field.
fn unfit_source(name: &str) -> Option<String> {
    match name.to_ascii_lowercase().as_str() {
        "cookie" => Some("is a list of cookies; write fromCookies".to_owned()),
        lower if lower != "authorization" => unfit_output(lower),
        _ => None,
    }
}

/// Why no claim can stand in the field.
fn unfit_output(name: &str) -> Option<String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || !name.bytes().all(token) {
        return Some(format!("{name:?} is no name of a header field; letters, digits, - and _ make one"));
    }
    let folded = name.to_ascii_lowercase().replace('_', "-");
    let reserved = RESERVED.contains(&folded.as_str()) || RESERVED_PREFIXES.iter().any(|one| folded.starts_with(one));
    reserved.then(|| format!("{name:?} is the protocol's or the mesh's own; write another name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(rule: &str) -> Vec<String> {
        let rule: JwtRuleSpec = serde_json::from_str(rule).unwrap();
        let spec = RequestAuthenticationSpec { jwt_rules: vec![rule], ..RequestAuthenticationSpec::default() };
        check(&spec).into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn every_field_of_istio_is_read() {
        let rule = r#"{"issuer": "https://i", "audiences": ["a"], "jwksUri": "https://i/k", "timeout": "5s",
            "fromHeaders": [{"name": "x-jwt", "prefix": "JWT "}, {"name": "Authorization"}], "fromParams": ["t"],
            "fromCookies": ["c"], "forwardOriginalToken": true, "outputPayloadToHeader": "x-payload",
            "outputClaimToHeaders": [{"header": "X_Sub", "claim": "sub"}], "spaceDelimitedClaims": ["roles"]}"#;
        assert_eq!(problems(rule), Vec::<String>::new());
        let other: JwtRuleSpec = serde_json::from_str(r#"{"issuer": "i", "jwks_uri": "https://i/k"}"#).unwrap();
        assert_eq!(other.jwks_uri.as_deref(), Some("https://i/k"), "Istio's other name of the field");
        assert!(serde_json::from_str::<JwtRuleSpec>(r#"{"issuer": "i", "fromHeader": []}"#).is_err());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_at_its_place() {
        let rows = [
            (r#"{"issuer": ""}"#, "issuer"),
            (r#"{"issuer": "i", "jwks": "{}", "jwksUri": "https://i"}"#, "jwksUri"),
            (r#"{"issuer": "i", "audiences": [""]}"#, "audiences[0]"),
            (r#"{"issuer": "i", "fromParams": ["a", ""]}"#, "fromParams[1]"),
            (r#"{"issuer": "i", "fromCookies": [""]}"#, "fromCookies[0]"),
            (r#"{"issuer": "i", "spaceDelimitedClaims": [""]}"#, "spaceDelimitedClaims[0]"),
            (r#"{"issuer": "i", "fromHeaders": [{"name": ""}]}"#, "fromHeaders[0].name"),
            (r#"{"issuer": "i", "fromHeaders": [{"name": "Cookie"}]}"#, "fromHeaders[0].name"),
            (r#"{"issuer": "i", "fromHeaders": [{"name": "x-envoy-jwt"}]}"#, "fromHeaders[0].name"),
            (r#"{"issuer": "i", "outputPayloadToHeader": "x y"}"#, "outputPayloadToHeader"),
            (r#"{"issuer": "i", "outputPayloadToHeader": ":path"}"#, "outputPayloadToHeader"),
        ];
        for (rule, field) in rows {
            assert_eq!(problems(rule), [format!("spec.jwtRules[0].{field}")], "{rule}");
        }
        for name in ["Host", "mcp-session-id", "MCP_Session_Id", "x-forwarded-client-cert", "transfer-encoding", "a:b"]
        {
            let rule =
                format!(r#"{{"issuer": "i", "outputClaimToHeaders": [{{"header": "{name}", "claim": "sub"}}]}}"#);
            assert_eq!(problems(&rule), ["spec.jwtRules[0].outputClaimToHeaders[0].header"], "{name}");
        }
        let twice = r#"{"issuer": "i", "outputPayloadToHeader": "X-A", "outputClaimToHeaders": [{"header": "x-a", "claim": "a"}, {"header": "X-a", "claim": "b"}]}"#;
        let fields = ["spec.jwtRules[0].outputClaimToHeaders[1].header", "spec.jwtRules[0].outputPayloadToHeader"];
        assert_eq!(problems(twice), fields);
    }
}
