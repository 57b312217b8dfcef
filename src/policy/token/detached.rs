use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::jws::Parts;
use super::keys::{KeyFault, KeySet};

/// Keys that verify signatures over JSON which stands elsewhere (RFC 7515 appendix F).
#[derive(Debug)]
pub(in crate::policy) struct Detached(KeySet);

impl Detached {
    /// The keys of a JWK set, as JSON text.
    pub(in crate::policy) fn of(jwks: &str) -> Result<Self, KeyFault> {
        KeySet::inline(jwks).map(Self)
    }

    /// `kid` of the protected header, where one of the keys signed `payload` under that header.
    pub(in crate::policy) fn verify(
        &self,
        protected: &str,
        payload: &[u8],
        signature: &str,
    ) -> Option<Option<Box<str>>> {
        let compact = format!("{protected}.{}.{signature}", URL_SAFE_NO_PAD.encode(payload));
        let parts = Parts::of(&compact).ok()?;
        self.0.verify(&parts).ok()?;
        Some(parts.key_id)
    }
}
