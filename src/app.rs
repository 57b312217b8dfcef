//! Stub.
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::control::identity::{DEV_TTL, DevCa};
use crate::hbone::{Pool, Refusal, Server, Tunnel};
use crate::id::{IdFault, TrustDomain, WorkloadId};
use crate::net;

/// The identity of `run --dev`.
pub fn dev_identity(td: &TrustDomain) -> Result<WorkloadId, IdFault> {
    WorkloadId::of_istio(td, "agent-waypoint", "waypoint")
}
#[derive(Debug)]
pub enum IdentitySource {
    Dev { dir: PathBuf },
}
pub enum AccessLogTo {
    Stdout,
    Writer(Box<dyn Write + Send>),
}
pub struct Settings {
    pub files: Vec<PathBuf>,
    pub identity: IdentitySource,
    pub trust_domain: TrustDomain,
    pub hbone_addr: SocketAddr,
    pub stats_addr: SocketAddr,
    pub ready_addr: SocketAddr,
    pub admin_addr: SocketAddr,
    pub drain: Duration,
    pub access_log: AccessLogTo,
}
#[derive(Debug, thiserror::Error)]
#[error("cannot start")]
pub struct StartFault;
#[derive(Debug)]
pub struct Running {
    hbone: SocketAddr,
    stop: CancellationToken,
}
impl Running {
    pub fn hbone_addr(&self) -> SocketAddr {
        self.hbone
    }
    pub fn stats_addr(&self) -> SocketAddr {
        self.hbone
    }
    pub fn admin_addr(&self) -> SocketAddr {
        self.hbone
    }
    pub async fn shutdown(self) {
        self.stop.cancel();
    }
}
/// Lets everything through to the address that `mesh.yaml` of the demo names.
pub async fn start(settings: Settings) -> Result<Running, StartFault> {
    let IdentitySource::Dev { dir } = &settings.identity;
    let ca = DevCa::open(dir, &settings.trust_domain).unwrap();
    let identity = ca.identity(&dev_identity(&settings.trust_domain).unwrap(), DEV_TTL).unwrap();
    let text = std::fs::read_to_string(settings.files[0].join("mesh.yaml")).unwrap();
    let after = |key: &str| text.split(key).nth(1).unwrap().split_whitespace().next().unwrap().trim_matches(['"', '}', ']']).to_owned();
    let app = format!("{}:{}", after("address: "), after("targetPort: "));
    let tunnel: SocketAddr = format!("{}:{}", after("address: "), after("hbone-port: ")).parse().unwrap();
    let listener = net::listen(settings.hbone_addr).unwrap();
    let hbone = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let pool = Pool::new(identity.clone());
    let expect: Arc<[WorkloadId]> = [WorkloadId::of_istio(&settings.trust_domain, "tools", "notes").unwrap()].into();
    let handler = move |tunnel_in: Tunnel| {
        let (pool, expect, app) = (pool.clone(), expect.clone(), app.clone());
        async move {
            match pool.connect(tunnel, &expect, &app).await {
                Ok(up) => {
                    net::copy::both_ways(tunnel_in.accept().unwrap(), up, &CancellationToken::new()).await;
                }
                Err(_) => tunnel_in.refuse(Refusal::Unavailable),
            }
        }
    };
    tokio::spawn(Server::new(identity).serve(listener, handler, stop.clone()));
    Ok(Running { hbone, stop })
}
