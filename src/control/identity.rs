//! Where our own certificate and the trust bundles come from: files, the developer's CA, the SPIFFE Workload API.
//!
//! Each source gives a first pair to build a [`crate::tls::Identity`] from, then keeps that handle fresh until told to
//! stop. A source that fails leaves what is in force; the certificate's own end stops serving, never plaintext.

mod dev;
mod files;
mod workload_api;

pub use dev::{DEV_TTL, DevCa, DevFault, default_dir, require_loopback};
pub use files::{BundlePath, FileFault, FilePaths, FileSource};
pub use workload_api::{WorkloadApi, WorkloadApiFault};

use std::time::{Duration, SystemTime};

/// How long it is until a certificate wants replacing, at least `floor`.
fn wait_for(moment: SystemTime, floor: Duration) -> Duration {
    moment.duration_since(SystemTime::now()).unwrap_or_default().max(floor)
}
