//! One line after the other: what is done, what came of it, and whether that is as it should be.

use std::io::Write;
use std::net::SocketAddr;

use serde_json::Value;

use super::Outcome;
use super::lab::{AGENT, Lab};
use super::outsiders::Attempt;
use super::records::Record;
use super::sessions::{Answer, Session};
use super::table::{Decision, Line, Saw, Style};

/// How many tools the server has.
const TOOLS: usize = 5;

/// Who calls, in an open session.
#[derive(Debug)]
pub(super) struct Actor {
    /// `agents/researcher`, with its token if there is one.
    pub(super) label: String,
    /// The SPIFFE ID that records name.
    pub(super) peer: String,
    pub(super) session: Session,
}

/// What should come of a call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Expected {
    /// Permitted by this rule, and seen by the server.
    Allowed { by: &'static str },
    /// Refused for this reason (and by this rule, where it is one), unseen by the server, the session alive.
    Denied { reason: &'static str, by: Option<&'static str> },
}

/// A call to the agent: the operation that is recorded, and how it is asked.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// JSON-RPC of A2A 1.0, and its parameters.
    Rpc(&'static str, Value),
    /// By the method of A2A 0.3.
    Rpc03(&'static str, &'static str, Value),
    /// A GET of this path.
    Get(&'static str, &'static str),
}

impl Asked {
    fn operation(&self) -> &'static str {
        match self {
            Self::Rpc(operation, _) | Self::Rpc03(operation, ..) | Self::Get(operation, _) => operation,
        }
    }

    /// Asks at `door`; status and body.
    async fn send(&self, door: SocketAddr) -> Result<(u16, Value), reqwest::Error> {
        // Not the environment's proxy: it could not reach our loopback.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build()?;
        let post = |method: &str, params: &Value| {
            let body = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
            http.post(format!("http://{door}/")).header("content-type", "application/json").body(body.to_string())
        };
        let request = match self {
            Self::Rpc(method, params) => post(method, params).header("a2a-version", "1.0"),
            Self::Rpc03(_, method, params) => post(method, params),
            Self::Get(_, path) => http.get(format!("http://{door}{path}")).header("a2a-version", "1.0"),
        };
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_slice(&response.bytes().await?).unwrap_or_default()))
    }
}

/// The lines so far.
pub(super) struct Show<'a> {
    pub(super) lab: &'a Lab,
    out: &'a mut (dyn Write + Send),
    style: Style,
    lines: usize,
    good: usize,
}

/// A line before it is judged as a whole.
struct Draft {
    who: String,
    what: String,
    decision: Decision,
    reason: String,
    rule: Option<String>,
    policy: Option<String>,
    answer: String,
    wrong: Vec<String>,
    reaches: Reaches,
}

/// What of a line may reach the server.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reaches {
    /// Not a byte.
    Nothing,
    /// Exactly one call, of this tool.
    Tool(String),
    /// Exactly one request, to the agent.
    Agent,
    /// Something, and no call.
    NoCall,
}

/// The server and the records before a line.
struct Before {
    bytes: u64,
    requests: usize,
    asked: usize,
    records: usize,
}

impl<'a> Show<'a> {
    pub(super) fn begin(lab: &'a Lab, out: &'a mut (dyn Write + Send), style: Style) -> anyhow::Result<Self> {
        style.head(out)?;
        Ok(Self { lab, out, style, lines: 0, good: 0 })
    }

    /// A tool call in an open session.
    pub(super) async fn call(
        &mut self,
        actor: &Actor,
        tool: &str,
        arguments: Value,
        expected: Expected,
    ) -> anyhow::Result<()> {
        let before = self.before().await;
        let what = format!("{tool} {}", brief(&arguments));
        let answer = actor.session.call(tool, arguments.as_object().cloned().unwrap_or_default()).await;
        let ours = |record: &Record| record.peer == actor.peer && record.tool.as_deref() == Some(tool);
        let record = self.lab.records().find(before.records, ours).await;
        let (mut wrong, reaches) = judge(expected, &answer, record.as_ref(), tool);
        if record.is_none() {
            wrong.push("the waypoint wrote no record of it".to_owned());
        }
        let draft = draft(actor.label.clone(), what.trim_end().to_owned(), record.as_ref());
        self.finish(before, Draft { answer: answer.to_string(), wrong, reaches, ..draft }).await
    }

