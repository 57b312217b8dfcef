//! One file's text to its documents: each typed, or refused with what it closes. Other files play no part.

use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::agent_policy::AgentPolicySpec;
use super::authorization_policy::AuthorizationPolicySpec;
use super::backend_tls_policy::{self, BackendTlsPolicySpec};
use super::closure::{self, Closes};
use super::decode::decode;
use super::destination_rule::DestinationRuleSpec;
use super::documents::Source;
use super::http_route::{GrpcRouteSpec, HttpRouteSpec, ReferenceGrantSpec, TcpRouteSpec};
use super::json;
use super::kind::{Class, Kind, classify};
use super::metadata;
use super::nearest::nearest;
use super::problem::{FieldProblem, Meta, Place, Problem, Severity};
use super::request_authentication::{self, RequestAuthenticationSpec};
use super::service::{self, ConfigMap, EndpointSlice, ServiceSpec};
use super::service_entry::{ServiceEntrySpec, WorkloadEntrySpec};
use super::target_refs;
use super::tree::{self, NoYaml, Node, Value, join};

/// A typed document and where its fields stand.
#[derive(Debug, Clone)]
pub struct Document<S> {
    /// Metadata.
    pub meta: Meta,
    /// `spec`, or the whole of kinds that have none.
    pub spec: S,
    /// Where it is from.
    pub origin: Origin,
}

/// Where a document is from, and what depends on it.
#[derive(Debug, Clone)]
pub struct Origin {
    title: String,
    place: Place,
    closes: Closes,
    tree: Arc<Node>,
}

impl Origin {
    /// `Kind namespace/name`
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The file, or the name that another source has for it.
    pub fn source(&self) -> &Arc<PathBuf> {
        &self.place.file
    }

    /// What is closed if the document turns out not to be fit to be in force.
    pub fn closes(&self) -> &Closes {
        &self.closes
    }

    /// Adds place and name to what another room found in this document.
    pub fn problem(&self, found: FieldProblem) -> Problem {
        let line = if found.field.is_empty() { self.place.line } else { self.tree.line_of(&found.field) };
        let place = Place { file: Arc::clone(&self.place.file), line };
        Problem {
            severity: found.severity,
            place,
            document: self.title.clone(),
            field: found.field,
            reason: found.reason,
        }
    }
}

/// The documents of one file.
#[derive(Debug)]
pub struct Reading {
    pub(super) entries: Vec<Entry>,
    pub(super) skipped: usize,
}

impl Reading {
    /// Whether the file holds no document at all, skipped ones included.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.skipped == 0
    }
}

/// One document of a kind that is understood here, or was very likely meant to be.
#[derive(Debug)]
pub(super) struct Entry {
    /// `Kind namespace/name`, which two documents must not share; empty parts where unreadable.
    pub(super) title: String,
    pub(super) place: Place,
    pub(super) closes: Closes,
    pub(super) content: Content,
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Service(Arc<Document<ServiceSpec>>),
    EndpointSlice(Arc<Document<EndpointSlice>>),
    ConfigMap(Arc<Document<ConfigMap>>),
    ServiceEntry(Arc<Document<ServiceEntrySpec>>),
    WorkloadEntry(Arc<Document<WorkloadEntrySpec>>),
    AgentPolicy(Arc<Document<AgentPolicySpec>>),
    AuthorizationPolicy(Arc<Document<AuthorizationPolicySpec>>),
    RequestAuthentication(Arc<Document<RequestAuthenticationSpec>>),
    BackendTlsPolicy(Arc<Document<BackendTlsPolicySpec>>),
    DestinationRule(Arc<Document<DestinationRuleSpec>>),
    HttpRoute(Arc<Document<HttpRouteSpec>>),
    ReferenceGrant(Arc<Document<ReferenceGrantSpec>>),
    /// Gateway, Namespace: known by name only.
    Name,
    /// Not in force; `closes` says what it closes.
    Refused,
}

