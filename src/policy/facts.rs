use std::net::IpAddr;
use std::sync::Arc;

use super::labels::Labelled;
use super::token::Claims;
use crate::call::{Call, HttpHead};
use crate::id::Peer;

/// What a call is addressed to: one port of one Service, ServiceEntry or workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Name of the Service (`destination.service`, `mcp.tool.target`).
    pub service: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// The Service's port, not the pod's.
    pub port: u16,
    /// Its addresses (`destination.ip`): the Service's, never a pod's. None where it has only a name.
    pub addresses: Arc<[IpAddr]>,
}

/// Everything that a decision may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Who calls, proven by certificate.
    pub peer: &'a Peer,
    /// What the call is addressed to.
    pub destination: &'a Destination,
    /// The HTTP request that carries the call; none on TCP.
    pub request: Option<&'a HttpHead>,
    /// Claims of a verified token, where one was sent.
    pub claims: Option<&'a Claims>,
    /// The call.
    pub call: &'a Call,
    /// Where a route leads the call, and the request as that Service gets it, where that is another one.
    pub led: Option<(&'a Destination, &'a HttpHead)>,
    /// Labels of the session in which it is made; none where it is no call of a session's.
    pub labels: Option<&'a dyn Labelled>,
}

impl<'a> Facts<'a> {
    /// The same as one of several Services sees it whose rules decide together.
    #[must_use]
    pub fn at(&self, destination: &'a Destination) -> Self {
        let led = self.led.filter(|(to, _)| *to == destination).map(|(_, head)| head);
        Self { destination, request: led.or(self.request), ..*self }
    }
}
