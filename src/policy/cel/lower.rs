use cel_interpreter::ParseErrors;
use cel_interpreter::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};

use super::CelProblem;
use super::op::{Arith, Compare, Literal, Op, Ty};
use crate::config::limits::MAX_CEL_DEPTH;
use crate::policy::names::{self, Entry, Group, Name};

pub(super) type Lowered = Result<(Op, Ty), CelProblem>;

/// Checks types and names, and turns the parsed expression into ours; also says which names it reads.
pub(super) fn lower(source: &str, expr: &IdedExpr, places: &SourceInfo) -> Result<(Op, Ty, Vec<Name>), CelProblem> {
    let mut lower = Lower { source, places, locals: Vec::new(), names: Vec::new(), depth: 0 };
    let (op, ty) = lower.expr(expr)?;
    Ok((op, ty, lower.names))
}

/// The first error of the parser, with its place.
pub(super) fn syntax_problem(source: &str, errors: &ParseErrors) -> CelProblem {
    let Some(error) = errors.errors.first() else {
        return CelProblem { at: None, reason: "does not parse".into() };
    };
    if error.msg == "UNKNOWN" || error.msg.contains("Recursion limit") {
        return CelProblem { at: None, reason: too_deep() };
    }
    let lines = source.lines().count().max(1);
    let number = |n: isize| usize::try_from(n).unwrap_or(0);
    let at = (number(error.pos.0).clamp(1, lines), number(error.pos.1) + 1);
    CelProblem { at: Some(at), reason: format!("does not parse: {}", error.msg) }
}

fn too_deep() -> String {
    format!("is nested more than {MAX_CEL_DEPTH} deep, or does not parse")
}

pub(super) struct Lower<'s> {
    source: &'s str,
    places: &'s SourceInfo,
    pub(super) locals: Vec<String>,
    names: Vec<Name>,
    depth: u16,
}

