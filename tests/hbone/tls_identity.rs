//! Who is let through a mesh handshake, and why not: both directions, over an in-memory connection.

use std::sync::Arc;
use std::time::Duration;

use agent_waypoint::fault::Faulty;
use agent_waypoint::mesh::AltName;
use agent_waypoint::tls::{self, Bundles, Expect, HandshakeFault, Identity, IdentityFault, SvidFault};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose as Eku, IsCa, KeyUsagePurpose, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme, SupportedProtocolVersion};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::pki::{self, ALICE, Ca, Pair, SERVER, WAYPOINT, id, ids, leaf, td};

/// What a hostile or broken certificate looks like, and the reason it must be refused by.
fn hostile(ca: &Ca, stranger: &Ca) -> Vec<(&'static str, Pair, &'static str)> {
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = leaf(&[ALICE]);
        change(&mut params);
        ca.issue(&params)
    };
    let hour = Duration::from_secs(3_600);
    let key = rcgen::KeyPair::generate().unwrap();
    let self_signed = leaf(&[ALICE]).self_signed(&key).unwrap();
    let mut rows = vec![
        ("self-signed", Pair { chain: vec![self_signed.der().clone()], key: key.serialize_der() }, "bad_chain"),
        ("unknown CA", stranger.good(ALICE), "bad_chain"),
        ("expired", with(&|p| p.not_after = OffsetDateTime::now_utc() - Duration::from_secs(5)), "expired"),
        ("not yet valid", with(&|p| p.not_before = OffsetDateTime::now_utc() + hour / 2), "expired"),
        ("wrong trust domain", ca.good("spiffe://elsewhere/ns/agents/sa/alice"), "unknown_trust_domain"),
        ("no SAN", ca.issue(&leaf(&[])), "no_spiffe_san"),
        (
            "DNS SAN only",
            with(&|p| p.subject_alt_names = vec![SanType::DnsName("alice.agents".try_into().unwrap())]),
            "no_spiffe_san",
        ),
        ("two URI SANs", ca.issue(&leaf(&[ALICE, SERVER])), "several_uri_sans"),
        ("two URI SANs, other order", ca.issue(&leaf(&[SERVER, ALICE])), "several_uri_sans"),
        ("the same URI SAN twice", ca.issue(&leaf(&[ALICE, ALICE])), "several_uri_sans"),
        ("SPIFFE and https", ca.issue(&leaf(&[ALICE, "https://a.example/"])), "several_uri_sans"),
        ("CA:TRUE leaf", with(&|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)), "ca_leaf"),
        ("leaf that may sign", with(&|p| p.key_usages = vec![KeyUsagePurpose::KeyCertSign]), "ca_leaf"),
        ("usage code signing", with(&|p| p.extended_key_usages = vec![Eku::CodeSigning]), "bad_chain"),
        ("signed by a leaf", below_a_leaf(ca), "bad_chain"),
        ("chain too deep", deep(ca), "bad_chain"),
    ];
    let texts = [
        "https://cluster.local/ns/agents/sa/alice",
        "SPIFFE://cluster.local/ns/agents/sa/alice",
        "spiffe://CLUSTER.LOCAL/ns/agents/sa/alice",
        "spiffe://cluster.local",
        "spiffe://cluster.local/",
        "spiffe://cluster.local/ns/agents/sa/",
        "spiffe://cluster.local/ns//sa/alice",
        "spiffe://cluster.local/ns/agents/sa/alice/",
        "spiffe://cluster.local/ns/../sa/alice",
        "spiffe://cluster.local/ns/agents/sa/alice\0.evil",
        "spiffe://cluster.local/ns/agents/sa/al%69ce",
        "spiffe://cluster.local:443/ns/agents/sa/alice",
        "spiffe://user@cluster.local/ns/agents/sa/alice",
        "spiffe://cluster.local/ns/agents/sa/alice?a=b",
        "spiffe://cluster.local/ns/agents/sa/alice#a",
        "spiffe:///ns/agents/sa/alice",
        " spiffe://cluster.local/ns/agents/sa/alice",
    ];
    rows.extend(texts.into_iter().map(|text| (text, ca.good(text), "not_spiffe")));
    rows
}

