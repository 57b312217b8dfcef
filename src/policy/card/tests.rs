use super::*;
use crate::wire::json;

/// A card that the Python SDK (a2a-sdk 1.3.0) signed, and its key.
const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "7jobCXBdBwMSfg1VlFb9mQqvZzg9KFJiZ3ajDP414I8", "y": "ej8KxHm5zdcWKoHCxuAZaF1bt04y8oaH979wYS0HN-U", "kid": "k1", "alg": "ES256"}]}"#;
const CARD: &str = r#"{"name": "reckoner €", "description": "adds", "supportedInterfaces": [{"url": "http://127.0.9.7:80", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}], "version": "1", "capabilities": {"streaming": true, "pushNotifications": false}, "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"], "skills": [{"id": "add", "name": "add", "description": "adds", "tags": ["x"]}], "signatures": [{"protected": "eyJhbGciOiJFUzI1NiIsImprdSI6Imh0dHBzOi8vZXZpbC5leGFtcGxlL2tleXMiLCJraWQiOiJrMSIsInR5cCI6IkpPU0UifQ", "signature": "HQsSyrxcINFZaCQAmJWOqy72e87AoIum60hiEvYWWYgSWojkNHoTrbtNVNMFvpjD8QhVVShRXneIPAyBv2ZmDQ", "header": {"note": "unprotected"}}]}"#;
/// Another key.
const OTHERS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "WKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis", "y": "y77t-RvAHRKTsSGdIYUfweuOvwrvDD-Q3Hv5J0fSKbE", "kid": "k1"}]}"#;

/// The same card in protobuf.
const PROTO: &str = "0a0c7265636b6f6e657220e282ac1204616464731a230a13687474703a2f2f3132372e302e392e373a383012074a534f4e5250432203312e302a01313a0408011000520a746578742f706c61696e5a0a746578742f706c61696e62130a0361646412036164641a04616464732201786ad5010a6265794a68624763694f694a46557a49314e694973496d707264534936496d68306448427a4f6938765a585a706243356c654746746347786c4c32746c65584d694c434a72615751694f694a724d534973496e523563434936496b705055305569665112564851735379727863494e465a614351416d4a574f71793732653837416f49756d363068694576595757596753576f6a6b4e486f547262744e564e4d4676706a443851685656536852586e65495041794276325a6d44511a170a150a046e6f7465120d1a0b756e70726f746563746564";

fn object(text: &str) -> Object {
    json::parse(text.as_bytes()).unwrap().as_object().cloned().unwrap()
}

fn trust(jwks: &[&str], digests: &[&str]) -> (Trust, usize) {
    let (mut trust, mut problems) = (Trust::default(), Problems::default());
    for jwks in jwks {
        trust.add(&CardTrust { jwks: Some((*jwks).to_owned()), digests: Vec::new() }, &mut problems);
    }
    if !digests.is_empty() {
        let digests = digests.iter().map(|digest| (*digest).to_owned()).collect();
        trust.add(&CardTrust { jwks: None, digests }, &mut problems);
    }
    (trust, problems.into_vec().len())
}

fn verdict(trust: &Trust, card: &str) -> (bool, Option<CardFault>) {
    let card = trust.look(&object(card));
    (card.verified, trust.refuses(&card))
}

#[test]
fn a_card_of_the_sdk_is_believed_with_its_key_and_no_other() {
    let (ours, problems) = trust(&[JWKS], &[]);
    assert_eq!(problems, 0);
    let card = ours.look(&object(CARD));
    assert_eq!((card.verified, card.key_id.as_deref()), (true, Some("k1")));
    assert_eq!(card.skills, [Arc::from("add")]);
    assert_eq!(verdict(&ours, CARD), (true, None));
    assert_eq!(verdict(&trust(&[OTHERS], &[]).0, CARD), (false, Some(CardFault::NotSigned)));
    assert_eq!(verdict(&trust(&[OTHERS, JWKS], &[]).0, CARD), (true, None), "of several sets any");
    assert!(Trust::default().is_anybodys());
    assert_eq!(verdict(&Trust::default(), CARD), (false, None), "nobody asked");
}

