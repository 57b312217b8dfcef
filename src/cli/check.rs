//! `check`: loads documents as `run` would, says everything that is wrong with them, then what they come to.

use std::io::Write;

use serde::Serialize;

use super::args::CheckArgs;
use super::load::{self, Loaded};
use super::{Ended, suppose};
use crate::call::Call;
use crate::document::{Problem, Severity};
use crate::id::WorkloadId;
use crate::mesh::Target;
use crate::policy::Facts;

/// Runs `check`.
///
/// # Errors
/// What the command line names cannot be read, or `out` cannot be written to.
pub fn run(args: &CheckArgs, out: &mut dyn Write) -> anyhow::Result<Ended> {
    let loaded = load::load(&args.files, &args.trust_domain)?;
    if args.json {
        write_json(&loaded, out)?
    } else {
        write_text(&loaded, out)?
    }
    out.flush()?;
    Ok(if loaded.errors() == 0 { Ended::Well } else { Ended::Badly })
}

fn write_text(loaded: &Loaded, out: &mut dyn Write) -> anyhow::Result<()> {
    for problem in &loaded.problems {
        writeln!(out, "{problem}")?;
    }
    if !loaded.problems.is_empty() {
        writeln!(out)?;
    }
    let rows: Vec<Row> = loaded.snapshot.targets().map(|target| Row::of(target)).collect();
    table(&rows, out)?;
    let (counts, errors) = (loaded.snapshot.counts(), loaded.errors());
    writeln!(
        out,
        "{} documents in force, {} refused, {} of no concern here; {errors} errors, {} warnings",
        counts.loaded,
        counts.refused,
        counts.skipped,
        loaded.problems.len() - errors
    )?;
    Ok(())
}

/// One target, for the summary.
#[derive(Debug, Serialize)]
struct Row {
    target: String,
    protocol: &'static str,
    rules: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<String>,
    tokens: bool,
    endpoints: usize,
}

impl Row {
    fn of(target: &Target) -> Self {
        let closed = target.closed().map(str::to_owned);
        let rules = match &closed {
            Some(reason) => format!("closed: {reason}"),
            None => count(target),
        };
        Self {
            target: target.key.to_string(),
            protocol: target.protocol.as_str(),
            rules,
            closed,
            tokens: target.tokens.is_some(),
            endpoints: target.endpoints.len(),
        }
    }
}

/// How many rules there are of each effect.
fn count(target: &Target) -> String {
    // Which call is asked about is all the same: an explanation names every rule.
    let Ok(id) = WorkloadId::parse("spiffe://check/nobody") else { return String::new() };
    let peer = suppose::peer(id, ([127, 0, 0, 1], 0).into());
    let facts = Facts {
        peer: &peer,
        destination: &target.destination,
        request: None,
        claims: None,
        call: &Call::Tcp,
        led: None,
        labels: None,
    };
    let findings = target.rules.explain(&facts).findings;
    let (dry, wet): (Vec<_>, Vec<_>) = findings.iter().partition(|finding| finding.dry_run);
    let mut words: Vec<String> = Vec::new();
    for effect in ["custom", "deny", "require", "allow", "limit"] {
        let number = wet.iter().filter(|finding| finding.effect == effect).count();
        if number > 0 {
            words.push(format!("{number} {effect}"));
        }
    }
    if !dry.is_empty() {
        words.push(format!("{} in dry run", dry.len()));
    }
    match (words.is_empty(), target.rules.is_open()) {
        (true, true) => "none: open".to_owned(),
        (true, false) => "none: every call is refused".to_owned(),
        (false, _) => words.join(", "),
    }
}

fn table(rows: &[Row], out: &mut dyn Write) -> anyhow::Result<()> {
    if rows.is_empty() {
        writeln!(out, "no Service or ServiceEntry is named: nothing would be served\n")?;
        return Ok(());
    }
    let wide = rows.iter().map(|row| row.target.chars().count()).max().unwrap_or(0).max("target".len());
    writeln!(out, "{:<wide$}  {:<10}  {:<6}  {:>9}  rules", "target", "protocol", "tokens", "endpoints")?;
    for row in rows {
        let tokens = if row.tokens { "yes" } else { "-" };
        writeln!(out, "{:<wide$}  {:<10}  {tokens:<6}  {:>9}  {}", row.target, row.protocol, row.endpoints, row.rules)?;
    }
    writeln!(out)?;
    Ok(())
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line<'a> {
    Problem { severity: &'static str, file: String, line: usize, document: &'a str, field: &'a str, reason: &'a str },
    Target(Row),
}

impl<'a> Line<'a> {
    fn of(problem: &'a Problem) -> Self {
        Self::Problem {
            severity: match problem.severity {
                Severity::Warning => "warning",
                Severity::Error => "error",
            },
            file: problem.place.file.display().to_string(),
            line: problem.place.line,
            document: &problem.document,
            field: &problem.field,
            reason: &problem.reason,
        }
    }
}

fn write_json(loaded: &Loaded, out: &mut dyn Write) -> anyhow::Result<()> {
    let problems = loaded.problems.iter().map(Line::of);
    let targets = loaded.snapshot.targets().map(|target| Line::Target(Row::of(target)));
    for line in problems.chain(targets) {
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
