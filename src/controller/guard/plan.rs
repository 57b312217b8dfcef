//! From the mesh as it is to what should be written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::condition::Condition;
use super::cut_off::{self, CutOff};
use super::enforced::Enforced;
use super::gap::{Gap, Reason};
use super::input::{Found, GuardScope, Mesh, Mode, Name, Service, ServiceKind};
use super::members::{self, Member, Members, Principals, selects};
use super::policy::{GuardPolicy, GuardRule};
use super::verify;

/// What should be done, and what there is to say.
#[derive(Debug, Default, Serialize)]
pub struct Plan {
    /// Guards that should stand.
    pub apply: Vec<GuardPolicy>,
    /// Guards that would stand, were they not set to Report or waiting.
    pub withheld: Vec<GuardPolicy>,
    /// Guards of ours that nothing wants any more.
    pub remove: Vec<Name>,
    /// Every Service that one of our waypoints fronts.
    pub subjects: Vec<Subject>,
    /// ServiceEntries that one of our waypoints fronts, with how many endpoints.
    pub external: Vec<(Name, usize)>,
    /// Pods whose own addresses one of our waypoints fronts, by its Gateway, and that no guard selects: those of no Service
    /// that uses a waypoint.
    pub addressed: BTreeMap<Name, Vec<Name>>,
}

/// One Service that one of our waypoints fronts.
#[derive(Debug, Serialize)]
pub struct Subject {
    /// The Service.
    pub service: Name,
    /// The Gateways of its waypoints.
    pub waypoints: Vec<Name>,
    /// Enforce or Report.
    pub mode: Mode,
    /// Its ports or all of its pods'.
    pub scope: GuardScope,
    /// Whether its guard is written.
    pub stage: Stage,
    /// Name of its guard; none where it cannot have one.
    pub guard: Option<Name>,
    /// Who is cut off by it.
    pub cut_off: Vec<CutOff>,
    /// Ways round that are left, gravest first.
    pub gaps: Vec<Gap>,
    /// Whether nobody gets round the waypoint.
    pub guarded: Condition,
    /// Whether the waypoint gets through to the pods.
    pub reachable: Condition,
}

