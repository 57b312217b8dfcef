//! The program around the commands: arguments, log, runtime, signals, exit code.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::{Command, CommandLine, RunArgs};
use super::{Ended, Out, check, connect, explain, run};
use crate::telemetry::logs;

/// Runs the command that `args` (the program's name first) name. 0 well, 1 not (a command line that cannot be read too),
/// 3 `explain`: the call is refused.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(implied_run(args, template_trust_domain())) {
        Ok(line) => line,
        Err(error) => return untold(&error).into(),
    };
    match command(line.command) {
        Ok(ended) => ended.into(),
        Err(error) => {
            let _unread = writeln!(io::stderr(), "error: {error:#}");
            Ended::Badly.into()
        }
    }
}

/// Help and version are "errors" to the parser, told on stdout. Everything else is one line: what starts a process logs it
/// as such.
fn untold(error: &clap::Error) -> Ended {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion) {
        let _unread = write!(io::stdout(), "{}", error.render());
        return Ended::Well;
    }
    let _unread = writeln!(io::stderr(), "{}", in_one_line(&error.render().to_string()));
    Ended::Badly
}

/// The parser's paragraphs without usage, which `--help` tells.
fn in_one_line(text: &str) -> String {
    let aside = |part: &&str| !part.starts_with("Usage:") && !part.starts_with("For more information");
    let parts = text.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).filter(aside);
    let parts: Vec<String> = parts.map(|part| part.lines().map(str::trim).collect::<Vec<_>>().join(" ")).collect();
    format!("{}; see --help", parts.join("; "))
}

/// The trust domain that istiod's template says, unless our own variable says one.
fn template_trust_domain() -> Option<OsString> {
    let own = std::env::var_os("AGENT_WAYPOINT_TRUST_DOMAIN");
    std::env::var_os("TRUST_DOMAIN").filter(|text| own.is_none() && !text.is_empty())
}

/// istiod's template starts a waypoint with flags and no subcommand: that is `run`, in `trust_domain` unless a flag says
/// another.
fn implied_run(args: impl IntoIterator<Item = OsString>, trust_domain: Option<OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let text = |arg: &OsString| arg.to_string_lossy().into_owned();
    let first_is_flag = args.get(1).map(text).is_some_and(|first| first.starts_with('-'));
    let config = args.iter().map(text).any(|arg| arg == "--config" || arg.starts_with("--config="));
    if first_is_flag && config {
        let said = args.iter().map(text).any(|arg| arg.starts_with("--trust-domain"));
        args.splice(1..1, ["run".into(), "--dropped-in".into()]);
        if let Some(trust_domain) = trust_domain.filter(|_| !said) {
            args.extend(["--trust-domain".into(), trust_domain]);
        }
    }
    args
}

fn command(command: Command) -> anyhow::Result<Ended> {
    let mut out = Out::new(io::stdout());
    match command {
        Command::Run(args) => serve(*args),
        Command::Connect(args) => {
            log("info", logs::Format::Text)?;
            runtime()?.block_on(connecting(&args, &mut out))
        }
        #[cfg(feature = "controller")]
        Command::Controller(args) => control(*args),
        #[cfg(feature = "controller")]
        Command::Guard(args) => {
            log("error", logs::Format::Text)?;
            runtime()?.block_on(super::guard::run(&args, &mut out))
        }
        Command::Pins(args) => {
            log("error", logs::Format::Text)?;
            runtime()?.block_on(super::pins::run(&args, &mut out))
        }
        Command::Check(args) => check::run(&args, &mut out),
        Command::Explain(args) => explain::run(&args, &mut out, &mut Out::new(io::stderr())),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demonstrate(&args, &mut out),
        Command::Version => {
            writeln!(out, "agent-waypoint {}", env!("CARGO_PKG_VERSION"))?;
            Ok(Ended::Well)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut CommandLine::command(), "agent-waypoint", &mut out);
            Ok(Ended::Well)
        }
    }
}

fn serve(args: RunArgs) -> anyhow::Result<Ended> {
    log("info", if args.log_json { logs::Format::Json } else { logs::Format::Text })?;
    // One thread for files, certificates and pages; the data plane brings its own.
    let control = Builder::new_multi_thread().worker_threads(1).thread_name("control").enable_all().build()?;
    control.block_on(run::run(args))?;
    Ok(Ended::Well)
}

