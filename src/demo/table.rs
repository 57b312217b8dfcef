//! The lines of the demo: what was tried, what came of it, and whether that is as it should be.

use std::io::{self, Write};

use serde::Serialize;

/// What was decided, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Decision {
    /// The call was permitted.
    Allow,
    /// Policy refused the call.
    Deny,
    /// It never became a call: the connection, the tunnel or the token was refused.
    Refused,
}

impl Decision {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
            Self::Refused => "REFUSED",
        }
    }
}

/// What reached the server during one line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Saw {
    /// Bytes of any kind.
    pub(super) bytes: u64,
    /// Tools that were called.
    pub(super) tools: Vec<String>,
    /// Requests that were no tool calls, by method.
    pub(super) others: Vec<String>,
}

impl Saw {
    fn text(&self) -> String {
        match (self.bytes, self.tools.is_empty(), self.others.is_empty()) {
            (0, _, _) => "nothing".to_owned(),
            (bytes, true, true) => format!("{bytes} bytes"),
            (_, false, _) => self.tools.join(", "),
            (_, true, false) => self.others.join(", "),
        }
    }
}

/// One line.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) who: String,
    pub(super) what: String,
    pub(super) decision: Decision,
    /// Why, in a fixed word of the waypoint's or in words of the stage that refused.
    pub(super) reason: String,
    /// The rule that decided; none where none did.
    pub(super) rule: Option<String>,
    /// `namespace/name` of the rule's policy.
    pub(super) policy: Option<String>,
    pub(super) server_saw: Saw,
    /// What the caller got.
    pub(super) answer: String,
    pub(super) ok: bool,
    /// What is not as it should be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) wrong: Vec<String>,
}

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A table without colours.
    Plain,
    /// A table for a terminal.
    Coloured,
    /// One JSON object per line.
    Json,
}

const WIDTHS: [usize; 5] = [26, 38, 27, 18, 14];

impl Style {
    pub(super) fn head(self, out: &mut dyn Write) -> io::Result<()> {
        if self == Self::Json {
            return Ok(());
        }
        let [who, what, decision, rule, saw] = WIDTHS;
        let line = format!(
            " #  {:<who$} {:<what$} {:<decision$} {:<rule$} {:<saw$} ok",
            "who", "what", "decision", "rule", "server saw"
        );
        writeln!(out, "{}", self.paint("1", &line))
    }

    pub(super) fn line(self, out: &mut dyn Write, line: &Line) -> io::Result<()> {
        if self == Self::Json {
            serde_json::to_writer(&mut *out, line)?;
            return writeln!(out);
        }
        let [who, what, decision, rule, saw] = WIDTHS;
        let colour = match line.decision {
            Decision::Allow => "32",
            Decision::Deny => "33",
            Decision::Refused => "35",
        };
        let said = match line.decision {
            Decision::Allow => line.decision.as_str().to_owned(),
            Decision::Deny | Decision::Refused => format!("{} {}", line.decision.as_str(), line.reason),
        };
        let said = self.paint(colour, &format!("{said:<decision$}"));
        let ok = if line.ok { self.paint("32", "yes") } else { self.paint("1;31", "NO") };
        writeln!(
            out,
            "{:>2}  {:<who$} {:<what$} {said} {:<rule$} {:<saw$} {ok}",
            line.number,
            line.who,
            line.what,
            line.rule.as_deref().unwrap_or("-"),
            line.server_saw.text()
        )?;
        for wrong in &line.wrong {
            writeln!(out, "      {}", self.paint("31", wrong))?;
        }
        Ok(())
    }

    pub(super) fn foot(self, out: &mut dyn Write, good: usize, all: usize) -> io::Result<()> {
        if self == Self::Json {
            return Ok(());
        }
        let text = format!("{good} of {all} lines came out as they should.");
        writeln!(out, "\n{}", self.paint(if good == all { "1;32" } else { "1;31" }, &text))
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if self == Self::Coloured { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            number: 3,
            who: "agents/researcher".to_owned(),
            what: "delete_note id=n1".to_owned(),
            decision: Decision::Deny,
            reason: "denied_by_rule".to_owned(),
            rule: Some("nobody-deletes".to_owned()),
            policy: Some("tools/notes".to_owned()),
            server_saw: Saw::default(),
            answer: "error -32602".to_owned(),
            ok: true,
            wrong: vec![],
        }
    }

    fn written(style: Style, line: &Line) -> String {
        let mut out = Vec::new();
        style.head(&mut out).unwrap();
        style.line(&mut out, line).unwrap();
        style.foot(&mut out, 0, 1).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_stand_under_their_heads() {
        let text = written(Style::Plain, &line());
        let lines: Vec<&str> = text.lines().collect();
        for (head, cell) in [("who", "agents/"), ("what", "delete_note"), ("rule", "nobody-"), ("server", "nothing")] {
            assert_eq!(lines[0].find(head), lines[1].find(cell), "{text}");
        }
        assert!(!text.contains('\x1b'));
        assert!(text.ends_with("0 of 1 lines came out as they should.\n"));
        assert!(written(Style::Coloured, &line()).contains("\x1b[33m"));
    }

    #[test]
    fn json_is_one_object_per_line_and_nothing_else() {
        let text = written(Style::Json, &line());
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["decision"], &value["serverSaw"]["bytes"]), (&"deny".into(), &0.into()));
    }

    #[test]
    fn what_is_wrong_is_said_below() {
        let line = Line { ok: false, wrong: vec!["the server saw 12 bytes".to_owned()], ..line() };
        let text = written(Style::Plain, &line);
        assert!(text.contains(" NO\n      the server saw 12 bytes\n"), "{text}");
    }
}
