use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::value::{Error as Refusal, MapDeserializer};

use super::agent_policy::{
    A2aSpec, AgentPolicySpec, CoOwner, External, From, HttpMatch, Limit, Pin, Pins, Push, Redaction, Requirement,
    Results, Rule, TargetRef, To,
};
use super::{Closes, Documents, Source, load};

fn documents(text: &str) -> Documents {
    load([Source { file: Arc::new(PathBuf::from("f.yaml")), text: text.to_owned() }])
}

fn closes_repo(documents: &Documents) -> bool {
    documents.closures.iter().any(|closure| match &closure.closes {
        Closes::Everything => true,
        Closes::Namespace(namespace) => namespace == "tools",
        Closes::Refs(refs) => refs.iter().any(|one| (&*one.namespace, &*one.name) == ("tools", "repo")),
        Closes::Called { namespace, host } => namespace == "tools" && (host.is_empty() || host.contains("repo")),
        Closes::Nothing | Closes::Workload { .. } => false,
    })
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

/// A policy inside something that is no document closes everything: nobody knows what it selects.
#[test]
fn a_list_by_any_name_is_unfolded_or_closes_everything() {
    let item = POLICY.replace('\n', "\n  ");
    for kind in ["List", "list", "Lists", "Lsit", "AgentPolicyList"] {
        let list = documents(&format!("apiVersion: v1\nkind: {kind}\nitems:\n- {item}\n"));
        assert_eq!((list.agent_policies.len(), list.closures.len()), (1, 0), "{kind}: {:?}", list.problems);
    }
    let rows = [
        format!("apiVersion: v1\nkind: List\nitem:\n- {item}\n"),
        format!("apiVersion: v1\nkind: List\nitems: []\nitems:\n- {item}\n"),
        "apiVersion: v1\nkind: List\nitems: {a: 1}\n".to_owned(),
        format!("- {item}\n"),
        "apiVersion\n".to_owned(),
    ];
    for text in rows {
        let documents = documents(&text);
        assert_eq!(documents.closures.first().map(|one| &one.closes), Some(&Closes::Everything), "{text}");
        assert_eq!((documents.problems.len(), documents.refused), (1, 1), "{text}");
    }
}

/// `from:` with nothing behind it looks like nobody; passed over, it is everybody.
#[test]
fn a_policy_says_something_in_every_field_or_is_refused() {
    let agent = [
        ("    from:\n    - serviceAccounts: [\"agents/researcher\"]\n", "    from:\n", "spec.allow[0].from", "null"),
        ("    to:\n    - tools: ['get_*']\n", "    to: null\n", "spec.allow[0].to", "null"),
        ("when: has(jwt.sub)", "when:", "spec.allow[0].when", "null"),
        ("- tools: ['get_*']", "- {tools: ['get_*'], notTools: ~}", "spec.allow[0].to[0].notTools", "null"),
        ("protocol: MCP", "protocol:", "spec.protocol", "null"),
        ("- serviceAccounts: [\"agents/researcher\"]", "-", "spec.allow[0].from[0]", "null"),
    ];
    let istio = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: tools}\n\
        spec: {targetRefs: [{kind: Service, name: repo}], rules: [{from: [{source: {namespaces: [a]}}]}]}\n";
    let other = [
        ("[{source: {namespaces: [a]}}]", "[]", "spec.rules[0].from", "empty list"),
        ("[{source: {namespaces: [a]}}]", "null", "spec.rules[0].from", "null"),
        ("namespaces: [a]", "namespaces: [a], principals: []", "spec.rules[0].from[0].source.principals", "empty list"),
        ("rules: [{", "rules: [{to: [], ", "spec.rules[0].to", "empty list"),
        ("rules: [{", "rules: [{when: [], ", "spec.rules[0].when", "empty list"),
    ];
    let rows = agent.iter().map(|row| (POLICY, row)).chain(other.iter().map(|row| (istio, row)));
    for (text, (from, to, field, reason)) in rows {
        assert!(text.contains(from), "{from}");
        let documents = documents(&text.replace(from, to));
        assert_eq!(documents.problems.len(), 1, "{to}: {:?}", documents.problems);
        let problem = &documents.problems[0];
        assert_eq!(problem.field, *field, "{to}");
        assert!(problem.reason.contains(reason), "{to}: {}", problem.reason);
        assert!(closes_repo(&documents), "{to}");
    }
    let nobody = istio.replace("rules: [{from: [{source: {namespaces: [a]}}]}]", "rules: []");
    assert_eq!(documents(&nobody).problems, [], "Istio's own way to allow nobody");
}