/// How far the guard of a Service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", content = "why", rename_all = "lowercase")]
pub enum Stage {
    /// It stands, or is to be written now.
    Written,
    /// It is not written before this has happened.
    Waiting(&'static str),
    /// It is not written, by the Service's own word.
    Reported,
    /// There can be none, for this reason.
    Impossible(Reason),
}

/// Of a Service whose waypoint is there.
const UNBOUND: Stage = Stage::Waiting("istiod does not report the Service as bound to its waypoint yet");

impl Plan {
    /// Endpoints that can be reached past their waypoint, by reason; each counts once for a reason.
    pub fn unguarded(&self) -> BTreeMap<Reason, usize> {
        let mut seen: BTreeMap<Reason, BTreeSet<(&str, &str)>> = BTreeMap::new();
        for subject in &self.subjects {
            for gap in &subject.gaps {
                seen.entry(gap.reason).or_default().insert((&subject.service.namespace, &gap.endpoint));
            }
        }
        let mut counts: BTreeMap<Reason, usize> = Reason::ALL.iter().map(|reason| (*reason, 0)).collect();
        for (reason, endpoints) in seen {
            *counts.entry(reason).or_default() += endpoints.len();
        }
        *counts.entry(Reason::External).or_default() +=
            self.external.iter().map(|(_, endpoints)| endpoints).sum::<usize>();
        *counts.entry(Reason::Addressed).or_default() += self.addressed.values().map(Vec::len).sum::<usize>();
        counts
    }
}

/// Plans the guards of a mesh. Pure: the same mesh gives the same plan.
///
/// `mesh` has to be whole: a Service that is missing from it is taken to have left.
pub fn plan(mesh: &Mesh) -> Plan {
    let mut plan = Plan::default();
    let namespaces = members::by_namespace(mesh);
    let enforced = mesh.sent.as_deref().map(Enforced::of);
    let enforced = enforced.as_ref();
    let found: BTreeMap<&Name, &Found> = mesh.found.iter().map(|found| (&found.name, found)).collect();
    let (guarded, mut kept) = (guarded(mesh), BTreeSet::new());
    for members in namespaces.values() {
        let mut groups: BTreeMap<&BTreeMap<String, String>, Group<'_>> = BTreeMap::new();
        for member in &members.all {
            let name = GuardPolicy::name_for(&member.service.name.namespace, &member.service.selector);
            let found = found.get(&name).copied();
            let stands = guarded.contains(&member.service.name);
            if !is_ours(mesh, member.service, stands) {
                continue;
            }
            let group = || Group { mesh, members, enforced, name, found, wanted: Vec::new(), others: Vec::new() };
            let group = groups.entry(&member.service.selector).or_insert_with(group);
            let stage = group.stage(member, stands);
            let side = if stage == Stage::Written { &mut group.wanted } else { &mut group.others };
            side.push((member, stage));
        }
        for group in groups.values() {
            group.settle(&mut plan);
            kept.extend(group.keeps().then(|| group.name.clone()));
        }
    }
    let wanted: BTreeSet<&Name> = plan.apply.iter().map(|policy| &policy.name).collect();
    let stale = mesh.found.iter().filter(|found| found.ours && !wanted.contains(&found.name));
    let stale = stale.filter(|found| !kept.contains(&found.name));
    plan.remove = stale.map(|found| found.name.clone()).collect();
    plan.external = mesh.externals.iter().map(|one| (one.name.clone(), one.endpoints.max(1))).collect();
    plan.addressed = addressed(mesh, &plan.apply);
    plan.subjects.sort_by(|one, other| one.service.cmp(&other.service));
    plan
}

/// The pods that one of our waypoints is in front of by their own addresses and that none of `guards` selects.
fn addressed(mesh: &Mesh, guards: &[GuardPolicy]) -> BTreeMap<Name, Vec<Name>> {
    let mut all: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
    for pod in &mesh.pods {
        let Some(waypoint) = pod.waypoint.as_ref().filter(|name| mesh.waypoints.get(name).is_some_and(|one| one.ours))
        else {
            continue;
        };
        let selects = |guard: &GuardPolicy| guard.name.namespace == pod.namespace && selects(&guard.selector, pod);
        if !guards.iter().any(selects) {
            let name = Name { namespace: Arc::clone(&pod.namespace), name: Arc::clone(&pod.name) };
            all.entry(waypoint.clone()).or_default().push(name);
        }
    }
    all
}

/// Why a Service gets no guard, whatever becomes of its waypoint; `found` is what has the name of its guard.
pub(super) fn never(service: &Service, found: Option<&Found>, root_namespace: &str, off: bool) -> Option<Stage> {
    if service.kind == ServiceKind::ExternalName {
        return Some(Stage::Impossible(Reason::External));
    }
    if service.selector.is_empty() {
        return Some(Stage::Impossible(Reason::NoSelector));
    }
    if *root_namespace == *service.name.namespace || found.is_some_and(|found| !found.ours) {
        return Some(Stage::Impossible(Reason::Conflict));
    }
    (service.mode == Mode::Report || off).then_some(Stage::Reported)
}

/// The Services for which a guard of ours stands, whatever selector they had when it was written.
fn guarded(mesh: &Mesh) -> BTreeSet<Name> {
    let mut all = BTreeSet::new();
    for found in mesh.found.iter().filter(|found| found.ours) {
        let name = |name: &Arc<str>| Name { namespace: Arc::clone(&found.name.namespace), name: Arc::clone(name) };
        all.extend(found.services.iter().map(name));
    }
    all
}

/// Whether one of our waypoints fronts the Service. A Gateway that is gone was ours where a guard stands: as long as the
/// Service is labelled to use it, the guard stays.
fn is_ours(mesh: &Mesh, service: &Service, stands: bool) -> bool {
    service.waypoints.iter().any(|name| mesh.waypoints.get(name).map_or(stands, |waypoint| waypoint.ours))
}

/// The Services of ours that have the same selector, and so the same pods and guard.
struct Group<'a> {
    mesh: &'a Mesh,
    members: &'a Members<'a>,
    enforced: Option<&'a Enforced<'a>>,
    name: Name,
    found: Option<&'a Found>,
    wanted: Vec<(&'a Member<'a>, Stage)>,
    others: Vec<(&'a Member<'a>, Stage)>,
}

impl<'a> Group<'a> {
    fn stage(&self, member: &Member<'_>, stands: bool) -> Stage {
        let service = member.service;
        let waypoints = || service.waypoints.iter().filter_map(|name| self.mesh.waypoints.get(name));
        if let Some(stage) = never(service, self.found, &self.mesh.root_namespace, self.mesh.off) {
            return stage;
        }
        // What stands stays, whatever becomes of the waypoint, and of the selector: only the Service can leave.
        if stands {
            return Stage::Written;
        }
        if !waypoints().any(|waypoint| waypoint.ours && waypoint.was_ready) {
            return Stage::Waiting("its waypoint has not been ready yet");
        }
        if !service.bound {
            return UNBOUND;
        }
        Stage::Written
    }

