//! Sealed text: what a caller is handed and brings back, and what only the replicas of this waypoint can make or read.
//!
//! Each text is encrypted with AES-256-GCM-SIV (RFC 8452), bound to whom it is for and to what it is for: in another's
//! hands, or as another kind of text, it opens as little as a forged one. Nonces are 96 random bits, drawn for each text:
//! replicas share a key and ask nobody before they seal (texts that are to be the same each time have one made of them). Should two of them ever be the same, this cipher, other than GCM,
//! tells no more than whether the two texts are the same too. No I/O here; where keys come from is `app`'s.

mod fields;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use fields::{Fields, Reading};

use crate::config::limits::MAX_SEALED;

/// Length of a secret, bytes.
pub const SECRET: usize = 32;
/// The only form so far; the first byte of a sealed text.
const FORM: u8 = 1;
/// Bytes by which a text says which key sealed it.
const HINT: usize = 4;
/// Bytes of a mark: 96 bits, as the nonces.
const MARK: usize = 12;
/// Characters of a mark.
pub const MARK_TEXT: usize = 16;

/// What a text is for. One that was sealed for one purpose does not open for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `Mcp-Session-Id`
    Session = 1,
    /// The address to which a client of MCP 2024-11-05 posts.
    Address = 2,
    /// The id of a client's request, as its server gets it.
    Request = 3,
    /// The id of a server's request, as its client gets it.
    Question = 4,
    /// An event id.
    Event = 5,
    /// The cursor of a list.
    Cursor = 6,
    /// The id of an MCP task.
    Task = 7,
}

/// A secret that replicas share.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; SECRET]);

impl Secret {
    /// From outside.
    pub fn new(secret: [u8; SECRET]) -> Self {
        Self(secret)
    }

    /// A fresh one.
    ///
    /// # Errors
    /// [`SealFault::Random`]
    pub fn random() -> Result<Self, SealFault> {
        let mut secret = [0; SECRET];
        rand::fill(&mut secret).map_err(|_unspecified| SealFault::Random)?;
        Ok(Self(secret))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// For a nonce or a key.
    #[error("the system has no randomness")]
    Random,
    /// The cipher.
    #[error("the cipher refused")]
    Cipher,
    /// It would be longer than what we open.
    #[error("too long to be sealed")]
    TooLong,
}

/// Seals and opens. A clone is one pointer, and has the keys that any other is given.
#[derive(Clone)]
pub struct Sealer(Arc<ArcSwap<Ring>>);

/// The first one seals, all of them open. Never empty.
struct Ring(Vec<Arc<Key>>);

struct Key {
    hint: [u8; HINT],
    cipher: LessSafeKey,
    marks: hmac::Key,
}

impl Key {
    fn of(secret: &Secret) -> Result<Self, SealFault> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
        let derived = |label: &[u8]| hmac::sign(&root, label);
        let cipher = derived(b"agent-waypoint seal 1: cipher");
        let cipher = UnboundKey::new(&AES_256_GCM_SIV, cipher.as_ref()).map_err(|_unspecified| SealFault::Cipher)?;
        let marks = hmac::Key::new(hmac::HMAC_SHA256, derived(b"agent-waypoint seal 1: marks").as_ref());
        let hint = derived(b"agent-waypoint seal 1: hint");
        let hint = hint.as_ref().first_chunk().copied().ok_or(SealFault::Cipher)?;
        Ok(Self { hint, cipher: LessSafeKey::new(cipher), marks })
    }

    fn mark(&self, purpose: Purpose, bound: &[u8], text: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.marks);
        context.update(&associated(purpose, bound));
        context.update(text);
        context.sign()
    }
}

