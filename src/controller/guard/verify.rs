//! Whether a guard works, read from what istiod sends to ztunnel.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::condition::{Condition, Status};
use super::enforced::Enforced;
use super::gap::{Gap, Reason};
use super::input::{Capture, Mesh, Pod};
use super::members::{Member, Members, Principals};
use super::plan::Stage;
use super::policy::GuardPolicy;
use crate::id::WorkloadId;
use crate::mesh::l4::{self, Authorization, Connection, Verdict};

/// One Service as its pods' ztunnels see it.
pub(super) struct Seen<'a> {
    pub(super) mesh: &'a Mesh,
    pub(super) members: &'a Members<'a>,
    pub(super) member: &'a Member<'a>,
    pub(super) stage: Stage,
    pub(super) policy: &'a GuardPolicy,
    pub(super) enforced: Option<&'a Enforced<'a>>,
}

fn gap(reason: Reason, endpoint: &Arc<str>, port: Option<u16>, detail: &str) -> Gap {
    Gap { reason, endpoint: Arc::clone(endpoint), port, detail: detail.into() }
}

/// Why an endpoint that is no pod of ours cannot be guarded, by its uid, `CLUSTER/GROUP/KIND/NAMESPACE/NAME`.
fn unguardable(uid: &str) -> Reason {
    match uid.split('/').nth(2) {
        Some("Pod") => Reason::OtherCluster,
        Some("EndpointSlice") => Reason::NoSelector,
        _ => Reason::UncapturedPod,
    }
}

