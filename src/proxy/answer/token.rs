//! What is told of a token that does not hold (RFC 6750 section 3).

use http::StatusCode;
use http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::{mcp_fault, text};
use crate::intake::Answer;
use crate::policy::TokenFault;
use crate::telemetry::RecordGuard;

/// A token that is not valid. A missing one is a matter for rules. Where it is not known whether it is, as its issuer's keys
/// are not to be had, it is not the token that is at fault: a client that heard so would ask its user for another.
pub(in crate::proxy) fn bad_token(mut record: RecordGuard, fault: TokenFault) -> Answer {
    let (status, error) = match fault {
        TokenFault::NoKeys => return super::fault(record, &fault),
        // RFC 6750 section 3.1: more than one way to send a token.
        TokenFault::Several => (StatusCode::BAD_REQUEST, "invalid_request"),
        TokenFault::Malformed
        | TokenFault::Algorithm
        | TokenFault::Issuer
        | TokenFault::Signature
        | TokenFault::Expired
        | TokenFault::NotYetValid
        | TokenFault::Audience => (StatusCode::UNAUTHORIZED, "invalid_token"),
    };
    record.failed(&fault);
    let challenge = format!("Bearer error=\"{error}\", error_description=\"{fault}\"");
    challenged(text(record, status, "the bearer token is not valid"), &challenge)
}

/// The answer with a challenge (RFC 9110 section 11.6.1).
pub(super) fn challenged(answer: Answer, challenge: &str) -> Answer {
    match (answer, HeaderValue::from_str(challenge)) {
        (Answer::Response(mut response), Ok(challenge)) => {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            Answer::Response(response)
        }
        (other, _) => other,
    }
}

/// The same for an MCP caller, to whom what is not the token's fault is said in its own protocol.
pub(in crate::proxy) fn mcp_bad_token(record: RecordGuard, fault: TokenFault) -> Answer {
    if fault == TokenFault::NoKeys { mcp_fault(record, None, &fault) } else { bad_token(record, fault) }
}
