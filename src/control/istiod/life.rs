use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Nanoseconds of each unit; longer names before those that they begin with.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// How long the certificates that we ask for live: `SECRET_TTL` of Istio's own clients. The CA may give less, and refuses
/// more than its `MAX_WORKLOAD_CERT_TTL`. At least [`CertificateLife::MIN`]; a day unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateLife(Duration);

impl CertificateLife {
    /// A shorter life would be renewed every few seconds, by every pod, from one CA.
    pub const MIN: Duration = Duration::from_secs(10);
    /// What Go's `time.Duration` holds at most, nanoseconds in an `int64`.
    const MAX: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

    /// Whole seconds, as the CA is asked for.
    pub fn as_secs(self) -> i64 {
        i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX)
    }
}

impl Default for CertificateLife {
    fn default() -> Self {
        Self(Duration::from_secs(24 * 3_600))
    }
}

/// Why a text is no life of certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifeFault {
    /// Not as Go's `time.ParseDuration` reads it.
    #[error("expected numbers with units (h, m, s, ms), as in 24h, 1h30m or 90s")]
    Shape,
    /// Less than [`CertificateLife::MIN`].
    #[error("is less than 10s; give more, as in 24h: a shorter one would be renewed without pause")]
    Short,
    /// More than a duration of Go's holds.
    #[error("is longer than can be asked for; give less, as in 24h")]
    Long,
}

/// As Go's `time.ParseDuration`, but for signs: a life is never negative.
impl FromStr for CertificateLife {
    type Err = LifeFault;

    fn from_str(text: &str) -> Result<Self, LifeFault> {
        let (mut rest, mut sum) = (text, Duration::ZERO);
        if rest.is_empty() {
            return Err(LifeFault::Shape);
        }
        while !rest.is_empty() {
            let (part, left) = first(rest)?;
            sum = sum.checked_add(part).filter(|sum| *sum <= Self::MAX).ok_or(LifeFault::Long)?;
            rest = left;
        }
        if sum < Self::MIN {
            return Err(LifeFault::Short);
        }
        Ok(Self(sum))
    }
}

impl fmt::Display for CertificateLife {
    /// As it can be parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        match (seconds % 3_600, nanos) {
            (0, 0) => write!(f, "{}h", seconds / 3_600),
            (_, 0) => write!(f, "{seconds}s"),
            (_, _) => write!(f, "{seconds}s{nanos}ns"),
        }
    }
}

/// The first number with its unit, and what follows.
fn first(text: &str) -> Result<(Duration, &str), LifeFault> {
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').ok_or(LifeFault::Shape)?;
    let (number, after) = text.split_at_checked(end).ok_or(LifeFault::Shape)?;
    let found = UNITS.iter().find_map(|(name, nanos)| Some((*nanos, after.strip_prefix(name)?)));
    let (unit, left) = found.ok_or(LifeFault::Shape)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(LifeFault::Shape);
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_large| LifeFault::Long)? };
    let nanos = whole.checked_mul(unit).and_then(|nanos| nanos.checked_add(part_of(unit, fraction)));
    Ok((Duration::from_nanos(nanos.ok_or(LifeFault::Long)?), left))
}

/// The digits after a point as nanoseconds, rounded down. Digits below a nanosecond count for nothing.
fn part_of(unit: u64, digits: &str) -> u64 {
    let (mut scale, mut nanos) = (unit, 0);
    for digit in digits.bytes().map(|byte| u64::from(byte.wrapping_sub(b'0'))) {
        scale /= 10;
        nanos += scale * digit;
    }
    nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_of_ten_seconds_or_more_are_taken() {
        let table = [
            ("24h", 86_400),
            ("90s", 90),
            ("10s", 10),
            ("1h30m", 5_400),
            ("1h0m0s", 3_600),
            ("1.5h", 5_400),
            (".5m", 30),
            ("1.m", 60),
            ("10000ms", 10),
            ("10s500ms", 10),
            ("20000000us", 20),
            ("20000000\u{b5}s", 20),
            ("10000000000ns", 10),
            ("2160h", 90 * 86_400),
        ];
        for (text, seconds) in table {
            assert_eq!(text.parse::<CertificateLife>().map(CertificateLife::as_secs), Ok(seconds), "{text}");
        }
        assert_eq!("24h".parse(), Ok(CertificateLife::default()));
    }

    #[test]
    fn what_is_none_says_so_with_an_example() {
        let table = [
            ("", LifeFault::Shape),
            ("24", LifeFault::Shape),
            ("h", LifeFault::Shape),
            (".h", LifeFault::Shape),
            ("1.2.3h", LifeFault::Shape),
            ("1d", LifeFault::Shape),
            ("24 h", LifeFault::Shape),
            ("24H", LifeFault::Shape),
            ("-24h", LifeFault::Shape),
            ("24h ", LifeFault::Shape),
            ("1e3s", LifeFault::Shape),
            ("9.999s", LifeFault::Short),
            ("0s", LifeFault::Short),
            ("500ms", LifeFault::Short),
            ("2562048h", LifeFault::Long),
            ("99999999999999999999h", LifeFault::Long),
            ("2562047h2562047h", LifeFault::Long),
        ];
        for (text, fault) in table {
            assert_eq!(text.parse::<CertificateLife>(), Err(fault.clone()), "{text}");
            assert!(fault.to_string().contains("24h"), "{fault}");
        }
    }

    #[test]
    fn it_is_shown_as_it_is_read() {
        for text in ["24h", "90s", "5400s", "10s500000000ns"] {
            assert_eq!(text.parse::<CertificateLife>().unwrap().to_string(), text);
        }
    }
}
