//! The file that keeps owners over a restart of this process.
//!
//! Lines are appended as they come and read at the start; of two owners of one id nobody is the owner. When most lines are about
//! what was forgotten or said again, the file is written anew and put in the old one's place. A line that was cut off by a
//! crash is left out: its answer had not gone out. Nothing is synced to the disk: a lost node loses its file anyway.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use super::Owners;
use super::journal::Sink;
use super::record::Record;

/// Lines beyond those that are needed, after which the file is written anew.
const SLACK: usize = 16_384;
/// After a failed write.
const AGAIN: Duration = Duration::from_secs(1);

/// Why owners cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// The directory or a file in it.
    #[error("--state-dir {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// Two processes would overwrite each other's.
    #[error("--state-dir {0}: another process uses it; give each its own")]
    InUse(PathBuf),
}

/// Reads what `directory` holds into `owners`, and keeps it there from now on, on a thread that ends with `owners`.
///
/// # Errors
/// [`StoreFault`]
pub(in crate::proxy) fn keep(owners: &Arc<Owners>, directory: &Path) -> Result<(), StoreFault> {
    let fault = |error: io::Error| StoreFault::Io(directory.to_owned(), error);
    fs::create_dir_all(directory).map_err(fault)?;
    let lock = private().create(true).truncate(false).open(directory.join("lock")).map_err(fault)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreFault::InUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => return Err(fault(error)),
    }
    let path = directory.join("owners.jsonl");
    read(owners, &path).map_err(fault)?;
    let store = Store { owners: Arc::downgrade(owners), path, _lock: lock };
    let open = store.rewrite().map_err(fault)?;
    std::thread::Builder::new().name("owners".to_owned()).spawn(move || store.run(open)).map_err(fault)?;
    Ok(())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn read(owners: &Owners, path: &Path) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut unreadable = 0_usize;
    for line in file.split(b'\n') {
        let line = line?;
        match std::str::from_utf8(&line).ok().and_then(Record::parse) {
            Some(record) => owners.adopt(&record),
            None => unreadable += usize::from(!line.is_empty()),
        }
    }
    if unreadable > 0 {
        tracing::warn!(path = %path.display(), unreadable, "lines of the file of owners were left out");
    }
    tracing::info!(path = %path.display(), known = owners.len(), "owners of tasks and contexts were read");
    Ok(())
}

/// The thread's.
struct Store {
    owners: Weak<Owners>,
    path: PathBuf,
    _lock: File,
}

/// The file as it is, and what is still to come.
struct Open {
    file: BufWriter<File>,
    sink: Sink,
    lines: usize,
}

impl Store {
    /// The file, written anew with everything that is known.
    fn rewrite(&self) -> io::Result<Open> {
        let owners = self.owners.upgrade().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        let (told, sink) = owners.told();
        drop(owners);
        let next = self.path.with_extension("next");
        let mut file = BufWriter::new(private().create(true).truncate(true).open(&next)?);
        let mut lines = 0;
        for line in told.lines() {
            file.write_all(line.as_bytes())?;
            lines += 1;
        }
        file.flush()?;
        fs::rename(&next, &self.path)?;
        sink.kept.send_replace(sink.seq);
        Ok(Open { file, sink, lines })
    }

    fn run(self, mut open: Open) {
        loop {
            let then = open.append();
            if open.sink.late.is_cancelled()
                && let Some(owners) = self.owners.upgrade()
            {
                // Written after all: answers wait for the file again.
                owners.journal.again(&mut open.sink);
            }
            match then {
                Ok(Then::On) if open.lines <= SLACK.saturating_add(self.needed().saturating_mul(2)) => continue,
                Ok(Then::On | Then::Anew) => {}
                Ok(Then::End) => return,
                Err(error) => self.failed(&error),
            }
            match self.rewrite() {
                Ok(anew) => open = anew,
                Err(_error) if self.owners.strong_count() == 0 => return,
                Err(error) => self.failed(&error),
            }
        }
    }

    fn failed(&self, error: &io::Error) {
        let path = self.path.display();
        tracing::error!(%path, %error, "owners of tasks are not kept: a restart would not know them");
        std::thread::park_timeout(AGAIN);
    }

    fn needed(&self) -> usize {
        self.owners.upgrade().map_or(0, |owners| owners.len())
    }
}

/// What to do after a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    On,
    /// Lines were missed.
    Anew,
    /// Nobody will tell anything any more.
    End,
}

impl Open {
    /// Appends what waits; waits for a line where none does.
    fn append(&mut self) -> io::Result<Then> {
        let mut next = self.sink.lines.blocking_recv();
        loop {
            let line = match next {
                Ok(line) => line,
                Err(RecvError::Lagged(_)) => return Ok(Then::Anew),
                Err(RecvError::Closed) => return Ok(Then::End),
            };
            if !line.passing {
                self.file.write_all(line.text.as_bytes())?;
                self.lines += 1;
            }
            next = match self.sink.lines.try_recv() {
                Ok(line) => Ok(line),
                Err(_none) => {
                    self.file.flush()?;
                    self.sink.kept.send_replace(line.seq);
                    return Ok(Then::On);
                }
            };
        }
    }
}
