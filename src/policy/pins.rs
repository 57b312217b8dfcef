//! `pins` of AgentPolicies: which definitions of tools were looked at.
//!
//! Names are decided on here, as rules are. Whether the definition behind a name is the pinned one is for whoever sees
//! definitions to ask: [`super::Rules::pinned`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decision::{Denial, Reason};
use super::problems::Problems;
use super::rule::{Force, Rule};
use super::rules::{Rules, State};
use super::scope::Scope;
use crate::document::agent_policy::{self, DenialForm, PinMode, Protocol};
use crate::wire::mcp::Definition;

/// Most definitions that one policy may pin.
const MAX_PINS: usize = 4_096;

/// The pins of every policy in force for a port.
#[derive(Debug, Default)]
pub(super) struct Pins {
    /// The strictest mode, and the policy that has it, as the rule that refuses by it. None: nothing is pinned.
    strictest: Option<(PinMode, Rule)>,
    tools: BTreeMap<Arc<str>, BTreeSet<Definition>>,
}

/// How a definition stands to the pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned {
    /// It is one that was looked at, or nothing is pinned.
    Yes,
    /// It is none; this is what becomes of it.
    No(PinMode),
}

impl Pins {
    /// Compiles what one policy says; `rule` is what refuses by it.
    pub(super) fn compile(
        rule: Rule,
        spec: &agent_policy::Pins,
        protocol: Option<Protocol>,
        problems: &mut Problems,
    ) -> Self {
        if protocol == Some(Protocol::A2a) {
            problems.error("spec.pins", "A2A has no tools");
        }
        if spec.tools.len() > MAX_PINS {
            problems.error("spec.pins.tools", format_args!("names more than {MAX_PINS} definitions"));
        }
        if rule.force == Force::DryRun {
            problems.warning(
                "spec.pins",
                "is not looked at while the policy is DryRun: write `mode: Observe` in it instead",
            );
        }
        if spec.tools.is_empty() && spec.mode == PinMode::Enforce {
            problems.warning("spec.pins.tools", "is empty, so that no tool is listed and none can be called");
        }
        let mut tools: BTreeMap<Arc<str>, BTreeSet<Definition>> = BTreeMap::new();
        for (at, pin) in spec.tools.iter().enumerate() {
            if pin.name.is_empty() {
                problems.error(format_args!("spec.pins.tools[{at}].name"), "is empty");
            }
            match pin.sha256.parse() {
                Ok(definition) => {
                    if !tools.entry(pin.name.as_str().into()).or_default().insert(definition) {
                        problems.warning(format_args!("spec.pins.tools[{at}]"), "is there twice");
                    }
                }
                Err(fault) => problems.error(format_args!("spec.pins.tools[{at}].sha256"), fault),
            }
        }
        if rule.force == Force::DryRun { Self::default() } else { Self { strictest: Some((spec.mode, rule)), tools } }
    }

    /// Adds those of another policy: what either looked at was looked at, and what either refuses is refused.
    pub(super) fn merge(&mut self, other: Self) {
        if self.mode() < other.mode() {
            self.strictest = other.strictest;
        }
        for (name, definitions) in other.tools {
            self.tools.entry(name).or_default().extend(definitions);
        }
    }

    /// What becomes of what is not pinned; none where nothing is.
    pub(super) fn mode(&self) -> Option<PinMode> {
        self.strictest.as_ref().map(|(mode, _)| *mode)
    }

    /// Whether any definition of that name is pinned.
    pub(super) fn names(&self, tool: &str) -> bool {
        self.tools.contains_key(tool)
    }

    /// How a definition of that name stands to the pins.
    pub(super) fn pinned(&self, tool: &str, definition: &Definition) -> Pinned {
        let known = || self.tools.get(tool).is_some_and(|known| known.contains(definition));
        self.mode().filter(|_| !known()).map_or(Pinned::Yes, Pinned::No)
    }

    /// The rule that refuses whatever is not pinned.
    pub(super) fn rule(&self) -> Option<&Rule> {
        self.strictest.as_ref().filter(|(mode, _)| *mode == PinMode::Enforce).map(|(_, rule)| rule)
    }

    /// Why a call of a tool is refused by its name alone, and by which rule.
    pub(super) fn refusal(&self, scope: &Scope<'_>) -> Option<(Reason, &Rule)> {
        let rule = self.rule()?;
        let tool = scope.mcp().filter(|_| !scope.any_call())?.tool()?;
        (!self.names(tool)).then_some((Reason::NotPinned, rule))
    }
}

impl Rules {
    /// What becomes of tools whose definition is not pinned; none where no definition is asked for.
    pub fn pins(&self) -> Option<PinMode> {
        match &self.state {
            State::Closed(_) => None,
            State::Open(open) => open.court.pins.mode(),
            State::All(parts) => parts.iter().filter_map(|(_, rules)| rules.pins()).max(),
        }
    }

    /// Whether any definition of that name is pinned.
    pub fn pins_tool(&self, tool: &str) -> bool {
        match &self.state {
            State::Closed(_) => false,
            State::Open(open) => open.court.pins.names(tool),
            State::All(parts) => parts.iter().any(|(_, rules)| rules.pins_tool(tool)),
        }
    }

    /// How a tool's definition stands to the pins: to the strictest of those that lead here.
    pub fn pinned(&self, tool: &str, definition: &Definition) -> Pinned {
        match &self.state {
            State::Closed(_) => Pinned::No(PinMode::Enforce),
            State::Open(open) => open.court.pins.pinned(tool, definition),
            State::All(parts) => {
                let each = parts.iter().map(|(_, rules)| rules.pinned(tool, definition));
                each.max_by_key(|pinned| if let Pinned::No(mode) = pinned { Some(*mode) } else { None })
                    .unwrap_or(Pinned::Yes)
            }
        }
    }

    /// The refusal of a call of a tool whose definition is not pinned, or cannot be told.
    pub fn not_pinned(&self) -> Denial {
        let reason = Reason::NotPinned;
        match &self.state {
            State::Closed(_) => Denial::closed(reason),
            State::Open(open) => {
                let rule = open.court.pins.rule();
                // Nobody sees it in a list.
                let form = rule.map(|rule| rule.form).filter(|form| *form != DenialForm::Auto);
                let (form, rule) = (form.unwrap_or(DenialForm::Hidden), rule.map(|rule| rule.name.clone()));
                Denial { form, reason, rule, shadow: None, hint: None, retry: None }
            }
            State::All(parts) => {
                let strict = parts.iter().find(|(_, rules)| rules.pins() == Some(PinMode::Enforce));
                strict.map_or_else(|| Denial::closed(reason), |(_, rules)| rules.not_pinned())
            }
        }
    }
}
