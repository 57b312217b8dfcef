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

/// When what proves the caller ends, whatever rules say. Its token's end is the permit's own: [`Standing`] knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends(SystemTime);

impl Ends {
    /// Of whoever asked. A little before the connection is cut off, so that trailers still go out.
    pub(super) fn of(asked: &Asked) -> Self {
        let proven = asked.peer().not_after();
        Self(proven.checked_sub(STREAM_END_LEAD).unwrap_or(proven))
    }

    async fn passed(self) {
        if let Ok(left) = self.0.duration_since(SystemTime::now()) {
            tokio::time::sleep(left).await;
        }
    }

    /// Waits until the stream of `standing` must end.
    pub(super) async fn over(self, standing: &mut Standing, shared: &Shared) -> Over {
        let denial = tokio::select! {
            biased;
            denial = standing.revoked(&shared.published) => denial,
            () = self.passed() => return Over::Certificate,
        };
        over_by(standing, denial)
    }

    /// Whether it must end now.
    pub(super) fn is_over(self, standing: &mut Standing, shared: &Shared) -> Option<Over> {
        if let Some(denial) = standing.revoked(&shared.published).now_or_never() {
            return Some(over_by(standing, denial));
        }
        (SystemTime::now() >= self.0).then_some(Over::Certificate)
    }
}

/// A call whose token has ended is permitted no more either.
fn over_by(standing: &Standing, denial: Option<Denial>) -> Over {
    match denial {
        Some(denial) => Over::Revoked(Box::new(denial)),
        None if standing.token_has_ended() => Over::Token,
        None => Over::Gone,
    }
}
