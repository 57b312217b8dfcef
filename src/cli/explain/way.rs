//! Where routes lead a call, and what the rules say there: as `proxy::route` would have it, with every backend that could get
//! the call in the place of the one that chance picks.

use std::sync::Arc;

use serde::Serialize;

use super::token;
use crate::call::{Call, HttpHead};
use crate::cli::args::{ExplainArgs, Supposed};
use crate::mesh::{Backend, PortProtocol, Routes, Snapshot, Taken, Target, Way};
use crate::policy::{Claims, Explanation, Facts, Outcome};

/// Where a call goes, where its port has routes.
#[derive(Debug, Serialize)]
pub(super) struct Led {
    /// `HTTPRoute namespace/name rules[0]`
    route: Option<String>,
    /// Why it goes nowhere, or where it is sent instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    /// What happens on the way beside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beside: Vec<String>,
    backends: Vec<End>,
}

/// One backend, and whether its rules let the call through.
#[derive(Debug, Serialize)]
struct End {
    to: String,
    weight: u32,
    of: u64,
    allowed: bool,
    /// Why nothing goes there.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

/// What is asked, over what.
pub(super) struct Asked<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) target: &'a Arc<Target>,
    pub(super) args: &'a ExplainArgs,
    /// The request as it was sent, by which a way is chosen.
    pub(super) sent: Option<&'a HttpHead>,
    /// Claims that are supposed instead of a token.
    pub(super) claims: Option<&'a Claims>,
    /// What the rules of the port that is called go by.
    pub(super) facts: &'a Facts<'a>,
}

impl Led {
    /// Where the call goes; none where its port has no routes.
    pub(super) fn of(asked: &Asked<'_>) -> Option<Self> {
        let target = asked.target;
        let routes = match asked.facts.call {
            Call::Tcp => target.bytes.as_deref(),
            Call::Mcp(_) | Call::A2a(_) | Call::Http => target.routes.as_deref(),
        }?;
        Some(match way(routes, asked.sent) {
            Some(way) => Self::by(way, asked),
            None => Self {
                route: None,
                answer: Some("no route matches it: 404".to_owned()),
                beside: Vec::new(),
                backends: Vec::new(),
            },
        })
    }

    fn by(way: &Way, asked: &Asked<'_>) -> Self {
        let then = &way.then;
        let mut led =
            Self { route: Some(way.name.to_string()), answer: None, beside: Vec::new(), backends: Vec::new() };
        if let Some(auth) = &then.auth {
            let whom =
                auth.to.as_ref().map_or_else(|| "nobody, as it is not there: 500".to_owned(), ToString::to_string);
            led.beside.push(format!("asks {whom} (ExternalAuth), which is supposed to allow"));
        }
        if !then.mirrors.is_empty() {
            led.beside.push("copies go elsewhere (RequestMirror)".to_owned());
        }
        if let (Some(redirect), Some(head)) = (&then.redirect, asked.sent) {
            led.answer = Some(format!("{} to {}", redirect.status.as_u16(), redirect.location(head, way.prefix())));
            return led;
        }
        let of = then.backends.iter().map(|backend| u64::from(backend.weight)).sum();
        let backends = then.backends.iter().filter(|backend| backend.weight > 0);
        led.backends = backends.map(|backend| End::of(way, (backend, of), asked)).collect();
        if led.backends.is_empty() {
            led.answer = Some("it leads nowhere: 500".to_owned());
        }
        led
    }

    /// Whether the call reaches somebody wherever it may be led.
    pub(super) fn allowed(&self) -> bool {
        self.answer.is_none() && self.backends.iter().all(|end| end.allowed)
    }

    /// The first reason why it may not, in words.
    pub(super) fn refusal(&self) -> Option<String> {
        if let Some(answer) = &self.answer {
            return Some(format!("DENY (route: {answer})"));
        }
        let end = self.backends.iter().find(|end| !end.allowed)?;
        let verdict = end.verdict();
        Some(format!("{verdict} at {}{}", end.to, end.share()))
    }

    /// The way in lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("led by {}", self.route.as_deref().unwrap_or("no route"))];
        lines.extend(self.beside.iter().map(|one| format!("  {one}")));
        lines.extend(self.answer.iter().map(|answer| format!("  {answer}")));
        for end in &self.backends {
            lines.push(format!("  to {}{}: {}", end.to, end.share(), end.verdict()));
            let findings = end.explanation.iter().flat_map(|one| &one.findings);
            for finding in findings.filter(|one| one.outcome == Outcome::Matched || one.outcome == Outcome::Unmet) {
                lines.push(format!("    {} {}", finding.effect, finding.rule));
            }
        }
        lines
    }
}

