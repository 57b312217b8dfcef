use std::collections::BTreeMap;

use gateway_api::apis::standard::gateways::Gateway;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use super::super::cluster::{View, key};
use super::{AllParams, config_map, is_ours};

/// The key of the ConfigMap that `infrastructure.parametersRef` names.
const KEY: &str = "waypoint.yaml";

/// What may be set for the pods of one Gateway. Chosen so that who may write a Gateway and a ConfigMap gets no pod that
/// they could not have: no image, no volume, no privilege, no host.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Params {
    /// Pods, 2 where absent.
    pub replicas: Option<u16>,
    /// `resources` of the container.
    pub resources: Option<Value>,
    /// Environment of the container, by name; ours wins.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `nodeSelector`
    pub node_selector: Option<BTreeMap<String, String>>,
    /// `tolerations`
    pub tolerations: Option<Vec<Value>>,
    /// `affinity`
    pub affinity: Option<Value>,
    /// `topologySpreadConstraints`, instead of ours.
    pub topology_spread_constraints: Option<Vec<Value>>,
    /// `priorityClassName`
    pub priority_class_name: Option<String>,
    /// `imagePullSecrets`
    pub image_pull_secrets: Option<Vec<Value>>,
}

/// Why parameters cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsFault {
    /// Of another kind.
    #[error("infrastructure.parametersRef must name a ConfigMap, not {0}")]
    Kind(String),
    /// Not there.
    #[error("infrastructure.parametersRef names ConfigMap {0}, which does not exist")]
    Missing(String),
    /// Without our key.
    #[error("ConfigMap {0} has no key {KEY}")]
    Key(String),
    /// Not what may be set.
    #[error("ConfigMap {0}, {KEY}: {1}")]
    Shape(String, String),
    /// The API server did not say.
    #[error("ConfigMap {0} cannot be read: {1}")]
    Unread(String, String),
}

impl Params {
    /// Parses the text under [`KEY`].
    pub(super) fn parse(map: &str, text: &str) -> Result<Self, ParamsFault> {
        let params: Self =
            serde_saphyr::from_str(text).map_err(|error| ParamsFault::Shape(map.to_owned(), error.to_string()))?;
        if params.replicas == Some(0) {
            let reason = "replicas must be at least 1: without a pod every call is refused";
            return Err(ParamsFault::Shape(map.to_owned(), reason.to_owned()));
        }
        Ok(params)
    }
}

/// The parameters of every Gateway of ours that names some.
pub(super) async fn fetch(view: &View, client: &Client) -> AllParams {
    let mut all = AllParams::new();
    for gateway in view.gateways.iter().filter(|gateway| is_ours(view, gateway)) {
        if let Some(params) = of(gateway, client).await {
            let (namespace, name) = key(&**gateway);
            all.insert((namespace.to_owned(), name.to_owned()), params);
        }
    }
    all
}

async fn of(gateway: &Gateway, client: &Client) -> Option<Result<Params, ParamsFault>> {
    let named = gateway.spec.infrastructure.as_ref()?.parameters_ref.as_ref()?;
    if named.kind != "ConfigMap" || !matches!(named.group.as_str(), "" | "core") {
        return Some(Err(ParamsFault::Kind(named.kind.clone())));
    }
    let (namespace, _) = key(gateway);
    let map = match config_map(client, namespace, &named.name).await {
        Ok(Some(map)) => map,
        Ok(None) => return Some(Err(ParamsFault::Missing(named.name.clone()))),
        Err(error) => return Some(Err(ParamsFault::Unread(named.name.clone(), error.to_string()))),
    };
    let text = map.data.as_ref().and_then(|data| data.get(KEY));
    Some(match text {
        Some(text) => Params::parse(&named.name, text),
        None => Err(ParamsFault::Key(named.name.clone())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_gives_no_privilege_may_be_set() {
        let params = Params::parse("m", "replicas: 3\nenv: {RUST_LOG: debug}\nresources: {limits: {cpu: 1}}").unwrap();
        assert_eq!((params.replicas, params.env["RUST_LOG"].as_str()), (Some(3), "debug"));
        for bad in ["replicas: 0", "hostNetwork: true", "image: evil", "volumes: []", "env: {A: {valueFrom: {}}}", "[]"]
        {
            assert!(Params::parse("m", bad).is_err(), "{bad}");
        }
        let fault = Params::parse("m", "hostNetwork: true").unwrap_err().to_string();
        assert!(fault.contains("hostNetwork") && fault.starts_with("ConfigMap m"), "{fault}");
    }
}
