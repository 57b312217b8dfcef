use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::value::{Error as Refusal, MapDeserializer};

use super::agent_policy::{AgentPolicySpec, From, HttpMatch, Requirement, Rule, TargetRef, To};
use super::{Closes, Documents, Source, load};

fn documents(text: &str) -> Documents {
    load([Source { file: Arc::new(PathBuf::from("f.yaml")), text: text.to_owned() }])
}

const POLICY: &str = "\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata:
  name: p
  namespace: tools
spec:
  targetRefs:
  - kind: Service
    name: repo
    sectionName: mcp
  protocol: MCP
  allow:
  - name: read
    from:
    - serviceAccounts: [\"agents/researcher\"]
    to:
    - tools: ['get_*']
    when: has(jwt.sub)
";

#[test]
fn every_error_says_file_line_document_field_and_remedy() {
    let text = format!(
        "{POLICY}---
apiVersion: agent-waypoint.dev/v1alpha1
kind: Agentpolicy
metadata: {{name: q}}
spec: {{}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: e, namespace: tools}}
spec:
  hosts: [a.b]
  ports:
  - {{number: 70000, name: x}}
---
apiVersion: v1
kind: Service
metadata: {{name: s, nmespace: tools}}
spec: {{ports: []}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: w}}
spec:
  adress: 10.0.0.1
  serviceaccount: x
---
- a list
---
apiVersion: apps/v1
kind: Deployment
"
    );
    let documents = documents(&text);
    let told: Vec<String> = documents.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "f.yaml:21: error: AgentPolicy default/q: kind: \"Agentpolicy\" is not a kind; did you mean AgentPolicy?",
            "f.yaml:31: error: ServiceEntry tools/e: spec.ports[0].number: must be a port number from 1 to 65535, not the number 70000",
            "f.yaml:35: error: Service tools/s: metadata.nmespace: unknown field; did you mean `namespace`?",
            "f.yaml:42: error: WorkloadEntry default/w: spec.adress: unknown field; did you mean `address`?",
            "f.yaml:43: error: WorkloadEntry default/w: spec.serviceaccount: unknown field; did you mean `serviceAccount`?",
            "f.yaml:45: error: document default/: apiVersion: is required and missing; every document names its apiVersion and kind",
        ]
    );
    assert_eq!((documents.loaded, documents.refused, documents.skipped), (1, 5, 1));
}

#[test]
fn lists_are_unfolded_and_json_is_yaml() {
    let item =
        r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 1}]}}"#;
    let list = format!(
        r#"{{"apiVersion": "v1", "kind": "List", "items": [{item}, {{"apiVersion": "v1", "kind": "ServiceList", "items": [{}]}}, {{"apiVersion": "v1", "kind": "Secret"}}]}}"#,
        item.replace("\"a\"", "\"b\"")
    );
    let documents = documents(&list);
    assert_eq!(documents.problems, []);
    assert_eq!((documents.services.len(), documents.skipped), (2, 1));
    assert_eq!(documents.services[1].origin.title(), "Service default/b");
}

/// The fields that serde knows of a type.
fn fields<'de, T: Deserialize<'de>>() -> Vec<String> {
    let odd = MapDeserializer::<_, Refusal>::new(std::iter::once(("zzz", 0)));
    let text = T::deserialize(odd).map(|_| ()).unwrap_err().to_string();
    let mut fields: Vec<String> = text.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    fields.sort();
    fields
}

#[test]
fn the_custom_resource_definition_has_the_fields_of_the_types() {
    let text = include_str!("../../manifests/crds/agentpolicies.yaml");
    let crd = super::tree::parse(text).unwrap().remove(0);
    let at = |path: &[&str]| {
        let version = &crd.get("spec").unwrap().get("versions").unwrap().items().unwrap()[0];
        let schema = version.get("schema").unwrap().get("openAPIV3Schema").unwrap();
        let below = |node: &super::tree::Node, key: &str| {
            let node = if key.is_empty() { node.get("items") } else { node.get("properties").unwrap().get(key) };
            node.unwrap().clone()
        };
        let node = path.iter().fold(schema.clone(), |node, key| below(&node, key));
        let mut keys: Vec<String> =
            node.get("properties").unwrap().fields().iter().map(|field| field.key.clone()).collect();
        keys.sort();
        keys
    };
    assert_eq!(at(&["spec"]), fields::<AgentPolicySpec>());
    assert_eq!(at(&["spec", "targetRefs", ""]), fields::<TargetRef>());
    for rules in ["allow", "deny", "require"] {
        let known = if rules == "require" { fields::<Requirement>() } else { fields::<Rule>() };
        assert_eq!(at(&["spec", rules, ""]), known);
        assert_eq!(at(&["spec", rules, "", "from", ""]), fields::<From>());
        assert_eq!(at(&["spec", rules, "", "to", ""]), fields::<To>());
        assert_eq!(at(&["spec", rules, "", "to", "", "http"]), fields::<HttpMatch>());
    }
}

proptest! {
    #[test]
    fn whatever_text_is_read_without_panic(text in "\\PC{0,200}|[-a-z:\\[\\]{}&*'\"|>#!%@, \n]{0,200}") {
        let documents = documents(&text);
        let lines = text.lines().count() + 1;
        prop_assert!(documents.problems.iter().all(|problem| problem.place.line <= lines));
    }

    /// The heart of failing closed: a policy that was spoilt in one place is in force still, or closes what it selected,
    /// or is of a kind that is certainly another's.
    #[test]
    fn a_spoilt_policy_never_just_vanishes(at in 0..POLICY.len(), how in 0..3, with in "[-a-zA-Z:\\[\\]{}#\n ']") {
        let mut text: Vec<char> = POLICY.chars().collect();
        let with = with.chars().next().unwrap();
        match how {
            0 => { text.remove(at); }
            1 => text.insert(at, with),
            _ => text[at] = with,
        }
        let text: String = text.into_iter().collect();
        let documents = documents(&text);
        let kept = documents.agent_policies.len() == 1 || documents.skipped > 0;
        let closed = documents.closures.iter().any(|closure| match &closure.closes {
            Closes::Everything => true,
            Closes::Namespace(namespace) => namespace == "tools",
            Closes::Refs(refs) => refs.iter().any(|one| (&*one.namespace, &*one.name) == ("tools", "repo")),
            Closes::Nothing | Closes::Workload { .. } => false,
        });
        prop_assert!(kept || closed && !documents.problems.is_empty(), "{text}\n{documents:?}");
    }
}
