use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value as Json, json};

use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn head(fields: &[&str]) -> HttpHead {
    let mut headers = http::HeaderMap::new();
    for field in fields {
        headers.append(AUTHORIZATION, field.parse().unwrap());
    }
    HttpHead { method: http::Method::POST, path: "/mcp".into(), query: None, host: "h".into(), headers }
}

struct Signer {
    key: EncodingKey,
    algorithm: Algorithm,
    kid: Option<&'static str>,
    public: Vec<u8>,
}

impl Signer {
    fn new(params: &'static rcgen::SignatureAlgorithm, algorithm: Algorithm, kid: Option<&'static str>) -> Self {
        let pair = rcgen::KeyPair::generate_for(params).unwrap();
        let der = pair.serialize_der();
        let ed = algorithm == Algorithm::EdDSA;
        let key = if ed { EncodingKey::from_ed_der(&der) } else { EncodingKey::from_ec_der(&der) };
        Self { key, algorithm, kid, public: pair.public_key_raw().to_vec() }
    }

    fn ec(kid: Option<&'static str>) -> Self {
        Self::new(&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256, kid)
    }

    fn jwk(&self) -> Json {
        if self.algorithm == Algorithm::EdDSA {
            return json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": URL_SAFE_NO_PAD.encode(&self.public)});
        }
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = self.kid.map(str::to_owned);
        serde_json::to_value(jwk).unwrap()
    }

