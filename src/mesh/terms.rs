//! What holds for the whole mesh, from its meshConfig: the same for every policy.

use super::Settings;
use super::found::Found;
use crate::document::Documents;
use crate::document::mesh_config::{CONFIG_MAP, KEY, MeshConfig};
use crate::policy::Providers;
use crate::wire::path::Normalization;

/// GatewayClasses whose waypoints are this program: its own, and istiod's that runs it in agentgateway's place.
const OUR_CLASSES: &[&str] = &["agent-waypoint", "istio-agentgateway-waypoint"];

/// Terms of the mesh.
#[derive(Debug)]
pub(super) struct Terms {
    /// The mesh's trust domain, then its aliases.
    pub(super) trust_domains: Vec<String>,
    /// How paths of plain HTTP are normalised: strictly where nobody gave the mesh's config.
    pub(super) paths: Normalization,
    /// Who may be asked about calls.
    pub(super) providers: Providers,
    root_namespace: String,
}

impl Terms {
    /// Those of the ConfigMap, or Istio's defaults. One that cannot be read closes everything: nobody knows then whom its
    /// policies mean.
    pub(super) fn of<'a>(documents: &'a Documents, settings: &Settings, found: &mut Found<'a>) -> Self {
        let own = settings.trust_domain.as_str();
        let map = documents
            .config_maps
            .iter()
            .find(|map| (map.meta.namespace.as_str(), map.meta.name.as_str()) == CONFIG_MAP);
        let mut config = MeshConfig::default();
        if let Some(map) = map {
            match map.spec.data.get(KEY).map(|text| MeshConfig::parse(text)) {
                None => found.refuse(&map.origin, "data", "has no key `mesh` with Istio's meshConfig"),
                Some(Err(reason)) => found.refuse(&map.origin, "data.mesh", format!("is no meshConfig: {reason}")),
                Some(Ok(read)) => config = read,
            }
            if let Some(other) = config.trust_domain.as_deref().filter(|other| *other != own) {
                let reason = format!("says trust domain {other}, but this process is of {own}: start it with that one");
                found.warn(&map.origin, "data.mesh", reason);
            }
        }
        let name = &config.path_normalization.normalization;
        let paths = if map.is_some() { Normalization::named(name) } else { Some(Normalization::Strict) };
        if let (None, Some(map)) = (paths, map) {
            let reason = format!(
                "pathNormalization.normalization is {name:?}; write NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES"
            );
            found.refuse(&map.origin, "data.mesh", reason);
        }
        let mut trust_domains = vec![own.to_owned()];
        trust_domains.extend(config.trust_domain_aliases);
        let providers = Providers::read(&config.extension_providers);
        Self { trust_domains, paths: paths.unwrap_or_default(), providers, root_namespace: config.root_namespace }
    }

    /// The namespace whose policies are the whole mesh's.
    pub(super) fn root(&self) -> &str {
        &self.root_namespace
    }

    /// Whether a policy of `namespace` that targets the GatewayClass `name` is about this waypoint.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn class(&self, namespace: &str, name: &str) -> Result<(), String> {
        if namespace != self.root_namespace {
            let root = &self.root_namespace;
            return Err(format!("a GatewayClass is targeted from the root namespace, {root}, only; not in force"));
        }
        if OUR_CLASSES.contains(&name) {
            return Ok(());
        }
        Err(format!("names another class than {}; not in force here", OUR_CLASSES.join(" and ")))
    }
}
