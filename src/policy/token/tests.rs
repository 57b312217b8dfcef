use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value as Json, json};

use http::header::{AUTHORIZATION, COOKIE, HeaderName};

use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn head(fields: &[&str]) -> HttpHead {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(AUTHORIZATION, field.parse().unwrap());
    }
    HttpHead { method: http::Method::POST, path: "/mcp".into(), query: None, host: "h".into(), headers }
}

pub(crate) struct Signer {
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

    pub(crate) fn ec(kid: Option<&'static str>) -> Self {
        Self::new(&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256, kid)
    }

    pub(crate) fn jwk(&self) -> Json {
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

/// A JWK set of these keys.
pub(crate) fn set_of(keys: &[Json]) -> String {
    json!({ "keys": keys }).to_string()
}

fn rule(keys: &[Json]) -> JwtRule {
    JwtRule {
        issuer: "https://iss".into(),
        audiences: vec![],
        keys: Keys::Inline(set_of(keys)),
        space_delimited: vec![],
        places: vec![],
        forward: false,
        payload_to: None,
        claims_to: vec![],
    }
}

fn claims_of(verifier: &Verifier, head: &HttpHead, now: u64) -> Result<Option<Claims>, TokenFault> {
    verifier.verify(head, at(now)).map(|verified| verified.claims).map_err(|unverified| unverified.fault)
}

fn verify(rules: &[JwtRule], token: &str, now: u64) -> Result<Option<Claims>, TokenFault> {
    claims_of(&Verifier::new(rules).unwrap(), &head(&[&format!("Bearer {token}")]), now)
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
    let verifier = Verifier::new(&[rule(&[Signer::ec(None).jwk()])]).unwrap();
    for fields in [&[][..], &["Basic YTpi"], &["Bearerx a.b.c"], &["B"], &["Basic a", "Digest b"]] {
        assert_eq!(claims_of(&verifier, &head(fields), 0), Ok(None), "{fields:?}");
    }
}

#[test]
fn malformed_tokens_are_refused() {
    let verifier = Verifier::new(&[rule(&[Signer::ec(None).jwk()])]).unwrap();
    for fields in [
        &["Bearer"][..],
        &["Bearer "],
        &["bearer a.b.c"],
        &["Bearer\ta.b.c"],
        &["Bearer\t"],
        &["Bearer a"],
        &["Bearer a.b"],
        &["Bearer ..."],
        &["Bearer e30.e30.e30.e30"],
        &["Bearer e30.e30."],
        &["Bearer a.b.c", "Basic x"],
        &["Basic x", "Bearer a.b.c"],
    ] {
        assert_eq!(claims_of(&verifier, &head(fields), 0), Err(TokenFault::Malformed), "{fields:?}");
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
        let fault = Verifier::new(&[JwtRule { keys: Keys::Inline(jwks.clone()), ..rule(&[]) }]).unwrap_err();
        assert!(fault.to_string().contains(want), "{jwks}: {fault}");
    }
    assert_eq!(Verifier::new(&[JwtRule { issuer: String::new(), ..rule(&[]) }]).unwrap_err(), KeyFault::Issuer);
}

#[test]
fn sets_that_issuers_publish_are_taken_for_the_keys_that_are_fit() {
    let signer = Signer::ec(None);
    let mut private = signer.jwk();
    private["d"] = "AA".into();
    let mixed = set_of(&[json!({"kty": "oct", "k": "AA"}), private.clone(), json!({"kty": "EC"}), signer.jwk()]);
    assert_eq!(KeySet::fetched(mixed.as_bytes()).unwrap().len(), 1);
    let many = vec![signer.jwk(); crate::config::limits::JWKS_MAX_KEYS + 1];
    for bad in [set_of(&[private]), set_of(&[]), set_of(&many), "<html>".to_owned(), "{}".to_owned(), "[]".to_owned()] {
        assert!(KeySet::fetched(bad.as_bytes()).is_err(), "{bad}");
    }
}

/// A request with these fields and this query.
fn request(fields: &[(&str, &str)], query: Option<&str>) -> HttpHead {
    let mut head = head(&[]);
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        head.headers.append(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    HttpHead { query: query.map(str::to_owned), ..head }
}

fn edited(verifier: &Verifier, head: &HttpHead) -> Result<(bool, HttpHead), TokenFault> {
    let verified = verifier.verify(head, at(0)).map_err(|unverified| unverified.fault)?;
    let mut after = head.clone();
    verified.edits.apply(&mut after);
    let changed = after.headers != head.headers || after.query != head.query;
    assert_eq!(verified.edits.change(head), changed || verified.edits.change(&after), "{head:?}");
    Ok((verified.claims.is_some(), after))
}

fn name(text: &str) -> HeaderName {
    text.parse().unwrap()
}

#[test]
fn a_token_is_found_where_the_rule_says_and_taken_out_of_there() {
    let signer = Signer::ec(None);
    let t = signer.sign(&json!({"iss": "https://iss"}));
    let places = vec![
        Place::header(name("x-jwt"), "JWT "),
        Place::header(name("x-bare"), ""),
        Place::param("my token"),
        Place::cookie("sid"),
    ];
    let own = JwtRule { places, ..rule(&[signer.jwk()]) };
    let (own, default) = (Verifier::new(&[own]).unwrap(), Verifier::new(&[rule(&[signer.jwk()])]).unwrap());
    let bearer = format!("Bearer {t}");
    // Verifier, fields, query; whether a token was found; fields and query that are left.
    type Row<'a> =
        (&'a Verifier, Vec<(&'a str, String)>, Option<String>, bool, Vec<(&'a str, &'a str)>, Option<&'a str>);
    let rows: Vec<Row<'_>> = vec![
        (&default, vec![("authorization", bearer.clone())], None, true, vec![], None),
        (&default, vec![("authorization", format!("bEARER  {t} "))], None, true, vec![], None),
        (&default, vec![], Some(format!("a=1&access_token={t}&b=%20")), true, vec![], Some("a=1&b=%20")),
        (&default, vec![], Some(format!("access%5Ftoken={t}")), true, vec![], None),
        (&default, vec![("x-jwt", format!("JWT {t}"))], None, false, vec![("x-jwt", "JWT")], None),
        (&own, vec![("x-jwt", format!("JWT {t}"))], Some("a".into()), true, vec![], Some("a")),
        (&own, vec![("x-jwt", format!("jwt {t}"))], None, true, vec![], None),
        (&own, vec![("x-bare", t.clone()), ("cookie", "a=b".into())], None, true, vec![("cookie", "a=b")], None),
        (&own, vec![], Some(format!("x&my+token={t}")), true, vec![], Some("x")),
        (&own, vec![("cookie", format!("a=b; sid={t}; c"))], None, true, vec![("cookie", "a=b; c")], None),
        (&own, vec![("cookie", format!("sid=\"{t}\""))], None, true, vec![], None),
        (
            &own,
            vec![("cookie", "x=y".into()), ("cookie", format!("sid={t}"))],
            None,
            true,
            vec![("cookie", "x=y")],
            None,
        ),
        // The default places are none of a rule that names its own.
        (&own, vec![("authorization", bearer)], None, false, vec![("authorization", "Bearer")], None),
        (&own, vec![], Some(format!("access_token={t}")), false, vec![], Some("access_token")),
        (&own, vec![("cookie", format!("SID={t}"))], None, false, vec![("cookie", "SID")], None),
        (&own, vec![("x-jwt", "Basic abc".into())], None, false, vec![("x-jwt", "Basic")], None),
    ];
    for (verifier, fields, query, found, left, rest) in rows {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (claims, after) = edited(verifier, &request(&fields, query.as_deref())).unwrap();
        assert_eq!(claims, found, "{fields:?} {query:?}");
        assert_eq!(after.headers.len(), left.len(), "{fields:?}: {:?}", after.headers);
        for (name, value) in left {
            assert!(after.headers[name].to_str().unwrap().starts_with(value), "{fields:?}: {:?}", after.headers);
        }
        let query = after.query.as_deref();
        assert!(query == rest || !found && query.unwrap().starts_with(rest.unwrap()), "{query:?}");
        assert!(!found || !format!("{after:?}").contains(&t), "{after:?}");
    }
}

#[test]
fn a_token_twice_is_refused_wherever_it_stands() {
    let signer = Signer::ec(None);
    let t = signer.sign(&json!({"iss": "https://iss"}));
    let places = vec![Place::header(name("x-jwt"), ""), Place::param("t"), Place::cookie("c")];
    let own = Verifier::new(&[JwtRule { places, ..rule(&[signer.jwk()]) }]).unwrap();
    let default = Verifier::new(&[rule(&[signer.jwk()])]).unwrap();
    let two = Verifier::new(&[
        rule(&[signer.jwk()]),
        JwtRule { places: vec![Place::header(name("x-jwt"), "")], ..rule(&[signer.jwk()]) },
    ])
    .unwrap();
    let (bearer, cookie) = (format!("Bearer {t}"), format!("c={t}"));
    let (several, malformed) = (TokenFault::Several, TokenFault::Malformed);
    type Row<'a> = (&'a Verifier, Vec<(&'a str, &'a str)>, Option<String>, TokenFault);
    let rows: Vec<Row<'_>> = vec![
        (&default, vec![("authorization", &bearer)], Some(format!("access_token={t}")), several),
        (&default, vec![], Some(format!("access_token={t}&access_token={t}")), malformed),
        (&default, vec![], Some(format!("access_token={t}&access%5ftoken=x")), malformed),
        (&default, vec![], Some("access_token=".into()), malformed),
        (&default, vec![], Some("access_token".into()), malformed),
        (&own, vec![("x-jwt", &t), ("cookie", &cookie)], None, several),
        (&own, vec![("x-jwt", &t), ("x-jwt", &t)], None, malformed),
        (&own, vec![("x-jwt", &t), ("x-jwt", "x")], None, malformed),
        (&own, vec![("x-jwt", "")], None, malformed),
        (&own, vec![("x-jwt", &t), ("x_jwt", "x")], None, malformed),
        (&own, vec![("x_jwt", &t)], None, malformed),
        (&own, vec![("cookie", &cookie), ("cookie", &cookie)], None, malformed),
        (&own, vec![("cookie", "c=1; c=2")], None, malformed),
        (&two, vec![("authorization", &bearer), ("x-jwt", &t)], None, several),
    ];
    for (verifier, fields, query, want) in rows {
        assert_eq!(edited(verifier, &request(&fields, query.as_deref())).map(drop), Err(want), "{fields:?} {query:?}");
    }
}

