use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::{Settings, StartFault};
use crate::admin::{Condition, Readiness};
use crate::control::assembly::Assembly;
use crate::control::feed::{self, SealingKeys, Tell};
use crate::control::files;
use crate::telemetry::Telemetry;
use crate::tls::Identity;

/// Keys that replicas share, as they come; none without a feed.
pub(super) type Keys = watch::Receiver<Option<SealingKeys>>;

/// Opens the source of documents: files, in force when this returns, or the controller's feed, whose first documents make
/// us ready when they come.
pub(super) fn open(
    settings: &Settings,
    (identity, assembly): (&Identity, &Assembly),
    (readiness, telemetry): (&Readiness, &Telemetry),
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<Option<Keys>, StartFault> {
    let Some(from) = &settings.feed else {
        files::watch(settings.files.clone(), assembly, stop.clone())?;
        if settings.mesh.is_none() || !settings.files.is_empty() {
            readiness.met(Condition::Documents);
        }
        return Ok(None);
    };
    readiness.unmet(Condition::Documents, format!("none from the controller at {} yet", from.address));
    let ready = readiness.clone();
    let first = move || {
        tracing::info!("first documents of the feed are in force");
        ready.met(Condition::Documents);
    };
    let telemetry = telemetry.clone();
    let tell = Tell { first: Some(Box::new(first)), older: Box::new(move || telemetry.metrics().documents_older()) };
    let pod = (from.namespace.as_str(), from.pod.as_str());
    let (address, controller) = (from.address.clone(), from.controller.clone());
    let (client, keys) = feed::client(address, controller, identity.clone(), assembly.clone(), (pod, tell));
    tasks.spawn(client.run(stop.clone()));
    Ok(Some(keys))
}
