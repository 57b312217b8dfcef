use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

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
        Self::built(TokioResolver::builder_tokio())
    }

    /// Asks `server` alone, by UDP and then TCP; `/etc/hosts` is not read.
    pub fn asking(server: SocketAddr) -> Self {
        let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
        (udp.port, tcp.port) = (server.port(), server.port());
        let server = NameServerConfig::new(server.ip(), true, vec![udp, tcp]);
        let config = ResolverConfig::from_name_servers(vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().use_hosts_file = ResolveHosts::Never;
        Self::built(Ok(builder))
    }

    fn built(builder: Result<Builder, NetError>) -> Self {
        let resolver = builder.and_then(|mut builder| {
            let options = builder.options_mut();
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            // Answers are kept by `Dns`, which bounds their time from below and above.
            options.cache_size = 0;
            builder.build()
        });
        Self { resolver: resolver.inspect_err(|error| tracing::warn!(%error, "no DNS: resolver not configured")).ok() }
    }
}

type Builder = hickory_resolver::ResolverBuilder<TokioRuntimeProvider>;

impl Resolve for Hickory {
    fn resolve(&self, host: Arc<str>) -> BoxFuture<'static, Result<Found, DnsFault>> {
        let resolver = self.resolver.clone();
        async move {
            let resolver = resolver.ok_or(DnsFault::NoResolver)?;
            let answer = resolver.lookup_ip(format!("{host}.")).await.map_err(|error| {
                tracing::debug!(%host, %error, "name not resolved");
                if error.is_no_records_found() { DnsFault::NoAddress } else { DnsFault::Unanswered }
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

#[cfg(test)]
mod tests;