#[test]
fn whatever_is_changed_or_added_is_not_signed() {
    let (ours, _) = trust(&[JWKS], &[]);
    let spaced = CARD.replace(": ", ":  ").replace("\u{20ac}", r"\u20ac");
    assert_eq!(verdict(&ours, &spaced), (true, None), "white space and escapes are no change");
    let empty = CARD.replacen('{', r#"{"documentationUrl": "", "securityRequirements": [], "#, 1);
    assert_eq!(verdict(&ours, &empty), (true, None), "nor is what is empty");
    for changed in [
        CARD.replace("http://127.0.9.7:80", "http://127.0.9.8:80"),
        CARD.replace("\"adds\", \"tags\"", "\"subtracts\", \"tags\""),
        CARD.replace("true", "false"),
        CARD.replacen('{', r#"{"url": "https://elsewhere.example/", "#, 1),
        CARD.replacen('{', r#"{"additionalInterfaces": [{"url": "https://elsewhere.example/"}], "#, 1),
        CARD.replace("\"tags\"", "\"x-more\": 1, \"tags\""),
        CARD.replace("eyJhbGci", "eyJhbGcj"),
        CARD.replace("HQsSyr", "HQsSys"),
        CARD.replace("\"signatures\"", "\"Signatures\""),
        // No algorithm, and none of the key's: `{"alg":"none"}`, `{"alg":"HS256"}`.
        CARD.replace(
            "eyJhbGciOiJFUzI1NiIsImprdSI6Imh0dHBzOi8vZXZpbC5leGFtcGxlL2tleXMiLCJraWQiOiJrMSIsInR5cCI6IkpPU0UifQ",
            "eyJhbGciOiJub25lIn0",
        ),
        CARD.replace(
            "eyJhbGciOiJFUzI1NiIsImprdSI6Imh0dHBzOi8vZXZpbC5leGFtcGxlL2tleXMiLCJraWQiOiJrMSIsInR5cCI6IkpPU0UifQ",
            "eyJhbGciOiJIUzI1NiJ9",
        ),
    ] {
        assert_ne!(changed, CARD);
        assert_eq!(verdict(&ours, &changed), (false, Some(CardFault::NotSigned)), "{changed}");
    }
    // Of several signatures one is enough.
    let twice =
        CARD.replace("\"signatures\": [", "\"signatures\": [{\"protected\": \"e30\", \"signature\": \"\"}, 7, ");
    assert_eq!(verdict(&ours, &twice), (true, None));
}

#[test]
fn pins_are_of_the_card_without_its_signatures() {
    let (ours, _) = trust(&[JWKS], &[]);
    let digest = ours.look(&object(CARD)).digest;
    let unsigned = CARD.split(", \"signatures\"").next().unwrap().to_owned() + "}";
    let (pinned, problems) =
        trust(&[], &["sha256:0000000000000000000000000000000000000000000000000000000000000000", &digest]);
    assert_eq!(problems, 0);
    assert_eq!(verdict(&pinned, CARD), (false, None));
    assert_eq!(verdict(&pinned, &unsigned), (false, None), "signed anew or not at all");
    assert_eq!(verdict(&pinned, &CARD.replace("adds", "takes")), (false, Some(CardFault::NotPinned)));
    let (both, _) = trust(&[JWKS], &[&digest]);
    assert_eq!(verdict(&both, CARD), (true, None));
    assert_eq!(verdict(&both, &unsigned), (false, Some(CardFault::NotSigned)));
}

#[test]
fn what_could_trust_nothing_or_anything_is_a_problem() {
    let oct = r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#;
    for jwks in ["", "{}", r#"{"keys":[]}"#, oct, "https://keys.example/"] {
        assert_eq!(trust(&[jwks], &[]).1, 1, "{jwks}");
    }
    for digest in ["", "sha256:", "sha256:zz", &format!("sha256:{}", "A".repeat(64)), &"a".repeat(64)] {
        assert_eq!(trust(&[], &[digest]).1, 1, "{digest}");
    }
    let mut problems = Problems::default();
    Trust::default().add(&CardTrust::default(), &mut problems);
    assert_eq!(problems.into_vec().len(), 1);
}

#[test]
fn a_card_is_the_same_in_protobuf() {
    use crate::call::A2aVersion;
    use crate::wire::a2a::card_of_proto;
    let byte = |at: usize| PROTO.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap();
    let bytes: Vec<u8> = (0..PROTO.len()).step_by(2).map(byte).collect();
    let (ours, _) = trust(&[JWKS], &[]);
    let card = ours.look(&card_of_proto(A2aVersion::V1_0, &bytes).unwrap());
    assert_eq!((card.verified, card.key_id.as_deref()), (true, Some("k1")));
    assert_eq!(card.digest, ours.look(&object(CARD)).digest, "one pin for every binding");
    let at = bytes.windows(9).position(|text| text == b"127.0.9.7").unwrap() + 8;
    let mut other = bytes.clone();
    other[at] = b'8';
    assert!(!ours.look(&card_of_proto(A2aVersion::V1_0, &other).unwrap()).verified);
    // Field 99, of a version to come: no signature is over it.
    let later = [&bytes[..], b"\x9a\x06\x01x"].concat();
    let card = ours.look(&card_of_proto(A2aVersion::V1_0, &later).unwrap());
    assert!(!card.verified && card.digest != ours.look(&object(CARD)).digest);
    // A security scheme is a map: field 8, key `k`, value {mtlsSecurityScheme {description: "d"}}.
    let scheme = b"\x42\x0a\x0a\x01k\x12\x05\x2a\x03\x0a\x01d";
    let more = [&bytes[..], scheme].concat();
    let read = card_of_proto(A2aVersion::V1_0, &more).unwrap();
    let described =
        read.get("securitySchemes").and_then(|all| all.get("k")?.get("mtlsSecurityScheme")?.get("description"));
    assert_eq!(described.and_then(crate::call::Value::as_str), Some("d"));
    assert!(!ours.look(&read).verified);
    assert!(card_of_proto(A2aVersion::V1_0, &[&more[..], scheme].concat()).is_err(), "a key twice");
}

#[test]
fn skills_of_any_length_take_no_more_memory_than_is_known_before() {
    let skills: Vec<_> = (1..=600).map(|at| format!(r#"{{"id": "{}"}}"#, "x".repeat(at))).collect();
    let card = format!(r#"{{"name": "a", "skills": [{}]}}"#, skills.join(","));
    let skills = Trust::default().look(&object(&card)).skills;
    assert_eq!((skills.len(), skills.iter().map(|id| id.len()).max()), (256, Some(256)));
}
