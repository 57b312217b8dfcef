//! What tools an endpoint has, asked by us where a call depends on it.

use std::sync::Arc;

use super::super::Shared;
use super::super::definitions::Listed;
use super::super::stages::Standing;
use super::own::{self, Question, Told, Unanswered};
use crate::call::{McpObject, Value};
use crate::mesh::Endpoint;
use crate::policy::Rules;
use crate::wire::mcp::{Definition, filter_list};

/// Pages of one list that are asked for.
const MAX_PAGES: usize = 64;

/// One tool of a page; none where it has no readable name or definition.
pub(super) fn read(rules: &Rules, object: &McpObject, entry: &Value) -> Option<Listed> {
    let McpObject::Tool { name, .. } = object else { return None };
    let (tool, definition) = (Arc::clone(name.known()?), Definition::of(entry)?);
    let pinned = rules.pinned(&tool, &definition);
    Some(Listed { tool, definition, pinned })
}

/// Asks `endpoint` for its tools, until one named `tool` was there.
pub(super) async fn ask(
    shared: &Shared,
    standing: &Standing,
    endpoint: &Arc<Endpoint>,
    tool: &str,
) -> Result<Vec<Listed>, Unanswered> {
    let asking = async {
        let (mut all, mut cursor) = (Vec::new(), None);
        for page in 0..MAX_PAGES {
            let result = self::page(shared, standing, endpoint, (page, cursor.take())).await?;
            let (listed, next) = result;
            all.extend(listed);
            cursor = next;
            if cursor.is_none() || all.iter().any(|one: &Listed| *one.tool == *tool) {
                return Ok(all);
            }
        }
        Err(Unanswered::Unreadable)
    };
    tokio::time::timeout(own::TIMEOUT, asking).await.unwrap_or(Err(Unanswered::Unreadable))
}

type Page = (Vec<Listed>, Option<Box<str>>);

async fn page(
    shared: &Shared,
    standing: &Standing,
    endpoint: &Arc<Endpoint>,
    (number, cursor): (usize, Option<Box<str>>),
) -> Result<Page, Unanswered> {
    let parameter = cursor.as_deref().map(|cursor| ("cursor", cursor));
    let question = Question { method: "tools/list", parameter, named: false };
    let Told { call, mut message, hold } = own::ask(shared, standing, endpoint, (number, &question)).await?;
    let rules = &standing.asked().target().rules;
    let read = || {
        let (mut listed, result) = (Vec::new(), message.result_mut()?);
        let next = result.get("nextCursor").and_then(Value::as_str).map(Into::into);
        filter_list(&call, result, |call, entry| {
            listed.extend(read(rules, &call.object, entry));
            false
        });
        Some((listed, next))
    };
    shared.heavy.run(hold.bytes(), read).await.ok_or(Unanswered::Unreadable)
}
