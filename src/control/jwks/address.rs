use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::mesh::{forbidden, readings};

/// Whether a host of keys may be dialled at `address`: within the networks that the list names, where it names some; else
/// nothing of this host, its link, a metadata service, a private network or the mesh. A name is its owner's to change.
pub(super) fn may_dial(address: IpAddr, networks: &[IpNet], in_mesh: bool) -> bool {
    let address = address.to_canonical();
    if networks.is_empty() {
        return !forbidden(address) && !private(address) && !in_mesh;
    }
    networks.iter().any(|network| network.contains(&address))
}

/// RFC 1918, RFC 6598 (shared), RFC 4193 (unique local), and IPv6 forms of the first two.
fn private(address: IpAddr) -> bool {
    readings(address).any(|ip| match ip {
        IpAddr::V4(v4) => private_v4(v4),
        IpAddr::V6(v6) => v6.is_unique_local(),
    })
}

fn private_v4(v4: Ipv4Addr) -> bool {
    let [first, second, ..] = v4.octets();
    v4.is_private() || (first == 100 && (64..128).contains(&second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_public_addresses_unless_the_list_says_where() {
        for address in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "fd00:ec2::254",
            "fe80::1",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "fd12::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:a00:1::",
            "::10.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b:1::10.0.0.1",
        ] {
            assert!(!may_dial(address.parse().unwrap(), &[], false), "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::1.1.1.1"] {
            assert!(may_dial(address.parse().unwrap(), &[], false), "{address}");
            assert!(!may_dial(address.parse().unwrap(), &[], true), "{address} is the mesh's");
        }
        let networks: Vec<IpNet> = vec!["10.1.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (address, may) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("fd12::1", true), ("10.2.0.1", false), ("1.1.1.1", false)]
        {
            assert_eq!(may_dial(address.parse().unwrap(), &networks, true), may, "{address}");
        }
    }
}
