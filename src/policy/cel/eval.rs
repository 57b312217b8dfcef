use std::rc::Rc;

use super::functions;
use super::op::{Compare, Fold, FoldKind, Op};
use super::value::Val;
use crate::policy::scope::{Has, Scope};
use crate::wire::mcp::alike;

/// Why an expression has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Stop {
    /// It depends on what this phase does not know.
    Unknown,
    /// It has none.
    Error(Fault),
}

/// Errors of evaluation, in CEL's sense: `false && error` is false.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::policy) enum Fault {
    #[error("a name is absent for this call")]
    Absent,
    #[error("the labels of the session are not known here")]
    LabelsUnknown,
    #[error("no such key or index")]
    NoSuchKey,
    #[error("an operator or function got values of the wrong type")]
    NoOverload,
    #[error("a number overflowed, or was divided by zero")]
    Overflow,
    #[error("a value is not text")]
    NotText,
    #[error("a text is no such number")]
    Convert,
    #[error("a map literal repeats a key")]
    RepeatedKey,
    #[error("the result is not true or false")]
    NotBool,
    #[error("the evaluation took too many steps")]
    Budget,
    #[error("some readers find another value under this key: they ignore case, or take `_` for `-`")]
    Lookalike,
    #[error("the path has a `;`: some servers cut off what follows it, others do not")]
    PathParameters,
}

/// Counts the steps of all rules for one call.
#[derive(Debug)]
pub(in crate::policy) struct Meter(u64);

impl Meter {
    pub(in crate::policy) fn new(steps: u64) -> Self {
        Self(steps)
    }

    /// Takes `steps`, or fails; once empty it stays empty.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        let left = self.0.checked_sub(u64::try_from(steps).unwrap_or(u64::MAX));
        self.0 = left.unwrap_or(0);
        left.map(drop).ok_or(Stop::Error(Fault::Budget))
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> u64 {
        self.0
    }
}

type Outcome<'a> = Result<Val<'a>, Stop>;

/// One evaluation: what the expression sees, the variables of the macros around, and the steps that are left.
pub(super) struct Eval<'e, 'a> {
    pub(super) scope: &'e Scope<'a>,
    pub(super) meter: &'e mut Meter,
    pub(super) locals: Vec<Val<'a>>,
}