#[test]
fn an_issuer_is_taken_only_where_its_rule_looks() {
    let (a, b) = (Signer::ec(None), Signer::ec(None));
    let other =
        JwtRule { issuer: "https://other".into(), places: vec![Place::header(name("x-jwt"), "")], ..rule(&[b.jwk()]) };
    let verifier = Verifier::new(&[rule(&[a.jwk()]), other]).unwrap();
    let token = |signer: &Signer, issuer: &str| signer.sign(&json!({ "iss": issuer }));
    let (ours, theirs) = (token(&a, "https://iss"), token(&b, "https://other"));
    let bearer = |token: &str| format!("Bearer {token}");
    let rows = [
        ("authorization", bearer(&ours), Ok(Some("https://iss".to_owned()))),
        ("x-jwt", theirs.clone(), Ok(Some("https://other".to_owned()))),
        ("authorization", bearer(&theirs), Err(TokenFault::Issuer)),
        ("x-jwt", ours, Err(TokenFault::Issuer)),
        ("authorization", bearer(&token(&b, "https://iss")), Err(TokenFault::Signature)),
    ];
    for (field, value, want) in rows {
        let claims = claims_of(&verifier, &request(&[(field, &value)], None), 0);
        assert_eq!(claims.map(|claims| claims.map(|claims| claims.issuer().to_owned())), want, "{field} {value}");
    }
}