impl Seen<'_> {
    /// The ways round that are left.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let service = &self.member.service.name;
        if let Stage::Impossible(reason @ (Reason::NoSelector | Reason::External)) = self.stage {
            return vec![gap(reason, &service.name, None, "")];
        }
        for (at, pod) in &self.member.pods {
            match pod.capture {
                Capture::HostNetwork => gaps.push(gap(Reason::HostNetwork, &pod.name, None, "")),
                Capture::Uncaptured => gaps.push(gap(Reason::UncapturedPod, &pod.name, None, "")),
                Capture::Captured => self.captured(*at, pod, &mut gaps),
                Capture::NotStarted => {}
            }
        }
        let far = self.enforced.map_or(&[][..], |sent| sent.far(service));
        gaps.extend(far.iter().map(|uid| gap(unguardable(uid), uid, None, "")));
        if self.stage == Stage::Written {
            let unresolved = self.member.unresolved().into_iter();
            let named = |port| format!("port `{port}` has no number until a pod declares it");
            gaps.extend(unresolved.map(|port| gap(Reason::Pending, &service.name, None, &named(port))));
        }
        gaps.sort();
        gaps
    }

    fn captured(&self, at: usize, pod: &Pod, gaps: &mut Vec<Gap>) {
        match self.stage {
            Stage::Written => {}
            Stage::Reported => return gaps.push(gap(Reason::Report, &pod.name, None, "")),
            Stage::Waiting(why) => return gaps.push(gap(Reason::Pending, &pod.name, None, why)),
            Stage::Impossible(reason) => return gaps.push(gap(reason, &pod.name, None, &self.conflict())),
        }
        let Some(sent) = self.enforced else { return };
        let Some((_, enforced)) = sent.at(pod) else {
            return gaps.push(gap(Reason::Pending, &pod.name, None, "istiod does not know the pod yet"));
        };
        for port in self.member.ports_on(pod) {
            gaps.extend(self.open(sent, pod, &enforced, port));
        }
        for port in self.siblings(at, pod) {
            if l4::only(enforced.iter().copied(), port).is_none() {
                gaps.push(gap(Reason::SiblingPort, &pod.name, Some(port), ""));
            }
        }
    }

    /// Why a guard cannot be written where the objects would allow it.
    fn conflict(&self) -> String {
        if self.mesh.root_namespace == self.member.service.name.namespace {
            return "in Istio's root namespace a selector selects pods of every namespace".to_owned();
        }
        format!("AuthorizationPolicy {} is not ours", self.policy.name)
    }

    /// The gap on a port of the Service, if it is open to anyone who does not front it.
    fn open(&self, sent: &Enforced<'_>, pod: &Pod, enforced: &[&Authorization], port: u16) -> Option<Gap> {
        let named = |who: &Principals| who.iter().map(|one| &**one).collect::<Vec<_>>().join(", ");
        let allowed = self.allowed(port);
        match l4::only(enforced.iter().copied(), port) {
            Some(only) if only.is_subset(&allowed) => None,
            Some(only) => {
                let more: Principals = only.difference(&allowed).cloned().collect();
                let detail = format!("ztunnel is sent a guard that lets {} through too", named(&more));
                // The guard was narrower or other than what is planned now: a push is on its way, or never comes.
                Some(gap(Reason::Pending, &pod.name, Some(port), &detail))
            }
            None => {
                let key = self.policy.name.to_string();
                let (reason, detail) = match sent.policy(&key) {
                    None => (Reason::Pending, "ztunnel is not sent the guard yet"),
                    Some(one) if one.dry_run => (Reason::Conflict, "the guard is a dry run"),
                    Some(one) if !enforced.iter().any(|other| other.key() == one.key()) => {
                        (Reason::Pending, "the pod does not list the guard yet")
                    }
                    Some(_) => (Reason::Pending, "the guard that ztunnel is sent leaves the port out"),
                };
                Some(gap(reason, &pod.name, Some(port), detail))
            }
        }
    }

    fn allowed(&self, port: u16) -> Principals {
        let rules = self.policy.rules.iter().filter(|rule| rule.port == Some(port));
        rules.flat_map(|rule| rule.exempt.iter().cloned()).collect()
    }

    /// Ports of the pod that are not the Service's: what containers declare, and what other Services lead to.
    fn siblings(&self, at: usize, pod: &Pod) -> BTreeSet<u16> {
        let own = self.member.ports_on(pod);
        let others =
            self.members.all.iter().filter(|other| other.pods.binary_search_by_key(&at, |(at, _)| *at).is_ok());
        let others = others.flat_map(|other| other.ports_on(pod));
        let all = pod.ports.iter().map(|port| port.number).chain(others);
        all.filter(|port| !own.contains(port)).collect()
    }

    /// The condition `Guarded`.
    pub(super) fn guarded(&self, gaps: &[Gap]) -> Condition {
        if let Some(unguarded) = Condition::unguarded(gaps) {
            return unguarded;
        }
        match self.stage {
            Stage::Reported => return Condition::new(Status::False, "Report", Reason::Report.remedy()),
            Stage::Waiting(why) => return Condition::new(Status::False, "Pending", why),
            Stage::Impossible(reason) => return Condition::new(Status::False, reason.condition(), self.conflict()),
            Stage::Written => {}
        }
        let Some(sent) = self.enforced else {
            let message = "what istiod sends to ztunnel was not seen yet: see the controller's log";
            return Condition::new(Status::Unknown, "NotVerified", message);
        };
        let key = self.policy.name.to_string();
        if sent.policy(&key).is_none() {
            return Condition::new(Status::False, "Pending", format!("ztunnel is not sent {key} yet"));
        }
        let pods = self.member.pods.len();
        Condition::new(Status::True, "Guarded", format!("{pods} pods take calls from its waypoints only, by {key}"))
    }

    /// The condition `Reachable`: whether the user's own policies let the waypoints through.
    pub(super) fn reachable(&self) -> Condition {
        let Some(sent) = self.enforced else {
            let message = "what istiod sends to ztunnel was not seen yet: see the controller's log";
            return Condition::new(Status::Unknown, "NotVerified", message);
        };
        let mut refused = BTreeSet::new();
        let captured = self.member.pods.iter().filter(|(_, pod)| pod.capture == Capture::Captured);
        for (_, pod) in captured {
            if let Some((workload, enforced)) = sent.at(pod) {
                let to = workload.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                for port in self.member.ports_on(pod) {
                    refused.extend(self.refusals(&enforced, SocketAddr::new(to, port)));
                }
            }
        }
        if let Some((policy, waypoint, why)) = refused.first() {
            let remedy = "except this principal from the policy, or allow it";
            let message =
                format!("AuthorizationPolicy {policy} refuses waypoint {waypoint} at the pod ({why}): {remedy}");
            return Condition::new(Status::False, "RefusedAtPod", message);
        }
        if self.member.pods.is_empty() {
            return Condition::new(Status::Unknown, "NoPods", "no pod is there to reach");
        }
        Condition::new(Status::True, "Reachable", "no policy at the pods refuses its waypoints")
    }

    fn refusals(&self, enforced: &[&Authorization], destination: SocketAddr) -> Vec<(String, Arc<str>, &'static str)> {
        let sources = self.member.service.waypoints.iter().filter_map(|name| self.mesh.waypoints.get(name));
        let mut sources: Vec<IpAddr> = sources.flat_map(|waypoint| waypoint.addresses.iter().copied()).collect();
        if sources.is_empty() {
            sources.push(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        }
        let mut refused = Vec::new();
        for principal in &self.member.fronts {
            let Ok(id) = WorkloadId::parse(&format!("spiffe://{principal}")) else { continue };
            for source in &sources {
                let connection = Connection { source: *source, identity: Some(&id), destination };
                match l4::judge(enforced.iter().copied(), &connection) {
                    Verdict::Permitted => {}
                    Verdict::Denied(by) => refused.push((by.key(), Arc::clone(principal), "it denies")),
                    Verdict::NotAllowed(by) => refused.push((by.key(), Arc::clone(principal), "no ALLOW matches")),
                }
            }
        }
        refused
    }
}