/// A chain whose middle is a leaf of the CA.
fn below_a_leaf(ca: &Ca) -> Pair {
    let key = rcgen::KeyPair::generate().unwrap();
    let middle = ca.good(SERVER);
    let middle_key = rcgen::KeyPair::try_from(middle.key.as_slice()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&middle.chain[0], middle_key).unwrap();
    // rcgen refuses an issuer that may not sign; a hostile one does not ask.
    let certificate = match leaf(&[ALICE]).signed_by(&key, &issuer) {
        Ok(certificate) => certificate,
        Err(_) => {
            let mut params = leaf(&[SERVER]);
            params.key_usages = vec![];
            let middle_key = rcgen::KeyPair::try_from(middle.key.as_slice()).unwrap();
            leaf(&[ALICE]).signed_by(&key, &rcgen::Issuer::new(params, middle_key)).unwrap()
        }
    };
    Pair { chain: vec![certificate.der().clone(), middle.chain[0].clone()], key: key.serialize_der() }
}

fn deep(ca: &Ca) -> Pair {
    let mut above = vec![];
    let mut issuer = ca.intermediate();
    for _ in 0..12 {
        above.insert(0, issuer.root.clone());
        issuer = issuer.intermediate();
    }
    above.insert(0, issuer.root.clone());
    let mut pair = issuer.good(ALICE);
    pair.chain.extend(above);
    pair
}

#[tokio::test]
async fn hostile_clients_are_refused_by_reason() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let identity = ca.identity(WAYPOINT);
    for (name, pair, reason) in hostile(&ca, &stranger) {
        let fault = serve(&identity, client(Some(&pair), &[b"h2"], &TLS13)).await.unwrap_err();
        assert_eq!(fault.reason(), reason, "{name}: {fault}");
    }
    let server_only = ca.issue(&usage(Eku::ServerAuth));
    let fault = serve(&identity, client(Some(&server_only), &[b"h2"], &TLS13)).await.unwrap_err();
    assert_eq!(fault.reason(), "bad_chain", "usage serverAuth only");
    let fault = serve(&identity, client(None, &[b"h2"], &TLS13)).await.unwrap_err();
    assert_eq!(fault.reason(), "no_certificate");
}

/// A name with a NUL in it: who reads until there takes it for another's.
#[tokio::test]
async fn cve_2026_47778_a_name_with_a_nul() {
    let ca = Ca::new();
    let identity = ca.identity(WAYPOINT);
    for text in ["spiffe://cluster.local/ns/agents/sa/alice\0.evil", "spiffe://cluster.local/ns/agents/sa/alice\0"] {
        let fault = serve(&identity, client(Some(&ca.good(text)), &[b"h2"], &TLS13)).await.unwrap_err();
        assert_eq!(fault.reason(), "not_spiffe", "{text:?}: {fault}");
    }
}

#[tokio::test]
async fn hostile_servers_are_refused_by_reason() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let identity = ca.identity(WAYPOINT);
    for (name, pair, reason) in hostile(&ca, &stranger) {
        let fault = call(&identity, Expect::Exact(ids(&[ALICE])), server(&pair, &[b"h2"])).await.unwrap_err();
        assert_eq!(fault.reason(), reason, "{name}: {fault}");
    }
    let client_only = ca.issue(&usage(Eku::ClientAuth));
    let fault = call(&identity, Expect::Exact(ids(&[ALICE])), server(&client_only, &[b"h2"])).await.unwrap_err();
    assert_eq!(fault.reason(), "bad_chain", "usage clientAuth only");
}

fn usage(usage: Eku) -> CertificateParams {
    let mut params = leaf(&[ALICE]);
    params.extended_key_usages = vec![usage];
    params
}

#[tokio::test]
async fn a_good_client_is_who_its_certificate_says() {
    let ca = Ca::new();
    let identity = ca.identity(WAYPOINT);
    let mut beside = leaf(&[ALICE]);
    beside.subject_alt_names.insert(0, SanType::DnsName("server.tools".try_into().unwrap()));
    for pair in [ca.good(ALICE), through_intermediate(&ca), ca.issue(&beside)] {
        let peer = serve(&identity, client(Some(&pair), &[b"h2"], &TLS13)).await.unwrap();
        assert_eq!(peer.id(), &id(ALICE));
        assert_eq!(peer.not_after(), pair.svid().not_after());
    }
}

fn through_intermediate(ca: &Ca) -> Pair {
    let middle = ca.intermediate();
    let mut pair = middle.good(ALICE);
    pair.chain.push(middle.root.clone());
    pair
}

