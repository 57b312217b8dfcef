use std::sync::Arc;

use aws_lc_rs::rand;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter,
};
use tokio::sync::watch;

use super::super::Owners;
use super::super::record::Record;
use crate::config::limits::MAX_OWNER_LINE;

/// First line, followed by the sender's name. Another number is another protocol.
const GREETING: &str = "agent-waypoint owners 1 ";
/// Before the number of the line up to which everything was said.
const MARK: char = '@';
/// Before the number of the mark up to which everything was taken.
const TAKEN: char = '#';

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
    /// The tunnel.
    Broken,
}

/// Tells the other end everything that is known and what is learnt, and takes the same from it, until the link ends.
/// `first` is called once the other told everything that it knew.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite>(
    stream: S,
    owners: &Arc<Owners>,
    name: &Name,
    first: impl FnOnce(),
) -> End {
    let (read, mut write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    let greeted = write.write_all(format!("{GREETING}{}\n", name.0).as_bytes()).await;
    if greeted.is_err() || write.flush().await.is_err() {
        return End::Broken;
    }
    let Some(greeting) = line(&mut read).await else { return End::Broken };
    match greeting.strip_prefix(GREETING) {
        Some(other) if other == name.0 => return End::Ourselves,
        Some(_) => {}
        None => return End::Foreign,
    }
    let (taken, taking) = watch::channel(0);
    let (said, saying) = watch::channel(0);
    tokio::select! {
        end = Box::pin(say(write, owners, (saying, taking))) => end,
        end = Box::pin(take(read, owners, (said, taken), first)) => end,
    }
}

/// Says everything. `heard` is up to where the other end took it, `taking` up to which of its marks we did.
async fn say<W: AsyncWrite + Unpin>(
    write: W,
    owners: &Owners,
    (mut heard, mut taking): (watch::Receiver<u64>, watch::Receiver<u64>),
) -> End {
    let mut write = BufWriter::new(write);
    let (told, mut sink) = owners.told();
    let mut seq = sink.seq;
    for text in told.lines() {
        if write.write_all(text.as_bytes()).await.is_err() {
            return End::Broken;
        }
    }
    drop(told);
    let mut marked = None;
    loop {
        // What waits goes out as one piece, with one mark.
        while let Ok(line) = sink.lines.try_recv() {
            seq = line.seq;
            if line.ours && write.write_all(line.text.as_bytes()).await.is_err() {
                return End::Broken;
            }
        }
        if marked != Some(seq) {
            marked = Some(seq);
            if write.write_all(format!("{MARK}{seq}\n").as_bytes()).await.is_err() {
                return End::Broken;
            }
        }
        if write.flush().await.is_err() {
            return End::Broken;
        }
        tokio::select! {
            () = sink.late.cancelled() => return End::Behind,
            line = sink.lines.recv() => {
                let Ok(line) = line else { return End::Behind };
                seq = line.seq;
                if line.ours && write.write_all(line.text.as_bytes()).await.is_err() {
                    return End::Broken;
                }
            }
            changed = taking.changed() => {
                if changed.is_err() {
                    return End::Broken;
                }
                let taken = *taking.borrow_and_update();
                if write.write_all(format!("{TAKEN}{taken}\n").as_bytes()).await.is_err() {
                    return End::Broken;
                }
            }
            changed = heard.changed() => {
                if changed.is_err() {
                    return End::Broken;
                }
                sink.kept.send_replace(*heard.borrow_and_update());
            }
        }
    }
}

/// Takes what the other end says.
async fn take<R: AsyncRead + Unpin>(
    mut read: BufReader<R>,
    owners: &Owners,
    (heard, taken): (watch::Sender<u64>, watch::Sender<u64>),
    first: impl FnOnce(),
) -> End {
    let mut first = Some(first);
    while let Some(line) = line(&mut read).await {
        if let Some(mark) = line.strip_prefix(MARK) {
            let Ok(mark) = mark.parse() else { return End::Foreign };
            if let Some(first) = first.take() {
                first();
            }
            // Also the same number again: a mark of 0 is one too.
            taken.send_replace(mark);
        } else if let Some(mark) = line.strip_prefix(TAKEN) {
            let Ok(mark) = mark.parse() else { return End::Foreign };
            heard.send_replace(mark);
        } else if let Some(record) = Record::parse(&line) {
            owners.adopt(&record);
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
