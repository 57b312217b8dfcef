//! Who fetches the keys of tokens, and how it looks up names.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::settings::{Settings, StartFault};
use crate::control::jwks::Jwks;
use crate::mesh::Published;
use crate::policy::token::{KeyHosts, Keyring};
use crate::telemetry::Telemetry;
use crate::tls::ExternalRoots;
use crate::upstream::dns::{Dns, Forbids, Hickory};

/// Whom servers of keys are taken from: the roots in a file, else the operating system's.
///
/// # Errors
/// The file cannot be read.
fn roots(file: Option<&Path>) -> Result<ExternalRoots, StartFault> {
    let Some(file) = file else { return Ok(ExternalRoots::System) };
    let fault = |error| StartFault::JwksRoots { file: file.to_owned(), error };
    Ok(ExternalRoots::Inline(std::fs::read(file).map_err(fault)?.into()))
}

/// Starts fetching what the keyring is asked for, which is the one that documents' rules are to name.
///
/// # Errors
/// The file of roots cannot be read.
pub(super) fn start(
    settings: &Settings,
    published: &Arc<Published>,
    telemetry: &Telemetry,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<Keyring, StartFault> {
    let keyring = Keyring::new(KeyHosts::new(settings.jwks_hosts.clone()));
    let roots = roots(settings.jwks_roots.as_deref())?;
    // Every answer is judged where it is used, by what the list says of its host.
    let dns = Dns::new(Arc::new(Hickory::from_system()), Forbids::MeshOnly, Arc::new(|_address| false));
    let published = Arc::clone(published);
    let in_mesh = Arc::new(move |address| published.current().is_mesh_address(address));
    let jwks = Jwks::new(keyring.clone(), dns, roots, in_mesh, telemetry.clone());
    tasks.spawn(jwks.run(tasks.clone(), stop.clone()));
    Ok(keyring)
}