#[tokio::test]
async fn only_tls13_with_h2_is_spoken() {
    let ca = Ca::new();
    let identity = ca.identity(WAYPOINT);
    let alice = ca.good(ALICE);
    let rows: [(&str, &[&[u8]], &'static SupportedProtocolVersion, &str); 3] = [
        ("no ALPN", &[], &TLS13, "no_alpn"),
        ("http/1.1", &[b"http/1.1"], &TLS13, "no_alpn"),
        ("TLS 1.2", &[b"h2"], &TLS12, "tls"),
    ];
    for (name, alpn, version, reason) in rows {
        let fault = serve(&identity, client(Some(&alice), alpn, version)).await.unwrap_err();
        assert_eq!(fault.reason(), reason, "{name}: {fault}");
    }
    let expect = Expect::Exact(ids(&[ALICE]));
    for alpn in [&[][..], &[&b"http/1.1"[..]][..]] {
        let fault = call(&identity, expect.clone(), server(&alice, alpn)).await.unwrap_err();
        assert_eq!(fault.reason(), "no_alpn", "{fault}");
    }
}

#[tokio::test]
async fn each_trust_domain_has_its_own_roots() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let mut bundles = ours.bundles("cluster.local");
    bundles.add_der(td("partner"), vec![theirs.root.clone()]).unwrap();
    let identity = Identity::new(ours.good(WAYPOINT).svid(), bundles).unwrap();
    let partner = "spiffe://partner/ns/agents/sa/alice";
    let peer = serve(&identity, client(Some(&theirs.good(partner)), &[b"h2"], &TLS13)).await.unwrap();
    assert_eq!(peer.id(), &id(partner));
    for (name, pair) in [("their CA, our domain", theirs.good(ALICE)), ("our CA, their domain", ours.good(partner))] {
        let fault = serve(&identity, client(Some(&pair), &[b"h2"], &TLS13)).await.unwrap_err();
        assert_eq!(fault.reason(), "bad_chain", "{name}");
        let expect = Expect::Exact(ids(&[ALICE, partner]));
        let fault = call(&identity, expect, server(&pair, &[b"h2"])).await.unwrap_err();
        assert_eq!(fault.reason(), "bad_chain", "{name}");
    }
}

#[tokio::test]
async fn only_expected_servers_are_spoken_to() {
    let ca = Ca::new();
    let identity = ca.identity(WAYPOINT);
    let good = ca.good(SERVER);
    for expect in [Expect::Exact(ids(&[ALICE, SERVER])), Expect::TrustDomain(td("cluster.local"))] {
        assert_eq!(call(&identity, expect, server(&good, &[b"h2"])).await.unwrap(), id(SERVER));
    }
    for expect in [
        Expect::Exact(ids(&[])),
        Expect::Exact(ids(&[ALICE])),
        Expect::Exact(ids(&["spiffe://cluster.local/ns/tools/sa/server2"])),
        Expect::TrustDomain(td("elsewhere")),
    ] {
        let fault = call(&identity, expect.clone(), server(&good, &[b"h2"])).await.unwrap_err();
        assert_eq!(fault.reason(), "unexpected_identity", "{expect:?}");
    }
}

#[tokio::test]
async fn our_own_handshakes_meet() {
    let ca = Ca::new();
    let (waypoint, alice) = (ca.identity(WAYPOINT), ca.identity(ALICE));
    let (near, far) = duplex(64 << 10);
    let accepting = tokio::spawn(async move { tls::accept(&waypoint, far, addr()).await });
    let mut connected = tls::connect(&alice, near, Expect::Exact(ids(&[WAYPOINT]))).await.unwrap();
    let mut accepted = accepting.await.unwrap().unwrap();
    assert_eq!((accepted.peer.id(), &connected.id), (&id(ALICE), &id(WAYPOINT)));
    let group = connected.stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    connected.stream.write_all(b"ping").await.unwrap();
    connected.stream.flush().await.unwrap();
    let mut got = [0; 4];
    accepted.stream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"ping");
}

