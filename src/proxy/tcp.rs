//! Byte streams: decided on once when they open and again whenever their target's rules change.

use std::sync::Arc;

use futures_util::future::Either;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::answer::ProxyFault;
use super::route::{self, Strayed};
use super::stages::{Asked, Beyond, Overtaken, Refused, Routed, Standing};
use super::{Shared, custom, note};
use crate::call::Call;
use crate::fault::Faulty;
use crate::hbone::{self, Refusal, Tunnel};
use crate::id::Peer;
use crate::mesh::Target;
use crate::net::copy::{self, Copied};
use crate::telemetry::{Protocol, RecordGuard};
use crate::upstream::Line;

/// A TCP port: the CONNECT is answered once the call is permitted and its endpoint reached.
pub(super) async fn serve_tunnel(shared: &Arc<Shared>, tunnel: Tunnel, target: Arc<Target>) {
    let mut record = shared.telemetry.begin(&tunnel.peer, Protocol::Tcp);
    let routed = match permit(shared, &tunnel.peer, target, &mut record).await {
        Ok(routed) => routed,
        Err(refusal) => return tunnel.refuse(refusal),
    };
    match dial(shared, routed, &mut record).await {
        Some((upstream, standing)) => {
            if let Ok(stream) = tunnel.accept() {
                let cancel = CancellationToken::new();
                let copying = match upstream {
                    Line::Tunnel(upstream) => Either::Left(hbone::relay(stream, upstream, &cancel)),
                    Line::Other(upstream) => Either::Right(copy::both_ways(stream, upstream, &cancel)),
                };
                relay(shared, copying, &cancel, standing, record).await;
            }
        }
        None => tunnel.refuse(Refusal::Unavailable),
    }
}

/// An undeclared port whose bytes are not HTTP: the CONNECT was answered already, so a refusal ends the stream.
pub(super) async fn serve_accepted<S>(shared: &Arc<Shared>, peer: &Arc<Peer>, target: Arc<Target>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let mut record = shared.telemetry.begin(peer, Protocol::Tcp);
    let Ok(routed) = permit(shared, peer, target, &mut record).await else { return };
    if let Some((upstream, standing)) = dial(shared, routed, &mut record).await {
        let cancel = CancellationToken::new();
        let copying = copy::both_ways(stream, upstream.boxed(), &cancel);
        relay(shared, copying, &cancel, standing, record).await;
    }
}

async fn permit(
    shared: &Shared,
    peer: &Arc<Peer>,
    target: Arc<Target>,
    record: &mut RecordGuard,
) -> Result<(Routed<()>, Option<Beyond>), Refusal> {
    record.site(&note::site(&target));
    let mut decoded = Asked::tcp(Arc::clone(peer), target).decoded(Call::Tcp, ());
    // Bytes have no body that could not be shown, and no token.
    custom::consult(shared, &mut decoded).await.map_err(|_stopped| Refusal::Forbidden)?;
    let mut permitted = decoded.authorize(&shared.quotas).map_err(|refused| {
        let Refused { denial, asked, .. } = *refused;
        record.denied(note::denial(&denial, asked.target()));
        Refusal::Forbidden
    })?;
    record.allowed(note::permit(permitted.permit()));
    let (asked, ..) = permitted.parts();
    let (to, beyond) = match route::lead_bytes(shared, asked) {
        Ok(led) => led,
        Err(Strayed::Denied(denial, to)) => {
            record.denied(note::denial(&denial, &to));
            return Err(Refusal::Forbidden);
        }
        Err(Strayed::Fault(fault)) => {
            record.failed(&fault);
            return Err(Refusal::Unavailable);
        }
    };
    let routed = permitted.route_to(&shared.upstreams, &to).map_err(|fault| {
        record.failed(&fault);
        Refusal::Unavailable
    })?;
    Ok((routed, beyond))
}

async fn dial(
    shared: &Shared,
    (routed, beyond): (Routed<()>, Option<Beyond>),
    record: &mut RecordGuard,
) -> Option<(Line, Standing)> {
    let revoked = |record: &mut RecordGuard, overtaken: Box<Overtaken>| {
        note::revoked(record, &overtaken.standing, overtaken.denial.as_ref());
    };
    let departed = routed.depart(&shared.published, beyond);
    let ((), endpoint, standing) = departed.map_err(|overtaken| revoked(record, overtaken)).ok()?;
    record.upstream(&endpoint.id, note::identity(&endpoint));
    match shared.upstreams.connect_tcp(&endpoint, standing.asked().peer().id()).await {
        Ok((upstream, busy)) => {
            // An endpoint settles how long it takes to be reached.
            let departed = standing.at(busy).departs(&shared.published);
            Some((upstream, departed.map_err(|overtaken| revoked(record, overtaken)).ok()?))
        }
        Err(fault) => {
            tracing::warn!(endpoint = %endpoint.id, reason = fault.reason(), %fault, "endpoint not reached");
            record.failed(&fault);
            None
        }
    }
}

/// Copies until both ends are done, or until the call is no longer permitted.
async fn relay(
    shared: &Shared,
    copying: impl Future<Output = Copied>,
    cancel: &CancellationToken,
    mut standing: Standing,
    mut record: RecordGuard,
) {
    let meter = record.meter();
    tokio::pin!(copying);
    let copied = tokio::select! {
        copied = &mut copying => copied,
        denial = standing.revoked(&shared.published) => {
            if let Some(denial) = denial {
                record.denied(note::denial(&denial, standing.asked().target()));
            }
            record.failed(&ProxyFault::Revoked);
            tracing::info!(target = %standing.asked().target().key, peer = %standing.asked().peer().id(), "stream ended: no longer permitted");
            cancel.cancel();
            copying.await
        }
    };
    meter.received(usize::try_from(copied.a_to_b).unwrap_or(usize::MAX));
    meter.sent(usize::try_from(copied.b_to_a).unwrap_or(usize::MAX));
    record.finish();
}
