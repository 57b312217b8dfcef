//! The documents of all files together: duplicates found, and files that do not parse accounted for.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::agent_policy::AgentPolicySpec;
use super::authorization_policy::AuthorizationPolicySpec;
use super::backend_tls_policy::BackendTlsPolicySpec;
use super::closure::{Closes, Closure};
use super::destination_rule::DestinationRuleSpec;
use super::http_route::{HttpRouteSpec, ReferenceGrantSpec};
use super::problem::{Place, Problem, Severity};
use super::reading::{Content, Document, Entry, Reading, read, read_json};
use super::request_authentication::RequestAuthenticationSpec;
use super::service::{ConfigMap, EndpointSlice, ServiceSpec};
use super::service_entry::{ServiceEntrySpec, WorkloadEntrySpec};

/// A text of documents and where it is from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file, or the name of another source.
    pub file: Arc<PathBuf>,
    /// YAML or JSON.
    pub text: String,
}

/// One file as it takes part in a set of documents.
#[derive(Debug, Clone)]
pub enum Input {
    /// It parses; this is what it holds.
    Current(Arc<Reading>),
    /// It does not parse now, and the writer may be half way: what it held when it last did is in force.
    Kept(Arc<Reading>, Problem),
    /// It does not parse, and has not for longer than may be: what it selected and provided is closed.
    Stale(Arc<Reading>, Problem),
    /// It never parsed, so that nobody knows which targets it selects: all are closed.
    Unknown(Problem),
}

/// Typed documents, what the refused ones close, and every problem found so far.
#[derive(Debug, Default)]
pub struct Documents {
    /// Services.
    pub services: Vec<Arc<Document<ServiceSpec>>>,
    /// EndpointSlices.
    pub slices: Vec<Arc<Document<EndpointSlice>>>,
    /// ConfigMaps.
    pub config_maps: Vec<Arc<Document<ConfigMap>>>,
    /// ServiceEntries.
    pub service_entries: Vec<Arc<Document<ServiceEntrySpec>>>,
    /// WorkloadEntries.
    pub workload_entries: Vec<Arc<Document<WorkloadEntrySpec>>>,
    /// AgentPolicies.
    pub agent_policies: Vec<Arc<Document<AgentPolicySpec>>>,
    /// AuthorizationPolicies, selector ones too.
    pub authorization_policies: Vec<Arc<Document<AuthorizationPolicySpec>>>,
    /// RequestAuthentications, selector ones too.
    pub request_authentications: Vec<Arc<Document<RequestAuthenticationSpec>>>,
    /// BackendTLSPolicies.
    pub backend_tls_policies: Vec<Arc<Document<BackendTlsPolicySpec>>>,
    /// DestinationRules.
    pub destination_rules: Vec<Arc<Document<DestinationRuleSpec>>>,
    /// HTTPRoutes, and GRPCRoutes as such.
    pub http_routes: Vec<Arc<Document<HttpRouteSpec>>>,
    /// ReferenceGrants.
    pub reference_grants: Vec<Arc<Document<ReferenceGrantSpec>>>,
    /// What is closed by documents that are not in force.
    pub closures: Vec<Closure>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Documents in force.
    pub loaded: usize,
    /// Documents refused.
    pub refused: usize,
    /// Documents of kinds that are nobody's concern here.
    pub skipped: usize,
}

/// Reads all sources; one that is no YAML closes everything, as nobody knows what it selects.
pub fn load(sources: impl IntoIterator<Item = Source>) -> Documents {
    Documents::assemble(sources.into_iter().map(|source| Input::of(read(&source))))
}

/// The same of sources that a program wrote down in JSON, one document each.
pub fn load_json(sources: impl IntoIterator<Item = Source>) -> Documents {
    Documents::assemble(sources.into_iter().map(|source| Input::of(read_json(&source))))
}

impl Documents {
    /// Puts files together. Pure: the same inputs give the same documents.
    pub fn assemble(inputs: impl IntoIterator<Item = Input>) -> Self {
        let inputs: Vec<Input> = inputs.into_iter().collect();
        let mut documents = Self::default();
        let twice = duplicates(inputs.iter().filter_map(Input::reading));
        let mut kept = HashSet::new();
        for input in &inputs {
            documents.add(input, &twice, &mut kept);
        }
        documents.problems.sort();
        documents
    }