#[cfg(feature = "controller")]
fn control(args: super::args::ControllerArgs) -> anyhow::Result<Ended> {
    log("info", if args.log_json { logs::Format::Json } else { logs::Format::Text })?;
    runtime()?.block_on(async {
        let stop = CancellationToken::new();
        let asked = until_signal()?;
        stopping(asked, &stop, Box::pin(super::controller::run(args, stop.clone()))).await?;
        Ok(Ended::Well)
    })
}

async fn connecting(args: &super::args::ConnectArgs, out: &mut Out<io::Stdout>) -> anyhow::Result<Ended> {
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let asked = until_signal()?;
    let work = async {
        let identity = connect::identity(args, &tasks, &stop).await?;
        connect::run(args, identity, out, stop.clone()).await
    };
    let ended = stopping(asked, &stop, work).await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    ended
}

#[cfg(feature = "demo")]
fn demonstrate(args: &super::args::DemoArgs, out: &mut Out<io::Stdout>) -> anyhow::Result<Ended> {
    use std::io::IsTerminal as _;

    use crate::demo::{self, Afterwards, Form};
    // Quiet, so that nothing stands between the lines of the table; who wants the log asks for it. The clients' own log
    // (rmcp) says again what the table says.
    log(if args.serve { "warn,rmcp=off" } else { "off" }, logs::Format::Text)?;
    let form = match (args.json, io::stdout().is_terminal()) {
        (true, _) => Form::Json,
        (false, true) => Form::Coloured,
        (false, false) => Form::Table,
    };
    let afterwards = if args.serve { Afterwards::Serve } else { Afterwards::End };
    runtime()?.block_on(async {
        let stop = CancellationToken::new();
        let asked = until_signal()?;
        let outcome = stopping(asked, &stop, Box::pin(demo::run(form, afterwards, out, stop.clone()))).await?;
        Ok(if outcome.is_good() { Ended::Well } else { Ended::Badly })
    })
}

/// `RUST_LOG` where it is set.
fn log(otherwise: &str, format: logs::Format) -> anyhow::Result<()> {
    let filter = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    Ok(logs::init(filter.as_deref().unwrap_or(otherwise), format)?)
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

/// Resolves at SIGINT or SIGTERM, which from now on end nothing by themselves.
fn until_signal() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// `work`, told to stop when `asked`.
async fn stopping<T>(asked: impl Future<Output = ()>, stop: &CancellationToken, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = asked => stop.cancel(),
    }
    work.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        let told = |args: &[&str]| {
            let error = CommandLine::try_parse_from(std::iter::once(&"agent-waypoint").chain(args)).unwrap_err();
            in_one_line(&error.render().to_string())
        };
        for args in [&["run", "--dve"][..], &["run"], &["run", "--dev", "-f", "x", "--hbone-addr", "y"], &["rnu"]] {
            let line = told(args);
            assert!(line.starts_with("error: ") && !line.contains('\n') && !line.contains("Usage"), "{line}");
        }
        let tip = told(&["run", "--trust-domian", "x"]);
        assert!(tip.contains("--trust-domain'"), "{tip}");
    }

    #[test]
    fn flags_with_config_and_no_subcommand_are_run() {
        let of = |args: &[&str]| implied_run(args.iter().map(OsString::from), Some("td".into()));
        let run = |args: &[&str]| of(args).get(1).cloned().unwrap_or_default();
        assert_eq!(run(&["agent-waypoint", "--config", "x"]), "run");
        assert_eq!(run(&["agent-waypoint", "--dev", "--config=x"]), "run");
        assert_eq!(run(&["agent-waypoint", "--help"]), "--help");
        assert_eq!(run(&["agent-waypoint", "run", "--config", "x"]), "run");
        assert_eq!(run(&["agent-waypoint"]), "");
        let whole = of(&["agent-waypoint", "--config", "{}"]).join(std::ffi::OsStr::new(" "));
        assert_eq!(whole, "agent-waypoint run --dropped-in --config {} --trust-domain td");
        let own = of(&["agent-waypoint", "--config", "{}", "--trust-domain=own"]);
        assert_eq!(own.len(), 6, "a flag wins: {own:?}");
        assert_eq!(of(&["agent-waypoint", "run", "--config", "{}"]).len(), 4, "only where the template started us");
    }
}
