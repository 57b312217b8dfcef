use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::{Backend, Then};

/// A way that a call goes, and to which of its backends.
#[derive(Debug, Clone)]
pub struct Taken {
    then: Arc<Then>,
    /// None where a session goes on at a backend that the way has not.
    backend: Option<usize>,
}

impl Taken {
    /// `backend`, where it is one of `then`'s.
    pub fn of(then: &Arc<Then>, backend: Option<&Backend>) -> Self {
        let backend = backend.and_then(|backend| then.backends.iter().position(|one| std::ptr::eq(one, backend)));
        Self { then: Arc::clone(then), backend }
    }

    fn backend(&self) -> Option<&Backend> {
        self.then.backends.get(self.backend?)
    }

    /// Whether it changes anything of requests.
    pub fn edits_requests(&self) -> bool {
        !self.then.request.is_empty() || self.backend().is_some_and(|backend| !backend.request.is_empty())
    }

    /// Makes of a request's headers what the rule says, then the backend.
    pub fn request(&self, headers: &mut HeaderMap) {
        self.then.request.apply(headers);
        if let Some(backend) = self.backend() {
            backend.request.apply(headers);
        }
    }

    /// Makes of a response's headers what the backend says, then the rule.
    pub fn response(&self, headers: &mut HeaderMap) {
        if let Some(backend) = self.backend() {
            backend.response.apply(headers);
        }
        self.then.response.apply(headers);
    }

    /// How long until the head of the response.
    pub fn timeout(&self) -> Option<Duration> {
        // One try is all there is.
        let each = self.then.each.into_iter();
        self.then.timeout.into_iter().chain(each).min()
    }
}
