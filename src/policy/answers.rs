//! What a server's answer may hold: rules that read it are asked once it is there, and what a policy blacks out of it is.
//!
//! Only strings are replaced, each in its place, so that an answer keeps its shape and whatever schema it has.

use regex::{NoExpand, Regex, RegexBuilder};

use super::problems::Problems;
use super::rule::Rule;
use crate::call::{Object, Value};
use crate::document::agent_policy::Redaction;
use crate::wire::mcp::{alike, has_lookalike};

/// By which a tool says that it failed.
const IS_ERROR: &str = "isError";

/// What a server answered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answered<'a> {
    pub(super) result: Option<&'a Object>,
    pub(super) error: Option<&'a Object>,
}

impl<'a> Answered<'a> {
    /// The answer that a JSON-RPC message is; nothing for another message.
    pub fn of(message: &'a Value) -> Self {
        let member = |key| message.get(key).and_then(Value::as_object);
        Self { result: member("result"), error: member("error") }
    }

    /// What a notification tells, as the result that it stands for.
    pub fn told(params: &'a Object) -> Self {
        Self { result: Some(params), error: None }
    }

    /// Whether it is an error of the protocol, or of a tool; none where two readers could disagree: some read `iserror` for
    /// `isError` (readers of .NET and Go that ignore case), some a text or a number for a truth (pydantic).
    pub(super) fn is_error(&self) -> Option<bool> {
        let Some(result) = self.result.filter(|_| self.error.is_none()) else { return Some(self.error.is_some()) };
        if has_lookalike(result, IS_ERROR) {
            return None;
        }
        match result.get(IS_ERROR) {
            None | Some(Value::Null) => Some(false),
            Some(Value::Bool(is)) => Some(*is),
            Some(Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => None,
        }
    }

    /// What a model would read: every text of `content`, `contents` and `messages`, and the error's message, one a line.
    pub(super) fn text(&self) -> String {
        let mut texts = Vec::new();
        for said in ["content", "contents", "messages"] {
            let result = self.result.into_iter().flat_map(Object::iter);
            // Also what a lenient reader takes for it, as it reads that instead.
            result.filter(|(key, _)| alike(said, key)).for_each(|(_, value)| read_texts(value, &mut texts));
        }
        texts.extend(self.error.and_then(|error| error.get("message")).and_then(Value::as_str));
        texts.join("\n")
    }
}

fn read_texts<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| read_texts(item, texts)),
        Value::Object(object) => {
            for (key, value) in object.iter() {
                match value.as_str().filter(|_| alike("text", key)) {
                    Some(text) => texts.push(text),
                    None => read_texts(value, texts),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Longest program that one regular expression may become, bytes.
const MAX_PROGRAM: usize = 1 << 20;
/// Members by which the protocol tells what an object is: without them it would be none.
const STRUCTURE: [&str; 9] =
    ["type", "mimeType", "role", "resultType", "taskId", "status", "nextCursor", "method", "requestState"];
/// Members that hold Base64: what is put in their place must be some.
const BASE64: [&str; 2] = ["data", "blob"];
/// Members below which everything is the server's own: nothing there is structure or Base64.
const OWN: [&str; 2] = ["structuredContent", "_meta"];

/// Blacks out part of an answer.
#[derive(Debug)]
pub struct Redactor {
    /// Which answers it is about.
    pub(super) rule: Rule,
    fields: Vec<Vec<Segment>>,
    matching: Vec<Regex>,
    with: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `*`
    Any,
    /// `**`: any number of levels.
    Deep,
    Name(Box<str>),
}

impl Redactor {
    /// Compiles an entry, whose `from`, `to` and `when` are `rule`.
    pub(super) fn compile(rule: Rule, written: &Redaction, path: &str, problems: &mut Problems) -> Self {
        if written.fields.is_empty() && written.matching.is_empty() {
            problems.error(path, "replaces nothing: name `fields` (`[\"**\"]` for every text) or texts `matching`");
        }
        let fields = written.fields.iter().enumerate().filter_map(|(at, text)| {
            let segments = segments(text);
            if segments.is_none() {
                let what = format!("`{text}` is no path: write names, `*` or `**` with dots between them");
                problems.error(format_args!("{path}.fields[{at}]"), what);
            }
            segments
        });
        let fields = fields.collect();
        let mut matching = Vec::with_capacity(written.matching.len());
        for (at, text) in written.matching.iter().enumerate() {
            match RegexBuilder::new(text).size_limit(MAX_PROGRAM).build() {
                Ok(regex) if regex.is_match("") => problems.error(
                    format_args!("{path}.matching[{at}]"),
                    format_args!("`{text}` matches the empty text, and so every text"),
                ),
                Ok(regex) => matching.push(regex),
                Err(fault) => problems.error(format_args!("{path}.matching[{at}]"), fault),
            }
        }
        let with = written.with.as_deref().unwrap_or("[redacted]").into();
        Self { rule, fields, matching, with }
    }

    /// Replaces what is to be replaced in a result; says how many strings that were.
    pub fn redact(&self, result: &mut Value) -> usize {
        self.begin(result, false)
    }

    /// The same in an error or the parameters of a notification, which have no structure that could be spoilt.
    pub fn redact_words(&self, words: &mut Value) -> usize {
        self.begin(words, true)
    }

    fn begin(&self, value: &mut Value, own: bool) -> usize {
        let paths: Vec<&[Segment]> = self.fields.iter().map(Vec::as_slice).collect();
        self.walk(value, "", Here { paths, own })
    }

    fn walk(&self, value: &mut Value, key: &str, here: Here<'_>) -> usize {
        match value {
            Value::String(text) => usize::from(self.replace(text, key, &here)),
            Value::Array(items) => items.make_mut().iter_mut().map(|item| self.walk(item, key, here.clone())).sum(),
            Value::Object(object) => object.iter_mut().map(|(key, value)| self.walk(value, key, here.below(key))).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
    }

    fn replace(&self, text: &mut Box<str>, key: &str, here: &Here<'_>) -> bool {
        if !here.own && STRUCTURE.contains(&key) {
            return false;
        }
        let base64 = !here.own && BASE64.contains(&key);
        if here.is_named() {
            *text = if base64 { "".into() } else { self.with.clone() };
            return true;
        }
        let mut replaced = false;
        for regex in self.matching.iter().filter(|_| !base64) {
            if regex.is_match(text) {
                *text = regex.replace_all(text, NoExpand(&self.with)).into();
                replaced = true;
            }
        }
        replaced
    }
}

/// Where in an answer a value stands.
#[derive(Debug, Clone)]
struct Here<'p> {
    /// What is left of the paths that lead here; nothing left: this is what they name, with all below it.
    paths: Vec<&'p [Segment]>,
    own: bool,
}

impl Here<'_> {
    fn is_named(&self) -> bool {
        self.paths.iter().any(|path| path.iter().all(|segment| *segment == Segment::Deep))
    }

    fn below(&self, key: &str) -> Self {
        let mut paths = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            step(path, key, &mut paths);
        }
        Self { paths, own: self.own || OWN.iter().any(|own| alike(own, key)) }
    }
}

/// What is left of `path` one level down, at `key`.
fn step<'p>(path: &'p [Segment], key: &str, left: &mut Vec<&'p [Segment]>) {
    let mut push = |path: &'p [Segment]| {
        if !left.contains(&path) {
            left.push(path);
        }
    };
    match path.split_first() {
        None => push(path),
        Some((Segment::Any, rest)) => push(rest),
        // What a lenient reader takes for it too: a client must not read beside it what is blacked out under its name.
        Some((Segment::Name(name), rest)) if alike(name, key) => push(rest),
        Some((Segment::Name(_), _)) => {}
        Some((Segment::Deep, rest)) => {
            push(path);
            step_named(rest, key, left);
        }
    }
}

