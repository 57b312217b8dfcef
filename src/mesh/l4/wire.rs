//! `security.Address` in protobuf's JSON: bytes in base64, and how many bits of them count.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Address {
    address: String,
    #[serde(default)]
    length: u8,
}

pub(super) fn serialize<S: Serializer>(nets: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    let bytes = |net: &IpNet| match net.addr() {
        IpAddr::V4(ip) => STANDARD.encode(ip.octets()),
        IpAddr::V6(ip) => STANDARD.encode(ip.octets()),
    };
    let list: Vec<Address> = nets.iter().map(|net| Address { address: bytes(net), length: net.prefix_len() }).collect();
    list.serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    Vec::<Address>::deserialize(deserializer)?.iter().map(|one| read(one).map_err(D::Error::custom)).collect()
}

fn read(written: &Address) -> Result<IpNet, String> {
    let bytes = STANDARD.decode(&written.address).map_err(|error| format!("{:?}: {error}", written.address))?;
    let ip = ip(&bytes).ok_or_else(|| format!("{:?}: {} bytes are no IP address", written.address, bytes.len()))?;
    IpNet::new(ip, written.length).map_err(|error| format!("{ip}/{}: {error}", written.length))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