impl Sealer {
    /// Seals with `current`, and opens what that one or one of `others` sealed.
    ///
    /// # Errors
    /// [`SealFault`]
    pub fn new(current: &Secret, others: &[Secret]) -> Result<Self, SealFault> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(Ring::of(current, others)?))))
    }

    /// One that can seal nothing: as if the cipher failed.
    #[cfg(test)]
    pub(crate) fn without_keys() -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Ring(Vec::new()))))
    }

    /// From here on so; see [`Sealer::new`].
    ///
    /// # Errors
    /// [`SealFault`]; then nothing has changed.
    pub fn replace(&self, current: &Secret, others: &[Secret]) -> Result<(), SealFault> {
        self.0.store(Arc::new(Ring::of(current, others)?));
        Ok(())
    }

    /// `text` for `purpose`, bound to `bound`: visible ASCII, at most [`MAX_SEALED`] bytes.
    ///
    /// # Errors
    /// [`SealFault`]
    pub fn seal(&self, purpose: Purpose, bound: &[u8], text: &[u8]) -> Result<String, SealFault> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_unspecified| SealFault::Random)?;
        self.seal_with(|_| Some(nonce), (purpose, bound), text)
    }

    /// As [`Sealer::seal`], but of the same text the same for as long as the same key seals: for what those who get it compare.
    /// It tells them no more than that. The nonce is made of the text, which this cipher is for.
    ///
    /// # Errors
    /// [`SealFault`]
    pub fn seal_alike(&self, purpose: Purpose, bound: &[u8], text: &[u8]) -> Result<String, SealFault> {
        let nonce = |key: &Key| key.mark(purpose, bound, text).as_ref().first_chunk().copied();
        self.seal_with(nonce, (purpose, bound), text)
    }

    fn seal_with(
        &self,
        nonce: impl FnOnce(&Key) -> Option<[u8; NONCE_LEN]>,
        (purpose, bound): (Purpose, &[u8]),
        text: &[u8],
    ) -> Result<String, SealFault> {
        let ring = self.0.load();
        let key = ring.0.first().ok_or(SealFault::Cipher)?;
        let nonce = nonce(key).ok_or(SealFault::Cipher)?;
        let mut sealed = Vec::with_capacity(1 + HINT + NONCE_LEN + text.len() + AES_256_GCM_SIV.tag_len());
        sealed.push(FORM);
        sealed.extend_from_slice(&key.hint);
        sealed.extend_from_slice(&nonce);
        let mut body = text.to_vec();
        let associated = Aad::from(associated(purpose, bound));
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.cipher.seal_in_place_append_tag(nonce, associated, &mut body).map_err(|_unspecified| SealFault::Cipher)?;
        sealed.append(&mut body);
        let sealed = URL_SAFE_NO_PAD.encode(sealed);
        if sealed.len() > MAX_SEALED { Err(SealFault::TooLong) } else { Ok(sealed) }
    }

    /// What was sealed for `purpose` and `bound`; none for whatever else `sealed` may be.
    pub fn open(&self, purpose: Purpose, bound: &[u8], sealed: &str) -> Option<Vec<u8>> {
        if sealed.len() > MAX_SEALED {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let rest = sealed.strip_prefix(&[FORM])?;
        let (hint, rest) = rest.split_first_chunk::<HINT>()?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        let associated = associated(purpose, bound);
        let ring = self.0.load();
        ring.0.iter().filter(|key| key.hint == *hint).find_map(|key| {
            let (mut body, nonce) = (body.to_vec(), Nonce::assume_unique_for_key(*nonce));
            let length = key.cipher.open_in_place(nonce, Aad::from(&associated), &mut body).ok()?.len();
            body.truncate(length);
            Some(body)
        })
    }

    /// [`MARK_TEXT`] characters that nobody else can set under `text`, which stays readable.
    pub fn mark(&self, purpose: Purpose, bound: &[u8], text: &str) -> String {
        let ring = self.0.load();
        let mark = ring.0.first().map(|key| key.mark(purpose, bound, text.as_bytes()));
        let mark = mark.as_ref().and_then(|mark| mark.as_ref().get(..MARK)).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(mark)
    }

    /// Whether `mark` is ours, and of this `text`.
    pub fn is_marked(&self, purpose: Purpose, bound: &[u8], text: &str, mark: &str) -> bool {
        let Ok(mark) = URL_SAFE_NO_PAD.decode(mark) else { return false };
        let ring = self.0.load();
        ring.0.iter().any(|key| {
            let right = key.mark(purpose, bound, text.as_bytes());
            let right = right.as_ref().get(..MARK).unwrap_or_default();
            !right.is_empty() && constant_time::verify_slices_are_equal(right, &mark).is_ok()
        })
    }
}

impl Ring {
    fn of(current: &Secret, others: &[Secret]) -> Result<Self, SealFault> {
        let keys = std::iter::once(current).chain(others);
        Ok(Self(keys.map(|secret| Key::of(secret).map(Arc::new)).collect::<Result<_, _>>()?))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(..)")
    }
}

fn associated(purpose: Purpose, bound: &[u8]) -> Vec<u8> {
    let mut associated = Vec::with_capacity(1 + bound.len());
    associated.push(purpose as u8);
    associated.extend_from_slice(bound);
    associated
}

#[cfg(test)]
mod tests;
