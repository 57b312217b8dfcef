use http::header::AUTHORIZATION;
use http::{Request, Response};

use super::super::body::{InBody, OutBody};
use super::super::departure::Leave;
use super::super::dial::Dialled;
use super::super::http1::{Home, One, exchange};
use super::super::pool::Key;
use super::super::{DialFault, Upstreams};
use super::{Failed, UpstreamHttp, accept};
use crate::mesh::Endpoint;

impl Upstreams {
    pub(super) async fn send_http1(
        &self,
        endpoint: &Endpoint,
        key: &Key,
        mut request: Request<OutBody>,
        leave: Leave<'_>,
    ) -> Result<Response<InBody>, Failed> {
        if let Some(pooled) = self.inner.pool.take_one(key) {
            leave.goes();
            match self.over_http1(pooled, key, request).await {
                Err(Failed { unsent: Some(back), .. }) => {
                    leave.stayed();
                    request = *back;
                }
                done => return done,
            }
        }
        let one = match self.open_http1(endpoint).await {
            Ok(one) => one,
            Err(fault) => return Err(Failed::unsent(fault.into(), request)),
        };
        leave.goes();
        self.over_http1(one, key, request).await
    }

    async fn over_http1(&self, one: One, key: &Key, request: Request<OutBody>) -> Result<Response<InBody>, Failed> {
        let shared = !proves_for_a_connection(&request);
        let answered = exchange(one, request).await?;
        let home = shared.then(|| Home { upstreams: self.clone(), key: key.clone() });
        Ok(accept(answered.read(home))?)
    }

    pub(in super::super) async fn open_http1(&self, endpoint: &Endpoint) -> Result<One, DialFault> {
        let Dialled { line, retire_at } = self.dial(endpoint, UpstreamHttp::Http1).await?;
        Ok(One::new(line.boxed(), retire_at, self.inner.tasks.token()))
    }
}

/// Whether a request says who it is from in a way that servers believe of all that comes on its connection: of NTLM, and of
/// Negotiate by which it is carried, they see no other (RFC 4559 section 6). Whoever came after it there would be taken for
/// its caller.
fn proves_for_a_connection(request: &Request<OutBody>) -> bool {
    request.headers().get_all(AUTHORIZATION).iter().any(|value| {
        let scheme = value.as_bytes().split(|byte| matches!(byte, b' ' | b'\t' | b',')).next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    })
}
