//! Serves HTTP/1.1 on one connection: one request at a time, the next one not looked at before the answer is out.
//!
//! Nothing is spawned: dropping the future drops the handler's work and the answer's body. A caller that stopped sending
//! still gets its answer; one whose connection fails has its request abandoned at once.

mod reader;
mod switch;
mod writer;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Method, Response, StatusCode, Version};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::time::{Instant, Sleep, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::reader::{Incoming, Reader, Shared, Sign, lock};
use self::switch::Joined;
use self::writer::Writer;
use super::answer::{Answer, Handler, Request, ResponseBody};
use super::body::Body;
use super::fault::IntakeFault;
use crate::config::limits::{DISCARD_TIMEOUT, DRAIN_SILENCE, HALF_CLOSED_SILENCE, HEAD_TIMEOUT, HTTP_IDLE_TIMEOUT};
use crate::net::BoxedIo;
use crate::wire::http1::{self, Framing, HeadFault, KeepAlive, RequestHead, RequestParser, Upgrade, fields};

/// Serves requests from `io` until the caller ends the connection, one cannot be kept, or `drain` is cancelled and the
/// request at hand is answered. Errors: what the caller did wrong, or that its connection failed with an answer due.
pub async fn serve_http1<Io, H>(io: Io, handler: H, drain: CancellationToken) -> Result<(), IntakeFault>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let (read, write) = tokio::io::split(io);
    let mut connection = Connection {
        reader: Arc::new(Mutex::new(Reader::new(read))),
        writer: Writer::new(write),
        drain,
        idle: Box::pin(sleep(HTTP_IDLE_TIMEOUT)),
    };
    loop {
        let head = match connection.next_head(&handler).await {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(connection.close().await?),
            Err(IntakeFault::Head(fault)) => {
                // Whether the caller could be told changes nothing of what it did.
                let _told = connection.refuse(handler.fault(&fault)).await;
                return Err(fault.into());
            }
            Err(fault) => return Err(fault),
        };
        match connection.exchange(head, &handler).await? {
            Then::Next => {}
            Then::Close => return Ok(connection.close().await?),
            Then::Drop => return Ok(()),
        }
    }
}

struct Connection<Io> {
    reader: Shared<ReadHalf<Io>>,
    writer: Writer<WriteHalf<Io>>,
    drain: CancellationToken,
    /// Set anew for each wait: a timer that only moves away costs no look at the clock's list.
    idle: Pin<Box<Sleep>>,
}

impl<Io> Drop for Connection<Io> {
    /// A body that a handler gave to something that lives on ends here too, and the stream with it.
    fn drop(&mut self) {
        lock(&self.reader).end();
    }
}

/// Waits for the end of a connection that is kept for its next request. That may be on its way, and would be lost: its
/// caller gets a while, and learns with the answer that there will be no other.
async fn left(drain: &CancellationToken) {
    drain.cancelled().await;
    sleep(DRAIN_SILENCE).await;
}

/// What follows an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Another request.
    Next,
    /// An orderly end.
    Close,
    /// An end that the caller cannot take for an orderly one, or one that has already been made.
    Drop,
}

/// What an answer has to know of its request.
#[derive(Debug)]
struct Asked {
    method: Method,
    version: Version,
    keep_alive: KeepAlive,
    upgrade: Option<Upgrade>,
}

