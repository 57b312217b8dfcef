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