    /// The list of tools, which must be exactly `expected`.
    pub(super) async fn list(&mut self, actor: &Actor, expected: &[&str]) -> anyhow::Result<()> {
        let before = self.before().await;
        let got = actor.session.tools().await;
        let ours = |record: &Record| record.peer == actor.peer && record.method == "tools/list";
        let record = self.lab.records().find(before.records, ours).await;
        let mut wrong = Vec::new();
        let mut what = "tools/list".to_owned();
        let answer = match got {
            Ok(names) => {
                what = format!("tools/list ({} of the server's {} tools)", names.len(), TOOLS);
                if !names.iter().map(String::as_str).eq(expected.iter().copied()) {
                    wrong.push(format!("the list should be {}", expected.join(", ")));
                }
                names.into_iter().collect::<Vec<_>>().join(", ")
            }
            Err(error) => {
                wrong.push(format!("no list came: {error}"));
                error
            }
        };
        let draft = draft(actor.label.clone(), what, record.as_ref());
        if draft.decision != Decision::Allow {
            wrong.push("it should be allowed".to_owned());
        }
        self.finish(before, Draft { answer, wrong, reaches: Reaches::NoCall, ..draft }).await
    }

    /// A session that must not open; the first message is answered with `status`.
    pub(super) async fn no_session(
        &mut self,
        who: Stranger<'_>,
        status: u16,
        decision: Decision,
    ) -> anyhow::Result<()> {
        let before = self.before().await;
        let door = self.lab.door(who.namespace, who.account).await?;
        let opened = Session::open(door, who.token).await;
        let peer = self.lab.id(who.namespace, who.account)?;
        let record = self.lab.records().find(before.records, |record| record.peer == peer.uri()).await;
        let mut wrong = Vec::new();
        let answer = match opened {
            Ok(session) => {
                wrong.push("the session should not open".to_owned());
                session.close().await;
                "a session".to_owned()
            }
            Err(error) => error,
        };
        let got = record.as_ref().and_then(|record| record.status);
        if got != Some(status) {
            wrong.push(format!("the status should be {status}, and is {got:?}"));
        }
        let draft = draft(who.label.to_owned(), format!("opens a session: HTTP {}", got.unwrap_or(0)), record.as_ref());
        if draft.decision != decision {
            wrong.push(format!("the decision should be {decision:?}"));
        }
        self.finish(before, Draft { answer, wrong, reaches: Reaches::Nothing, ..draft }).await
    }

    /// A call to the agent.
    pub(super) async fn ask(
        &mut self,
        account: &str,
        what: &str,
        asked: &Asked,
        expected: Expected,
    ) -> anyhow::Result<()> {
        let before = self.before().await;
        let door = self.lab.door_to(AGENT, "agents", account).await?;
        let peer = self.lab.id("agents", account)?;
        let answer = match asked.send(door).await {
            Ok((_, body)) => match body.get("error") {
                Some(error) => Answer::Error {
                    code: error.get("code").and_then(Value::as_i64).and_then(|c| i32::try_from(c).ok()).unwrap_or(0),
                    message: error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
                },
                None => Answer::Result(body.get("result").unwrap_or(&body).to_string()),
            },
            Err(error) => Answer::Lost(error.to_string()),
        };
        let ours = |record: &Record| record.peer == peer.uri() && record.method == asked.operation();
        let record = self.lab.records().find(before.records, ours).await;
        let (wrong, reaches) = judge(expected, &answer, record.as_ref(), "");
        let reaches = if reaches == Reaches::Nothing { reaches } else { Reaches::Agent };
        let draft = draft(format!("agents/{account}"), what.to_owned(), record.as_ref());
        self.finish(before, Draft { answer: answer.to_string(), wrong, reaches, ..draft }).await
    }

    /// An attempt to get in some other way, which must come to one of `expected`.
    pub(super) async fn attempt(
        &mut self,
        who: &str,
        what: &str,
        attempt: impl Future<Output = anyhow::Result<Attempt>>,
        expected: &[Attempt],
    ) -> anyhow::Result<()> {
        let before = self.before().await;
        let got = attempt.await?;
        let mut wrong = Vec::new();
        if !expected.contains(&got) {
            let expected: Vec<String> = expected.iter().map(Attempt::to_string).collect();
            wrong.push(format!("it should come to: {}", expected.join(" or ")));
        }
        if !self.lab.records().since(before.records).is_empty() {
            wrong.push("the waypoint recorded a call".to_owned());
        }
        let decision = if got == Attempt::In { Decision::Allow } else { Decision::Refused };
        let draft = draft(who.to_owned(), what.to_owned(), None);
        let (reason, answer) = (got.to_string(), got.to_string());
        self.finish(before, Draft { decision, reason, answer, wrong, reaches: Reaches::Nothing, ..draft }).await
    }

    /// The last line; how it all ended. A line of the access log that cannot be read spoils everything.
    pub(super) fn end(self) -> anyhow::Result<Outcome> {
        self.style.foot(self.out, self.good, self.lines)?;
        self.out.flush()?;
        anyhow::ensure!(self.lab.records().unreadable() == 0, "the waypoint wrote lines that are no records");
        Ok(Outcome { good: self.good, lines: self.lines })
    }

