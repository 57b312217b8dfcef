//! A chunked body gives the same data and the same end whole and byte by byte.
#![no_main]

use agent_waypoint::wire::http1::{BodyDecoder, DecodeFault, Framing, Piece};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

fn decode(bytes: &[u8], step: usize) -> Result<(Vec<u8>, Option<usize>), DecodeFault> {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let (mut buffer, mut data, mut read) = (BytesMut::new(), Vec::new(), 0);
    for part in bytes.chunks(step) {
        buffer.extend_from_slice(part);
        read += part.len();
        loop {
            match decoder.decode(&mut buffer)? {
                Piece::Data(piece) => data.extend_from_slice(&piece),
                Piece::More => break,
                Piece::End => return Ok((data, Some(read - buffer.len()))),
            }
        }
    }
    Ok((data, None))
}

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(decode(bytes, bytes.len().max(1)), decode(bytes, 1));
});
