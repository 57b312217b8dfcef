use bytes::Bytes;
use proptest::prelude::*;

use super::{Fields, FrameFault, Frames, Wire, only_message, percent_encoded};

proptest! {
    #[test]
    fn messages_come_whole_however_they_are_cut(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..6), cut in 1_usize..9) {
        let mut bytes = Vec::new();
        for message in &messages {
            bytes.push(0);
            bytes.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(message);
        }
        let mut frames = Frames::new(100);
        let (mut whole, mut found) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(cut) {
            frames.push(piece);
            while let Some((frame, message)) = frames.next_frame().unwrap() {
                whole.extend_from_slice(&frame);
                found.push(message);
            }
        }
        prop_assert_eq!(whole, bytes);
        prop_assert_eq!(found, messages.into_iter().map(Bytes::from).collect::<Vec<_>>());
        prop_assert_eq!(frames.held(), 0);
    }
}

/// A second message in an answer that has one was taken for the answer's own.
#[test]
fn cve_2026_47207_two_messages_in_one_answer() {
    assert_eq!(only_message(&[0, 0, 0, 0, 1, 7]), Ok(&[7][..]));
    for second in [&[0, 0, 0, 0, 0][..], &[0, 0, 0, 0, 1, 8], &[0]] {
        let both = [&[0, 0, 0, 0, 1, 7], second].concat();
        assert_eq!(only_message(&both), Err(FrameFault::Several), "{second:?}");
    }
}

#[test]
fn a_message_beyond_the_limit_is_refused_at_its_prefix() {
    let mut frames = Frames::new(10);
    frames.push(&[0, 0, 0, 0, 11]);
    assert!(frames.next_frame().is_err());
    let mut frames = Frames::new(10);
    frames.push(&[1, 0, 0, 0, 1, 0]);
    assert!(frames.next_frame().is_err());
}

#[test]
fn fields_of_every_wire_type() {
    let mut fields = Fields::new(&[0x08, 0x96, 0x01, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 1, 7, 0x25, 2, 0, 0, 0]);
    let expected = [(1, Wire::Varint(150)), (2, Wire::Fixed64(1)), (3, Wire::Bytes(&[7])), (4, Wire::Fixed32(2))];
    for field in expected {
        assert_eq!(fields.next_field(), Ok(Some(field)));
    }
    assert_eq!(fields.next_field(), Ok(None));
}

#[test]
fn texts_of_statuses() {
    assert_eq!(percent_encoded("a b%\u{e9}\n"), "a b%25%C3%A9%0A");
}
