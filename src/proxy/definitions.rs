//! Which definitions of pinned tools each endpoint was last seen to list: a bounded table. What it has forgotten is asked
//! for again.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use crate::document::agent_policy::PinMode;
use crate::mesh::TargetKey;
use crate::policy::{Pinned, Rules};
use crate::wire::mcp::Definition;

/// Tools of one list that are told of by name.
const MAX_TOLD: usize = 16;

/// One tool as a server lists it, and how that stands to the pins.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) tool: Arc<str>,
    pub(super) definition: Definition,
    pub(super) pinned: Pinned,
}

/// The table. The lock is held for a look-up only.
#[derive(Debug)]
pub(super) struct Definitions {
    table: Mutex<Table>,
    capacity: usize,
    age: Duration,
    keys: RandomState,
}

/// A target and the id of one of its endpoints.
pub(super) type Place = (TargetKey, Arc<str>);

#[derive(Debug, Default)]
struct Table {
    places: HashMap<Place, Listing>,
    /// By age.
    order: VecDeque<Place>,
    tools: usize,
}

#[derive(Debug, Default)]
struct Listing {
    /// No definitions: it was looked for and not listed.
    tools: HashMap<Arc<str>, (Vec<Definition>, Instant)>,
    /// Of what was last found not to be pinned.
    strange: Option<u64>,
}

impl Definitions {
    /// At most `capacity` tools over all endpoints, each believed for `age`; the endpoint that listed first is forgotten
    /// first.
    pub(super) fn new(capacity: usize, age: Duration) -> Self {
        Self { table: Mutex::default(), capacity, age, keys: RandomState::new() }
    }

    /// An endpoint listed these, all on one page. Names that `rules` do not pin are not kept, so that no server fills the
    /// table. Says whether what is not pinned among them is news.
    pub(super) fn listed(&self, rules: &Rules, place: Place, listed: &[Listed]) -> bool {
        let mut told: HashMap<&Arc<str>, Vec<Definition>> = HashMap::new();
        for one in listed.iter().filter(|one| rules.pins_tool(&one.tool)) {
            told.entry(&one.tool).or_default().push(one.definition);
        }
        let strange: Vec<_> = listed.iter().filter(|one| one.pinned != Pinned::Yes).map(|one| one.definition).collect();
        let strange = (!strange.is_empty()).then(|| self.keys.hash_one(strange));
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for (tool, definitions) in told {
            table.keep(place.clone(), Arc::clone(tool), definitions);
        }
        table.shrink(self.capacity);
        let listing = table.at(place);
        let news = strange.is_some() && listing.strange != strange;
        listing.strange = strange.or(listing.strange);
        news
    }

    /// An endpoint lists no tool of that name.
    pub(super) fn absent(&self, place: Place, tool: &Arc<str>) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.keep(place, Arc::clone(tool), Vec::new());
        table.shrink(self.capacity);
    }

    /// Every definition that the endpoint last listed under that name, where that is known; empty where it lists none.
    pub(super) fn find(&self, place: &Place, tool: &str) -> Option<Vec<Definition>> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let (definitions, at) = table.places.get(place)?.tools.get(tool)?;
        (at.elapsed() < self.age).then(|| definitions.clone())
    }

    /// The endpoint says that its list is another now.
    pub(super) fn changed(&self, place: &Place) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.forget(place);
    }
}

impl Shared {
    /// Remembers what an endpoint listed, and tells of what is not pinned.
    pub(super) fn note_listed(&self, rules: &Rules, place: Place, listed: &[Listed]) {
        let strange: Vec<&Listed> = listed.iter().filter(|one| one.pinned != Pinned::Yes).collect();
        self.telemetry.metrics().tools_not_pinned(strange.len());
        let (target, endpoint) = place.clone();
        if !self.definitions.listed(rules, place, listed) || rules.pins() == Some(PinMode::Observe) {
            return;
        }
        for Listed { tool, definition, .. } in strange.iter().take(MAX_TOLD) {
            let pinned = rules.pins_tool(tool);
            tracing::warn!(%target, %endpoint, ?tool, sha256 = %definition, pinned, "the definition of a tool is not pinned");
        }
        if let Some(more) = strange.len().checked_sub(MAX_TOLD).filter(|more| *more > 0) {
            tracing::warn!(%target, %endpoint, more, "definitions of tools are not pinned");
        }
    }
}

