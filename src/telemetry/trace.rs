//! One OTLP span per call, made from its finished record. Names follow OpenTelemetry's conventions for MCP and HTTP.
//!
//! The parent is the inner request's own `traceparent` (W3C Trace Context), which itself is forwarded untouched: our
//! span is a sibling of the server's, under the caller's. Whether a span is made follows the parent's sampled flag, and
//! `OTEL_TRACES_SAMPLER` where there is no parent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Span, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanData};

use super::record::{Outcome, Record};

/// Where spans go.
#[derive(Debug)]
pub struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// Why tracing could not start.
#[derive(Debug, thiserror::Error)]
#[error("OTLP endpoint {endpoint:?}: {reason}")]
pub struct TraceFault {
    endpoint: String,
    reason: String,
}

impl Tracing {
    /// Spans to the OTLP/gRPC collector at `endpoint` (`http://host:4317`), batched, in the background. Must be called
    /// within a tokio runtime that lives as long as the handle; the collector need not be there yet.
    ///
    /// # Errors
    /// An endpoint that is no `http://` URI.
    pub fn start(endpoint: &str) -> Result<Self, TraceFault> {
        let fault = |reason: String| TraceFault { endpoint: endpoint.to_owned(), reason };
        if !endpoint.starts_with("http://") {
            return Err(fault(
                "must be http://HOST:PORT (OTLP over gRPC, in plaintext or through the mesh)".to_owned(),
            ));
        }
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()
            .map_err(|error| fault(error.to_string()))?;
        let resource = Resource::builder().with_service_name(service_name()).build();
        let exporter = Heard { exporter, failing: AtomicBool::new(false) };
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = provider.tracer("agent-waypoint");
        Ok(Self { provider, tracer })
    }

    /// The caller's span, where `headers` name one.
    pub(super) fn parent(&self, headers: &http::HeaderMap) -> Option<SpanContext> {
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        let span = context.span().span_context().clone();
        span.is_valid().then_some(span)
    }

    pub(super) fn observe(&self, record: &Record) {
        let parent = match &record.parent {
            Some(parent) => Context::new().with_remote_span_context(parent.clone()),
            None => Context::new(),
        };
        let operation = &record.operation;
        let name = match (&*operation.method, &operation.name) {
            ("", _) => "tcp".to_owned(),
            (method, Some(name)) => format!("{method} {name}"),
            (method, None) => method.to_owned(),
        };
        let mut span = self.tracer.build_with_context(
            SpanBuilder::from_name(name)
                .with_kind(SpanKind::Server)
                .with_start_time(record.time)
                .with_attributes(attributes(record)),
            &parent,
        );
        if let Some(fault) = &record.fault {
            span.set_status(Status::error(fault.reason));
        } else if record.outcome == Outcome::Error {
            span.set_status(Status::error(record.ruling.reason));
        }
        span.end_with_timestamp(record.time + record.took);
    }

    /// Sends what is left and stops, for at most `limit`.
    pub(super) async fn shutdown(&self, limit: Duration) {
        let provider = self.provider.clone();
        let stopped = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit)).await;
        if !matches!(stopped, Ok(Ok(()))) {
            tracing::warn!("spans not sent in time");
        }
    }
}

/// Says when spans begin and stop being lost; the SDK itself keeps silent.
#[derive(Debug)]
struct Heard {
    exporter: SpanExporter,
    failing: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for Heard {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed_before => tracing::warn!(%error, "spans are being lost"),
            Ok(()) if failed_before => tracing::info!("spans are being sent again"),
            Ok(()) | Err(_) => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(limit)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

fn service_name() -> String {
    std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_unset| "agent-waypoint".to_owned())
}

fn attributes(record: &Record) -> Vec<KeyValue> {
    let text = |key: &'static str, value: &str| KeyValue::new(key, value.to_owned());
    let mut all = vec![
        text("agent_waypoint.request_id", &record.request_id),
        text("agent_waypoint.peer", &record.peer),
        text("agent_waypoint.decision", record.outcome.as_str()),
        text("agent_waypoint.reason", record.ruling.reason),
        text("network.protocol.name", record.protocol.as_str()),
        text("client.address", &record.source.ip().to_string()),
    ];
    let operation = &record.operation;
    let mcp = record.protocol == super::Protocol::Mcp && !operation.method.is_empty();
    let name = operation.name.as_deref();
    let optional = [
        (
            if mcp { "mcp.method.name" } else { "http.request.method" },
            Some(&*operation.method).filter(|m| !m.is_empty()),
        ),
        ("gen_ai.tool.name", name.filter(|_| operation.kind == Some("tool"))),
        ("gen_ai.prompt.name", name.filter(|_| operation.kind == Some("prompt"))),
        ("mcp.resource.uri", name.filter(|_| operation.kind == Some("resource"))),
        ("url.path", operation.path.as_deref()),
        ("server.address", record.site.as_ref().map(|site| &*site.host)),
        ("agent_waypoint.policy", record.ruling.rule.as_ref().map(|rule| &*rule.policy)),
        ("agent_waypoint.rule", record.ruling.rule.as_ref().map(|rule| &*rule.rule)),
        (
            "agent_waypoint.shadow",
            record.ruling.shadow.as_ref().map(|shadow| if shadow.refused.is_some() { "deny" } else { "allow" }),
        ),
        ("agent_waypoint.upstream", record.upstream.as_deref()),
        ("error.type", record.fault.as_ref().map(|fault| fault.reason)),
    ];
    all.extend(optional.into_iter().filter_map(|(key, value)| Some(text(key, value?))));
    if let Some(site) = &record.site {
        all.push(KeyValue::new("server.port", i64::from(site.port)));
    }
    if let Some(status) = record.status {
        all.push(KeyValue::new("http.response.status_code", i64::from(status)));
    }
    all
}

/// Reads trace headers; repeated ones count as absent, as two readers might take different ones.
struct Headers<'a>(&'a http::HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all(key).iter();
        let first = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(first)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests;
