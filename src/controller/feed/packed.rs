//! What many waypoints are sent at first, compressed once.
//!
//! Every response is a gRPC message of its own (it has its nonce), so a compressed one is put together of three parts: a gzip
//! header and the response's own fields in a *stored* block, which ends at a byte; the blocks of the resources, which refer to
//! nothing before them and are the same for all; and the checksum of both (RFC 1951, 3.2.4; RFC 1952, 2.3).

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// The header of a gzip member: deflate, nothing else said, no time, of an unknown system (RFC 1952, 2.3.1).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The first byte of a block that is stored, and not the last.
const STORED: u8 = 0;

/// The end of a gzip member, which goes after any beginning.
#[derive(Debug)]
pub(super) struct Packed {
    blocks: Bytes,
    crc: Crc,
}

impl Packed {
    /// Compresses `parts`, one after the other. Takes some tens of milliseconds for each MiB: not for a thread that serves.
    ///
    /// # Errors
    /// The compressor's own, of which there are none in memory.
    pub(super) fn new(parts: impl Iterator<Item = Bytes>) -> io::Result<Self> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        let mut crc = Crc::new();
        for part in parts {
            crc.update(&part);
            encoder.write_all(&part)?;
        }
        let mut blocks = encoder.finish()?;
        blocks.shrink_to_fit();
        Ok(Self { blocks: blocks.into(), crc })
    }

    /// The member that holds `head` and then what is packed; none where `head` is too long for one stored block.
    pub(super) fn after(&self, head: &[u8]) -> Option<[Bytes; 3]> {
        let length = u16::try_from(head.len()).ok()?;
        let first = [&HEADER[..], &[STORED], &length.to_le_bytes(), &(!length).to_le_bytes(), head].concat();
        let mut crc = Crc::new();
        crc.update(head);
        crc.combine(&self.crc);
        let last = [crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat();
        Some([first.into(), self.blocks.clone(), last.into()])
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn read(member: &[Bytes]) -> Vec<u8> {
        let mut whole = Vec::new();
        GzDecoder::new(member.concat().as_slice()).read_to_end(&mut whole).unwrap();
        whole
    }

    #[test]
    fn every_gzip_reader_reads_what_was_put_together() {
        let parts: Vec<Bytes> = (0..500).map(|n| Bytes::from(format!("document {n} of many, much alike; "))).collect();
        let packed = Packed::new(parts.iter().cloned()).unwrap();
        assert!(packed.blocks.len() < parts.concat().len() / 4, "{}", packed.blocks.len());
        for head in [Vec::new(), b"nonce".to_vec(), vec![7; usize::from(u16::MAX)]] {
            assert_eq!(read(&packed.after(&head).unwrap()), [head, parts.concat()].concat());
        }
        assert!(packed.after(&vec![7; 1 << 16]).is_none());
        let nothing = Packed::new(std::iter::empty()).unwrap();
        assert_eq!(read(&nothing.after(b"head").unwrap()), b"head");
    }

    #[test]
    fn a_checksum_that_is_not_the_whole_is_noticed() {
        let packed = Packed::new(std::iter::once(Bytes::from_static(b"resources"))).unwrap();
        let mut member = packed.after(b"head").unwrap().concat();
        let at = member.iter().position(|byte| *byte == b'h').unwrap();
        member[at] = b'H';
        assert!(GzDecoder::new(member.as_slice()).read_to_end(&mut Vec::new()).is_err());
    }
}
