//! What the tests of both drivers use: a handler made of a closure, and bodies that a test feeds by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::{mpsc, oneshot};

use super::*;

type Future_ = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A handler that is a closure.
#[derive(Clone)]
pub(super) struct By(Arc<dyn Fn(Request) -> Future_ + Send + Sync>);

impl Handler for By {
    async fn handle(&self, request: Request) -> Answer {
        (self.0)(request).await
    }
}

pub(super) fn by<F: Future<Output = Answer> + Send + 'static>(
    handle: impl Fn(Request) -> F + Send + Sync + 'static,
) -> By {
    By(Arc::new(move |request| Box::pin(handle(request))))
}

pub(super) fn ok(body: ResponseBody) -> Answer {
    Answer::Response(Response::new(body))
}

/// Says `METHOD path body`.
pub(super) fn echo() -> By {
    by(|request| async move {
        let line = format!("{} {} ", request.head.method, request.head.path);
        match request.body.collect().await {
            Ok(body) => {
                let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                ok(text_body(line + &text))
            }
            Err(fault) => ok(text_body(format!("{line}{fault}"))),
        }
    })
}

/// A body that a test feeds, and a sign when it is dropped.
pub(super) struct Fed {
    frames: mpsc::Receiver<Result<Frame<Bytes>, BodyFault>>,
    _dropped: oneshot::Sender<()>,
}

pub(super) type Feed = mpsc::Sender<Result<Frame<Bytes>, BodyFault>>;

pub(super) fn fed() -> (Feed, oneshot::Receiver<()>, ResponseBody) {
    let (feed, frames) = mpsc::channel(8);
    let (sign, dropped) = oneshot::channel();
    (feed, dropped, Fed { frames, _dropped: sign }.boxed_unsync())
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.frames.poll_recv(cx)
    }
}

pub(super) fn data(text: &'static str) -> Result<Frame<Bytes>, BodyFault> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// Hands the one body of a test to the one request of a test.
pub(super) fn once<T: Send + 'static>(value: T) -> impl Fn() -> Option<T> + Send + Sync {
    let slot = std::sync::Mutex::new(Some(value));
    move || slot.lock().unwrap().take()
}
