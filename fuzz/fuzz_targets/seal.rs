//! Sealed texts: what was sealed is opened by whom it is for and by nobody else, and nothing that was not sealed opens.
#![no_main]

use std::sync::OnceLock;

use agent_waypoint::seal::{Fields, Purpose, Reading, Sealer, Secret};
use libfuzzer_sys::fuzz_target;

fn sealers() -> &'static (Sealer, Sealer) {
    static SEALERS: OnceLock<(Sealer, Sealer)> = OnceLock::new();
    SEALERS.get_or_init(|| {
        let (one, other) = (Secret::new([1; 32]), Secret::new([2; 32]));
        let of = |secret: &Secret| Sealer::new(secret, &[]).expect("a key");
        (of(&one), of(&other))
    })
}

fuzz_target!(|input: (&[u8], &[u8], &str, u8, usize)| {
    let (bound, text, forged, number, at) = input;
    let (sealer, other) = sealers();
    // No caller makes one: not from nothing, nor from one that it was handed.
    assert_eq!(sealer.open(Purpose::Session, bound, forged), None);
    if let Ok(sealed) = sealer.seal(Purpose::Session, bound, text) {
        assert_eq!(sealer.open(Purpose::Session, bound, &sealed).as_deref(), Some(text));
        assert_eq!(sealer.open(Purpose::Cursor, bound, &sealed), None);
        assert_eq!(other.open(Purpose::Session, bound, &sealed), None);
        assert_eq!(sealer.open(Purpose::Session, &[bound, b"x"].concat(), &sealed), None);
        let mut bytes = sealed.clone().into_bytes();
        let place = at % bytes.len();
        if let Some(byte) = bytes.get_mut(place) {
            *byte = if *byte == b'A' { b'B' } else { b'A' };
        }
        let spoilt = String::from_utf8(bytes).expect("text");
        assert_eq!(sealer.open(Purpose::Session, bound, &spoilt), None, "{sealed} {spoilt}");
    }
    let mut fields = Fields::default();
    fields.byte(number).maybe(Some(forged)).number(at as u64).text(forged).maybe(None);
    let bytes = fields.into_bytes();
    let mut reading = Reading::new(&bytes);
    assert_eq!(reading.byte(), Some(number));
    assert_eq!(reading.maybe(), Some(Some(forged)));
    assert_eq!((reading.number(), reading.text(), reading.maybe()), (Some(at as u64), Some(forged), Some(None)));
    assert!(reading.is_over());
    let mut wild = Reading::new(text);
    while !wild.is_over() && wild.text().is_some() {}
});
