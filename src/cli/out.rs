use std::io::{self, Write};
use std::process::ExitCode;

/// How a command ended, when it was able to do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Exit code 0: done; `explain`: the call is allowed.
    Well,
    /// Exit code 1: `check` found errors, `demo` a line that did not come out as it should.
    Badly,
    /// Exit code 3: `explain`: the call is refused.
    Denied,
}

impl Ended {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Badly => 1,
            Self::Denied => 3,
        }
    }
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        Self::from(ended.code())
    }
}

/// Output whose reader may go away: from then on everything is dropped and counts as written, so that `check | head`
/// still ends with `check`'s own exit code.
#[derive(Debug)]
pub struct Out<W> {
    to: Option<W>,
}

impl<W: Write> Out<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> Self {
        Self { to: Some(to) }
    }

    fn unless_gone<T>(&mut self, otherwise: T, work: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        let Some(to) = &mut self.to else { return Ok(otherwise) };
        match work(to) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.to = None;
                Ok(otherwise)
            }
            done => done,
        }
    }
}

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_gone(bytes.len(), |to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_gone((), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(io::ErrorKind, usize);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let mut out = Out::new(Failing(io::ErrorKind::BrokenPipe, 0));
        writeln!(out, "one").unwrap();
        writeln!(out, "two").unwrap();
        out.flush().unwrap();
        assert!(out.to.is_none());
    }

    #[test]
    fn a_full_disk_is_one() {
        let mut out = Out::new(Failing(io::ErrorKind::StorageFull, 0));
        assert!(writeln!(out, "one").is_err());
        assert!(out.flush().is_err());
    }
}
