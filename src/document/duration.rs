use std::time::Duration;

/// `1h2m3s4ms`: GEP-2257.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).filter(|at| (1..=5).contains(at))?;
        let (number, after) = rest.split_at_checked(digits)?;
        let number: u64 = number.parse().ok()?;
        let (unit, left) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
            .into_iter()
            .find_map(|(name, unit)| Some((unit, after.strip_prefix(name)?)))?;
        sum += Duration::from_millis(number * unit);
        rest = left;
    }
    (!text.is_empty()).then_some(sum)
}

/// `1h2.5m3s4ms`: Go's `time.ParseDuration` without signs, which is what Istio's CRDs take. Finer than a microsecond is
/// cut off.
pub(crate) fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let number =
            rest.find(|char: char| !char.is_ascii_digit() && char != '.').filter(|at| (1..=12).contains(at))?;
        let (number, after) = rest.split_at_checked(number)?;
        let number: f64 = number.parse().ok()?;
        let units = [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("h", 3_600.0), ("m", 60.0), ("s", 1.0)];
        let (unit, left) = units.into_iter().find_map(|(name, unit)| Some((unit, after.strip_prefix(name)?)))?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * unit).ok()?)?;
        rest = left;
    }
    (!text.is_empty()).then(|| Duration::from_micros(u64::try_from(sum.as_micros()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_go_writes_them() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1.5s", 1_500),
            ("0.25s", 250),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("0s", 0),
            ("2m0.5s", 120_500),
        ] {
            assert_eq!(go_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1d", "10 s", "1..5s", ".", "1e3s", "9999999999999s"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }
}