/// Reads the documents of one text. The error is about a text that is no YAML at all.
pub fn read(source: &Source) -> Result<Reading, Problem> {
    reading(source, tree::parse(&source.text), "YAML")
}

/// As [`read`], of the one document that a program wrote down in JSON. The error is about a text that is none.
pub fn read_json(source: &Source) -> Result<Reading, Problem> {
    reading(source, json::parse(&source.text).map(|node| vec![node]), "JSON")
}

fn reading(source: &Source, nodes: Result<Vec<Node>, NoYaml>, what: &str) -> Result<Reading, Problem> {
    let nodes = nodes.map_err(|fault| Problem {
        severity: Severity::Error,
        place: Place { file: Arc::clone(&source.file), line: fault.line },
        document: "file".to_owned(),
        field: String::new(),
        reason: format!("is no {what}: {}", fault.reason),
    })?;
    let mut reading = Reading { entries: Vec::new(), skipped: 0 };
    for node in nodes {
        unfold(node, &source.file, &mut reading);
    }
    Ok(reading)
}

/// `List`s hold documents; everything else is one.
fn unfold(mut node: Node, file: &Arc<PathBuf>, reading: &mut Reading) {
    if let Some(reason) = node.odd_list() {
        let place = Place { file: Arc::clone(file), line: node.line };
        let draft = Draft { kind: None, place, node: Arc::new(node) };
        reading.entries.push(draft.refused(vec![("items".to_owned(), reason.to_owned())]));
        return;
    }
    if let Some(items) = node.is_list().then(|| node.take_items("items")).flatten() {
        for item in items {
            unfold(item, file, reading);
        }
        return;
    }
    match one(node, file) {
        Some(entry) => reading.entries.push(entry),
        None => reading.skipped += 1,
    }
}

fn one(node: Node, file: &Arc<PathBuf>) -> Option<Entry> {
    let place = Place { file: Arc::clone(file), line: node.line };
    let class = match (word(&node, "apiVersion"), word(&node, "kind")) {
        (Ok(api_version), Ok(kind)) => classify(api_version, kind),
        (Err(reason), _) => Class::Misspelt { field: "apiVersion", reason, meant: None },
        (_, Err(reason)) => Class::Misspelt { field: "kind", reason, meant: None },
    };
    let draft = match class {
        Class::Skipped => return None,
        Class::Read(kind) => Draft { kind: Some(kind), place, node: Arc::new(node) },
        Class::Misspelt { field, reason, meant } => {
            let draft = Draft { kind: meant, place, node: Arc::new(node) };
            return Some(draft.refused(vec![(field.to_owned(), reason)]));
        }
    };
    Some(draft.check())
}

fn word<'a>(node: &'a Node, key: &str) -> Result<&'a str, String> {
    let found = node
        .get(key)
        .ok_or_else(|| "is required and missing; every document names its apiVersion and kind".to_owned())?;
    found.text().ok_or_else(|| "must be text".to_owned())
}

/// A document on its way to an [`Entry`].
struct Draft {
    kind: Option<Kind>,
    place: Place,
    node: Arc<Node>,
}

type Findings = Vec<(String, String)>;

impl Draft {
    fn refused(&self, findings: Findings) -> Entry {
        let meta = metadata::lenient(&self.node);
        let kind = self.kind.map_or("", Kind::name);
        let title = format!("{} {}/{}", if kind.is_empty() { "document" } else { kind }, meta.namespace, meta.name);
        let problems = findings.into_iter().map(|(field, reason)| Problem {
            severity: Severity::Error,
            place: Place { file: Arc::clone(&self.place.file), line: self.node.line_of(&field) },
            document: title.clone(),
            field,
            reason,
        });
        Entry {
            problems: problems.collect(),
            place: self.place.clone(),
            closes: closure::of(self.kind, &self.node),
            content: Content::Refused,
            title,
        }
    }

