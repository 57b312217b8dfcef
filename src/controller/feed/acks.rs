use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::control::feed::Report;

/// What a pod has in force, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ack {
    /// The state of this digest.
    InForce {
        /// Names the state.
        digest: String,
        /// What of it does not decide; none where the waypoint is of a version that does not say.
        report: Option<Arc<Report>>,
    },
    /// It refused a part of what it was sent; why.
    Refused(String),
}

/// Namespace and name of a pod.
pub(super) type PodKey = (String, String);

/// What the pods that are connected to this replica have in force. A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Acks {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    streams: u64,
    pods: BTreeMap<PodKey, (u64, Ack)>,
}

/// One stream; what was said on it is forgotten with it, as its pod goes on to say it elsewhere.
#[derive(Debug)]
pub(super) struct Voice {
    acks: Acks,
    stream: u64,
    pod: Option<PodKey>,
}

impl Acks {
    /// Pods and what they have, now.
    pub fn all(&self) -> BTreeMap<(String, String), Ack> {
        self.lock().pods.iter().map(|(pod, (_, ack))| (pod.clone(), ack.clone())).collect()
    }

    /// Tells of changes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    pub(super) fn voice(&self) -> Voice {
        let mut state = self.lock();
        state.streams += 1;
        Voice { acks: self.clone(), stream: state.streams, pod: None }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Voice {
    /// The pod at the other end said what it has.
    pub(super) fn says(&mut self, pod: &PodKey, ack: Ack) {
        // A stream is one pod's: under how many names ever it speaks, one is kept.
        if self.pod.as_ref() != Some(pod) {
            self.hush();
        }
        self.pod = Some(pod.clone());
        let before = self.acks.lock().pods.insert(pod.clone(), (self.stream, ack.clone()));
        if before.is_none_or(|(_, before)| before != ack) {
            self.acks.inner.changed.send_modify(|changes| *changes += 1);
        }
    }

    fn hush(&mut self) {
        let Some(pod) = self.pod.take() else { return };
        let mut state = self.acks.lock();
        if state.pods.get(&pod).is_some_and(|(stream, _)| *stream == self.stream) {
            state.pods.remove(&pod);
            drop(state);
            self.acks.inner.changed.send_modify(|changes| *changes += 1);
        }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.hush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stream_speaks_for_one_pod_and_is_forgotten_with_its_end() {
        let acks = Acks::default();
        let (mut one, mut other) = (acks.voice(), acks.voice());
        let pod = |name: &str| ("tools".to_owned(), name.to_owned());
        let ack = || Ack::Refused("no".to_owned());
        other.says(&pod("wp-0"), ack());
        for n in 0..1_000 {
            one.says(&pod(&format!("wp-{n}")), ack());
        }
        // What it took over from another's stream is its own until then.
        assert_eq!(acks.all().into_keys().collect::<Vec<_>>(), [pod("wp-999")]);
        other.says(&pod("wp-0"), ack());
        drop(one);
        assert_eq!(acks.all().into_keys().collect::<Vec<_>>(), [pod("wp-0")]);
    }
}
