//! How long a request's body is (RFC 9112 section 6), or that nobody can be sure.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Version};

use super::fault::{FieldFault, FramingFault, HeadFault};

/// How the end of a request body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunked.
    Chunked,
}

impl Framing {
    /// Reads the framing from the fields as sent.
    pub(super) fn of(headers: &HeaderMap, version: Version) -> Result<Self, HeadFault> {
        let coding = single(headers, &TRANSFER_ENCODING)?;
        let length = single(headers, &CONTENT_LENGTH)?;
        match (coding, length) {
            (Some(_), Some(_)) => Err(FramingFault::Both.into()),
            (Some(_), None) if version != Version::HTTP_11 => Err(FramingFault::OldVersion.into()),
            (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(Self::Chunked),
            (Some(_), None) => Err(FramingFault::Coding.into()),
            (None, Some(length)) => Ok(match content_length(length)? {
                0 => Self::None,
                length => Self::Length(length),
            }),
            (None, None) => Ok(Self::None),
        }
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Result<Option<&'a HeaderValue>, FieldFault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(FieldFault::Repeated) } else { Ok(first) }
}

/// A `Content-Length` in plain digits: no sign, no list, no overflow, no empty value.
pub(super) fn content_length(value: &HeaderValue) -> Result<u64, FramingFault> {
    let text = value.to_str().map_err(|_refused| FramingFault::Length)?;
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FramingFault::Length);
    }
    text.parse().map_err(|_refused| FramingFault::Length)
}