#[tokio::test]
async fn rotation_is_live_and_removed_roots_are_refused() {
    let (old, new) = (Ca::new(), Ca::new());
    let identity = old.identity(WAYPOINT);
    let (old_alice, new_alice) = (old.good(ALICE), new.good(ALICE));
    let admits = async |pair: &Pair| serve(&identity, client(Some(pair), &[b"h2"], &TLS13)).await.is_ok();
    assert_eq!((admits(&old_alice).await, admits(&new_alice).await), (true, false));
    let mut both = old.bundles("cluster.local");
    both.add_der(td("cluster.local"), vec![new.root.clone()]).unwrap();
    identity.rotate(new.good(WAYPOINT).svid(), both).unwrap();
    assert_eq!((admits(&old_alice).await, admits(&new_alice).await), (true, true));
    identity.rotate(new.good(WAYPOINT).svid(), new.bundles("cluster.local")).unwrap();
    assert_eq!((admits(&old_alice).await, admits(&new_alice).await), (false, true));
}

#[tokio::test]
async fn a_bad_rotation_leaves_what_is_in_force() {
    let ca = Ca::new();
    let identity = ca.identity(WAYPOINT);
    let before = identity.svid();
    let other = identity.rotate(ca.good(ALICE).svid(), ca.bundles("cluster.local"));
    assert!(matches!(other, Err(IdentityFault::OtherIdentity { .. })));
    let no_bundle = identity.rotate(ca.good(WAYPOINT).svid(), Bundles::default());
    assert!(matches!(no_bundle, Err(IdentityFault::NoBundle(_))));
    let mut ended = leaf(&[WAYPOINT]);
    ended.not_after = OffsetDateTime::now_utc() - Duration::from_secs(5);
    let expired = identity.rotate(ca.issue(&ended).svid(), ca.bundles("cluster.local"));
    assert!(matches!(expired, Err(IdentityFault::Expired(_))));
    assert_eq!(identity.svid(), before);
}

