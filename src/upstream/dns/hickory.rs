use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;

use super::{DnsFault, Found, Resolve};

/// The system's name servers, asked over the network (RFC 1035), IPv4 and IPv6 together.
///
/// Names are asked for as they stand: the search list of `/etc/resolv.conf` is not tried, for in a pod it would ask for
/// `api.example.com.NAMESPACE.svc.cluster.local` first and take whatever is there.
pub struct Hickory {
    resolver: Option<TokioResolver>,
}

impl Hickory {
    /// Reads `/etc/resolv.conf`. Where that fails, every lookup says so and nothing else stops working.
    pub fn from_system() -> Self {
        let built = TokioResolver::builder_tokio().and_then(|mut builder| {
            let options = builder.options_mut();
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            options.cache_size = 0;
            builder.build()
        });
        let resolver = built.inspect_err(|error| tracing::warn!(%error, "no DNS: resolver not configured")).ok();
        Self { resolver }
    }
}

impl Resolve for Hickory {
    fn resolve(&self, host: Arc<str>) -> BoxFuture<'static, Result<Found, DnsFault>> {
        let resolver = self.resolver.clone();
        async move {
            let resolver = resolver.ok_or(DnsFault::NoResolver)?;
            let answer = resolver.lookup_ip(format!("{host}.")).await.map_err(|error| {
                tracing::debug!(%host, %error, "name not resolved");
                if error.is_no_records_found() || error.is_nx_domain() {
                    DnsFault::NoAddress
                } else {
                    DnsFault::Unanswered
                }
            })?;
            let ttl = answer.valid_until().saturating_duration_since(std::time::Instant::now());
            Ok(Found { addresses: answer.iter().collect(), ttl })
        }
        .boxed()
    }
}

impl fmt::Debug for Hickory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hickory").field("configured", &self.resolver.is_some()).finish()
    }
}
