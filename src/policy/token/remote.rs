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

/// All sources of keys that documents name: one for each, however many rules name it, and for as long as some rule does.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    inner: Arc<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    /// From where keys may be fetched; anywhere where nobody fetches any, as in `check`.
    hosts: Option<KeyHosts>,
    known: Mutex<HashMap<KeySource, Weak<RemoteKeys>>>,
    added: Notify,
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

    /// The keys of `source`.
    ///
    /// # Errors
    /// [`KeyFault::Host`] where the host is not one from which keys may be fetched; [`KeyFault::TooManySources`].
    pub fn keys(&self, source: KeySource, timeout: Duration) -> Result<Arc<RemoteKeys>, KeyFault> {
        if self.hosts().is_some_and(|hosts| !hosts.lists(source.url())) {
            return Err(KeyFault::Host(source.url().authority()));
        }
        let mut known = self.known();
        if let Some(keys) = known.get(&source).and_then(Weak::upgrade) {
            let mut asking = keys.asking();
            asking.timeout = asking.timeout.max(timeout);
            drop(asking);
            return Ok(keys);
        }
        known.retain(|_, keys| keys.strong_count() > 0);
        if known.len() >= JWKS_SOURCES {
            return Err(KeyFault::TooManySources);
        }
        let keys = Arc::new(RemoteKeys::new(source.clone(), timeout));
        known.insert(source, Arc::downgrade(&keys));
        drop(known);
        self.inner.added.notify_one();
        Ok(keys)
    }

    /// All sources that some rule names now.
    pub fn sources(&self) -> Vec<Arc<RemoteKeys>> {
        self.known().values().filter_map(Weak::upgrade).collect()
    }

    /// For who fetches: returns when a source may have come since it was last called.
    pub async fn added(&self) {
        self.inner.added.notified().await;
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<KeySource, Weak<RemoteKeys>>> {
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
        let a = ring.keys(source("https://a/k"), Duration::from_secs(1)).unwrap();
        let again = ring.keys(source("https://A:443/k"), Duration::from_secs(3)).unwrap();
        assert!(Arc::ptr_eq(&a, &again));
        assert_eq!(a.timeout(), Duration::from_secs(3), "the longest that a rule gives it");
        assert_eq!(ring.sources().len(), 1);
        drop((a, again));
        assert_eq!(ring.sources().len(), 0);
    }

    #[test]
    fn only_listed_hosts_and_not_without_end() {
        let ring = Keyring::new(KeyHosts::new(vec!["a".parse().unwrap()]));
        assert!(ring.keys(source("https://a/k"), Duration::ZERO).is_ok());
        let fault = ring.keys(source("https://b/k"), Duration::ZERO).unwrap_err();
        assert_eq!(fault, KeyFault::Host("b".to_owned()));
        let held: Vec<_> =
            (0..JWKS_SOURCES).map(|i| ring.keys(source(&format!("https://a/{i}")), Duration::ZERO)).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(ring.keys(source("https://a/more"), Duration::ZERO).unwrap_err(), KeyFault::TooManySources);
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
        let keys = Keyring::default().keys(source("https://a/k"), Duration::from_secs(5)).unwrap();
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
        let keys = Keyring::default().keys(source("https://a/k"), Duration::from_secs(5)).unwrap();
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
