use cel_interpreter::common::ast::{CallExpr, Expr, IdedExpr};

use super::CelProblem;
use super::lower::{Lower, Lowered};
use super::op::{Convert, Fold, FoldKind, Literal, Op, TextTest, Ty};

/// Compiled size that one regular expression may have, bytes.
const REGEX_SIZE: usize = 256 << 10;
/// Nesting of one regular expression.
const REGEX_NESTING: u32 = 32;

/// What may be called, for messages.
const AVAILABLE: &str = "has, size, matches, startsWith, endsWith, contains, lowerAscii, upperAscii, string, int, uint, \
                         double, all, exists, exists_one, filter, map";

impl Lower<'_> {
    /// A function, a method or a macro.
    pub(super) fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Lowered {
        let name = call.func_name.as_str();
        match (name, call.target.as_deref(), call.args.as_slice()) {
            ("has", None, [of]) => match &of.expr {
                Expr::Select(select) => self.has(expr, select),
                _ => self.problem(expr, "has() needs a field: `has(a.b)`"),
            },
            ("size", None, [of]) | ("size", Some(of), []) => self.size(of),
            ("matches", None, [of, pattern]) | ("matches", Some(of), [pattern]) => self.matches(of, pattern),
            ("startsWith", Some(of), [part]) => self.text_test(TextTest::StartsWith, of, part),
            ("endsWith", Some(of), [part]) => self.text_test(TextTest::EndsWith, of, part),
            ("contains", Some(of), [part]) => self.text_test(TextTest::Contains, of, part),
            ("lowerAscii", Some(of), []) => self.change_case(Convert::Lower, of),
            ("upperAscii", Some(of), []) => self.change_case(Convert::Upper, of),
            ("string", None, [of]) => self.convert(Convert::Str, Ty::Str, of),
            ("int", None, [of]) => self.convert(Convert::Int, Ty::Int, of),
            ("uint", None, [of]) => self.convert(Convert::Uint, Ty::Uint, of),
            ("double", None, [of]) => self.convert(Convert::Double, Ty::Double, of),
            ("dyn", None, [of]) => Ok((Op::Convert(Convert::Dyn, Box::new(self.expr(of)?.0)), Ty::Dyn)),
            (_, Some(range), [variable, rest @ ..]) => match (fold_kind(name), rest) {
                (Some(kind), [body]) => self.fold(kind, range, variable, (None, body)),
                (Some(FoldKind::Map), [filter, body]) => {
                    self.fold(FoldKind::Map, range, variable, (Some(filter), body))
                }
                _ => self.no_such(expr, name),
            },
            _ => self.no_such(expr, name),
        }
    }

    fn no_such(&self, expr: &IdedExpr, name: &str) -> Lowered {
        let known = AVAILABLE.split(", ").any(|candidate| candidate == name);
        let what = if known { "is not called that way" } else { "is no function here" };
        self.problem(expr, format!("`{name}` {what}; there are {AVAILABLE}"))
    }

    fn size(&mut self, of: &IdedExpr) -> Lowered {
        let (op, ty) = self.expr(of)?;
        if !matches!(ty, Ty::Dyn | Ty::Str | Ty::Bytes | Ty::List | Ty::Map) {
            return self.problem(of, format!("a {} has no size", ty.as_str()));
        }
        Ok((Op::Convert(Convert::Size, Box::new(op)), Ty::Int))
    }

    fn convert(&mut self, to: Convert, result: Ty, of: &IdedExpr) -> Lowered {
        let (op, ty) = self.expr(of)?;
        let text_only = matches!(ty, Ty::Bool | Ty::Bytes) && to != Convert::Str;
        if text_only || matches!(ty, Ty::Null | Ty::List | Ty::Map) {
            return self.problem(of, format!("{}() does not apply to a {}", to.name(), ty.as_str()));
        }
        Ok((Op::Convert(to, Box::new(op)), result))
    }

    fn change_case(&mut self, to: Convert, of: &IdedExpr) -> Lowered {
        Ok((Op::Convert(to, Box::new(self.text(of)?)), Ty::Str))
    }

    fn text_test(&mut self, test: TextTest, of: &IdedExpr, part: &IdedExpr) -> Lowered {
        Ok((Op::Text(test, Box::new(self.text(of)?), Box::new(self.text(part)?)), Ty::Bool))
    }

    /// An operand that must be a string.
    fn text(&mut self, expr: &IdedExpr) -> Result<Op, CelProblem> {
        let (op, ty) = self.expr(expr)?;
        if ty.clashes(Ty::Str) {
            return self.problem(expr, format!("`{op}` is a {} where a string is needed", ty.as_str()));
        }
        Ok(op)
    }

    fn matches(&mut self, of: &IdedExpr, pattern: &IdedExpr) -> Lowered {
        let (of, place) = (self.text(of)?, pattern);
        let Op::Literal(Literal::Str(pattern)) = self.text(pattern)? else {
            return self.problem(place, "matches() needs a literal pattern, so that it is compiled at load");
        };
        let regex = regex::RegexBuilder::new(&pattern).size_limit(REGEX_SIZE).nest_limit(REGEX_NESTING).build();
        match regex {
            Ok(regex) => Ok((Op::Matches(Box::new(of), regex), Ty::Bool)),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                self.problem(place, format!("is no regular expression: {}", last.trim_start_matches("error: ")))
            }
        }
    }

    fn fold(
        &mut self,
        kind: FoldKind,
        range: &IdedExpr,
        variable: &IdedExpr,
        (filter, body): (Option<&IdedExpr>, &IdedExpr),
    ) -> Lowered {
        let (range_op, ty) = self.expr(range)?;
        if ty.clashes(Ty::List) && ty.clashes(Ty::Map) {
            return self.problem(range, format!("`{range_op}` is a {}, and a list or a map is needed", ty.as_str()));
        }
        let Expr::Ident(name) = &variable.expr else {
            return self.problem(variable, "must be a plain variable name");
        };
        self.locals.push(name.clone());
        let lowered = self.fold_body(kind, filter, body);
        self.locals.pop();
        let (filter, body) = lowered?;
        let result = if matches!(kind, FoldKind::Filter | FoldKind::Map) { Ty::List } else { Ty::Bool };
        let fold = Fold { kind, range: range_op, variable: name.as_str().into(), filter, body };
        Ok((Op::Fold(Box::new(fold)), result))
    }

    fn fold_body(
        &mut self,
        kind: FoldKind,
        filter: Option<&IdedExpr>,
        body: &IdedExpr,
    ) -> Result<(Option<Op>, Op), CelProblem> {
        let filter = filter.map(|filter| self.bool(filter)).transpose()?;
        let body = if kind == FoldKind::Map { self.expr(body)?.0 } else { self.bool(body)? };
        Ok((filter, body))
    }
}

fn fold_kind(name: &str) -> Option<FoldKind> {
    match name {
        "all" => Some(FoldKind::All),
        "exists" => Some(FoldKind::Exists),
        "exists_one" | "existsOne" => Some(FoldKind::ExistsOne),
        "filter" => Some(FoldKind::Filter),
        "map" => Some(FoldKind::Map),
        _ => None,
    }
}
