use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter,
};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::super::Owners;
use super::super::journal::{Sink, Whose};
use super::super::record::Record;
use super::super::roll::{self, Meeting, Seen};
use crate::config::limits::{MAX_OWNER_LINE, REPLICA_LEASE};

/// First line, followed by the sender's name. Another number is another protocol.
const GREETING: &str = "agent-waypoint owners 1 ";
/// Before the number of the line up to which everything was said.
const MARK: char = '@';
/// Before the number of the mark up to which everything was taken.
const TAKEN: char = '#';
/// The sender serves nobody any more.
const FAREWELL: &str = "!";
/// How often another replica is asked whether it is there, where nothing else is said.
const ASK: Duration = Duration::from_secs(5);
const _: () = assert!(ASK.as_secs() * 4 < REPLICA_LEASE.as_secs(), "what is asked is answered before the lease ends");
/// One that does not answer so many times is not there.
const MAX_UNANSWERED: u32 = 12;
/// Longest name of a process, bytes.
const MAX_NAME: usize = 64;

/// What tells this process from the other replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    pub(super) fn random() -> Self {
        let mut bytes = [0_u8; 16];
        // Without randomness two replicas could be one to each other, and would not be linked: no TLS would be either.
        let _filled = rand::fill(&mut bytes);
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }
}

/// How a link ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The other end is this process.
    Ourselves,
    /// It speaks something else.
    Foreign,
    /// We fell behind, or were too late to be waited for: it begins anew.
    Behind,
    /// The other end took its leave.
    Left,
    /// The tunnel.
    Broken,
}

/// Tells the other end everything that is known and what is learnt, and takes the same from it, until the link ends.
/// `first` is called once the other told everything that it knew. `at` is where it was dialled, where it was.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite>(
    stream: S,
    owners: &Arc<Owners>,
    name: &Name,
    at: Option<SocketAddr>,
    first: impl FnOnce(),
) -> End {
    let (read, mut write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    let greeted = write.write_all(format!("{GREETING}{}\n", name.0).as_bytes()).await;
    if greeted.is_err() || write.flush().await.is_err() {
        return End::Broken;
    }
    let Some(greeting) = line(&mut read).await else { return End::Broken };
    let other: roll::Name = match greeting.strip_prefix(GREETING) {
        Some(other) if other == name.0 => return End::Ourselves,
        Some(other) if other.len() <= MAX_NAME => other.into(),
        Some(_) | None => return End::Foreign,
    };
    if let Some(at) = at {
        owners.roll().saw(at, Seen::Peer(other.clone()));
    }
    let meeting = Meeting::new(owners.roll(), other);
    let (taken, taking) = watch::channel(0);
    let (said, saying) = watch::channel(0);
    tokio::select! {
        Err(end) = Box::pin(say(write, (owners, &meeting), (saying, taking))) => end,
        end = Box::pin(take(read, (owners, &meeting), (said, taken), first)) => end,
    }
}

/// Says everything. `heard` is up to where the other end took it, `taking` up to which of its marks we did.
async fn say<W: AsyncWrite + Unpin>(
    write: W,
    (owners, meeting): (&Owners, &Meeting<'_>),
    (mut heard, mut taking): (watch::Receiver<u64>, watch::Receiver<u64>),
) -> Result<Infallible, End> {
    let mut write = BufWriter::new(write);
    let (told, mut sink) = owners.told_to(Whose::Replica);
    // Dropped before the sink: whoever finds that nobody waits for a line finds that somebody is missing.
    let _parting = meeting.parting();
    let mut leaving = owners.roll().leaving();
    let mut seq = sink.seq;
    for text in told.labels().chain(told.lines()) {
        put(&mut write, &text).await?;
    }
    drop(told);
    let (mut marked, mut parted) = (None, false);
    let (mut asked, mut unanswered) = (Instant::now(), 0);
    loop {
        // With one mark.
        seq = all_waiting(&mut write, &mut sink, seq).await?;
        if marked != Some(seq) {
            (marked, asked) = (Some(seq), Instant::now());
            meeting.said(seq);
            put(&mut write, &format!("{MARK}{seq}\n")).await?;
        }
        write.flush().await.map_err(broken)?;
        tokio::select! {
            () = sink.late.cancelled() => return Err(End::Behind),
            () = async { drop(leaving.wait_for(|leaving| *leaving).await) }, if !parted => {
                parted = true;
                put(&mut write, &format!("{FAREWELL}\n")).await?;
            }
            line = sink.lines.recv() => {
                let line = line.map_err(|_missed: RecvError| End::Behind)?;
                seq = line.seq;
                if line.ours {
                    put(&mut write, &line.text).await?;
                }
            }
            changed = taking.changed() => {
                changed.map_err(|_over: watch::error::RecvError| End::Broken)?;
                let taken = *taking.borrow_and_update();
                put(&mut write, &format!("{TAKEN}{taken}\n")).await?;
            }
            // The last mark again, which is answered again: whether the other is there, and still takes us to be.
            () = sleep_until(asked + ASK) => {
                marked = None;
                unanswered += u32::from(meeting.is_joined());
                if unanswered > MAX_UNANSWERED {
                    return Err(End::Behind);
                }
            }
            changed = heard.changed() => {
                changed.map_err(|_over: watch::error::RecvError| End::Broken)?;
                unanswered = 0;
                sink.kept.send_replace(*heard.borrow_and_update());
            }
        }
    }
}

/// Says as one piece what waits; the number of the last line.
async fn all_waiting<W: AsyncWrite + Unpin>(
    write: &mut BufWriter<W>,
    sink: &mut Sink,
    before: u64,
) -> Result<u64, End> {
    let mut seq = before;
    loop {
        let line = match sink.lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Empty) => return Ok(seq),
            // Lines that were missed are not to be marked as said.
            Err(TryRecvError::Lagged(_) | TryRecvError::Closed) => return Err(End::Behind),
        };
        seq = line.seq;
        if line.ours {
            put(write, &line.text).await?;
        }
    }
}

