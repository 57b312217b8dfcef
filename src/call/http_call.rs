use std::borrow::Cow;

/// The head of an HTTP request as policy sees it: the normalised values that are also what is forwarded.
#[derive(Debug, Clone)]
pub struct HttpHead {
    /// `GET`, exact case.
    pub method: http::Method,
    /// Path without query, percent-decoded once and re-encoded canonically; no dot or empty segments.
    pub path: String,
    /// Query without `?`, as sent.
    pub query: Option<String>,
    /// `Host` or `:authority`, lower case, with the port if one was sent.
    pub host: String,
    /// All other fields, after removal of hop-by-hop fields and of what only the mesh may say.
    pub headers: http::HeaderMap,
}

impl HttpHead {
    /// Bytes of memory that its texts take.
    pub fn size(&self) -> usize {
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        self.path.len() + self.query.as_ref().map_or(0, String::len) + self.host.len() + fields.sum::<usize>()
    }

    /// Path and query, as a request line has them.
    pub fn target(&self) -> Cow<'_, str> {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path).into(),
            None => self.path.as_str().into(),
        }
    }
}
