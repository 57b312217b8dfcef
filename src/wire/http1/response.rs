//! Response heads and chunk frames, written so that the end of every answer is unmistakable.

use bytes::{BufMut, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::request::KeepAlive;

/// How the end of an answer's body is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delimit {
    /// No body belongs to this answer, whatever its fields say (RFC 9110 section 6.4.1).
    Nothing,
    /// `Content-Length`.
    Length(u64),
    /// Chunked.
    Chunked,
    /// The end of the connection: HTTP/1.0, unknown length.
    Close,
}

/// How to show the end of an answer to a request of `method` and `version`, whose body has `length` bytes if known.
pub fn delimit(method: &Method, version: Version, status: StatusCode, length: Option<u64>) -> Delimit {
    let bodiless = status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    match length {
        _ if bodiless || method == Method::HEAD => Delimit::Nothing,
        Some(length) => Delimit::Length(length),
        None if version == Version::HTTP_10 => Delimit::Close,
        None => Delimit::Chunked,
    }
}

/// Writes status line and fields. Framing fields of `headers` are replaced by what `delimit` and `keep_alive` say;
/// a `Content-Length` stays only where it describes a body that is not sent (`HEAD`, 304).
pub fn write_head(
    out: &mut BytesMut,
    status: StatusCode,
    headers: &HeaderMap,
    delimit: Delimit,
    keep_alive: (KeepAlive, Version),
) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    let describes = delimit == Delimit::Nothing && status != StatusCode::NO_CONTENT && !status.is_informational();
    let switching = status == StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in headers {
        let kept = match name.as_str() {
            "content-length" => describes,
            "transfer-encoding" | "keep-alive" | "proxy-connection" | "trailer" | "te" => false,
            "connection" | "upgrade" => switching,
            _ => true,
        };
        if kept {
            field(out, name.as_str(), value);
        }
    }
    match delimit {
        Delimit::Length(length) => field(out, CONTENT_LENGTH.as_str(), &length.into()),
        Delimit::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        Delimit::Nothing | Delimit::Close => {}
    }
    match keep_alive {
        _ if switching => {}
        (KeepAlive::No, _) => field(out, CONNECTION.as_str(), &HeaderValue::from_static("close")),
        (KeepAlive::Yes, Version::HTTP_10) => {
            field(out, CONNECTION.as_str(), &HeaderValue::from_static("keep-alive"));
        }
        (KeepAlive::Yes, _) => {}
    }
    out.put_slice(b"\r\n");
}

fn field(out: &mut BytesMut, name: &str, value: &HeaderValue) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

/// `100 Continue`.
pub fn write_continue(out: &mut BytesMut) {
    out.put_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// The line before a chunk of `length` bytes, which is not zero. CRLF follows the chunk.
pub fn frame_chunk(out: &mut BytesMut, length: usize) {
    out.put_slice(format!("{length:x}\r\n").as_bytes());
}

/// The end of a chunked body, without trailers.
pub fn last_chunk(out: &mut BytesMut) {
    out.put_slice(b"0\r\n\r\n");
}
