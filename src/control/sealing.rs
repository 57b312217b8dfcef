//! Where sealing keys come from: a file, or the controller's feed. They only go to the [`Sealer`].
//!
//! A key that takes another's place opens at once and seals only after [`SEALING_KEY_LEAD`], so that by then every replica
//! has it: what one of them sealed the others would else not know.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::feed::{SealingKey, SealingKeys};
use crate::config::limits::{SEALING_KEY_LEAD, SEALING_KEY_POLL};
use crate::seal::{SealFault, Sealer, Secret};

/// Longest file of keys, bytes.
const MAX_FILE: u64 = 64 << 10;

/// Why a file holds no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileFault {
    /// The file.
    #[error("sealing keys {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A line.
    #[error("sealing keys {}:{line}: not 32 bytes in base64; `openssl rand -base64 32` makes a key", path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// Counted from 1; the one after the last where there is no key at all.
        line: usize,
    },
    /// The cipher.
    #[error(transparent)]
    Seal(#[from] SealFault),
}

/// Keys in the order in which they stand: the first one seals, all of them open.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Keys {
    current: Secret,
    others: Vec<Secret>,
}

impl Keys {
    fn read(path: &Path) -> Result<Self, KeyFileFault> {
        let fault = |error| KeyFileFault::File { path: path.to_owned(), error };
        if fs::metadata(path).map_err(fault)?.len() > MAX_FILE {
            return Err(fault(std::io::ErrorKind::FileTooLarge.into()));
        }
        let text = fs::read_to_string(path).map_err(fault)?;
        let mut keys = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let key = STANDARD.decode(line.trim()).ok().and_then(|key| key.try_into().ok());
            let key = key.ok_or_else(|| KeyFileFault::Key { path: path.to_owned(), line: at + 1 })?;
            keys.push(Secret::new(key));
        }
        let mut keys = keys.into_iter();
        let none = || KeyFileFault::Key { path: path.to_owned(), line: text.lines().count() + 1 };
        Ok(Self { current: keys.next().ok_or_else(none)?, others: keys.collect() })
    }

    fn of(keys: &SealingKeys) -> Self {
        let secret = |key: &SealingKey| Secret::new(key.secret);
        let others = keys.previous.iter().chain(&keys.partners).map(secret).collect();
        Self { current: secret(&keys.current), others }
    }
}

/// Puts keys in force, one set after the other.
#[derive(Debug)]
struct Changing {
    sealer: Sealer,
    sealing: Secret,
    /// The key of this process alone, by which something may have been sealed before there were others.
    own: Option<Secret>,
}

impl Changing {
    async fn put(&mut self, keys: &Keys) -> Result<(), SealFault> {
        let others = |more: &[&Secret]| -> Vec<Secret> {
            more.iter().copied().chain(&keys.others).chain(&self.own).cloned().collect()
        };
        if keys.current != self.sealing && keys.others.contains(&self.sealing) {
            self.sealer.replace(&self.sealing, &others(&[&keys.current]))?;
            sleep(SEALING_KEY_LEAD).await;
        }
        self.sealer.replace(&keys.current, &others(&[]))?;
        self.sealing = keys.current.clone();
        Ok(())
    }
}

/// A sealer with the keys of a file, and what keeps it at that file's keys until `stop`: a file that cannot be read
/// changes nothing.
///
/// # Errors
/// [`KeyFileFault`]: the file as it is now.
pub fn from_file(
    path: PathBuf,
    stop: CancellationToken,
) -> Result<(Sealer, impl Future<Output = ()> + use<>), KeyFileFault> {
    let mut known = Keys::read(&path)?;
    let sealer = Sealer::new(&known.current, &known.others)?;
    let mut changing = Changing { sealer: sealer.clone(), sealing: known.current.clone(), own: None };
    let watch = async move {
        loop {
            sleep(SEALING_KEY_POLL).await;
            match Keys::read(&path) {
                Ok(keys) if keys == known => {}
                Ok(keys) => {
                    tracing::info!(file = %path.display(), keys = 1 + keys.others.len(), "other sealing keys");
                    if let Err(fault) = changing.put(&keys).await {
                        tracing::error!(%fault, "sealing keys are as before");
                    }
                    known = keys;
                }
                Err(fault) => tracing::warn!(%fault, "sealing keys are as before"),
            }
        }
    };
    Ok((sealer, async move { stop.run_until_cancelled(watch).await.unwrap_or_default() }))
}

