use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;

use http::Request;

use super::OutBody;
use crate::call::HttpHead;
use crate::id::WorkloadId;
use crate::mesh::{Endpoint, Target, Traffic};

/// For whom an endpoint is chosen: what may tell one client from another.
#[derive(Debug, Clone, Copy)]
pub struct Client<'h> {
    /// Its address.
    pub addr: IpAddr,
    /// The head of its request, for HTTP.
    pub head: Option<&'h HttpHead>,
}

/// Who a request is from, as far as callers are told apart where answers are judged: a number of this process alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller(pub(super) u64);

impl Caller {
    pub(super) fn of(id: &WorkloadId) -> Self {
        // Under a key of this process, so that nobody makes two callers one.
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(KEYS.hash_one(id))
    }

    /// Says with a request to `target` who it is from, where that matters: its answer is not judged otherwise.
    pub fn tell(request: &mut Request<OutBody>, target: &Target, id: &WorkloadId) {
        Self::note(request, target.traffic.as_deref(), id);
    }

    /// As [`Caller::tell`], with a request on behalf of that one to an endpoint of no target's.
    pub fn tell_at(request: &mut Request<OutBody>, endpoint: &Endpoint, id: &WorkloadId) {
        Self::note(request, endpoint.traffic.as_deref(), id);
    }

    fn note(request: &mut Request<OutBody>, traffic: Option<&Traffic>, id: &WorkloadId) {
        if traffic.is_some_and(|traffic| traffic.outliers.is_some()) {
            request.extensions_mut().insert(Self::of(id));
        }
    }
}
