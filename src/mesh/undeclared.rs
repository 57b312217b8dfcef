//! Warns of policies whose rules are about MCP while nothing calls any of their ports MCP: they match nothing, and a plain
//! port stays open to everything else.

use std::collections::BTreeMap;

use super::found::Found;
use super::policies::Policies;
use crate::document::agent_policy::{AgentPolicySpec, To};

/// For each AgentPolicy by position: the first port that it is attached to, and whether one of them is declared.
#[derive(Debug, Default)]
pub(super) struct Undeclared(BTreeMap<usize, Ports>);

#[derive(Debug)]
enum Ports {
    /// None is, of which this is the first.
    Plain(String),
    Declared,
}

impl Undeclared {
    /// Notes a port that no one declares, and the policies that decide for it.
    pub(super) fn plain(&mut self, policies: &[usize], target: &str) {
        for item in policies {
            self.0.entry(*item).or_insert_with(|| Ports::Plain(target.to_owned()));
        }
    }

    /// Notes a port that is declared.
    pub(super) fn declared(&mut self, policies: &[usize]) {
        self.0.extend(policies.iter().map(|item| (*item, Ports::Declared)));
    }

    /// Tells.
    pub(super) fn warn<'a>(&self, policies: &Policies<'a>, found: &mut Found<'a>) {
        for (item, ports) in &self.0 {
            let (Some(document), Ports::Plain(target)) = (policies.agent.items.get(*item), ports) else { continue };
            // One that says it is about MCP declares, unless it is a dry run.
            if document.spec.protocol.is_none() && is_about_mcp(&document.spec) {
                let reason = format!(
                    "has rules about MCP, but nothing calls {target} MCP: they match nothing, and leave it open as a plain \
                     port; write `protocol: MCP`"
                );
                found.warn(&document.origin, "spec", reason);
            }
        }
    }
}

fn is_about_mcp(spec: &AgentPolicySpec) -> bool {
    let named = |to: &To| {
        let lists = [&to.tools, &to.prompts, &to.resources, &to.methods];
        let not = [&to.not_tools, &to.not_prompts, &to.not_resources, &to.not_methods];
        lists.into_iter().chain(not).any(|list| !list.is_empty())
    };
    let rules = spec.allow.iter().chain(&spec.deny).filter_map(|rule| rule.to.as_ref());
    rules.chain(spec.require.iter().filter_map(|rule| rule.to.as_ref())).flatten().any(named)
}
