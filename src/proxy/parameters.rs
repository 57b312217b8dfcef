//! Which arguments of tools their `Mcp-Param-` headers repeat (MCP 2026-07-28), as far as lists of tools passed here. What is
//! not known is asked of the arguments as a whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::mesh::TargetKey;
use crate::wire::mcp::Declared;

/// Tools that are kept; beyond, nothing more is learnt.
const MAX_TOOLS: usize = 16_384;
/// Those of one target: a server that lists ever others takes none of another's.
const MAX_OF_TARGET: usize = 1_024;

/// The declarations seen so far. The lock is held for a look-up only.
#[derive(Debug, Default)]
pub(super) struct Parameters(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    targets: HashMap<TargetKey, HashMap<Arc<str>, Arc<Declared>>>,
    tools: usize,
}

impl Parameters {
    /// What the target's tool declares, where that was seen.
    pub(super) fn find(&self, target: &TargetKey, tool: &str) -> Option<Arc<Declared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).targets.get(target)?.get(tool).cloned()
    }

    /// A server of the target lists a tool with these, or without any.
    pub(super) fn listed(&self, target: &TargetKey, tool: &Arc<str>, declared: Option<Declared>) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.forget(target, tool);
        let Some(declared) = declared.filter(|_| table.tools < MAX_TOOLS) else { return };
        let of = table.targets.entry(target.clone()).or_default();
        if of.len() < MAX_OF_TARGET {
            of.insert(Arc::clone(tool), Arc::new(declared));
            table.tools += 1;
        }
    }
}

impl Table {
    fn forget(&mut self, target: &TargetKey, tool: &str) {
        if self.targets.get_mut(target).is_some_and(|tools| tools.remove(tool).is_some()) {
            self.tools -= 1;
        }
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
        for says in ["A", "B"] {
            table.listed(&target("one"), &tool, declared(says));
            assert_eq!(table.find(&target("one"), "t").as_deref(), declared(says).as_ref());
        }
        table.listed(&target("one"), &tool, None);
        assert_eq!(table.find(&target("one"), "t"), None);
        for at in 0..MAX_OF_TARGET + 5 {
            table.listed(&target("one"), &at.to_string().into(), declared("A"));
        }
        assert!(table.find(&target("one"), "1023").is_some() && table.find(&target("one"), "1024").is_none());
        table.listed(&target("other"), &tool, declared("A"));
        assert!(table.find(&target("other"), "t").is_some());
    }
}
