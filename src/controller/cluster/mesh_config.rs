//! Istio's meshConfig: aliases of the trust domain, how paths are normalised. Read by name, so that no right to list the
//! ConfigMaps of other namespaces is needed.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use super::shelf::{Shelf, Standing};
use super::tail::now;
use crate::document::mesh_config::{CONFIG_MAP, KEY};

/// How often it is read.
const LOOK: Duration = Duration::from_secs(10);
/// The same as long as there is none.
const LOOK_FIRST: Duration = Duration::from_secs(1);

/// Keeps the one ConfigMap on the shelf until `stop`. One that is not there is none: waypoints are strict then. One that
/// may not be read is not known: a trust domain without its aliases would be one in which DENY rules pass over callers.
pub(super) async fn look(
    (client, own_namespace): (Client, String),
    shelf: Arc<Shelf<ConfigMap>>,
    stop: CancellationToken,
) {
    let (namespace, name) = CONFIG_MAP;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    loop {
        let read = async { Ok((now(&client, &own_namespace).await?, api.get_opt(name).await?)) };
        match read.await {
            Ok((version, map)) => put(&shelf, map, &version),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                if shelf.refused("forbidden") || shelf.unlisted(Standing::Refused("forbidden".to_owned())) {
                    tracing::error!(
                        namespace,
                        name,
                        "the ConfigMap may not be read: bind the ClusterRole of manifests/ to our ServiceAccount; asked for again, and waypoints get no documents until then"
                    );
                }
            }
            Err(error) => tracing::debug!(%error, namespace, name, "not read; what is known stays"),
        }
        let wait = if shelf.state().0.is_empty() { LOOK_FIRST } else { LOOK };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn put(shelf: &Shelf<ConfigMap>, map: Option<ConfigMap>, now: &str) {
    let (listing, standing) = shelf.state();
    let known = listing.iter().next().and_then(|map| map.resource_version());
    if standing == Standing::Listed && known == map.as_ref().and_then(ConfigMap::resource_version) {
        return;
    }
    shelf.take(Event::Init);
    if let Some(mut map) = map {
        // The rest is others' and can be large.
        map.data.get_or_insert_default().retain(|key, _| key == KEY);
        map.binary_data = None;
        map.managed_fields_mut().clear();
        shelf.take(Event::InitApply(map));
    }
    shelf.reached(now);
    shelf.take(Event::InitDone);
}
