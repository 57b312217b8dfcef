//! Keys that somebody else fetches. Who verifies reads them and may ask for newer ones; who fetches them
//! (`control::jwks`) takes the sources from the [`Keyring`] and fills them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::hosts::{KeyHosts, KeyUrl};
use super::keys::{KeyFault, KeySet};
use crate::config::limits::{JWKS_MAX_AGE, JWKS_REFETCH, JWKS_SOURCES};

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// A JWK set (`jwksUri`).
    Set(KeyUrl),
    /// The issuer's own description names it (OpenID Connect Discovery 1.0, section 4).
    Discovery {
        /// What the description must call the issuer, exactly.
        issuer: String,
        /// Where it is.
        url: KeyUrl,
    },
}

impl KeySource {
    /// By discovery; none where the issuer is no URL.
    pub fn of_issuer(issuer: &str) -> Option<Self> {
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        let url = KeyUrl::parse(&format!("{base}/.well-known/openid-configuration")).ok()?;
        (!issuer.contains('?')).then(|| Self::Discovery { issuer: issuer.to_owned(), url })
    }

    /// What is fetched first.
    pub fn url(&self) -> &KeyUrl {
        match self {
            Self::Set(url) | Self::Discovery { url, .. } => url,
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url().fmt(f)
    }
}

/// How one fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There are keys from now on.
    First,
    /// There are keys anew.
    Renewed,
}

/// The keys of one source: those of the last fetch that came to something, for as long as they count.
pub struct RemoteKeys {
    source: KeySource,
    state: watch::Sender<State>,
    asking: Mutex<Asking>,
    wanted: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<(Instant, Arc<KeySet>)>,
    /// Fetches that ended, however.
    tries: u64,
}

#[derive(Debug)]
struct Asking {
    /// A fetch is due or under way.
    open: bool,
    /// When a token last asked for one.
    last: Option<Instant>,
    /// How long a fetch may take.
    timeout: Duration,
}

impl RemoteKeys {
    fn new(source: KeySource, timeout: Duration) -> Self {
        let asking = Mutex::new(Asking { open: true, last: None, timeout });
        Self { source, state: watch::Sender::default(), asking, wanted: Arc::default() }
    }

    /// Where they are.
    pub fn source(&self) -> &KeySource {
        &self.source
    }

    /// The keys, unless they are older than [`JWKS_MAX_AGE`]: an issuer that takes a key back wants it to be gone.
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        let state = self.state.borrow();
        let (at, keys) = state.last.as_ref()?;
        (at.elapsed() <= JWKS_MAX_AGE).then(|| Arc::clone(keys))
    }

    /// How old the keys are; none where there never were any.
    pub fn age(&self) -> Option<Duration> {
        self.state.borrow().last.as_ref().map(|(at, _)| at.elapsed())
    }

    /// The longest time that a fetch may take: as the rules say that share the source.
    pub fn timeout(&self) -> Duration {
        self.asking().timeout
    }

    /// Lets a fetch take as long as one more rule says.
    fn allow(&self, timeout: Duration) {
        let mut asking = self.asking();
        asking.timeout = asking.timeout.max(timeout);
    }

    /// Asks for a fetch, for a token that the keys do not know, and waits for its end: whether it is worth trying again.
    /// Tokens are anybody's to make up, so that they may ask once in [`JWKS_REFETCH`] and no more.
    pub async fn renewed(&self) -> bool {
        let mut state = self.state.subscribe();
        let timeout = {
            let mut asking = self.asking();
            if !asking.open {
                if asking.last.is_some_and(|last| last.elapsed() < JWKS_REFETCH) {
                    return false;
                }
                (asking.open, asking.last) = (true, Some(Instant::now()));
                self.wanted.notify_one();
            }
            asking.timeout
        };
        tokio::time::timeout(timeout, state.changed()).await.is_ok_and(|changed| changed.is_ok())
    }

    /// For who fetches: a fetch begins.
    pub fn begin(&self) {
        self.asking().open = true;
    }

    /// For who fetches: these are the keys from now on.
    pub fn fetched(&self, keys: KeySet) -> Outcome {
        let mut outcome = Outcome::First;
        self.asking().open = false;
        self.state.send_modify(|state| {
            if state.last.is_some() {
                outcome = Outcome::Renewed;
            }
            state.last = Some((Instant::now(), Arc::new(keys)));
            state.tries += 1;
        });
        outcome
    }

    /// For who fetches: it came to nothing; what there was goes on.
    pub fn failed(&self) {
        self.asking().open = false;
        self.state.send_modify(|state| state.tries += 1);
    }

    /// For who fetches: told when a token asks for newer keys, and when nobody wants any more.
    pub fn wanted(&self) -> Arc<Notify> {
        Arc::clone(&self.wanted)
    }

    fn asking(&self) -> std::sync::MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RemoteKeys {
    fn drop(&mut self) {
        self.wanted.notify_one();
    }
}

