use std::borrow::Cow;
use std::rc::Rc;

use super::eval::{Fault, Meter, Stop};
use super::op::{Arith, Convert, TextTest};
use super::value::Val;

type Outcome<'a> = Result<Val<'a>, Stop>;

const WRONG: Stop = Stop::Error(Fault::NoOverload);
const OVERFLOW: Stop = Stop::Error(Fault::Overflow);

/// Operands of one type only, as in CEL; overflow is an error.
pub(super) fn arithmetic<'a>(how: Arith, a: Val<'a>, b: Val<'a>, meter: &mut Meter) -> Outcome<'a> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => int(how, a, b).map(Val::Int).ok_or(OVERFLOW),
        (Val::Uint(a), Val::Uint(b)) => uint(how, a, b).map(Val::Uint).ok_or(OVERFLOW),
        (Val::Double(a), Val::Double(b)) => double(how, a, b).map(Val::Double),
        (Val::Str(a), Val::Str(b)) if how == Arith::Add => {
            meter.spend((a.len() + b.len()) / 8)?;
            Ok(Val::Str(Cow::Owned(format!("{a}{b}"))))
        }
        (Val::Bytes(a), Val::Bytes(b)) if how == Arith::Add => {
            meter.spend((a.len() + b.len()) / 8)?;
            Ok(Val::Bytes(Cow::Owned([a, b].concat())))
        }
        (a @ (Val::JsonList(_) | Val::List(_)), b @ (Val::JsonList(_) | Val::List(_))) if how == Arith::Add => {
            meter.spend(a.len().unwrap_or(0) + b.len().unwrap_or(0))?;
            let items: Vec<Val<'a>> = a.walk().into_iter().chain(b.walk()).flatten().collect();
            Ok(Val::List(Rc::from(items)))
        }
        _ => Err(WRONG),
    }
}

fn int(how: Arith, a: i64, b: i64) -> Option<i64> {
    match how {
        Arith::Add => a.checked_add(b),
        Arith::Sub => a.checked_sub(b),
        Arith::Mul => a.checked_mul(b),
        Arith::Div => a.checked_div(b),
        Arith::Rem => a.checked_rem(b),
    }
}

fn uint(how: Arith, a: u64, b: u64) -> Option<u64> {
    match how {
        Arith::Add => a.checked_add(b),
        Arith::Sub => a.checked_sub(b),
        Arith::Mul => a.checked_mul(b),
        Arith::Div => a.checked_div(b),
        Arith::Rem => a.checked_rem(b),
    }
}

fn double(how: Arith, a: f64, b: f64) -> Result<f64, Stop> {
    match how {
        Arith::Add => Ok(a + b),
        Arith::Sub => Ok(a - b),
        Arith::Mul => Ok(a * b),
        Arith::Div => Ok(a / b),
        Arith::Rem => Err(WRONG),
    }
}

pub(super) fn negate<'a>(value: &Val<'_>) -> Outcome<'a> {
    if let Val::Double(d) = value {
        return Ok(Val::Double(-d));
    }
    let Val::Int(i) = value else { return Err(WRONG) };
    i.checked_neg().map(Val::Int).ok_or(OVERFLOW)
}

pub(super) fn text_test<'a>(test: TextTest, a: &Val<'_>, b: &Val<'_>, meter: &mut Meter) -> Outcome<'a> {
    let (Val::Str(a), Val::Str(b)) = (a, b) else { return Err(WRONG) };
    Ok(Val::Bool(match test {
        TextTest::StartsWith => a.starts_with(&**b),
        TextTest::EndsWith => a.ends_with(&**b),
        TextTest::Contains => {
            meter.spend((a.len() + b.len()) / 8)?;
            a.contains(&**b)
        }
    }))
}

/// Cost: text times pattern, as a regular expression's worst case is.
pub(super) fn matches<'a>(value: &Val<'_>, regex: &regex::Regex, meter: &mut Meter) -> Outcome<'a> {
    let Val::Str(text) = value else { return Err(WRONG) };
    meter.spend((text.len() / 16 + 1).saturating_mul(regex.as_str().len() / 4 + 1))?;
    Ok(Val::Bool(regex.is_match(text)))
}