#[test]
fn claims_become_fields_and_nobody_else_fills_them() {
    let signer = Signer::ec(None);
    let outputs = [
        ("x-sub", "sub"),
        ("x-age", "age"),
        ("x-on", "flags.on"),
        ("x-deep", "a.b.c"),
        ("x-dotted", "https://idp.example/tenant"),
        ("x-list", "groups"),
        ("x-float", "float"),
        ("x-null", "nothing"),
        ("x-gone", "gone"),
        ("x-lines", "lines"),
        ("x-space", "space"),
        ("x-umlaut", "umlaut"),
    ];
    let claims_to = outputs.iter().map(|(field, claim)| (name(field), (*claim).to_owned())).collect();
    let own = JwtRule { claims_to, payload_to: Some(name("x-payload")), forward: true, ..rule(&[signer.jwk()]) };
    let other =
        JwtRule { issuer: "https://other".into(), claims_to: vec![(name("x-other"), "sub".into())], ..own.clone() };
    let verifier = Verifier::new(&[own, other]).unwrap();
    let token = signer.sign(&json!({
        "iss": "https://iss", "sub": "alice", "age": -7, "flags": {"on": true}, "a": {"b": {"c": "d"}}, "float": 1.5,
        "https://idp.example/tenant": "t1", "groups": ["x"], "nothing": null, "lines": "a\r\nx-sub: root", "space": " x",
        "umlaut": "J\u{f6}rg",
    }));
    let forged: Vec<(&str, &str)> = outputs.iter().map(|(field, _)| (*field, "root")).collect();
    let more = [("X_Sub", "root"), ("x-other", "root"), ("X-PAYLOAD", "e30"), ("x-sub", "twice"), ("x-own", "stays")];
    let mut fields: Vec<(&str, &str)> = forged.into_iter().chain(more).collect();
    let (found, after) = edited(&verifier, &request(&fields, None)).unwrap();
    let left: Vec<&str> = after.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!((found, left), (false, vec!["x-own"]), "nobody has said anything");
    let bearer = format!("Bearer {token}");
    fields.push(("authorization", &bearer));
    let (found, after) = edited(&verifier, &request(&fields, None)).unwrap();
    assert!(found && after.headers[AUTHORIZATION] == bearer, "forwarded as the rule says");
    let payload = token.split('.').nth(1).unwrap();
    let mut want = vec![
        ("x-sub", "alice"),
        ("x-age", "-7"),
        ("x-on", "true"),
        ("x-deep", "d"),
        ("x-dotted", "t1"),
        ("x-umlaut", "J\u{f6}rg"),
        ("x-payload", payload),
        ("x-own", "stays"),
        ("authorization", &bearer),
    ];
    want.sort_unstable();
    let mut got: Vec<(&str, &str)> = after
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), std::str::from_utf8(value.as_bytes()).unwrap()))
        .collect();
    got.sort_unstable();
    assert_eq!(got, want);
}

