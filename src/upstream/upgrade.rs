use std::sync::Arc;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};

use super::body::{InBody, OutBody};
use super::exchange::{accept, http1_request};
use super::fields::strip_hop_by_hop;
use super::http1::exchange;
use super::{Busy, Departure, SendFault, Upstreams};
use crate::intake::Rewind;
use crate::mesh::Endpoint;
use crate::net::BoxedIo;

/// How a server answered a request to switch protocols.
pub enum Upgraded {
    /// 101: from here on bytes both ways.
    Switched {
        /// The 101's fields, `Upgrade` among them, hop-by-hop fields otherwise gone.
        head: Response<()>,
        /// The connection.
        io: BoxedIo,
        /// The call, which lasts as long as this is kept.
        busy: Busy,
    },
    /// It answered like any other request.
    Declined(Response<InBody>),
}

impl Upstreams {
    /// Sends `request` over a connection of its own, asking to switch to `protocol` (`websocket`, RFC 6455).
    ///
    /// # Errors
    /// [`SendFault`], also where the server switches to a protocol that was not asked for.
    pub async fn upgrade(
        &self,
        endpoint: &Arc<Endpoint>,
        protocol: &HeaderValue,
        request: Request<OutBody>,
        departure: &Departure,
    ) -> Result<Upgraded, SendFault> {
        let mut request = http1_request(request)?;
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, protocol.clone());
        let busy = self.begin(endpoint, true).await?;
        let one = self.open_http1(endpoint).await?;
        departure.to(endpoint, None).goes();
        let answered = exchange(one, request).await.map_err(|failed| failed.fault)?;
        if answered.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Upgraded::Declined(accept(answered.read(None))?.map(|body| body.of(busy))));
        }
        let (mut headers, one) = answered.switch();
        let switched = headers.get(UPGRADE).is_some_and(|to| same_protocol(to, protocol));
        if !switched {
            return Err(SendFault::NotHttp);
        }
        strip_hop_by_hop(&mut headers);
        headers.insert(UPGRADE, protocol.clone());
        let mut head = Response::new(());
        (*head.status_mut(), *head.headers_mut()) = (StatusCode::SWITCHING_PROTOCOLS, headers);
        let (io, front) = one.into_parts();
        Ok(Upgraded::Switched { head, io: Box::new(Rewind::new(front.freeze(), io)), busy })
    }
}

fn same_protocol(answered: &HeaderValue, asked: &HeaderValue) -> bool {
    answered.as_bytes().eq_ignore_ascii_case(asked.as_bytes())
}

impl std::fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Switched { head, .. } => f.debug_tuple("Switched").field(&head.status()).finish(),
            Self::Declined(response) => f.debug_tuple("Declined").field(&response.status()).finish(),
        }
    }
}
