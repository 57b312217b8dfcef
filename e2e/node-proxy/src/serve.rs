//! `serve`: the listeners, and the world that they go by, read again whenever its file changes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_waypoint::control::identity::{BundlePath, FilePaths, FileSource};
use agent_waypoint::hbone::{Pool, Server};
use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::authz::{self, Connection, Refused};
use crate::world::{Workload, World};
use crate::{capture, events, inbound, outbound};

/// How often the world's file is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// `serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The mesh: a JSON file, replaced by renaming
    #[arg(long)]
    world: PathBuf,
    /// Whose proxy this is: the uid of a workload
    #[arg(long)]
    workload: String,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    #[command(flatten)]
    ports: Ports,
}

/// A certificate and its roots.
#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    /// Certificate chain, PEM
    #[arg(long)]
    pub(crate) cert: PathBuf,
    /// Its key, PEM
    #[arg(long)]
    pub(crate) key: PathBuf,
    /// The mesh's roots, PEM
    #[arg(long)]
    pub(crate) roots: PathBuf,
}

/// ztunnel's ports in a pod.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Ports {
    /// HBONE from the mesh
    #[arg(long, default_value_t = 15008)]
    pub(crate) hbone: u16,
    /// Where inbound plaintext is redirected to
    #[arg(long, default_value_t = 15006)]
    pub(crate) inbound: u16,
    /// Where outbound connections are redirected to
    #[arg(long, default_value_t = 15001)]
    pub(crate) outbound: u16,
}

impl Ports {
    pub(crate) fn are_ours(self, port: u16) -> bool {
        [self.hbone, self.inbound, self.outbound].contains(&port)
    }
}

/// What every connection needs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) uid: String,
    pub(crate) world: watch::Receiver<Arc<World>>,
    pub(crate) ports: Ports,
}

impl Shared {
    /// Asks something of the pod's own workload; no where there is none.
    pub(crate) fn me(&self, ask: impl FnOnce(&Workload) -> bool) -> bool {
        self.world.borrow().workload(&self.uid).is_some_and(ask)
    }

    /// Where this pod serves a Service's port.
    pub(crate) fn behind(&self, host: &str, port: u16) -> Option<SocketAddr> {
        let world = self.world.borrow();
        let like = Ipv4Addr::UNSPECIFIED.into();
        let endpoints = world.endpoints(world.service_named(host)?, port, like);
        endpoints.into_iter().find(|(workload, _)| workload.uid == self.uid).map(|(_, to)| to)
    }

    /// Holds a connection to the pod against the policies of the moment. An unknown workload takes nothing.
    pub(crate) fn check(&self, connection: &Connection) -> Result<(), Refused> {
        let world = self.world.borrow();
        let me = world.workload(&self.uid).ok_or_else(|| Refused("workload is unknown".to_owned()))?;
        authz::check(&world, me, connection)
    }
}

impl IdentityArgs {
    pub(crate) fn paths(&self) -> FilePaths {
        let bundle = BundlePath { trust_domain: None, path: self.roots.clone() };
        FilePaths { certificate: self.cert.clone(), key: self.key.clone(), bundles: vec![bundle] }
    }
}

/// Proxies until it is killed.
pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let (_source, identity) = FileSource::open(args.identity.paths()).await?;
    let text = tokio::fs::read_to_string(&args.world).await.context("no world")?;
    let (sender, world) = watch::channel(Arc::new(World::parse(&text)?));
    let shared = Arc::new(Shared { uid: args.workload, world, ports: args.ports });
    ensure!(
        shared.me(|me| me.identity().is_ok_and(|id| id == identity.id())),
        "the world does not know {} as {}",
        shared.uid,
        identity.id()
    );
    let (hbone, plaintext, captured) = (
        capture::listen(args.ports.hbone)?,
        capture::listen(args.ports.inbound)?,
        capture::listen(args.ports.outbound)?,
    );
    events::print(&json!({"ready": identity.id().principal()}));
    let ends = Server::new(identity.clone());
    let handler = {
        let shared = Arc::clone(&shared);
        move |tunnel| inbound::tunnel(tunnel, Arc::clone(&shared))
    };
    tokio::join!(
        ends.serve(hbone, handler, CancellationToken::new()),
        inbound::serve_plaintext(plaintext, Arc::clone(&shared)),
        outbound::serve(captured, Arc::clone(&shared), Pool::new(identity)),
        follow(&args.world, text, sender),
    );
    Ok(())
}

/// Takes each new edition of the file, and says so. One that is no world is said too, and the last one stays.
pub(crate) async fn follow(path: &Path, mut taken: String, worlds: watch::Sender<Arc<World>>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut edition = 0_u64;
    loop {
        ticks.tick().await;
        let Ok(text) = tokio::fs::read_to_string(path).await else { continue };
        if text == taken {
            continue;
        }
        match World::parse(&text) {
            Ok(world) => {
                edition += 1;
                worlds.send_replace(Arc::new(world));
                events::print(&json!({"world": edition}));
            }
            Err(error) => events::print(&json!({"badWorld": format!("{error:#}")})),
        }
        taken = text;
    }
}