async fn put<W: AsyncWrite + Unpin>(write: &mut BufWriter<W>, text: &str) -> Result<(), End> {
    write.write_all(text.as_bytes()).await.map_err(broken)
}

fn broken(_cut: io::Error) -> End {
    End::Broken
}

/// Takes what the other end says.
async fn take<R: AsyncRead + Unpin>(
    mut read: BufReader<R>,
    (owners, meeting): (&Owners, &Meeting<'_>),
    (heard, taken): (watch::Sender<u64>, watch::Sender<u64>),
    first: impl FnOnce(),
) -> End {
    let mut first = Some(first);
    let mut since = Some(owners.labels().forgotten());
    while let Some(line) = line(&mut read).await {
        if let Some(mark) = line.strip_prefix(MARK) {
            let Ok(mark) = mark.parse() else { return End::Foreign };
            if let Some(first) = first.take() {
                first();
                since = None;
                meeting.told();
            }
            // Also the same number again: a mark of 0 is one too.
            taken.send_replace(mark);
        } else if let Some(mark) = line.strip_prefix(TAKEN) {
            let Ok(mark) = mark.parse::<u64>() else { return End::Foreign };
            heard.send_replace(mark);
            meeting.heard(mark);
        } else if line == FAREWELL {
            meeting.left();
            return End::Left;
        } else if let Some(record) = Record::parse(&line) {
            match &record {
                Record::Labels(told) => owners.adopt_labels(told, since),
                Record::Owned(_) | Record::Card(_) => owners.adopt(&record),
            }
        }
        // A line of a later version is left out.
    }
    End::Broken
}

/// The next line without its end; none at the end of the stream, or where a line is too long or no text.
async fn line<R: AsyncRead + Unpin>(read: &mut BufReader<R>) -> Option<String> {
    let mut line = Vec::new();
    let most = u64::try_from(MAX_OWNER_LINE).unwrap_or(u64::MAX);
    read.take(most).read_until(b'\n', &mut line).await.ok()?;
    if line.pop() != Some(b'\n') {
        return None;
    }
    String::from_utf8(line).ok()
}

#[cfg(test)]
mod tests;
