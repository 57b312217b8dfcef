//! Heads: a request's written, an answer's read as leniently as servers are, but for where its body ends.

use std::mem::MaybeUninit;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use httparse::{Error, ParserConfig, Status};

use super::super::SendFault;
use crate::config::limits::{MAX_FIELDS, MAX_HEAD};

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// Whether the connection may carry another request once the body was read.
    pub(super) persists: bool,
}

/// Where the body of an answer ends (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// With the connection.
    Close,
}

/// Appends request line and fields, without the empty line. `Content-Length` is written only if it is in the fields.
pub(super) fn write<B>(out: &mut BytesMut, request: &Request<B>) {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    for part in [request.method().as_str(), " ", path, " HTTP/1.1\r\n"] {
        out.put_slice(part.as_bytes());
    }
    for (name, value) in request.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.put_slice(part);
        }
    }
}

/// Takes the head of an answer to a request of `method` off `buffer`; `None` as long as it is not whole.
///
/// # Errors
/// [`SendFault::NotHttp`] also where two readers could find the end of the body in two places: a length beside a coding,
/// two lengths, a coding in HTTP/1.0.
pub(super) fn parse(buffer: &mut BytesMut, method: &Method) -> Result<Option<Head>, SendFault> {
    // An empty line before an answer is a request's alone to have (RFC 9112 section 2.2); an endless row of them would be
    // read from its beginning with every byte.
    if matches!(buffer.first(), Some(b'\r' | b'\n')) {
        return Err(SendFault::NotHttp);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, buffer, &mut fields);
    let length = match parsed {
        Ok(Status::Complete(length)) if length <= MAX_HEAD => length,
        Ok(Status::Partial) if buffer.len() < MAX_HEAD => return Ok(None),
        Ok(Status::Complete(_) | Status::Partial) | Err(Error::TooManyHeaders) => return Err(SendFault::HeadTooLarge),
        Err(_) => return Err(SendFault::NotHttp),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(SendFault::NotHttp)?;
    let modern = response.version == Some(1);
    // Where in the buffer each value stands: fields become slices of it, not copies.
    let begin = buffer.as_ptr().addr();
    let places: Vec<_> = response
        .headers
        .iter()
        .map(|field| {
            let at = field.value.as_ptr().addr().wrapping_sub(begin);
            (HeaderName::from_bytes(field.name.as_bytes()), at, field.value.len())
        })
        .collect();
    let bytes = buffer.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(places.len());
    for (name, at, length) in places {
        // An empty value need not stand in the buffer.
        let value = if length == 0 { Bytes::new() } else { bytes.slice(at..at + length) };
        let value = HeaderValue::from_maybe_shared(value).map_err(|_refused| SendFault::NotHttp)?;
        headers.append(name.map_err(|_refused| SendFault::NotHttp)?, value);
    }
    let framing = framing(&headers, method, status, modern)?;
    let persists = framing != Framing::Close && !goes_on(&headers, status) && persists(&headers, modern);
    Ok(Some(Head { status, headers, framing, persists }))
}

/// Whether a server may take something for a part of an answer that ends with its head: what it switched to, or a body that
/// it announces of a 204.
fn goes_on(headers: &HeaderMap, status: StatusCode) -> bool {
    let announced = || headers.contains_key(TRANSFER_ENCODING) || !matches!(length(headers), Ok(None | Some(0)));
    status == StatusCode::SWITCHING_PROTOCOLS || status == StatusCode::NO_CONTENT && announced()
}

fn framing(headers: &HeaderMap, method: &Method, status: StatusCode, modern: bool) -> Result<Framing, SendFault> {
    let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    if bodiless || method == Method::HEAD {
        return Ok(Framing::Length(0));
    }
    let length = length(headers)?;
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next_back(), length) {
        (None, Some(length)) => Ok(Framing::Length(length)),
        (None, None) => Ok(Framing::Close),
        (Some(_), Some(_)) => Err(SendFault::NotHttp),
        (Some(_), None) if !modern => Err(SendFault::NotHttp),
        (Some(last), None) => {
            let last = last.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
            Ok(if last.eq_ignore_ascii_case(b"chunked") { Framing::Chunked } else { Framing::Close })
        }
    }
}

/// The one length that all `Content-Length` fields and their members say.
fn length(headers: &HeaderMap) -> Result<Option<u64>, SendFault> {
    let mut said = None;
    for field in headers.get_all(CONTENT_LENGTH) {
        for member in field.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let digits = Some(member).filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit));
            let length: Option<u64> = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            match (said, length) {
                (_, None) => return Err(SendFault::NotHttp),
                (Some(other), Some(length)) if other != length => return Err(SendFault::NotHttp),
                (_, length) => said = length,
            }
        }
    }
    Ok(said)
}

