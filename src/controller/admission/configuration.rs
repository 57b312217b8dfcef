//! `caBundle` in the webhook's configuration, which whoever installs us makes without it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::super::apply::FIELD_MANAGER;

/// Name of the ValidatingWebhookConfiguration.
pub(super) const NAME: &str = "agent-waypoint";

/// Puts our CAs there, where they are not.
pub(super) async fn keep(client: &Client, namespace: &str, roots: &str) {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let live = match api.get_opt(NAME).await {
        Ok(Some(live)) => live,
        // Installed without it: that is somebody's choice.
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(%error, name = NAME, "the webhook's configuration cannot be read");
            return;
        }
    };
    let Some(patch) = patch(&live, namespace, roots) else { return };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch(NAME, &params, &Patch::Apply(&patch)).await {
        Ok(_) => tracing::info!(name = NAME, "caBundle of the admission webhook set"),
        Err(error) => tracing::warn!(%error, name = NAME, "caBundle of the admission webhook not set"),
    }
}

/// What is to be applied; `None` where nothing is.
pub(super) fn patch(live: &ValidatingWebhookConfiguration, namespace: &str, roots: &str) -> Option<Value> {
    let ours =
        live.webhooks.iter().flatten().filter(|webhook| {
            webhook.client_config.service.as_ref().is_some_and(|service| service.namespace == namespace)
        });
    let stale = |webhook: &&k8s_openapi::api::admissionregistration::v1::ValidatingWebhook| {
        webhook.client_config.ca_bundle.as_ref().is_none_or(|bundle| bundle.0 != roots.as_bytes())
    };
    let ours: Vec<_> = ours.collect();
    if !ours.iter().any(stale) {
        return None;
    }
    let bundle = STANDARD.encode(roots);
    let webhooks: Vec<Value> = ours
        .iter()
        .map(|webhook| {
            json!({
                "name": webhook.name,
                // Required of each entry, and as they are.
                "sideEffects": webhook.side_effects,
                "admissionReviewVersions": webhook.admission_review_versions,
                "clientConfig": {"caBundle": bundle},
            })
        })
        .collect();
    Some(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": webhooks,
    }))
}
