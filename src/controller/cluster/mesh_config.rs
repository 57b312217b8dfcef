//! Istio's meshConfig: aliases of the trust domain, how paths are normalised. Read by name, so that no right to list the
//! ConfigMaps of other namespaces is needed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::ListParams;
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
/// Label of istiod's Service.
const REVISION: &str = "istio.io/rev";

/// Whose meshConfig it is: that of the istiod that waypoints are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshConfigOf {
    namespace: String,
    name: String,
    /// Whether its absence says nothing.
    whichever: bool,
}

impl MeshConfigOf {
    /// By istiod's address, as its Service and its ConfigMap are named: `istiod` has `istio`, and `istiod-canary` of a
    /// revision `istio-canary`. An address of another form is that of the one without a revision.
    pub fn istiod(address: &str) -> Self {
        let host = address.rsplit_once(':').map_or(address, |(host, _port)| host);
        let mut labels = host.split('.');
        let Some(revision) = labels.next().and_then(|service| service.strip_prefix("istiod")) else {
            return Self { whichever: false, ..Self::default() };
        };
        let namespace = labels.next().unwrap_or(CONFIG_MAP.0).to_owned();
        Self { namespace, name: format!("{}{revision}", CONFIG_MAP.1), whichever: false }
    }

    /// Why it is not known what the mesh's is, where there is no such ConfigMap; none where there is nothing to know.
    async fn missing(&self, client: &Client) -> kube::Result<Option<String>> {
        let Self { namespace, name, whichever } = self;
        if *whichever {
            return Ok(None);
        }
        if name != CONFIG_MAP.1 {
            return Ok(Some(format!(
                "there is no ConfigMap {namespace}/{name}, which the istiod that is named would have"
            )));
        }
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        let services = services.list(&ListParams::default().labels("app=istiod")).await?.items;
        let of = |service: &Service| service.labels().get(REVISION).filter(|one| *one != "default").cloned();
        let revisions: BTreeSet<String> = services.iter().filter_map(of).collect();
        let all = revisions.into_iter().collect::<Vec<_>>().join(", ");
        let why = || {
            format!(
                "there is no ConfigMap {namespace}/{name}, but istiod of other revisions ({all}), of which none is named"
            )
        };
        Ok((!all.is_empty()).then(why))
    }
}

impl Default for MeshConfigOf {
    /// That of an istiod without a revision, if there is one.
    fn default() -> Self {
        let (namespace, name) = CONFIG_MAP;
        Self { namespace: namespace.to_owned(), name: name.to_owned(), whichever: true }
    }
}

/// Keeps the one ConfigMap on the shelf until `stop`, by the name of [`CONFIG_MAP`] whatever its own is. Where there is none,
/// and none could be meant, waypoints are strict. One that may not be read, or cannot be told from others, is not known: a
/// trust domain without its aliases would be one in which DENY rules pass over callers.
pub(super) async fn look(
    (client, own_namespace): (Client, String),
    of: MeshConfigOf,
    shelf: Arc<Shelf<ConfigMap>>,
    stop: CancellationToken,
) {
    let MeshConfigOf { namespace, name, .. } = &of;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    loop {
        let read = async {
            let version = now(&client, &own_namespace).await?;
            match api.get_opt(name).await? {
                None => of.missing(&client).await.map(|why| why.map_or(Ok((None, version)), Err)),
                map => Ok(Ok((map, version))),
            }
        };
        match read.await {
            Ok(Ok((map, version))) => put(&shelf, map, &version),
            Ok(Err(why)) => {
                if is_news(&shelf, &why) {
                    tracing::error!(
                        "{why}: name istiod as istiod-REVISION.NAMESPACE.svc:15012 (--istiod-address, `istiod` of the chart); waypoints get no documents until then"
                    );
                }
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                if is_news(&shelf, "forbidden") {
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

fn is_news(shelf: &Shelf<ConfigMap>, why: &str) -> bool {
    shelf.refused(why) || shelf.unlisted(Standing::Refused(why.to_owned()))
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
        let (namespace, name) = CONFIG_MAP;
        (map.metadata.namespace, map.metadata.name) = (Some(namespace.to_owned()), Some(name.to_owned()));
        shelf.take(Event::InitApply(map));
    }
    shelf.reached(now);
    shelf.take(Event::InitDone);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revisions_istiod_has_a_config_of_its_own() {
        for (address, namespace, name) in [
            ("istiod.istio-system.svc:15012", "istio-system", "istio"),
            ("istiod-1-30.istio-system.svc:15012", "istio-system", "istio-1-30"),
            ("istiod-canary.control.svc.cluster.local:15012", "control", "istio-canary"),
            ("istiod:15012", "istio-system", "istio"),
            ("discovery.example.com:15012", "istio-system", "istio"),
            ("10.0.0.1:15012", "istio-system", "istio"),
        ] {
            let of = MeshConfigOf::istiod(address);
            assert_eq!((of.namespace.as_str(), of.name.as_str(), of.whichever), (namespace, name, false), "{address}");
        }
    }
}
