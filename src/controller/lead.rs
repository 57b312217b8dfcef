//! One replica writes: whoever holds the Lease. The others serve the feed and stand by.
//!
//! All writes are server-side applies of a plan that depends on the cluster alone, so that two writers for a moment do
//! no harm; the Lease keeps them from undoing each other's versions during an upgrade, and the API server from double work.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Name of the Lease, in the controller's namespace.
pub const LEASE: &str = "agent-waypoint-controller";
/// A holder that has not renewed for so long has lost it.
const LIFE: Duration = Duration::from_secs(15);
/// How long we take it for ours after a renewal: less than [`LIFE`], so that we stop before another begins.
const OURS: Duration = Duration::from_secs(10);
/// Between two tries.
const RETRY: Duration = Duration::from_secs(3);
/// An API server that was not heard for so long may have told others what we do not know.
const SILENCE: Duration = Duration::from_secs(30);

/// Whether this replica may write. A cheap handle.
#[derive(Debug, Clone)]
pub struct Leading(watch::Receiver<Option<Instant>>);

impl Leading {
    /// Until further notice, for tests and commands that write by themselves.
    pub fn always() -> Self {
        Self(watch::channel(Instant::now().checked_add(Duration::from_secs(86_400 * 365))).1)
    }

    /// Whether it may write now.
    pub fn is_leading(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Resolves when the Lease was taken or lost since the call.
    pub async fn changed(&mut self) {
        let before = self.is_leading();
        while self.is_leading() == before {
            if self.0.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// When the API server last answered this replica as itself. A cheap handle.
#[derive(Debug, Clone)]
pub struct Heard(watch::Receiver<Instant>);

impl Heard {
    /// Whether it has not for [`SILENCE`]: what is known here may be old, and a waypoint that comes from another replica
    /// would be taken back to it.
    pub fn is_cut_off(&self) -> bool {
        self.0.borrow().elapsed() >= SILENCE
    }
}

/// Takes part in the election until `stop`, and gives the Lease back then.
#[derive(Debug)]
pub struct Candidate {
    leases: Api<Lease>,
    namespace: String,
    name: String,
    leading: watch::Sender<Option<Instant>>,
    heard: watch::Sender<Instant>,
    /// The Lease as it was last seen to change, and when: the clocks of others are not believed.
    seen: Option<(Option<String>, Instant)>,
}

impl Candidate {
    /// `name` is this replica's: its pod's.
    pub fn new(client: &Client, namespace: &str, name: &str) -> (Self, Leading) {
        let (leading, handle) = watch::channel(None);
        let leases = Api::namespaced(client.clone(), namespace);
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let this = Self { leases, namespace, name, leading, heard: watch::Sender::new(Instant::now()), seen: None };
        (this, Leading(handle))
    }

    /// Whether the API server is there for us.
    pub fn heard(&self) -> Heard {
        Heard(self.heard.subscribe())
    }

    /// See [`Candidate`].
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let attempt = self.attempt().await;
            if answered(&attempt) {
                self.heard.send_replace(Instant::now());
            }
            match attempt {
                Ok(held) => self.tell(held),
                Err(error) => {
                    // What we hold runs out by itself.
                    tracing::warn!(%error, lease = LEASE, namespace = self.namespace, "cannot take part in the election: nothing is written meanwhile; is the Role of manifests/ bound?");
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        if self.leading.borrow().is_some() {
            self.leading.send_replace(None);
            if let Err(error) = self.give_back().await {
                tracing::debug!(%error, "Lease not given back; it runs out by itself");
            }
        }
    }

    fn tell(&self, held: bool) {
        let until = if held { Instant::now().checked_add(OURS) } else { None };
        let before = self.leading.send_replace(until);
        if before.is_some() != held {
            tracing::info!(
                replica = self.name,
                "{}",
                if held { "leading: this replica writes" } else { "standing by" }
            );
        }
    }

    /// Takes or renews the Lease if it may be; whether it is ours now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.leases.get_opt(LEASE).await? else {
            return won(self.leases.create(&PostParams::default(), &self.lease(None, 0)?).await);
        };
        if !self.is_free(&lease) {
            return Ok(false);
        }
        let spec = lease.spec.unwrap_or_default();
        let mine = spec.holder_identity.as_deref() == Some(&self.name);
        let transitions = spec.lease_transitions.unwrap_or(0).saturating_add(i32::from(!mine));
        let next = self.lease(lease.metadata.resource_version, transitions)?;
        won(self.leases.replace(LEASE, &PostParams::default(), &next).await)
    }

    /// Whether it is ours, nobody's, or was not renewed for [`LIFE`] by our clock.
    fn is_free(&mut self, lease: &Lease) -> bool {
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or("");
        let version = &lease.metadata.resource_version;
        let now = Instant::now();
        let since = match &self.seen {
            Some((seen, since)) if seen == version => *since,
            _ => {
                self.seen = Some((version.clone(), now));
                now
            }
        };
        holder.is_empty() || holder == self.name || now.duration_since(since) >= LIFE
    }

    fn lease(&self, version: Option<String>, transitions: i32) -> Result<Lease, kube::Error> {
        // The API wants exactly six digits of a second.
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or_else(|_never| OffsetDateTime::now_utc());
        let now = now.format(&Rfc3339).unwrap_or_default().replace('Z', ".000000Z");
        let lease = json!({
            "metadata": {"name": LEASE, "namespace": self.namespace, "resourceVersion": version},
            "spec": {
                "holderIdentity": self.name,
                "leaseDurationSeconds": LIFE.as_secs(),
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        });
        serde_json::from_value(lease).map_err(kube::Error::SerdeError)
    }

    async fn give_back(&self) -> Result<(), kube::Error> {
        let mut lease = self.leases.get(LEASE).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.name) {
            spec.holder_identity = Some(String::new());
            self.leases.replace(LEASE, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}

/// Whether the API server answered, and knows us: whom it does not know it tells nothing, his watches neither.
fn answered<T>(attempt: &Result<T, kube::Error>) -> bool {
    match attempt {
        Err(kube::Error::Api(status)) => (400..500).contains(&status.code) && status.code != 401,
        other => other.is_ok(),
    }
}

/// Somebody else was quicker: that is no error.
fn won(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    #[tokio::test]
    async fn one_leads_and_another_takes_over_when_it_gives_back() {
        let server = fake::Server::start();
        let (first, leading_1) = Candidate::new(&server.client(), "system", "one");
        let (second, leading_2) = Candidate::new(&server.client(), "system", "two");
        let (stop_1, stop_2) = (CancellationToken::new(), CancellationToken::new());
        let one = tokio::spawn(first.run(stop_1.clone()));
        fake::eventually(|| leading_1.is_leading()).await;
        let two = tokio::spawn(second.run(stop_2.clone()));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!leading_2.is_leading());
        stop_1.cancel();
        one.await.unwrap();
        assert!(!leading_1.is_leading());
        fake::eventually(|| leading_2.is_leading()).await;
        stop_2.cancel();
        two.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_the_api_server_does_not_answer_knows_it_after_a_while() {
        let server = fake::Server::start();
        let (candidate, _leading) = Candidate::new(&server.client(), "system", "one");
        let (heard, stop) = (candidate.heard(), CancellationToken::new());
        let running = tokio::spawn(candidate.run(stop.clone()));
        let later = || tokio::time::sleep(SILENCE + 2 * RETRY);
        later().await;
        assert!(!heard.is_cut_off());
        // No right to the Lease is an answer; nobody's token, and a server that is ill, are none.
        for (code, cut_off) in [(403, false), (401, true), (0, false), (503, true), (0, false)] {
            server.deny("leases", code);
            later().await;
            assert_eq!(heard.is_cut_off(), cut_off, "{code}");
        }
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_is_free_after_its_life_by_our_own_clock() {
        let server = fake::Server::start();
        let (mut candidate, _) = Candidate::new(&server.client(), "system", "two");
        // The holder's clock is years behind: that alone frees nothing.
        let held: Lease = serde_json::from_value(json!({
            "metadata": {"name": LEASE, "resourceVersion": "7"},
            "spec": {"holderIdentity": "one", "renewTime": "2001-01-01T00:00:00.000000Z"},
        }))
        .unwrap();
        assert!(!candidate.is_free(&held));
        tokio::time::advance(LIFE - Duration::from_secs(1)).await;
        assert!(!candidate.is_free(&held));
        let mut renewed = held.clone();
        renewed.metadata.resource_version = Some("8".to_owned());
        assert!(!candidate.is_free(&renewed));
        tokio::time::advance(LIFE - Duration::from_secs(1)).await;
        assert!(!candidate.is_free(&renewed));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(candidate.is_free(&renewed));
    }
}