fn persists(headers: &HeaderMap, modern: bool) -> bool {
    let says = |token: &[u8]| {
        let members = headers.get_all(CONNECTION).into_iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        members.map(<[u8]>::trim_ascii).any(|member| member.eq_ignore_ascii_case(token))
    };
    !says(b"close") && (modern || says(b"keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, method: Method) -> Result<Option<Head>, SendFault> {
        parse(&mut BytesMut::from(text), &method)
    }

    fn framed(fields: &str) -> Result<(Framing, bool), &'static str> {
        use crate::fault::Faulty;
        let read = read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), Method::POST);
        read.map(|head| head.map(|head| (head.framing, head.persists)).unwrap()).map_err(|fault| fault.reason())
    }

    #[test]
    fn a_body_ends_in_one_place_or_nowhere() {
        for (fields, framing) in [
            ("content-length: 3\r\n", (Framing::Length(3), true)),
            ("content-length: 3\r\ncontent-length: 3\r\n", (Framing::Length(3), true)),
            ("content-length: 3, 3\r\n", (Framing::Length(3), true)),
            ("content-length: 3\r\nconnection: close\r\n", (Framing::Length(3), false)),
            ("content-length: 0\r\nconnection: x, Close\r\n", (Framing::Length(0), false)),
            ("transfer-encoding: chunked\r\n", (Framing::Chunked, true)),
            ("transfer-encoding: gzip, Chunked\r\n", (Framing::Chunked, true)),
            ("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", (Framing::Chunked, true)),
            ("transfer-encoding: chunked, gzip\r\n", (Framing::Close, false)),
            ("", (Framing::Close, false)),
        ] {
            assert_eq!(framed(fields), Ok(framing), "{fields:?}");
        }
        for fields in [
            "content-length: 3\r\ntransfer-encoding: chunked\r\n",
            "content-length: 3\r\ncontent-length: 4\r\n",
            "content-length: 3, 4\r\n",
            "content-length: +3\r\n",
            "content-length: -1\r\n",
            "content-length: 0x3\r\n",
            "content-length:\r\n",
            "content-length: 99999999999999999999\r\n",
            "x y: 1\r\n",
            ": 1\r\n",
            "no colon\r\n",
        ] {
            assert_eq!(framed(fields), Err("upstream_not_http"), "{fields:?}");
        }
    }

    #[test]
    fn the_old_version_closes_unless_it_says_otherwise() {
        let head = |fields: &str| read(&format!("HTTP/1.0 200 OK\r\n{fields}\r\n"), Method::GET);
        assert!(!head("content-length: 3\r\n").unwrap().unwrap().persists);
        assert!(head("content-length: 3\r\nconnection: keep-alive\r\n").unwrap().unwrap().persists);
        assert!(matches!(head("transfer-encoding: chunked\r\n"), Err(SendFault::NotHttp)));
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        for (status, method) in
            [("204 x", Method::GET), ("304 x", Method::GET), ("200 OK", Method::HEAD), ("103 x", Method::GET)]
        {
            let text = format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n");
            assert_eq!(read(&text, method).unwrap().unwrap().framing, Framing::Length(0), "{status}");
        }
    }

    #[test]
    fn behind_which_something_may_follow_no_other_answer_is_read() {
        for (head, persists) in [
            ("101 x\r\nupgrade: x\r\n", false),
            ("204 x\r\ncontent-length: 5\r\n", false),
            ("204 x\r\ncontent-length: x\r\n", false),
            ("204 x\r\ntransfer-encoding: chunked\r\n", false),
            ("204 x\r\ncontent-length: 0\r\n", true),
            ("204 x\r\n", true),
            ("304 x\r\ncontent-length: 5\r\n", true),
        ] {
            let head = read(&format!("HTTP/1.1 {head}\r\n"), Method::GET).unwrap().unwrap();
            assert_eq!((head.framing, head.persists), (Framing::Length(0), persists), "{head:?}");
        }
        for line in ["\r\n", "\n", "\r\n\r\n"] {
            assert!(matches!(read(&format!("{line}HTTP/1.1 200 OK\r\n\r\n"), Method::GET), Err(SendFault::NotHttp)));
            assert!(matches!(read(line, Method::GET), Err(SendFault::NotHttp)), "{line:?}");
        }
    }

    #[test]
    fn a_head_is_whole_or_waited_for_and_takes_no_byte_of_the_body() {
        let text = "HTTP/1.1 200 OK\r\nServer: a b\r\nEmpty:\r\ncontent-length: 2\r\n\r\nok";
        let end = text.len() - 2;
        for cut in 0..end {
            assert!(read(text.get(..cut).unwrap(), Method::GET).unwrap().is_none(), "{cut}");
        }
        let mut buffer = BytesMut::from(text);
        let head = parse(&mut buffer, &Method::GET).unwrap().unwrap();
        assert_eq!(
            (&head.headers["server"], &head.headers["empty"], &buffer[..]),
            (&"a b".parse().unwrap(), &"".parse().unwrap(), &b"ok"[..])
        );
    }

    #[test]
    fn a_request_is_written_as_it_is() {
        let request = Request::post("/a?b=c").header("host", "h").header("x", "1").header("x", "2").body(()).unwrap();
        let mut out = BytesMut::new();
        write(&mut out, &request);
        assert_eq!(out, &b"POST /a?b=c HTTP/1.1\r\nhost: h\r\nx: 1\r\nx: 2\r\n"[..]);
    }
}
