//! One AdmissionReview in, one out (`admission.k8s.io/v1`).

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::super::status::Checked;

/// Longest warning that the API server passes on whole, characters.
const MAX_WARNING: usize = 240;

/// Answers a review; `None` for what is none. Blocks while expressions are parsed.
pub(super) fn review(body: &[u8]) -> Option<Value> {
    let review: Value = serde_json::from_slice(body).ok()?;
    let request = review.get("request")?;
    let uid = request.get("uid")?.as_str()?;
    let kind = request.pointer("/kind/kind").and_then(Value::as_str);
    let object = request.get("object").filter(|object| !object.is_null());
    let response = match (kind, object) {
        (Some("AgentPolicy"), Some(object)) => checked(uid, object),
        // Nothing is wrong with what goes, or is another's.
        _ => json!({"uid": uid, "allowed": true}),
    };
    Some(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}

fn checked(uid: &str, object: &Value) -> Value {
    let policy: DynamicObject = match serde_json::from_value(object.clone()) {
        Ok(policy) => policy,
        Err(error) => return denied(uid, &format!("is no object: {error}")),
    };
    let Checked { errors, warnings, closes: _ } = Checked::of(&policy);
    if !errors.is_empty() {
        return denied(uid, &errors.join("; "));
    }
    let warnings: Vec<String> = warnings.iter().map(|one| one.chars().take(MAX_WARNING).collect()).collect();
    json!({"uid": uid, "allowed": true, "warnings": warnings})
}

fn denied(uid: &str, message: &str) -> Value {
    json!({"uid": uid, "allowed": false, "status": {"code": 422, "reason": "Invalid", "message": message}})
}
