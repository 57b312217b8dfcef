//! When a stream ends that its agent would go on with, and what its caller is told.

use std::time::SystemTime;

use futures_util::FutureExt as _;

use super::super::Shared;
use super::super::stages::{Asked, Standing};
use crate::config::limits::STREAM_END_LEAD;
use crate::policy::Denial;
use crate::wire::grpc::GrpcCode;

/// Why a stream ends.
#[derive(Debug)]
pub(super) enum Over {
    /// Rules that changed no longer permit its call.
    Revoked(Box<Denial>),
    /// The target has gone.
    Gone,
    /// The caller's token has ended.
    Token,
    /// What proved the caller ends: its certificate, or ours on its connection.
    Certificate,
}

impl Over {
    /// What a gRPC caller reads in the trailers. A client takes `UNAVAILABLE` for a reason to subscribe again, elsewhere or
    /// with the next certificate; the others it does not mend by that.
    pub(super) fn status(&self) -> (GrpcCode, &'static str) {
        match self {
            Self::Revoked(_) => (GrpcCode::PermissionDenied, "no longer permitted"),
            Self::Gone => (GrpcCode::Unavailable, "the agent is no longer served here"),
            Self::Token => (GrpcCode::Unauthenticated, "the bearer token has ended"),
            Self::Certificate => (GrpcCode::Unavailable, "a certificate ends: connect again"),
        }
    }

    /// The denial that is recorded.
    pub(super) fn denial(&self) -> Option<&Denial> {
        if let Self::Revoked(denial) = self { Some(denial) } else { None }
    }
}

/// When the caller's right ends, whatever rules say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    token: Option<SystemTime>,
    certificate: SystemTime,
}

impl Ends {
    /// Of whoever asked. A little before the connection is cut off, so that trailers still go out.
    pub(super) fn of(asked: &Asked) -> Self {
        let proven = asked.peer().not_after();
        let certificate = proven.checked_sub(STREAM_END_LEAD).unwrap_or(proven);
        Self { token: asked.claims().and_then(|claims| claims.ends()), certificate }
    }

    fn first(self) -> (SystemTime, Over) {
        match self.token {
            Some(token) if token <= self.certificate => (token, Over::Token),
            Some(_) | None => (self.certificate, Over::Certificate),
        }
    }

    async fn passed(self) -> Over {
        let (at, over) = self.first();
        if let Ok(left) = at.duration_since(SystemTime::now()) {
            tokio::time::sleep(left).await;
        }
        over
    }

    /// Waits until the stream of `standing` must end.
    pub(super) async fn over(self, standing: &mut Standing, shared: &Shared) -> Over {
        tokio::select! {
            biased;
            over = self.passed() => over,
            denial = standing.revoked(&shared.published) => self.over_by(denial),
        }
    }

    /// Whether it must end now.
    pub(super) fn is_over(self, standing: &mut Standing, shared: &Shared) -> Option<Over> {
        let (at, over) = self.first();
        if SystemTime::now() >= at {
            return Some(over);
        }
        standing.revoked(&shared.published).now_or_never().map(|denial| self.over_by(denial))
    }

    /// A call whose token has ended is permitted no more either.
    fn over_by(self, denial: Option<Denial>) -> Over {
        match denial {
            Some(denial) => Over::Revoked(Box::new(denial)),
            None if self.token.is_some_and(|token| SystemTime::now() >= token) => Over::Token,
            None => Over::Gone,
        }
    }
}
