use std::io::Write as _;

use clap::Parser as _;

use super::*;
use crate::cli::args::{Command, CommandLine};

const DOCUMENTS: &str = "\
apiVersion: v1
kind: Service
metadata: {name: notes, namespace: tools}
spec:
  ports: [{name: mcp, port: 80}, {name: plain, port: 81, appProtocol: http}, {name: bytes, port: 82, appProtocol: tcp}]
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: notes, namespace: tools}
spec:
  targetRefs:
  - {kind: Service, name: notes, sectionName: mcp}
  protocol: MCP
  require:
  - name: own-org-only
    to: [{tools: ['create_*']}]
    that: mcp.tool.arguments.owner == 'acme'
  allow:
  - name: read
    from: [{serviceAccounts: [agents/researcher]}]
    to: [{tools: ['get_*', 'create_*']}]
  - name: alice
    when: jwt.sub == 'alice'
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: tools}
spec: {ports: [{name: mcp, port: 80, appProtocol: agent-waypoint.dev/mcp}, {name: web, port: 81, appProtocol: http}, {name: bytes, port: 82, appProtocol: tcp}]}
---
apiVersion: v1
kind: Service
metadata: {name: split, namespace: tools}
spec: {ports: [{name: mcp, port: 80, appProtocol: agent-waypoint.dev/mcp}, {name: web, port: 81, appProtocol: http}, {name: bytes, port: 82, appProtocol: tcp}]}
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: both, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: split, sectionName: mcp}]
  allow: [{name: gets, to: [{tools: ['get_*', 'put_*']}]}]
