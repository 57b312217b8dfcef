//! What the waypoint writes in its access log, read back: the demo's witness for decisions and rules.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep};

/// Records kept; the demo looks at the newest few.
const KEPT: usize = 4_096;
/// How long a record may take to be written after its call ended.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// The fields of one line that the demo looks at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Record {
    pub(super) peer: String,
    #[serde(default)]
    pub(super) method: String,
    pub(super) tool: Option<String>,
    pub(super) decision: String,
    pub(super) reason: String,
    pub(super) rule: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) status: Option<u16>,
}

impl Record {
    /// `namespace/name` of the policy, which the access log writes with its kind.
    pub(super) fn policy(&self) -> Option<String> {
        self.policy.as_deref()?.rsplit(' ').next().map(str::to_owned)
    }
}

/// The records so far. Clones see the same; one of them is handed to the waypoint as its access log.
#[derive(Debug, Clone, Default)]
pub(super) struct Records(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    kept: VecDeque<Record>,
    forgotten: usize,
    partial: Vec<u8>,
    unreadable: usize,
    follow: bool,
}

impl Records {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment, to ask for what came after it.
    pub(super) fn mark(&self) -> usize {
        let inner = self.lock();
        inner.forgotten + inner.kept.len()
    }

    /// What came after `mark`.
    pub(super) fn since(&self, mark: usize) -> Vec<Record> {
        let inner = self.lock();
        inner.kept.iter().skip(mark.saturating_sub(inner.forgotten)).cloned().collect()
    }

    /// The first record after `mark` that fits, as soon as it is there.
    pub(super) async fn find(&self, mark: usize, fits: impl Fn(&Record) -> bool) -> Option<Record> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.since(mark).into_iter().find(&fits) {
                return Some(found);
            }
            if Instant::now() >= until {
                return None;
            }
            sleep(POLL).await;
        }
    }

    /// Lines that were no records: none, or the demo cannot be believed.
    pub(super) fn unreadable(&self) -> usize {
        self.lock().unreadable
    }

    /// From now on each line goes to stdout too.
    pub(super) fn follow(&self) {
        self.lock().follow = true;
    }
}

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.lock();
        if inner.follow {
            // Nobody reading along any more is no reason to lose the records.
            let _gone = io::stdout().write_all(bytes);
        }
        inner.partial.extend_from_slice(bytes);
        while let Some(end) = inner.partial.iter().position(|byte| *byte == b'\n') {
            let rest = inner.partial.split_off(end + 1);
            let line = std::mem::replace(&mut inner.partial, rest);
            match serde_json::from_slice(&line) {
                Ok(record) => inner.kept.push_back(record),
                Err(_) => inner.unreadable += 1,
            }
            if inner.kept.len() > KEPT {
                inner.kept.pop_front();
                inner.forgotten += 1;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.lock().follow {
            let _gone = io::stdout().flush();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"time":"x","peer":"spiffe://a/b","method":"tools/call","tool":"t","decision":"deny","reason":"denied_by_rule","rule":"no-delete","policy":"AgentPolicy tools/notes"}"#;

    #[tokio::test(start_paused = true)]
    async fn lines_are_read_however_they_are_cut() {
        let records = Records::default();
        let mut sink = records.clone();
        sink.write_all(format!("{LINE}\n{LINE}").as_bytes()).unwrap();
        assert_eq!(records.mark(), 1);
        sink.write_all(b"\nrubbish\n").unwrap();
        assert_eq!((records.mark(), records.unreadable()), (2, 1));
        let found = records.find(1, |record| record.tool.as_deref() == Some("t")).await.unwrap();
        assert_eq!(found.policy().as_deref(), Some("tools/notes"));
        assert_eq!(records.find(2, |_| true).await, None);
    }
}
