use super::matcher::{Absence, Many, Seen};
use super::pattern::Pattern;
use super::problems::Problems;
use super::reading::Reading;
use super::scope::{Lens, Scope};
use super::truth::Truth;
use crate::call::{A2aOperation, Call, Knowable, McpObject, ResourceUri, Task};
use crate::document::agent_policy::{HttpMatch, Protocol, To};
use crate::wire::path::canonical_spelling;

/// One entry of `to`, compiled: about exactly one kind of call.
#[derive(Debug)]
pub(super) enum Object {
    Tools(Many),
    Prompts(Many),
    Resources(Many),
    Methods(Many),
    /// Operations of A2A, and the skill that a message asks for.
    A2a(Box<A2a>),
    Http(Box<Http>),
}

/// `to.operations` and `to.skills`, compiled.
#[derive(Debug)]
pub(super) struct A2a {
    operations: Many,
    skills: Many,
}

/// `to.http`, compiled.
#[derive(Debug)]
pub(super) struct Http {
    methods: Many,
    paths: Many,
    hosts: Many,
}

impl Object {
    /// Compiles an entry; `path` is that of the entry. None where it is wrong.
    pub(super) fn compile(to: &To, protocol: Option<Protocol>, path: &str, problems: &mut Problems) -> Option<Self> {
        let filled = |lists: &[&Vec<String>]| lists.iter().any(|list| !list.is_empty());
        let kinds = [
            ("tools", filled(&[&to.tools, &to.not_tools])),
            ("prompts", filled(&[&to.prompts, &to.not_prompts])),
            ("resources", filled(&[&to.resources, &to.not_resources])),
            ("methods", filled(&[&to.methods, &to.not_methods])),
            ("operations", filled(&[&to.operations, &to.not_operations, &to.skills, &to.not_skills])),
            ("http", to.http.is_some()),
        ];
        let named: Vec<&str> = kinds.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
        let kind = match named.as_slice() {
            [] => {
                problems.error(path, "names nothing: leave `to` out for every call, or name a field");
                return None;
            }
            [kind] => *kind,
            several => {
                let several = several.join(" and ");
                problems.error(path, format_args!("{several} are different kinds of call: write one entry for each"));
                return None;
            }
        };
        check_protocol(kind, protocol, path, problems);
        let plain = Pattern::parse;
        Some(match kind {
            "tools" => Self::Tools(problems.many((path, kind), (&to.tools, &to.not_tools), plain)),
            "prompts" => Self::Prompts(problems.many((path, kind), (&to.prompts, &to.not_prompts), plain)),
            "resources" => Self::Resources(problems.many((path, kind), (&to.resources, &to.not_resources), plain)),
            "methods" => Self::Methods(problems.many((path, kind), (&to.methods, &to.not_methods), plain)),
            "operations" => Self::A2a(Box::new(A2a {
                operations: problems.many((path, kind), (&to.operations, &to.not_operations), operation),
                skills: problems.many((path, "skills"), (&to.skills, &to.not_skills), plain),
            })),
            _ => Self::Http(Box::new(Http::compile(to.http.as_ref()?, &format!("{path}.http"), problems))),
        })
    }

    /// Whether requests on a plain port can match.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Http(_))
    }

    /// Whether the call matches. `absence` says what a value that cannot be known counts for, and with that whether
    /// the rule refuses or permits.
    pub(super) fn truth(&self, scope: &Scope<'_>, absence: Absence) -> Truth {
        match self {
            Self::Http(http) => http.truth(scope, absence),
            // Any call: it may be of this kind or of another.
            _ if scope.any_call() => self.of_any_call(),
            Self::A2a(a2a) => a2a.truth(scope, absence),
            Self::Methods(many) => match scope.facts.call {
                Call::Mcp(_) if absence == Absence::Misses && unnamed_raw(scope) => Truth::False,
                Call::Mcp(_) => many.truth(Seen::Value(scope.method), absence),
                Call::A2a(_) | Call::Http | Call::Tcp => Truth::False,
            },
            Self::Tools(many) => match scope.object() {
                Some(McpObject::Tool { name, .. }) => many.truth(seen(name), absence),
                Some(McpObject::Task(task)) => many.truth(seen_of(task), absence),
                _ => Truth::False,
            },
            Self::Prompts(many) => match scope.object() {
                Some(McpObject::Prompt { name, .. }) => many.truth(seen(name), absence),
                _ => Truth::False,
            },
            Self::Resources(many) => match scope.object() {
                Some(McpObject::Resource(Knowable::Known(uri))) => resource(many, uri, absence).into(),
                Some(McpObject::Resource(Knowable::Unknown)) => many.truth(Seen::Unknown, absence),
                _ => Truth::False,
            },
        }
    }

    fn of_any_call(&self) -> Truth {
        match self {
            Self::Methods(many) => many.truth(Seen::Unknown, Absence::Misses),
            Self::Tools(many) | Self::Prompts(many) | Self::Resources(many) if many.is_never() => Truth::False,
            Self::Tools(_) | Self::Prompts(_) | Self::Resources(_) => Truth::Unknown,
            Self::A2a(a2a) if a2a.operations.is_never() || a2a.skills.is_never() => Truth::False,
            Self::A2a(a2a) if a2a.skills.is_empty() => a2a.operations.truth(Seen::Unknown, Absence::Misses),
            Self::A2a(_) => Truth::Unknown,
            Self::Http(_) => Truth::False,
        }
    }
}

