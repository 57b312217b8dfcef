//! Agent-waypoint against what a stock Istio control plane stores and sends: fixtures, and what runs them.
//!
//! What runs against a live istiod is in `harness/` and `suite/`, see README.md; `src/bin/peer.rs` is the mesh around it.

pub mod provider;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory of documents below `fixtures/`.
pub fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Runs `agent-waypoint check` on documents, with the binary that cargo built beside the running test.
///
/// # Errors
/// When the binary is not there: `cargo test --workspace` builds it, `cargo test -p istio-integration` does not.
pub fn check(documents: &Path) -> io::Result<Output> {
    let test = std::env::current_exe()?;
    let built = test.ancestors().nth(2).map(|directory| directory.join("agent-waypoint"));
    let Some(binary) = built.filter(|binary| binary.is_file()) else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "agent-waypoint is not built: run `cargo build` first"));
    };
    Command::new(binary).arg("check").arg("-f").arg(documents).output()
}
