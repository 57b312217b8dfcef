//! The reading side of an HTTP/1.1 connection, shared by the driver and the body that a handler holds.
//!
//! One of them reads at a time: the body while it is alive and unfinished, else the driver, which only wants to know
//! whether the caller is still there. Nothing is read that nobody asked for, beyond one head's worth.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

use crate::config::limits::{MAX_DISCARD, MAX_HEAD, READ_CHUNK};
use crate::intake::body::BodyFault;
use crate::wire::http1::{BodyDecoder, Framing, Piece, RequestHead};

/// The reading side.
#[derive(Debug)]
pub(super) struct Reader<R> {
    io: Option<R>,
    pub(super) buffer: BytesMut,
    decoder: BodyDecoder,
    body: State,
    consent: Consent,
    exchange: u64,
    eof: bool,
    driver: Option<Waker>,
    /// Whoever waits for more of the body, who may be another task than the driver's.
    asker: Option<Waker>,
}

/// What became of the body of the request at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A handler may still read it.
    Alive,
    /// All of it has been read.
    Done,
    /// Nobody will read the rest.
    Dropped,
    /// It broke off or cannot be read.
    Failed,
}

/// `100 Continue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consent {
    /// The caller does not wait for it, or has it.
    Given,
    /// The caller waits for it.
    Withheld,
    /// Somebody wants the body: the driver is to give it.
    Wanted,
}

/// What the driver learns while it waits for something else.
#[derive(Debug)]
pub(super) enum Sign {
    /// The caller waits for `100 Continue` and the handler for the body.
    Continue,
    /// The caller will send nothing more; it may still read.
    HalfClosed,
    /// The caller is gone.
    Gone(io::Error),
}

/// Shared by driver and body.
pub(super) type Shared<R> = Arc<Mutex<Reader<R>>>;

