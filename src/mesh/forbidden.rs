//! Addresses at which no server of a mesh can be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services outside the link-local range, as their clouds document them: GCP over IPv6, Alibaba Cloud, Azure's
/// platform address. AWS has a range over IPv6, `fd00:ec2::/32`, in which credentials of pods are given out too.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 1] = [Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Whether no name and no document may lead to `address`: this host, its link (169.254.169.254 is there), multicast, a
/// metadata service, or an IPv6 form of any of these (mapped, compatible, translated by RFC 2765, NAT64 by RFC 6052 and RFC
/// 8215, 6to4 by RFC 3056).
pub fn forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => forbidden_v6(v6),
    }
}

fn forbidden_v4(v4: Ipv4Addr) -> bool {
    let [first, ..] = v4.octets();
    // 0.0.0.0/8 is this host (RFC 6890), 240.0.0.0/4 is reserved and holds the broadcast address.
    first == 0
        || first >= 240
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || METADATA_V4.contains(&v4)
}

fn forbidden_v6(v6: Ipv6Addr) -> bool {
    v6.is_unspecified()
        || v6.is_loopback()
        || v6.is_unicast_link_local()
        || v6.is_multicast()
        || METADATA_V6.contains(&v6)
        || matches!(v6.segments(), [0xfd00, 0xec2, ..])
        || embedded(v6).is_some_and(forbidden_v4)
}

/// The address, and the IPv4 address in it where it is another form of one: whoever dials it may reach either.
pub fn readings(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
    let inner = match ip {
        IpAddr::V6(v6) => embedded(v6).map(IpAddr::V4),
        IpAddr::V4(_) => None,
    };
    std::iter::once(ip.to_canonical()).chain(inner.filter(move |inner| *inner != ip.to_canonical()))
}

/// The IPv4 address that `v6` is another form of.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low] => Some(from(high, low)),
        [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_this_host_its_link_or_a_metadata_service() {
        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "240.0.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "2002:7f00:1::",
            "fd00:ec2::23",
            "::ffff:0:169.254.169.254",
            "64:ff9b:1::169.254.169.254",
        ] {
            assert!(forbidden(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn what_is_elsewhere_may_be_dialled() {
        for address in [
            "1.1.1.1",
            "10.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "fd12::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(!forbidden(address.parse().unwrap()), "{address}");
        }
    }
}
