//! What a request must be, from a route's words.

use std::sync::Arc;

use http::{HeaderName, Method};
use regex::RegexBuilder;

use crate::document::http_route::{HttpMatch, NamedMatch, PathMatchType, TextMatchType};
use crate::mesh::route::{Path, Text, When};
use crate::wire::path::Normalization;

/// Memory of one compiled expression, bytes.
const REGEX_SIZE: usize = 1 << 20;

/// Compiles one match; the field that does not fit, and why.
pub(super) fn when(written: &HttpMatch, hosts: &Arc<[Box<str>]>) -> Result<When, (String, String)> {
    let path = match written.path.r#type {
        PathMatchType::RegularExpression => Path::Regex(regex(&written.path.value, "path.value")?),
        kind @ (PathMatchType::Exact | PathMatchType::PathPrefix) => {
            let raw = &written.path.value;
            let value = Normalization::Base
                .apply(raw)
                .map_err(|fault| ("path.value".to_owned(), format!("{raw:?}: {fault}")))?;
            if kind == PathMatchType::Exact { Path::Exact(value.into()) } else { Path::Prefix(value.into()) }
        }
    };
    let method = written.method.as_ref().map(|method| Method::from_bytes(method.as_bytes()));
    let method = method.transpose().map_err(|_no_method| ("method".to_owned(), "is no HTTP method".to_owned()))?;
    let mut headers = Vec::with_capacity(written.headers.len());
    for (at, one) in written.headers.iter().enumerate() {
        let field = format!("headers[{at}]");
        let name = HeaderName::from_bytes(one.name.as_bytes())
            .map_err(|_no_name| (format!("{field}.name"), format!("{:?} is no name of a header", one.name)))?;
        let text = text(one, &field)?;
        // Of several entries of one name the first counts (Gateway API, HTTPRouteMatch).
        if !headers.iter().any(|(known, _)| *known == name) {
            headers.push((name, text));
        }
    }
    let mut query = Vec::with_capacity(written.query_params.len());
    for (at, one) in written.query_params.iter().enumerate() {
        query.push((one.name.as_str().into(), text(one, &format!("queryParams[{at}]"))?));
    }
    Ok(When { hosts: Arc::clone(hosts), path, method, headers: headers.into(), query: query.into() })
}

fn text(written: &NamedMatch, field: &str) -> Result<Text, (String, String)> {
    match written.r#type {
        TextMatchType::Exact => Ok(Text::Exact(written.value.as_str().into())),
        TextMatchType::RegularExpression => regex(&written.value, &format!("{field}.value")).map(Text::Regex),
    }
}

/// Over the whole text, in time linear in it.
fn regex(text: &str, field: &str) -> Result<regex::Regex, (String, String)> {
    let built = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(REGEX_SIZE).build();
    built.map_err(|_told| (field.to_owned(), format!("{text:?} is no regular expression, or too large a one")))
}
