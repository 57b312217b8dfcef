//! Sealing keys: secrets that the replicas of one waypoint share, so that what one of them sealed another can open.
//!
//! One Secret in the controller's namespace holds two master keys, current and previous. What a waypoint gets is derived
//! from them for its identity: no waypoint can open what another sealed, but that which is in front of a Service together with
//! it, as its canary, in the same namespace. The leader rotates; every replica reads.

use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::feed::Resource;
use super::lead::Leading;
use crate::id::WorkloadId;

/// Name of the Secret, in the controller's namespace.
pub const SECRET: &str = "agent-waypoint-sealing-keys";
/// Age at which the current key becomes the previous one: what was sealed opens for one to two of these.
const ROTATION: time::Duration = time::Duration::hours(24);
/// How often the Secret is read.
const LOOK: Duration = Duration::from_secs(15);
const LENGTH: usize = 32;

/// The master keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    current: Master,
    previous: Master,
}

#[derive(Clone, PartialEq, Eq)]
struct Master {
    id: String,
    secret: Vec<u8>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("current", &self.current.id).field("previous", &self.previous.id).finish()
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysFault {
    #[error("{0}")]
    Api(#[from] kube::Error),
    #[error("it does not hold what it should; delete it, and a new one is made (sessions of waypoints begin anew)")]
    Shape,
    #[error("the system has no randomness")]
    Random,
}

impl Keys {
    /// Two fresh keys.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(super) fn fresh() -> Result<Self, KeysFault> {
        Ok(Self { current: Master::fresh()?, previous: Master::fresh()? })
    }

    /// The keys of one waypoint.
    pub fn of(&self, id: &WorkloadId) -> [Resource; 2] {
        self.named(id, "")
    }

    /// The keys of a waypoint that another one is to open with, and never to seal.
    pub fn of_partner(&self, id: &WorkloadId) -> [Resource; 2] {
        self.named(id, &format!("{}/", id.uri()))
    }

    fn named(&self, id: &WorkloadId, before: &str) -> [Resource; 2] {
        [("current", &self.current), ("previous", &self.previous)].map(|(name, master)| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &master.secret);
            let secret = hmac::sign(&key, id.uri().as_bytes());
            Resource::key(&format!("{before}{name}"), &master.id, secret.as_ref())
        })
    }

    pub(super) fn rotated(self) -> Result<Self, KeysFault> {
        Ok(Self { current: Master::fresh()?, previous: self.current })
    }

    fn parse(secret: &Secret) -> Option<(Self, OffsetDateTime)> {
        let text = |key: &str| {
            let data = secret.data.as_ref()?.get(key)?;
            std::str::from_utf8(&data.0).ok()
        };
        let since = OffsetDateTime::parse(text("rotated")?, &Rfc3339).ok()?;
        let keys = Self { current: Master::parse(text("current")?)?, previous: Master::parse(text("previous")?)? };
        Some((keys, since))
    }

    fn write(&self, namespace: &str, version: Option<&str>) -> Result<Secret, KeysFault> {
        let now = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|_never| KeysFault::Shape)?;
        let data = |text: &str| STANDARD.encode(text);
        let secret = json!({
            "metadata": {"name": SECRET, "namespace": namespace, "resourceVersion": version},
            "type": "agent-waypoint.dev/sealing-keys",
            "data": {
                "current": data(&self.current.text()),
                "previous": data(&self.previous.text()),
                "rotated": data(&now),
            },
        });
        serde_json::from_value(secret).map_err(|_never| KeysFault::Shape)
    }
}

impl Master {
    fn fresh() -> Result<Self, KeysFault> {
        let (mut id, mut secret) = ([0_u8; 6], vec![0_u8; LENGTH]);
        rand::fill(&mut id).and_then(|()| rand::fill(&mut secret)).map_err(|_unspecified| KeysFault::Random)?;
        Ok(Self { id: STANDARD.encode(id).replace(['+', '/'], "x"), secret })
    }

    /// `ID:BASE64`
    fn text(&self) -> String {
        format!("{}:{}", self.id, STANDARD.encode(&self.secret))
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once(':')?;
        let secret = STANDARD.decode(secret).ok().filter(|secret| secret.len() == LENGTH)?;
        Some(Self { id: id.to_owned(), secret })
    }
}

