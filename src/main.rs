//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent_waypoint::cli::main(std::env::args_os())
}