impl Table {
    fn keep(&mut self, place: Place, tool: Arc<str>, definitions: Vec<Definition>) {
        let known = self.at(place).tools.insert(tool, (definitions, Instant::now()));
        self.tools += usize::from(known.is_none());
    }

    fn at(&mut self, place: Place) -> &mut Listing {
        if !self.places.contains_key(&place) {
            self.order.push_back(place.clone());
        }
        self.places.entry(place).or_default()
    }

    fn shrink(&mut self, capacity: usize) {
        while self.tools > capacity || self.places.len() > capacity {
            let Some(oldest) = self.order.front().cloned() else { break };
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, place: &Place) {
        let Some(listing) = self.places.remove(place) else { return };
        self.tools = self.tools.saturating_sub(listing.tools.len());
        self.order.retain(|other| other != place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::TargetKind;
    use crate::policy::fixture::mcp_rules;
    use crate::wire::json;

    fn place(endpoint: &str) -> Place {
        let (kind, namespace, name) = (TargetKind::Service, "tools".into(), "repo".into());
        (TargetKey { kind, namespace, name, port: 80, at: None }, endpoint.into())
    }

    fn definition(name: &str, what: &str) -> Definition {
        Definition::of(&json::parse(format!(r#"{{"name":"{name}","description":"{what}"}}"#).as_bytes()).unwrap())
            .unwrap()
    }

    fn rules(tools: &[&str]) -> Rules {
        let pins = tools.iter().map(|tool| format!("{{name: {tool}, sha256: {}}}", definition(tool, "good")));
        mcp_rules(&[&format!("allow: [{{}}]\npins: {{tools: [{}]}}", pins.collect::<Vec<_>>().join(", "))])
    }

    fn listed(rules: &Rules, tool: &str, what: &str) -> Listed {
        let definition = definition(tool, what);
        Listed { tool: tool.into(), definition, pinned: rules.pinned(tool, &definition) }
    }

    #[tokio::test(start_paused = true)]
    async fn each_endpoint_is_believed_for_itself_and_for_a_time() {
        let (definitions, rules) = (Definitions::new(8, Duration::from_secs(60)), rules(&["x", "y"]));
        assert!(!definitions.listed(&rules, place("a"), &[listed(&rules, "x", "good"), listed(&rules, "y", "good")]));
        assert_eq!(definitions.find(&place("a"), "x"), Some(vec![definition("x", "good")]));
        assert_eq!(definitions.find(&place("b"), "x"), None);
        assert!(definitions.listed(&rules, place("a"), &[listed(&rules, "x", "bad")]), "news");
        assert!(!definitions.listed(&rules, place("a"), &[listed(&rules, "x", "bad")]), "no news");
        assert_eq!(definitions.find(&place("a"), "x"), Some(vec![definition("x", "bad")]));
        definitions.absent(place("a"), &"y".into());
        assert_eq!(definitions.find(&place("a"), "y"), Some(Vec::new()));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(definitions.find(&place("a"), "x"), None);
        definitions.listed(&rules, place("a"), &[listed(&rules, "x", "good")]);
        definitions.changed(&place("a"));
        assert_eq!(definitions.find(&place("a"), "x"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_name_listed_twice_is_both() {
        let (definitions, rules) = (Definitions::new(8, Duration::from_secs(60)), rules(&["x"]));
        definitions.listed(&rules, place("a"), &[listed(&rules, "x", "bad"), listed(&rules, "x", "good")]);
        assert_eq!(definitions.find(&place("a"), "x").unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn no_server_fills_the_table() {
        let (definitions, rules) = (Definitions::new(2, Duration::from_secs(60)), rules(&["x"]));
        let many: Vec<_> = (0..100).map(|at| listed(&rules, &format!("t{at}"), "any")).collect();
        assert!(definitions.listed(&rules, place("a"), &many));
        assert_eq!(definitions.table.lock().unwrap().tools, 0);
        for endpoint in ["a", "b", "c"] {
            definitions.listed(&rules, place(endpoint), &[listed(&rules, "x", "good")]);
        }
        assert_eq!(definitions.find(&place("a"), "x"), None, "the oldest goes first");
        assert!(definitions.find(&place("c"), "x").is_some());
        let table = definitions.table.lock().unwrap();
        assert_eq!((table.tools, table.order.len()), (2, 2));
    }
}
