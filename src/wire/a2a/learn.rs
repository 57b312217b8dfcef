//! Of an agent's answers: which task and context they are about, and how the task stands. Nothing else of them is looked at,
//! nothing is changed.

use super::from_proto;
use super::schema::ShapeFault;
use super::shapes;
use crate::call::{A2aOperation as Op, A2aVersion, Object, TaskState, Value};
use crate::config::limits::MAX_NAME;

/// What an answer or an event of a stream is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// The task.
    pub task: Option<Box<str>>,
    /// The context.
    pub context: Option<Box<str>>,
    /// How the task stands, where it is said.
    pub state: Option<TaskState>,
}

/// Of the JSON result to `operation` (in JSON-RPC what stands in `result`): in 1.0 under the member that tells what it is,
/// in 0.3 by `kind` or, over HTTP, by the member too.
pub fn learn_json(operation: Op, result: &Value) -> Subject {
    let Some(object) = result.as_object() else { return Subject::default() };
    if matches!(operation, Op::GetTask | Op::CancelTask) {
        return of(object, "id");
    }
    if !operation.sends() && operation != Op::SubscribeToTask {
        return Subject::default();
    }
    for (member, id) in [
        ("task", "id"),
        ("message", "taskId"),
        ("statusUpdate", "taskId"),
        ("artifactUpdate", "taskId"),
        ("msg", "taskId"),
    ] {
        if let Some(object) = object.get(member).and_then(Value::as_object) {
            return of(object, id);
        }
    }
    match object.get("kind").and_then(Value::as_str) {
        Some("task") => of(object, "id"),
        Some("message" | "status-update" | "artifact-update") => of(object, "taskId"),
        _ => Subject::default(),
    }
}

/// The same of one protobuf message.
///
/// # Errors
/// [`ShapeFault`] where it is none.
pub fn learn_proto(operation: Op, version: A2aVersion, message: &[u8]) -> Result<Subject, ShapeFault> {
    match shapes::answer(version, operation) {
        Some(shape) => Ok(learn_json(operation, &Value::Object(from_proto::read(message, shape)?))),
        None => Ok(Subject::default()),
    }
}

/// An agent card in protobuf as the JSON that it stands for: of 1.0 whole, and with a member beside where there is what the
/// schema does not have, as a reader of a later version sees it and no signature covers it; of 0.3 its places only.
///
/// # Errors
/// [`ShapeFault`] where the message is no card.
pub fn card_of_proto(version: A2aVersion, message: &[u8]) -> Result<Object, ShapeFault> {
    let Some(shape) = shapes::answer(version, Op::GetExtendedAgentCard) else { return Ok(Object::new()) };
    match version {
        A2aVersion::V1_0 => from_proto::read_whole(message, shape),
        A2aVersion::V0_3 => from_proto::read(message, shape),
    }
}

fn of(object: &Object, task: &str) -> Subject {
    let id = |key: &str| {
        let text = object.get(key).and_then(Value::as_str)?;
        (!text.is_empty() && text.len() <= MAX_NAME).then(|| text.into())
    };
    Subject { task: id(task), context: id("contextId"), state: state(object) }
}

/// `status.state`, by name or number.
fn state(object: &Object) -> Option<TaskState> {
    match object.get("status")?.get("state")? {
        Value::String(name) => TaskState::parse(name),
        Value::Number(number) => TaskState::of_number(number.as_i64()?),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