    fn check(self) -> Entry {
        self.typed().unwrap_or_else(|findings| self.refused(findings))
    }

    fn typed(&self) -> Result<Entry, Findings> {
        if let Some((field, _)) = self.node.twice() {
            return Err(vec![(field, "stands twice in one mapping; keep one".to_owned())]);
        }
        let kind = self.kind.ok_or_else(Findings::new)?;
        if kind.is_strict() {
            self.only(&["apiVersion", "kind", "metadata", "spec", "status"])?;
        }
        if kind.is_policy() {
            self.whole()?;
        }
        let meta = metadata::strict(&self.node)?;
        let content = match kind {
            Kind::Service => {
                fit(service::misspelt(&self.node))?;
                let spec = self.spec()?;
                fit(service::check(&spec))?;
                Content::Service(self.document(meta, spec))
            }
            Kind::EndpointSlice => {
                if !meta.labels.contains_key(closure::SERVICE_NAME) {
                    let field = format!("metadata.labels.{}", closure::SERVICE_NAME);
                    return Err(vec![(field, "is missing; name the Service that the endpoints are of".to_owned())]);
                }
                Content::EndpointSlice(self.document(meta, decode(&self.node, "")?))
            }
            Kind::ConfigMap => Content::ConfigMap(self.document(meta, decode(&self.node, "")?)),
            Kind::ServiceEntry => Content::ServiceEntry(self.document(meta, self.spec()?)),
            Kind::WorkloadEntry => Content::WorkloadEntry(self.document(meta, self.spec()?)),
            Kind::AgentPolicy => Content::AgentPolicy(self.document(meta, self.spec()?)),
            Kind::AuthorizationPolicy => Content::AuthorizationPolicy(self.document(meta, self.spec()?)),
            Kind::RequestAuthentication => {
                let spec: RequestAuthenticationSpec = self.spec()?;
                fit(target_refs::of_request_authentication(&spec.target_refs, spec.target_ref.as_ref()))?;
                if selects_targets(&self.node) {
                    fit(request_authentication::check(&spec))?;
                }
                Content::RequestAuthentication(self.document(meta, spec))
            }
            Kind::BackendTlsPolicy => {
                let spec: BackendTlsPolicySpec = self.spec()?;
                fit(target_refs::of_backend_tls(&spec.target_refs))?;
                fit(backend_tls_policy::check(&spec))?;
                Content::BackendTlsPolicy(self.document(meta, spec))
            }
            Kind::DestinationRule => Content::DestinationRule(self.document(meta, self.spec()?)),
            Kind::HttpRoute => Content::HttpRoute(self.document(meta, self.spec()?)),
            Kind::GrpcRoute => Content::HttpRoute(self.document(meta, self.spec::<GrpcRouteSpec>()?.into_http())),
            Kind::ReferenceGrant => Content::ReferenceGrant(self.document(meta, self.spec()?)),
            Kind::TcpRoute => {
                let spec: TcpRouteSpec = self.spec()?;
                let one = || vec![("spec.rules".to_owned(), "must be one: a rule has no matches".to_owned())];
                Content::HttpRoute(self.document(meta, spec.into_http().ok_or_else(one)?))
            }
            Kind::TlsRoute => return Ok(self.route(kind)),
            Kind::Gateway | Kind::Namespace => return Ok(self.entry(kind, &meta, Content::Name)),
        };
        let meta = metadata::lenient(&self.node);
        Ok(self.entry(kind, &meta, content))
    }

    fn entry(&self, kind: Kind, meta: &Meta, content: Content) -> Entry {
        let title = format!("{} {}/{}", kind.name(), meta.namespace, meta.name);
        Entry { title, place: self.place.clone(), closes: self.closes(), content, problems: Vec::new() }
    }

