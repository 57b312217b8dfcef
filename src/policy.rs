//! STUB, replaced at merge.
#![expect(missing_debug_implementations, reason = "stub")]
use crate::document::agent_policy::{AgentPolicySpec, Protocol};
use crate::document::authorization_policy::AuthorizationPolicySpec;
use crate::document::{FieldProblem, Meta, Severity};
use std::sync::Arc;

/// Where the call goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Service
    pub service: Arc<str>,
    /// Namespace
    pub namespace: Arc<str>,
    /// Port
    pub port: u16,
}
/// Rules of one port.
pub struct RuleSet<'a> {
    /// Declared
    pub declared: Option<Protocol>,
    /// Agent
    pub agent: Vec<(&'a Meta, &'a AgentPolicySpec)>,
    /// Istio
    pub istio: Vec<(&'a Meta, &'a AuthorizationPolicySpec)>,
}
/// Revision
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revision(u64);
/// Rules
#[derive(Debug)]
pub struct Rules(String, u64);
impl Rules {
    /// Closed
    pub fn closed(reason: impl Into<String>) -> Self {
        let r = reason.into();
        Self(format!("closed: {r}"), 0)
    }
    /// Revision
    pub fn revision(&self) -> Revision {
        use std::hash::{Hash, Hasher};
        let mut h = std::hash::DefaultHasher::new();
        (&self.0, self.1).hash(&mut h);
        Revision(h.finish())
    }
    /// Open
    pub fn is_open(&self) -> bool {
        self.0 == "open"
    }
    /// Reads JWT
    pub fn reads_jwt(&self) -> bool {
        false
    }
}
/// Check
pub fn check_agent_policy(_meta: &Meta, spec: &AgentPolicySpec) -> Vec<FieldProblem> {
    let mut out = Vec::new();
    for (i, r) in spec.allow.iter().enumerate() {
        if r.when.as_deref().is_some_and(|w| w.contains("!!!")) {
            out.push(FieldProblem { severity: Severity::Error, field: format!("spec.allow[{i}].when"), reason: "no CEL".into() });
        }
    }
    out
}
/// Check
pub fn check_authorization_policy(_meta: &Meta, _spec: &AuthorizationPolicySpec) -> Vec<FieldProblem> {
    Vec::new()
}
/// Compile
pub fn compile(set: &RuleSet<'_>) -> Result<Rules, Vec<FieldProblem>> {
    use std::hash::{Hash, Hasher};
    let mut h = std::hash::DefaultHasher::new();
    format!("{:?} {:?} {:?}", set.declared, set.agent, set.istio).hash(&mut h);
    let kind = if set.declared.is_none() && set.agent.is_empty() && set.istio.is_empty() { "open" } else { "rules" };
    Ok(Rules(kind.to_owned(), h.finish()))
}
/// Runs on a big stack.
pub fn on_compile_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(f).join().expect("stub")
}
pub mod token {
    //! STUB
    use crate::document::request_authentication::JwtRule;
    /// Verifier
    #[derive(Debug)]
    pub struct Verifier(usize);
    impl Verifier {
        /// From inline JWKS.
        pub fn from_inline(rules: &[JwtRule]) -> Result<Self, String> {
            if rules.iter().any(|r| !r.jwks.contains("keys")) { Err("no keys".to_owned()) } else { Ok(Self(rules.len())) }
        }
    }
}
pub use token::Verifier;
