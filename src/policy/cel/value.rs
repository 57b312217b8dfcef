use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use http::HeaderMap;

use super::eval::{Fault, Meter, Stop};
use crate::call::{Items, Members, Object, View};
use crate::wire::http1::fields;

/// A value during evaluation: borrowed from the facts or the expression wherever it can be.
#[derive(Debug, Clone)]
pub(in crate::policy) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    JsonList(Items<'a>),
    List(Rc<[Self]>),
    JsonMap(Members<'a>),
    Map(Rc<[(Self, Self)]>),
    Headers(&'a HeaderMap),
}

impl<'a> Val<'a> {
    pub(in crate::policy) fn text(text: &'a str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }

    /// A JSON object as CEL sees it. Nothing of it is read for that: a rule that looks at a member needs no memory.
    pub(in crate::policy) fn object(object: &'a Object) -> Self {
        Self::JsonMap(object.view())
    }

    fn of_json(value: View<'a>) -> Self {
        match value {
            View::Null => Self::Null,
            View::Bool(b) => Self::Bool(b),
            View::Number(text) => Self::of_number(text),
            View::String(text) => Self::Str(text),
            View::Array(items) => Self::JsonList(items),
            View::Object(members) => Self::JsonMap(members),
        }
    }

    /// An int where it is one exactly, else a double; an integer that neither can hold exactly stays text, so that
    /// comparing it as a number fails instead of comparing a neighbour.
    fn of_number(text: &'a str) -> Self {
        if let Ok(int) = text.parse() {
            return Self::Int(int);
        }
        if let Ok(uint) = text.parse() {
            return Self::Uint(uint);
        }
        let integer = !text.contains(['.', 'e', 'E']);
        match text.parse::<f64>() {
            Ok(double) if double.is_finite() && (!integer || format!("{double:.0}") == text) => Self::Double(double),
            _ => Self::text(text),
        }
    }

    /// How many elements or keys.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::JsonList(items) => Some(items.len()),
            Self::List(items) => Some(items.len()),
            Self::JsonMap(object) => Some(object.len()),
            Self::Map(pairs) => Some(pairs.len()),
            Self::Headers(headers) => Some(headers.keys_len()),
            _ => None,
        }
    }

    /// The elements of a list, or the keys of a map: what a macro walks over.
    pub(super) fn walk(&self) -> Option<Vec<Self>> {
        Some(match self {
            Self::JsonList(_) | Self::List(_) => self.items().collect(),
            Self::JsonMap(object) => object.keys().map(Self::Str).collect(),
            Self::Map(pairs) => pairs.iter().map(|(key, _)| key.clone()).collect(),
            Self::Headers(headers) => headers.keys().map(|key| Self::text(key.as_str())).collect(),
            _ => return None,
        })
    }

    /// The elements of a list.
    fn items(&self) -> impl Iterator<Item = Self> {
        let (standing, made) = match self {
            Self::JsonList(items) => (Some(*items), &[][..]),
            Self::List(items) => (None, &**items),
            _ => (None, &[][..]),
        };
        standing.into_iter().flat_map(|items| items.iter().map(Self::of_json)).chain(made.iter().cloned())
    }

    fn item(&self, at: usize) -> Option<Self> {
        match self {
            Self::JsonList(items) => items.get(at).map(Self::of_json),
            Self::List(items) => items.get(at).cloned(),
            _ => None,
        }
    }

    /// The value under `key` of a map; `Ok(None)` where the map has none.
    pub(super) fn get(&self, key: &Val<'_>, meter: &mut Meter) -> Result<Option<Self>, Stop> {
        match (self, key) {
            (Self::JsonMap(object), Val::Str(key)) => {
                meter.spend(object.len() / 8)?;
                Ok(object.get(key).map(Self::of_json))
            }
            (Self::Headers(headers), Val::Str(name)) => header(headers, name),
            (Self::Map(pairs), _) => {
                for (candidate, value) in pairs.iter() {
                    if candidate.equals(key, meter)? {
                        return Ok(Some(value.clone()));
                    }
                }
                Ok(None)
            }
            (Self::JsonMap(_) | Self::Headers(_), Val::Int(_) | Val::Uint(_) | Val::Bool(_) | Val::Double(_)) => {
                Ok(None)
            }
            _ => Err(Stop::Error(Fault::NoOverload)),
        }
    }

    /// `container[key]`
    pub(super) fn index(&self, key: &Val<'_>, meter: &mut Meter) -> Result<Self, Stop> {
        if !matches!(self, Self::JsonList(_) | Self::List(_)) {
            return self.get(key, meter)?.ok_or(Stop::Error(Fault::NoSuchKey));
        }
        let at = match key {
            Val::Int(at) => usize::try_from(*at).ok(),
            Val::Uint(at) => usize::try_from(*at).ok(),
            _ => return Err(Stop::Error(Fault::NoOverload)),
        };
        at.and_then(|at| self.item(at)).ok_or(Stop::Error(Fault::NoSuchKey))
    }

    /// `needle in self`
    pub(super) fn holds(&self, needle: &Val<'_>, meter: &mut Meter) -> Result<bool, Stop> {
        if matches!(self, Self::JsonMap(_) | Self::Map(_) | Self::Headers(_)) {
            return Ok(self.get(needle, meter)?.is_some());
        }
        self.len().ok_or(Stop::Error(Fault::NoOverload))?;
        for item in self.items() {
            if item.equals(needle, meter)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// CEL's `==`: numbers by value across types, everything else equal only within its type.
    pub(super) fn equals(&self, other: &Val<'_>, meter: &mut Meter) -> Result<bool, Stop> {
        meter.spend(1)?;
        Ok(match (self, other) {
            (Self::Null, Val::Null) => true,
            (Self::Bool(a), Val::Bool(b)) => a == b,
            (Self::Str(a), Val::Str(b)) => {
                meter.spend(a.len().min(b.len()) / 16)?;
                a == b
            }
            (Self::Bytes(a), Val::Bytes(b)) => a == b,
            (Self::JsonList(_) | Self::List(_), Val::JsonList(_) | Val::List(_)) => {
                return self.same_items(other, meter);
            }
            (Self::JsonMap(_) | Self::Map(_) | Self::Headers(_), Val::JsonMap(_) | Val::Map(_) | Val::Headers(_)) => {
                return self.same_pairs(other, meter);
            }
            _ => self.compare_numbers(other) == Some(Some(Ordering::Equal)),
        })
    }

    fn same_items(&self, other: &Val<'_>, meter: &mut Meter) -> Result<bool, Stop> {
        if self.len() != other.len() {
            return Ok(false);
        }
        for (a, b) in self.items().zip(other.items()) {
            if !a.equals(&b, meter)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn same_pairs(&self, other: &Val<'_>, meter: &mut Meter) -> Result<bool, Stop> {
        if self.len() != other.len() {
            return Ok(false);
        }
        for key in self.walk().unwrap_or_default() {
            let same = match (self.get(&key, meter)?, other.get(&key, meter)?) {
                (Some(a), Some(b)) => a.equals(&b, meter)?,
                _ => false,
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The order of two values of `<`; `Ok(None)` where a NaN is among them.
    pub(super) fn order(&self, other: &Val<'_>, meter: &mut Meter) -> Result<Option<Ordering>, Stop> {
        match (self, other) {
            (Self::Str(a), Val::Str(b)) => {
                meter.spend(a.len().min(b.len()) / 16)?;
                Ok(Some(a.as_ref().cmp(b.as_ref())))
            }
            (Self::Bool(a), Val::Bool(b)) => Ok(Some(a.cmp(b))),
            (Self::Bytes(a), Val::Bytes(b)) => Ok(Some(a.as_ref().cmp(b.as_ref()))),
            _ => self.compare_numbers(other).ok_or(Stop::Error(Fault::NoOverload)),
        }
    }

    /// `None`: not both numbers; `Some(None)`: a NaN.
    fn compare_numbers(&self, other: &Val<'_>) -> Option<Option<Ordering>> {
        let exact = |v: &Val<'_>| match v {
            Val::Int(i) => Some(i128::from(*i)),
            Val::Uint(u) => Some(i128::from(*u)),
            _ => None,
        };
        match (self, other) {
            (Self::Double(a), Val::Double(b)) => Some(a.partial_cmp(b)),
            (Self::Double(a), _) => exact(other).map(|b| compare_double(*a, b)),
            (_, Val::Double(b)) => exact(self).map(|a| compare_double(*b, a).map(Ordering::reverse)),
            _ => Some(Some(exact(self)?.cmp(&exact(other)?))),
        }
    }

    /// CEL's name of the type.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Str(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::JsonList(_) | Self::List(_) => "list",
            Self::JsonMap(_) | Self::Map(_) | Self::Headers(_) => "map",
        }
    }

    /// For people: short, and quoted where it is text.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Bool(b) => b.to_string(),
            Self::Int(i) => i.to_string(),
            Self::Uint(u) => format!("{u}u"),
            Self::Double(d) => format!("{d:?}"),
            Self::Str(text) if text.chars().count() > 80 => {
                format!("{:?}..", text.chars().take(80).collect::<String>())
            }
            Self::Str(text) => format!("{text:?}"),
            Self::Bytes(bytes) => format!("{} bytes", bytes.len()),
            _ => format!("a {} of {}", self.kind(), self.len().unwrap_or(0)),
        }
    }
}

/// A double against an integer, exactly.
fn compare_double(a: f64, b: i128) -> Option<Ordering> {
    if a.is_nan() {
        return None;
    }
    // i64 and u64 lie within +-2^65; beyond that the sign alone decides, within it the truncation is exact.
    const EDGE: f64 = 36_893_488_147_419_103_232.0;
    if a >= EDGE {
        return Some(Ordering::Greater);
    }
    if a <= -EDGE {
        return Some(Ordering::Less);
    }
    #[expect(clippy::cast_possible_truncation, reason = "|a| < 2^65, and the fraction is compared below")]
    let whole = a.trunc() as i128;
    let by_fraction = || a.fract().partial_cmp(&0.0);
    match whole.cmp(&b) {
        Ordering::Equal => by_fraction(),
        other => Some(other),
    }
}

/// All values of a header joined by a comma (RFC 9110, 5.3), so that no rule sees only the first; a value that is not
/// text is an error, never absent. So is a header of another name that CGI and its heirs take for this one (`x_role` for
/// `x-role`): what a server makes of it cannot be told.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<Val<'a>>, Stop> {
    if fields::has_alike(headers, name) {
        return Err(Stop::Error(Fault::Lookalike));
    }
    let mut values = headers.get_all(name).iter();
    let text = |value: &'a http::HeaderValue| {
        std::str::from_utf8(value.as_bytes()).map_err(|_not_text| Stop::Error(Fault::NotText))
    };
    let Some(first) = values.next() else { return Ok(None) };
    let first = text(first)?;
    let Some(second) = values.next() else { return Ok(Some(Val::text(first))) };
    let mut joined = format!("{first},{}", text(second)?);
    for value in values {
        joined.push(',');
        joined.push_str(text(value)?);
    }
    Ok(Some(Val::Str(Cow::Owned(joined))))
}
