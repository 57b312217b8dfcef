//! Between the replicas of one waypoint: each tells the others what it learnt, and a new one everything.
//!
//! A link is a tunnel over HBONE to another replica's own port, under [`HOST`], which no Service can have. Only our own
//! identity is served there, and only our own is dialled: whoever holds it is this waypoint. There is nothing to agree on:
//! owners never change, and of two that contradict each other nobody is the owner. What a replica missed it is told when the
//! link is made again.

mod link;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::Owners;
use super::roll::Seen;
use crate::config::limits::{MAX_REPLICAS, REPLICA_DOUBT};
use crate::hbone::{self, DialFault};
use crate::id::WorkloadId;
use crate::mesh::Published;
use crate::wire::authority::Authority;
use link::{End, Name, exchange};

/// `.internal` is reserved for private use and no domain of a cluster.
const HOST: &str = "replicas.agent-waypoint.internal";
/// How often it is looked who the replicas are.
const LOOK: Duration = Duration::from_secs(1);
/// After a link that ended sooner than that.
const AGAIN: Duration = Duration::from_secs(1);
/// Time for the others to hear that we are gone.
const FAREWELL: Duration = Duration::from_millis(500);

/// Whether a tunnel's authority is that of links between replicas.
pub(in crate::proxy) fn is_of_replicas(authority: &Authority) -> bool {
    matches!(authority, Authority::Host { host, .. } if **host == *HOST)
}

/// This replica among the others.
#[derive(Debug)]
pub(in crate::proxy) struct Replicas {
    owners: Arc<Owners>,
    me: WorkloadId,
    /// Tells a link to ourselves.
    name: Name,
    caught_up: watch::Sender<bool>,
    linked: AtomicUsize,
    /// Tunnels of links, either way.
    links: AtomicUsize,
}

/// One link; it is counted while it stands.
struct Linked<'a>(&'a AtomicUsize);

impl<'a> Linked<'a> {
    fn one_of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Linked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the other replicas are.
#[derive(Debug)]
struct Whereabouts {
    /// `HOST:PORT`, as configured.
    named: Vec<String>,
    /// Of those that istiod tells of.
    port: u16,
    published: Arc<Published>,
}

/// A link that is kept; it ends when dropped.
struct Kept {
    _stop: DropGuard,
    /// Whether it came to something, or is known not to.
    tried: Arc<AtomicBool>,
}

impl Replicas {
    /// `me` is our own identity, which all replicas share.
    pub(in crate::proxy) fn new(owners: Arc<Owners>, me: WorkloadId) -> Self {
        let (linked, links) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { owners, me, name: Name::random(), caught_up: watch::Sender::new(false), linked, links }
    }

    /// Whether whoever dials is this waypoint.
    pub(in crate::proxy) fn is_us(&self, id: &WorkloadId) -> bool {
        *id == self.me
    }

    /// Serves a link that another replica opened.
    pub(in crate::proxy) async fn serve(&self, stream: hbone::Stream) {
        let _one = Linked::one_of(&self.links);
        let end = exchange(stream, &self.owners, &self.name, None, || {}).await;
        tracing::debug!(?end, "a link from another replica ended");
    }

    /// Other replicas that tell us now what they learn.
    pub(in crate::proxy) fn linked(&self) -> usize {
        self.linked.load(Ordering::Relaxed)
    }

    /// Whether every replica that is there told us what it knows.
    pub(in crate::proxy) fn caught_up(&self) -> watch::Receiver<bool> {
        self.caught_up.subscribe()
    }

    /// Keeps a link to every other replica: those at `named` (`HOST:PORT`), and those that istiod tells of, at `port`.
    pub(in crate::proxy) async fn keep(
        self: Arc<Self>,
        tunnels: hbone::Pool,
        (named, port): (Vec<String>, u16),
        published: Arc<Published>,
        stop: CancellationToken,
    ) {
        let whereabouts = Whereabouts { named, port, published };
        // Its tasks end as the links are dropped, with this one at the latest.
        let (mut links, tasks): (HashMap<SocketAddr, Kept>, _) = (HashMap::new(), TaskTracker::new());
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let found = whereabouts.now().await;
            self.owners.roll().list(found.as_ref().filter(|found| found.all).map(|found| &found.places));
            self.forget();
            let Some(Found { places: wanted, .. }) = found else { continue };
            links.retain(|place, _| wanted.contains(place));
            for place in wanted {
                links.entry(place).or_insert_with(|| self.link(&tunnels, place, &tasks));
            }
            if links.values().all(|link| link.tried.load(Ordering::Relaxed)) {
                self.caught_up.send_replace(true);
            }
        }
    }