impl<'a> Eval<'_, 'a> {
    pub(super) fn run(&mut self, op: &'a Op) -> Outcome<'a> {
        self.meter.spend(1)?;
        match op {
            Op::Literal(literal) => Ok(literal.value()),
            Op::Local(at, _) => self.locals.get(*at).cloned().ok_or(Stop::Error(Fault::Absent)),
            Op::Name(name, _) => self.scope.value(*name),
            Op::HasName(name, _) => of_presence(self.scope.has(*name)),
            Op::HasGroup(group, _) => of_presence(self.scope.has_group(*group)),
            Op::Select(of, field) => {
                let (of, field) = (self.run(of)?, Val::text(field));
                self.read_alike(&of, &field)?;
                of.index(&field, self.meter)
            }
            Op::Has(of, field) => self.has(of, field),
            Op::Index(of, key) => {
                let (of, key) = self.both(of, key)?;
                self.read_alike(&of, &key)?;
                of.index(&key, self.meter)
            }
            Op::In(item, of) => self.holds(item, of),
            Op::And(a, b) => self.logic(a, b, false),
            Op::Or(a, b) => self.logic(a, b, true),
            Op::Not(a) => as_bool(self.run(a)).map(|b| Val::Bool(!b)),
            Op::Cond(c, a, b) => {
                let branch = if as_bool(self.run(c))? { a } else { b };
                self.run(branch)
            }
            Op::Compare(how, a, b) => {
                let (a, b) = self.both(a, b)?;
                self.compare(*how, &a, &b)
            }
            Op::Arith(how, a, b) => {
                let (a, b) = self.both(a, b)?;
                functions::arithmetic(*how, a, b, self.meter)
            }
            Op::Neg(a) => functions::negate(&self.run(a)?),
            Op::Text(test, a, b) => {
                let (a, b) = self.both(a, b)?;
                functions::text_test(*test, &a, &b, self.meter)
            }
            Op::Matches(a, regex) => functions::matches(&self.run(a)?, regex, self.meter),
            Op::Convert(to, a) => functions::convert(*to, self.run(a)?, self.meter),
            Op::List(items) => self.list(items),
            Op::Map(pairs) => self.map(pairs),
            Op::Fold(fold) => self.fold(fold),
        }
    }

    /// Both operands of a strict operator: a sure error outweighs what is unknown, as it stays whatever that will be.
    fn both(&mut self, a: &'a Op, b: &'a Op) -> Result<(Val<'a>, Val<'a>), Stop> {
        match (self.run(a), self.run(b)) {
            (Ok(a), Ok(b)) => Ok((a, b)),
            (Err(Stop::Error(fault)), _) | (_, Err(Stop::Error(fault))) => Err(Stop::Error(fault)),
            _ => Err(Stop::Unknown),
        }
    }

    fn has(&mut self, of: &'a Op, field: &'a str) -> Outcome<'a> {
        // A presence test below an absent name is false: there is no such key either.
        if let Some(name) = root(of)
            && self.scope.has(name) == Has::No
        {
            return Ok(Val::Bool(false));
        }
        let (of, field) = (self.run(of)?, Val::text(field));
        self.read_alike(&of, &field)?;
        of.get(&field, self.meter).map(|found| Val::Bool(found.is_some()))
    }

    /// Whether all readers of an answer find the same under a key: some ignore case, and would take another member for it, or
    /// for one that is not there. What clients make of it then cannot be told, so that the rule has failed.
    fn read_alike(&mut self, of: &Val<'a>, key: &Val<'a>) -> Result<(), Stop> {
        let (true, Val::JsonMap(members), Val::Str(key)) = (self.scope.answered.is_some(), of, key) else {
            return Ok(());
        };
        self.meter.spend(members.len() / 8)?;
        if members.keys().any(|other| other != *key && alike(key, &other)) {
            return Err(Stop::Error(Fault::Lookalike));
        }
        Ok(())
    }

    fn holds(&mut self, item: &'a Op, of: &'a Op) -> Outcome<'a> {
        // `x in ["a", "b"]` without building the list.
        if let Op::List(items) = of
            && items.iter().all(|item| matches!(item, Op::Literal(_)))
        {
            let item = self.run(item)?;
            for candidate in items {
                if let Op::Literal(literal) = candidate
                    && literal.value().equals(&item, self.meter)?
                {
                    return Ok(Val::Bool(true));
                }
            }
            return Ok(Val::Bool(false));
        }
        let (item, of) = self.both(item, of)?;
        self.read_alike(&of, &item)?;
        of.holds(&item, self.meter).map(Val::Bool)
    }

    /// `&&` (`absorbing` false) and `||` (`absorbing` true).
    fn logic(&mut self, a: &'a Op, b: &'a Op, absorbing: bool) -> Outcome<'a> {
        let first = as_bool(self.run(a));
        if first == Ok(absorbing) {
            return Ok(Val::Bool(absorbing));
        }
        let second = as_bool(self.run(b));
        join(first, second, absorbing).map(Val::Bool)
    }

    fn compare(&mut self, how: Compare, a: &Val<'a>, b: &Val<'a>) -> Outcome<'a> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let result = match how {
            Compare::Eq => a.equals(b, self.meter)?,
            Compare::Ne => !a.equals(b, self.meter)?,
            Compare::Lt => a.order(b, self.meter)? == Some(Less),
            Compare::Le => matches!(a.order(b, self.meter)?, Some(Less | Equal)),
            Compare::Gt => a.order(b, self.meter)? == Some(Greater),
            Compare::Ge => matches!(a.order(b, self.meter)?, Some(Greater | Equal)),
        };
        Ok(Val::Bool(result))
    }

    /// Every element is evaluated: one sure error outweighs what is unknown.
    fn list(&mut self, items: &'a [Op]) -> Outcome<'a> {
        let mut unknown = false;
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match self.run(item) {
                Ok(value) => values.push(value),
                Err(Stop::Unknown) => unknown = true,
                Err(error) => return Err(error),
            }
        }
        if unknown { Err(Stop::Unknown) } else { Ok(Val::List(Rc::from(values))) }
    }

    fn map(&mut self, pairs: &'a [(Op, Op)]) -> Outcome<'a> {
        let mut unknown = false;
        let mut values: Vec<(Val<'a>, Val<'a>)> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            match self.both(key, value) {
                Ok((key, value)) => {
                    if !matches!(key, Val::Str(_) | Val::Int(_) | Val::Uint(_) | Val::Bool(_)) {
                        return Err(Stop::Error(Fault::NoOverload));
                    }
                    for (earlier, _) in &values {
                        if earlier.equals(&key, self.meter)? {
                            return Err(Stop::Error(Fault::RepeatedKey));
                        }
                    }
                    values.push((key, value));
                }
                Err(Stop::Unknown) => unknown = true,
                Err(error) => return Err(error),
            }
        }
        if unknown { Err(Stop::Unknown) } else { Ok(Val::Map(Rc::from(values))) }
    }

    fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.run(&fold.range)?;
        self.meter.spend(range.len().unwrap_or(0))?;
        let items = range.walk().ok_or(Stop::Error(Fault::NoOverload))?;
        match fold.kind {
            FoldKind::All => self.quantify(items, &fold.body, false),
            FoldKind::Exists => self.quantify(items, &fold.body, true),
            FoldKind::ExistsOne => self.exists_one(items, &fold.body),
            FoldKind::Filter => self.collect(items, Some(&fold.body), None),
            FoldKind::Map => self.collect(items, fold.filter.as_ref(), Some(&fold.body)),
        }
    }

    fn quantify(&mut self, items: Vec<Val<'a>>, body: &'a Op, absorbing: bool) -> Outcome<'a> {
        let mut sum = Ok(!absorbing);
        for item in items {
            let next = as_bool(self.with(item, body));
            if next == Ok(absorbing) {
                return Ok(Val::Bool(absorbing));
            }
            sum = join(sum, next, absorbing);
        }
        sum.map(Val::Bool)
    }

    fn exists_one(&mut self, items: Vec<Val<'a>>, body: &'a Op) -> Outcome<'a> {
        let (mut count, mut unknown) = (0_usize, false);
        for item in items {
            match as_bool(self.with(item, body)) {
                Ok(found) => count += usize::from(found),
                Err(Stop::Unknown) => unknown = true,
                Err(error) => return Err(error),
            }
        }
        if unknown { Err(Stop::Unknown) } else { Ok(Val::Bool(count == 1)) }
    }

    fn collect(&mut self, items: Vec<Val<'a>>, filter: Option<&'a Op>, body: Option<&'a Op>) -> Outcome<'a> {
        let mut unknown = false;
        let mut values = Vec::new();
        for item in items {
            let kept = filter.map_or(Ok(true), |filter| as_bool(self.with(item.clone(), filter)));
            let value = match (kept, body) {
                (Ok(false), _) => continue,
                (Ok(true), None) => Ok(item),
                (Ok(true), Some(body)) => self.with(item, body),
                (Err(stop), _) => Err(stop),
            };
            match value {
                Ok(value) => values.push(value),
                Err(Stop::Unknown) => unknown = true,
                Err(error) => return Err(error),
            }
        }
        if unknown { Err(Stop::Unknown) } else { Ok(Val::List(Rc::from(values))) }
    }

    fn with(&mut self, item: Val<'a>, body: &'a Op) -> Outcome<'a> {
        self.locals.push(item);
        let value = self.run(body);
        self.locals.pop();
        value
    }
}