impl PartialEq for RemoteKeys {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for RemoteKeys {}

impl std::hash::Hash for RemoteKeys {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("source", &self.source).field("age", &self.age()).finish_non_exhaustive()
    }
}

/// What a namespace has of a source's keys, and what counts towards its share, for as long as some rule of it holds this.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    keys: Arc<RemoteKeys>,
}

impl Lease {
    /// The keys, which other namespaces may have as well.
    pub fn keys(&self) -> &Arc<RemoteKeys> {
        &self.keys
    }
}

/// All sources of keys that documents name: one for each, however many rules name it, and for as long as some rule does.
///
/// Each namespace has a share of [`JWKS_SOURCES`]. There is no limit over all of them, which would be one namespace's way to
/// close the rules of another.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    inner: Arc<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    /// From where keys may be fetched; anywhere where nobody fetches any, as in `check`.
    hosts: Option<KeyHosts>,
    known: Mutex<Known>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Known {
    sources: HashMap<KeySource, Weak<RemoteKeys>>,
    /// By namespace.
    shares: HashMap<Box<str>, HashMap<KeySource, Weak<Lease>>>,
}

impl Known {
    /// Forgets what nobody wants any more.
    fn clear_up(&mut self) {
        self.sources.retain(|_, keys| keys.strong_count() > 0);
        self.shares.retain(|_, share| {
            share.retain(|_, lease| lease.strong_count() > 0);
            !share.is_empty()
        });
    }
}

impl Keyring {
    /// Sources at these hosts and no others.
    pub fn new(hosts: KeyHosts) -> Self {
        Self { inner: Arc::new(Ring { hosts: Some(hosts), ..Ring::default() }) }
    }

    /// From where keys may be fetched.
    pub fn hosts(&self) -> Option<&KeyHosts> {
        self.inner.hosts.as_ref()
    }

    /// The keys of `source`, for rules of `namespace`.
    ///
    /// # Errors
    /// [`KeyFault::Host`] where the host is not one from which keys may be fetched; [`KeyFault::TooManySources`] where the
    /// namespace has its share.
    pub fn keys(&self, namespace: &str, source: KeySource, timeout: Duration) -> Result<Arc<Lease>, KeyFault> {
        if self.hosts().is_some_and(|hosts| !hosts.lists(source.url())) {
            return Err(KeyFault::Host(source.url().authority()));
        }
        let mut known = self.known();
        let named = known.shares.get(namespace).and_then(|share| share.get(&source)).and_then(Weak::upgrade);
        if let Some(lease) = named {
            lease.keys.allow(timeout);
            return Ok(lease);
        }
        known.clear_up();
        let Known { sources, shares } = &mut *known;
        let share = shares.entry(namespace.into()).or_default();
        if share.len() >= JWKS_SOURCES {
            return Err(KeyFault::TooManySources);
        }
        let fetched = sources.get(&source).and_then(Weak::upgrade);
        let is_new = fetched.is_none();
        let keys = fetched.unwrap_or_else(|| Arc::new(RemoteKeys::new(source.clone(), timeout)));
        keys.allow(timeout);
        let lease = Arc::new(Lease { keys: Arc::clone(&keys) });
        share.insert(source.clone(), Arc::downgrade(&lease));
        if is_new {
            sources.insert(source, Arc::downgrade(&keys));
            self.inner.added.notify_one();
        }
        Ok(lease)
    }

    /// All sources that some rule names now.
    pub fn sources(&self) -> Vec<Arc<RemoteKeys>> {
        self.known().sources.values().filter_map(Weak::upgrade).collect()
    }

