//! Verification of JWTs (RFC 7519), and the claims that come of it: the only maker of [`Claims`].
//!
//! As in Istio's `RequestAuthentication`: no token is no claims, an invalid one is an error; `exp` and `nbf` are checked
//! where present. Which algorithms may be used is said by the key, never by the token. The clock is the caller's. Keys come
//! inline or from a [`RemoteKeys`], which somebody else fills: nothing is fetched here.

mod claims;
mod detached;
mod edits;
mod hosts;
mod issuer;
mod jws;
mod keys;
mod place;
mod remote;
mod rule;
#[cfg(test)]
pub(super) mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;

pub use claims::Claims;
pub(super) use detached::Detached;
pub use edits::Edits;
pub use hosts::{HostFault, KeyHost, KeyHosts, KeyUrl};
pub use keys::{KeyFault, KeySet};
pub use place::{Place, Site};
pub use remote::{KeySource, Keyring, Lease, Outcome, RemoteKeys};
pub use rule::{JwtRule, Keys, RuleFault};

use self::edits::Stripped;
use self::issuer::Issuer;
use self::jws::Parts;
use crate::call::{HttpHead, Object, Value};
use crate::config::limits::MAX_TOKEN;
use crate::fault::{Blame, Faulty, Retry, Stage};

/// How far clocks may differ when `exp` and `nbf` are checked.
const LEEWAY: Duration = Duration::from_secs(60);

/// Why a token was refused. Never holds anything of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not one signed compact JWT whose header and claims are objects without repeated keys.
    #[error("the token is malformed")]
    Malformed,
    /// Tokens in more than one place: which of them is the caller's nobody could say (RFC 6750 section 2 forbids it; Istio
    /// leaves it undefined).
    #[error("there is more than one token")]
    Several,
    /// Signed by an algorithm that no key of the issuer has: `none` and HMAC ever so.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// `iss` is missing, or none of those that are accepted where the token stood.
    #[error("the token's issuer is not accepted")]
    Issuer,
    /// No key of the issuer made the signature.
    #[error("the token's signature is not valid")]
    Signature,
    /// `exp` lies in the past.
    #[error("the token is expired")]
    Expired,
    /// `nbf` lies in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `aud` names none of the configured audiences.
    #[error("the token is for another audience")]
    Audience,
    /// The issuer's keys could not be fetched, or not for so long that they count no more. Nothing is said of the token.
    #[error("the keys of the token's issuer are not to be had")]
    NoKeys,
}

impl Faulty for TokenFault {
    fn blame(&self) -> Blame {
        if *self == Self::NoKeys { Blame::Waypoint } else { Blame::Caller }
    }

    fn retry(&self) -> Retry {
        Retry::Safe
    }

    fn stage(&self) -> Stage {
        Stage::Authorize
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Several => "token_several",
            Self::Algorithm => "token_algorithm",
            Self::Issuer => "token_issuer",
            Self::Signature => "token_signature",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::NoKeys => "token_no_keys",
        }
    }
}

/// A request whose token, if it has one, holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The token's claims; none where there is no token.
    pub claims: Option<Claims>,
    /// What becomes of the head for it.
    pub edits: Edits,
}

/// A token that does not hold.
#[derive(Debug, Clone)]
pub struct Unverified {
    /// Why.
    pub fault: TokenFault,
    /// Keys that might let it hold once they are fetched again: the issuer may have made new ones.
    pub keys: Option<Arc<RemoteKeys>>,
}

impl From<TokenFault> for Unverified {
    fn from(fault: TokenFault) -> Self {
        Self { fault, keys: None }
    }
}

/// Verifies tokens of the configured issuers.
#[derive(Debug)]
pub struct Verifier {
    rules: Box<[JwtRule]>,
    issuers: Vec<Issuer>,
    /// Where tokens may stand, over all issuers.
    places: Vec<Place>,
    /// Fields that only a verified token may fill.
    stripped: Stripped,
}

impl Verifier {
    /// A verifier of these rules.
    ///
    /// # Errors
    /// An empty issuer; an inline JWK set that does not parse, holds a symmetric or private key, or no key that can verify.
    pub fn new(rules: &[JwtRule]) -> Result<Self, KeyFault> {
        let issuers: Vec<Issuer> = rules.iter().map(Issuer::new).collect::<Result<_, _>>()?;
        let mut places: Vec<Place> = Vec::new();
        for place in issuers.iter().flat_map(|issuer| issuer.places()) {
            if !places.contains(place) {
                places.push(place.clone());
            }
        }
        let stripped = Stripped::of(rules.iter().flat_map(JwtRule::outputs).cloned());
        Ok(Self { rules: rules.into(), issuers, places, stripped })
    }

