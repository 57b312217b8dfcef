//! Arguments in, exit code out.

use std::process::ExitCode;

/// Records are made on the data path's threads and freed on the access log's, tasks move between threads: glibc's arenas
/// take a fifth of a call's CPU for that, with a lock between the threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    agent_waypoint::cli::main(std::env::args_os())
}
