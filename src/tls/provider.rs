use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// ALPN of HTTP/2 (RFC 9113, 3.1). HBONE speaks nothing else.
pub(super) const ALPN_H2: &[u8] = b"h2";

static MESH: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    use aws_lc_rs::{cipher_suite as suite, kx_group as kx};
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        // The hybrid first: with `COMPLIANCE_POLICY=pqc` ztunnel offers nothing else.
        kx_groups: vec![kx::X25519MLKEM768, kx::X25519, kx::SECP256R1, kx::SECP384R1],
        ..aws_lc_rs::default_provider()
    })
});

static EXTERNAL: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The cryptography of the mesh: TLS 1.3 suites only.
pub(super) fn mesh() -> &'static Arc<CryptoProvider> {
    &MESH
}

/// The cryptography towards servers outside the mesh, which may know TLS 1.2 only.
pub(super) fn external() -> &'static Arc<CryptoProvider> {
    &EXTERNAL
}
