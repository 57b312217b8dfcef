use std::collections::HashMap;

use prost::Message as _;

use super::*;
use crate::wire::grpc::{Fields, Wire};

/// Every field by its number, and what is below it.
fn numbers(bytes: &[u8]) -> Vec<u32> {
    let mut fields = Fields::new(bytes);
    let mut out = Vec::new();
    while let Some((number, _)) = fields.next_field().unwrap() {
        out.push(number);
    }
    out
}

fn below(bytes: &[u8], path: &[u32]) -> Vec<u8> {
    let Some((first, rest)) = path.split_first() else { return bytes.to_vec() };
    let mut fields = Fields::new(bytes);
    while let Some((number, value)) = fields.next_field().unwrap() {
        if let (true, Wire::Bytes(inner)) = (number == *first, value) {
            return below(inner, rest);
        }
    }
    panic!("no field {first}");
}

fn one(key: &str) -> HeaderValueOption {
    let header = Some(HeaderValue { key: key.into(), value: "v".into(), raw_value: b"r".to_vec() });
    HeaderValueOption { header, append: Some(true), append_action: 2 }
}

/// The numbers of Envoy's own files (external_auth.proto, attribute_context.proto, and what they import).
#[test]
fn field_numbers_are_envoys() {
    let socket_address = Some(SocketAddress { address: "1.2.3.4".into(), port_value: 80 });
    let peer = Peer { address: Some(Address { socket_address }), service: "s".into(), principal: "p".into() };
    let http = HttpRequest {
        id: "i".into(),
        method: "GET".into(),
        headers: HashMap::from([("a".into(), "b".into())]),
        path: "/".into(),
        host: "h".into(),
        scheme: "http".into(),
        size: -1,
        protocol: "HTTP/1.1".into(),
        body: "b".into(),
        raw_body: b"r".to_vec(),
    };
    let time = Some(prost_types::Timestamp { seconds: 1, nanos: 2 });
    let request = CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(peer.clone()),
            destination: Some(peer),
            request: Some(Request { time, http: Some(http) }),
            context_extensions: HashMap::from([("k".into(), "v".into())]),
        }),
    };
    let bytes = request.encode_to_vec();
    for (path, expected) in [
        (&[][..], &[1][..]),
        (&[1], &[1, 2, 4, 10]),
        (&[1, 1], &[1, 2, 4]),
        (&[1, 1, 1], &[1]),
        (&[1, 1, 1, 1], &[2, 3]),
        (&[1, 4], &[1, 2]),
        (&[1, 4, 1], &[]),
        (&[1, 4, 2], &[1, 2, 3, 4, 5, 6, 9, 10, 11, 12]),
        (&[1, 4, 2, 3], &[1, 2]),
    ] {
        let found = below(&bytes, path);
        if path != [1, 4, 1] {
            assert_eq!(numbers(&found), expected, "{path:?}");
        }
    }
}

/// The same of answers.
#[test]
fn field_numbers_of_answers_are_envoys() {
    let ok = OkHttpResponse {
        headers: vec![one("a")],
        headers_to_remove: vec!["b".into()],
        response_headers_to_add: vec![one("c")],
        query_parameters_to_set: vec![QueryParameter { key: "k".into(), value: "v".into() }],
        query_parameters_to_remove: vec!["q".into()],
    };
    let status = Some(Status { code: 7, message: "m".into() });
    let allows = CheckResponse { status: status.clone(), http_response: Some(HttpResponse::OkResponse(ok)) };
    let bytes = allows.encode_to_vec();
    assert_eq!(numbers(&bytes), [1, 3]);
    assert_eq!(numbers(&below(&bytes, &[1])), [1, 2]);
    assert_eq!(numbers(&below(&bytes, &[3])), [2, 5, 6, 7, 8]);
    assert_eq!(numbers(&below(&bytes, &[3, 2])), [1, 2, 3]);
    assert_eq!(numbers(&below(&bytes, &[3, 2, 1])), [1, 2, 3]);
    assert_eq!(numbers(&below(&bytes, &[3, 7])), [1, 2]);
    let denied =
        DeniedHttpResponse { status: Some(HttpStatus { code: 401 }), headers: vec![one("a")], body: "b".into() };
    let denies =
        CheckResponse { status: status.clone(), http_response: Some(HttpResponse::DeniedResponse(denied.clone())) };
    let bytes = denies.encode_to_vec();
    assert_eq!((numbers(&bytes), numbers(&below(&bytes, &[2]))), (vec![1, 2], vec![1, 2, 3]));
    assert_eq!(numbers(&below(&bytes, &[2, 1])), [1]);
    let failed = CheckResponse { status, http_response: Some(HttpResponse::ErrorResponse(denied)) };
    assert_eq!(numbers(&failed.encode_to_vec()), [1, 5]);
}

#[test]
fn a_message_goes_framed_and_comes_framed() {
    let request = CheckRequest { attributes: Some(AttributeContext::default()) };
    assert_eq!(framed(&request).as_ref(), [0, 0, 0, 0, 2, 0x0a, 0]);
    assert_eq!(answer(&[0, 0, 0, 0, 2, 0x0a, 0]).unwrap().status, Some(Status::default()));
    assert_eq!(answer(&[0, 0, 0, 0, 0]).unwrap(), CheckResponse::default());
    for bad in [&[][..], &[0, 0, 0, 0, 2, 0x0a], &[1, 0, 0, 0, 2, 0x0a, 0], &[0, 0, 0, 0, 1, 0xff], &[0; 10]] {
        assert!(answer(bad).is_err(), "{bad:?}");
    }
}
