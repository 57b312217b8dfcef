//! Cargo's view of the end-to-end tests. The driver is in Python (`driver/`), as most of its peers are; `e2e/run` starts it.

use std::io;
use std::path::Path;
use std::process::Command;

/// Runs `e2e/run` with arguments; its output goes where ours goes.
///
/// # Errors
/// When it cannot be started, or ends with anything but 0.
pub fn run(arguments: &[&str]) -> io::Result<()> {
    let status = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("run")).args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("e2e/run {}: {status}", arguments.join(" ")))) }
}
