//! Which arguments of tools their `Mcp-Param-` headers repeat (MCP 2026-07-28), as far as lists of tools passed here. What is
//! not known is asked of the arguments as a whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::call::McpCall;
use crate::mesh::TargetKey;
use crate::wire::mcp::{Declared, McpHead, Version};

/// Tools that are kept; beyond, nothing more is learnt until some of them are gone.
const MAX_TOOLS: usize = 16_384;
/// Those of one Service: a server that lists ever others takes none of another's.
const MAX_OF_TARGET: usize = 1_024;

/// The declarations seen so far, by the Service whose endpoints listed them. The lock is held for a look-up only, and where
/// another Service comes for a look at those that are kept.
#[derive(Debug, Default)]
pub(super) struct Parameters(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    targets: HashMap<TargetKey, HashMap<Arc<str>, Arc<Declared>>>,
    tools: usize,
}

impl Parameters {
    /// What a tool of the Service declares, where that was seen.
    fn find(&self, target: &TargetKey, tool: &str) -> Option<Arc<Declared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).targets.get(target)?.get(tool).cloned()
    }

    /// Whether each `Mcp-Param-` header of a call repeats the argument that its tool declares it for, where that was seen.
    pub(super) fn agree(&self, target: &TargetKey, head: &McpHead, call: &McpCall) -> bool {
        let headers = head.parameters();
        let modern = head.version().is_some_and(Version::is_modern);
        let (Some(tool), true) = (call.tool().filter(|_| modern), !headers.is_empty()) else { return true };
        let declared = self.find(target, tool);
        declared.is_none_or(|declared| declared.agree(headers, call.arguments().map(|given| &**given)))
    }

    /// A server of the Service lists a tool with these, or without any. Those of Services that are not `there` any more go
    /// when another one comes.
    pub(super) fn listed(
        &self,
        (target, tool): (&TargetKey, &Arc<str>),
        declared: Option<Declared>,
        there: impl Fn(&TargetKey) -> bool,
    ) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.forget(target, tool);
        let Some(declared) = declared else { return };
        if !table.targets.contains_key(target) {
            table.keep_those(there);
        }
        if table.tools >= MAX_TOOLS {
            return;
        }
        let of = table.targets.entry(target.clone()).or_default();
        if of.len() < MAX_OF_TARGET {
            of.insert(Arc::clone(tool), Arc::new(declared));
            table.tools += 1;
        }
    }
}

impl Table {
    fn forget(&mut self, target: &TargetKey, tool: &str) {
        let Some(tools) = self.targets.get_mut(target) else { return };
        if tools.remove(tool).is_some() {
            self.tools -= 1;
        }
        if tools.is_empty() {
            self.targets.remove(target);
        }
    }

    fn keep_those(&mut self, there: impl Fn(&TargetKey) -> bool) {
        self.targets.retain(|target, _| there(target));
        self.tools = self.targets.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::TargetKind;
    use crate::wire::json;

    #[test]
    fn the_last_list_counts_and_no_server_takes_anothers_place() {
        let target = |name: &str| TargetKey {
            kind: TargetKind::Service,
            namespace: "tools".into(),
            name: name.into(),
            port: 80,
            at: None,
        };
        let declared = |header: &str| {
            let entry = format!(r#"{{"inputSchema":{{"properties":{{"a":{{"x-mcp-header":"{header}"}}}}}}}}"#);
            Declared::of(&json::parse(entry.as_bytes()).unwrap())
        };
        let (table, tool) = (Parameters::default(), Arc::from("t"));
        let listed = |name: &str, tool: &Arc<str>, says: Option<&str>| {
            table.listed((&target(name), tool), says.and_then(&declared), |_| true);
        };
        for says in ["A", "B"] {
            listed("one", &tool, Some(says));
            assert_eq!(table.find(&target("one"), "t").as_deref(), declared(says).as_ref());
        }
        listed("one", &tool, None);
        assert_eq!(table.find(&target("one"), "t"), None);
        for at in 0..MAX_OF_TARGET + 5 {
            listed("one", &at.to_string().into(), Some("A"));
        }
        assert!(table.find(&target("one"), "1023").is_some() && table.find(&target("one"), "1024").is_none());
        listed("other", &tool, Some("A"));
        assert!(table.find(&target("other"), "t").is_some());
        // Services come and go; what is kept is of those that are there.
        for at in 0..100 {
            let here = target(&format!("s{at}"));
            for tool in 0..MAX_OF_TARGET {
                table.listed((&here, &tool.to_string().into()), declared("A"), |kept| *kept == here);
            }
            assert!(table.find(&here, "1023").is_some(), "{at}: those that are gone take no room");
        }
        assert!(table.find(&target("other"), "t").is_none());
        let kept = table.0.lock().unwrap();
        assert_eq!((kept.targets.len(), kept.tools), (1, MAX_OF_TARGET));
    }
}
