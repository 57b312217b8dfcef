//! What a caller speaks, told from its first bytes. Only for ports whose protocol nobody declared, and to tell HTTP/1.1
//! from HTTP/2 where HTTP was declared.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::rewind::Rewind;
use crate::config::limits::{HEAD_TIMEOUT, SNIFF_TIMEOUT};

/// How an HTTP/2 client begins (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest method that is taken for HTTP. The longest registered one has 17 letters (`UPDATEREDIRECTREF`).
const MAX_METHOD: usize = 20;

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// A method in capital letters and a space.
    Http1,
    /// The HTTP/2 preface.
    H2,
    /// A TLS handshake record.
    Tls,
    /// Something else, or not enough of anything in time.
    Other,
    /// Nothing in time, or the end without a byte.
    Silent,
}

/// A stream and what it speaks; no byte of it is lost.
#[derive(Debug)]
pub struct Sniffed<Io> {
    /// What.
    pub spoken: Spoken,
    /// The stream from its first byte.
    pub io: Rewind<Io>,
}

/// Waits `limits::SNIFF_TIMEOUT` for enough bytes to tell.
pub async fn sniff<Io: AsyncRead + Unpin>(io: Io) -> io::Result<Sniffed<Io>> {
    sniff_within(io, SNIFF_TIMEOUT).await
}

/// Waits as long as `wait` for enough bytes to tell, and once the first came no longer than `limits::HEAD_TIMEOUT`: what
/// is begun is part of a head.
pub async fn sniff_within<Io: AsyncRead + Unpin>(mut io: Io, wait: Duration) -> io::Result<Sniffed<Io>> {
    let mut deadline = Instant::now() + wait;
    let mut front = BytesMut::with_capacity(PREFACE.len());
    let spoken = loop {
        if let Some(spoken) = classify(&front) {
            break spoken;
        }
        let first = front.is_empty();
        match timeout_at(deadline, io.read_buf(&mut front)).await {
            Ok(Ok(1..)) if first => deadline = deadline.min(Instant::now() + HEAD_TIMEOUT),
            Ok(Ok(1..)) => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok(0)) | Err(_) if front.is_empty() => break Spoken::Silent,
            Ok(Ok(0)) | Err(_) => break Spoken::Other,
        }
    };
    Ok(Sniffed { spoken, io: Rewind::new(front.freeze(), io) })
}

/// What `front` is the beginning of, as soon as it can only be that.
fn classify(front: &[u8]) -> Option<Spoken> {
    if front.starts_with(PREFACE) {
        return Some(Spoken::H2);
    }
    if PREFACE.starts_with(front) {
        return None;
    }
    match front {
        [0x16] => return None,
        [0x16, 0x03, ..] => return Some(Spoken::Tls),
        _ => {}
    }
    let letters = front.iter().take_while(|b| b.is_ascii_uppercase() || **b == b'-').count();
    match front.get(letters) {
        Some(b' ') if (1..=MAX_METHOD).contains(&letters) => Some(Spoken::Http1),
        None if letters <= MAX_METHOD => None,
        _ => Some(Spoken::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn first_bytes() {
        for (front, spoken) in [
            (&b""[..], None),
            (b"G", None),
            (b"GET", None),
            (b"GET ", Some(Spoken::Http1)),
            (b"M-SEARCH * HTTP/1.1", Some(Spoken::Http1)),
            (b"PR", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (PREFACE, Some(Spoken::H2)),
            (b"PRI * HTTP/1.1", Some(Spoken::Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSX", Some(Spoken::Http1)),
            (b"PROPFIND /", Some(Spoken::Http1)),
            (b"\x16", None),
            (b"\x16\x03", Some(Spoken::Tls)),
            (b"\x16\x04", Some(Spoken::Other)),
            (b" GET /", Some(Spoken::Other)),
            (b"get / HTTP/1.1", Some(Spoken::Other)),
            (b"*1\r\n$4\r\nPING\r\n", Some(Spoken::Other)),
            (b"GET\r\n", Some(Spoken::Other)),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Some(Spoken::Other)),
            (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", Some(Spoken::Other)),
        ] {
            assert_eq!(classify(front), spoken, "{:?}", String::from_utf8_lossy(front));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait_and_no_byte_is_lost() {
        let (near, mut far) = tokio::io::duplex(64);
        let begun = Instant::now();
        let mut sniffed = sniff(near).await.unwrap();
        assert_eq!((sniffed.spoken, begun.elapsed()), (Spoken::Silent, SNIFF_TIMEOUT));
        far.write_all(b"late").await.unwrap();
        drop(far);
        let mut all = Vec::new();
        sniffed.io.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"late");

        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(b"GE").await.unwrap();
        let mut sniffed = sniff(near).await.unwrap();
        assert_eq!(sniffed.spoken, Spoken::Other);
        far.write_all(b"T /").await.unwrap();
        drop(far);
        let mut all = Vec::new();
        sniffed.io.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"GET /");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_begun_is_not_waited_for_as_long_as_what_is_not() {
        let hour = Duration::from_secs(3_600);
        let (near, mut far) = tokio::io::duplex(64);
        let sniffing = tokio::spawn(sniff_within(near, hour));
        tokio::time::sleep(hour / 2).await;
        far.write_all(b"G").await.unwrap();
        let begun = Instant::now();
        assert_eq!(sniffing.await.unwrap().unwrap().spoken, Spoken::Other);
        assert_eq!(begun.elapsed(), HEAD_TIMEOUT);
    }

    #[tokio::test]
    async fn an_end_without_a_byte_is_silence() {
        let (near, far) = tokio::io::duplex(64);
        drop(far);
        assert_eq!(sniff(near).await.unwrap().spoken, Spoken::Silent);
    }

    proptest! {
        #[test]
        fn a_verdict_never_changes(bytes in proptest::collection::vec(any::<u8>(), 0..40), method in "[A-Z-]{0,24} ?") {
            for input in [&bytes[..], method.as_bytes()] {
                let verdicts: Vec<_> = (0..=input.len()).filter_map(|end| classify(&input[..end])).collect();
                prop_assert!(verdicts.windows(2).all(|pair| pair[0] == pair[1]));
            }
        }
    }
}
