//! `explain`: whether one call would be permitted, and what each rule said about it.
//!
//! The call is decoded and decided on by the rooms of the data path; only the caller is supposed instead of proven.

mod claims;
mod question;

use std::io::Write;
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::args::{ExplainArgs, ServicePort, Supposed};
use super::{Ended, load, suppose};
use crate::call::HttpHead;
use crate::document::Severity;
use crate::id::{TrustDomain, WorkloadId};
use crate::mesh::{Snapshot, Target};
use crate::policy::{Claims, Explanation, Facts, TokenFault};

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
    let claims = args.jwt.as_deref().map(claims::read).transpose()?;
    let claims = match token(target, question.head.as_mut(), claims) {
        Ok(claims) => claims,
        Err(fault) => return refused(args, target, ("token", &fault.to_string()), out),
    };
    let facts = Facts {
        peer: &peer,
        destination: &target.destination,
        request: question.head.as_ref(),
        claims: claims.as_ref(),
        call: &question.call,
        led: None,
    };
    let explanation = target.rules.explain_if(&facts, args.custom == Supposed::Allow);
    let asked = Asked { from: peer.id().uri(), to: target.key.to_string(), call: &question.said };
    write(args, &asked, &explanation, out)?;
    Ok(if explanation.allowed { Ended::Well } else { Ended::Denied })
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

fn write(args: &ExplainArgs, asked: &Asked<'_>, explanation: &Explanation, out: &mut dyn Write) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        explanation: &'a Explanation,
        #[serde(flatten)]
        asked: &'a Asked<'a>,
    }
    if args.json {
        serde_json::to_writer(&mut *out, &Line { explanation, asked })?;
        writeln!(out)?;
    } else {
        write!(out, "{explanation}")?;
        let Asked { from, to, call } = asked;
        writeln!(out, "\n{call}\n  from {from}\n  to {to}\n  revision {}", explanation.revision)?;
    }
    out.flush()?;
    Ok(())
}

fn find<'a>(snapshot: &'a Snapshot, to: &ServicePort) -> anyhow::Result<&'a Target> {
    let of_service = |target: &&Target| *target.key.namespace == *to.namespace && *target.key.name == *to.service;
    let mut ports = Vec::new();
    for target in snapshot.targets().map(|target| &**target).filter(of_service) {
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
