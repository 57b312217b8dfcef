//! What rules say of a caller alone, asked once for all entries of a list. Decides nothing: whoever decides asks the rules
//! as before, and each need not look at its caller anew.

use super::Facts;
use super::cel::Meter;
use super::decide::Court;
use super::rule::{Rule, Says};
use super::rules::{Open, Rules, State};
use super::scope::{Lens, Scope};
use super::truth::Truth;
use crate::call::Call;

/// What each rule says of one caller, in the order of the rules.
#[derive(Debug)]
pub(super) struct OfCaller {
    pub(super) agent: Box<[Truth]>,
    pub(super) istio: Box<[Truth]>,
}

impl OfCaller {
    fn of(court: &Court, facts: &Facts<'_>) -> Self {
        let scope = Scope::of(facts, Lens::List);
        let all = |rules: &[Rule]| rules.iter().map(|rule| rule.of_caller(&scope)).collect();
        Self { agent: all(&court.agent), istio: all(&court.istio) }
    }
}

/// A rule, and what it says of the caller where that is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'r> {
    pub(super) rule: &'r Rule,
    caller: Option<Truth>,
}

impl Asked<'_> {
    pub(super) fn says(&self, scope: &Scope<'_>, meter: &mut Meter) -> Says {
        let caller = self.caller.unwrap_or_else(|| self.rule.of_caller(scope));
        self.rule.says_knowing(caller, scope, meter)
    }
}

/// The rules with what is known of each; of none where that is empty.
pub(super) fn asked<'r>(rules: &'r [Rule], known: &[Truth]) -> impl Iterator<Item = Asked<'r>> {
    rules.iter().enumerate().map(|(at, rule)| Asked { rule, caller: known.get(at).copied() })
}

/// One caller before a list: says of each entry whether it is shown, as [`Rules::visible`] does.
#[derive(Debug)]
pub struct Viewer<'a>(Viewing<'a>);

#[derive(Debug)]
enum Viewing<'a> {
    Nothing,
    Open(&'a Open, Facts<'a>, OfCaller),
    All(Vec<Viewer<'a>>),
}

impl<'a> Viewer<'a> {
    /// Whoever `facts` are of; what call they name does not matter.
    pub(super) fn new(rules: &'a Rules, facts: &Facts<'a>) -> Self {
        Self(match &rules.state {
            State::Closed(_) => Viewing::Nothing,
            State::Open(open) => Viewing::Open(open, *facts, OfCaller::of(&open.court, facts)),
            State::All(parts) => {
                Viewing::All(parts.iter().map(|(to, rules)| Self::new(rules, &facts.at(to))).collect())
            }
        })
    }

    /// Whether the entry is shown that `call` names.
    pub fn sees(&self, call: &Call) -> bool {
        match &self.0 {
            Viewing::Nothing => false,
            Viewing::Open(open, facts, known) => open.visible(&open.seen(&Facts { call, ..*facts }), Some(known)),
            Viewing::All(parts) => parts.iter().all(|part| part.sees(call)),
        }
    }
}
