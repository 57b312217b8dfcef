//! Stage 7: a permitted call with the endpoint that it goes to, counted against its target and its caller.

use std::sync::Arc;

use super::end::End;
use super::{Asked, Beyond, Permitted, Standing};
use crate::id::Peer;
use crate::mesh::{Endpoint, Published, Target};
use crate::policy::Denial;
use crate::upstream::{Client, NoEndpoint, Place, Upstreams};

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
        let (endpoint, place) = seat(upstreams, (to, None), self.client())?;
        Ok(Routed { permitted: self, endpoint, place })
    }

    /// Stage 7: an endpoint of the target; exactly `stick` where a session is bound to one.
    pub(in crate::proxy) fn route(self, upstreams: &Upstreams, stick: Option<&str>) -> Result<Routed<M>, NoEndpoint> {
        let (endpoint, place) = seat(upstreams, (&self.decoded.asked.target, stick), self.client())?;
        Ok(Routed { permitted: self, endpoint, place })
    }

    /// Who calls, as far as it matters to which endpoint.
    fn client(&self) -> (&Peer, Client<'_>) {
        let Asked { head, peer, .. } = &self.decoded.asked;
        (&**peer, Client { addr: peer.addr().ip(), head: head.as_ref() })
    }
}

/// An endpoint of `to` for this caller, and its place there and among the target's calls.
fn seat(
    upstreams: &Upstreams,
    (to, stick): (&Target, Option<&str>),
    (peer, client): (&Peer, Client<'_>),
) -> Result<(Arc<Endpoint>, Place), NoEndpoint> {
    let place = upstreams.enter(to.served_by(), peer.id())?;
    let endpoint = upstreams.pick_of(to, stick, &client)?;
    let place = upstreams.at(place, &endpoint)?;
    Ok((endpoint, place))
}

/// A call that was permitted by rules which have changed since, and now refuse it; the message is gone.
#[derive(Debug)]
pub(in crate::proxy) struct Overtaken {
    pub(in crate::proxy) standing: Standing,
    /// None where its target is gone or takes its token no longer.
    pub(in crate::proxy) denial: Option<Denial>,
}

impl Standing {
    /// Looks once more at what has changed, where something was waited for since [`Routed::depart`].
    ///
    /// # Errors
    /// As there.
    pub(in crate::proxy) fn departs(mut self, published: &Published) -> Result<Self, Box<Overtaken>> {
        match self.decided_anew(published) {
            Ok(_changed) => Ok(self),
            Err(denial) => Err(Box::new(Overtaken { standing: self, denial: denial.map(|denial| *denial) })),
        }
    }
}

impl<M> Routed<M> {
    /// Takes the message out to send it, and leaves what must hold for as long as the answer streams. The rules of another
    /// Service, where a route leads to one, are those of `beyond`.
    ///
    /// # Errors
    /// A call is decided on by the rules of the moment in which it began, and its caller settles how long its body takes, as
    /// a provider does how long it is asked. So what has changed since is looked at once more before anything goes out.
    pub(in crate::proxy) fn depart(
        self,
        published: &Published,
        beyond: Option<Beyond>,
    ) -> Result<(M, Arc<Endpoint>, Standing), Box<Overtaken>> {
        let Permitted { decoded, permit } = self.permitted;
        let standing = Standing {
            asked: decoded.asked,
            call: decoded.call,
            beyond: beyond.map(Box::new),
            _permit: permit,
            editions: None,
            end: End::Whole,
            _place: self.place,
            _busy: None,
        };
        Ok((decoded.message, self.endpoint, standing.departs(published)?))
    }
}
