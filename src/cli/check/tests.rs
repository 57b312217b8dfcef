use std::path::Path;

use super::*;
use crate::id::TrustDomain;

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: notes, namespace: tools}
spec:
  ports: [{name: mcp, port: 80, targetPort: 8080}, {name: plain, port: 81, appProtocol: http}]
";

const POLICY: &str = "\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {name: notes, namespace: tools}
spec:
  targetRefs:
  - {kind: Service, name: notes, sectionName: mcp}
  protocol: MCP
  deny:
  - to: [{tools: ['delete_*']}]
  allow:
  - name: read
    to: [{tools: ['get_*']}]
    when: PLACEHOLDER
";

fn checked(files: &[(&str, &str)], json: bool) -> (Ended, String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let args = CheckArgs {
        files: vec![dir.path().to_owned()],
        trust_domain: TrustDomain::parse("cluster.local").unwrap(),
        json,
    };
    let mut out = Vec::new();
    let ended = run(&args, &mut out).unwrap();
    (ended, String::from_utf8(out).unwrap(), dir)
}

#[test]
fn good_documents_are_summed_up() {
    let policy = POLICY.replace("PLACEHOLDER", "source.address != ''");
    let (ended, text, _dir) = checked(&[("a.yaml", SERVICE), ("b.yaml", &policy)], false);
    assert_eq!(ended, Ended::Well, "{text}");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("Service ")).collect();
    assert!(rows[0].starts_with("Service tools/notes:80 ") && rows[0].ends_with("1 deny, 1 allow"), "{text}");
    assert!(rows[1].starts_with("Service tools/notes:81 ") && rows[1].ends_with("none: open"), "{text}");
    assert!(text.ends_with("2 documents in force, 0 refused, 0 of no concern here; 0 errors, 0 warnings\n"), "{text}");
}

#[test]
fn an_error_is_told_with_file_line_document_and_field() {
    let policy = POLICY.replace("PLACEHOLDER", "jwt.sub === 'x'");
    let (ended, text, dir) = checked(&[("a.yaml", SERVICE), ("b.yaml", &policy)], false);
    assert_eq!(ended, Ended::Badly);
    let place =
        format!("{}:13: error: AgentPolicy tools/notes: spec.allow[0].when: ", dir.path().join("b.yaml").display());
    assert!(text.starts_with(&place), "{text}");
    assert!(text.contains("closed: "), "{text}");
}

#[test]
fn json_is_one_object_per_line() {
    let policy = POLICY.replace("PLACEHOLDER", "mcp.tol.name == 'x'");
    let (ended, text, _dir) = checked(&[("a.yaml", SERVICE), ("b.yaml", &policy)], true);
    assert_eq!(ended, Ended::Badly);
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["type"], &lines[0]["severity"]), (&"problem".into(), &"error".into()));
    assert_eq!((&lines[0]["line"], &lines[0]["field"]), (&13.into(), &"spec.allow[0].when".into()));
    let last = lines.last().unwrap();
    assert_eq!((&last["type"], &last["protocol"]), (&"target".into(), &"http".into()));
}

#[test]
fn what_is_not_there_is_an_error_of_the_command_line() {
    let args = CheckArgs {
        files: vec![Path::new("/nowhere/at/all").to_owned()],
        trust_domain: TrustDomain::parse("cluster.local").unwrap(),
        json: false,
    };
    let error = run(&args, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}
