use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::record::{Record, blame_word};
use crate::policy::{Reason, RuleName};

/// `record` as one line of JSON in place of what `out` held.
pub(super) fn json(record: &Record, out: &mut Vec<u8>) {
    out.clear();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Plain(CompactFormatter));
    // Unreachable for this type (no maps with odd keys, no failing writer); still a line, never a panic.
    if Line::of(record).serialize(&mut serializer).is_err() {
        out.clear();
        out.extend_from_slice(br#"{"error":"record not serialisable"}"#);
    }
    out.push(b'\n');
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request_id: &'a str,
    peer: &'a str,
    source: std::net::SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    protocol: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(flatten)]
    named: Named<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    decision: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(flatten)]
    rule: Option<Rule<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<ShadowLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u16>,
    bytes_in: u64,
    bytes_out: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<Fault<'a>>,
}

#[derive(Serialize, Default)]
struct Named<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
}

#[derive(Serialize)]
struct Rule<'a> {
    rule: &'a str,
    policy: String,
    generation: i64,
}

#[derive(Serialize)]
struct ShadowLine<'a> {
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(flatten)]
    rule: Option<Rule<'a>>,
}

#[derive(Serialize)]
struct Fault<'a> {
    stage: &'static str,
    blame: &'static str,
    reason: &'static str,
    detail: &'a str,
}

impl<'a> Line<'a> {
    fn of(record: &'a Record) -> Self {
        let ruling = &record.ruling;
        Self {
            time: OffsetDateTime::from(record.time).format(&Rfc3339).unwrap_or_default(),
            request_id: &record.request_id,
            peer: &record.peer,
            source: record.source,
            target: record.site.as_ref().map(|site| format!("{}/{}:{}", site.namespace, site.name, site.port)),
            protocol: record.protocol.as_str(),
            method: &record.operation.method,
            named: Named::of(record),
            path: record.operation.path.as_deref(),
            decision: record.outcome.as_str(),
            reason: ruling.reason,
            detail: ruling.detail.as_deref(),
            rule: ruling.rule.as_ref().map(Rule::of),
            revision: ruling.revision.map(|revision| revision.to_string()),
            shadow: ruling.shadow.as_ref().map(|shadow| ShadowLine {
                decision: if shadow.refused.is_some() { "deny" } else { "allow" },
                reason: shadow.refused.as_ref().map(Reason::as_str),
                rule: shadow.rule.as_ref().map(Rule::of),
            }),
            subject: record.subject.as_deref(),
            session: record.session.as_deref(),
            arguments: record.arguments.as_deref(),
            status: record.status,
            grpc_status: record.grpc_status,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            duration_ms: (record.took.as_secs_f64() * 1e6).round() / 1e3,
            upstream: record.upstream.as_deref(),
            upstream_identity: record.upstream_identity.as_deref(),
            fault: record.fault.as_ref().map(|fault| Fault {
                stage: fault.stage.as_str(),
                blame: blame_word(fault.blame),
                reason: fault.reason,
                detail: &fault.detail,
            }),
        }
    }
}

impl<'a> Named<'a> {
    fn of(record: &'a Record) -> Self {
        let name = record.operation.name.as_deref();
        match record.operation.kind {
            Some("tool") => Self { tool: name, ..Self::default() },
            Some("prompt") => Self { prompt: name, ..Self::default() },
            Some("resource") => Self { resource: name, ..Self::default() },
            Some("task") => Self { task: name, ..Self::default() },
            _ => Self::default(),
        }
    }
}

impl<'a> Rule<'a> {
    fn of(rule: &'a RuleName) -> Self {
        Self { rule: &rule.rule, policy: format!("{}/{}", rule.kind, rule.policy), generation: rule.generation }
    }
}

/// JSON in which no control or direction-changing character stands raw: a terminal that shows the log obeys nothing in
/// it. JSON itself (RFC 8259 section 7) only demands this below U+0020.
struct Plain(CompactFormatter);

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // Nearly all of them.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return self.0.write_string_fragment(writer, fragment);
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(unprintable) {
            let (clean, from) = rest.split_at(at);
            self.0.write_string_fragment(writer, clean)?;
            let mut chars = from.chars();
            if let Some(character) = chars.next() {
                let mut units = [0_u16; 2];
                for unit in character.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
            rest = chars.as_str();
        }
        self.0.write_string_fragment(writer, rest)
    }
}

fn unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(character, '\u{e0000}'..='\u{e007f}')
}
