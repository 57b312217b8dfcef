//! A2A over gRPC: no bytes panic, and a message behind itself, which protobuf merges, never passes.
#![no_main]

use agent_waypoint::call::{A2aOperation, A2aVersion, HttpHead};
use agent_waypoint::wire::a2a::{Route, card_of_proto, decode, learn_proto};
use agent_waypoint::wire::grpc::Frames;
use http::{HeaderMap, Method};
use libfuzzer_sys::fuzz_target;

fn framed(message: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).expect("short").to_be_bytes());
    body.extend_from_slice(message);
    body
}

fuzz_target!(|bytes: &[u8]| {
    let head =
        HttpHead { method: Method::POST, path: "/".into(), query: None, host: "a".into(), headers: HeaderMap::new() };
    for version in [A2aVersion::V0_3, A2aVersion::V1_0] {
        for operation in A2aOperation::ALL {
            let route = Route::Grpc { operation, version };
            drop(decode(&route, &head, bytes));
            if decode(&route, &head, &framed(bytes)).is_ok() && operation.sends() {
                assert!(decode(&route, &head, &framed(&[bytes, bytes].concat())).is_err(), "merged");
            }
            drop(learn_proto(operation, version, bytes));
        }
        drop(card_of_proto(version, bytes));
    }
    let mut frames = Frames::new(1 << 16);
    frames.push(bytes);
    while let Ok(Some(_)) = frames.next_frame() {}
});
