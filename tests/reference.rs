//! Holds docs/reference.md against the code: every flag, variable, limit, CEL name, metric and log field.
//!
//! The tables between `<!-- NAME -->` and `<!-- /NAME -->` are written by this file: `UPDATE_REFERENCE=1 cargo test
//! --test reference` puts them there.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test ends by failing"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use agent_waypoint::cli::args::{CommandLine, ISTIO_VARIABLES};
use agent_waypoint::config::limits;
use agent_waypoint::policy::names::{self, Known};
use clap::CommandFactory as _;
#[cfg(feature = "demo")]
use clap::{Arg, ArgAction};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> PathBuf {
    root().join("docs/reference.md")
}

/// The page with the table of `name` replaced.
fn with_section(page: &str, name: &str, table: &str) -> String {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let start = page.find(&open).unwrap_or_else(|| panic!("docs/reference.md has no {open}")) + open.len();
    let end = start + page[start..].find(&close).unwrap_or_else(|| panic!("docs/reference.md has no {close}"));
    format!("{}{table}{}", &page[..start], &page[end..])
}

fn hold(name: &str, table: &str) {
    let old = fs::read_to_string(page()).unwrap();
    let new = with_section(&old, name, table);
    if old == new {
        return;
    }
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(page(), new).unwrap();
        return;
    }
    panic!("docs/reference.md, section {name}, is not what the code says; it should be:\n{table}");
}

/// One test, so that an update writes the page from one place at a time.
#[test]
fn tables_are_what_the_code_says() {
    #[cfg(feature = "demo")]
    hold("flags", &flags());
    hold("limits", &limits_table());
    hold("names", &names_table());
}

#[cfg(feature = "demo")]
fn flags() -> String {
    let mut out = String::new();
    let mut command = CommandLine::command();
    command.build();
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(out, "### `{}`\n\n{about}.\n", sub.get_name()).unwrap();
        let args: Vec<&Arg> = sub.get_arguments().filter(|arg| arg.get_id() != "help").collect();
        if args.is_empty() {
            continue;
        }
        out.push_str("| flag | variable | default | what |\n|---|---|---|---|\n");
        for arg in args {
            writeln!(out, "| {} | {} | {} | {} |", flag(arg), variable(arg), default(arg), help(arg)).unwrap();
        }
        out.push('\n');
    }
    out
}

#[cfg(feature = "demo")]
fn flag(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(<[_]>::first).map(ToString::to_string).unwrap_or_default();
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value = if takes { format!(" {value}") } else { String::new() };
    let text = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}{value}"),
        (None, Some(long)) => format!("--{long}{value}"),
        _ => value.trim().to_owned(),
    };
    format!("`{}`", text.replace('|', "\\|"))
}

#[cfg(feature = "demo")]
fn variable(arg: &Arg) -> String {
    arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default()
}

#[cfg(feature = "demo")]
fn default(arg: &Arg) -> String {
    let values: Vec<String> = arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    if takes && !values.is_empty() { format!("`{}`", values.join(",")) } else { String::new() }
}

#[cfg(feature = "demo")]
fn help(arg: &Arg) -> String {
    arg.get_help().map(|text| text.to_string().replace('|', "\\|")).unwrap_or_default()
}

/// Names, values and units from the table; what each bounds from its comment.
fn limits_table() -> String {
    let source = fs::read_to_string(root().join("src/config/limits.rs")).unwrap();
    let mut out = String::from("| limit | value | unit | what |\n|---|---|---|---|\n");
    for (name, value, unit) in limits::TABLE {
        let what = comment_of(&source, &name.to_uppercase());
        writeln!(out, "| `{name}` | {value} | {unit} | {what} |").unwrap();
    }
    out
}