---
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: one, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: one, sectionName: mcp}]
  allow: [{name: reads, to: [{tools: ['get_*']}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: one, namespace: tools}
spec:
  targetRefs: [{group: '', kind: Service, name: one}]
  action: DENY
  rules: [{to: [{operation: {paths: [/secret], ports: ['81']}}]}, {from: [{source: {namespaces: [strangers]}}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: calls, namespace: tools}
spec:
  parentRefs: [{group: '', kind: Service, name: split, port: 80}]
  rules: [{backendRefs: [{name: one, port: 80, weight: 1}, {name: split, port: 80, weight: 3}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: requests, namespace: tools}
spec:
  parentRefs: [{group: '', kind: Service, name: split, port: 81}]
  rules:
  - matches: [{path: {value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]
  - matches: [{path: {value: /moved}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /secret}}}]
    backendRefs: [{name: one, port: 81}]
  - matches: [{path: {value: /gone}}]
    backendRefs: [{name: gone, port: 81}]
  - matches: [{path: {value: /one}}]
    backendRefs: [{name: one, port: 81}, {name: gone, port: 81, weight: 0}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: bytes, namespace: tools}
spec:
  parentRefs: [{group: '', kind: Service, name: split, port: 82}]
  rules: [{backendRefs: [{name: one, port: 82}]}]
";

fn asked(args: &[&str]) -> anyhow::Result<(Ended, String)> {
    let dir = tempfile::tempdir().unwrap();
    let documents = dir.path().join("documents.yaml");
    std::fs::write(&documents, DOCUMENTS).unwrap();
    let jwt = dir.path().join("alice.json");
    std::fs::File::create(&jwt).unwrap().write_all(br#"{"iss":"https://idp.example","sub":"alice"}"#).unwrap();
    let call = dir.path().join("call.json");
    let message = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_note"}}"#;
    std::fs::write(&call, message).unwrap();
    let mut line: Vec<String> = ["agent-waypoint", "explain", "-f"].iter().map(|word| (*word).to_owned()).collect();
    line.push(documents.display().to_string());
    let replaced = args.iter().map(|arg| match *arg {
        "ALICE" => jwt.display().to_string(),
        "CALL" => call.display().to_string(),
        other => other.to_owned(),
    });
    line.extend(replaced);
    let Command::Explain(args) = CommandLine::try_parse_from(line)?.command else { panic!("not explain") };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ended = run(&args, &mut out, &mut err)?;
    assert!(err.is_empty(), "{}", String::from_utf8_lossy(&err));
    Ok((ended, String::from_utf8(out).unwrap()))
}

fn of_researcher(more: &[&str]) -> anyhow::Result<(Ended, String)> {
    asked(&[&["--from", "agents/researcher", "--to", "tools/notes:80"], more].concat())
}

#[test]
fn the_verdict_comes_first_and_is_the_exit_code() {
    let rows: &[(&[&str], Ended, &str)] = &[
        (&["--tool", "get_note"], Ended::Well, "ALLOW by AgentPolicy tools/notes read\n"),
        (&["--call", "CALL"], Ended::Well, "ALLOW by AgentPolicy tools/notes read\n"),
        (&["--tool", "create_note", "--arg", "owner=acme"], Ended::Well, "ALLOW by AgentPolicy tools/notes read\n"),
        (
            &["--tool", "create_note", "--arg", "owner=x"],
            Ended::Denied,
            "DENY (requirement_not_met) by AgentPolicy tools/notes own-org-only\n",
        ),
        (&["--tool", "delete_note"], Ended::Denied, "DENY (not_allowed) by default\n"),
        (&["--tool", "delete_note", "--jwt", "ALICE"], Ended::Well, "ALLOW by AgentPolicy tools/notes alice\n"),
        (&["--method", "GET", "--path", "/metrics"], Ended::Denied, "DENY (not_allowed) by default\n"),
    ];
    for (args, ended, first) in rows {
        let (got, text) = of_researcher(args).unwrap();
        assert!(text.starts_with(first), "{args:?}: {text}");
        assert_eq!(got, *ended, "{args:?}");
    }
}

#[test]
fn the_deciding_expression_is_shown_with_its_values() {
    let (_, text) = of_researcher(&["--tool", "create_note", "--arg", "owner=x"]).unwrap();
    assert!(text.contains(r#"where `mcp.tool.arguments.owner` is "x""#), "{text}");
}

#[test]
fn whole_identities_and_plain_ports_can_be_asked_about() {
    let rows: &[(&[&str], &str)] = &[
        (&["--from", "spiffe://other/x", "--to", "tools/notes:80", "--tool", "get_note"], "DENY (not_allowed)"),
        (&["--from", "a/b", "--to", "tools/notes:81", "--method", "POST"], "ALLOW by default"),
        (&["--from", "a/b", "--to", "tools/notes:81"], "ALLOW by default"),
        (&["--from", "a/b", "--to", "tools/notes:82"], "ALLOW by default"),
    ];
    for (args, first) in rows {
        let (_, text) = asked(args).unwrap();
        assert!(text.starts_with(first), "{args:?}: {text}");
    }
}

#[test]
fn json_holds_question_and_answer() {
    let (_, text) = of_researcher(&["--tool", "get_note", "--json"]).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["allowed"], &value["call"]), (&true.into(), &"tools/call get_note".into()));
    assert_eq!(value["from"], "spiffe://cluster.local/ns/agents/sa/researcher");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let rows: &[(&[&str], &str)] = &[
        (&["--from", "a", "--to", "tools/notes:80", "--tool", "x"], "--from"),
        (&["--from", "a/b", "--to", "tools/other:80", "--tool", "x"], "no document names"),
        (&["--from", "a/b", "--to", "tools/notes:8", "--tool", "x"], "it has 80, 81, 82"),
        (&["--from", "a/b", "--to", "tools/notes:80"], "say what is called"),
        (&["--from", "a/b", "--to", "tools/notes:80", "--method", "prompts/get"], "--call FILE"),
        (&["--from", "a/b", "--to", "tools/notes:81", "--tool", "x"], "not declared MCP"),
        (&["--from", "a/b", "--to", "tools/notes:80", "--method", "GET", "--path", "/a/../b"], "--path"),
    ];
    for (args, part) in rows {
        let error = format!("{:#}", asked(args).unwrap_err());
        assert!(error.contains(part), "{args:?}: {error}");
    }
}

#[test]
fn the_way_that_a_route_leads_is_shown_and_decided_on_at_both_ends() {
    let rows: &[(&str, &[&str], Ended, &str, &str)] = &[
        (
            "80",
            &["--tool", "get_x"],
            Ended::Well,
            "ALLOW by AgentPolicy tools/both gets",
            "led by HTTPRoute tools/calls rules[0]\n  to Service tools/one:80 (1 of 4): ALLOW by AgentPolicy tools/both gets\n",
        ),
        ("80", &["--tool", "get_x"], Ended::Well, "ALLOW", "\n  to Service tools/split:80 (3 of 4): itself\n"),
        (
            "80",
            &["--tool", "put_x"],
            Ended::Denied,
            "DENY (not_allowed) by default at Service tools/one:80 (1 of 4)\n",
            "itself",
        ),
        ("80", &["--tool", "delete_x"], Ended::Denied, "DENY (not_allowed) by default\n", "led by"),
        (
            "81",
            &["--path", "/one/x"],
            Ended::Well,
            "ALLOW by default\n",
            "led by HTTPRoute tools/requests rules[3]\n  to Service tools/one:81: ALLOW by default\n",
        ),
        (
            "81",
            &["--path", "/moved"],
            Ended::Denied,
            "DENY (denied_by_rule) by AuthorizationPolicy tools/one rules[0] at Service tools/one:81\n",
            "rules[1]",
        ),
        ("81", &["--path", "/secret"], Ended::Denied, "DENY (route: no route matches it: 404)\n", "led by no route"),
        ("81", &["--path", "/gone"], Ended::Denied, "DENY (route: there is no such backend", "to nothing"),
        (
            "81",
            &["--path", "/old/a"],
            Ended::Denied,
            "DENY (route: 302 to http://split.tools.svc.cluster.local:81/new/a)\n",
            "",
        ),
        (
            "82",
            &[],
            Ended::Well,
            "ALLOW by default\n",
            "led by TCPRoute tools/bytes rules[0]\n  to Service tools/one:82: ALLOW by default\n",
        ),
    ];
    for (port, args, ended, first, part) in rows {
        let to = format!("tools/split:{port}");
        let (got, text) = asked(&[&["--from", "agents/researcher", "--to", &to], *args].concat()).unwrap();
        assert!(text.starts_with(first) && text.contains(part), "{args:?}: {text}");
        assert_eq!(got, *ended, "{args:?}: {text}");
    }
}

#[test]
fn what_the_other_end_refuses_is_refused_for_scripts_too() {
    let (got, text) = asked(&["--from", "strangers/x", "--to", "tools/split:82"]).unwrap();
    assert!(
        got == Ended::Denied && text.starts_with("DENY (denied_by_rule) by AuthorizationPolicy tools/one rules[1]"),
        "{text}"
    );
    let (_, text) = asked(&["--from", "a/b", "--to", "tools/split:80", "--tool", "put_x", "--json"]).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&value["allowed"], &value["reason"]), (&false.into(), &"route".into()), "{value}");
    assert_eq!(value["led"]["route"], "HTTPRoute tools/calls rules[0]");
    let ends = value["led"]["backends"].as_array().unwrap();
    let said: Vec<_> = ends
        .iter()
        .map(|end| (end["to"].as_str().unwrap(), end["weight"].as_u64(), end["allowed"].as_bool()))
        .collect();
    assert_eq!(said, [("Service tools/one:80", Some(1), Some(false)), ("Service tools/split:80", Some(3), Some(true))]);
}
