//! What becomes of a request's token when what it is judged by changes: a provider's headers, the target's edition, or the
//! Service that a route leads to.

use std::sync::Arc;
use std::time::SystemTime;

use super::Asked;
use crate::call::{Call, HttpHead};
use crate::mesh::Target;
use crate::policy::{Claims, Decision, Facts, TokenFault, Verdicts, token};
use crate::proxy::authenticate::Authenticated;
use crate::proxy::quotas::Quotas;

impl Asked {
    /// Takes the token anew, after a provider changed headers; what becomes of the head for it.
    pub(in crate::proxy) fn verify_again(&mut self) -> Result<Option<token::Edits>, TokenFault> {
        let (Some(tokens), Some(sent)) = (&self.target.tokens, self.sent.as_deref().or(self.head.as_ref())) else {
            return Ok(None);
        };
        let verified = tokens.verify(sent, self.at).map_err(|unverified| unverified.fault)?;
        let edits = verified.edits.clone();
        let Authenticated { head, sent, claims } = Authenticated::of(sent.clone(), verified);
        (self.head, self.sent, self.claims) = (Some(head), sent, claims);
        Ok(Some(edits))
    }

    /// The same under another edition of the target. A token counts for what the target's keys and audiences make of it
    /// now; whether it has expired since is no matter, as it was valid when the call began. `None` where it is refused, and
    /// where rules now have paths in another spelling than that in which this one was sent.
    pub(super) fn readdress(&mut self, target: Arc<Target>) -> Option<()> {
        if self.head.as_ref().is_some_and(|head| !target.paths.keeps(&head.path)) {
            return None;
        }
        let Some(head) = self.sent() else {
            self.target = target;
            self.see_way();
            return Some(());
        };
        let request = match &target.tokens {
            Some(tokens) => Authenticated::of(head.clone(), tokens.verify(head, self.at).ok()?),
            None => Authenticated { head: head.clone(), sent: None, claims: None },
        };
        let Authenticated { head, sent, claims } = request;
        (self.head, self.sent, self.claims, self.target) = (Some(head), sent, claims, target);
        self.see_way();
        Some(())
    }

    /// When the token ends that the call rests on: the target's, or that which another Service takes that a route leads to;
    /// at once where that one takes it no longer.
    pub(super) fn ends(&self, beyond: Option<&Target>) -> Option<SystemTime> {
        let own = self.claims().and_then(Claims::ends);
        let tokens = beyond.and_then(|to| to.tokens.as_ref()).zip(self.sent());
        let theirs = tokens.and_then(|(tokens, sent)| match tokens.verify(sent, self.at) {
            Ok(verified) => verified.claims.as_ref().and_then(Claims::ends),
            Err(_unverified) => Some(self.at),
        });
        own.into_iter().chain(theirs).min()
    }

    /// Decides by the rules of another Service, that a route leads to, on the request as that one gets it: `head`, of which
    /// is made what that one's rules on tokens say. The token is that which the caller sent: a route may have taken it away.
    /// A call that is new counts against the limits that are kept in `quotas`.
    ///
    /// # Errors
    /// The other Service does not take the token.
    pub(in crate::proxy) fn admitted(
        &self,
        (to, head): (&Target, &mut HttpHead),
        verdicts: &Verdicts,
        quotas: Option<&Quotas>,
    ) -> Result<Decision, TokenFault> {
        let claims = match (&to.tokens, self.sent()) {
            (Some(tokens), Some(sent)) => {
                let verified = tokens.verify(sent, self.at).map_err(|unverified| unverified.fault)?;
                verified.edits.apply(head);
                verified.claims
            }
            (None, _) | (_, None) => None,
        };
        let (peer, destination) = (&*self.peer, &to.destination);
        let facts = Facts {
            peer,
            destination,
            request: Some(head),
            claims: claims.as_ref(),
            call: &Call::Http,
            led: None,
            labels: None,
        };
        let mut decision = to.rules.decide_on(&facts, verdicts);
        if let (Decision::Allow(_), Some(quotas)) = (&decision, quotas)
            && let Err(denial) = quotas.take(peer.id(), &to.rules.charges(&facts))
        {
            decision = Decision::Deny(*denial);
        }
        Ok(decision)
    }

    /// Decides by the rules of another Service, that a route leads to, on a byte stream. Nobody is asked: where those rules
    /// would ask a provider, they refuse.
    pub(in crate::proxy) fn admitted_bytes(&self, to: &Target, quotas: Option<&Quotas>) -> Decision {
        let (peer, destination) = (&*self.peer, &to.destination);
        let facts = Facts { peer, destination, request: None, claims: None, call: &Call::Tcp, led: None, labels: None };
        match (to.rules.decide(&facts), quotas) {
            (Decision::Allow(permit), Some(quotas)) => match quotas.take(peer.id(), &to.rules.charges(&facts)) {
                Ok(()) => Decision::Allow(permit),
                Err(denial) => Decision::Deny(*denial),
            },
            (decision, _) => decision,
        }
    }
}