/// The doc comment of a constant, in one line.
fn comment_of(source: &str, constant: &str) -> String {
    let lines: Vec<&str> = source.lines().collect();
    let declares = format!("pub const {constant}:");
    let at = lines.iter().position(|line| line.starts_with(&declares));
    let at = at.unwrap_or_else(|| panic!("limits::TABLE names {constant}, which is no constant of that name"));
    let mut comment: Vec<&str> =
        lines[..at].iter().rev().map_while(|line| line.strip_prefix("///")).map(str::trim).collect();
    comment.reverse();
    comment.join(" ").trim_end_matches('.').replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

fn names_table() -> String {
    let mut out = String::from("| name | type | known | what |\n|---|---|---|---|\n");
    for row in names::TABLE {
        let ty = row.ty.map_or("", |ty| ty.as_str());
        writeln!(out, "| `{}` | {ty} | {} | {} |", row.path, known(row.known), row.doc).unwrap();
    }
    out
}

fn known(known: Known) -> &'static str {
    match known {
        Known::Always => "always",
        Known::IstioIdentity => "identities of Istio's shape",
        Known::Http => "HTTP",
        Known::Token => "with a valid token",
        Known::Mcp => "MCP",
        Known::McpIfSaid => "MCP, where said",
        Known::McpSession => "MCP sessions",
        Known::ServerRequest => "requests of the server",
        Known::ServerRequestIfSaid => "requests of the server, where said",
        Known::Answer => "once answered",
        Known::AnswerIfSaid => "once answered, where said",
        Known::OwnKind => "calls and list entries of its kind",
        Known::OwnKindNotInLists => "calls of its kind, unknown in lists",
        Known::A2a => "A2A",
        Known::A2aIfSaid => "A2A, where said",
        Known::A2aIfLearnt => "A2A, where learnt",
        Known::A2aIfSeen => "A2A, once the card was seen",
        Known::A2aMessage => "messages of A2A",
    }
}

/// Every metric that is registered has a row in the page.
#[test]
fn metrics_are_listed() {
    let page = fs::read_to_string(page()).unwrap();
    let mut count = 0;
    for (file, prefix) in [("own.rs", "agent_waypoint_"), ("istio.rs", "")] {
        let source = fs::read_to_string(root().join("src/telemetry/metrics").join(file)).unwrap();
        for rest in source.split("register(\"").skip(1) {
            let name = rest.split('"').next().unwrap();
            let row = format!("| `{prefix}{name}");
            assert!(page.contains(&row), "docs/reference.md does not list the metric {prefix}{name}");
            count += 1;
        }
    }
    assert!(count > 15, "the metrics are registered in another way than this test looks for");
}

/// Every field of the access log's line has a row in the page.
#[test]
fn log_fields_are_listed() {
    let source = fs::read_to_string(root().join("src/telemetry/access_log/line.rs")).unwrap();
    let page = fs::read_to_string(page()).unwrap();
    // Every member is written by a method of the line, whose first argument is its name.
    let written = source.split("#[cfg(test)]").next().unwrap();
    let named = written.split("line.").skip(1).filter_map(|call| {
        let (_, name) = call.split_once('(')?;
        name.strip_prefix('"')?.split('"').next()
    });
    let fields: Vec<_> = named.collect();
    assert!(fields.contains(&"request_id") && fields.contains(&"stage") && fields.len() > 25, "{fields:?}");
    for field in fields {
        assert!(page.contains(&format!("| `{field}` |")), "docs/reference.md does not list the log field `{field}`");
    }
}

/// Every flag has a variable, which is the flag in capitals: so that the rule in the page holds.
#[test]
fn every_flag_has_its_variable() {
    let mut command = CommandLine::command();
    command.build();
    for sub in command.get_subcommands() {
        for arg in sub.get_arguments().filter(|arg| arg.get_id() != "help") {
            let Some(long) = arg.get_long() else { continue };
            let expected = format!("AGENT_WAYPOINT_{}", long.to_uppercase().replace('-', "_"));
            // What istiod's templates set keeps Istio's names.
            let istio = ISTIO_VARIABLES.contains(&long.to_uppercase().replace('-', "_").as_str());
            let expected = if istio { expected.replace("AGENT_WAYPOINT_", "") } else { expected };
            let env = arg.get_env().map(|env| env.to_string_lossy().into_owned());
            assert_eq!(env, Some(expected), "{} --{long}", sub.get_name());
        }
    }
}

#[test]
fn a_planted_difference_is_found() {
    let page = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
    assert_eq!(with_section(page, "x", "new\n"), "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n");
    assert_eq!(comment_of("/// One\n/// two.\npub const A: u8 = 1;", "A"), "One two");
}
