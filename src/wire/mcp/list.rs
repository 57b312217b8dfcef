//! Lists, cut down to what the caller may see.

use super::Version;
use super::method::{alike, has_lookalike};
use super::tasks::task_created;
use super::view::{is_name, is_uri, task};
use crate::call::{Knowable, McpCall, McpObject, Object, ResourceUri, Task, Value, View};
use crate::wire::uri;

/// What [`filter_list`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filtered {
    /// Entries left.
    pub kept: usize,
    /// Entries taken out.
    pub dropped: usize,
}

#[derive(Debug, Clone, Copy)]
enum Listing {
    Tools,
    Prompts,
    Resources,
    Templates,
    Tasks,
}

impl Listing {
    fn of(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tools),
            "prompts/list" => Some(Self::Prompts),
            "resources/list" => Some(Self::Resources),
            "resources/templates/list" => Some(Self::Templates),
            "tasks/list" => Some(Self::Tasks),
            _ => None,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Tasks => "tasks",
        }
    }

    /// The member that says what an entry is about.
    fn named_by(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
            Self::Tasks => "taskId",
        }
    }

    /// What an entry is about, where that can be read.
    fn object(self, entry: &Value) -> Option<McpObject> {
        // Looked at where it stands: of most entries nothing else is ever read.
        let members = entry.as_object()?.view();
        // Which of the two a lenient reader takes nobody could say.
        if members.keys().any(|key| key != self.named_by() && alike(&key, self.named_by())) {
            return None;
        }
        let View::String(named) = members.get(self.named_by())? else { return None };
        let name = || is_name(&named).then(|| Knowable::Known((&*named).into()));
        let uri = |read: fn(&str) -> ResourceUri| is_uri(&named).then(|| Knowable::Known(read(&named)));
        Some(match self {
            Self::Tools => McpObject::Tool { name: name()?, arguments: Knowable::Unknown },
            Self::Prompts => McpObject::Prompt { name: name()?, arguments: Knowable::Unknown },
            Self::Resources => McpObject::Resource(uri(uri::resource)?),
            Self::Templates => McpObject::Resource(uri(uri::template)?),
            // Without it nobody could say which task of this id it is.
            Self::Tasks => {
                let created = Some(task_created(entry.as_object()?)?);
                McpObject::Task(Task { created, ..is_name(&named).then(|| task(&named))? })
            }
        })
    }
}

const LISTS: [&str; 5] = ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "tasks/list"];

/// Whether the results of `method` are lists that must be filtered.
pub fn is_list(method: &str) -> bool {
    Listing::of(method).is_some()
}

/// The resource of `uri`, where that can be one.
pub fn resource_entry(uri: &str) -> Option<McpObject> {
    is_uri(uri).then(|| McpObject::Resource(Knowable::Known(uri::resource(uri))))
}

/// Takes out of `result`, the answer to `request`, every entry that `keep` does not want – it is shown what would be called,
/// and the entry – and every entry without a
/// readable name or URI (a task without `createdAt`), or with another member that lenient readers take for it. `nextCursor` and `ttlMs` stay, also beside an empty list; `cacheScope` becomes `private`,
/// since the list is now one caller's own. A result of the wrong shape becomes an empty list. Does nothing where
/// `request` is no list.
pub fn filter_list(request: &McpCall, result: &mut Value, keep: impl FnMut(McpCall, &Value) -> bool) -> Filtered {
    let Some(listing) = Listing::of(&request.method) else { return Filtered::default() };
    filter(listing, request, result, keep)
}

/// Marks the answer to `request` as its caller's own: `cacheScope` (MCP 2026-07-28) becomes `private`, also where a list
/// says nothing of it, as another caller may not have the same.
pub fn mark_private(request: &McpCall, result: &mut Value) {
    let modern = || request.version.as_deref().and_then(Version::parse).is_some_and(Version::is_modern);
    let Some(result) = result.as_object_mut() else { return };
    if result.get("cacheScope").is_some() || (is_list(&request.method) && modern()) {
        result.set("cacheScope", Value::from("private"));
    }
}

/// Takes out of `result` what `keep` does not want in every member that a list could have: for an answer whose id may
/// have been another request's before. What no member looks like a list passes as it is.
pub fn filter_lookalikes(
    request: &McpCall,
    result: &mut Value,
    mut keep: impl FnMut(McpCall, &Value) -> bool,
) -> Filtered {
    let mut all = Filtered::default();
    for method in LISTS {
        let has = |listing: &Listing| {
            result.as_object().is_some_and(|result| result.iter().any(|(key, _)| alike(key, listing.key())))
        };
        let Some(listing) = Listing::of(method).filter(has) else { continue };
        let filtered = filter(listing, &McpCall { method: method.into(), ..request.clone() }, result, &mut keep);
        all = Filtered { kept: all.kept + filtered.kept, dropped: all.dropped + filtered.dropped };
    }
    all
}

fn filter(
    listing: Listing,
    request: &McpCall,
    result: &mut Value,
    mut keep: impl FnMut(McpCall, &Value) -> bool,
) -> Filtered {
    if result.as_object().is_none() {
        *result = Value::Object(Object::new());
    }
    let Some(result) = result.as_object_mut() else { return Filtered::default() };
    if result.get("cacheScope").is_some() {
        result.set("cacheScope", Value::from("private"));
    }
    // A lenient reader would take another member for the list.
    if has_lookalike(result, listing.key()) {
        *result = Object::new();
    }
    let Some(Value::Array(entries)) = result.get_mut(listing.key()) else {
        result.set(listing.key(), Vec::new().into());
        return Filtered::default();
    };
    let entries = entries.make_mut();
    let before = entries.len();
    entries.retain(|entry| listing.object(entry).is_some_and(|object| keep(request.entry(object), entry)));
    Filtered { kept: entries.len(), dropped: before - entries.len() }
}
