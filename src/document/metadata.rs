use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::decode::decode;
use super::nearest::nearest;
use super::problem::Meta;
use super::tree::Node;

/// `metadata` of any kind: what is read, and every other field of Kubernetes' `ObjectMeta` by name, so that a misspelt
/// `namespace` does not put a policy where nobody looks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ObjectMeta {
    name: String,
    namespace: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default, rename = "generateName")]
    _generate_name: IgnoredAny,
    #[serde(default, rename = "uid")]
    _uid: IgnoredAny,
    #[serde(default, rename = "resourceVersion")]
    _resource_version: IgnoredAny,
    #[serde(default, rename = "selfLink")]
    _self_link: IgnoredAny,
    #[serde(default, rename = "managedFields")]
    _managed_fields: IgnoredAny,
    #[serde(default, rename = "ownerReferences")]
    _owner_references: IgnoredAny,
    #[serde(default, rename = "finalizers")]
    _finalizers: IgnoredAny,
    #[serde(default, rename = "deletionTimestamp")]
    _deletion_timestamp: IgnoredAny,
    #[serde(default, rename = "deletionGracePeriodSeconds")]
    _deletion_grace_period_seconds: IgnoredAny,
}

const DEFAULT_NAMESPACE: &str = "default";

/// The metadata of `root`, strictly; field paths and reasons of what is wrong.
pub(super) fn strict(root: &Node) -> Result<Meta, Vec<(String, String)>> {
    let missing = || vec![("metadata".to_owned(), "is required and missing".to_owned())];
    let meta: ObjectMeta = decode(root.get("metadata").ok_or_else(missing)?, "metadata")?;
    let namespace = meta.namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    for (field, text) in [("metadata.name", &meta.name), ("metadata.namespace", &namespace)] {
        if !is_name(text) {
            let reason = format!("{text:?} is no Kubernetes name: 1 to 253 of a-z 0-9 - .");
            return Err(vec![(field.to_owned(), reason)]);
        }
    }
    Ok(Meta {
        name: meta.name,
        namespace,
        generation: meta.generation.unwrap_or(0),
        created: meta.creation_timestamp.unwrap_or_default(),
        labels: meta.labels,
        annotations: meta.annotations,
    })
}

/// As much of the metadata of a refused document as can be read, a misspelt `namespace` included.
pub(super) fn lenient(root: &Node) -> Meta {
    let Some(node) = root.get("metadata") else {
        return Meta { namespace: DEFAULT_NAMESPACE.to_owned(), ..Meta::default() };
    };
    let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
    let map = |key: &str| {
        let fields = node.get(key).map(Node::fields).unwrap_or_default();
        fields.iter().filter_map(|field| Some((field.key.clone(), field.node.text()?.to_owned()))).collect()
    };
    let namespace = namespace(node).unwrap_or(DEFAULT_NAMESPACE).to_owned();
    Meta { name: text("name").unwrap_or_default(), namespace, labels: map("labels"), ..Meta::default() }
}

/// What stands at the top of kinds that are read. Another key may be one that slipped out of `metadata`.
const TOP: [&str; 11] = [
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "status",
    "data",
    "binaryData",
    "immutable",
    "addressType",
    "endpoints",
    "ports",
];

/// Whether the namespace of a refused document is known: it says one, under a key that can be meant so, or has no key
/// that could have been meant so.
pub(super) fn is_placed(root: &Node) -> bool {
    let Some(node) = root.get("metadata") else { return false };
    match namespace(node) {
        Some(namespace) => is_name(namespace),
        None => {
            let known = |key: &str| TOP.contains(&key);
            let whole = root.fields().iter().all(|field| known(&field.key));
            whole && node.get("namespace").is_none() && decode::<ObjectMeta>(node, "").is_ok()
        }
    }
}

fn namespace(node: &Node) -> Option<&str> {
    let keys = || node.fields().iter().map(|field| field.key.as_str()).filter(|key| *key != "name");
    let text = |key: &str| node.get(key).and_then(Node::text);
    text("namespace").or_else(|| text(nearest("namespace", keys())?))
}

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(allowed)
}