#[test]
fn a_service_that_would_be_passed_over_or_open_is_an_error() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: repo, namespace: tools}\n\
        spec: {clusterIP: 10.0.0.1, ports: [{name: mcp, port: 80, appProtocol: agent-waypoint.dev/mcp}]}\n";
    assert_eq!(documents(service).problems, []);
    assert_eq!(documents(&service.replace("clusterIP:", "someNewField:")).problems, [], "a newer Kubernetes");
    let headless = service.replace("10.0.0.1", "None").replace(", ports: [{", ", x: [{");
    assert_eq!(documents(&headless).problems, [], "Kubernetes lets headless ones be");
    let rows = [
        ("appProtocol", "appprotocol", "spec.ports[0].appprotocol", "did you mean `appProtocol`?"),
        ("appProtocol", "appProtocl", "spec.ports[0].appProtocl", "did you mean `appProtocol`?"),
        ("clusterIP", "clusterIp", "spec.clusterIp", "did you mean `clusterIP`?"),
        ("ports:", "port:", "spec.port", "did you mean `ports`?"),
        ("ports: [{name: mcp, port: 80, appProtocol: agent-waypoint.dev/mcp}]", "ports: []", "spec.ports", "no port"),
    ];
    for (from, to, field, reason) in rows {
        let problems = documents(&service.replace(from, to)).problems;
        assert_eq!(problems.first().map(|one| one.field.as_str()), Some(field), "{to}: {problems:?}");
        assert!(problems[0].reason.contains(reason), "{to}: {problems:?}");
    }
}

/// A writer that is half way leaves a file that parses: what it was about must not open meanwhile.
#[test]
fn the_beginning_of_a_policy_is_a_policy_or_closes_it() {
    // Where the target's name is cut it is another's: that no reader can know.
    let named = POLICY.find("name: repo").unwrap();
    for end in (1..named + "name:".len()).chain(named + "name: repo".len()..POLICY.len()) {
        let text = POLICY.get(..end).unwrap();
        let documents = match super::read(&Source { file: Arc::new(PathBuf::from("f.yaml")), text: text.to_owned() }) {
            Ok(_) => documents(text),
            Err(_) => continue,
        };
        assert!(documents.agent_policies.len() == 1 || closes_repo(&documents), "{text}\n{documents:?}");
    }
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
    assert_eq!(at(&["spec", "a2a"]), fields::<A2aSpec>());
    assert_eq!(at(&["spec", "a2a", "coOwners", ""]), fields::<CoOwner>());
    assert_eq!(at(&["spec", "a2a", "push"]), fields::<Push>());
    assert_eq!(at(&["spec", "results"]), fields::<Results>());
    assert_eq!(at(&["spec", "pins"]), fields::<Pins>());
    assert_eq!(at(&["spec", "pins", "tools", ""]), fields::<Pin>());
    let limits = ["spec", "limits", ""];
    assert_eq!(at(&limits), fields::<Limit>());
    assert_eq!(at(&[&limits[..], &["from", ""]].concat()), fields::<From>());
    assert_eq!(at(&[&limits[..], &["to", ""]].concat()), fields::<To>());
    let external = ["spec", "external", ""];
    assert_eq!(at(&external), fields::<External>());
    assert_eq!(at(&[&external[..], &["from", ""]].concat()), fields::<From>());
    assert_eq!(at(&[&external[..], &["to", ""]].concat()), fields::<To>());
    let redact = ["spec", "results", "redact", ""];
    assert_eq!(at(&redact), fields::<Redaction>());
    assert_eq!(at(&[&redact[..], &["from", ""]].concat()), fields::<From>());
    assert_eq!(at(&[&redact[..], &["to", ""]].concat()), fields::<To>());
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
        prop_assert!(kept || closes_repo(&documents) && !documents.problems.is_empty(), "{text}\n{documents:?}");
    }
}