    fn add<'a>(&mut self, input: &'a Input, twice: &HashMap<&str, Vec<&Place>>, kept: &mut HashSet<&'a str>) {
        if let Input::Kept(_, problem) | Input::Stale(_, problem) | Input::Unknown(problem) = input {
            self.problems.push(problem.clone());
        }
        if let Input::Unknown(_) = input {
            let reason = "a file of documents does not parse, and what it selects is not known".to_owned();
            self.closures.push(Closure { closes: Closes::Everything, reason });
        }
        let Some(reading) = input.reading() else { return };
        self.skipped += reading.skipped;
        for entry in &reading.entries {
            self.problems.extend(entry.problems.iter().cloned());
            let places = twice.get(entry.title.as_str());
            if let Some(places) = places {
                self.duplicate(entry, places);
            } else if let Content::Refused = entry.content {
                self.refused += 1;
                self.close(entry, &refusal(entry));
            } else {
                self.loaded += 1;
            }
            if let Input::Stale(..) = input {
                self.close(entry, &format!("the file of {} no longer parses", entry.title));
            }
            // Of two Services one is kept, closed, so that its callers are told why.
            let fronts = matches!(entry.content, Content::Service(_) | Content::ServiceEntry(_));
            if places.is_none() || (fronts && kept.insert(&entry.title)) {
                self.take(&entry.content);
            }
        }
    }

    fn duplicate(&mut self, entry: &Entry, places: &[&Place]) {
        self.refused += 1;
        let others: Vec<String> =
            places.iter().filter(|place| **place != &entry.place).map(ToString::to_string).collect();
        self.problems.push(Problem {
            severity: Severity::Error,
            place: entry.place.clone(),
            document: entry.title.clone(),
            field: "metadata.name".to_owned(),
            reason: format!(
                "there is another of this kind and name at {}; all are refused, keep one",
                others.join(", ")
            ),
        });
        self.close(entry, &format!("{} stands more than once", entry.title));
    }

    fn close(&mut self, entry: &Entry, reason: &str) {
        if entry.closes != Closes::Nothing {
            self.closures.push(Closure { closes: entry.closes.clone(), reason: reason.to_owned() });
        }
    }

    fn take(&mut self, content: &Content) {
        match content {
            Content::Service(document) => self.services.push(Arc::clone(document)),
            Content::EndpointSlice(document) => self.slices.push(Arc::clone(document)),
            Content::ConfigMap(document) => self.config_maps.push(Arc::clone(document)),
            Content::ServiceEntry(document) => self.service_entries.push(Arc::clone(document)),
            Content::WorkloadEntry(document) => self.workload_entries.push(Arc::clone(document)),
            Content::AgentPolicy(document) => self.agent_policies.push(Arc::clone(document)),
            Content::AuthorizationPolicy(document) => self.authorization_policies.push(Arc::clone(document)),
            Content::RequestAuthentication(document) => self.request_authentications.push(Arc::clone(document)),
            Content::BackendTlsPolicy(document) => self.backend_tls_policies.push(Arc::clone(document)),
            Content::DestinationRule(document) => self.destination_rules.push(Arc::clone(document)),
            Content::HttpRoute(document) => self.http_routes.push(Arc::clone(document)),
            Content::ReferenceGrant(document) => self.reference_grants.push(Arc::clone(document)),
            Content::Name | Content::Refused => {}
        }
    }
}

impl Input {
    /// What was read, or that nobody knows what it selects.
    pub fn of(reading: Result<Reading, Problem>) -> Self {
        match reading {
            Ok(reading) => Self::Current(Arc::new(reading)),
            Err(problem) => Self::Unknown(problem),
        }
    }

    fn reading(&self) -> Option<&Reading> {
        match self {
            Self::Current(reading) | Self::Kept(reading, _) | Self::Stale(reading, _) => Some(reading),
            Self::Unknown(_) => None,
        }
    }
}

/// `Kind namespace/name: field: reason` of the first error.
fn refusal(entry: &Entry) -> String {
    match entry.problems.first() {
        Some(problem) if problem.field.is_empty() => format!("{}: {}", entry.title, problem.reason),
        Some(problem) => format!("{}: {}: {}", entry.title, problem.field, problem.reason),
        None => format!("{} is refused", entry.title),
    }
}

/// Titles that stand more than once, with every place. Documents without a readable name are not compared.
fn duplicates<'a>(readings: impl Iterator<Item = &'a Reading>) -> HashMap<&'a str, Vec<&'a Place>> {
    let mut places: HashMap<&str, Vec<&Place>> = HashMap::new();
    for entry in readings.flat_map(|reading| &reading.entries).filter(|entry| !entry.title.ends_with('/')) {
        places.entry(&entry.title).or_default().push(&entry.place);
    }
    places.retain(|_, places| places.len() > 1);
    places
}
