//! `demo`: a whole small mesh on loopback, driven by real MCP sessions, each decision printed and held against what it
//! should be.
//!
//! The waypoint is the one that `run` starts and the clients' side the one of `connect`; only the ends are played: a
//! CA, an issuer of tokens, a server behind a guard. What is printed was seen, never assumed.

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

use crate::cli::Ended;
use crate::cli::args::DemoArgs;
use lab::Lab;
use show::Show;
use table::Style;

/// Runs the demo. `colours` is for terminals; `stop` ends it early, and ends `--serve`.
///
/// # Errors
/// Something could not even be started, or `out` cannot be written to.
pub async fn run(
    args: &DemoArgs,
    out: &mut (dyn Write + Send),
    colours: Colours,
    stop: CancellationToken,
) -> anyhow::Result<Ended> {
    let style = match (args.json, colours) {
        (true, _) => Style::Json,
        (false, Colours::On) => Style::Coloured,
        (false, Colours::Off) => Style::Plain,
    };
    let lab = Lab::start().await?;
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(Ended::Badly),
        ended = Box::pin(play(&lab, args, out, style)) => ended,
    };
    if args.serve && ended.is_ok() && !stop.is_cancelled() {
        stop.cancelled().await;
    }
    lab.stop().await;
    ended
}

/// Whether the output takes colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// A terminal.
    On,
    /// A file or a pipe.
    Off,
}

async fn play(lab: &Lab, args: &DemoArgs, out: &mut (dyn Write + Send), style: Style) -> anyhow::Result<Ended> {
    let mut show = Show::begin(lab, out, style)?;
    scenes::play(&mut show).await?;
    let ended = show.end()?;
    if args.serve {
        serve::explain(lab, out)?;
    }
    Ok(ended)
}
