//! The writing side of an HTTP/1.1 connection: one answer, sent on as it comes.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::config::limits::READ_CHUNK;
use crate::intake::answer::ResponseBody;
use crate::intake::body::BodyFault;
use crate::intake::fault::IntakeFault;
use crate::wire::http1::{Delimit, frame_chunk, last_chunk};

/// The writing side, with what is not written yet.
#[derive(Debug)]
pub(super) struct Writer<W> {
    io: W,
    pub(super) out: BytesMut,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(io: W) -> Self {
        Self { io, out: BytesMut::new() }
    }

    pub(super) fn io(&mut self) -> &mut W {
        &mut self.io
    }

    /// Writes out and flushes what was put into `out`.
    pub(super) async fn send(&mut self) -> io::Result<()> {
        self.io.write_all(&self.out).await?;
        self.out = BytesMut::new();
        self.io.flush().await
    }

    /// Ends when the caller is known to take nothing more; not every stream can tell while nothing is written.
    pub(super) async fn gone(&mut self) -> io::Error {
        poll_fn(|cx| match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(error),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        })
        .await
    }

    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }

    /// Sends a body after the head in `out`. Frames that are there at once go out together; before waiting for the next
    /// one everything is flushed. `abandoned` is watched while there is nothing to send, anew for each frame.
    pub(super) async fn body<F: Future<Output = io::Error>>(
        &mut self,
        mut body: ResponseBody,
        delimit: Delimit,
        abandoned: impl Fn() -> F,
    ) -> Result<(), IntakeFault> {
        let mut left = if let Delimit::Length(length) = delimit { Some(length) } else { None };
        loop {
            let frame = match body.frame().now_or_never() {
                Some(frame) => frame,
                None => {
                    self.send().await?;
                    tokio::select! {
                        biased;
                        frame = body.frame() => frame,
                        error = abandoned() => return Err(error.into()),
                    }
                }
            };
            let data = match frame {
                None => break,
                Some(Err(fault)) => return Err(IntakeFault::Answer(fault)),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            if let Some(left) = &mut left {
                *left = left.checked_sub(data.len() as u64).ok_or(IntakeFault::Answer(BodyFault::Length))?;
            }
            if !data.is_empty() {
                self.data(data, delimit).await?;
            }
        }
        match (delimit, left) {
            (_, Some(1..)) => return Err(IntakeFault::Answer(BodyFault::Length)),
            (Delimit::Chunked, _) => last_chunk(&mut self.out),
            _ => {}
        }
        Ok(self.send().await?)
    }

    async fn data(&mut self, data: Bytes, delimit: Delimit) -> io::Result<()> {
        let chunked = delimit == Delimit::Chunked;
        if chunked {
            frame_chunk(&mut self.out, data.len());
        }
        if data.len() < READ_CHUNK {
            self.out.put_slice(&data);
        } else {
            self.io.write_all(&self.out).await?;
            self.out.clear();
            self.io.write_all(&data).await?;
        }
        if chunked {
            self.out.put_slice(b"\r\n");
        }
        if self.out.len() >= READ_CHUNK {
            self.io.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }
}
