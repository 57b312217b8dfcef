//! The access log: one JSON object per call and line, through a bounded queue to a thread that may block.
//!
//! A full queue loses the line, never the call; the loss is counted. Field names are part of the reference.

mod line;

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Record;
use crate::config::limits::ACCESS_LOG_QUEUE;

/// Time the writer leaves lines to gather after it wrote some. The queue holds what 400,000 calls per second bring in it.
const PAUSE: Duration = Duration::from_millis(20);

/// The sending end of the access log; a clone shares the queue.
#[derive(Debug, Clone)]
pub struct AccessLog {
    queue: Option<SyncSender<Item>>,
}

#[derive(Debug)]
enum Item {
    Record(Box<Record>),
    Flush(oneshot::Sender<()>),
}

impl AccessLog {
    /// Starts the writing thread. At most `capacity` records wait, [`ACCESS_LOG_QUEUE`] in
    /// production. The thread ends when the last handle is gone and everything queued is written.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(out: impl Write + Send + 'static, capacity: usize) -> std::io::Result<Self> {
        let (queue, items) = sync_channel(capacity);
        let _thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(move || run(&items, out))?;
        Ok(Self { queue: Some(queue) })
    }

    /// [`AccessLog::start`] on stdout, with room for [`ACCESS_LOG_QUEUE`] lines.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn to_stdout() -> std::io::Result<Self> {
        Self::start(std::io::stdout(), ACCESS_LOG_QUEUE)
    }

    /// A log that is off: records go nowhere and none counts as lost.
    pub fn discard() -> Self {
        Self { queue: None }
    }

    /// Queues `record`; false if it was lost.
    #[must_use]
    pub fn write(&self, record: Box<Record>) -> bool {
        let Some(queue) = &self.queue else { return true };
        queue.try_send(Item::Record(record)).is_ok()
    }

    /// Waits until everything queued before was handed to the system, for at most `limit`.
    pub async fn flush(&self, limit: Duration) {
        let Some(queue) = &self.queue else { return };
        let flushed = async {
            let (done, wait) = oneshot::channel();
            let mut item = Item::Flush(done);
            while let Err(TrySendError::Full(back)) = queue.try_send(item) {
                item = back;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            wait.await
        };
        if tokio::time::timeout(limit, flushed).await.is_err() {
            tracing::warn!("access log not written out in time");
        }
    }
}

fn run(items: &Receiver<Item>, out: impl Write) {
    let mut out = std::io::BufWriter::with_capacity(64 << 10, out);
    let mut text = Vec::with_capacity(1 << 10);
    while let Ok(first) = items.recv() {
        put(&mut out, &mut text, first);
        while let Ok(next) = items.try_recv() {
            put(&mut out, &mut text, next);
        }
        // A reader that went away must not end the process, nor is there anywhere else to say so.
        let _gone = out.flush();
        // Who waits in `recv` is woken by the next call: once per pause, not once per call.
        std::thread::park_timeout(PAUSE);
    }
}

fn put(out: &mut impl Write, text: &mut Vec<u8>, item: Item) {
    match item {
        Item::Record(record) => {
            line::json(&record, text);
            let _gone = out.write_all(text);
        }
        Item::Flush(done) => {
            let _gone = out.flush();
            let _nobody_waits = done.send(());
        }
    }
}

#[cfg(test)]
mod tests;
