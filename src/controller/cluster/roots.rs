//! Certificates of authorities that BackendTLSPolicies name. Read by name, so that no right to list the ConfigMaps of other
//! namespaces is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::DynamicObject;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shelf::{Shelf, Standing};
use super::tail::now;
use super::{Listing, key};

/// The key that the Gateway API names.
const KEY: &str = "ca.crt";
/// How often it is looked whether policies name others.
const LOOK: Duration = Duration::from_secs(1);
/// The same while it is not known yet which policies there are: waypoints are told nothing before.
const FIRST: Duration = Duration::from_millis(50);
/// How often they are read.
const READ: Duration = Duration::from_secs(10);
/// So many are read; those of further policies are as if they were not there, which closes what the policies name.
const MOST: usize = 1_024;

/// Keeps the ConfigMaps that policies name.
pub(super) struct Roots {
    pub(super) own_namespace: String,
    pub(super) policies: Arc<Shelf<DynamicObject>>,
    pub(super) shelf: Arc<Shelf<ConfigMap>>,
}

/// Namespace and name.
type Named = BTreeSet<(String, String)>;

impl Roots {
    /// Until `stop`. One that cannot be read stays as it was known; one that is not there is none.
    pub(super) async fn look(self, client: Client, stop: CancellationToken) {
        let mut last: Option<(Named, Instant)> = None;
        loop {
            let (policies, standing) = self.policies.state();
            let is_known = last.is_some() || standing.is_known();
            let named = named(&policies);
            let is_old = || last.as_ref().is_none_or(|(known, at)| *known != named || at.elapsed() >= READ);
            if is_known && is_old() {
                if named.len() > MOST {
                    tracing::error!(named = named.len(), MOST, "BackendTLSPolicies name more ConfigMaps than are read");
                }
                match self.read(&client, &named).await {
                    Ok(()) => last = Some((named, Instant::now())),
                    Err(error) => tracing::warn!(%error, "ConfigMaps are not read; what is known of them stays"),
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(if is_known { LOOK } else { FIRST }) => {}
            }
        }
    }

    async fn read(&self, client: &Client, named: &Named) -> kube::Result<()> {
        let now = now(client, &self.own_namespace).await?;
        let (known, standing) = self.shelf.state();
        let mut maps = Vec::new();
        for (namespace, name) in chosen(named) {
            match Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await {
                Ok(map) => maps.extend(map.map(lean)),
                Err(error) => {
                    tracing::warn!(%error, namespace, name, "the ConfigMap of a BackendTLSPolicy is not read; what is known of it stays");
                    maps.extend(known.get(namespace, name).map(|map| ConfigMap::clone(map)));
                }
            }
        }
        let version = |map: &ConfigMap| (map.uid(), map.resource_version());
        let versions: Vec<_> = maps.iter().map(version).collect();
        let before: Vec<_> = known.iter().map(|map| version(map)).collect();
        if standing == Standing::Listed && versions == before {
            return Ok(());
        }
        self.shelf.take(Event::Init);
        for map in maps {
            self.shelf.take(Event::InitApply(map));
        }
        self.shelf.reached(&now);
        self.shelf.take(Event::InitDone);
        Ok(())
    }
}

/// The rest is others' and can be large.
fn lean(mut map: ConfigMap) -> ConfigMap {
    map.data.get_or_insert_default().retain(|key, _| key == KEY);
    map.binary_data = None;
    map.managed_fields_mut().clear();
    map
}

/// The ConfigMaps that policies name.
fn named(policies: &Listing<DynamicObject>) -> Named {
    policies
        .iter()
        .flat_map(|policy| of_policy(policy))
        .map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
        .collect()
}

/// Those that are read. Where there are too many, one namespace's leave room for others'.
fn chosen(named: &Named) -> BTreeSet<&(String, String)> {
    let mut of: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ranked = Vec::with_capacity(named.len());
    for one in named {
        let rank = of.entry(&one.0).or_default();
        *rank += 1;
        ranked.push((*rank, one));
    }
    ranked.sort_unstable();
    ranked.into_iter().take(MOST).map(|(_, one)| one).collect()
}

/// Namespace and name of those that one policy names.
pub(super) fn of_policy(policy: &DynamicObject) -> impl Iterator<Item = (&str, &str)> {
    let refs = policy.data.pointer("/spec/validation/caCertificateRefs").and_then(Value::as_array);
    let maps = refs.into_iter().flatten().filter(|one| one.get("kind").and_then(Value::as_str) == Some("ConfigMap"));
    maps.filter_map(|one| Some((key(policy).0, one.get("name")?.as_str()?)))
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::super::super::fake::{Server, eventually};
    use super::super::DocumentKind;
    use super::*;

    fn policy(map: &str) -> DynamicObject {
        let mut policy = DynamicObject::new("tls", &DocumentKind::BackendTlsPolicy.resource()).within("tools");
        let refs = serde_json::json!([{"kind": "ConfigMap", "group": "", "name": map}, {"kind": "Secret", "group": "", "name": "no"}]);
        policy.data = serde_json::json!({"spec": {"validation": {"caCertificateRefs": refs}}});
        policy
    }

    #[test]
    fn one_namespaces_names_leave_room_for_others() {
        let mut named: Named = (0..2 * MOST).map(|n| ("a".to_owned(), format!("n{n}"))).collect();
        let other = ("tools".to_owned(), "roots".to_owned());
        named.insert(other.clone());
        let chosen = chosen(&named);
        assert!(chosen.len() == MOST && chosen.contains(&other));
    }

    #[tokio::test(start_paused = true)]
    async fn what_policies_name_is_read_and_nothing_else_of_it() {
        let server = Server::start();
        for name in ["roots", "other"] {
            let meta = serde_json::json!({"namespace": "tools", "name": name});
            server
                .put("configmaps", serde_json::json!({"metadata": meta, "data": {"ca.crt": "PEM", "else": "secret"}}));
        }
        let changed = Arc::new(Notify::new());
        let (policies, shelf) = (Arc::new(Shelf::new(Arc::clone(&changed))), Arc::new(Shelf::new(changed)));
        let stop = CancellationToken::new();
        let (own_namespace, read) = ("system".to_owned(), Arc::clone(&shelf));
        let roots = Roots { own_namespace, policies: Arc::clone(&policies), shelf: read };
        let looking = tokio::spawn(roots.look(server.client(), stop.clone()));
        let names = |wanted: &[&str]| {
            let listing = shelf.state().0;
            assert!(listing.iter().all(|map| map.data.as_ref().unwrap().keys().eq([KEY])));
            listing.iter().map(|map| key(&**map).1.to_owned()).eq(wanted.iter().map(ToString::to_string))
        };
        tokio::time::sleep(LOOK).await;
        assert!(!shelf.state().1.is_known(), "which policies there are is not known, nor what they name");
        policies.take(Event::Init);
        policies.take(Event::InitDone);
        policies.take(Event::Apply(policy("roots")));
        eventually(|| names(&["roots"])).await;
        policies.take(Event::Apply(policy("other")));
        eventually(|| names(&["other"])).await;
        policies.take(Event::Apply(policy("missing")));
        eventually(|| names(&[])).await;
        stop.cancel();
        looking.await.unwrap();
    }
}
