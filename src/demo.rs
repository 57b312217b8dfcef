//! `demo`: a whole small mesh on loopback, driven by real MCP sessions and calls to an agent, each decision printed and held against what it
//! should be.
//!
//! The waypoint is the one that `run` starts and the clients' side the one of `connect`; only the ends are played: a
//! CA, an issuer of tokens, a server behind a guard, an agent. What is printed was seen, never assumed.

mod agent;
mod documents;
mod issuer;
mod lab;
mod outsiders;
mod pod;
mod records;
mod scenes;
mod serve;
mod sessions;
mod show;
mod table;

use std::io::Write;

use tokio_util::sync::CancellationToken;

use lab::Lab;
use show::Show;
use table::Style;

/// What the lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table without colours.
    Table,
    /// A table for a terminal.
    Coloured,
    /// One JSON object per line.
    Json,
}

/// What to do once all lines are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// End.
    End,
    /// Keep everything running until told to stop, and say what to try by hand.
    Serve,
}

/// How it came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// Lines that came out as they should.
    pub good: usize,
    /// All lines.
    pub lines: usize,
}

impl Outcome {
    /// Whether there were lines and each came out as it should.
    pub fn is_good(self) -> bool {
        self.lines > 0 && self.good == self.lines
    }
}

/// Runs the demo; `stop` ends it early, and ends serving.
///
/// # Errors
/// Something could not even be started, or `out` cannot be written to.
pub async fn run(
    form: Form,
    afterwards: Afterwards,
    out: &mut (dyn Write + Send),
    stop: CancellationToken,
) -> anyhow::Result<Outcome> {
    let style = match form {
        Form::Table => Style::Plain,
        Form::Coloured => Style::Coloured,
        Form::Json => Style::Json,
    };
    let lab = Lab::start().await?;
    let outcome = tokio::select! {
        () = stop.cancelled() => Ok(Outcome { good: 0, lines: 0 }),
        outcome = Box::pin(play(&lab, afterwards, out, style)) => outcome,
    };
    if afterwards == Afterwards::Serve && outcome.is_ok() {
        stop.cancelled().await;
    }
    lab.stop().await;
    outcome
}

async fn play(
    lab: &Lab,
    afterwards: Afterwards,
    out: &mut (dyn Write + Send),
    style: Style,
) -> anyhow::Result<Outcome> {
    let mut show = Show::begin(lab, out, style)?;
    scenes::play(&mut show).await?;
    let outcome = show.end()?;
    if afterwards == Afterwards::Serve {
        serve::explain(lab, out, style)?;
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests;
