use std::fmt::Write as _;
use std::sync::Arc;

use http::StatusCode;

use super::dump::{self, Sources};
use super::readiness::Readiness;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::CONTENT_TYPE as METRICS;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Some pages by path; 404 for the rest.
pub type Pages = Arc<dyn Fn(&str) -> Page + Send + Sync>;

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Status.
    pub status: StatusCode,
    /// Media type.
    pub content_type: &'static str,
    /// All of it.
    pub body: String,
}

impl Page {
    fn ok(content_type: &'static str, body: String) -> Self {
        Self { status: StatusCode::OK, content_type, body }
    }

    pub(super) fn status(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, content_type: TEXT, body: body.into() }
    }

    /// 200, ready.
    pub fn ready() -> Self {
        Self::ok(TEXT, "ready\n".to_owned())
    }

    /// 503 with a line for each thing missing.
    pub fn unready(lines: String) -> Self {
        Self::status(StatusCode::SERVICE_UNAVAILABLE, lines)
    }

    fn not_found() -> Self {
        Self::status(StatusCode::NOT_FOUND, "not found\n")
    }
}

/// `/stats/prometheus` (where Istio's template has it scraped) and `/metrics`. `refresh` is run before each, to set
/// gauges that are only read here.
pub fn stats(telemetry: Telemetry, refresh: impl Fn() + Send + Sync + 'static) -> impl Fn(&str) -> Page + Send + Sync {
    move |path| match path {
        "/stats/prometheus" | "/metrics" => {
            refresh();
            match telemetry.metrics().encode() {
                text if text.is_empty() => Page::status(StatusCode::INTERNAL_SERVER_ERROR, "metrics not written\n"),
                text => Page::ok(METRICS, text),
            }
        }
        _ => Page::not_found(),
    }
}

/// `/healthz/ready`: 200, or 503 with a line for each thing missing. `/healthz/live`: 200 as long as it is answered.
pub fn ready(readiness: Readiness) -> impl Fn(&str) -> Page + Send + Sync {
    move |path| match path {
        "/healthz/ready" => match readiness.check() {
            Ok(()) => Page::ready(),
            Err(missing) => Page::unready(missing),
        },
        _ => live(path),
    }
}

/// `/healthz/live`: 200 as long as it is answered.
pub fn live(path: &str) -> Page {
    match path {
        "/healthz/live" => Page::ok(TEXT, "live\n".to_owned()),
        _ => Page::not_found(),
    }
}

/// `/`, `/config_dump`, `/endpoints`, `/problems`, and the pages of [`stats`] and [`ready`]: for people on this host.
pub fn admin(sources: Sources, others: Vec<Pages>) -> impl Fn(&str) -> Page + Send + Sync {
    const INDEX: &str = "agent-waypoint\n\n/config_dump        targets, endpoints, certificates (JSON)\n/endpoints          endpoints that were lately called: calls under way, and who is left alone (JSON)\n/problems           what is wrong in documents\n/stats/prometheus   metrics\n/healthz/ready      readiness\n/healthz/live       liveness\n";
    move |path| match path {
        "/" => Page::ok(TEXT, INDEX.to_owned()),
        "/config_dump" => Page::ok(JSON, format!("{:#}\n", dump::config(&sources))),
        "/endpoints" => Page::ok(JSON, format!("{:#}\n", dump::endpoints(&sources))),
        "/problems" => {
            let mut lines = String::new();
            for problem in (sources.problems)() {
                // Writing into a String does not fail.
                let _never = writeln!(lines, "{problem}");
            }
            Page::ok(TEXT, if lines.is_empty() { "no problems\n".to_owned() } else { lines })
        }
        _ => others
            .iter()
            .map(|other| other(path))
            .find(|page| page.status != StatusCode::NOT_FOUND)
            .unwrap_or_else(Page::not_found),
    }
}
