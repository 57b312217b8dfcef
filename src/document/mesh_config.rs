//! What a waypoint needs of Istio's meshConfig, as istiod keeps it: YAML under `mesh` in the ConfigMap `istio` of
//! `istio-system`. Its other fields are other programs' and are passed over.

use serde::Deserialize;

use super::extension_provider::ExtensionProvider;

/// Namespace and name of the ConfigMap.
pub const CONFIG_MAP: (&str, &str) = ("istio-system", "istio");
/// Its key.
pub const KEY: &str = "mesh";

/// `meshConfig`: istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Where policies for the whole mesh stand.
    pub root_namespace: String,
    /// The mesh's own; the process knows its own by its flags.
    pub trust_domain: Option<String>,
    /// Other trust domains that principals of the mesh stand for.
    pub trust_domain_aliases: Vec<String>,
    /// How paths are normalised.
    pub path_normalization: PathNormalization,
    /// Who may be asked about calls, among others.
    pub extension_providers: Vec<ExtensionProvider>,
}

/// `pathNormalization`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct PathNormalization {
    /// `NONE`, `BASE`, `MERGE_SLASHES`, `DECODE_AND_MERGE_SLASHES`; `DEFAULT` is `BASE`.
    pub normalization: String,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            root_namespace: CONFIG_MAP.0.to_owned(),
            trust_domain: None,
            trust_domain_aliases: Vec::new(),
            path_normalization: PathNormalization::default(),
            extension_providers: Vec::new(),
        }
    }
}

impl MeshConfig {
    /// Reads the text under `mesh`.
    ///
    /// # Errors
    /// What does not fit, in words; line and column are those of the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_what_is_passed_over() {
        let text = "accessLogFile: /dev/stdout\ndefaultConfig: {discoveryAddress: 'istiod:15012'}\n\
                    trustDomain: new\ntrustDomainAliases: [old, older]\nrootNamespace: mesh-root";
        let read = MeshConfig::parse(text).unwrap();
        assert_eq!((read.trust_domain.as_deref(), read.root_namespace.as_str()), (Some("new"), "mesh-root"));
        assert_eq!(read.trust_domain_aliases, ["old", "older"]);
        assert_eq!(MeshConfig::parse(" ").unwrap(), MeshConfig::default());
        assert_eq!(MeshConfig::parse("{}").unwrap().root_namespace, "istio-system");
        assert!(MeshConfig::parse("trustDomainAliases: old").is_err());
        assert!(MeshConfig::parse("- a").is_err());
    }
}
