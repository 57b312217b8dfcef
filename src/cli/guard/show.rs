//! Plans for people, and for programs.

use std::io::Write;

use serde_json::{Value, json};

use crate::controller::View;
use crate::controller::apply::holds;
use crate::controller::cluster::DocumentKind;
use crate::controller::guard::{Found, GUARDED, GuardPolicy, Name, Plan, REACHABLE, Reason, Stage, Subject};

/// A condition: as the controller wrote it, which has seen what ztunnel is sent; else as far as it can be told from objects.
fn condition<'a>(view: &'a View, subject: &'a Subject, kind: &str) -> (&'a str, &'a str, &'a str) {
    let Name { namespace, name } = &subject.service;
    let live = view.services.get(namespace, name).and_then(|service| service.status.as_ref()?.conditions.as_ref());
    let live = live.and_then(|all| all.iter().find(|one| one.type_ == kind));
    let planned = if kind == GUARDED { &subject.guarded } else { &subject.reachable };
    match live {
        Some(live) => (&live.status, &live.reason, &live.message),
        None => (planned.status.as_str(), planned.reason, &planned.message),
    }
}

fn stage(stage: Stage) -> String {
    match stage {
        Stage::Written => "enforced".to_owned(),
        Stage::Waiting(why) => format!("waiting: {why}"),
        Stage::Reported => "report only".to_owned(),
        Stage::Impossible(reason) => format!("impossible: {}", reason.as_str().replace('_', " ")),
    }
}

/// `--list`
pub(super) fn list(
    plan: &Plan,
    found: &[&Found],
    view: &View,
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    if as_json {
        let rows: Vec<Value> = plan.subjects.iter().map(|subject| row(subject, view)).collect();
        let guards: Vec<Value> = found.iter().map(|one| json!({"name": one.name, "services": one.services})).collect();
        serde_json::to_writer_pretty(&mut *out, &json!({"services": rows, "guards": guards}))?;
        writeln!(out)?;
        return Ok(out.flush()?);
    }
    let wide = plan.subjects.iter().map(|subject| subject.service.to_string().len()).max().unwrap_or(0).max(7);
    writeln!(out, "{:<wide$}  {:<24}  {:<24}  {:>7}  guard", "service", "guarded", "reachable", "cut off")?;
    for subject in &plan.subjects {
        let said = |kind| {
            let (status, reason, _) = condition(view, subject, kind);
            format!("{status} ({reason})")
        };
        let (service, clients) = (subject.service.to_string(), subject.cut_off.len());
        let guard = subject.guard.as_ref().map(|name| format!("{} ", name.name)).unwrap_or_default();
        let (guarded, reachable) = (said(GUARDED), said(REACHABLE));
        writeln!(
            out,
            "{service:<wide$}  {guarded:<24}  {reachable:<24}  {clients:>7}  {guard}{}",
            stage(subject.stage)
        )?;
    }
    for subject in &plan.subjects {
        detail(subject, view, out)?;
    }
    for (name, endpoints) in &plan.external {
        writeln!(out, "\n{name} (ServiceEntry): {endpoints} endpoints outside the mesh, which no guard can close")?;
    }
    for (gateway, pods) in &plan.addressed {
        let pods: Vec<String> = pods.iter().map(ToString::to_string).collect();
        let remedy = Reason::Addressed.remedy();
        writeln!(
            out,
            "\nno guard before pods whose own addresses {gateway} is in front of: {}; {remedy}",
            pods.join(", ")
        )?;
    }
    let unwanted: Vec<String> = plan.remove.iter().map(ToString::to_string).collect();
    if !unwanted.is_empty() {
        writeln!(out, "\nno Service wants any more, and the controller removes: {}", unwanted.join(", "))?;
    }
    writeln!(out, "\n{} Services, {} guards", plan.subjects.len(), found.len())?;
    Ok(out.flush()?)
}

fn detail(subject: &Subject, view: &View, out: &mut dyn Write) -> anyhow::Result<()> {
    let said = [condition(view, subject, GUARDED), condition(view, subject, REACHABLE)];
    let said: Vec<_> = said.into_iter().filter(|(status, _, _)| *status != "True").collect();
    if said.is_empty() && subject.cut_off.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", subject.service)?;
    for (_, _, message) in said {
        writeln!(out, "  {message}")?;
    }
    for one in &subject.cut_off {
        writeln!(out, "  cuts off {one}: {}", one.remedy())?;
    }
    Ok(())
}

fn row(subject: &Subject, view: &View) -> Value {
    let said = |kind| {
        let (status, reason, message) = condition(view, subject, kind);
        json!({"status": status, "reason": reason, "message": message})
    };
    json!({
        "service": subject.service,
        "waypoints": subject.waypoints,
        "mode": subject.mode,
        "scope": subject.scope,
        "stage": subject.stage,
        "guard": subject.guard,
        "guarded": said(GUARDED),
        "reachable": said(REACHABLE),
        "cutOff": subject.cut_off,
    })
}

/// `--dry-run`
pub(super) fn dry_run(plan: &Plan, view: &View, as_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let change = |policy: &GuardPolicy| {
        let live = view.documents(DocumentKind::AuthorizationPolicy);
        let live = live.get(&policy.name.namespace, &policy.name.name);
        match live.and_then(|live| serde_json::to_value(&**live).ok()) {
            None => "new",
            Some(live) if holds(&live, &policy.object()) => "unchanged",
            Some(_) => "changed",
        }
    };
    if as_json {
        let object = |policy: &GuardPolicy| json!({"change": change(policy), "object": policy.object()});
        let list = |policies: &[GuardPolicy]| policies.iter().map(object).collect::<Vec<_>>();
        let whole = json!({"write": list(&plan.apply), "withheld": list(&plan.withheld), "remove": plan.remove});
        serde_json::to_writer_pretty(&mut *out, &whole)?;
        writeln!(out)?;
        return Ok(out.flush()?);
    }
    let both = plan.apply.iter().map(|policy| (change(policy), policy));
    for (change, policy) in both.chain(plan.withheld.iter().map(|policy| ("withheld", policy))) {
        writeln!(out, "{change}: AuthorizationPolicy {}", policy.name)?;
        let of = |subject: &&Subject| subject.guard.as_ref() == Some(&policy.name);
        for subject in plan.subjects.iter().filter(of) {
            writeln!(out, "  for {} ({})", subject.service, stage(subject.stage))?;
            for one in &subject.cut_off {
                writeln!(out, "    cuts off {one}: {}", one.remedy())?;
            }
        }
        for rule in &policy.rules {
            let port = rule.port.map_or_else(|| "any port".to_owned(), |port| format!("port {port}"));
            let exempt: Vec<&str> = rule.exempt.iter().map(|one| &**one).collect();
            writeln!(out, "  {port}: takes calls from {} only", exempt.join(", "))?;
        }
    }
    for name in &plan.remove {
        writeln!(out, "removed: AuthorizationPolicy {name}")?;
    }
    writeln!(out, "{} to write, {} withheld, {} to remove", plan.apply.len(), plan.withheld.len(), plan.remove.len())?;
    Ok(out.flush()?)
}