/// The same where `**` may have taken no level.
fn step_named<'p>(rest: &'p [Segment], key: &str, left: &mut Vec<&'p [Segment]>) {
    if !rest.is_empty() {
        step(rest, key, left);
    }
}

fn segments(text: &str) -> Option<Vec<Segment>> {
    let segment = |part: &str| match part {
        "" => None,
        "*" => Some(Segment::Any),
        "**" => Some(Segment::Deep),
        name if name.contains('*') => None,
        name => Some(Segment::Name(name.into())),
    };
    text.split('.').map(segment).collect()
}

#[cfg(test)]
mod tests {
    use super::super::check_agent_policy;
    use super::super::fixture::{agent_spec, mcp_rules, meta};
    use super::*;
    use crate::document::Severity;
    use crate::wire::json;

    fn redacted(entry: &str, outcome: &str) -> String {
        let rules = mcp_rules(&[&format!("results: {{redact: [{entry}]}}\nallow: [{{}}]")]);
        let mut value = json::parse(outcome.as_bytes()).unwrap();
        for redactor in rules.all_redactors() {
            redactor.redact(&mut value);
        }
        let mut out = Vec::new();
        json::write(&value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_are_named_by_path() {
        let rows = [
            (
                "structuredContent.a",
                r#"{"structuredContent":{"a":"x","b":"x"}}"#,
                r##"{"structuredContent":{"a":"#","b":"x"}}"##,
            ),
            (
                "structuredContent.*.a",
                r#"{"structuredContent":{"q":{"a":"x"},"a":"x"}}"#,
                r##"{"structuredContent":{"q":{"a":"#"},"a":"x"}}"##,
            ),
            (
                "**.a",
                r#"{"a":"x","l":[{"a":["x",{"b":"x"}]}],"b":"x"}"#,
                r##"{"a":"#","l":[{"a":["#",{"b":"#"}]}],"b":"x"}"##,
            ),
            (
                "structuredContent",
                r#"{"structuredContent":{"n":1,"s":"x","t":true,"type":"x"}}"#,
                r##"{"structuredContent":{"n":1,"s":"#","t":true,"type":"#"}}"##,
            ),
            (
                "**",
                r#"{"content":[{"type":"text","text":"x"}],"isError":false}"#,
                r##"{"content":[{"type":"text","text":"#"}],"isError":false}"##,
            ),
            (
                "content",
                r#"{"content":[{"type":"image","mimeType":"image/png","data":"QUJD"}]}"#,
                r#"{"content":[{"type":"image","mimeType":"image/png","data":""}]}"#,
            ),
            (
                "structuredContent.salary",
                r#"{"structuredContent":{"Salary":"x","\u017falary":"x","celery":"x"},"StructuredContent":{"SALARY":"x"}}"#,
                "{\"structuredContent\":{\"Salary\":\"#\",\"\u{17f}alary\":\"#\",\"celery\":\"x\"},\"StructuredContent\":{\"SALARY\":\"#\"}}",
            ),
            (
                "structuredContent",
                r#"{"StructuredContent":{"type":"x","status":"x","data":"x"}}"#,
                r##"{"StructuredContent":{"type":"#","status":"#","data":"#"}}"##,
            ),
            ("message", r#"{"code":-1,"message":"x"}"#, r##"{"code":-1,"message":"#"}"##),
        ];
        for (path, outcome, expected) in rows {
            assert_eq!(redacted(&format!("{{fields: ['{path}'], with: '#'}}"), outcome), expected, "{path}");
        }
    }

    #[test]
    fn texts_are_found_wherever_they_are() {
        let outcome = r#"{"content":[{"type":"text","text":"key AKIA1234 and AKIA5678"},{"type":"resource","resource":{"uri":"a:AKIA9","text":"AKIA0"}},{"type":"image","data":"AKIA1234"}],"structuredContent":{"AKIA1":"AKIA2","n":1},"_meta":{"x":"AKIA3"}}"#;
        let expected = r#"{"content":[{"type":"text","text":"key [redacted] and [redacted]"},{"type":"resource","resource":{"uri":"a:[redacted]","text":"[redacted]"}},{"type":"image","data":"AKIA1234"}],"structuredContent":{"AKIA1":"[redacted]","n":1},"_meta":{"x":"[redacted]"}}"#;
        assert_eq!(redacted(r"{matching: ['AKIA\d+']}", outcome), expected);
        // What stands in for it is text and no reference to what was found.
        assert_eq!(redacted(r"{matching: ['A(\d)'], with: '$1'}", r#"{"text":"A7"}"#), r#"{"text":"$1"}"#);
    }

    #[test]
    fn what_replaces_nothing_or_everything_does_not_compile() {
        for entry in [
            "{}",
            "{fields: ['a..b']}",
            "{fields: ['a*']}",
            "{matching: ['(']}",
            "{matching: ['x*']}",
            "{matching: ['x'], when: 'mcp.result.nope'}",
        ] {
            let spec = agent_spec(&format!("results: {{redact: [{entry}]}}\nallow: [{{}}]"));
            let problems = check_agent_policy(&meta("p"), &spec);
            assert!(problems.iter().any(|problem| problem.severity == Severity::Error), "{entry}: {problems:?}");
        }
    }

    #[test]
    fn the_text_of_an_answer_is_what_a_model_reads() {
        let message = json::parse(br#"{"result":{"content":[{"type":"text","text":"a"},{"type":"resource","resource":{"text":"b"}}],"isError":true}}"#).unwrap();
        let answered = Answered::of(&message);
        assert_eq!((answered.text().as_str(), answered.is_error()), ("a\nb", Some(true)));
        // A lenient client reads it under other names too.
        let message = json::parse(br#"{"result":{"Content":[{"Type":"text","TEXT":"a"}],"content":[]}}"#).unwrap();
        assert_eq!(Answered::of(&message).text(), "a");
        let message = json::parse(br#"{"error":{"code":1,"message":"m"}}"#).unwrap();
        let answered = Answered::of(&message);
        assert_eq!((answered.text().as_str(), answered.is_error()), ("m", Some(true)));
    }

    #[test]
    fn an_error_is_one_to_every_reader_or_cannot_be_told() {
        for (result, is) in [
            (r#"{"content":[]}"#, Some(false)),
            (r#"{"isError":null}"#, Some(false)),
            (r#"{"isError":false}"#, Some(false)),
            (r#"{"is\u0045rror":true}"#, Some(true)),
            (r#"{"iserror":true}"#, None),
            (r#"{"isError":false,"IsError":true}"#, None),
            (r#"{"i\u017fError":true,"isError":false}"#, None),
            (r#"{"isError":"true"}"#, None),
            (r#"{"isError":1}"#, None),
            (r#"{"isError":[]}"#, None),
        ] {
            let message = json::parse(format!(r#"{{"result":{result}}}"#).as_bytes()).unwrap();
            assert_eq!(Answered::of(&message).is_error(), is, "{result}");
        }
    }
}
