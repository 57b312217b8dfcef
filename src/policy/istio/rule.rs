use super::field::Field;
use crate::policy::matcher;
use crate::policy::rule::Effect;
use crate::policy::scope::{Lens, Scope};
use crate::policy::truth::Truth;

/// One rule of an AuthorizationPolicy: sources OR, operations OR, conditions AND, all three AND.
#[derive(Debug)]
pub(in crate::policy) struct IstioRule {
    pub(super) from: Box<[Box<[Field]>]>,
    pub(super) to: Box<[Box<[Field]>]>,
    /// With the place of each in `when`.
    pub(super) when: Box<[Field]>,
    pub(super) effect: Effect,
    /// Whether any of the fields, anywhere in the rule, is one that only HTTP has.
    pub(super) has_http: bool,
}

impl IstioRule {
    /// Whether the rule matches; one without sources, operations and conditions matches everything.
    ///
    /// On TCP an ALLOW rule with a field that only HTTP has is dropped as a whole, and every other rule loses the field.
    pub(in crate::policy) fn truth(&self, scope: &Scope<'_>) -> Truth {
        if self.is_dropped(scope) {
            return Truth::False;
        }
        let truth = self.of_source(scope).and(|| self.of_operation(scope)).and(|| self.all(&self.when, scope));
        // Lists and base methods leave names and arguments open, of which none is read here: what is not known stays so.
        if truth == Truth::Unknown && scope.lens != Lens::Anything { Truth::Failed } else { truth }
    }

    /// Whether it looks at claims of a token.
    pub(in crate::policy) fn reads_jwt(&self) -> bool {
        let lists = self.from.iter().chain(&self.to).chain(std::iter::once(&self.when));
        lists.flat_map(|fields| fields.iter()).any(Field::reads_jwt)
    }

    /// Which part of the rule does not match, in words.
    pub(in crate::policy) fn because(&self, scope: &Scope<'_>) -> Option<String> {
        if self.is_dropped(scope) {
            return Some("reads HTTP, which a TCP port does not have".into());
        }
        if self.of_source(scope) == Truth::False {
            return Some("`from` does not match the caller".into());
        }
        if self.of_operation(scope) == Truth::False {
            return Some("`to` does not match the request".into());
        }
        let missed = self.when.iter().position(|field| field.truth(scope, self.effect) == Truth::False);
        missed.map(|at| format!("`when[{at}]` does not hold"))
    }

    fn is_dropped(&self, scope: &Scope<'_>) -> bool {
        self.effect == Effect::Allow && self.has_http && is_tcp(scope)
    }

    fn of_source(&self, scope: &Scope<'_>) -> Truth {
        if self.from.is_empty() { Truth::True } else { matcher::any(&self.from, |source| self.all(source, scope)) }
    }

    fn of_operation(&self, scope: &Scope<'_>) -> Truth {
        if self.to.is_empty() { Truth::True } else { matcher::any(&self.to, |operation| self.all(operation, scope)) }
    }

    fn all(&self, fields: &[Field], scope: &Scope<'_>) -> Truth {
        fields.iter().fold(Truth::True, |sum, field| sum.and(|| field.truth(scope, self.effect)))
    }
}

/// Whether the call is one that has no HTTP request, and will have none.
pub(super) fn is_tcp(scope: &Scope<'_>) -> bool {
    scope.facts.request.is_none() && scope.lens != Lens::Anything
}
