//! `connect`: the client side of the mesh on a laptop, until the process is told to stop.

mod identity;

use std::io::Write;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::Ended;
use super::args::ConnectArgs;
use crate::client::Caller;
use crate::net;
use crate::tls::{Expect, Identity};

pub use identity::identity;

/// Runs `connect` until the process is told to stop: says on `out` where it listens, then serves.
///
/// # Errors
/// The address cannot be listened on, or nobody can be told.
pub async fn run(
    args: &ConnectArgs,
    identity: Identity,
    out: &mut dyn Write,
    stop: CancellationToken,
) -> anyhow::Result<Ended> {
    let listener = net::listen(args.listen)?;
    let service = &args.service;
    let who = identity.id();
    let expect = match &args.waypoint_id {
        Some(id) => Expect::Exact([id.clone()].into()),
        None => Expect::TrustDomain(who.trust_domain().clone()),
    };
    let addr = listener.local_addr().context("the listener has no address")?;
    writeln!(out, "listening on {addr}, calling {}/{}:{} as {who}", service.namespace, service.service, service.port)?;
    out.flush()?;
    Caller::new(identity, args.waypoint, expect, service.authority()).serve(listener, stop).await;
    Ok(Ended::Well)
}
