//! Which binding a request is in, by its head alone.

use std::sync::Arc;

use http::Method;

use super::fault::{DecodeFault, HeadFault, MessageFault};
use super::head::{self, Media};
use super::names::{SERVICES, grpc_method};
use super::rest::{self, Rest};
use crate::call::{A2aBinding, A2aMount, A2aOperation, A2aVersion, HttpHead};

/// What a request's head says of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The operation stands in the body.
    JsonRpc,
    /// It stands in path and verb.
    Rest(Rest),
    /// It stands in the path, and the path's package is the schema.
    Grpc {
        /// The operation.
        operation: A2aOperation,
        /// The package's version.
        version: A2aVersion,
    },
}

impl Route {
    /// The binding.
    pub fn binding(&self) -> A2aBinding {
        match self {
            Self::JsonRpc => A2aBinding::JsonRpc,
            Self::Rest(_) => A2aBinding::HttpJson,
            Self::Grpc { .. } => A2aBinding::Grpc,
        }
    }

    /// At which of an agent's `mounts` it is.
    pub fn mount(&self, head: &HttpHead, mounts: &Mounts<'_>) -> A2aMount {
        let path = match self {
            Self::JsonRpc => bare(&head.path).into(),
            Self::Rest(rest) => Arc::clone(&rest.base),
            Self::Grpc { .. } => "".into(),
        };
        A2aMount { path, of_several: mounts.rest.len() > 1 || mounts.rpc.len() > 1 }
    }

    /// The binding whose words a caller understands who sent what is none.
    pub fn likely(head: &HttpHead) -> A2aBinding {
        if head::says_grpc(&head.headers) {
            A2aBinding::Grpc
        } else if head.method == Method::POST && !rest::looks_like(&head.path) {
            A2aBinding::JsonRpc
        } else {
            A2aBinding::HttpJson
        }
    }
}

/// Where an agent serves its bindings, by canonical paths. gRPC has a path of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mounts<'a> {
    /// Under which it serves HTTP with JSON; none: the root.
    pub rest: &'a [Arc<str>],
    /// At which it takes JSON-RPC, to the letter; none: the root.
    pub rpc: &'a [Arc<str>],
}

impl Mounts<'_> {
    /// Whether an agent is at `path`, which has no slash at its end. At the root there may always be one.
    pub fn has(&self, path: &str) -> bool {
        path.is_empty() || self.rest.iter().chain(self.rpc).any(|mount| bare(mount) == path)
    }

    fn takes_rpc(&self, path: &str) -> bool {
        if self.rpc.is_empty() { path == "/" } else { self.rpc.iter().any(|rpc| **rpc == *path) }
    }
}

fn bare(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// Tells the binding of a request to an agent that serves at `mounts`; `http2` is whether the request came in HTTP/2.
///
/// # Errors
/// [`DecodeFault`] for what is no request of A2A: nothing of it may go on.
pub fn route(head: &HttpHead, mounts: &Mounts<'_>, http2: bool) -> Result<Route, DecodeFault> {
    let service = SERVICES.iter().find_map(|(path, version)| Some((head.path.strip_prefix(path)?, *version)));
    let media = head::media(&head.headers)?;
    if let Some((method, version)) = service {
        if head.method != Method::POST || media != Some(Media::Grpc) || head.query.is_some() {
            return Err(HeadFault::ContentType.into());
        }
        if !http2 {
            return Err(HeadFault::NotHttp2.into());
        }
        let operation =
            grpc_method(method, version).ok_or_else(|| DecodeFault::new(MessageFault::UnknownMethod, None))?;
        return Ok(Route::Grpc { operation, version });
    }
    if media == Some(Media::Grpc) {
        return Err(HeadFault::NotA2a.into());
    }
    if let Some(rest) = rest::read(&head.method, &head.path, mounts.rest)? {
        return Ok(Route::Rest(rest));
    }
    // A path that a server mounted elsewhere reads as another operation is none of JSON-RPC's.
    if head.method != Method::POST || rest::looks_like(&head.path) {
        return Err(HeadFault::NotA2a.into());
    }
    // What else an agent has at another path is none of A2A's, though it be handed a message of A2A.
    if mounts.takes_rpc(&head.path) { Ok(Route::JsonRpc) } else { Err(HeadFault::RpcPath.into()) }
}
