//! What was compiled before: a change of documents compiles again only what it touches.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::document::agent_policy::{AgentPolicySpec, Protocol};
use crate::document::authorization_policy::AuthorizationPolicySpec;
use crate::document::request_authentication::RequestAuthenticationSpec;
use crate::document::{Document, FieldProblem, Problem};
use crate::policy::{Providers, Rules, Verifier};

/// A document by its identity: two that are equal are not the same. It is kept, so that no other can take its place.
#[derive(Debug, Clone)]
pub(super) struct Same<S>(pub(super) Arc<Document<S>>);

impl<S> PartialEq for Same<S> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<S> Eq for Same<S> {}

impl<S> Hash for Same<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// The declared protocol, and the policies of each kind.
pub(super) type RulesKey = (Option<Protocol>, Vec<Same<AgentPolicySpec>>, Vec<Same<AuthorizationPolicySpec>>);
/// The rules, or why there are none and what is to be told of that.
pub(super) type Compiled = Result<Arc<Rules>, (String, Vec<Problem>)>;
pub(super) type TokensKey = Vec<Same<RequestAuthenticationSpec>>;
pub(super) type Verifiers = Result<Option<Arc<Verifier>>, String>;

/// Everything that was compiled, by the documents that it was compiled from.
#[derive(Debug, Default)]
pub struct Cache {
    trust_domains: Vec<String>,
    providers: Providers,
    pub(super) rules: Memo<RulesKey, Compiled>,
    pub(super) tokens: Memo<TokensKey, Verifiers>,
    pub(super) agent: Memo<Same<AgentPolicySpec>, Vec<FieldProblem>>,
    pub(super) istio: Memo<Same<AuthorizationPolicySpec>, Vec<FieldProblem>>,
}

impl Cache {
    /// The trust domains and providers that rules are compiled for: others make other rules.
    pub(super) fn under(&mut self, trust_domains: &[String], providers: &Providers) {
        if self.trust_domains != trust_domains || self.providers != *providers {
            self.trust_domains = trust_domains.to_vec();
            self.providers = providers.clone();
            self.rules = Memo::default();
        }
    }

    /// Forgets what nobody asked for since the last sweep.
    pub(super) fn sweep(&mut self) {
        self.rules.sweep();
        self.tokens.sweep();
        self.agent.sweep();
        self.istio.sweep();
    }
}

/// Answers by question, and in which round each was last asked.
#[derive(Debug)]
pub(super) struct Memo<K, V> {
    known: HashMap<K, (u64, V)>,
    round: u64,
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self { known: HashMap::new(), round: 0 }
    }
}

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    pub(super) fn get_or(&mut self, key: K, make: impl FnOnce(&K) -> V) -> V {
        let round = self.round;
        if let Some((last, value)) = self.known.get_mut(&key) {
            *last = round;
            return value.clone();
        }
        let value = make(&key);
        self.known.insert(key, (round, value.clone()));
        value
    }

    fn sweep(&mut self) {
        let round = self.round;
        self.known.retain(|_, (last, _)| *last == round);
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_again_is_not_made_again_and_what_is_not_is_forgotten() {
        let mut memo: Memo<&str, usize> = Memo::default();
        assert_eq!(memo.get_or("a", |_| 1), 1);
        assert_eq!(memo.get_or("b", |_| 2), 2);
        memo.sweep();
        assert_eq!(memo.get_or("a", |_| panic!("made again")), 1);
        memo.sweep();
        assert_eq!((memo.get_or("a", |_| 3), memo.get_or("b", |_| 4)), (1, 4));
    }
}