/// Publishes the keys, and rotates them where this replica leads, until `stop`.
pub async fn keep(
    client: Client,
    namespace: String,
    leading: Leading,
    publish: watch::Sender<Option<Keys>>,
    stop: CancellationToken,
) {
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    loop {
        match look(&secrets, &namespace, &leading).await {
            Ok(keys) => {
                publish.send_if_modified(|known| {
                    let news = keys.is_some() && *known != keys;
                    if news {
                        known.clone_from(&keys);
                    }
                    news
                });
            }
            Err(fault) => tracing::warn!(secret = SECRET, namespace, %fault, "no sealing keys; looked again"),
        }
        let wait = if publish.borrow().is_some() { LOOK } else { Duration::from_secs(1) };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The keys as they are in force; made or rotated first where that is due and ours to do.
async fn look(secrets: &Api<Secret>, namespace: &str, leading: &Leading) -> Result<Option<Keys>, KeysFault> {
    let Some(secret) = secrets.get_opt(SECRET).await? else {
        if !leading.is_leading() {
            return Ok(None);
        }
        let keys = Keys::fresh()?;
        secrets.create(&PostParams::default(), &keys.write(namespace, None)?).await?;
        tracing::info!(secret = SECRET, namespace, "sealing keys made");
        return Ok(Some(keys));
    };
    let (keys, since) = Keys::parse(&secret).ok_or(KeysFault::Shape)?;
    if !leading.is_leading() || OffsetDateTime::now_utc() - since < ROTATION {
        return Ok(Some(keys));
    }
    let keys = keys.rotated()?;
    let next = keys.write(namespace, secret.metadata.resource_version.as_deref())?;
    secrets.replace(SECRET, &PostParams::default(), &next).await?;
    tracing::info!(secret = SECRET, namespace, ?keys, "sealing keys rotated");
    Ok(Some(keys))
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;

    #[tokio::test]
    async fn the_leader_makes_and_rotates_and_others_read() {
        let server = fake::Server::start();
        let secrets = Api::namespaced(server.client(), "system");
        let (_candidate, standby) = super::super::lead::Candidate::new(&server.client(), "system", "x");
        assert_eq!(look(&secrets, "system", &standby).await.unwrap(), None);
        let first = look(&secrets, "system", &Leading::always()).await.unwrap().unwrap();
        assert_eq!(look(&secrets, "system", &standby).await.unwrap().as_ref(), Some(&first));
        assert_eq!(look(&secrets, "system", &Leading::always()).await.unwrap().as_ref(), Some(&first));
        let mut old = server.get("secrets", &format!("system/{SECRET}")).unwrap();
        old["data"]["rotated"] = STANDARD.encode("2026-01-01T00:00:00Z").into();
        server.put("secrets", old);
        assert_eq!(look(&secrets, "system", &standby).await.unwrap().as_ref(), Some(&first), "not theirs to rotate");
        let second = look(&secrets, "system", &Leading::always()).await.unwrap().unwrap();
        assert!(second.previous == first.current && second.current != first.current);
        assert_eq!(look(&secrets, "system", &standby).await.unwrap(), Some(second));
        let mut bad = server.get("secrets", &format!("system/{SECRET}")).unwrap();
        bad["data"]["current"] = STANDARD.encode("x:AA==").into();
        server.put("secrets", bad);
        assert!(matches!(look(&secrets, "system", &Leading::always()).await, Err(KeysFault::Shape)));
    }

    #[test]
    fn each_waypoint_has_keys_of_its_own() {
        let keys = Keys::fresh().unwrap();
        let of = |uri: &str| keys.of(&WorkloadId::parse(uri).unwrap());
        let (a, b) = (of("spiffe://td/ns/a/sa/w"), of("spiffe://td/ns/b/sa/w"));
        assert_eq!(a, of("spiffe://td/ns/a/sa/w"));
        assert_ne!(a, b);
        assert_ne!(a[0].version, a[1].version);
        let told = format!("{keys:?}");
        assert!(told.contains(&keys.current.id) && !told.contains(&STANDARD.encode(&keys.current.secret)), "{told}");
    }
}
