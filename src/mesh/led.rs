//! A declared port whose calls a route leads to another Service: decided on by the rules of both, answered by the other's
//! endpoints. It keeps its own key, so that sessions are of the Service that was called.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use super::snapshot::Snapshot;
use super::target::{Target, TargetKey, TargetRevision};
use crate::policy::{A2aSettings, Rules, Verifier};

/// What calls of one port are where routes lead them, made once for each edition of both ends.
#[derive(Debug, Default)]
pub(super) struct Legs {
    /// No more than there are backends in the port's routes.
    known: Mutex<HashMap<TargetKey, Leg>>,
}

/// The other end, and the port as it is for calls that are led there.
type Leg = (Arc<Target>, Arc<Target>);

impl Target {
    /// The port as it is for calls that a route leads to `to`: itself where that is itself. None where `to` speaks something
    /// else than was decoded, or is not declared: whatever calls it past this port would not be decided on as such.
    pub fn leading_to(self: &Arc<Self>, to: &Arc<Self>) -> Option<Arc<Self>> {
        if to.key == self.key {
            return Some(Arc::clone(self));
        }
        if to.protocol != self.protocol || !self.protocol.is_declared() {
            return None;
        }
        let Some(routes) = self.routes.as_ref().filter(|routes| routes.backends.contains(&to.key)) else {
            return Some(Arc::new(self.led(to)));
        };
        let mut known = routes.legs.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, led)) = known.get(&to.key).filter(|(of, _)| Arc::ptr_eq(of, to)) {
            return Some(Arc::clone(led));
        }
        let led = Arc::new(self.led(to));
        known.insert(to.key.clone(), (Arc::clone(to), Arc::clone(&led)));
        Some(led)
    }

    fn led(&self, to: &Self) -> Self {
        let same = |one: &Verifier| self.tokens.as_ref().is_some_and(|own| own.takes_as(one));
        let apart = to.tokens.as_ref().is_some_and(|tokens| !same(tokens));
        let mut reasons: Vec<String> =
            [self, to].into_iter().filter_map(|one| one.closed()).map(ToOwned::to_owned).collect();
        if apart {
            reasons.push(format!("a route leads to {}, which takes other tokens", to.key));
        }
        // What this port's tokens say was not believed by whoever wrote those rules.
        if to.tokens.is_none() && self.tokens.is_some() && to.rules.reads_jwt() {
            reasons.push(format!("a route leads to {}, whose rules read tokens, of which it takes none", to.key));
        }
        if !self.has_paths_of(to) {
            reasons.push(format!("a route leads to {}, whose policies say other basePaths or rpcPaths", to.key));
        }
        let (rules, closed) = if reasons.is_empty() {
            let part = |one: &Self| (one.destination.clone(), Arc::clone(&one.rules));
            (Rules::all(vec![part(self), part(to)]), None)
        } else {
            let reason = reasons.join("; ");
            (Rules::closed(reason.clone()), Some(reason.into()))
        };
        Self {
            key: self.key.clone(),
            destination: self.destination.clone(),
            protocol: self.protocol,
            revision: TargetRevision::joined([self.revision, to.revision].into_iter(), &rules),
            rules: Arc::new(rules),
            tokens: self.tokens.clone(),
            endpoints: to.endpoints.clone(),
            held: to.held.clone(),
            paths: self.paths,
            routes: None,
            bytes: None,
            leads_to: Some(Box::new((to.key.clone(), to.destination.clone()))),
            affine: to.affine,
            traffic: to.traffic.clone(),
            upstream_h2: to.upstream_h2,
            // The two ends say it each for itself.
            unenforced: Arc::default(),
            closed,
        }
    }

    /// Whether policies say of both at which paths an agent's operations are, and the same: what is read of a path here is what
    /// is read of it there.
    fn has_paths_of(&self, to: &Self) -> bool {
        let paths = |one: &Self| {
            let mounts = one.rules.a2a().map(A2aSettings::mounts).unwrap_or_default();
            [mounts.rest, mounts.rpc].map(|paths| paths.iter().cloned().collect::<BTreeSet<Arc<str>>>())
        };
        paths(self) == paths(to)
    }

    /// The same port in another edition, led where this one is; none where an end is gone.
    pub fn renewed(&self, snapshot: &Snapshot) -> Option<Arc<Self>> {
        let own = snapshot.get(&self.key)?;
        match &self.leads_to {
            None => Some(own),
            Some(led) => own.leading_to(&snapshot.get(&led.0)?),
        }
    }

    /// By what the tasks and cards of whoever answers here are known. Where a route leads elsewhere that is another agent: its
    /// ids may be those of others, and its card is believed by the rules of both ends or not.
    pub fn agents(&self) -> TargetKey {
        match &self.leads_to {
            None => self.key.clone(),
            Some(led) => TargetKey { at: Some(format!("led to {}", led.0).into()), ..self.key.clone() },
        }
    }

    /// The port whose endpoints answer here: that to which a route leads, else its own. What is learnt of servers is learnt by
    /// it, and calls count against it, as it is its servers that hang.
    pub fn served_by(&self) -> &TargetKey {
        self.leads_to.as_ref().map_or(&self.key, |led| &led.0)
    }

    /// Whether an endpoint is one of this port's, also where it gets no calls for now.
    pub fn has(&self, endpoint: &str) -> bool {
        self.endpoints.iter().any(|one| *one.id == *endpoint) || self.hold(Some(endpoint)).is_some()
    }
}
