//! Fetches the keys of tokens' issuers: one task for each place that documents name, for as long as they do.
//!
//! It fills what `policy` verifies with, and decides nothing. Every document that it reads is somebody else's: only hosts
//! that whoever runs the waypoint lists are asked, their addresses are judged as well, redirects are not followed, and
//! size and time are bounded.

mod address;
mod discovery;
mod fetch;

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backoff::{Backoff, fraction};
use crate::config::limits::{JWKS_REFRESH, JWKS_RETRY};
use crate::policy::token::{KeySet, KeySource, Keyring, Outcome, RemoteKeys};
use crate::telemetry::Telemetry;
use crate::tls::ExternalRoots;
use crate::upstream::dns::{Dns, InMesh};

pub use fetch::FetchFault;
use fetch::Fetcher;

/// The first wait after a fetch that failed.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Keeps the keys of a [`Keyring`] fresh.
#[derive(Debug)]
pub struct Jwks {
    keyring: Keyring,
    fetcher: Arc<Fetcher>,
    telemetry: Telemetry,
}

impl Jwks {
    /// Fetches by names that `dns` looks up, of servers that `roots` vouch for; addresses of the mesh are those that
    /// `in_mesh` says.
    pub fn new(keyring: Keyring, dns: Dns, roots: ExternalRoots, in_mesh: InMesh, telemetry: Telemetry) -> Self {
        let hosts = keyring.hosts().cloned().unwrap_or_default();
        Self { keyring, fetcher: Arc::new(Fetcher::new(hosts, dns, roots, in_mesh)), telemetry }
    }

    /// Works until `stop`. Every place has a task of its own, which `tasks` tracks.
    pub async fn run(self, tasks: TaskTracker, stop: CancellationToken) {
        let mut kept: Vec<Weak<RemoteKeys>> = Vec::new();
        loop {
            kept.retain(|one| one.strong_count() > 0);
            for keys in self.keyring.sources() {
                let keys = Arc::downgrade(&keys);
                if kept.iter().any(|one| one.ptr_eq(&keys)) {
                    continue;
                }
                let (fetcher, telemetry) = (Arc::clone(&self.fetcher), self.telemetry.clone());
                let stop = stop.clone();
                tasks.spawn(keep(Weak::clone(&keys), fetcher, telemetry, stop));
                kept.push(keys);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.keyring.added() => {}
            }
        }
    }
}

/// Fetches the keys of one place again and again, until nobody wants them.
async fn keep(keys: Weak<RemoteKeys>, fetcher: Arc<Fetcher>, telemetry: Telemetry, stop: CancellationToken) {
    let mut backoff = Backoff::new(FIRST_RETRY, JWKS_RETRY);
    loop {
        let (wait, wanted) = {
            let Some(keys) = keys.upgrade() else { return };
            let fetched = tokio::select! {
                () = stop.cancelled() => return,
                fetched = fetch(&keys, &fetcher) => fetched,
            };
            telemetry.metrics().jwks_fetched(fetched.as_ref().err().map_or("fetched", FetchFault::reason));
            (settle(&keys, fetched, &mut backoff), keys.wanted())
        };
        let due = Instant::now() + wait;
        if !waited(due, &wanted, &stop).await {
            return;
        }
    }
}

/// Waits until `due`, or until somebody wants them sooner or nobody any more; false at the end of all.
async fn waited(due: Instant, wanted: &Notify, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = wanted.notified() => true,
        () = tokio::time::sleep_until(due) => true,
    }
}

async fn fetch(keys: &RemoteKeys, fetcher: &Fetcher) -> Result<KeySet, FetchFault> {
    keys.begin();
    let limit = keys.timeout();
    let fetching = async {
        let url = match keys.source() {
            KeySource::Set(url) => url.clone(),
            KeySource::Discovery { issuer, url } => discovery::keys_of(issuer, &fetcher.get(url).await?)?,
        };
        let body = fetcher.get(&url).await?;
        KeySet::fetched(&body).map_err(FetchFault::Keys)
    };
    tokio::time::timeout(limit, fetching).await.unwrap_or(Err(FetchFault::Timeout))
}

/// Takes what came, or says why nothing did; how long until the next time.
fn settle(keys: &RemoteKeys, fetched: Result<KeySet, FetchFault>, backoff: &mut Backoff) -> Duration {
    let source = keys.source();
    match fetched {
        Ok(set) => {
            let count = set.len();
            backoff.reset();
            match keys.fetched(set) {
                Outcome::First => tracing::info!(%source, keys = count, "keys of an issuer are here"),
                Outcome::Renewed => tracing::debug!(%source, keys = count, "keys of an issuer are fresh"),
            }
            JWKS_REFRESH.mul_f64(1.0 - 0.25 * fraction())
        }
        Err(fault) => {
            let age = keys.age().map(|age| age.as_secs());
            let in_force = keys.keys().is_some();
            tracing::warn!(
                %source, reason = fault.reason(), %fault, age, in_force,
                "keys of an issuer could not be fetched; the last ones count until they are a day old"
            );
            keys.failed();
            backoff.wait()
        }
    }
}

#[cfg(test)]
mod tests;