    fn settle(&self, plan: &mut Plan) {
        let policy = self.policy(if self.wanted.is_empty() { &self.others } else { &self.wanted });
        for (member, stage) in self.wanted.iter().chain(&self.others) {
            plan.subjects.push(self.subject(member, *stage, &policy));
        }
        let possible = |(_, stage): &(&Member<'_>, Stage)| !matches!(stage, Stage::Impossible(_));
        if !self.wanted.is_empty() {
            plan.apply.push(policy);
        } else if self.others.iter().any(possible) {
            plan.withheld.push(policy);
        }
    }

    /// Whether the guard that stands before these pods is left as it is, though no Service of its own is there any more: one
    /// that was given another name gets it as soon as istiod has bound it.
    fn keeps(&self) -> bool {
        self.wanted.is_empty()
            && self.found.is_some_and(|found| found.ours)
            && self.others.iter().any(|(_, stage)| *stage == UNBOUND)
    }

    fn subject(&self, member: &Member<'a>, stage: Stage, policy: &GuardPolicy) -> Subject {
        let service = member.service;
        let ports: BTreeSet<u16> = policy.rules.iter().filter_map(|rule| rule.port).collect();
        let everything = policy.rules.iter().any(|rule| rule.port.is_none());
        let possible = !matches!(stage, Stage::Impossible(_));
        let ports = if everything { None } else { Some(&ports) };
        let cut_off = if possible { cut_off::of(self.mesh, self.members, member, ports) } else { Vec::new() };
        let seen =
            verify::Seen { mesh: self.mesh, members: self.members, member, stage, policy, enforced: self.enforced };
        let gaps = seen.gaps();
        Subject {
            service: service.name.clone(),
            waypoints: service.waypoints.clone(),
            mode: service.mode,
            scope: service.scope,
            stage,
            guard: possible.then(|| policy.name.clone()),
            cut_off,
            guarded: seen.guarded(&gaps),
            reachable: seen.reachable(),
            gaps,
        }
    }

    fn policy(&self, members: &[(&'a Member<'a>, Stage)]) -> GuardPolicy {
        let members = || members.iter().map(|(member, _)| *member).filter(|member| member.selects());
        let whole = members().any(|member| member.service.scope == GuardScope::Workload);
        let rest = whole.then(|| GuardRule { port: None, exempt: self.exempt_anywhere(members()) });
        let ports = self.ports(members());
        let rules = ports.into_iter().map(|port| GuardRule { port: Some(port), exempt: self.exempt(members(), port) });
        GuardPolicy {
            name: self.name.clone(),
            selector: members().next().map(|member| member.service.selector.clone()).unwrap_or_default(),
            rules: rules.chain(rest).collect(),
            services: members().map(|member| Arc::clone(&member.service.name.name)).collect(),
        }
    }

    /// The numbers to guard. While a named port has no number, since no pod is there, the numbers that it had stay.
    fn ports(&self, members: impl Iterator<Item = &'a Member<'a>> + Clone) -> BTreeSet<u16> {
        let before = self.found.filter(|found| found.ours).map(|found| found.ports.iter().copied());
        let before = before.filter(|_| members.clone().any(|member| !member.unresolved().is_empty()));
        members.flat_map(Member::ports).chain(before.into_iter().flatten()).collect()
    }

    /// Whom the pods take calls to this port from: every waypoint that fronts a Service which shares a pod and the port, or
    /// the pods' own addresses. Each of them would be cut off by the guard of another.
    fn exempt(&self, members: impl Iterator<Item = &'a Member<'a>> + Clone, port: u16) -> Principals {
        // A number of before is theirs whose named port has none now; any other is theirs whose it is.
        let is_now = members.clone().any(|member| member.ports().contains(&port));
        let has = |member: &&Member<'_>| {
            if is_now { member.ports().contains(&port) } else { !member.unresolved().is_empty() }
        };
        let on_port = members.clone().filter(has);
        let own = on_port.flat_map(|member| member.fronts.iter());
        let pods: BTreeSet<usize> = members.flat_map(|member| member.pods.iter().map(|(at, _)| *at)).collect();
        let shared = pods.iter().filter_map(|pod| self.members.fronting(*pod, port)).flatten();
        let addressing = pods.iter().flat_map(|pod| self.members.addressing(*pod));
        own.chain(shared).chain(addressing).cloned().collect()
    }

    fn exempt_anywhere(&self, members: impl Iterator<Item = &'a Member<'a>> + Clone) -> Principals {
        let own = members.clone().flat_map(|member| member.fronts.iter());
        let pods: BTreeSet<usize> = members.flat_map(|member| member.pods.iter().map(|(at, _)| *at)).collect();
        let shared = pods.iter().flat_map(|pod| self.members.fronting_any(*pod));
        let addressing = pods.iter().flat_map(|pod| self.members.addressing(*pod));
        own.chain(shared).chain(addressing).cloned().collect()
    }
}
