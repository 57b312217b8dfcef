//! Connections of the pod's own application, on their way out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_waypoint::config::limits::DIAL_TIMEOUT;
use agent_waypoint::hbone::Pool;
use agent_waypoint::net::{self, BoxedIo};
use agent_waypoint::tls::Expect;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::capture;
use crate::events::{self, Event, Verdict, Way};
use crate::route::{self, Route};
use crate::serve::Shared;

/// Takes captured connections for ever.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, pool: Pool) {
    let turn = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((tcp, source)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let (shared, pool, turn) = (Arc::clone(&shared), pool.clone(), turn.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(async move { Box::pin(carry(tcp, capture::plain(source), &shared, &pool, turn)).await });
    }
}

async fn carry(tcp: TcpStream, source: SocketAddr, shared: &Shared, pool: &Pool, turn: usize) {
    let say = |verdict, destination: String, why: String| {
        events::print(&Event { way: Way::Outbound, verdict, source, principal: None, destination, why });
    };
    let to = match capture::original_destination(&tcp) {
        Ok(to) if to.port() != shared.ports.outbound => to,
        Ok(_) | Err(_) => return capture::reset(&tcp),
    };
    net::tune(&tcp);
    let world = shared.world.borrow().clone();
    let (dialled, by): (Result<BoxedIo, String>, String) = match route::route(&world, to, turn) {
        Route::Refused(why) => {
            say(Verdict::Refused, to.to_string(), why.to_owned());
            return capture::reset(&tcp);
        }
        Route::Plain(at) => match net::dial_tcp(at, DIAL_TIMEOUT).await {
            Ok(far) => (Ok(Box::new(far)), format!("plaintext to {at}")),
            Err(fault) => (Err(fault.to_string()), String::new()),
        },
        Route::Tunnel { hbone, expect, authority, host, to_waypoint } => {
            let Some(me) = world.workload(&shared.uid) else { return capture::reset(&tcp) };
            let claims = route::claims(me, source, host.as_deref());
            let expect = Expect::Exact([expect].into());
            let opened = Box::pin(pool.connect_with(hbone, expect, &authority.to_string(), &claims)).await;
            let kind = if to_waypoint { "waypoint" } else { "pod" };
            match opened {
                Ok(far) => (Ok(Box::new(far)), format!("HBONE to {kind} {hbone} for {authority}")),
                Err(fault) => (Err(format!("HBONE to {kind} {hbone} for {authority}: {fault}")), String::new()),
            }
        }
    };
    match dialled {
        Ok(far) => {
            say(Verdict::Carried, to.to_string(), by);
            drop(net::copy::both_ways(tcp, far, &CancellationToken::new()).await);
        }
        Err(why) => {
            say(Verdict::Failed, to.to_string(), why);
            capture::reset(&tcp);
        }
    }
}