    async fn before(&self) -> Before {
        self.lab.settle().await;
        let seen = self.lab.seen();
        Before {
            bytes: self.lab.bytes(),
            requests: seen.requests().len(),
            asked: self.lab.agent().requests().len(),
            records: self.lab.records().mark(),
        }
    }

    async fn finish(&mut self, before: Before, mut draft: Draft) -> anyhow::Result<()> {
        self.lab.settle().await;
        let seen = self.lab.seen();
        let asked = self.lab.agent().requests().split_off(before.asked);
        let mut saw = Saw { bytes: self.lab.bytes() - before.bytes, others: asked.clone(), ..Saw::default() };
        for request in seen.requests().split_off(before.requests) {
            match (request.tool, request.method) {
                (Some(tool), Some(method)) if method == "tools/call" => saw.tools.push(tool),
                (_, method) => saw.others.push(method.unwrap_or(request.http)),
            }
        }
        match &draft.reaches {
            Reaches::Nothing if saw.bytes > 0 => draft.wrong.push(format!("the server saw {} bytes", saw.bytes)),
            Reaches::Tool(tool) if saw.tools != [tool.as_str()] => {
                draft.wrong.push("the server should have seen exactly this call".to_owned());
            }
            Reaches::Agent if asked.len() != 1 => {
                draft.wrong.push("the agent should have seen exactly this call".to_owned());
            }
            Reaches::NoCall if !saw.tools.is_empty() => draft.wrong.push("the server saw a call".to_owned()),
            Reaches::Nothing | Reaches::Tool(_) | Reaches::Agent | Reaches::NoCall => {}
        }
        self.lines += 1;
        let Draft { who, what, decision, reason, rule, policy, answer, wrong, .. } = draft;
        let (number, ok) = (self.lines, wrong.is_empty());
        self.good += usize::from(ok);
        let line = Line { number, who, what, decision, reason, rule, policy, server_saw: saw, answer, ok, wrong };
        self.style.line(self.out, &line)?;
        self.out.flush()?;
        Ok(())
    }
}

/// Somebody who tries to open a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stranger<'a> {
    pub(super) label: &'a str,
    pub(super) namespace: &'a str,
    pub(super) account: &'a str,
    pub(super) token: Option<&'a str>,
}

fn draft(who: String, what: String, record: Option<&Record>) -> Draft {
    let decision = match record.map(|record| record.decision.as_str()) {
        Some("allow") => Decision::Allow,
        Some("deny") => Decision::Deny,
        Some(_) | None => Decision::Refused,
    };
    Draft {
        who,
        what,
        decision,
        reason: record.map(|record| record.reason.clone()).unwrap_or_default(),
        rule: record.and_then(|record| record.rule.clone()),
        policy: record.and_then(Record::policy),
        answer: String::new(),
        wrong: Vec::new(),
        reaches: Reaches::Nothing,
    }
}

fn judge(expected: Expected, answer: &Answer, record: Option<&Record>, tool: &str) -> (Vec<String>, Reaches) {
    let mut wrong = Vec::new();
    let decision = record.map_or("", |record| record.decision.as_str());
    let reason = record.map_or("", |record| record.reason.as_str());
    let rule = record.and_then(|record| record.rule.as_deref());
    let mut hold = |holds: bool, text: String| {
        if !holds {
            wrong.push(text);
        }
    };
    match expected {
        Expected::Allowed { by } => {
            hold(decision == "allow", "it should be allowed".to_owned());
            hold(rule == Some(by), format!("the rule should be {by}"));
            hold(matches!(answer, Answer::Result(_)), format!("a result should come, not {answer}"));
            (wrong, Reaches::Tool(tool.to_owned()))
        }
        Expected::Denied { reason: expected, by } => {
            hold(decision == "deny", "it should be refused".to_owned());
            hold(reason == expected, format!("the reason should be {expected}"));
            hold(rule == by, format!("the rule should be {}", by.unwrap_or("none")));
            let alive = matches!(answer, Answer::Error { .. } | Answer::ToolError(_));
            hold(alive, format!("an error of the protocol should come, not {answer}"));
            (wrong, Reaches::Nothing)
        }
    }
}

/// Arguments in few words.
fn brief(arguments: &Value) -> String {
    let pairs = arguments.as_object().into_iter().flatten().filter(|(key, _)| *key != "text");
    let words: Vec<String> = pairs
        .map(|(key, value)| match value.as_str() {
            Some(text) => format!("{key}={text}"),
            None => format!("{key}={value}"),
        })
        .collect();
    words.join(" ")
}
