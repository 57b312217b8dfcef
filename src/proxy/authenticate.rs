//! The token of a request: seen to before anything else reads the head, so that what is decided on, recorded and sent on
//! is the head as the server gets it.

use std::time::SystemTime;

use crate::call::HttpHead;
use crate::mesh::Target;
use crate::policy::{Claims, TokenFault, Unverified, Verified};

/// A request whose token holds, or that has none.
#[derive(Debug)]
pub(super) struct Authenticated {
    /// The head as the server gets it: without the token unless that is sent on, with what its claims say, and with
    /// nothing that only they may say.
    pub(super) head: HttpHead,
    /// The head as it was sent, where that is another.
    pub(super) sent: Option<Box<HttpHead>>,
    /// What the token says.
    pub(super) claims: Option<Claims>,
}

impl Authenticated {
    /// Makes of `head` what was verified of it.
    pub(super) fn of(head: HttpHead, verified: Verified) -> Self {
        let Verified { claims, edits } = verified;
        if !edits.change(&head) {
            return Self { head, sent: None, claims };
        }
        let sent = Some(Box::new(head.clone()));
        let mut head = head;
        edits.apply(&mut head);
        Self { head, sent, claims }
    }
}

/// Verifies the token of `head`, if it has one. Waits for the issuer's keys where they are being fetched, and has them
/// fetched where none of them fits: issuers make new ones.
///
/// # Errors
/// [`TokenFault`]
pub(super) async fn authenticate(target: &Target, head: HttpHead) -> Result<Authenticated, TokenFault> {
    let Some(tokens) = &target.tokens else { return Ok(Authenticated { head, sent: None, claims: None }) };
    let verified = match tokens.verify(&head, SystemTime::now()) {
        Err(Unverified { fault, keys: Some(keys) }) => {
            if !keys.renewed().await {
                return Err(fault);
            }
            tokens.verify(&head, SystemTime::now())
        }
        other => other,
    };
    verified.map(|verified| Authenticated::of(head, verified)).map_err(|unverified| unverified.fault)
}
