//! Documents as they go over the wire. Each is encoded once for all waypoints and for as long as it stays the same.

use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use kube::core::DynamicObject;
use prost::Message as _;
use prost_types::Any;
use serde::Serialize;
use serde_json::Value;

use super::super::cluster::DocumentKind;
use super::wire::{Document, Key};
use crate::control::delta::wire;
use crate::control::feed::{DOCUMENT, KEY};

/// Number of `resources` in `DeltaDiscoveryResponse`.
const RESOURCES: u32 = 2;
/// Bytes of a hash that make a version.
const VERSION: usize = 8;
/// What `kubectl apply` remembers: the object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A resource ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its name.
    pub name: Arc<str>,
    /// A hash of what it says.
    pub version: String,
    /// `metadata.generation`, 0 where there is none.
    pub generation: i64,
    /// The field `resources` of a response, with tag and length.
    pub(super) field: Bytes,
}

impl Resource {
    /// A document, of any kind that has metadata. Status, managed fields and the like are left out.
    pub fn document<K: Serialize>(name: &str, object: &K, api_version: &str, kind: &str) -> Self {
        let json = trimmed(serde_json::to_value(object).unwrap_or_default(), api_version, kind);
        let generation = json.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
        let text = json.to_string().into_bytes();
        let version = hash(&[&text]);
        let body = Document { json: text, generation }.encode_to_vec();
        Self::new(name, version, generation, DOCUMENT, body)
    }

    /// The text of a document of the feed.
    pub fn document_text(document: &DynamicObject, kind: DocumentKind) -> String {
        let api_version = kind.resource().api_version;
        trimmed(serde_json::to_value(document).unwrap_or_default(), &api_version, kind.as_str()).to_string()
    }

    /// A key.
    pub fn key(name: &str, id: &str, secret: &[u8]) -> Self {
        let body = Key { id: id.to_owned(), secret: secret.to_vec() }.encode_to_vec();
        Self::new(name, id.to_owned(), 0, KEY, body)
    }

    fn new(name: &str, version: String, generation: i64, url: &str, body: Vec<u8>) -> Self {
        let any = Any { type_url: url.to_owned(), value: body };
        let resource = wire::Resource {
            version: version.clone(),
            resource: Some(any),
            name: name.to_owned(),
            aliases: Vec::new(),
        };
        let mut field = Vec::new();
        prost::encoding::message::encode(RESOURCES, &resource, &mut field);
        Self { name: name.into(), version, generation, field: field.into() }
    }
}

/// What of an object is said to a waypoint.
fn trimmed(mut object: Value, api_version: &str, kind: &str) -> Value {
    let Value::Object(fields) = &mut object else { return object };
    fields.shift_remove("status");
    fields.entry("apiVersion").or_insert_with(|| api_version.into());
    fields.entry("kind").or_insert_with(|| kind.into());
    if let Some(Value::Object(meta)) = fields.get_mut("metadata") {
        let keep = ["name", "namespace", "generation", "creationTimestamp", "labels", "annotations"];
        meta.retain(|key, _| keep.contains(&key.as_str()));
        if let Some(Value::Object(annotations)) = meta.get_mut("annotations") {
            annotations.shift_remove(LAST_APPLIED);
        }
    }
    object
}

/// Hex of the first bytes of a SHA-256.
pub(super) fn hash(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let digest = context.finish();
    digest.as_ref().iter().take(VERSION).fold(String::new(), |mut hex, byte| {
        // Writing into a String does not fail.
        let _never = write!(hex, "{byte:02x}");
        hex
    })
}
