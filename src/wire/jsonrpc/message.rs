//! The envelope's states: request, notification or response.

use super::{EnvelopeFault, Id};
use crate::call::{Object, Value};
use crate::config::limits::MAX_NAME;

/// One JSON-RPC message, borrowed from its tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// Absent for notifications, and for errors that answer no readable request.
    pub id: Option<Id>,
    /// What kind of message it is.
    pub body: Body<'a>,
}

/// What a message carries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Body<'a> {
    /// A method to be answered.
    Request {
        /// `method`
        method: &'a str,
        /// `params`
        params: Option<&'a Object>,
    },
    /// A method without an answer.
    Notification {
        /// `method`
        method: &'a str,
        /// `params`
        params: Option<&'a Object>,
    },
    /// `result` of a request.
    Result(&'a Object),
    /// `error` of a request: an object with an integer `code` and a string `message`.
    Error(&'a Object),
}

impl<'a> Message<'a> {
    /// Reads the envelope of `tree`.
    ///
    /// # Errors
    /// [`EnvelopeFault`]; [`Message::readable_id`] says what an answer to it may echo.
    pub fn read(tree: &'a Value) -> Result<Self, EnvelopeFault> {
        let object = match tree {
            Value::Object(object) => object,
            Value::Array(_) => return Err(EnvelopeFault::Batch),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(EnvelopeFault::NotObject);
            }
        };
        let fields = Fields::of(object)?;
        if fields.jsonrpc.and_then(Value::as_str) != Some("2.0") {
            return Err(EnvelopeFault::Version);
        }
        match fields {
            Fields { method: Some(method), result: None, error: None, .. } => fields.called(method),
            Fields { method: None, params: None, result: Some(result), error: None, .. } => {
                let id = Id::read_of_answer(fields.id.ok_or(EnvelopeFault::BadId)?).ok_or(EnvelopeFault::BadId)?;
                let result = result.as_object().ok_or(EnvelopeFault::BadOutcome)?;
                Ok(Self { id: Some(id), body: Body::Result(result) })
            }
            Fields { method: None, params: None, result: None, error: Some(error), .. } => {
                let id = match fields.id {
                    None | Some(Value::Null) => None,
                    Some(value) => Some(Id::read_of_answer(value).ok_or(EnvelopeFault::BadId)?),
                };
                Ok(Self { id, body: Body::Error(read_error(error)?) })
            }
            Fields { method: None, params: _, result: None, error: None, .. } => Err(EnvelopeFault::BadMethod),
            Fields { .. } => Err(EnvelopeFault::Mixed),
        }
    }

    /// The id of a message that could not be read as a whole, for the error that answers it.
    pub fn readable_id(tree: &Value) -> Option<Id> {
        Id::read(tree.get("id")?)
    }
}

#[derive(Default, Clone, Copy)]
struct Fields<'a> {
    jsonrpc: Option<&'a Value>,
    id: Option<&'a Value>,
    method: Option<&'a Value>,
    params: Option<&'a Value>,
    result: Option<&'a Value>,
    error: Option<&'a Value>,
}

impl<'a> Fields<'a> {
    fn of(object: &'a Object) -> Result<Self, EnvelopeFault> {
        let mut fields = Self::default();
        for (key, value) in object.iter() {
            let slot = match key {
                "jsonrpc" => &mut fields.jsonrpc,
                "id" => &mut fields.id,
                "method" => &mut fields.method,
                "params" => &mut fields.params,
                "result" => &mut fields.result,
                "error" => &mut fields.error,
                _ => return Err(EnvelopeFault::UnknownKey),
            };
            *slot = Some(value);
        }
        Ok(fields)
    }

    fn called(self, method: &'a Value) -> Result<Message<'a>, EnvelopeFault> {
        let plain = |m: &&str| !m.is_empty() && m.len() <= MAX_NAME && !m.chars().any(char::is_control);
        let method = method.as_str().filter(plain).ok_or(EnvelopeFault::BadMethod)?;
        let id = match self.id {
            None => None,
            Some(value) => Some(Id::read(value).ok_or(EnvelopeFault::BadId)?),
        };
        let params = match self.params {
            None => None,
            Some(value) => Some(value.as_object().ok_or(EnvelopeFault::ParamsNotObject)?),
        };
        let body = if id.is_some() { Body::Request { method, params } } else { Body::Notification { method, params } };
        Ok(Message { id, body })
    }
}

fn read_error(error: &Value) -> Result<&Object, EnvelopeFault> {
    let error = error.as_object().ok_or(EnvelopeFault::BadOutcome)?;
    let code = error.get("code").and_then(Value::as_number).and_then(|n| n.as_i64());
    let message = error.get("message").and_then(Value::as_str);
    if code.is_none() || message.is_none() {
        return Err(EnvelopeFault::BadOutcome);
    }
    Ok(error)
}
