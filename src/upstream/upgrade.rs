use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::body::{InBody, OutBody};
use super::exchange::{accept, exchange, http1_builder, http1_request, no_http};
use super::fields::strip_hop_by_hop;
use super::{SendFault, Upstreams};
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
        endpoint: &Endpoint,
        protocol: &HeaderValue,
        request: Request<OutBody>,
    ) -> Result<Upgraded, SendFault> {
        let mut request = http1_request(request)?;
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, protocol.clone());
        let io = TokioIo::new(self.connect_tcp(endpoint).await?);
        let (mut sender, connection) = http1_builder().handshake(io).await.map_err(no_http)?;
        self.drive(connection.with_upgrades());
        let mut response = exchange(&mut sender, request).await.map_err(|failed| failed.fault)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Upgraded::Declined(accept(response, None)?));
        }
        let switched = response.headers().get(UPGRADE).is_some_and(|to| same_protocol(to, protocol));
        if !switched {
            return Err(SendFault::NotHttp);
        }
        let io = hyper::upgrade::on(&mut response).await.map_err(|_closed| SendFault::Broken)?;
        let (mut parts, _no_body) = response.into_parts();
        strip_hop_by_hop(&mut parts.headers);
        parts.headers.insert(UPGRADE, protocol.clone());
        Ok(Upgraded::Switched { head: Response::from_parts(parts, ()), io: Box::new(TokioIo::new(io)) })
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
