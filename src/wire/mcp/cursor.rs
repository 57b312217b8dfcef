//! The cursors of lists: opaque to clients in every version (MCP, pagination), so that they may be other ones than the server's.

use super::method::has_lookalike;
use super::{Decoded, MessageFault, ServerMessage, is_list};
use crate::call::{McpCall, Object, Value};

const ASKED: &str = "cursor";
const NEXT: &str = "nextCursor";

/// Members of a list's `params` that a server acts on.
pub(super) const LIST_KEYS: &[&str] = &["_meta", ASKED];

/// Checks that the cursor of a list, if there is one, is a text: whatever else it may be, some server could take it for one.
pub(super) fn check(params: Option<&Object>) -> Result<(), MessageFault> {
    match params.and_then(|params| params.get(ASKED)) {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(MessageFault::BadCursor),
    }
}

impl Decoded {
    /// The cursor after which a list is to go on; an empty text says of no list where.
    pub fn cursor(&self) -> Option<&str> {
        let cursor = self.params().filter(|_| is_list(&self.call().method))?.get(ASKED)?.as_str()?;
        (!cursor.is_empty()).then_some(cursor)
    }

    /// Has the list go on after another cursor than the client's.
    pub fn go_on_after(&mut self, cursor: &str) {
        if let Some(params) = self.params_mut() {
            params.set(ASKED, cursor.into());
        }
    }
}

/// A server's cursor that cannot be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCursor;

impl ServerMessage {
    /// Replaces the cursor with which a list, the answer to `request`, ends, by what `told` makes of it.
    ///
    /// # Errors
    /// [`BadCursor`] where it is no text, nothing was made of it, or there is another member that lenient readers take for it:
    /// without it the list would look whole, and as it is it is its server's own.
    pub fn tell_cursor(
        &mut self,
        request: &McpCall,
        told: impl FnOnce(&str) -> Option<String>,
    ) -> Result<(), BadCursor> {
        if !is_list(&request.method) {
            return Ok(());
        }
        let Some(result) = self.result_mut().and_then(Value::as_object_mut) else { return Ok(()) };
        if has_lookalike(result, NEXT) {
            return Err(BadCursor);
        }
        match result.get(NEXT) {
            None | Some(Value::Null) => Ok(()),
            Some(Value::String(next)) if next.is_empty() => Ok(()),
            Some(Value::String(next)) => {
                let told = told(next).ok_or(BadCursor)?;
                result.set(NEXT, told.as_str().into());
                Ok(())
            }
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(BadCursor),
        }
    }
}
