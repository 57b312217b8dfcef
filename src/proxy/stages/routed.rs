//! Stage 7: a permitted call with the endpoint that it goes to, counted against its target and its caller.

use std::sync::Arc;

use super::end::End;
use super::{Asked, Permitted, Standing};
use crate::id::Peer;
use crate::mesh::{Endpoint, Target};
use crate::upstream::{NoEndpoint, Place, Upstreams};

/// A permitted call with its endpoint: the only thing that can be sent.
#[derive(Debug)]
pub(in crate::proxy) struct Routed<M> {
    permitted: Permitted<M>,
    endpoint: Arc<Endpoint>,
    place: Place,
}

impl<M> Permitted<M> {
    /// Stage 7 where a route leads: an endpoint of `to`.
    pub(in crate::proxy) fn route_to(self, upstreams: &Upstreams, to: &Target) -> Result<Routed<M>, NoEndpoint> {
        let (endpoint, place) = seat(upstreams, (to, None), &self.decoded.asked.peer)?;
        Ok(Routed { permitted: self, endpoint, place })
    }

    /// Stage 7: an endpoint of the target; exactly `stick` where a session is bound to one.
    pub(in crate::proxy) fn route(self, upstreams: &Upstreams, stick: Option<&str>) -> Result<Routed<M>, NoEndpoint> {
        let Asked { target, peer, .. } = &self.decoded.asked;
        let (endpoint, place) = seat(upstreams, (target, stick), peer)?;
        Ok(Routed { permitted: self, endpoint, place })
    }
}

/// An endpoint of `to` for this caller, and its place there and among the target's calls.
fn seat(
    upstreams: &Upstreams,
    (to, stick): (&Target, Option<&str>),
    peer: &Peer,
) -> Result<(Arc<Endpoint>, Place), NoEndpoint> {
    let place = upstreams.enter(&to.key, peer.id())?;
    let endpoint = upstreams.pick_of(to, stick, peer.addr().ip())?;
    let place = upstreams.at(place, &endpoint)?;
    Ok((endpoint, place))
}

impl<M> Routed<M> {
    /// Takes the message out to send it, and leaves what must hold for as long as the answer streams.
    pub(in crate::proxy) fn depart(self) -> (M, Arc<Endpoint>, Standing) {
        let Permitted { decoded, permit } = self.permitted;
        let standing = Standing {
            asked: decoded.asked,
            call: decoded.call,
            beyond: None,
            _permit: permit,
            editions: None,
            end: End::Whole,
            _place: self.place,
            _busy: None,
        };
        (decoded.message, self.endpoint, standing)
    }
}