#[tokio::test]
async fn nothing_is_served_or_dialled_on_an_expired_certificate() {
    let ca = Ca::new();
    let mut short = leaf(&[WAYPOINT]);
    // X.509 counts whole seconds.
    short.not_after = OffsetDateTime::now_utc() + Duration::from_secs(3);
    let identity = Identity::new(ca.issue(&short).svid(), ca.bundles("cluster.local")).unwrap();
    crate::world::eventually("expired", || identity.expired()).await;
    let alice = ca.good(ALICE);
    let fault = serve(&identity, client(Some(&alice), &[b"h2"], &TLS13)).await.unwrap_err();
    assert_eq!(fault.reason(), "own_certificate_expired");
    let fault = call(&identity, Expect::Exact(ids(&[ALICE])), server(&alice, &[b"h2"])).await.unwrap_err();
    assert_eq!(fault.reason(), "own_certificate_expired");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up() {
    let ca = Ca::new();
    let identity = ca.identity(WAYPOINT);
    let (_near, far) = duplex(64 << 10);
    let fault = tls::accept(&identity, far, addr()).await.unwrap_err();
    assert_eq!(fault.reason(), "timeout");
    let (near, _far) = duplex(64 << 10);
    let fault = tls::connect(&identity, near, Expect::Exact(ids(&[ALICE]))).await.unwrap_err();
    assert_eq!(fault.reason(), "timeout");
}

#[tokio::test]
async fn plaintext_is_refused() {
    let ca = Ca::new();
    let identity = ca.identity(WAYPOINT);
    let (mut near, far) = duplex(64 << 10);
    near.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let fault = tls::accept(&identity, far, addr()).await.unwrap_err();
    assert_eq!(fault.reason(), "tls", "{fault}");
}

#[test]
fn certificates_and_keys_are_held_to_belong_together() {
    let ca = Ca::new();
    let (one, two) = (ca.good(WAYPOINT), ca.good(WAYPOINT));
    let parse = |chain: &str, key: &str| tls::Svid::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
    assert_eq!(parse(&one.chain_pem(), &two.key_pem()), SvidFault::KeyMismatch);
    assert_eq!(parse(&one.chain_pem(), "nothing"), SvidFault::NoKey);
    assert_eq!(parse("nothing", &one.key_pem()), SvidFault::NoCertificate);
    let dns = ca.issue(&leaf(&[]));
    assert!(matches!(parse(&dns.chain_pem(), &dns.key_pem()), SvidFault::Leaf(_)));
    let svid = tls::Svid::from_pem(one.chain_pem().as_bytes(), one.key_pem().as_bytes()).unwrap();
    assert_eq!(svid.id(), &id(WAYPOINT));
    assert!(!format!("{svid:?}").contains("key"));
}

#[tokio::test]
async fn external_servers_are_held_to_their_name() {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let mut params = leaf(&[]);
    const URI: &str = "spiffe://far.example/ns/a/sa/api";
    params.subject_alt_names =
        vec![SanType::DnsName("api.example.com".try_into().unwrap()), SanType::URI(URI.try_into().unwrap())];
    let pair = ca.issue(&params);
    let dns = |name: &str| vec![AltName::Dns(name.into())];
    let uri = |uri: &str| vec![AltName::Uri(uri.into())];
    let roots = |ca: &Ca| tls::ExternalRoots::Inline(pki::pem("CERTIFICATE", &ca.root).into_bytes().into());
    let rows = [
        ("api.example.com", Vec::new(), roots(&ca), None),
        ("other.example.com", Vec::new(), roots(&ca), Some("bad_chain")),
        ("api.example.com", Vec::new(), roots(&stranger), Some("bad_chain")),
        // What is named beside holds in place of what is sent.
        ("sent.example.com", dns("api.example.com"), roots(&ca), None),
        ("sent.example.com", uri(URI), roots(&ca), None),
        ("sent.example.com", [dns("no.example.com"), uri(URI)].concat(), roots(&ca), None),
        ("api.example.com", dns("other.example.com"), roots(&ca), Some("bad_chain")),
        ("api.example.com", uri("spiffe://far.example/ns/a/sa/apis"), roots(&ca), Some("bad_chain")),
        ("api.example.com", uri("api.example.com"), roots(&ca), Some("bad_chain")),
        ("sent.example.com", dns("api.example.com"), roots(&stranger), Some("bad_chain")),
        ("sent.example.com", uri(URI), roots(&stranger), Some("bad_chain")),
    ];
    for (name, others, roots, refused) in rows {
        let client = tls::external_client(name, &others, &roots).unwrap();
        let (near, far) = duplex(64 << 10);
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(pair.chain.clone(), pair.key())
            .unwrap();
        let accepting = tokio::spawn(async move { TlsAcceptor::from(Arc::new(config)).accept(far).await.map(drop) });
        let got = client.connect(near).await;
        assert_eq!(got.as_ref().err().map(Faulty::reason), refused, "{name} {others:?}");
        drop(got);
        let _ended = accepting.await.unwrap();
    }
    assert!(tls::external_client("not a name", &[], &roots(&ca)).is_err());
    assert!(tls::external_client("a.example", &[], &tls::ExternalRoots::Inline(b"nothing".as_slice().into())).is_err());
}

fn addr() -> std::net::SocketAddr {
    "10.1.2.3:4567".parse().unwrap()
}

/// Our server against a foreign client.
async fn serve(identity: &Identity, client: ClientConfig) -> Result<agent_waypoint::id::Peer, HandshakeFault> {
    let (near, far) = duplex(256 << 10);
    let dialling = tokio::spawn(async move {
        let name = ServerName::try_from("waypoint.test").unwrap();
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, near).await?;
        // A TLS 1.3 client learns of a refusal only when it reads.
        let mut end = [0; 1];
        stream.read(&mut end).await
    });
    let accepted = tls::accept(identity, far, addr()).await;
    let peer = accepted.map(|accepted| {
        assert_eq!(accepted.peer.addr(), addr());
        accepted.peer
    });
    let _seen = dialling.await.unwrap();
    peer
}

/// Our client against a foreign server.
async fn call(
    identity: &Identity,
    expect: Expect,
    server: ServerConfig,
) -> Result<agent_waypoint::id::WorkloadId, HandshakeFault> {
    let (near, far) = duplex(256 << 10);
    let accepting = tokio::spawn(async move { TlsAcceptor::from(Arc::new(server)).accept(far).await.map(drop) });
    let connected = tls::connect(identity, near, expect).await.map(|connected| connected.id);
    let _ended = accepting.await.unwrap();
    connected
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn client(pair: Option<&Pair>, alpn: &[&[u8]], version: &'static SupportedProtocolVersion) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone));
    let mut config = match pair {
        Some(pair) => {
            let key = provider().key_provider.load_private_key(pair.key()).unwrap();
            let certified = rustls::sign::CertifiedKey::new(pair.chain.clone(), key);
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

fn server(pair: &Pair, alpn: &[&[u8]]) -> ServerConfig {
    let key = provider().key_provider.load_private_key(pair.key()).unwrap();
    let certified = rustls::sign::CertifiedKey::new(pair.chain.clone(), key);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// A client that believes anybody.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
