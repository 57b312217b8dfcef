use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::near::Place;
use super::rows::Gateway;
use crate::id::WorkloadId;

/// Rows name the same namespaces, identities, services and waypoints over and over; each is kept once.
#[derive(Debug, Default)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
    ids: HashSet<Arc<WorkloadId>>,
    gateways: HashSet<Arc<Gateway>>,
    places: HashSet<Arc<Place>>,
    /// Texts kept when last swept.
    swept: usize,
}

/// Below this many texts nothing is swept.
const FEW: usize = 1_024;

impl Interner {
    /// The text, once.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&new));
        new
    }

    /// The identity, once.
    pub fn id(&mut self, id: WorkloadId) -> Arc<WorkloadId> {
        if let Some(known) = self.ids.get(&id) {
            return Arc::clone(known);
        }
        let new = Arc::new(id);
        self.ids.insert(Arc::clone(&new));
        new
    }

    /// A waypoint by host name, once.
    pub fn gateway_host(&mut self, namespace: &str, host: &str) -> Arc<Gateway> {
        let gateway = Gateway::Host { namespace: self.text(namespace), host: self.text(host) };
        self.gateway(gateway)
    }

    /// A waypoint by address, once.
    pub fn gateway_ip(&mut self, network: &str, ip: IpAddr) -> Arc<Gateway> {
        let gateway = Gateway::Ip { network: self.text(network), ip };
        self.gateway(gateway)
    }

    /// A place, once: all pods of a node are at the same one.
    pub fn place(&mut self, place: Place) -> Arc<Place> {
        if let Some(known) = self.places.get(&place) {
            return Arc::clone(known);
        }
        let new = Arc::new(place);
        self.places.insert(Arc::clone(&new));
        new
    }

    fn gateway(&mut self, gateway: Gateway) -> Arc<Gateway> {
        if let Some(known) = self.gateways.get(&gateway) {
            return Arc::clone(known);
        }
        let new = Arc::new(gateway);
        self.gateways.insert(Arc::clone(&new));
        new
    }

    /// Forgets what no row names any longer, once there may be much of it.
    pub fn sweep(&mut self) {
        if self.texts.len() < FEW.max(self.swept * 2) {
            return;
        }
        self.gateways.retain(|one| Arc::strong_count(one) > 1);
        self.places.retain(|one| Arc::strong_count(one) > 1);
        self.ids.retain(|one| Arc::strong_count(one) > 1);
        self.texts.retain(|one| Arc::strong_count(one) > 1);
        self.swept = self.texts.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_kept_once_and_what_nobody_names_is_forgotten() {
        let mut interner = Interner::default();
        let kept = interner.text("kept");
        assert!(Arc::ptr_eq(&kept, &interner.text("kept")));
        (0..3 * FEW).for_each(|n| drop(interner.text(&n.to_string())));
        interner.sweep();
        assert_eq!(interner.texts.len(), 1);
        assert!(Arc::ptr_eq(&kept, &interner.text("kept")));
    }
}
