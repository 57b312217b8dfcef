//! Names of external endpoints to addresses that may be dialled.
//!
//! Answers are kept by their TTL within bounds, lookups of one name that run at once are one, and failures are kept for
//! the shortest time. A name is somebody else's to change: an answer that points at this host, its link, a cloud's
//! metadata service or into the mesh is refused, whoever owns the name.

mod hickory;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

pub use hickory::Hickory;

use super::pick::random;
use crate::config::limits::{DNS_MAX_TTL, DNS_MIN_TTL, DNS_NAMES, DNS_TIMEOUT};
use crate::mesh::forbidden;

/// Where names are looked up.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`, a name without trailing dot, and how long they hold.
    fn resolve(&self, host: Arc<str>) -> BoxFuture<'static, Result<Found, DnsFault>>;
}

/// What a resolver found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Every address, in any order.
    pub addresses: Vec<IpAddr>,
    /// Time to live.
    pub ttl: Duration,
}

/// Why a name gave no usable address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DnsFault {
    /// The name does not exist or has no address.
    #[error("the name has no address")]
    NoAddress,
    /// No answer in [`DNS_TIMEOUT`], or an error from the server.
    #[error("no answer from the name server")]
    Unanswered,
    /// Every address in the answer is one that may not be dialled.
    #[error("the name points at this host, its link, a metadata service or into the mesh")]
    Forbidden,
    /// The system's resolver configuration could not be read.
    #[error("no name server is configured")]
    NoResolver,
}

impl DnsFault {
    /// A fixed word for metric labels.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoAddress => "dns_no_address",
            Self::Unanswered => "dns_unanswered",
            Self::Forbidden => "dns_forbidden",
            Self::NoResolver => "dns_no_resolver",
        }
    }
}

/// Which addresses an answer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// For servers outside: nothing of this host, its link or the mesh.
    OutsideMesh,
    /// For endpoints that must prove a mesh identity anyway: nothing of this host or its link.
    Mesh,
}

/// Which answers are refused at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbids {
    /// What [`forbidden`] says, and the mesh.
    ByRange,
    /// Nothing but the mesh: for meshes that live on one host's loopback, as tests and the demo do.
    MeshOnly,
}

/// Whether an address belongs to the mesh now.
pub type InMesh = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

type Lookup = Shared<BoxFuture<'static, Result<Arc<Found>, DnsFault>>>;

/// The cache in front of a resolver; a clone shares it.
#[derive(Clone)]
pub struct Dns {
    inner: Arc<Inner>,
}

struct Inner {
    resolver: Arc<dyn Resolve>,
    forbids: Forbids,
    in_mesh: InMesh,
    names: Mutex<HashMap<Arc<str>, Entry>>,
}

enum Entry {
    Asked(Lookup),
    Kept { result: Result<Arc<Found>, DnsFault>, until: Instant },
}

impl Dns {
    /// Nothing is looked up yet.
    pub fn new(resolver: Arc<dyn Resolve>, forbids: Forbids, in_mesh: InMesh) -> Self {
        Self { inner: Arc::new(Inner { resolver, forbids, in_mesh, names: Mutex::default() }) }
    }

    /// The addresses of `host` that may be dialled, never none, beginning at a random one of each answer.
    ///
    /// # Errors
    /// [`DnsFault`]
    pub async fn lookup(&self, host: &Arc<str>, answers: Answers) -> Result<Vec<IpAddr>, DnsFault> {
        let found = match self.kept_or_asked(host) {
            Entry::Kept { result, .. } => result?,
            Entry::Asked(lookup) => {
                let result = lookup.clone().await;
                self.keep(host, &lookup, &result);
                result?
            }
        };
        let mut usable: Vec<IpAddr> =
            found.addresses.iter().copied().filter(|address| self.may_dial(*address, answers)).collect();
        if usable.is_empty() {
            return Err(if found.addresses.is_empty() { DnsFault::NoAddress } else { DnsFault::Forbidden });
        }
        let turn = usize::try_from(random() % usable.len() as u64).unwrap_or(0);
        usable.rotate_left(turn);
        Ok(usable)
    }

    /// Judged at every use, for the mesh changes while an answer is kept.
    fn may_dial(&self, address: IpAddr, answers: Answers) -> bool {
        let by_range = self.inner.forbids == Forbids::ByRange && forbidden(address);
        let by_mesh = answers == Answers::OutsideMesh && (self.inner.in_mesh)(address.to_canonical());
        !by_range && !by_mesh
    }

    fn kept_or_asked(&self, host: &Arc<str>) -> Entry {
        let mut names = self.inner.names.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match names.get(host) {
            Some(Entry::Kept { result, until }) if now < *until => {
                return Entry::Kept { result: result.clone(), until: *until };
            }
            Some(Entry::Asked(lookup)) => return Entry::Asked(lookup.clone()),
            Some(Entry::Kept { .. }) | None => {}
        }
        if names.len() >= DNS_NAMES {
            names.retain(|_, entry| !matches!(entry, Entry::Kept { until, .. } if *until <= now));
        }
        let lookup = self.ask(host);
        if names.len() < DNS_NAMES {
            names.insert(Arc::clone(host), Entry::Asked(lookup.clone()));
        }
        Entry::Asked(lookup)
    }

    fn ask(&self, host: &Arc<str>) -> Lookup {
        let asked = self.inner.resolver.resolve(Arc::clone(host));
        let bounded = async move {
            let answer = tokio::time::timeout(DNS_TIMEOUT, asked).await;
            answer.unwrap_or(Err(DnsFault::Unanswered)).map(Arc::new)
        };
        bounded.boxed().shared()
    }

    fn keep(&self, host: &Arc<str>, lookup: &Lookup, result: &Result<Arc<Found>, DnsFault>) {
        let ttl = result.as_ref().map_or(DNS_MIN_TTL, |found| found.ttl.clamp(DNS_MIN_TTL, DNS_MAX_TTL));
        let mut names = self.inner.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = names.get_mut(host)
            && matches!(entry, Entry::Asked(asked) if asked.ptr_eq(lookup))
        {
            *entry = Entry::Kept { result: result.clone(), until: Instant::now() + ttl };
        }
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").field("forbids", &self.inner.forbids).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
