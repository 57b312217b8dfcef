//! What each file holds now, and what it held when it last parsed.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::FilesFault;
use super::scan::{Scan, scan};
use crate::config::limits;
use crate::document::{Input, Place, Problem, Reading, Severity, Source, read};

/// A file changed so lately may change again within one tick of the filesystem's clock: it is read whatever it says.
const FRESH: Duration = Duration::from_secs(3);

/// The files of documents.
#[derive(Debug)]
pub(super) struct Store {
    paths: Vec<PathBuf>,
    scan: Scan,
    files: BTreeMap<PathBuf, Held>,
    faults: Vec<String>,
}

/// One file.
#[derive(Debug, Default)]
struct Held {
    print: Option<Print>,
    text: Option<u64>,
    last: Option<Arc<Reading>>,
    failing: Option<Failing>,
}

/// A file that does not say what is in force.
#[derive(Debug)]
struct Failing {
    since: Instant,
    problem: Problem,
    then: Then,
}

/// What becomes of it once it failed for [`limits::FILE_GRACE`].
#[derive(Debug)]
enum Then {
    /// Its targets close.
    Close,
    /// It is empty on purpose.
    Empty(Arc<Reading>),
    /// They closed.
    Closed,
}

/// Changes whenever the file does, short of two changes in one tick of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Store {
    /// Reads `paths` for the first time.
    pub(super) fn open(paths: Vec<PathBuf>) -> Result<Self, FilesFault> {
        let mut store = Self { scan: scan(&paths), paths, files: BTreeMap::new(), faults: Vec::new() };
        if let Some(fault) = std::mem::take(&mut store.scan.faults).into_iter().next() {
            return Err(fault);
        }
        for path in &store.scan.files {
            File::open(path).map_err(|error| FilesFault::Unreadable { path: path.clone(), error })?;
        }
        store.look(Instant::now());
        Ok(store)
    }

    /// Looks at the disk again; whether anything came out differently.
    pub(super) fn refresh(&mut self, now: Instant) -> bool {
        self.scan = scan(&self.paths);
        let before = std::mem::take(&mut self.faults);
        self.faults = self.scan.faults.iter().map(ToString::to_string).collect();
        // Not `||`: both must happen.
        self.look(now) | (before != self.faults)
    }

    fn look(&mut self, now: Instant) -> bool {
        let Scan { files, unlisted, .. } = &self.scan;
        let count = self.files.len();
        self.files.retain(|path, _| files.contains(path) || unlisted.iter().any(|above| path.starts_with(above)));
        let mut changed = self.files.len() != count;
        for path in files {
            self.files.entry(path.clone()).or_default();
        }
        for (path, held) in &mut self.files {
            changed |= held.look(path, now);
        }
        changed
    }

    /// Every file as it takes part.
    pub(super) fn inputs(&self) -> Vec<Input> {
        let many = self.scan.faults.iter().filter(|fault| matches!(fault, FilesFault::TooMany(_)));
        let unread = many.map(|fault| Input::Unknown(told(fault)));
        self.files.values().filter_map(Held::input).chain(unread).collect()
    }

    /// What is wrong with the paths themselves, since the start.
    pub(super) fn faults(&self) -> Vec<Problem> {
        self.scan.faults.iter().map(told).collect()
    }

    /// Directories whose changes matter.
    pub(super) fn directories(&self) -> &HashSet<PathBuf> {
        &self.scan.directories
    }
}