    /// Whether both make the same of every token.
    pub fn takes_as(&self, other: &Self) -> bool {
        self.rules == other.rules
    }

    /// The claims of the request's token, none where it carries none, and what becomes of its head.
    ///
    /// # Errors
    /// Where there is a token and it is not valid at `now`, or there are several.
    pub fn verify(&self, head: &HttpHead, now: SystemTime) -> Result<Verified, Unverified> {
        let stripped = self.stripped.clone();
        let Some((site, token)) = self.token(head)? else {
            return Ok(Verified { claims: None, edits: Edits::none(stripped) });
        };
        if token.len() > MAX_TOKEN {
            return Err(TokenFault::Malformed.into());
        }
        let parts = Parts::of(&token)?;
        let issuer = parts.claims.get("iss").and_then(Value::as_str).ok_or(TokenFault::Issuer)?;
        let mut refused = Unverified::from(TokenFault::Issuer);
        for candidate in self.issuers.iter().filter(|candidate| candidate.takes(issuer, site)) {
            match candidate.verify(&parts) {
                Ok(()) => {
                    check_time(&parts.claims, now)?;
                    let edits = candidate.edits(stripped, site, &parts);
                    let claims = Claims::verified(parts.claims, candidate.space_delimited());
                    return Ok(Verified { claims: Some(claims.ok_or(TokenFault::Malformed)?), edits });
                }
                // What new keys could mend outweighs what nothing can.
                Err(cause) if cause.keys.is_some() || refused.keys.is_none() => refused = cause,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// Makes fields that only a verified token may fill say in `headers` what they say in `vouched`: for a reader who gets
    /// another head than the server.
    pub fn vouch(&self, headers: &mut HeaderMap, vouched: &HeaderMap) {
        self.stripped.replace(headers, vouched);
    }

    /// As if a token of these claims had been verified, for `explain`: what a call *would* look like. Never for a call.
    ///
    /// # Errors
    /// No rule takes such a token.
    pub fn suppose(&self, claims: &Claims, head: &mut HttpHead) -> Result<(), TokenFault> {
        let mut fault = TokenFault::Issuer;
        let mut edits = Err(fault);
        for candidate in self.issuers.iter().filter(|candidate| candidate.name() == claims.issuer()) {
            match candidate.check_audience(claims.object()) {
                Ok(()) => {
                    edits = Ok(candidate.output(self.stripped.clone(), claims.object()));
                    break;
                }
                Err(cause) => fault = cause,
            }
        }
        let accepted = edits.map_err(|_none| fault);
        let edits = accepted.clone().unwrap_or_else(|_refused| Edits::none(self.stripped.clone()));
        edits.apply(head);
        accepted.map(drop)
    }

    /// The one token of a request, and where it stands.
    fn token<'h>(&'h self, head: &'h HttpHead) -> Result<Option<(&'h Site, Cow<'h, str>)>, TokenFault> {
        let mut found: Option<(&Site, Cow<'h, str>)> = None;
        for place in &self.places {
            let Some(token) = place.token(head)? else { continue };
            match &found {
                // One field under two prefixes: what is left of it by the longer one.
                Some((site, other)) if *site == place.site() => {
                    if token.len() < other.len() {
                        found = Some((place.site(), token));
                    }
                }
                Some(_) => return Err(TokenFault::Several),
                None => found = Some((place.site(), token)),
            }
        }
        Ok(found)
    }
}

fn check_time(claims: &Object, now: SystemTime) -> Result<(), TokenFault> {
    let seconds = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => number.as_f64().map(Some).ok_or(TokenFault::Malformed),
        Some(_) => Err(TokenFault::Malformed),
    };
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let leeway = LEEWAY.as_secs_f64();
    if seconds("exp")?.is_some_and(|exp| now >= exp + leeway) {
        return Err(TokenFault::Expired);
    }
    if seconds("nbf")?.is_some_and(|nbf| now + leeway < nbf) {
        return Err(TokenFault::NotYetValid);
    }
    Ok(())
}
