//! CUSTOM: calls about which an outside provider is asked, before any other rule decides on them.
//!
//! Nothing is asked here. [`Ask`] is the right to ask one provider about one call, and only rules in force make one;
//! [`Verdicts`] is what came of it, without which a call that a CUSTOM rule is about is refused.

mod asking;
mod edits;
mod names;
mod provider;

use std::sync::Arc;

use super::decision::{Permit, Reason, RuleName};
use super::facts::Destination;
use super::rule::Rule;

pub use edits::Edits;
pub use names::Names;
pub use provider::{BodyTerms, HttpTerms, Provider, Providers, Speaks};

/// A rule by which a provider is asked. What cannot be known of a call matches, as in a rule that denies.
#[derive(Debug)]
pub(super) struct Custom {
    pub(super) rule: Rule,
    /// Of the provider, whether there is one or not.
    pub(super) name: Arc<str>,
    /// Else why there is none: the calls that the rule is about are refused then, as Istio does it
    /// (`pilot/pkg/security/authz/builder`, "deny-due-to-bad-CUSTOM-action").
    pub(super) provider: Result<Arc<Provider>, Arc<str>>,
}

/// The right to ask one provider about one call. Only [`super::Rules::ask`] makes one, and [`Ask::by_route`] for a call that
/// is permitted; it cannot be copied, and what came of it can only be noted by giving it away, so that no check goes out that
/// nobody asked for.
///
/// ```compile_fail,E0599
/// # use agent_waypoint::policy::Ask;
/// fn twice(ask: Ask) -> (Ask, Ask) {
///     (ask.clone(), ask)
/// }
/// ```
#[derive(Debug)]
pub struct Ask {
    pub(super) provider: Arc<Provider>,
    pub(super) destination: Destination,
    pub(super) rule: RuleName,
}

impl Ask {
    /// The right to ask whom the route of a permitted request names.
    pub fn by_route(_permitted: &Permit, provider: &Arc<Provider>, destination: &Destination) -> Self {
        let (policy, rule) = (Arc::clone(&provider.name), "filters".into());
        let rule = RuleName { policy, kind: "HTTPRoute", rule, generation: 0 };
        Self { provider: Arc::clone(provider), destination: destination.clone(), rule }
    }

    /// Who is asked, and how.
    pub fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    /// What the call is addressed to, in the eyes of the rule.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The rule that asks.
    pub fn rule(&self) -> &RuleName {
        &self.rule
    }
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It allowed.
    Allowed,
    /// It failed, and its `failOpen` lets the call go on.
    FailedOpen,
    /// It denied.
    Denied,
    /// It failed.
    Failed,
}

impl Word {
    /// As metrics say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::FailedOpen => "failed_open",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }

    /// Why it refuses, where it does.
    fn refusal(self) -> Option<Reason> {
        match self {
            Self::Allowed | Self::FailedOpen => None,
            Self::Denied => Some(Reason::DeniedByProvider),
            Self::Failed => Some(Reason::ProviderFailed),
        }
    }
}

/// What providers said of one call. It holds for as long as the provider's own definition stays what it was.
#[derive(Debug, Default)]
pub struct Verdicts(Vec<Verdict>);

#[derive(Debug)]
struct Verdict {
    provider: Arc<Provider>,
    destination: Destination,
    word: Word,
    told: Box<str>,
}

impl Verdicts {
    /// Notes what came of `ask`; `told` is for operators.
    pub fn note(&mut self, ask: Ask, word: Word, told: String) {
        let Ask { provider, destination, .. } = ask;
        self.0.push(Verdict { provider, destination, word, told: told.into() });
    }

    fn of(&self, provider: &Provider, destination: &Destination) -> Option<&Verdict> {
        self.0.iter().find(|one| *one.provider == *provider && one.destination == *destination)
    }
}

/// What is known of providers while a question is judged.
#[derive(Debug, Clone, Copy)]
pub(super) enum Heard<'a> {
    /// Nobody was asked, and nobody need have been: it is about calls to come.
    Nothing,
    /// What they said; one that said nothing lets nothing through.
    Verdicts(&'a Verdicts),
    /// As if all of them said this.
    Supposed(bool),
}

/// Why a call that a CUSTOM rule is about is refused, and what operators are told; none where it may go on.
pub(super) fn refusal(
    custom: &Custom,
    destination: &Destination,
    heard: Heard<'_>,
) -> Option<(Reason, Option<String>)> {
    let provider = match &custom.provider {
        Ok(provider) => provider,
        Err(why) => return Some((Reason::NoProvider, Some(format!("provider {}: {why}", custom.name)))),
    };
    match heard {
        Heard::Nothing | Heard::Supposed(true) => None,
        Heard::Supposed(false) => Some((Reason::DeniedByProvider, None)),
        Heard::Verdicts(verdicts) => match verdicts.of(provider, destination) {
            None => Some((Reason::Undecidable, Some(format!("provider {} was not asked", custom.name)))),
            Some(verdict) => verdict.word.refusal().map(|reason| (reason, Some(verdict.told.to_string()))),
        },
    }
}

/// The right to ask, where the provider is there and has said nothing yet.
pub(super) fn ask(custom: &Custom, destination: &Destination, verdicts: &Verdicts) -> Option<Ask> {
    let provider = custom.provider.as_ref().ok()?;
    let asked = verdicts.of(provider, destination).is_some();
    (!asked).then(|| Ask {
        provider: Arc::clone(provider),
        destination: destination.clone(),
        rule: custom.rule.name.clone(),
    })
}