    fn sign(&self, claims: &Json) -> String {
        let header = Header { kid: self.kid.map(str::to_owned), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    /// Signs these very texts.
    fn sign_raw(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }
}

fn rule(keys: &[Json]) -> JwtRule {
    JwtRule {
        issuer: "https://iss".into(),
        audiences: vec![],
        jwks: json!({ "keys": keys }).to_string(),
        space_delimited: vec![],
    }
}

fn verify(rules: &[JwtRule], token: &str, now: u64) -> Result<Option<Claims>, TokenFault> {
    Verifier::from_inline(rules).unwrap().verify(&head(&[&format!("Bearer {token}")]), at(now))
}

#[test]
fn a_good_token_gives_its_claims() {
    for signer in [
        Signer::ec(Some("a")),
        Signer::ec(None),
        Signer::new(&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::ES384, Some("b")),
        Signer::new(&rcgen::PKCS_ED25519, Algorithm::EdDSA, Some("c")),
    ] {
        let token = signer.sign(&json!({"iss": "https://iss", "sub": "alice", "exp": 2000, "groups": ["x", 1]}));
        let claims = verify(&[rule(&[signer.jwk()])], &token, 1000).unwrap().unwrap();
        assert_eq!((claims.issuer(), claims.subject()), ("https://iss", Some("alice")));
        assert_eq!(claims.object().get("groups").unwrap().as_array().unwrap().len(), 2);
    }
}

#[test]
fn no_token_is_no_claims() {
    let verifier = Verifier::from_inline(&[rule(&[Signer::ec(None).jwk()])]).unwrap();
    for fields in [&[][..], &["Basic YTpi"], &["Bearerx a.b.c"], &["B"], &["Basic a", "Digest b"]] {
        assert_eq!(verifier.verify(&head(fields), at(0)), Ok(None), "{fields:?}");
    }
}

#[test]
fn malformed_tokens_are_refused() {
    let verifier = Verifier::from_inline(&[rule(&[Signer::ec(None).jwk()])]).unwrap();
    for fields in [
        &["Bearer"][..],
        &["Bearer "],
        &["bearer a.b.c"],
        &["Bearer a"],
        &["Bearer a.b"],
        &["Bearer ..."],
        &["Bearer e30.e30.e30.e30"],
        &["Bearer e30.e30."],
        &["Bearer a.b.c", "Basic x"],
        &["Basic x", "Bearer a.b.c"],
    ] {
        assert_eq!(verifier.verify(&head(fields), at(0)), Err(TokenFault::Malformed), "{fields:?}");
    }
}

#[test]
fn time_is_checked_where_it_is_said() {
    let signer = Signer::ec(None);
    let rows = [
        (json!({}), 5000, Ok(())),
        (json!({"exp": 1000}), 1059, Ok(())),
        (json!({"exp": 1000}), 1060, Err(TokenFault::Expired)),
        (json!({"exp": 1000.5}), 1060, Ok(())),
        (json!({"nbf": 1000}), 940, Ok(())),
        (json!({"nbf": 1000}), 939, Err(TokenFault::NotYetValid)),
        (json!({"exp": "1000"}), 0, Err(TokenFault::Malformed)),
        (json!({"nbf": null}), 0, Err(TokenFault::Malformed)),
    ];
    for (mut claims, now, want) in rows {
        claims["iss"] = "https://iss".into();
        let got = verify(&[rule(&[signer.jwk()])], &signer.sign(&claims), now).map(drop);
        assert_eq!(got, want, "{claims} at {now}");
    }
}

#[test]
fn issuer_audience_and_signature_must_fit() {
    let (signer, stranger) = (Signer::ec(None), Signer::ec(None));
    let aud = JwtRule { audiences: vec!["me".into()], ..rule(&[signer.jwk()]) };
    let iss = "https://iss";
    let rows = [
        (json!({"iss": iss, "aud": "me"}), &signer, Ok(())),
        (json!({"iss": iss, "aud": ["you", "me"]}), &signer, Ok(())),
        (json!({"iss": iss, "aud": ["you"]}), &signer, Err(TokenFault::Audience)),
        (json!({"iss": iss, "aud": {"me": 1}}), &signer, Err(TokenFault::Audience)),
        (json!({"iss": iss}), &signer, Err(TokenFault::Audience)),
        (json!({"iss": "https://iss/", "aud": "me"}), &signer, Err(TokenFault::Issuer)),
        (json!({"aud": "me"}), &signer, Err(TokenFault::Issuer)),
        (json!({"iss": 7, "aud": "me"}), &signer, Err(TokenFault::Issuer)),
        (json!({"iss": iss, "aud": "me"}), &stranger, Err(TokenFault::Signature)),
    ];
    for (claims, signer, want) in rows {
        assert_eq!(verify(std::slice::from_ref(&aud), &signer.sign(&claims), 0).map(drop), want, "{claims}");
    }
}

#[test]
fn the_token_does_not_choose_its_algorithm() {
    let signer = Signer::ec(None);
    let claims = r#"{"iss":"https://iss"}"#;
    for alg in ["none", "None", "HS256", "RS256", "ES384", "es256", ""] {
        let token = signer.sign_raw(&json!({ "alg": alg }).to_string(), claims);
        assert_eq!(verify(&[rule(&[signer.jwk()])], &token, 0), Err(TokenFault::Algorithm), "{alg}");
    }
    // The public key used as an HMAC secret, the oldest trick of all.
    let secret = signer.jwk().to_string();
    let header = Header::new(Algorithm::HS256);
    let token =
        jsonwebtoken::encode(&header, &json!({"iss": "https://iss"}), &EncodingKey::from_secret(secret.as_bytes()));
    assert_eq!(verify(&[rule(&[signer.jwk()])], &token.unwrap(), 0), Err(TokenFault::Algorithm));
}

#[test]
fn texts_that_two_readers_read_in_two_ways_are_refused() {
    let signer = Signer::ec(None);
    let good = r#"{"alg":"ES256"}"#;
    for (header, claims) in [
        (good, r#"{"iss":"https://iss","sub":"alice","sub":"root"}"#),
        (good, r#"{"iss":"https://iss","a":{"b":1,"b":2}}"#),
        (good, r#"{"iss":"https://iss","sub":"a","s\u0075b":"b"}"#),
        (good, r#"["https://iss"]"#),
        (good, r#"{"iss":"https://iss"} x"#),
        (r#"{"alg":"ES256","alg":"none"}"#, r#"{"iss":"https://iss"}"#),
        (r#"{"alg":"ES256","crit":["x"]}"#, r#"{"iss":"https://iss"}"#),
        (r#"{"alg":"ES256","b64":false}"#, r#"{"iss":"https://iss"}"#),
        (r#"{"alg":"ES256","kid":7}"#, r#"{"iss":"https://iss"}"#),
        (r#"{}"#, r#"{"iss":"https://iss"}"#),
    ] {
        let token = signer.sign_raw(header, claims);
        assert_eq!(verify(&[rule(&[signer.jwk()])], &token, 0), Err(TokenFault::Malformed), "{header} {claims}");
    }
    assert!(verify(&[rule(&[signer.jwk()])], &signer.sign_raw(good, r#"{"iss":"https://iss"}"#), 0).is_ok());
}

#[test]
fn keys_are_found_by_id_else_all_are_tried() {
    let (a, b, unnamed) = (Signer::ec(Some("a")), Signer::ec(Some("b")), Signer::ec(None));
    let rules = [rule(&[a.jwk(), b.jwk()])];
    let claims = json!({"iss": "https://iss"});
    assert!(verify(&rules, &b.sign(&claims), 0).is_ok());
    let renamed = Signer { kid: Some("gone"), ..b };
    assert!(verify(&rules, &renamed.sign(&claims), 0).is_ok(), "an id that no key has");
    let wrong = Signer { kid: Some("a"), ..renamed };
    assert_eq!(verify(&rules, &wrong.sign(&claims), 0), Err(TokenFault::Signature), "another key's id");
    assert_eq!(verify(&rules, &unnamed.sign(&claims), 0), Err(TokenFault::Signature));
    let two = [rule(&[a.jwk()]), rule(&[unnamed.jwk()])];
    assert!(verify(&two, &unnamed.sign(&claims), 0).is_ok(), "two rules of one issuer");
}

#[test]
fn unfit_key_sets_are_refused_at_load() {
    let signer = Signer::ec(None);
    let mut private = signer.jwk();
    private["d"] = "AA".into();
    let mut encryption = signer.jwk();
    encryption["use"] = "enc".into();
    let rows = [
        ("{".to_owned(), "no JWK set"),
        (json!({}).to_string(), "no JWK set"),
        (json!({"keys": []}).to_string(), "no key"),
        (json!({"keys": [{"kty": "oct", "k": "AA"}]}).to_string(), "symmetric"),
        (json!({"keys": [signer.jwk(), {"kty": "oct", "k": "AA", "alg": "HS256"}]}).to_string(), "symmetric"),
        (json!({"keys": [private]}).to_string(), "private"),
        (json!({"keys": [encryption]}).to_string(), "no key"),
        (json!({"keys": [{"kty": "EC", "crv": "P-256"}]}).to_string(), "no key"),
        (json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "*", "y": "*"}]}).to_string(), "does not parse"),
        (json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "HS256"}]}).to_string(), "no key"),
        (json!({"keys": [{"kty": "XYZ"}]}).to_string(), "no key"),
    ];
    for (jwks, want) in rows {
        let fault = Verifier::from_inline(&[JwtRule { jwks: jwks.clone(), ..rule(&[]) }]).unwrap_err();
        assert!(fault.to_string().contains(want), "{jwks}: {fault}");
    }
    assert_eq!(Verifier::from_inline(&[JwtRule { issuer: String::new(), ..rule(&[]) }]).unwrap_err(), KeyFault::Issuer);
}
