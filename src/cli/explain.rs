//! `explain`: whether one call would be permitted, and what each rule said about it.
//!
//! The call is decoded and decided on by the rooms of the data path; only the caller is supposed instead of proven.

mod claims;
mod question;
mod way;

use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::args::{ExplainArgs, ServicePort, Supposed};
use super::{Ended, load, suppose};
use crate::call::HttpHead;
use crate::document::Severity;
use crate::id::{TrustDomain, WorkloadId};
use crate::mesh::{Snapshot, Target};
use crate::policy::{Claims, Explanation, Facts, SupposedLabels, TokenFault};

/// Runs `explain`: the verdict on `out`, what is wrong with the documents on `err`.
///
/// # Errors
/// What the flags name is not there, or is no call that the data path would decide on.
pub fn run(args: &ExplainArgs, out: &mut dyn Write, err: &mut dyn Write) -> anyhow::Result<Ended> {
    let loaded = load::load(&args.files, &args.trust_domain)?;
    for problem in loaded.problems.iter().filter(|problem| problem.severity == Severity::Error) {
        writeln!(err, "{problem}")?;
    }
    let target = find(&loaded.snapshot, &args.to)?;
    let id = identity(&args.from, &args.trust_domain)
        .with_context(|| format!("--from {:?} is neither NAMESPACE/SERVICEACCOUNT nor a SPIFFE ID", args.from))?;
    let peer = suppose::peer(id, args.from_addr);
    if let Some(reason) = target.closed() {
        return refused(args, target, ("closed", reason), out);
    }
    let mut question = question::Question::ask(args, target)?;
    let (sent, supposed) = (question.head.clone(), args.jwt.as_deref().map(claims::read).transpose()?);
    let claims = match token(target, question.head.as_mut(), supposed.clone()) {
        Ok(claims) => claims,
        Err(fault) => return refused(args, target, ("token", &fault.to_string()), out),
    };
    let labels = SupposedLabels(args.labels.iter().map(|label| label.as_str().into()).collect());
    let facts = Facts {
        peer: &peer,
        destination: &target.destination,
        request: question.head.as_ref(),
        claims: claims.as_ref(),
        call: &question.call,
        led: None,
        labels: Some(&labels),
    };
    let explanation = target.rules.explain_if(&facts, args.custom == Supposed::Allow);
    let asked = Asked { from: peer.id().uri(), to: target.key.to_string(), call: &question.said };
    let over = way::Asked {
        snapshot: &loaded.snapshot,
        target,
        args,
        sent: sent.as_ref(),
        claims: supposed.as_ref(),
        facts: &facts,
    };
    let led = way::Led::of(&over);
    write(args, &asked, (&explanation, led.as_ref()), out)?;
    let allowed = explanation.allowed && led.is_none_or(|led| led.allowed());
    Ok(if allowed { Ended::Well } else { Ended::Denied })
}

/// What the token, or the claims that are supposed instead of one, make of the head before anything is decided.
fn token(target: &Target, head: Option<&mut HttpHead>, claims: Option<Claims>) -> Result<Option<Claims>, TokenFault> {
    let (Some(tokens), Some(head)) = (&target.tokens, head) else { return Ok(claims) };
    if let Some(claims) = claims {
        return tokens.suppose(&claims, head).map(|()| Some(claims));
    }
    let verified = tokens.verify(head, SystemTime::now()).map_err(|unverified| unverified.fault)?;
    verified.edits.apply(head);
    Ok(verified.claims)
}

/// What refuses every such call before a rule is asked: a closed target, also what it would not be asked in its own
/// protocol, and a token that does not hold.
fn refused(
    args: &ExplainArgs,
    target: &Target,
    (what, why): (&str, &str),
    out: &mut dyn Write,
) -> anyhow::Result<Ended> {
    let to = target.key.to_string();
    if args.json {
        let line = serde_json::json!({
            "allowed": false, "reason": what, what: why, "from": args.from, "to": to, "revision": target.rules.revision(),
        });
        writeln!(out, "{line}")?;
    } else {
        writeln!(
            out,
            "DENY ({what}: {why})\n\nevery call{}\n  to {to}",
            if what == "token" { " with it" } else { "" }
        )?;
    }
    out.flush()?;
    Ok(Ended::Denied)
}

/// What was asked, for the answer to be read by itself.
#[derive(Serialize)]
struct Asked<'a> {
    from: &'a str,
    to: String,
    call: &'a str,
}

fn write(
    args: &ExplainArgs,
    asked: &Asked<'_>,
    (explanation, led): (&Explanation, Option<&way::Led>),
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        explanation: &'a Explanation,
        #[serde(flatten)]
        asked: &'a Asked<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        led: Option<&'a way::Led>,
    }
    // Where a route leads it is refused, whatever the rules say here.
    let elsewhere = led.and_then(way::Led::refusal).filter(|_| explanation.allowed);
    if args.json {
        let mut line = serde_json::to_value(Line { explanation, asked, led })?;
        if let (Some(_), Some(line)) = (&elsewhere, line.as_object_mut()) {
            line.insert("allowed".to_owned(), false.into());
            line.insert("reason".to_owned(), "route".into());
        }
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "{}", elsewhere.unwrap_or_else(|| explanation.verdict()))?;
        for finding in &explanation.findings {
            writeln!(out, "  {finding}")?;
        }
        for line in led.map(way::Led::lines).unwrap_or_default() {
            writeln!(out, "{line}")?;
        }
        let Asked { from, to, call } = asked;
        writeln!(out, "\n{call}\n  from {from}\n  to {to}\n  revision {}", explanation.revision)?;
    }
    out.flush()?;
    Ok(())
}

fn find<'a>(snapshot: &'a Snapshot, to: &ServicePort) -> anyhow::Result<&'a Arc<Target>> {
    let of_service = |target: &&Arc<Target>| *target.key.namespace == *to.namespace && *target.key.name == *to.service;
    let mut ports = Vec::new();
    for target in snapshot.targets().filter(of_service) {
        if target.key.port == to.port {
            return Ok(target);
        }
        ports.push(target.key.port.to_string());
    }
    let name = format!("{}/{}", to.namespace, to.service);
    if ports.is_empty() {
        bail!("no document names a Service or ServiceEntry {name}; `agent-waypoint check` lists those there are");
    }
    bail!("{name} has no port {}; it has {}", to.port, ports.join(", "))
}

fn identity(from: &str, trust_domain: &TrustDomain) -> Option<WorkloadId> {
    if from.contains("://") {
        return WorkloadId::parse(from).ok();
    }
    let (namespace, service_account) = from.split_once('/')?;
    WorkloadId::of_istio(trust_domain, namespace, service_account).ok()
}

#[cfg(test)]
mod tests;
