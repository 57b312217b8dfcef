//! [`Value`] to bytes, in the canonical form of RFC 8785: the form in which JSON is signed.

use std::borrow::Cow;

use super::write::{write, write_string};
use crate::call::{Number, Value};

/// Appends `value`: keys sorted by their UTF-16 code units, numbers as ECMAScript writes doubles, no white space.
pub fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    write_sorted(value, |number| Cow::Owned(ecmascript(number)), out);
}

/// Appends `value` in that form but for its numbers, which stay as they were written: `1` and `1.0` are told apart.
pub fn write_canonical_with_numbers_as_written(value: &Value, out: &mut Vec<u8>) {
    write_sorted(value, |number| Cow::Borrowed(number.as_str()), out);
}

/// As deep as the parser let `value` be.
fn write_sorted(value: &Value, number: fn(&Number) -> Cow<'_, str>, out: &mut Vec<u8>) {
    match value {
        Value::Number(one) => out.extend_from_slice(number(one).as_bytes()),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_sorted(item, number, out);
            }
            out.push(b']');
        }
        Value::Object(object) => {
            let mut pairs: Vec<_> = object.iter().collect();
            pairs.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            out.push(b'{');
            for (at, (key, item)) in pairs.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write_sorted(item, number, out);
            }
            out.push(b'}');
        }
        Value::Null | Value::Bool(_) | Value::String(_) => write(value, out),
    }
}

/// `Number::toString` of ECMA-262 (section 6.1.6.1.20), which RFC 8785 section 3.2.2.3 takes.
fn ecmascript(number: &Number) -> String {
    // Every number that was parsed is finite.
    let value = number.as_f64().unwrap_or_default();
    if value == 0.0 {
        return "0".to_owned();
    }
    // The shortest digits that read as the same double; of several as short the nearest, of two as near the even one.
    let shortest = format!("{:e}", value.abs());
    let digits = shortest.split('e').next().unwrap_or_default().len();
    let rounded = format!("{:.*e}", digits.saturating_sub(2), value.abs());
    let same = rounded.parse().is_ok_and(|read: f64| read.to_bits() == value.abs().to_bits());
    let text = if same { rounded } else { shortest };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if value < 0.0 { "-" } else { "" };
    // How many of the digits, and zeros behind them, stand before the point.
    let before = usize::try_from(exponent + 1).unwrap_or(0);
    match exponent {
        0..=20 => match digits.split_at_checked(before) {
            Some((whole, part)) if !part.is_empty() => format!("{sign}{whole}.{part}"),
            _ => format!("{sign}{digits:0<before$}"),
        },
        -6..=-1 => {
            let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
            format!("{sign}0.{}{digits}", "0".repeat(zeros))
        }
        _ => {
            let (first, rest) = digits.split_at_checked(1).unwrap_or((&digits, ""));
            let point = if rest.is_empty() { "" } else { "." };
            format!("{sign}{first}{point}{rest}e{exponent:+}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = Vec::new();
        write_canonical(&parse(text.as_bytes()).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_ecmascript_does() {
        // RFC 8785 appendix B, and the borders between the forms.
        for (text, written) in [
            ("0", "0"),
            ("-0", "0"),
            ("5e-324", "5e-324"),
            ("-5e-324", "-5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("9007199254740992", "9007199254740992"),
            ("-9007199254740992", "-9007199254740992"),
            ("295147905179352825856", "295147905179352830000"),
            ("9.999999999999997e22", "9.999999999999997e+22"),
            ("1e23", "1e+23"),
            ("1.0000000000000001e23", "1.0000000000000001e+23"),
            ("999999999999999700000", "999999999999999700000"),
            ("999999999999999900000", "999999999999999900000"),
            ("1e21", "1e+21"),
            ("9.999999999999997e-7", "9.999999999999997e-7"),
            ("0.000001", "0.000001"),
            ("333333333.3333332", "333333333.3333332"),
            ("333333333.33333325", "333333333.33333325"),
            ("-0.0000033333333333333333", "-0.0000033333333333333333"),
            ("1424953923781206.2", "1424953923781206.2"),
            ("1.50", "1.5"),
            ("4.50", "4.5"),
            ("2e-3", "0.002"),
            ("0.000000000000000000000000001", "1e-27"),
            ("1E30", "1e+30"),
            ("10", "10"),
            ("123", "123"),
            ("-1.25", "-1.25"),
        ] {
            assert_eq!(canonical(text), written, "{text}");
        }
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // Section 3.2.2 and 3.2.3.
        let text = r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#;
        let written = r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(canonical(text), written);
        let text = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
        let order: Vec<&str> = ["Carriage", "One", "Control", "Latin", "Euro", "Emoji", "Hebrew"].into();
        let written = canonical(text);
        let places: Vec<_> = order.iter().map(|word| written.find(word).unwrap()).collect();
        assert!(places.is_sorted(), "{written}");
        assert_eq!(canonical(r#"{"b":{},"a":[]}"#), r#"{"a":[],"b":{}}"#);
    }
}
