//! Parsing and filtering of large texts, off the threads that every other call needs.
//!
//! A text of megabytes takes tens of milliseconds. `block_in_place` hands the other tasks of this thread to another one
//! meanwhile; a blocking pool would queue without a bound, and keep the bytes of callers who left.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Texts from here on are large, bytes: about a millisecond of work.
const LARGE: usize = 256 << 10;

/// Places for large texts: half of the cores, so that small calls always find one.
#[derive(Debug)]
pub(super) struct Heavy(Semaphore);

impl Default for Heavy {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Semaphore::new((cores / 2).max(1)))
    }
}

impl Heavy {
    /// Does `work` on a text of `bytes`; a large one waits for its place.
    pub(super) async fn run<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes < LARGE {
            return work();
        }
        // Never closed; without a place the work is still to be done.
        let _place = self.0.acquire().await.ok();
        run_now(bytes, work)
    }
}

/// Does `work` on a text of `bytes` where nothing can be awaited.
pub(super) fn run_now<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let many = Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes >= LARGE && many { tokio::task::block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn large_work_leaves_its_thread_to_others() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let heavy = Arc::new(Heavy::default());
        let large = tokio::spawn(async move {
            heavy.run(LARGE, move || receiver.recv_timeout(Duration::from_secs(10)).is_ok()).await
        });
        let small = tokio::spawn(async move { sender.send(()) });
        assert!(large.await.unwrap(), "the only thread was taken");
        small.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn where_there_is_one_thread_only_it_works_there() {
        assert_eq!(Heavy::default().run(LARGE, || 3).await, 3);
    }
}
