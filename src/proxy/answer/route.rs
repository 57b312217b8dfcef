//! What a caller is told where a route is the answer.

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};

use super::{ProxyFault, proxy_fault, text};
use crate::intake::Answer;
use crate::telemetry::RecordGuard;

/// A route answers by a redirect.
pub(in crate::proxy) fn redirect(record: RecordGuard, status: StatusCode, location: &str) -> Answer {
    let Ok(location) = HeaderValue::from_str(location) else { return proxy_fault(record, ProxyFault::Unsendable) };
    match text(record, status, "moved") {
        Answer::Response(mut response) => {
            response.headers_mut().insert(LOCATION, location);
            Answer::Response(response)
        }
        other @ (Answer::Switch { .. } | Answer::Reset) => other,
    }
}