    /// What the document closes though it types: a policy that names no target is a sidecar's or ztunnel's.
    fn closes(&self) -> Closes {
        match self.kind {
            Some(Kind::AuthorizationPolicy | Kind::RequestAuthentication) if !selects_targets(&self.node) => {
                Closes::Nothing
            }
            kind => closure::of(kind, &self.node),
        }
    }

    fn document<S>(&self, meta: Meta, spec: S) -> Arc<Document<S>> {
        let title = format!("{} {}/{}", self.kind.map_or("", Kind::name), meta.namespace, meta.name);
        let tree = Arc::clone(&self.node);
        let origin = Origin { title, place: self.place.clone(), closes: self.closes(), tree };
        Arc::new(Document { meta, spec, origin })
    }

    fn spec<T: DeserializeOwned>(&self) -> Result<T, Findings> {
        let missing = || vec![("spec".to_owned(), "is required and missing".to_owned())];
        decode(self.node.get("spec").ok_or_else(missing)?, "spec")
    }

    /// A field of a policy that says nothing reads like "nobody", and would mean "everybody".
    fn whole(&self) -> Result<(), Findings> {
        let Some(spec) = self.node.get("spec") else { return Ok(()) };
        if let Some(path) = spec.find(&|_, value| *value == Value::Null) {
            return Err(vec![(
                join("spec", &path),
                "has no value (null): write one, or take the field away".to_owned(),
            )]);
        }
        if spec
            .get("targetRefs")
            .and_then(Node::items)
            .unwrap_or_default()
            .iter()
            .any(|one| one.get("namespace").is_some())
        {
            let reason =
                "a policy's targets are in its own namespace: take `namespace` out here, and put the policy there";
            return Err(vec![("spec.targetRefs".to_owned(), reason.to_owned())]);
        }
        // Sets of rules and targets may be empty, and are checked where they matter; conditions may not.
        let open = ["allow", "deny", "require", "rules", "targetRefs", "jwtRules"];
        let empty = |key: &str, value: &Value| *value == Value::List(Vec::new()) && !open.contains(&key);
        match spec.find(&empty) {
            Some(path) => Err(vec![(
                join("spec", &path),
                "is an empty list, which is ambiguous: take the field away, or name something".to_owned(),
            )]),
            None => Ok(()),
        }
    }

    fn only(&self, known: &[&str]) -> Result<(), Findings> {
        let unknown = self.node.fields().iter().filter(|field| !known.contains(&field.key.as_str()));
        let findings: Findings = unknown
            .map(|field| {
                let near = nearest(&field.key, known.iter().copied());
                let hint = near.map_or_else(
                    || format!("; known here: {}", known.join(", ")),
                    |near| format!("; did you mean `{near}`?"),
                );
                (field.key.clone(), format!("unknown field{hint}"))
            })
            .collect();
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }

    /// Routes by what is in a client's own TLS are not built: they close what they name as parent.
    fn route(&self, kind: Kind) -> Entry {
        let mut entry = self.refused(Findings::new());
        let harmless = entry.closes == Closes::Nothing;
        let reason = if harmless {
            format!("{} is not built yet; this one names no Service as parent and has no effect", kind.name())
        } else {
            format!("{} is not built yet: its parents are closed until it is taken away", kind.name())
        };
        entry.problems.push(Problem {
            severity: if harmless { Severity::Warning } else { Severity::Error },
            place: Place { file: Arc::clone(&self.place.file), line: self.node.line_of("spec.parentRefs") },
            document: entry.title.clone(),
            field: "spec.parentRefs".to_owned(),
            reason,
        });
        if harmless {
            entry.content = Content::Name;
        }
        entry
    }
}

fn selects_targets(root: &Node) -> bool {
    let spec = root.get("spec");
    spec.is_some_and(|spec| spec.get("targetRef").is_some() || spec.get("targetRefs").is_some())
}

fn fit(found: Vec<FieldProblem>) -> Result<(), Findings> {
    let errors: Findings = found.into_iter().map(|problem| (problem.field, problem.reason)).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}
