//! Whose agent cards are believed: signed by a key that a policy declares, or approved by digest.
//!
//! A card is looked at as it was sent: a member that a signature does not cover makes it unsigned. What a card says of keys
//! (`jku`) is never fetched.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::problems::Problems;
use super::token::Detached;
use crate::call::{Card, Object};
use crate::config::limits::MAX_NAME;
use crate::document::agent_policy::CardTrust;
use crate::wire::a2a::{card_signatures, card_skills, card_text, signed_text};

/// Skills of one card that are remembered, each of an id of at most `MAX_NAME` bytes.
const MAX_SKILLS: usize = 256;
/// Before a digest, which then is hexadecimal.
const SHA256_PREFIX: &str = "sha256:";

/// Why a card is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CardFault {
    /// No key that a policy declares signed it.
    #[error("no key that the policy declares signed the agent card")]
    NotSigned,
    /// Its digest is none that a policy lists.
    #[error("the agent card is none that was approved")]
    NotPinned,
}

/// `spec.a2a.cardTrust` of every policy in force for a port.
#[derive(Debug, Default)]
pub(super) struct Trust {
    keys: Vec<Detached>,
    digests: Vec<Box<str>>,
}

impl Trust {
    pub(super) fn add(&mut self, spec: &CardTrust, problems: &mut Problems) {
        if spec.jwks.is_none() && spec.digests.is_empty() {
            problems.error("spec.a2a.cardTrust", "trusts nothing: name jwks, digests, or both, or leave it out");
        }
        match spec.jwks.as_deref().map(Detached::of) {
            Some(Ok(keys)) => self.keys.push(keys),
            Some(Err(fault)) => problems.error("spec.a2a.cardTrust.jwks", fault.to_string()),
            None => {}
        }
        for (at, text) in spec.digests.iter().enumerate() {
            let hex = text.strip_prefix(SHA256_PREFIX).unwrap_or_default();
            if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                self.digests.push(text.as_str().into());
            } else {
                let what = format!("`{text}` is no digest: write sha256: and 64 hexadecimal digits in lower case");
                problems.error(format_args!("spec.a2a.cardTrust.digests[{at}]"), what);
            }
        }
    }

    /// Whether every card is passed on, also one that cannot be looked at.
    pub(super) fn is_anybodys(&self) -> bool {
        self.keys.is_empty() && self.digests.is_empty()
    }

    /// What is to be known of `card`.
    pub(super) fn look(&self, card: &Object) -> Card {
        let payload = if self.keys.is_empty() { Vec::new() } else { signed_text(card) };
        let signer = card_signatures(card).find_map(|signed| {
            self.keys.iter().find_map(|keys| keys.verify(signed.protected, &payload, signed.signature))
        });
        Card {
            verified: signer.is_some(),
            key_id: signer.flatten().map(Arc::from),
            digest: fingerprint(&card_text(card)).into(),
            skills: card_skills(card).filter(|id| id.len() <= MAX_NAME).take(MAX_SKILLS).map(Arc::from).collect(),
        }
    }

    /// Why a card of which that is known is not passed on; none where it is.
    pub(super) fn refuses(&self, card: &Card) -> Option<CardFault> {
        if !self.keys.is_empty() && !card.verified {
            return Some(CardFault::NotSigned);
        }
        let pinned = self.digests.is_empty() || self.digests.iter().any(|pin| **pin == *card.digest);
        (!pinned).then_some(CardFault::NotPinned)
    }
}

fn fingerprint(text: &[u8]) -> String {
    let hex = digest(&SHA256, text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{SHA256_PREFIX}{hex}")
}

#[cfg(test)]
mod tests;
