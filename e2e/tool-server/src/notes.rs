//! The MCP side: tools, a prompt and resources over notes in memory. Every error of a tool is a result that a model can
//! read (`isError`), never a protocol error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::handler::server::router::prompt::PromptRouter;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResult, ContentBlock, Implementation, ListResourcesResult, PaginatedRequestParams, PromptMessage,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, Role,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{
    ErrorData, RoleServer, ServerHandler, prompt, prompt_handler, prompt_router, schemars, tool, tool_handler,
    tool_router,
};
use serde::Deserialize;

/// Most notes kept; a test or a demo needs a handful.
const MAX_NOTES: usize = 10_000;
const SCHEME: &str = "note:///";

#[derive(Debug, Clone)]
struct Note {
    owner: String,
    text: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct ById {
    /// The note's id, as `n1`.
    id: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct Search {
    /// Text to look for in notes.
    query: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct NewNote {
    /// The organisation that the note belongs to.
    owner: String,
    /// The note's text.
    text: String,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
struct ChangedNote {
    /// The note's id, as `n1`.
    id: String,
    /// The organisation that the note belongs to from now on.
    owner: String,
    /// The note's new text.
    text: String,
}

/// The notes and the MCP service over them. Clones share the notes.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    notes: Arc<Mutex<BTreeMap<String, Note>>>,
    tool_router: ToolRouter<Self>,
    prompt_router: PromptRouter<Self>,
}

impl Notes {
    pub(crate) fn with_examples() -> Self {
        let example = |id: &str, owner: &str, text: &str| {
            (id.to_owned(), Note { owner: owner.to_owned(), text: text.to_owned() })
        };
        let notes = BTreeMap::from([
            example("n1", "acme", "Rotate the signing keys on Monday."),
            example("n2", "globex", "The blue door sticks."),
        ]);
        Self {
            notes: Arc::new(Mutex::new(notes)),
            tool_router: Self::tool_router(),
            prompt_router: Self::prompt_router(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Note>) -> T) -> T {
        work(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn done(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn failed(text: impl Into<String>) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

fn no_such(id: &str) -> CallToolResult {
    failed(format!("there is no note {id}"))
}

fn line(id: &str, note: &Note) -> String {
    format!("{id} ({}): {}", note.owner, note.text)
}

#[tool_router]
impl Notes {
    #[tool(description = "Read one note", annotations(read_only_hint = true))]
    fn get_note(&self, Parameters(ById { id }): Parameters<ById>) -> CallToolResult {
        self.with(|notes| notes.get(&id).map_or_else(|| no_such(&id), |note| done(line(&id, note))))
    }

    #[tool(description = "Find the notes that contain a text", annotations(read_only_hint = true))]
    fn search_notes(&self, Parameters(Search { query }): Parameters<Search>) -> CallToolResult {
        let found: Vec<String> = self.with(|notes| {
            notes.iter().filter(|(_, note)| note.text.contains(&query)).map(|(id, note)| line(id, note)).collect()
        });
        done(if found.is_empty() { "nothing found".to_owned() } else { found.join("\n") })
    }

    #[tool(description = "Write a new note", annotations(destructive_hint = false))]
    fn create_note(&self, Parameters(NewNote { owner, text }): Parameters<NewNote>) -> CallToolResult {
        self.with(|notes| {
            if notes.len() >= MAX_NOTES {
                return failed("there is no room for another note");
            }
            let last = notes.keys().filter_map(|id| id.strip_prefix('n')?.parse::<u64>().ok()).max();
            let id = format!("n{}", last.unwrap_or(0) + 1);
            notes.insert(id.clone(), Note { owner, text });
            done(format!("created {id}"))
        })
    }

    #[tool(description = "Change a note", annotations(destructive_hint = true, idempotent_hint = true))]
    fn update_note(&self, Parameters(changed): Parameters<ChangedNote>) -> CallToolResult {
        let ChangedNote { id, owner, text } = changed;
        self.with(|notes| match notes.get_mut(&id) {
            Some(note) => {
                *note = Note { owner, text };
                done(format!("updated {id}"))
            }
            None => no_such(&id),
        })
    }

    #[tool(description = "Delete a note for good", annotations(destructive_hint = true))]
    fn delete_note(&self, Parameters(ById { id }): Parameters<ById>) -> CallToolResult {
        self.with(|notes| match notes.remove(&id) {
            Some(_) => done(format!("deleted {id}")),
            None => no_such(&id),
        })
    }
}

#[prompt_router]
impl Notes {
    #[prompt(description = "Ask for a summary of one note")]
    async fn summarize_note(&self, Parameters(ById { id }): Parameters<ById>) -> Vec<PromptMessage> {
        vec![PromptMessage::new_text(Role::User, format!("Summarize the note {id} in one sentence."))]
    }
}

#[tool_handler(router = self.tool_router)]
#[prompt_handler(router = self.prompt_router)]
impl ServerHandler for Notes {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_prompts().enable_resources().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("tool-server", env!("CARGO_PKG_VERSION")))
            .with_instructions("Notes that can be read, searched, written and deleted.")
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resource = |id: &String| Resource::new(format!("{SCHEME}{id}"), id.clone()).with_mime_type("text/plain");
        Ok(ListResourcesResult::with_all_items(self.with(|notes| notes.keys().map(resource).collect())))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let note = request.uri.strip_prefix(SCHEME).and_then(|id| self.with(|notes| notes.get(id).cloned()));
        let Some(note) = note else {
            return Err(ErrorData::resource_not_found(format!("there is no resource {}", request.uri), None));
        };
        Ok(ReadResourceResult::new(vec![ResourceContents::text(note.text, request.uri)]).into())
    }
}