/// The way that holds.
fn way<'r>(routes: &'r Routes, head: Option<&HttpHead>) -> Option<&'r Way> {
    match head {
        Some(head) => routes.choose(head),
        None => routes.first(),
    }
}

impl End {
    fn of(way: &Way, (backend, of): (&Backend, u64), asked: &Asked<'_>) -> Self {
        let to = backend.to.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let mut end = Self { to, weight: backend.weight, of, allowed: false, fault: None, explanation: None };
        match explained(way, backend, asked) {
            Ok(None) => end.allowed = true,
            Ok(Some(explanation)) => {
                end.allowed = explanation.allowed;
                end.explanation = Some(explanation);
            }
            Err(fault) => end.fault = Some(fault),
        }
        end
    }

    fn share(&self) -> String {
        if u64::from(self.weight) == self.of { String::new() } else { format!(" ({} of {})", self.weight, self.of) }
    }

    fn verdict(&self) -> String {
        match (&self.fault, &self.explanation) {
            (Some(fault), _) => format!("DENY (route: {fault})"),
            (None, Some(explanation)) => explanation.verdict(),
            (None, None) => "itself".to_owned(),
        }
    }
}

/// What the rules of the other end say; none where that is the port itself, and why nothing goes there.
fn explained(way: &Way, backend: &Backend, asked: &Asked<'_>) -> Result<Option<Explanation>, String> {
    const NOT_THERE: &str = "there is no such backend, or none that may be referred to: 500";
    let (target, facts) = (asked.target, asked.facts);
    let to = backend.to.as_ref().and_then(|key| asked.snapshot.get(key)).ok_or_else(|| NOT_THERE.to_owned())?;
    if to.key == target.key {
        return Ok(None);
    }
    let supposed = asked.args.custom == Supposed::Allow;
    let closed = |to: &Target| to.closed().map(|reason| format!("closed: {reason}"));
    let mut head = facts.request.cloned();
    match facts.call {
        Call::Tcp => {
            if !matches!(to.protocol, PortProtocol::Tcp | PortProtocol::Undeclared) {
                return Err(format!("{} takes no bytes: 500", to.key));
            }
            closed(&to).map_or(Ok(()), Err)?;
            Ok(Some(to.rules.explain_if(&Facts { destination: &to.destination, ..*facts }, supposed)))
        }
        Call::Mcp(_) | Call::A2a(_) => {
            let led = target.leading_to(&to).ok_or_else(|| {
                format!("{} is not declared {}, so calls are not led there: 500", to.key, target.protocol.as_str())
            })?;
            closed(&led).map_or(Ok(()), Err)?;
            if let Some(head) = &mut head {
                Taken::of(&way.then, Some(backend)).request(&mut head.headers);
            }
            let led_to = head.as_ref().map(|head| (&to.destination, head));
            Ok(Some(led.rules.explain_if(&Facts { led: led_to, ..*facts }, supposed)))
        }
        Call::Http => {
            if !to.protocol.is_plain() {
                return Err(format!("{} is of another protocol than the port that is called: 500", to.key));
            }
            closed(&to).map_or(Ok(()), Err)?;
            if let Some(head) = &mut head {
                dress(way, backend, &to, head)?;
            }
            let claims = token(&to, head.as_mut(), asked.claims.cloned()).map_err(|fault| format!("token: {fault}"))?;
            let (destination, request, claims) = (&to.destination, head.as_ref(), claims.as_ref());
            Ok(Some(to.rules.explain_if(&Facts { destination, request, claims, ..*facts }, supposed)))
        }
    }
}

/// The request as the other end gets it.
fn dress(way: &Way, backend: &Backend, to: &Target, head: &mut HttpHead) -> Result<(), String> {
    let then = &way.then;
    if let Some(host) = &then.host {
        head.host = host.to_string();
    }
    if let Some(path) = &then.path {
        head.path = path.apply(&head.path, way.prefix());
    }
    Taken::of(then, Some(backend)).request(&mut head.headers);
    if !to.paths.keeps(&head.path) {
        head.path =
            to.paths.apply(&head.path).map_err(|fault| format!("the path that it becomes is none there: {fault}"))?;
    }
    Ok(())
}