impl Lower<'_> {
    pub(super) fn problem<T>(&self, at: &IdedExpr, reason: impl Into<String>) -> Result<T, CelProblem> {
        Err(CelProblem { at: self.place(at), reason: reason.into() })
    }

    /// Line and column of the leftmost part of `expr`.
    fn place(&self, expr: &IdedExpr) -> Option<(usize, usize)> {
        let (start, _) = self.places.offset_for(leftmost(expr).id)?;
        let start = usize::try_from(start).ok()?;
        let before = self.source.get(..start)?;
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Some((line, column))
    }

    pub(super) fn expr(&mut self, expr: &IdedExpr) -> Lowered {
        self.depth += 1;
        if self.depth > MAX_CEL_DEPTH {
            return self.problem(expr, format!("is nested more than {MAX_CEL_DEPTH} deep"));
        }
        let lowered = self.node(expr);
        self.depth -= 1;
        lowered
    }

    fn node(&mut self, expr: &IdedExpr) -> Lowered {
        match &expr.expr {
            Expr::Literal(value) => Ok(literal(value)),
            Expr::Ident(_) => self.path(expr),
            Expr::Select(select) if select.test => self.has(expr, select),
            Expr::Select(_) => self.path(expr),
            Expr::Call(call) => match (&call.target, call.args.as_slice()) {
                (None, [a]) if call.func_name == operators::LOGICAL_NOT => self.not(a),
                (None, [a]) if call.func_name == operators::NEGATE => self.negate(a),
                (None, [a, b]) => self.binary(expr, &call.func_name, a, b),
                (None, [c, a, b]) if call.func_name == operators::CONDITIONAL => self.conditional(c, a, b),
                _ => self.call(expr, call),
            },
            Expr::List(list) => {
                let items: Result<Vec<Op>, _> = list.elements.iter().map(|item| Ok(self.expr(item)?.0)).collect();
                Ok((Op::List(items?.into()), Ty::List))
            }
            Expr::Map(map) => {
                let mut pairs = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return self.problem(expr, "is no map of keys and values");
                    };
                    pairs.push((self.expr(&entry.key)?.0, self.expr(&entry.value)?.0));
                }
                Ok((Op::Map(pairs.into()), Ty::Map))
            }
            Expr::Struct(_) => self.problem(expr, "messages are not available here"),
            Expr::Comprehension(_) | Expr::Unspecified => self.problem(expr, "is not available here"),
        }
    }

    /// `a.b.c`: a name of the table and what lies below it, or a selection from a variable or another expression.
    fn path(&mut self, expr: &IdedExpr) -> Lowered {
        let Some(chain) = chain(expr) else {
            let Expr::Select(select) = &expr.expr else { return self.problem(expr, "is not available here") };
            return self.select(&select.operand, &select.field);
        };
        let root = chain.first().copied().unwrap_or_default();
        if let Some(at) = self.locals.iter().rposition(|local| local == root) {
            return match &expr.expr {
                Expr::Select(select) => self.select(&select.operand, &select.field),
                _ => Ok((Op::Local(at, root.into()), Ty::Dyn)),
            };
        }
        match names::resolve(&chain) {
            Some((row, taken)) => match (row.entry, row.ty) {
                (Entry::Leaf(name), Some(ty)) if taken == chain.len() => {
                    self.read(name);
                    Ok((Op::Name(name, row.path), ty))
                }
                (Entry::Leaf(_), _) => match &expr.expr {
                    Expr::Select(select) => self.select(&select.operand, &select.field),
                    _ => self.problem(expr, "is not available here"),
                },
                (Entry::Group(_), _) if taken == chain.len() => {
                    self.problem(expr, format!("`{}` has no value of its own: name one of its fields", row.path))
                }
                (Entry::Group(_), _) => self.problem(expr, names::unknown(&chain.join("."))),
            },
            None => self.problem(expr, names::unknown(&chain.join("."))),
        }
    }

    fn select(&mut self, of: &IdedExpr, field: &str) -> Lowered {
        let (op, ty) = self.expr(of)?;
        if ty.clashes(Ty::Map) {
            return self.problem(of, format!("`{op}` is a {} and has no field `{field}`", ty.as_str()));
        }
        Ok((Op::Select(Box::new(op), field.into()), Ty::Dyn))
    }

    pub(super) fn has(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Lowered {
        if let Some(mut chain) = chain(&select.operand) {
            chain.push(&select.field);
            let local = chain.first().is_some_and(|root| self.locals.iter().any(|local| local == root));
            if !local
                && let Some((row, taken)) = names::resolve(&chain)
                && taken == chain.len()
            {
                return match row.entry {
                    Entry::Leaf(name) => {
                        self.read(name);
                        Ok((Op::HasName(name, row.path), Ty::Bool))
                    }
                    Entry::Group(group) => self.has_group(group, row.path),
                };
            }
            if !local && !matches!(names::resolve(&chain), Some((row, _)) if matches!(row.entry, Entry::Leaf(_))) {
                return self.problem(expr, names::unknown(&chain.join(".")));
            }
        }
        let (op, ty) = self.expr(&select.operand)?;
        if ty.clashes(Ty::Map) {
            return self.problem(expr, format!("`{op}` is a {} and has no field `{}`", ty.as_str(), select.field));
        }
        Ok((Op::Has(Box::new(op), select.field.as_str().into()), Ty::Bool))
    }

    fn has_group(&self, group: Group, path: &'static str) -> Lowered {
        Ok((Op::HasGroup(group, path), Ty::Bool))
    }

    fn read(&mut self, name: Name) {
        if !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    fn not(&mut self, a: &IdedExpr) -> Lowered {
        Ok((Op::Not(Box::new(self.bool(a)?)), Ty::Bool))
    }

    /// An operand that must be a bool.
    pub(super) fn bool(&mut self, expr: &IdedExpr) -> Result<Op, CelProblem> {
        let (op, ty) = self.expr(expr)?;
        if ty.clashes(Ty::Bool) {
            return self.problem(expr, format!("`{op}` is a {} where true or false is needed", ty.as_str()));
        }
        Ok(op)
    }

    fn negate(&mut self, a: &IdedExpr) -> Lowered {
        let (op, ty) = self.expr(a)?;
        if ty.clashes(Ty::Int) && ty.clashes(Ty::Double) {
            return self.problem(a, format!("`-` does not apply to a {}", ty.as_str()));
        }
        Ok((Op::Neg(Box::new(op)), ty))
    }

    fn conditional(&mut self, c: &IdedExpr, a: &IdedExpr, b: &IdedExpr) -> Lowered {
        let c = self.bool(c)?;
        let ((a, left), (b, right)) = (self.expr(a)?, self.expr(b)?);
        let ty = if left == right { left } else { Ty::Dyn };
        Ok((Op::Cond(Box::new(c), Box::new(a), Box::new(b)), ty))
    }

    fn binary(&mut self, expr: &IdedExpr, func: &str, a: &IdedExpr, b: &IdedExpr) -> Lowered {
        match func {
            operators::LOGICAL_AND => Ok((Op::And(Box::new(self.bool(a)?), Box::new(self.bool(b)?)), Ty::Bool)),
            operators::LOGICAL_OR => Ok((Op::Or(Box::new(self.bool(a)?), Box::new(self.bool(b)?)), Ty::Bool)),
            operators::INDEX => self.index(expr, a, b),
            operators::IN => self.contains(expr, a, b),
            operators::EQUALS => self.compare(expr, Compare::Eq, a, b),
            operators::NOT_EQUALS => self.compare(expr, Compare::Ne, a, b),
            operators::LESS => self.compare(expr, Compare::Lt, a, b),
            operators::LESS_EQUALS => self.compare(expr, Compare::Le, a, b),
            operators::GREATER => self.compare(expr, Compare::Gt, a, b),
            operators::GREATER_EQUALS => self.compare(expr, Compare::Ge, a, b),
            operators::ADD => self.arith(expr, Arith::Add, a, b),
            operators::SUBSTRACT => self.arith(expr, Arith::Sub, a, b),
            operators::MULTIPLY => self.arith(expr, Arith::Mul, a, b),
            operators::DIVIDE => self.arith(expr, Arith::Div, a, b),
            operators::MODULO => self.arith(expr, Arith::Rem, a, b),
            _ => match &expr.expr {
                Expr::Call(call) => self.call(expr, call),
                _ => self.problem(expr, "is not available here"),
            },
        }
    }

    fn index(&mut self, expr: &IdedExpr, a: &IdedExpr, b: &IdedExpr) -> Lowered {
        let ((a, of), (b, key)) = (self.expr(a)?, self.expr(b)?);
        let wrong = match of {
            Ty::Map => matches!(key, Ty::Null | Ty::Bytes | Ty::List | Ty::Map),
            Ty::List => key.clashes(Ty::Int) && key.clashes(Ty::Uint),
            _ => of != Ty::Dyn,
        };
        if wrong {
            return self.problem(expr, format!("a {} cannot be indexed with a {}", of.as_str(), key.as_str()));
        }
        Ok((Op::Index(Box::new(a), Box::new(b)), Ty::Dyn))
    }

    fn contains(&mut self, expr: &IdedExpr, a: &IdedExpr, b: &IdedExpr) -> Lowered {
        let ((a, _), (b, of)) = (self.expr(a)?, self.expr(b)?);
        if of.clashes(Ty::List) && of.clashes(Ty::Map) {
            return self.problem(expr, format!("`in` needs a list or a map, and `{b}` is a {}", of.as_str()));
        }
        Ok((Op::In(Box::new(a), Box::new(b)), Ty::Bool))
    }

    fn compare(&mut self, expr: &IdedExpr, how: Compare, a: &IdedExpr, b: &IdedExpr) -> Lowered {
        let ((a, left), (b, right)) = (self.expr(a)?, self.expr(b)?);
        let numbers = left.is_number() && right.is_number();
        if left.clashes(right) && !numbers {
            let what = format!("`{}` compares a {} with a {}", how.sign(), left.as_str(), right.as_str());
            return self.problem(expr, what);
        }
        let unordered = |ty: Ty| matches!(ty, Ty::List | Ty::Map | Ty::Null);
        if !matches!(how, Compare::Eq | Compare::Ne) && (unordered(left) || unordered(right)) {
            return self.problem(expr, format!("`{}` does not apply to a {}", how.sign(), left.as_str()));
        }
        Ok((Op::Compare(how, Box::new(a), Box::new(b)), Ty::Bool))
    }

    fn arith(&mut self, expr: &IdedExpr, how: Arith, a: &IdedExpr, b: &IdedExpr) -> Lowered {
        let ((a, left), (b, right)) = (self.expr(a)?, self.expr(b)?);
        let fits = |ty: Ty| match ty {
            Ty::Dyn | Ty::Int | Ty::Uint => true,
            Ty::Double => how != Arith::Rem,
            Ty::Str | Ty::Bytes | Ty::List => how == Arith::Add,
            Ty::Null | Ty::Bool | Ty::Map => false,
        };
        if left.clashes(right) || !fits(left) || !fits(right) {
            let what = format!("`{}` does not apply to a {} and a {}", how.sign(), left.as_str(), right.as_str());
            return self.problem(expr, what);
        }
        let ty = if left == Ty::Dyn { right } else { left };
        Ok((Op::Arith(how, Box::new(a), Box::new(b)), ty))
    }
}

/// The part of an expression that stands furthest left.
fn leftmost(expr: &IdedExpr) -> &IdedExpr {
    match &expr.expr {
        Expr::Select(select) => leftmost(&select.operand),
        Expr::Call(call) if call.func_name.starts_with('_') || call.func_name.starts_with('@') => {
            call.args.first().map_or(expr, leftmost)
        }
        Expr::Call(call) => call.target.as_deref().map_or(expr, leftmost),
        _ => expr,
    }
}

/// `["a", "b", "c"]` for `a.b.c`.
fn chain(expr: &IdedExpr) -> Option<Vec<&str>> {
    match &expr.expr {
        Expr::Ident(name) => Some(vec![name.strip_prefix('.').unwrap_or(name)]),
        Expr::Select(select) if !select.test => {
            let mut path = chain(&select.operand)?;
            path.push(&select.field);
            Some(path)
        }
        _ => None,
    }
}

fn literal(value: &LiteralValue) -> (Op, Ty) {
    let (literal, ty) = match value {
        LiteralValue::Null => (Literal::Null, Ty::Null),
        LiteralValue::Boolean(b) => (Literal::Bool(*b.inner()), Ty::Bool),
        LiteralValue::Int(i) => (Literal::Int(*i.inner()), Ty::Int),
        LiteralValue::UInt(u) => (Literal::Uint(*u.inner()), Ty::Uint),
        LiteralValue::Double(d) => (Literal::Double(*d.inner()), Ty::Double),
        LiteralValue::String(text) => (Literal::Str(text.inner().into()), Ty::Str),
        LiteralValue::Bytes(bytes) => (Literal::Bytes(bytes.inner().into()), Ty::Bytes),
    };
    (Op::Literal(literal), ty)
}
