use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::documents::Keys;
use super::settings::{Settings, StartFault};
use crate::control::sealing;
use crate::seal::{Sealer, Secret};

/// With the keys of the file that the settings name, if they name one.
pub(super) fn from_file(
    settings: &Settings,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<Option<Sealer>, StartFault> {
    let Some(path) = &settings.sealing_key_file else { return Ok(None) };
    let (sealer, watch) = sealing::from_file(path.clone(), stop.clone())?;
    tasks.spawn(watch);
    Ok(Some(sealer))
}

/// With the keys of the feed, or a key of this process alone.
pub(super) fn from_feed(
    keys: Option<&Keys>,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<Sealer, StartFault> {
    if let Some(keys) = keys {
        let (sealer, watch) = sealing::from_feed(keys.clone(), stop.clone())?;
        tasks.spawn(watch);
        return Ok(sealer);
    }
    tracing::info!(
        "MCP sessions are sealed with a key of this process alone: they end with it, and no other replica serves them \
         (--sealing-key-file)"
    );
    Ok(Sealer::new(&Secret::random()?, &[])?)
}
