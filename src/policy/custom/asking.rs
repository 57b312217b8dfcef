use super::{Ask, Verdicts};
use crate::config::limits::CEL_BUDGET;
use crate::policy::cel::Meter;
use crate::policy::decide::{Question, parts};
use crate::policy::rules::State;
use crate::policy::{Facts, Rules};

impl Rules {
    /// Whom to ask next about a call, by the CUSTOM rules in force; none where all have spoken that are to be asked.
    pub fn ask(&self, facts: &Facts<'_>, verdicts: &Verdicts) -> Option<Ask> {
        if !self.asks() {
            return None;
        }
        match parts(facts.call) {
            Some(parts) => parts.iter().find_map(|part| self.ask_one(&Facts { call: part, ..*facts }, verdicts)),
            None => self.ask_one(facts, verdicts),
        }
    }

    /// Whether there is any call about which somebody is asked.
    pub fn asks(&self) -> bool {
        match &self.state {
            State::Closed(_) => false,
            State::All(parts) => parts.iter().any(|(_, rules)| rules.asks()),
            State::Open(open) => !open.court.custom.is_empty(),
        }
    }

    fn ask_one(&self, facts: &Facts<'_>, verdicts: &Verdicts) -> Option<Ask> {
        match &self.state {
            State::Closed(_) => None,
            State::All(parts) => parts.iter().find_map(|(to, rules)| rules.ask(&facts.at(to), verdicts)),
            State::Open(open) => {
                let facts = open.seen(facts);
                let question = Question::of(&facts, open.court.skill(&facts));
                open.court.ask(&question, verdicts, &mut Meter::new(CEL_BUDGET))
            }
        }
    }
}