/// The name that a chain of selections begins with.
fn root(op: &Op) -> Option<crate::policy::names::Name> {
    match op {
        Op::Name(name, _) => Some(*name),
        Op::Select(of, _) => root(of),
        _ => None,
    }
}

/// Whether the expression may still turn out `wanted`: `unknown && error` is not known, but never true.
pub(super) fn may_be(op: &Op, wanted: bool, scope: &Scope<'_>, meter: &mut Meter) -> bool {
    match op {
        Op::Not(a) => may_be(a, !wanted, scope, meter),
        // True needs both sides of `&&`, false needs both of `||`.
        Op::And(a, b) if wanted => may_be(a, wanted, scope, meter) && may_be(b, wanted, scope, meter),
        Op::Or(a, b) if !wanted => may_be(a, wanted, scope, meter) && may_be(b, wanted, scope, meter),
        Op::And(a, b) | Op::Or(a, b) => may_be(a, wanted, scope, meter) || may_be(b, wanted, scope, meter),
        _ => {
            let value = as_bool(Eval { scope, meter, locals: Vec::new() }.run(op));
            value == Ok(wanted) || value == Err(Stop::Unknown)
        }
    }
}

fn of_presence<'a>(has: Has) -> Outcome<'a> {
    match has {
        Has::Yes => Ok(Val::Bool(true)),
        Has::No => Ok(Val::Bool(false)),
        Has::Unknown => Err(Stop::Unknown),
    }
}

pub(super) fn as_bool(value: Outcome<'_>) -> Result<bool, Stop> {
    match value? {
        Val::Bool(b) => Ok(b),
        _ => Err(Stop::Error(Fault::NotBool)),
    }
}

/// `&&` or `||` of two values of which neither may be evaluated again.
fn join(a: Result<bool, Stop>, b: Result<bool, Stop>, absorbing: bool) -> Result<bool, Stop> {
    if a == Ok(absorbing) || b == Ok(absorbing) {
        return Ok(absorbing);
    }
    match (a, b) {
        (Err(Stop::Unknown), _) | (_, Err(Stop::Unknown)) => Err(Stop::Unknown),
        (Err(fault), _) | (_, Err(fault)) => Err(fault),
        (Ok(_), Ok(_)) => Ok(!absorbing),
    }
}
