use std::collections::BTreeMap;
use std::net::IpAddr;

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::control::delta::wire::Node;

/// The version of Istio whose ztunnel we behave like on the wire; istiod serves by it.
const ISTIO_VERSION: &str = "1.31.0";

/// Who we tell istiod that we are. It checks namespace and ServiceAccount against our token.
#[derive(Debug, Clone)]
pub struct Myself {
    /// Our pod's address.
    pub ip: IpAddr,
    /// Our pod's name.
    pub pod: String,
    /// Our namespace.
    pub namespace: String,
    /// Our ServiceAccount.
    pub service_account: String,
    /// Our cluster, as istiod calls it.
    pub cluster_id: String,
    /// Our network; empty: the only one.
    pub network: String,
    /// `cluster.local` most often.
    pub cluster_domain: String,
}

impl Myself {
    /// The same on the wire: `TYPE~IP~POD.NS~NS.svc.DOMAIN` (Istio, pilot/pkg/model `ParseServiceNodeWithMetadata`).
    pub(super) fn node(&self) -> Node {
        let Self { ip, pod, namespace, service_account, cluster_id, network, cluster_domain } = self;
        let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let mut fields = BTreeMap::from([
            ("NAME".to_owned(), text(pod)),
            ("NAMESPACE".to_owned(), text(namespace)),
            ("SERVICE_ACCOUNT".to_owned(), text(service_account)),
            ("CLUSTER_ID".to_owned(), text(cluster_id)),
            ("ISTIO_VERSION".to_owned(), text(ISTIO_VERSION)),
            // One text, with commas where there are several: istiod refuses a list.
            ("INSTANCE_IPS".to_owned(), text(&ip.to_string())),
        ]);
        if !network.is_empty() {
            fields.insert("NETWORK".to_owned(), text(network));
        }
        Node {
            id: format!("ztunnel~{ip}~{pod}.{namespace}~{namespace}.svc.{cluster_domain}"),
            cluster: String::new(),
            metadata: Some(Struct { fields }),
        }
    }
}
