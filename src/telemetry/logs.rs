//! Our own log, on stderr; stdout belongs to the access log.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    /// The filter does not parse; see `RUST_LOG` of `tracing-subscriber`.
    #[error("log filter {filter:?}: {reason}")]
    Filter {
        /// As given.
        filter: String,
        /// What the parser said.
        reason: String,
    },
    /// A second start in one process.
    #[error("logging was started before")]
    Twice,
}

/// Starts logging for the process. `filter` is in the syntax of `RUST_LOG` (`info`, `agent_waypoint=debug,h2=warn`).
///
/// # Errors
/// [`LogFault`]
pub fn init(filter: &str, format: Format) -> Result<(), LogFault> {
    let parsed = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| LogFault::Filter { filter: filter.to_owned(), reason: error.to_string() })?;
    let registry = tracing_subscriber::registry().with(parsed);
    let line = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        Format::Text => registry.with(line.with_target(false)).try_init(),
        Format::Json => registry.with(line.json().flatten_event(true)).try_init(),
    };
    started.map_err(|_twice| LogFault::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_parse_is_named() {
        let fault = init("agent_waypoint=loudest", Format::Text).unwrap_err();
        assert!(fault.to_string().contains("agent_waypoint=loudest"), "{fault}");
    }
}
