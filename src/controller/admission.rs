//! Admission of AgentPolicies: `kubectl apply` is told what `check` would say, before anything is stored.
//!
//! The webhook's failure policy is Ignore: with us away, a wrong policy is stored, and the data plane closes what it
//! selects. Nothing is ever changed by it. Its certificate is of a CA of its own, made by the leader, kept in one Secret
//! and put into the webhook's configuration; each renewal keeps the CA before it believed for as long as it lasts.

mod certificate;
mod configuration;
mod review;
mod server;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use kube::Client;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::lead::Leading;
use certificate::Certificates;

/// How often Secret and configuration are looked at.
const LOOK: Duration = Duration::from_secs(15);
/// The same as long as there is no certificate.
const LOOK_FIRST: Duration = Duration::from_secs(1);

/// The certificate in force. None yet: connections are closed.
type Serving = Arc<ArcSwapOption<ServerConfig>>;

/// Serves on `listener`, and keeps certificate and configuration, until `stop`.
pub(super) async fn keep(
    client: Client,
    namespace: String,
    leading: Leading,
    listener: TcpListener,
    (tasks, stop): (TaskTracker, CancellationToken),
) {
    let serving: Serving = Arc::new(ArcSwapOption::empty());
    tasks.spawn(server::serve(listener, Arc::clone(&serving), (tasks.clone(), stop.clone())));
    let certificates = Certificates::new(client.clone(), namespace.clone());
    let mut known = None;
    loop {
        match certificates.look(&leading).await {
            Ok(Some(pair)) => {
                if known.as_ref() != Some(&pair) {
                    match pair.server_config() {
                        Ok(config) => serving.store(Some(Arc::new(config))),
                        Err(fault) => tracing::error!(%fault, "the webhook's certificate cannot be used"),
                    }
                }
                if leading.is_leading() {
                    configuration::keep(&client, &namespace, &pair.roots).await;
                }
                known = Some(pair);
            }
            Ok(None) => {}
            Err(fault) => tracing::warn!(%fault, "no certificate for the admission webhook; looked again"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(if known.is_some() { LOOK } else { LOOK_FIRST }) => {}
        }
    }
}

#[cfg(test)]
mod tests;
