use std::fmt::Display;
use std::io::Write;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::record::{FaultNote, Record, blame_word};
use crate::policy::{Reason, RuleName, Shadow};
use crate::wire::json::escape;

/// `record` as one line of JSON in place of what `out` held.
pub(super) fn json(record: &Record, out: &mut Vec<u8>) {
    out.clear();
    let mut line = Members::begin(out);
    line.time("time", record.time.into());
    line.text("request_id", &record.request_id);
    line.text("peer", &record.peer);
    line.plain("source", record.source);
    if let Some(site) = &record.site {
        line.joined("target", &[&site.namespace, "/", &site.name, ":"], Some(site.port));
    }
    line.text("protocol", record.protocol.as_str());
    if !record.operation.method.is_empty() {
        line.text("method", &record.operation.method);
    }
    named(record, &mut line);
    line.maybe("path", record.operation.path.as_deref());
    line.text("decision", record.outcome.as_str());
    ruling(record, &mut line);
    line.maybe("subject", record.subject.as_deref());
    line.maybe("session", record.session.as_deref());
    line.maybe("arguments", record.arguments.as_deref());
    line.some("status", record.status);
    line.some("grpc_status", record.grpc_status);
    line.number("bytes_in", record.bytes_in);
    line.number("bytes_out", record.bytes_out);
    line.thousandths("duration_ms", record.took.as_nanos().saturating_add(500) / 1_000);
    line.maybe("upstream", record.upstream.as_deref());
    line.maybe("upstream_identity", record.upstream_identity.as_deref());
    if let Some(note) = &record.fault {
        line.inner("fault", |inner| fault(note, inner));
    }
    line.end();
    out.push(b'\n');
}

fn named(record: &Record, line: &mut Members<'_>) {
    let name = record.operation.name.as_deref();
    match record.operation.kind {
        Some("tool") => line.maybe("tool", name),
        Some("prompt") => line.maybe("prompt", name),
        Some("resource") => line.maybe("resource", name),
        Some("task") => line.maybe("task", name),
        _ => {}
    }
}

fn ruling(record: &Record, line: &mut Members<'_>) {
    let ruling = &record.ruling;
    line.text("reason", ruling.reason);
    line.maybe("detail", ruling.detail.as_deref());
    rule(ruling.rule.as_ref(), line);
    if let Some(revision) = ruling.revision {
        line.plain("revision", revision);
    }
    if let Some(ruled) = &ruling.shadow {
        line.inner("shadow", |inner| shadow(ruled, inner));
    }
}

fn rule(rule: Option<&RuleName>, line: &mut Members<'_>) {
    let Some(rule) = rule else { return };
    line.text("rule", &rule.rule);
    line.joined("policy", &[rule.kind, "/", &rule.policy], None::<u16>);
    line.number("generation", rule.generation);
}

fn shadow(shadow: &Shadow, line: &mut Members<'_>) {
    line.text("decision", if shadow.refused.is_some() { "deny" } else { "allow" });
    line.maybe("reason", shadow.refused.as_ref().map(Reason::as_str));
    rule(shadow.rule.as_ref(), line);
}

fn fault(note: &FaultNote, line: &mut Members<'_>) {
    line.text("stage", note.stage.as_str());
    line.text("blame", blame_word(note.blame));
    line.text("reason", note.reason);
    line.text("detail", &note.detail);
}

/// The members of one object, written one after the other. Names are our own, so they need no escape.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    before: u8,
}

impl<'a> Members<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }

    fn end(self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(&[self.before, b'"']);
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.before = b',';
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.out.push(b'"');
        put(text, self.out);
        self.out.push(b'"');
    }

    fn maybe(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// The parts as one text.
    fn joined(&mut self, name: &str, parts: &[&str], number: Option<impl Display>) {
        self.name(name);
        self.out.push(b'"');
        parts.iter().for_each(|part| put(part, self.out));
        if let Some(number) = number {
            show(number, self.out);
        }
        self.out.push(b'"');
    }

    /// What is shown without a character that needs an escape.
    fn plain(&mut self, name: &str, value: impl Display) {
        self.joined(name, &[], Some(value));
    }

    fn time(&mut self, name: &str, time: OffsetDateTime) {
        self.name(name);
        self.out.push(b'"');
        // A year beyond 9999 has no such form: it is left empty.
        let _length = time.format_into(self.out, &Rfc3339);
        self.out.push(b'"');
    }

    fn number(&mut self, name: &str, number: impl Display) {
        self.name(name);
        show(number, self.out);
    }

    fn some(&mut self, name: &str, number: Option<impl Display>) {
        if let Some(number) = number {
            self.number(name, number);
        }
    }

    /// So many thousandths, as a decimal number without zeros at its end.
    fn thousandths(&mut self, name: &str, thousandths: u128) {
        self.number(name, thousandths / 1_000);
        let (part, width) = match thousandths % 1_000 {
            part if part % 100 == 0 => (part / 100, 1),
            part if part % 10 == 0 => (part / 10, 2),
            part => (part, 3),
        };
        show(format_args!(".{part:0width$}"), self.out);
    }

    fn inner(&mut self, name: &str, fill: impl FnOnce(&mut Members<'_>)) {
        self.name(name);
        let mut inner = Members::begin(self.out);
        fill(&mut inner);
        inner.end();
    }
}

fn show(value: impl Display, out: &mut Vec<u8>) {
    // Writing into memory does not fail.
    let _written = write!(out, "{value}");
}

/// `text` inside of a JSON string. No control or direction-changing character stands raw: a terminal that shows the log
/// obeys nothing in it. JSON itself (RFC 8259 section 7) only demands this below U+0020.
fn put(text: &str, out: &mut Vec<u8>) {
    // Nearly all of them.
    if text.bytes().all(|byte| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~')) {
        return out.extend_from_slice(text.as_bytes());
    }
    for character in text.chars() {
        if character >= ' ' && unprintable(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                show(format_args!("\\u{unit:04x}"), out);
            }
        } else {
            out.extend_from_slice(escape(character, &mut [0; 6]).as_bytes());
        }
    }
}

fn unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(character, '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_json() {
        let mut out = Vec::new();
        let mut line = Members::begin(&mut out);
        for (at, thousandths) in [0, 1, 20, 300, 1_000, 1_500, 12_345, 10_010].into_iter().enumerate() {
            line.thousandths(["a", "b", "c", "d", "e", "f", "g", "h"][at], thousandths);
        }
        line.joined("i", &["x", "/", "\"y\""], Some(80));
        line.inner("j", |inner| inner.maybe("k", Some("\u{7f}é\n")));
        line.maybe("l", None);
        line.end();
        let expected = r#"{"a":0.0,"b":0.001,"c":0.02,"d":0.3,"e":1.0,"f":1.5,"g":12.345,"h":10.01,"i":"x/\"y\"80","j":{"k":"\u007fé\n"}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