#[test]
fn cookies_that_are_no_text_are_refused_and_other_ones_stay() {
    let signer = Signer::ec(None);
    let own = Verifier::new(&[JwtRule { places: vec![Place::cookie("c")], ..rule(&[signer.jwk()]) }]).unwrap();
    let mut head = request(&[], None);
    head.headers.insert(COOKIE, http::HeaderValue::from_bytes(b"c=\xff").unwrap());
    assert_eq!(claims_of(&own, &head, 0), Err(TokenFault::Malformed));
    assert_eq!(claims_of(&own, &request(&[("cookie", "d=1; cc=2; c")], None), 0), Ok(None));
}

#[test]
fn a_token_is_of_bounded_size() {
    let signer = Signer::ec(None);
    let token = signer.sign(&json!({"iss": "https://iss", "x": "y".repeat(MAX_TOKEN)}));
    assert_eq!(verify(&[rule(&[signer.jwk()])], &token, 0), Err(TokenFault::Malformed));
}

#[test]
fn keys_that_are_fetched_verify_once_they_are_there_and_may_be_asked_for_anew() {
    let (old, new) = (Signer::ec(Some("old")), Signer::ec(Some("new")));
    let ring = Keyring::default();
    let source = KeySource::Set(KeyUrl::parse("https://idp/keys").unwrap());
    let lease = ring.keys("tools", source, Duration::from_secs(5)).unwrap();
    let keys = lease.keys();
    let rule = JwtRule { keys: Keys::Remote(Arc::clone(&lease)), ..rule(&[]) };
    let verifier = Verifier::new(std::slice::from_ref(&rule)).unwrap();
    let ask = |signer: &Signer| {
        let token = signer.sign(&json!({"iss": "https://iss"}));
        let result = verifier.verify(&head(&[&format!("Bearer {token}")]), at(0));
        result.map(drop).map_err(|unverified| (unverified.fault, unverified.keys.is_some()))
    };
    assert_eq!(ask(&old), Err((TokenFault::NoKeys, true)));
    keys.fetched(KeySet::fetched(set_of(&[old.jwk()]).as_bytes()).unwrap());
    assert_eq!(ask(&old), Ok(()));
    assert_eq!(ask(&new), Err((TokenFault::Signature, true)), "another key may be the issuer's by now");
    assert_eq!(ask(&Signer::ec(Some("old"))), Err((TokenFault::Signature, false)), "forged under a known id");
    keys.fetched(KeySet::fetched(set_of(&[new.jwk()]).as_bytes()).unwrap());
    assert_eq!((ask(&new), ask(&old)), (Ok(()), Err((TokenFault::Signature, true))));
}
