//! Digests that say "the same" without saying what: HMAC-SHA-256 under a key that only this process knows.
//!
//! Used for session ids, JWT subjects and arguments in records. Without the key a digest can be neither reversed by
//! guessing nor compared between processes.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{hmac, rand};

/// What a digest stands for. The same text under two purposes gives two unrelated digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Session = 1,
    Subject = 2,
    Arguments = 3,
}

/// A key for digests; a clone shares it. Where the system had no randomness for a key, every digest is `-`.
#[derive(Clone)]
pub struct Keyed(Option<Arc<hmac::Key>>);

/// Bytes of a digest that are written, as twice as many hex digits: enough to tell 2^64 values apart.
const DIGEST: usize = 16;

impl Keyed {
    /// A fresh random key: digests mean something within this process only.
    pub fn random() -> Self {
        Self(hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok().map(Arc::new))
    }

    /// A key given from outside, shared by replicas.
    pub fn from_key(key: &[u8]) -> Self {
        Self(Some(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key))))
    }

    /// Digest of an `Mcp-Session-Id`.
    pub fn session(&self, id: &str) -> Arc<str> {
        self.digest(Purpose::Session, &[id.as_bytes()])
    }

    /// Digest of a JWT's issuer and subject.
    pub fn subject(&self, issuer: &str, subject: &str) -> Arc<str> {
        self.digest(Purpose::Subject, &[issuer.as_bytes(), subject.as_bytes()])
    }

    /// Digest of a call's arguments in their canonical serialisation.
    pub fn arguments(&self, canonical: &[u8]) -> Arc<str> {
        self.digest(Purpose::Arguments, &[canonical])
    }

    fn digest(&self, purpose: Purpose, parts: &[&[u8]]) -> Arc<str> {
        let Some(key) = &self.0 else { return "-".into() };
        let mut context = hmac::Context::with_key(key);
        context.update(&[purpose as u8]);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        hex(context.sign().as_ref().get(..DIGEST).unwrap_or_default()).into()
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed(..)")
    }
}

/// Lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_gives_one_digest_and_purposes_never_meet() {
        let keyed = Keyed::from_key(&[7; 32]);
        assert_eq!(keyed.session("a"), keyed.session("a"));
        assert_eq!(keyed.session("a").len(), 2 * DIGEST);
        assert_ne!(keyed.session("a"), keyed.arguments(b"a"));
        assert_ne!(keyed.session("a"), Keyed::from_key(&[8; 32]).session("a"));
        assert_ne!(Keyed::random().session("a"), Keyed::random().session("a"));
    }

    #[test]
    fn issuer_and_subject_cannot_be_shifted_into_each_other() {
        let keyed = Keyed::from_key(&[7; 32]);
        assert_ne!(keyed.subject("ab", "c"), keyed.subject("a", "bc"));
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(format!("{:?}", Keyed::from_key(b"secret")), "Keyed(..)");
    }
}
