use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::DialFault;
use crate::config::limits::EXTERNAL_TLS_CLIENTS;
use crate::mesh::{AltName, Roots};
use crate::tls::{ExternalFault, ExternalRoots, ExternalTls, external_client};

/// TLS towards servers outside the mesh, prepared once per names and roots: preparing reads and parses certificates.
#[derive(Default)]
pub(super) struct External {
    clients: Mutex<HashMap<Server, ExternalTls>>,
}

/// The name that is sent, those that the certificate may have instead, and whom to believe.
type Server = (Arc<str>, Arc<[AltName]>, ExternalRoots);

impl External {
    /// The client for `name`, or what has one of `others` where there are some, verified against `roots`.
    pub(super) async fn client(
        &self,
        (name, others): (&Arc<str>, &Arc<[AltName]>),
        roots: &Roots,
    ) -> Result<ExternalTls, DialFault> {
        let roots = match roots {
            Roots::System => ExternalRoots::System,
            Roots::Inline(pem) => ExternalRoots::Inline(Arc::from(pem.as_bytes())),
        };
        let key = (Arc::clone(name), Arc::clone(others), roots);
        let known = self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(client) = known {
            return Ok(client);
        }
        let (name, others, roots) = key.clone();
        // The system's roots come from disk.
        let built = tokio::task::spawn_blocking(move || external_client(&name, &others, &roots)).await;
        let client = built.unwrap_or(Err(ExternalFault::Unusable))?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= EXTERNAL_TLS_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("External").finish_non_exhaustive()
    }
}