fn check_protocol(kind: &str, protocol: Option<Protocol>, path: &str, problems: &mut Problems) {
    let (wrong, speaks) = match protocol {
        Some(Protocol::Mcp) => (kind == "operations", "MCP"),
        Some(Protocol::A2a) => (matches!(kind, "tools" | "prompts" | "resources" | "methods"), "A2A"),
        None => return,
    };
    if wrong {
        let what = if kind == "operations" { "operations and skills" } else { kind };
        problems.error(path, format_args!("{what} cannot match: the policy's protocol is {speaks}"));
    }
}

fn seen(name: &Knowable<std::sync::Arc<str>>) -> Seen<'_> {
    name.known().map_or(Seen::Unknown, |name| Seen::Value(name))
}

/// The tool of a task; one whose maker is not known is a call of no tool.
fn seen_of(task: &Task) -> Seen<'_> {
    match (&task.tool, &task.id) {
        (Some(tool), _) => Seen::Value(tool),
        (None, Knowable::Unknown) => Seen::Unknown,
        (None, Knowable::Known(_)) => Seen::Absent,
    }
}

/// Whether the call names a resource by a URI that normalising changes: two readers may take it for two resources.
pub(super) fn unnamed_raw(scope: &Scope<'_>) -> bool {
    matches!(scope.object(), Some(McpObject::Resource(Knowable::Known(uri))) if uri.raw != uri.normal)
}

/// A rule that permits matches the normal form, or names a raw one exactly: a prefix of a raw URI proves nothing of
/// what it leads to. One that refuses matches either form.
fn resource(many: &Many, uri: &ResourceUri, absence: Absence) -> bool {
    if uri.raw == uri.normal {
        return many.matches(&uri.normal);
    }
    let named = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.is_exactly(&uri.raw));
    let matched =
        |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(&uri.normal) || pattern.matches(&uri.raw));
    match absence {
        Absence::Misses => named(&many.any) && !matched(&many.none),
        Absence::Matches => {
            let excluded = named(&many.none) || many.none.iter().any(|pattern| pattern.matches(&uri.normal));
            (many.any.is_empty() || matched(&many.any)) && !excluded
        }
    }
}

impl A2a {
    fn truth(&self, scope: &Scope<'_>, absence: Absence) -> Truth {
        let Call::A2a(call) = scope.facts.call else { return Truth::False };
        let operation = self.operations.truth(Seen::Value(call.operation.as_str()), absence);
        if self.skills.is_empty() {
            return operation;
        }
        // Only a message asks for a skill; which one is what its sender says.
        let skill = || match scope.skill {
            _ if !call.operation.sends() => Truth::False,
            Some(skill) => self.skills.truth(Seen::Value(skill), absence),
            None => self.skills.truth(Seen::Absent, absence),
        };
        operation.and(skill)
    }
}

/// The name of an operation, or a pattern that some name fits.
fn operation(text: &str) -> Result<Pattern, String> {
    let pattern = Pattern::parse(text)?;
    if A2aOperation::ALL.into_iter().any(|operation| pattern.matches(operation.as_str())) {
        return Ok(pattern);
    }
    let names: Vec<&str> = A2aOperation::ALL.into_iter().map(A2aOperation::as_str).collect();
    Err(format!("`{text}` is no operation of A2A; they are {}", names.join(", ")))
}

impl Http {
    fn compile(http: &HttpMatch, path: &str, problems: &mut Problems) -> Self {
        if *http == HttpMatch::default() {
            problems.error(path, "names nothing: write `paths: [\"*\"]` for every request");
        }
        let host = |text: &str| Pattern::parse(text).map(|pattern| pattern.to_lower_case());
        Self {
            methods: problems.many((path, "methods"), (&http.methods, &http.not_methods), Pattern::parse),
            paths: problems.many((path, "paths"), (&http.paths, &http.not_paths), path_pattern),
            hosts: problems.many((path, "hosts"), (&http.hosts, &http.not_hosts), host),
        }
    }

    fn truth(&self, scope: &Scope<'_>, absence: Absence) -> Truth {
        match scope.lens {
            // What a caller could send on an MCP port beside MCP lets no MCP session begin.
            Lens::AnyCall => return Truth::False,
            Lens::Anything => return Truth::Unknown,
            Lens::Call | Lens::List => {}
        }
        match (scope.facts.call, scope.facts.request) {
            (Call::Http, Some(head)) => self
                .methods
                .truth(Seen::Value(head.method.as_str()), absence)
                .and(|| self.path(&head.path, absence).into())
                .and(|| self.host(&head.host).into()),
            // Bytes on TCP may be HTTP to whoever reads them, and what they ask for cannot be known.
            (Call::Tcp, _) | (Call::Http, None) => absence.truth(),
            (Call::Mcp(_) | Call::A2a(_), _) => Truth::False,
        }
    }

    /// Whether the path matches; without patterns every one does.
    fn path(&self, path: &str, absence: Absence) -> bool {
        let Many { any, none } = &self.paths;
        self.paths.is_empty() || Reading::of(path).holds(any, none, absence == Absence::Matches)
    }

    /// A host matches with its port and without.
    fn host(&self, host: &str) -> bool {
        let bare = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let bare = bare.map_or(host, |(bare, _)| bare);
        let matches = |pattern: &Pattern| pattern.matches(host) || pattern.matches(bare);
        (self.hosts.any.is_empty() || self.hosts.any.iter().any(matches)) && !self.hosts.none.iter().any(matches)
    }
}

/// In the spelling that paths have where there is an AgentPolicy: in any other the pattern would never match.
fn path_pattern(text: &str) -> Result<Pattern, String> {
    if text.contains('{') || text.contains('}') {
        return Err(format!("`{text}`: path templates are not available; write `pre*`, `*suf` or the whole path"));
    }
    if text.contains('?') {
        return Err(format!("`{text}`: paths are matched without their query"));
    }
    Pattern::parse(text).map(|pattern| pattern.respelt(canonical_spelling))
}
