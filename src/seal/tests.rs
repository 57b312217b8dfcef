use proptest::prelude::*;

use super::*;

fn sealer(n: u8) -> Sealer {
    Sealer::new(&Secret::new([n; SECRET]), &[]).unwrap()
}

fn rotated(current: u8, others: &[u8]) -> Sealer {
    let others: Vec<_> = others.iter().map(|n| Secret::new([*n; SECRET])).collect();
    Sealer::new(&Secret::new([current; SECRET]), &others).unwrap()
}

#[test]
fn what_one_replica_sealed_any_other_opens() {
    let sealed = sealer(1).seal(Purpose::Session, b"whose", b"text").unwrap();
    assert_eq!(sealer(1).open(Purpose::Session, b"whose", &sealed).unwrap(), b"text");
    assert_eq!(rotated(2, &[1]).open(Purpose::Session, b"whose", &sealed).unwrap(), b"text");
    assert_eq!(rotated(2, &[3]).open(Purpose::Session, b"whose", &sealed), None);
}

#[test]
fn nobody_else_opens_it_and_for_nothing_else() {
    let ours = sealer(1);
    let sealed = ours.seal(Purpose::Session, b"whose", b"text").unwrap();
    assert_eq!(ours.open(Purpose::Session, b"whosE", &sealed), None);
    assert_eq!(ours.open(Purpose::Session, b"", &sealed), None);
    assert_eq!(ours.open(Purpose::Cursor, b"whose", &sealed), None);
    assert_eq!(sealer(2).open(Purpose::Session, b"whose", &sealed), None);
}

#[test]
fn the_same_text_is_never_sealed_the_same() {
    let ours = sealer(1);
    let seal = || ours.seal(Purpose::Session, b"whose", b"text").unwrap();
    assert_ne!(seal(), seal());
}

#[test]
fn keys_are_replaced_for_every_clone() {
    let ours = sealer(1);
    let clone = ours.clone();
    let before = clone.seal(Purpose::Session, b"", b"x").unwrap();
    ours.replace(&Secret::new([2; SECRET]), &[Secret::new([1; SECRET])]).unwrap();
    assert!(clone.open(Purpose::Session, b"", &before).is_some());
    let after = clone.seal(Purpose::Session, b"", b"x").unwrap();
    assert!(sealer(1).open(Purpose::Session, b"", &after).is_none());
    assert!(sealer(2).open(Purpose::Session, b"", &after).is_some());
}

#[test]
fn what_is_too_long_is_neither_sealed_nor_opened() {
    let ours = sealer(1);
    assert_eq!(ours.seal(Purpose::Session, b"", &vec![7; MAX_SEALED]), Err(SealFault::TooLong));
    assert_eq!(ours.open(Purpose::Session, b"", &"A".repeat(MAX_SEALED + 1)), None);
}

#[test]
fn nothing_secret_is_printed() {
    assert_eq!(format!("{:?} {:?}", Secret::new([7; SECRET]), sealer(7)), "Secret(..) Sealer(..)");
}

#[test]
fn a_mark_holds_for_its_text_and_its_holder() {
    let ours = sealer(1);
    let mark = ours.mark(Purpose::Event, b"whose", "7/1");
    assert_eq!(mark.len(), MARK_TEXT);
    assert!(ours.is_marked(Purpose::Event, b"whose", "7/1", &mark));
    assert!(rotated(2, &[1]).is_marked(Purpose::Event, b"whose", "7/1", &mark));
    for (bound, text, mark) in [
        (b"other", "7/1", &*mark),
        (b"whose", "7/2", &*mark),
        (b"whose", "7/1", ""),
        (b"whose", "7/1", "AAAAAAAAAAAAAAAA"),
    ] {
        assert!(!ours.is_marked(Purpose::Event, bound, text, mark), "{text} {mark}");
    }
    assert!(!sealer(2).is_marked(Purpose::Event, b"whose", "7/1", &mark));
    assert!(!ours.is_marked(Purpose::Cursor, b"whose", "7/1", &mark));
}

proptest! {
    #[test]
    fn any_text_comes_back_whole_and_visible(text in proptest::collection::vec(any::<u8>(), 0..2_000), bound: Vec<u8>) {
        let ours = sealer(1);
        let sealed = ours.seal(Purpose::Session, &bound, &text).unwrap();
        prop_assert!(sealed.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert_eq!(ours.open(Purpose::Session, &bound, &sealed), Some(text));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_opens(text in proptest::collection::vec(any::<u8>(), 0..100), at: usize, bit in 0..8_u8) {
        let ours = sealer(1);
        let sealed = ours.seal(Purpose::Session, b"whose", &text).unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(ours.open(Purpose::Session, b"whose", &URL_SAFE_NO_PAD.encode(&bytes)), None);
        bytes[at] ^= 1 << bit;
        bytes.truncate(at);
        prop_assert_eq!(ours.open(Purpose::Session, b"whose", &URL_SAFE_NO_PAD.encode(&bytes)), None);
        let letter = at % sealed.len();
        let mut letters = sealed.into_bytes();
        letters[letter] = if letters[letter] == b'A' { b'B' } else { b'A' };
        prop_assert_eq!(ours.open(Purpose::Session, b"whose", std::str::from_utf8(&letters).unwrap()), None);
    }

    #[test]
    fn nothing_made_up_opens(text in ".{0,200}") {
        prop_assert_eq!(sealer(1).open(Purpose::Session, b"whose", &text), None);
    }

    #[test]
    fn fields_come_back_as_they_were(a in ".{0,300}", b in proptest::option::of(".{0,20}"), n: u64, c: u8) {
        let mut fields = Fields::default();
        fields.text(&a).maybe(b.as_deref()).number(n).byte(c);
        let bytes = fields.into_bytes();
        let mut reading = Reading::new(&bytes);
        prop_assert_eq!(reading.text(), Some(&*a));
        prop_assert_eq!(reading.maybe(), Some(b.as_deref()));
        prop_assert_eq!(reading.number(), Some(n));
        prop_assert_eq!(reading.byte(), Some(c));
        prop_assert!(reading.is_over());
        for cut in 0..bytes.len() {
            let mut reading = Reading::new(&bytes[..cut]);
            let whole = (|| Some((reading.text()?, reading.maybe()?, reading.number()?, reading.byte()?)))();
            prop_assert!(whole.is_none());
        }
    }
}
