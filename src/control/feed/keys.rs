use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prost::Message as _;
use tokio::sync::watch;

use super::KEY;
use super::wire::Key;
use crate::control::delta::{Keeper, Push, Rejected};

/// Length of a key, bytes.
pub(super) const LENGTH: usize = 32;

const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
/// Keys of others: an id that none of them sealed costs no more, as it names its key.
const MAX_PARTNERS: usize = 64;

/// A key that the replicas of this waypoint share.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey {
    /// Names it in what was sealed with it.
    pub id: Arc<str>,
    /// The key.
    pub secret: [u8; LENGTH],
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Seal with the current one; open with any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingKeys {
    /// In force.
    pub current: SealingKey,
    /// In force before, if there was one.
    pub previous: Option<SealingKey>,
    /// Those of waypoints that are in front of the same Services: what began there goes on here.
    pub partners: Vec<SealingKey>,
}

/// Publishes the keys of the feed.
#[derive(Debug)]
pub(super) struct KeyKeeper {
    held: BTreeMap<String, SealingKey>,
    publish: watch::Sender<Option<SealingKeys>>,
}

impl KeyKeeper {
    pub(super) fn new(publish: watch::Sender<Option<SealingKeys>>) -> Self {
        Self { held: BTreeMap::new(), publish }
    }
}

#[tonic::async_trait]
impl Keeper for KeyKeeper {
    fn type_url(&self) -> &'static str {
        KEY
    }

    async fn apply(&mut self, push: Push) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        for name in &push.removed {
            self.held.remove(name);
        }
        for resource in push.resources {
            match parse(&resource.body) {
                Ok(key) => drop(self.held.insert(resource.name, key)),
                Err(reason) => rejected.push(Rejected { name: resource.name, reason }),
            }
        }
        if let Some(current) = self.held.get(CURRENT) {
            let partners = self.held.iter().filter(|(name, _)| !matches!(name.as_str(), CURRENT | PREVIOUS));
            let keys = SealingKeys {
                current: current.clone(),
                previous: self.held.get(PREVIOUS).cloned(),
                partners: partners.take(MAX_PARTNERS).map(|(_, key)| key.clone()).collect(),
            };
            self.publish.send_if_modified(|known| {
                let news = known.as_ref() != Some(&keys);
                if news {
                    *known = Some(keys);
                }
                news
            });
        }
        rejected
    }
}

fn parse(body: &[u8]) -> Result<SealingKey, String> {
    let key = Key::decode(body).map_err(|error| format!("is no key: {error}"))?;
    let length = key.secret.len();
    let secret = key.secret.try_into().map_err(|_other| format!("has {length} bytes, not {LENGTH}"))?;
    Ok(SealingKey { id: key.id.into(), secret })
}
