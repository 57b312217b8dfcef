//! One HTTP/2 stream: its request to the handler, the answer to the caller.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{Method, Request as HttpRequest, Response, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::head::{self, Head};
use crate::config::limits::SEND_BUFFER;
use crate::intake::answer::{Answer, Handler, Place, Request, ResponseBody};
use crate::intake::body::{Body, BodyFault};
use crate::wire::http1::{Delimit, delimit, fields};

/// Why a stream ends before its answer is whole.
#[derive(Debug)]
enum Ended {
    /// By the caller, or with the connection: nobody is left to be told.
    Gone,
    /// By us.
    Reset(Reason),
}

impl From<h2::Error> for Ended {
    fn from(_error: h2::Error) -> Self {
        Self::Gone
    }
}

/// Serves one stream to its end, until when it keeps its place: how long its answer takes is its caller's to say too.
pub(super) async fn serve<H: Handler>(
    request: HttpRequest<RecvStream>,
    mut respond: SendResponse<Bytes>,
    handler: H,
    _place: Place,
) {
    let (parts, recv) = request.into_parts();
    let method = parts.method.clone();
    let answer = match head::normalise(parts, handler.paths()) {
        Ok(head) => handle(head, recv, &mut respond, &handler).await,
        Err(fault) => Ok(Answer::Response(handler.fault(&fault))),
    };
    let ended = match answer {
        Ok(Answer::Response(response)) if !response.status().is_informational() => {
            answer_with(response, &method, &mut respond).await
        }
        Ok(Answer::Response(_) | Answer::Switch { .. } | Answer::Reset) => Err(Ended::Reset(Reason::INTERNAL_ERROR)),
        Err(ended) => Err(ended),
    };
    if let Err(Ended::Reset(reason)) = ended {
        respond.send_reset(reason);
    }
}

async fn handle<H: Handler>(
    head: Head,
    recv: RecvStream,
    respond: &mut SendResponse<Bytes>,
    handler: &H,
) -> Result<Answer, Ended> {
    if head.expects_continue {
        let mut consent = Response::new(());
        *consent.status_mut() = StatusCode::CONTINUE;
        respond.send_informational(consent)?;
    }
    let body = if recv.is_end_stream() {
        Body::empty()
    } else {
        Body::stream(Incoming { recv, unreleased: 0, left: head.length })
    };
    let request = Request { head: head.head, version: Version::HTTP_2, upgrade: None, body };
    tokio::select! {
        biased;
        answer = handler.handle(request) => Ok(answer),
        _reset = poll_fn(|cx| respond.poll_reset(cx)) => Err(Ended::Gone),
    }
}

async fn answer_with(
    response: Response<ResponseBody>,
    method: &Method,
    respond: &mut SendResponse<Bytes>,
) -> Result<(), Ended> {
    let (mut parts, body) = response.into_parts();
    fields::strip_answer(&mut parts.headers);
    let bodiless = match delimit(method, Version::HTTP_2, parts.status, body.size_hint().exact()) {
        Delimit::Nothing => true,
        Delimit::Length(length) => {
            parts.headers.insert(CONTENT_LENGTH, length.into());
            length == 0 && body.is_end_stream()
        }
        Delimit::Chunked | Delimit::Close => {
            parts.headers.remove(CONTENT_LENGTH);
            false
        }
    };
    let send = respond.send_response(Response::from_parts(parts, ()), bodiless)?;
    if bodiless { Ok(()) } else { pass_on(body, send).await }
}

/// Sends a body with its trailers, frame by frame, as long as the caller wants it.
async fn pass_on(mut body: ResponseBody, mut send: SendStream<Bytes>) -> Result<(), Ended> {
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            _reset = poll_fn(|cx| send.poll_reset(cx)) => return Err(Ended::Gone),
        };
        let Some(frame) = frame else {
            return Ok(send.send_data(Bytes::new(), true)?);
        };
        match frame.map_err(|_fault| Ended::Reset(Reason::INTERNAL_ERROR))?.into_data() {
            Ok(data) => {
                let last = body.is_end_stream();
                send_data(&mut send, data, last).await?;
                if last {
                    return Ok(());
                }
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return Ok(send.send_trailers(trailers)?);
            }
        }
    }
}

/// Sends as much at a time as the caller's window and our buffer take.
async fn send_data(send: &mut SendStream<Bytes>, mut data: Bytes, last: bool) -> Result<(), Ended> {
    while !data.is_empty() {
        send.reserve_capacity(data.len().min(SEND_BUFFER));
        let room = poll_fn(|cx| send.poll_capacity(cx)).await.ok_or(Ended::Gone)??;
        let part = data.split_to(room.min(data.len()));
        if !part.is_empty() {
            send.send_data(part, last && data.is_empty())?;
            if data.is_empty() {
                return Ok(());
            }
        }
    }
    if last {
        send.send_data(Bytes::new(), true)?;
    }
    Ok(())
}

/// The body of a request. The caller may send more only once what it sent was taken and the next was asked for.
struct Incoming {
    recv: RecvStream,
    unreleased: usize,
    left: Option<u64>,
}

impl Incoming {
    fn release(&mut self) -> Result<(), h2::Error> {
        let taken = std::mem::take(&mut self.unreleased);
        if taken == 0 { Ok(()) } else { self.recv.flow_control().release_capacity(taken) }
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.release().map_err(|error| fault(&error))?;
        // Trailers, which only `poll_trailers` would bring, are dropped with the stream.
        Poll::Ready(match ready!(self.recv.poll_data(cx)) {
            None => None,
            Some(Err(error)) => Some(Err(fault(&error))),
            Some(Ok(data)) => {
                self.unreleased = data.len();
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Some(Ok(Frame::data(data)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.recv.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.recv.is_end_stream() {
            return SizeHint::with_exact(0);
        }
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Else the connection's window would stay smaller by it for good. An error means that it is gone anyway.
        let _released = self.release();
    }
}

fn fault(error: &h2::Error) -> BodyFault {
    if error.is_reset() {
        BodyFault::Reset
    } else {
        BodyFault::Connection(error.get_io().map_or(std::io::ErrorKind::InvalidData, std::io::Error::kind))
    }
}