    /// What was labelled while somebody was missing for long is not known here: whoever was missing may have taken us for gone.
    fn forget(&self) {
        if self.owners.roll().lost_for() > REPLICA_DOUBT / 2 {
            self.owners.give_up();
        }
    }

    /// There are no others.
    pub(in crate::proxy) fn are_none(&self) {
        self.owners.roll().alone();
    }

    /// Tells the others that we serve nobody any more, and waits until they heard it, [`FAREWELL`] at most.
    pub(in crate::proxy) async fn farewell(&self) {
        self.owners.roll().leave();
        let heard = async {
            while self.links.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(FAREWELL / 50).await;
            }
        };
        let _late = tokio::time::timeout(FAREWELL, heard).await;
    }

    fn link(self: &Arc<Self>, tunnels: &hbone::Pool, place: SocketAddr, tasks: &TaskTracker) -> Kept {
        let stop = CancellationToken::new();
        let tried = Arc::new(AtomicBool::new(false));
        let (this, tunnels) = (Arc::clone(self), tunnels.clone());
        let link = {
            let tried = Arc::clone(&tried);
            async move { this.dial(&tunnels, place, &tried).await }
        };
        tasks.spawn(stop.clone().run_until_cancelled_owned(link));
        Kept { _stop: stop.drop_guard(), tried }
    }

    async fn dial(&self, tunnels: &hbone::Pool, place: SocketAddr, tried: &AtomicBool) {
        let expect: Arc<[WorkloadId]> = [self.me.clone()].into();
        let authority = format!("{HOST}:{}", place.port());
        loop {
            let begun = Instant::now();
            let mut link = None;
            let end = match tunnels.connect(place, &expect, &authority).await {
                Ok(stream) => {
                    let _one = Linked::one_of(&self.links);
                    let told = || {
                        tried.store(true, Ordering::Relaxed);
                        link = Some(Linked::one_of(&self.linked));
                    };
                    exchange(stream, &self.owners, &self.name, Some(place), told).await
                }
                Err(fault) => {
                    tracing::debug!(%place, %fault, "no link to another replica");
                    let nobody = matches!(&fault, DialFault::Connect(fault) if fault.is_refused());
                    self.owners.roll().saw(place, if nobody { Seen::Nobody } else { Seen::Silent });
                    End::Broken
                }
            };
            drop(link);
            tried.store(true, Ordering::Relaxed);
            let roll = self.owners.roll();
            if end == End::Ourselves {
                roll.saw(place, Seen::Ourselves);
            }
            if end == End::Ourselves || *roll.leaving().borrow() {
                return std::future::pending().await;
            }
            if end == End::Foreign {
                roll.saw(place, Seen::Silent);
            }
            tracing::debug!(%place, ?end, "a link to another replica ended");
            // One that stood for a while is made anew at once: what is learnt meanwhile the other does not know.
            if begun.elapsed() < AGAIN {
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Of all replicas, ourselves too.
struct Found {
    places: BTreeSet<SocketAddr>,
    /// Whether these are all.
    all: bool,
}

impl Whereabouts {
    /// Where they are; none while that is not known.
    async fn now(&self) -> Option<Found> {
        let (mut found, mut all) = (BTreeSet::new(), true);
        for named in &self.named {
            match tokio::net::lookup_host(named).await {
                Ok(places) => found.extend(places),
                Err(error) => {
                    all = false;
                    tracing::debug!(%named, %error, "replicas are not found");
                }
            }
        }
        let told = self.published.current().replicas().map(<[IpAddr]>::to_vec);
        if told.is_none() && self.named.is_empty() {
            return None;
        }
        found.extend(told.into_iter().flatten().map(|ip| SocketAddr::new(ip, self.port)));
        while found.len() > MAX_REPLICAS {
            found.pop_last();
            all = false;
        }
        Some(Found { places: found, all })
    }
}