pub(super) fn convert<'a>(to: Convert, value: Val<'a>, meter: &mut Meter) -> Outcome<'a> {
    if let Val::Str(text) = &value {
        meter.spend(text.len() / 8)?;
    }
    match to {
        Convert::Dyn => Ok(value),
        Convert::Size => size(&value),
        Convert::Lower => fold_case(value, |text| text.make_ascii_lowercase()),
        Convert::Upper => fold_case(value, |text| text.make_ascii_uppercase()),
        Convert::Str => to_text(value),
        Convert::Int => to_int(&value).map(Val::Int),
        Convert::Uint => to_uint(&value).map(Val::Uint),
        Convert::Double => to_double(&value).map(Val::Double),
    }
}

fn size<'a>(value: &Val<'_>) -> Outcome<'a> {
    let size = match value {
        Val::Str(text) => Some(text.chars().count()),
        Val::Bytes(bytes) => Some(bytes.len()),
        other => other.len(),
    };
    let size = size.ok_or(WRONG)?;
    i64::try_from(size).map(Val::Int).map_err(|_too_long| OVERFLOW)
}

fn fold_case<'a>(value: Val<'a>, change: impl FnOnce(&mut str)) -> Outcome<'a> {
    let Val::Str(text) = value else { return Err(WRONG) };
    let mut text = text.into_owned();
    change(&mut text);
    Ok(Val::Str(Cow::Owned(text)))
}

fn to_text(value: Val<'_>) -> Outcome<'_> {
    Ok(Val::Str(match value {
        Val::Str(text) => text,
        Val::Int(i) => Cow::Owned(i.to_string()),
        Val::Uint(u) => Cow::Owned(u.to_string()),
        Val::Double(d) => Cow::Owned(d.to_string()),
        Val::Bool(b) => Cow::Borrowed(if b { "true" } else { "false" }),
        Val::Bytes(bytes) => {
            Cow::Owned(String::from_utf8(bytes.into_owned()).map_err(|_not_utf8| Stop::Error(Fault::NotText))?)
        }
        _ => return Err(WRONG),
    }))
}

#[expect(clippy::cast_possible_truncation, reason = "the bounds are checked before the cast")]
fn to_int(value: &Val<'_>) -> Result<i64, Stop> {
    match value {
        Val::Int(i) => Ok(*i),
        Val::Uint(u) => i64::try_from(*u).map_err(|_too_big| OVERFLOW),
        Val::Double(d) if *d > -9_223_372_036_854_775_808.0 && *d < 9_223_372_036_854_775_808.0 => Ok(*d as i64),
        Val::Double(_) => Err(OVERFLOW),
        Val::Str(text) => text.parse().map_err(|_no_int| Stop::Error(Fault::Convert)),
        _ => Err(WRONG),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the bounds are checked before the cast")]
fn to_uint(value: &Val<'_>) -> Result<u64, Stop> {
    match value {
        Val::Uint(u) => Ok(*u),
        Val::Int(i) => u64::try_from(*i).map_err(|_negative| OVERFLOW),
        Val::Double(d) if *d >= 0.0 && *d < 18_446_744_073_709_551_616.0 => Ok(*d as u64),
        Val::Double(_) => Err(OVERFLOW),
        Val::Str(text) => text.parse().map_err(|_no_uint| Stop::Error(Fault::Convert)),
        _ => Err(WRONG),
    }
}

#[expect(clippy::cast_precision_loss, reason = "CEL's double() rounds to the nearest")]
fn to_double(value: &Val<'_>) -> Result<f64, Stop> {
    match value {
        Val::Double(d) => Ok(*d),
        Val::Int(i) => Ok(*i as f64),
        Val::Uint(u) => Ok(*u as f64),
        Val::Str(text) => text.parse().map_err(|_no_double| Stop::Error(Fault::Convert)),
        _ => Err(WRONG),
    }
}