pub(super) fn lock<R>(shared: &Shared<R>) -> MutexGuard<'_, Reader<R>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(io: R) -> Self {
        let decoder = BodyDecoder::new(Framing::None);
        Self {
            io: Some(io),
            buffer: BytesMut::new(),
            decoder,
            body: State::Done,
            consent: Consent::Given,
            exchange: 0,
            eof: false,
            driver: None,
            asker: None,
        }
    }

    /// Reads once to the end of the buffer; 0 at the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.eof {
            return Poll::Ready(Ok(0));
        }
        let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        // By way of the stack: a connection that waits holds no buffer, and one that got little holds little.
        let mut chunk = [MaybeUninit::uninit(); READ_CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(io).poll_read(cx, &mut chunk))?;
        let read = chunk.filled();
        self.buffer.extend_from_slice(read);
        self.eof = read.is_empty();
        Poll::Ready(Ok(read.len()))
    }

    /// For reading past HTTP: what is buffered first, then the stream.
    pub(super) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.buffer.is_empty() {
            ready!(self.poll_fill(cx))?;
        }
        Poll::Ready(Ok(self.buffer.split().freeze()))
    }

    /// Takes the head off the buffer and makes ready for its body.
    ///
    /// The number of the exchange is the body's key: a body that outlives its exchange must not read the next one's.
    pub(super) fn begin(&mut self, head: &RequestHead) -> u64 {
        self.exchange += 1;
        drop(self.buffer.split_to(head.consumed.min(self.buffer.len())));
        self.decoder = BodyDecoder::new(head.framing);
        self.body = if head.framing == Framing::None { State::Done } else { State::Alive };
        self.consent = if head.expects_continue { Consent::Withheld } else { Consent::Given };
        self.exchange
    }

    /// What there is to know about the caller. Pending as long as there is nothing, or the body is being read.
    pub(super) fn poll_sign(&mut self, cx: &mut Context<'_>) -> Poll<Sign> {
        self.driver = Some(cx.waker().clone());
        if self.consent == Consent::Wanted {
            self.consent = Consent::Given;
            return Poll::Ready(Sign::Continue);
        }
        if self.eof {
            return Poll::Ready(Sign::HalfClosed);
        }
        if self.body == State::Alive {
            return Poll::Pending;
        }
        while self.buffer.len() < MAX_HEAD {
            match ready!(self.poll_fill(cx)) {
                Ok(0) => return Poll::Ready(Sign::HalfClosed),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Sign::Gone(error)),
            }
        }
        Poll::Pending
    }

    /// Whether, as far as can be told before the answer, another request can follow on this connection.
    pub(super) fn may_go_on(&self) -> bool {
        match self.body {
            State::Done => true,
            State::Failed => false,
            // Without consent the caller may send the body or not: what comes next could be either.
            State::Alive => self.consent == Consent::Given,
            State::Dropped => {
                self.consent == Consent::Given && self.decoder.remaining().is_none_or(|left| left <= MAX_DISCARD as u64)
            }
        }
    }

    /// Whether the caller may still be sending what nobody reads.
    pub(super) fn is_clear(&self) -> bool {
        self.body == State::Done && self.buffer.is_empty()
    }

    /// After the answer: the body, if a handler still holds it, gives nothing more.
    pub(super) fn take_over(&mut self) {
        if self.body == State::Alive {
            self.body = State::Dropped;
            self.wake_asker();
        }
    }

    /// Reads and drops the rest of the body: whether the next request can be read then. Asked until ready.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>, dropped: &mut usize) -> Poll<bool> {
        if self.body != State::Dropped {
            return Poll::Ready(self.body == State::Done);
        }
        if self.consent != Consent::Given {
            return Poll::Ready(false);
        }
        while *dropped <= MAX_DISCARD {
            match self.decoder.decode(&mut self.buffer) {
                Ok(Piece::Data(data)) => *dropped += data.len(),
                Ok(Piece::End) => {
                    self.body = State::Done;
                    return Poll::Ready(true);
                }
                Ok(Piece::More) if matches!(ready!(self.poll_fill(cx)), Ok(1..)) => {}
                Ok(Piece::More) | Err(_) => break,
            }
        }
        self.body = State::Failed;
        Poll::Ready(false)
    }

    /// Reads and drops whatever comes, up to a limit or the end.
    pub(super) fn poll_linger(&mut self, cx: &mut Context<'_>, dropped: &mut usize) -> Poll<()> {
        while *dropped <= MAX_DISCARD {
            self.buffer.clear();
            match ready!(self.poll_fill(cx)) {
                Ok(read @ 1..) => *dropped += read,
                Ok(0) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }

    fn poll_body(&mut self, exchange: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        if exchange != self.exchange {
            return Poll::Ready(Some(Err(BodyFault::Over)));
        }
        loop {
            match self.body {
                State::Alive => {}
                State::Done => return Poll::Ready(None),
                State::Dropped => return Poll::Ready(Some(Err(BodyFault::Over))),
                State::Failed => return Poll::Ready(None),
            }
            match self.decoder.decode(&mut self.buffer) {
                Ok(Piece::Data(data)) => {
                    if self.decoder.remaining() == Some(0) {
                        self.settle(State::Done);
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Ok(Piece::End) => self.settle(State::Done),
                Err(fault) => return self.fail(fault.into()),
                Ok(Piece::More) => match self.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => return self.fail(BodyFault::Truncated),
                    Poll::Ready(Ok(_)) => self.consent = Consent::Given,
                    Poll::Ready(Err(error)) => return self.fail(BodyFault::Connection(error.kind())),
                    Poll::Pending => {
                        // Of an exchange that the driver ends the stream says nothing.
                        self.asker.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
                        if self.consent == Consent::Withheld {
                            self.consent = Consent::Wanted;
                            self.wake_driver();
                        }
                        return Poll::Pending;
                    }
                },
            }
        }
    }

    fn fail(&mut self, fault: BodyFault) -> Poll<Option<Result<Bytes, BodyFault>>> {
        self.settle(State::Failed);
        Poll::Ready(Some(Err(fault)))
    }
}

impl<R> Reader<R> {
    fn settle(&mut self, state: State) {
        self.body = state;
        self.wake_driver();
    }

    /// The connection is over: the stream is let go, and whoever still reads the body learns it.
    pub(super) fn end(&mut self) {
        self.io = None;
        self.exchange += 1;
        self.wake_asker();
    }

    fn wake_asker(&mut self) {
        if let Some(asker) = self.asker.take() {
            asker.wake();
        }
    }

    fn wake_driver(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }
}

/// A request body that reads from the connection when it is asked to.
#[derive(Debug)]
pub(super) struct Incoming<R> {
    pub(super) reader: Shared<R>,
    pub(super) exchange: u64,
}

impl<R: AsyncRead + Unpin> HttpBody for Incoming<R> {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        lock(&self.reader).poll_body(self.exchange, cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        let reader = lock(&self.reader);
        reader.exchange == self.exchange && reader.body == State::Done
    }

    fn size_hint(&self) -> SizeHint {
        let reader = lock(&self.reader);
        match reader.decoder.remaining() {
            Some(left) if reader.exchange == self.exchange && reader.body == State::Alive => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }
}

impl<R> Drop for Incoming<R> {
    fn drop(&mut self) {
        let mut reader = lock(&self.reader);
        if reader.exchange == self.exchange && reader.body == State::Alive {
            reader.settle(State::Dropped);
        }
    }
}