impl<Io> Connection<Io>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// The next head; `None` if there will be none.
    async fn next_head<H: Handler>(&mut self, handler: &H) -> Result<Option<RequestHead>, IntakeFault> {
        let mut parser = RequestParser::new();
        let mut deadline = None;
        loop {
            let begun = {
                let mut reader = lock(&self.reader);
                if let Some(head) = parser.advance_as(&reader.buffer, handler.paths())? {
                    return Ok(Some(head));
                }
                if reader.buffer.is_empty() {
                    // Gives its memory back: most kept connections are idle.
                    reader.buffer = bytes::BytesMut::new();
                }
                !reader.buffer.is_empty()
            };
            let fill = poll_fn(|cx| lock(&self.reader).poll_fill(cx));
            if begun {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + HEAD_TIMEOUT);
                match timeout_at(deadline, fill).await {
                    Ok(Ok(1..)) => {}
                    Ok(Ok(0)) => return Err(HeadFault::Truncated.into()),
                    Ok(Err(error)) => return Err(IntakeFault::Connection(error)),
                    Err(_elapsed) => return Err(HeadFault::Timeout.into()),
                }
            } else {
                self.idle.as_mut().reset(Instant::now() + HTTP_IDLE_TIMEOUT);
                tokio::select! {
                    biased;
                    read = fill => if !matches!(read, Ok(1..)) { return Ok(None) },
                    () = left(&self.drain) => return Ok(None),
                    () = &mut self.idle => return Ok(None),
                }
            }
        }
    }

    /// One request and its answer.
    async fn exchange<H: Handler>(&mut self, head: RequestHead, handler: &H) -> Result<Then, IntakeFault> {
        let exchange = lock(&self.reader).begin(&head);
        let body = match head.framing {
            Framing::None => Body::empty(),
            Framing::Length(_) | Framing::Chunked => {
                Body::stream(Incoming { reader: Arc::clone(&self.reader), exchange })
            }
        };
        let upgrade = head.upgrade.filter(|_| head.framing == Framing::None);
        let asked =
            Asked { method: head.head.method.clone(), version: head.version, keep_alive: head.keep_alive, upgrade };
        let request = Request { head: head.head, version: head.version, upgrade, body };
        match self.answer(handler.handle(request)).await? {
            Answer::Response(response) if response.status().is_informational() => Ok(Then::Drop),
            Answer::Response(response) => self.respond(response, &asked).await,
            Answer::Switch { head, io } if asked.upgrade.is_some() => Ok(self.switch(head, io).await?),
            Answer::Switch { .. } | Answer::Reset => Ok(Then::Drop),
        }
    }

    /// Runs the handler, gives the consent that a caller may wait for, and gives up when the caller is gone.
    async fn answer(&mut self, handling: impl Future<Output = Answer>) -> io::Result<Answer> {
        // On the heap: what a handler does can be large, and this future is kept for idle connections too.
        let mut handling = Box::pin(handling);
        loop {
            tokio::select! {
                biased;
                answer = &mut handling => return Ok(answer),
                sign = poll_fn(|cx| lock(&self.reader).poll_sign(cx)) => match sign {
                    Sign::Gone(error) => return Err(error),
                    Sign::HalfClosed => return tokio::select! {
                        biased;
                        answer = &mut handling => Ok(answer),
                        error = self.writer.gone() => Err(error),
                    },
                    Sign::Continue => {
                        http1::write_continue(&mut self.writer.out);
                        self.writer.send().await?;
                    }
                },
            }
        }
    }

    async fn respond(&mut self, response: Response<ResponseBody>, asked: &Asked) -> Result<Then, IntakeFault> {
        let (mut parts, body) = response.into_parts();
        let wished = asked.keep_alive == KeepAlive::Yes && !fields::connection_has(&parts.headers, "close");
        let delimit = http1::delimit(&asked.method, asked.version, parts.status, body.size_hint().exact());
        let kept =
            wished && delimit != http1::Delimit::Close && !self.drain.is_cancelled() && lock(&self.reader).may_go_on();
        let keep_alive = if kept { KeepAlive::Yes } else { KeepAlive::No };
        fields::strip_answer(&mut parts.headers);
        let out = &mut self.writer.out;
        http1::write_head(out, parts.status, &parts.headers, delimit, (keep_alive, asked.version));
        // Fields can be slices of the upstream's read buffer, and the body may last for days.
        drop(parts);
        if delimit == http1::Delimit::Nothing {
            drop(body);
            self.writer.send().await?;
        } else {
            let reader = &self.reader;
            self.writer.body(body, delimit, || abandoned(reader)).await?;
        }
        if !kept {
            return Ok(Then::Close);
        }
        lock(&self.reader).take_over();
        let mut dropped = 0;
        let rest = poll_fn(|cx| lock(&self.reader).poll_discard(cx, &mut dropped));
        Ok(if timeout(DISCARD_TIMEOUT, rest).await.unwrap_or(false) { Then::Next } else { Then::Close })
    }

    /// Answers what is no request.
    async fn refuse(&mut self, response: Response<ResponseBody>) -> Result<(), IntakeFault> {
        let asked = Asked { method: Method::GET, version: Version::HTTP_11, keep_alive: KeepAlive::No, upgrade: None };
        self.respond(response, &asked).await?;
        Ok(self.close().await?)
    }

    async fn switch(&mut self, head: Response<()>, mut io: BoxedIo) -> io::Result<Then> {
        let (mut parts, ()) = head.into_parts();
        let headers = &mut parts.headers;
        let upgrade = headers.remove(UPGRADE).unwrap_or(HeaderValue::from_static("websocket"));
        fields::strip_answer(headers);
        headers.insert(UPGRADE, upgrade);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        let status = StatusCode::SWITCHING_PROTOCOLS;
        let keep_alive = (KeepAlive::Yes, Version::HTTP_11);
        http1::write_head(&mut self.writer.out, status, headers, http1::Delimit::Nothing, keep_alive);
        self.writer.send().await?;
        let reader = Arc::clone(&self.reader);
        let mut joined = Joined { reader, writer: self.writer.io(), front: Bytes::new() };
        tokio::io::copy_bidirectional(&mut joined, &mut io).await?;
        Ok(Then::Drop)
    }

    /// Ends our side. Where the caller may still be sending, its bytes are read and dropped for a while: some transports
    /// throw a written answer away when they close over unread bytes.
    async fn close(&mut self) -> io::Result<()> {
        self.writer.shutdown().await?;
        lock(&self.reader).take_over();
        if lock(&self.reader).is_clear() {
            return Ok(());
        }
        let mut dropped = 0;
        let linger = poll_fn(|cx| lock(&self.reader).poll_linger(cx, &mut dropped));
        let _elapsed = timeout(DISCARD_TIMEOUT, linger).await;
        Ok(())
    }
}

/// Ends when the caller is known to be gone, or taken for gone after it stopped sending and nothing could be sent to it
/// for `limits::HALF_CLOSED_SILENCE`: a program that closes its socket looks through a proxy like one that only stopped
/// sending, until something is written to it.
async fn abandoned<R: AsyncRead + Unpin>(reader: &Shared<R>) -> io::Error {
    loop {
        match poll_fn(|cx| lock(reader).poll_sign(cx)).await {
            Sign::Gone(error) => return error,
            // The answer has begun: it is too late for consent.
            Sign::Continue => {}
            Sign::HalfClosed => {
                sleep(HALF_CLOSED_SILENCE).await;
                return io::ErrorKind::TimedOut.into();
            }
        }
    }
}

#[cfg(test)]
mod tests;
