//! Cargo's view of the end-to-end tests. The drivers are in Python (`driver/`, `netns/`), as most of their peers are;
//! `run` and `netns/run` start them.

use std::io;
use std::path::Path;
use std::process::Command;

/// Runs a script of this directory with arguments; its output goes where ours goes.
///
/// # Errors
/// When it cannot be started, or ends with anything but 0.
pub fn run(script: &str, arguments: &[&str]) -> io::Result<()> {
    let status = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).args(arguments).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("e2e/{script} {}: {status}", arguments.join(" "))))
    }
}