/// A sealer with the keys that the feed brings, and what keeps it at them until `stop`. Until the first ones come it has a
/// key of its own, which opens what it sealed for as long as this process lives.
///
/// # Errors
/// No randomness for that key.
pub fn from_feed(
    mut keys: watch::Receiver<Option<SealingKeys>>,
    stop: CancellationToken,
) -> Result<(Sealer, impl Future<Output = ()> + use<>), SealFault> {
    let own = Secret::random()?;
    let sealer = Sealer::new(&own, &[])?;
    let mut changing = Changing { sealer: sealer.clone(), sealing: own.clone(), own: Some(own) };
    let watch = async move {
        loop {
            let news = keys.borrow_and_update().as_ref().map(Keys::of);
            if let Some(keys) = news
                && let Err(fault) = changing.put(&keys).await
            {
                tracing::error!(%fault, "sealing keys are as before");
            }
            if keys.changed().await.is_err() {
                return;
            }
        }
    };
    Ok((sealer, async move { stop.run_until_cancelled(watch).await.unwrap_or_default() }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::seal::Purpose;

    fn line(n: u8) -> String {
        STANDARD.encode([n; 32])
    }

    fn alone(n: u8) -> Sealer {
        Sealer::new(&Secret::new([n; 32]), &[]).unwrap()
    }

    fn key(n: u8) -> SealingKey {
        SealingKey { id: n.to_string().into(), secret: [n; 32] }
    }

    fn seals_with(sealer: &Sealer, n: u8) -> bool {
        let sealed = sealer.seal(Purpose::Session, b"", b"x").unwrap();
        alone(n).open(Purpose::Session, b"", &sealed).is_some()
    }

    fn opens(sealer: &Sealer, n: u8) -> bool {
        let sealed = alone(n).seal(Purpose::Session, b"", b"x").unwrap();
        sealer.open(Purpose::Session, b"", &sealed).is_some()
    }

    #[tokio::test]
    async fn a_file_without_keys_is_said_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let told = |text: &str| {
            fs::write(&path, text).unwrap();
            from_file(path.clone(), CancellationToken::new()).err().unwrap().to_string()
        };
        assert!(told("").contains("keys:1: not 32 bytes"));
        assert!(told(&format!("{}\n\nAAAA\n", line(1))).contains("keys:3: not 32 bytes"));
        assert!(told("not base64!").contains("openssl rand -base64 32"));
        let gone = from_file(dir.path().join("gone"), CancellationToken::new()).err().unwrap().to_string();
        assert!(gone.contains("gone"), "{gone}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_key_of_a_file_opens_before_it_seals() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        fs::write(&path, line(1)).unwrap();
        let stop = CancellationToken::new();
        let (sealer, watch) = from_file(path.clone(), stop.clone()).unwrap();
        let watching = tokio::spawn(watch);
        assert!(seals_with(&sealer, 1));
        fs::write(&path, format!("{}\n{}\n", line(2), line(1))).unwrap();
        sleep(SEALING_KEY_POLL + Duration::from_secs(1)).await;
        assert!(seals_with(&sealer, 1) && opens(&sealer, 2) && opens(&sealer, 1));
        sleep(SEALING_KEY_LEAD).await;
        assert!(seals_with(&sealer, 2) && opens(&sealer, 1));
        fs::write(&path, "x").unwrap();
        sleep(2 * SEALING_KEY_POLL).await;
        assert!(seals_with(&sealer, 2), "what cannot be read changes nothing");
        stop.cancel();
        watching.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn keys_of_the_feed_follow_each_other() {
        let (publish, keys) = watch::channel(None);
        let stop = CancellationToken::new();
        let (sealer, watch) = from_feed(keys, stop.clone()).unwrap();
        let early = sealer.seal(Purpose::Session, b"", b"early").unwrap();
        let watching = tokio::spawn(watch);
        publish.send(Some(SealingKeys { current: key(2), previous: Some(key(1)), partners: vec![key(9)] })).unwrap();
        sleep(Duration::from_secs(1)).await;
        assert!(seals_with(&sealer, 2) && opens(&sealer, 1) && opens(&sealer, 9));
        assert!(sealer.open(Purpose::Session, b"", &early).is_some());
        publish.send(Some(SealingKeys { current: key(3), previous: Some(key(2)), partners: vec![key(9)] })).unwrap();
        sleep(Duration::from_secs(1)).await;
        assert!(seals_with(&sealer, 2) && opens(&sealer, 3));
        sleep(SEALING_KEY_LEAD).await;
        assert!(seals_with(&sealer, 3) && opens(&sealer, 2) && opens(&sealer, 9) && !opens(&sealer, 1));
        stop.cancel();
        watching.await.unwrap();
    }
}
