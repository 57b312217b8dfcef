//! `pins`: the definitions of a live server's tools, in the words of a policy.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Context as _;

use super::Ended;
use super::args::PinsArgs;
use crate::call::Value;
use crate::client::tools;
use crate::wire::json;
use crate::wire::mcp::Definition;

/// Characters of a description that are shown.
const SHOWN: usize = 100;

/// Runs `pins`: asks the server for its tools, and writes what `spec.pins` of an AgentPolicy would hold.
///
/// # Errors
/// The server cannot be asked, or lists what is no tool.
pub async fn run(args: &PinsArgs, out: &mut dyn Write) -> anyhow::Result<Ended> {
    let listed = tools::tools(&args.server).await.with_context(|| args.server.to_string())?;
    write(&args.server.to_string(), &listed, out)?;
    out.flush()?;
    Ok(Ended::Well)
}

fn write(server: &str, listed: &[Value], out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "# {} tools of {server}. Read what they say of themselves before this is in force.", listed.len())?;
    writeln!(out, "pins:\n  mode: Enforce\n  tools:{}", if listed.is_empty() { " []" } else { "" })?;
    let mut names = BTreeSet::new();
    for entry in listed {
        let name = entry.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let (name, definition) = name.zip(Definition::of(entry)).context("the server lists what has no name")?;
        if !names.insert(name) {
            writeln!(out, "  # listed twice: a client may see either")?;
        }
        if let Some(line) =
            entry.get("description").and_then(Value::as_str).map(first_line).filter(|line| !line.is_empty())
        {
            writeln!(out, "  # {line}")?;
        }
        // A string of JSON is one of YAML.
        let mut quoted = Vec::new();
        json::write_string(name, &mut quoted);
        writeln!(out, "  - {{name: {}, sha256: {definition}}}", String::from_utf8_lossy(&quoted))?;
    }
    Ok(())
}

/// The first line with anything in it, with nothing that would end a comment.
fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let plain = |c: &char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    line.chars().filter(plain).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::agent_policy::Pins;

    #[test]
    fn what_is_written_is_what_a_policy_reads() {
        let list = br#"[{"name":"get_note","description":"\n Gets a note.\nAnd more\u0085- {name: evil}"},{"name":"a: \"b\" #","description":"x\u2028- {name: evil}"},{"name":"get_note"}]"#;
        let Value::Array(listed) = json::parse(list).unwrap() else { panic!("a list") };
        let mut out = Vec::new();
        write("http://x/", &listed, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("  # Gets a note.\n") && text.contains("# listed twice"), "{text}");
        let read: std::collections::BTreeMap<String, Pins> = serde_saphyr::from_str(&text).unwrap();
        let names: Vec<_> = read["pins"].tools.iter().map(|pin| pin.name.as_str()).collect();
        assert_eq!(names, ["get_note", "a: \"b\" #", "get_note"]);
        for (pin, entry) in read["pins"].tools.iter().zip(&listed) {
            assert_eq!(pin.sha256, Definition::of(entry).unwrap().to_string());
        }
    }

    #[test]
    fn a_server_without_tools_pins_nothing() {
        let mut out = Vec::new();
        write("http://x/", &[], &mut out).unwrap();
        let read: std::collections::BTreeMap<String, Pins> =
            serde_saphyr::from_str(std::str::from_utf8(&out).unwrap()).unwrap();
        assert!(read["pins"].tools.is_empty());
    }
}