    /// For who fetches: returns when a source may have come since it was last called.
    pub async fn added(&self) {
        self.inner.added.notified().await;
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::token::tests::{Signer, set_of};

    fn source(text: &str) -> KeySource {
        KeySource::Set(KeyUrl::parse(text).unwrap())
    }

    fn some() -> KeySet {
        KeySet::fetched(set_of(&[Signer::ec(None).jwk()]).as_bytes()).unwrap()
    }

    #[test]
    fn one_source_is_one_set_of_keys_for_as_long_as_somebody_wants_it() {
        let ring = Keyring::default();
        let a = ring.keys("ns", source("https://a/k"), Duration::from_secs(1)).unwrap();
        let again = ring.keys("ns", source("https://A:443/k"), Duration::from_secs(3)).unwrap();
        assert!(Arc::ptr_eq(&a, &again));
        let other = ring.keys("other", source("https://a/k"), Duration::from_secs(2)).unwrap();
        assert!(Arc::ptr_eq(a.keys(), other.keys()), "fetched once for all");
        assert_eq!(a.keys().timeout(), Duration::from_secs(3), "the longest that a rule gives it");
        assert_eq!(ring.sources().len(), 1);
        drop((a, again));
        assert_eq!(ring.sources().len(), 1);
        drop(other);
        assert_eq!(ring.sources().len(), 0);
    }

    #[test]
    fn only_listed_hosts_and_not_without_end() {
        let ring = Keyring::new(KeyHosts::new(vec!["a".parse().unwrap()]));
        let ask = |namespace, path: &str| ring.keys(namespace, source(&format!("https://a/{path}")), Duration::ZERO);
        assert!(ask("ns", "k").is_ok());
        let fault = ring.keys("ns", source("https://b/k"), Duration::ZERO).unwrap_err();
        assert_eq!(fault, KeyFault::Host("b".to_owned()));
        let held: Vec<_> = (0..JWKS_SOURCES).map(|i| ask("ns", &i.to_string())).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(ask("ns", "more").unwrap_err(), KeyFault::TooManySources);
        assert!(ask("ns", "0").is_ok(), "what it has is no more");
        for namespace in ["other", "another"] {
            let theirs: Vec<_> = (0..JWKS_SOURCES).map(|i| ask(namespace, &format!("{namespace}/{i}"))).collect();
            assert!(theirs.iter().all(Result::is_ok), "one namespace's share is nobody else's");
            assert_eq!(ask(namespace, "0").unwrap_err(), KeyFault::TooManySources);
        }
        drop(held);
        assert!(ask("ns", "more").is_ok(), "and what it no longer names is free again");
    }

    #[test]
    fn an_issuer_is_discovered_beside_its_own_name() {
        let rows = [
            ("https://idp", Some("https://idp/.well-known/openid-configuration")),
            ("https://idp/realms/x/", Some("https://idp/realms/x/.well-known/openid-configuration")),
            ("accounts@example.com", None),
            ("idp.example", None),
            ("https://idp/?x=", None),
        ];
        for (issuer, want) in rows {
            let url = KeySource::of_issuer(issuer).map(|source| source.to_string());
            assert_eq!(url.as_deref(), want, "{issuer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_keys_count_until_they_are_too_old() {
        let lease = Keyring::default().keys("ns", source("https://a/k"), Duration::from_secs(5)).unwrap();
        let keys = lease.keys();
        assert!(keys.keys().is_none(), "none came yet");
        assert_eq!(keys.fetched(some()), Outcome::First);
        tokio::time::advance(JWKS_MAX_AGE).await;
        keys.failed();
        assert!(keys.keys().is_some(), "a failed fetch takes nothing away");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(keys.keys().is_none());
        assert_eq!(keys.fetched(some()), Outcome::Renewed);
        assert!(keys.keys().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_ask_for_new_keys_seldom_and_wait_for_them_no_longer_than_a_fetch() {
        let lease = Keyring::default().keys("ns", source("https://a/k"), Duration::from_secs(5)).unwrap();
        let keys = lease.keys();
        let start = Instant::now();
        assert!(!keys.renewed().await, "the first fetch never ends");
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        keys.failed();
        let wanted = keys.wanted();
        let asked = async {
            wanted.notified().await;
            keys.begin();
            keys.fetched(some())
        };
        let (renewed, _) = tokio::join!(keys.renewed(), asked);
        assert!(renewed);
        let start = Instant::now();
        assert!(!keys.renewed().await, "not again at once");
        assert_eq!(start.elapsed(), Duration::ZERO);
        tokio::time::advance(JWKS_REFETCH).await;
        let (renewed, _) = tokio::join!(keys.renewed(), async {
            wanted.notified().await;
            keys.failed();
        });
        assert!(renewed, "it ended, if by nothing");
    }
}