impl Held {
    /// Reads the file if it may have changed; whether it takes part differently now.
    fn look(&mut self, path: &Path, now: Instant) -> bool {
        let print = match fs::metadata(path) {
            Ok(meta) => Print::of(&meta),
            Err(error) => return self.unread(path, now, &error),
        };
        if self.print == Some(print) && !print.is_fresh() {
            return self.wait(now);
        }
        let text = match text(path) {
            Ok(text) => text,
            Err(error) => return self.unread(path, now, &error),
        };
        self.print = Some(print);
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        if self.text.replace(hasher.finish()) == Some(hasher.finish()) {
            return self.wait(now);
        }
        let empty = text.trim().is_empty();
        let kept = self.last.as_ref().is_some_and(|last| !last.is_empty()) && !self.is_closed();
        match read(&Source { file: Arc::new(path.to_owned()), text }) {
            Err(problem) => self.fail(now, problem, Then::Close),
            Ok(reading) if empty && kept => {
                let problem = problem(path, 0, "is empty; its writer may have just begun");
                self.fail(now, problem, Then::Empty(Arc::new(reading)))
            }
            Ok(reading) => {
                self.last = Some(Arc::new(reading));
                self.failing = None;
                true
            }
        }
    }

    fn unread(&mut self, path: &Path, now: Instant, error: &io::Error) -> bool {
        // So that it is read again as soon as that can be, whatever its print.
        (self.print, self.text) = (None, None);
        self.fail(now, problem(path, 0, &format!("cannot be read: {error}")), Then::Close)
    }

    /// The file does not say what is in force. Since when is not forgotten while it fails in whatever way.
    fn fail(&mut self, now: Instant, problem: Problem, then: Then) -> bool {
        let same = self.failing.as_ref().is_some_and(|failing| failing.problem == problem);
        let since = self.failing.as_ref().map_or(now, |failing| failing.since);
        let then = if self.is_closed() { Then::Closed } else { then };
        self.failing = Some(Failing { since, problem, then });
        self.wait(now) | !same
    }

    fn is_closed(&self) -> bool {
        matches!(self.failing, Some(Failing { then: Then::Closed, .. }))
    }

    /// Ends the grace of a failing file once it is over.
    fn wait(&mut self, now: Instant) -> bool {
        let Some(failing) = &mut self.failing else { return false };
        if now.duration_since(failing.since) < limits::FILE_GRACE {
            return false;
        }
        match std::mem::replace(&mut failing.then, Then::Closed) {
            Then::Closed => false,
            Then::Close => true,
            Then::Empty(reading) => {
                self.last = Some(reading);
                self.failing = None;
                true
            }
        }
    }

    fn input(&self) -> Option<Input> {
        let Some(failing) = &self.failing else { return self.last.clone().map(Input::Current) };
        let told = |more: &str| {
            let mut problem = failing.problem.clone();
            problem.reason.push_str(more);
            problem
        };
        let grace = limits::FILE_GRACE.as_secs();
        Some(match (&self.last, &failing.then) {
            (Some(last), Then::Close | Then::Empty(_)) => {
                Input::Kept(Arc::clone(last), told(&format!("; what it held before stays in force for {grace} s")))
            }
            (Some(last), Then::Closed) => {
                let more = "; every target that its documents select is closed until it parses";
                Input::Stale(Arc::clone(last), told(more))
            }
            (None, _) => {
                Input::Unknown(told("; nobody knows what it selects, so every target is closed until it parses"))
            }
        })
    }
}

impl Print {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            len: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether the file changed so lately that the print may stay the same at the next change.
    fn is_fresh(&self) -> bool {
        let changed =
            u64::try_from(self.changed.0).map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age < FRESH))
    }
}

fn told(fault: &FilesFault) -> Problem {
    let path = match fault {
        FilesFault::Missing(path)
        | FilesFault::Unreadable { path, .. }
        | FilesFault::Empty(path)
        | FilesFault::TooMany(path) => path,
        FilesFault::Thread(_) => Path::new(""),
    };
    problem(path, 0, &fault.to_string())
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(limits::MAX_DOCUMENT_FILE + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read > limits::MAX_DOCUMENT_FILE) {
        return Err(io::Error::other(format!("larger than {} bytes", limits::MAX_DOCUMENT_FILE)));
    }
    Ok(text)
}

fn problem(path: &Path, line: usize, reason: &str) -> Problem {
    let place = Place { file: Arc::new(path.to_owned()), line };
    let (document, field) = ("file".to_owned(), String::new());
    Problem { severity: Severity::Error, place, document, field, reason: reason.to_owned() }
}
